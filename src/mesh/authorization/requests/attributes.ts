import { Addresses, findAddress } from "./addresses.ts";
import { findList, Lists, ListsBeyond } from "./lists.ts";
import { startingWith } from "./patterns.ts";
import { findTexts, Texts } from "./texts.ts";
import { absent, type Found, isFine, type Values } from "./values.ts";
import type { Work } from "./work.ts";

/**
 * An attribute of a request. `identity` is that of the certificate, in three texts: trust domain, namespace and service
 * account; `token` that of a JWT, in two: issuer and subject. Names of headers are in lower case. No policy reads `query`,
 * which is a parameter in the query of a path; routes do.
 */
export type Attribute =
  | "identity"
  | "token"
  | "source.ip"
  | "remote.ip"
  | "destination.ip"
  | "port"
  | "host"
  | "method"
  | "path"
  | "sni"
  | `header ${string}`
  | `query ${string}`
  | `claim ${string}`
  | `metadata ${string}`;

/** How the values of an attribute are written, and by which texts wildcards are filled in examples. */
interface Form {
  readonly shape: "texts" | "list" | "address";
  readonly isOptional: boolean;
  readonly isClosed: boolean;
  /** What every value has. */
  readonly implied: readonly Texts[];
  readonly fillers: readonly (readonly string[])[];
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789".split("");
/** The first one is what a caller is called about whom nothing is known. */
const names = ["other", "x", "other-1", ...letters, ...letters.map((letter) => `${letter}0${letter}`)];
const words = ["x", "", "other", "x1", ...letters.slice(20)];
const methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
const ports = ["8080", "80", "443", "9090", ...Array.from({ length: 600 }, (_, i) => `${i + 1024}`)];

const texts = (...fillers: readonly (readonly string[])[]): Form => ({
  shape: "texts",
  isOptional: false,
  isClosed: false,
  implied: [],
  fillers,
});
const address: Form = { ...texts(), shape: "address" };
const list: Form = { ...texts(words), shape: "list" };

const forms: ReadonlyMap<string, Form> = new Map([
  ["identity", { ...texts(["cluster.local", ...names], names, names), isOptional: true }],
  ["token", { ...texts(["https://issuer.example", ...words], names), isOptional: true }],
  ["source.ip", address],
  ["remote.ip", address],
  ["destination.ip", address],
  ["port", { ...texts(ports), isClosed: true }],
  ["host", texts(["other.example", ...words])],
  ["method", { ...texts(methods), isClosed: true }],
  ["path", { ...texts(["", "x", "x/x", "x/x/x", "/", ...words]), implied: [new Texts([[startingWith("/")]])] }],
  ["sni", texts(["other.example", ...words])],
]);
const formOf = (attribute: Attribute): Form => forms.get(attribute) ?? list;

/**
 * A value of an attribute that is in all of the first sets and in none of the others. Methods are the usual ones and those
 * that policies list. Throws Undecided if that takes too much work.
 */
export function findValue(
  attribute: Attribute,
  required: readonly Values[],
  excluded: readonly Values[],
  work: Work,
): Found {
  const { shape, isOptional, isClosed, implied, fillers } = formOf(attribute);
  work.spend(1);
  if (areApart(required)) return undefined;
  work.spend(required.length + excluded.length);
  if (isOptional && isFine(undefined, required, excluded)) return { value: undefined };
  if (required.includes(absent)) return undefined;
  if (shape === "address") return findAddress(required.filter(isAddresses), excluded.filter(isAddresses));
  const search = { work, fillers, isClosed };
  if (shape === "list") return findList(required.filter(isLists), excluded.filter(isLists), search);
  return findTexts([...implied, ...required.filter(isTexts)], excluded.filter(isTexts), search);
}

/** Whether the last set has nothing in common with another one for certain. */
function areApart(required: readonly Values[]): boolean {
  const added = required.at(-1);
  if (!(added instanceof Texts) || required.length < 2) return false;
  return required.some((set) => set !== added && set instanceof Texts && set.isApartFrom(added));
}

const isAddresses = (values: Values): values is Addresses => values instanceof Addresses;
const isLists = (values: Values): values is Lists | ListsBeyond =>
  values instanceof Lists || values instanceof ListsBeyond;
const isTexts = (values: Values): values is Texts => values instanceof Texts;
