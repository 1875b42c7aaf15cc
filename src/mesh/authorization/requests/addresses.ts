import { isAddress, isBlock } from "../../objects/ip-address.ts";
import type { Found, Value, Values } from "./values.ts";

/** Addresses of both families on one line: all of IPv4, then all of IPv6. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

const v6 = 1n << 32n;
const everyAddress: readonly Range[] = [
  { first: 0n, last: v6 - 1n },
  { first: v6, last: v6 + (1n << 128n) - 1n },
];
export const isIPv6 = (address: bigint): boolean => address >= v6;

/** A set of addresses: a union of CIDR blocks of both families. */
export class Addresses implements Values {
  readonly ranges: readonly Range[];

  constructor(ranges: readonly Range[]) {
    this.ranges = merged(ranges);
  }

  /** Those of the texts that are addresses or CIDR blocks. */
  static of(...texts: readonly string[]): Addresses {
    return new Addresses(texts.flatMap((text) => blockOf(text) ?? []));
  }

  get size(): number {
    return this.ranges.length;
  }

  has(value: Value): boolean {
    if (typeof value !== "bigint") return false;
    let [low, high] = [0, this.ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ranges[middle]?.last ?? 0n) < value) low = middle + 1;
      else high = middle;
    }
    const range = this.ranges[low];
    return range !== undefined && range.first <= value;
  }
}

function merged(ranges: readonly Range[]): readonly Range[] {
  const sorted = ranges.toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const all: { first: bigint; last: bigint }[] = [];
  for (const { first, last } of sorted) {
    const before = all.at(-1);
    // The last address of IPv4 and the first of IPv6 are not neighbours.
    if (before !== undefined && first <= before.last + 1n && first !== v6) {
      if (last > before.last) before.last = last;
    } else all.push({ first, last });
  }
  return all;
}

/** An address in all of the first sets and in none of the others. Documentation's example network is preferred. */
export function findAddress(required: readonly Addresses[], excluded: readonly Addresses[]): Found {
  const isIn = (address: bigint) =>
    required.every((set) => set.has(address)) && !excluded.some((set) => set.has(address));
  const usual = preferred.find(isIn);
  if (usual !== undefined) return { value: usual };
  let left = everyAddress;
  for (const { ranges } of required) left = both(left, ranges);
  for (const { ranges } of excluded) left = without(left, ranges);
  const [first] = left;
  return first === undefined ? undefined : { value: first.first };
}

function both(a: readonly Range[], b: readonly Range[]): readonly Range[] {
  const all: Range[] = [];
  for (let [i, j] = [0, 0]; ; ) {
    const [x, y] = [a[i], b[j]];
    if (x === undefined || y === undefined) return all;
    const [first, last] = [x.first > y.first ? x.first : y.first, x.last < y.last ? x.last : y.last];
    if (first <= last) all.push({ first, last });
    if (x.last < y.last) i++;
    else j++;
  }
}

const without = (a: readonly Range[], b: readonly Range[]): readonly Range[] => both(a, gapsOf(b));

function gapsOf(ranges: readonly Range[]): readonly Range[] {
  return everyAddress.flatMap(({ first, last }) => {
    const gaps: Range[] = [];
    let next = first;
    for (const range of ranges) {
      if (range.last < first || range.first > last) continue;
      if (range.first > next) gaps.push({ first: next, last: range.first - 1n });
      next = range.last + 1n;
    }
    return next <= last ? [...gaps, { first: next, last }] : gaps;
  });
}

/**
 * The block of an address or a CIDR; undefined: istiod reads neither, and leaves the value out. Bits behind the prefix are ignored
 * (Istio pilot/pkg/networking/util/util.go AddrStrToPrefix, pilot/pkg/serviceregistry/ambient/authorization.go).
 */
export function blockOf(text: string): Range | undefined {
  if (!isAddress(text) && !isBlock(text)) return undefined;
  const [address = "", bits] = text.split("/");
  const parsed = address.includes(":") ? parseIPv6(address) : parseIPv4(address);
  if (parsed === undefined) return undefined;
  const [base, width] = isIPv6(parsed) ? [v6, 128] : [0n, 32];
  const hosts = 1n << BigInt(width - Number(bits ?? width));
  const first = base + ((parsed - base) / hosts) * hosts;
  return { first, last: first + hosts - 1n };
}

function parseIPv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return BigInt(parts.reduce((sum, part) => sum * 256 + Number(part), 0));
}

function parseIPv6(text: string): bigint | undefined {
  const halves = withoutDots(text)?.split("::");
  if (halves === undefined || halves.length > 2) return undefined;
  const [left = [], right = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...left, ...Array.from({ length: missing }, () => "0"), ...right];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return v6 + groups.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** With an IPv4 address at the end as two groups; undefined: it is none. */
function withoutDots(text: string): string | undefined {
  const [, start = "", end] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text) ?? [];
  if (end === undefined) return text;
  const tail = parseIPv4(end);
  return tail === undefined ? undefined : `${start}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
}

export function formatAddress(address: bigint): string {
  if (!isIPv6(address)) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join(".");
  const value = address - v6;
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return groups.join(":").replace(/(?:^|:)0(?::0)+(?::|$)/, "::");
}

const preferred: readonly bigint[] = ["203.0.113.7", "2001:db8::7", "10.0.0.7"].flatMap(
  (text) => blockOf(text)?.first ?? [],
);
