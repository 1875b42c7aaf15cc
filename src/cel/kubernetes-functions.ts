import { BlockList, isIP } from "node:net";
import {
  type CelFunc,
  celFunc,
  type CelList,
  celMethod,
  CelScalar,
  type CelValue,
  listType,
  mapType,
} from "@bufbuild/cel";
import { spend } from "./cost.ts";
import { formatFunctions } from "./kubernetes-formats.ts";
import { partsOf } from "./urls.ts";

// The functions that Kubernetes adds to CEL (`apiserver/pkg/cel/library`): URLs, lists, IP addresses, formats.

const { STRING, BOOL, INT, DYN } = CelScalar;
const url = mapType(STRING, STRING);
const list = listType(DYN);

const part = (method: string, name: string): CelFunc =>
  celMethod(method, url, [], STRING, function () {
    const found = this.get(name);
    return typeof found === "string" ? found : "";
  });

export const kubernetesFunctions: CelFunc[] = [
  celFunc("isURL", [STRING], BOOL, (text) => partsOf(text) !== undefined),
  celFunc("url", [STRING], url, (text) => {
    const parts = partsOf(text);
    if (parts === undefined) throw new Error("not a URL");
    return parts;
  }),
  part("getScheme", "scheme"),
  part("getHost", "host"),
  part("getEscapedPath", "path"),
  celFunc("isIP", [STRING], BOOL, (text) => isAddress(text)),
  celFunc("isCIDR", [STRING], BOOL, (text) => rangeOf(text) !== undefined),
  celMethod("sum", list, [], DYN, function () {
    return itemsOf(this).reduce<CelValue>(plus, 0n);
  }),
  celMethod("min", list, [], DYN, function () {
    return extreme(this, (a, b) => a < b, "min");
  }),
  celMethod("max", list, [], DYN, function () {
    return extreme(this, (a, b) => a > b, "max");
  }),
  celMethod("isSorted", list, [], BOOL, function () {
    const items = itemsOf(this).map(comparable);
    return items.every((item, i) => i === 0 || (items[i - 1] as Comparable) <= item);
  }),
  celMethod("indexOf", list, [DYN], INT, function (wanted) {
    return BigInt(itemsOf(this).indexOf(wanted));
  }),
  celMethod("lastIndexOf", list, [DYN], INT, function (wanted) {
    return BigInt(itemsOf(this).lastIndexOf(wanted));
  }),
  ...formatFunctions,
];

/** Go's netip.ParseAddr, without zones and without IPv4 in IPv6. */
const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes("%") && !/^::ffff:[\d.]+$/i.test(text);

function rangeOf(text: string): BlockList | undefined {
  const [, address = "", bits = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const family = isIP(address);
  if (family === 0 || !isAddress(address) || Number(bits) > (family === 4 ? 32 : 128)) return undefined;
  const range = new BlockList();
  range.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
  return range;
}

function itemsOf(items: CelList): readonly CelValue[] {
  spend(items.size);
  return [...items];
}

function plus(a: CelValue, b: CelValue): CelValue {
  if (typeof a === "bigint" && typeof b === "bigint") return a + b;
  if (typeof b === "number" && (typeof a === "number" || a === 0n)) return Number(a) + b;
  throw new Error("sum() needs a list of numbers of one type");
}

type Comparable = bigint | number | string;
function comparable(value: CelValue): Comparable {
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "string") return value;
  throw new Error("the items cannot be compared");
}

function extreme(items: CelList, isBefore: (a: Comparable, b: Comparable) => boolean, name: string): Comparable {
  const [first, ...others] = itemsOf(items).map(comparable);
  if (first === undefined) throw new Error(`${name}() of an empty list`);
  return others.reduce((best, one) => (isBefore(one, best) ? one : best), first);
}
