import { Addresses, formatAddress, isIPv6 } from "../authorization/requests/addresses.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, type Clause, opposite } from "../authorization/requests/boxes.ts";
import { Lists, ListsBeyond } from "../authorization/requests/lists.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import type { Pattern } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent, type Values } from "../authorization/requests/values.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";

/** The conditions by which a box is smaller than another one: those that do not follow from the others. */
export function conditionsBeyond(box: Box, base: Box): Clauses {
  const work = new Work(20_000);
  const positiveFirst = box.clauses.toSorted((a, b) => Number(a.not) - Number(b.not));
  const found: Clause[] = [];
  try {
    let left = base;
    for (const clause of positiveFirst) {
      if (left.with(opposite(clause), work) === undefined) continue;
      found.push(clause);
      left = left.with(clause, work) ?? left;
    }
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return box.clauses;
  }
  return found;
}

/** So many values of one condition are shown. */
const mostShown = 4;

/**
 * A set of requests in words: `GET, POST /a* with header x-role: admin`, `any method but GET`; empty without conditions. The
 * port is left out, because the question names it.
 */
export function formatConditions(clauses: Clauses): string {
  const byAttribute = Map.groupBy(clauses, ({ attribute }) => attribute);
  const method = valuesInWords(byAttribute.get("method") ?? [], "any method");
  const path = valuesInWords(byAttribute.get("path") ?? [], "any path");
  const request = [method, path].filter((part) => part !== "").join(" ");
  const others = [...byAttribute]
    .filter(([attribute]) => !["method", "path", "port"].includes(attribute))
    .sort(([a], [b]) => rankOf(a) - rankOf(b) || (a < b ? -1 : 1))
    .flatMap(([attribute, some]) =>
      some
        .filter(({ values }) => !(values instanceof ListsBeyond))
        .map((clause) => conditionInWords(attribute, clause)),
    );
  return [request, ...new Set(others)].filter((part) => part !== "").join(" ");
}

const order = ["host", "header", "query", "identity", "token", "claim", "source.ip", "remote.ip"];
const rankOf = (attribute: Attribute): number => {
  const at = order.indexOf(attribute.split(" ", 1)[0] ?? "");
  return at < 0 ? order.length : at;
};

/** `GET, POST`, `any method but GET`, `/a* but not /a/b`. */
function valuesInWords(clauses: Clauses, any: string): string {
  const shown = (not: boolean) =>
    clauses.filter((clause) => clause.not === not).map(({ values }) => formatValues(values));
  const [required, excluded] = [shown(false), shown(true)];
  if (excluded.length === 0) return required.join(" and ");
  const start = required.length === 0 ? `${any} but` : `${required.join(" and ")} but not`;
  return `${start} ${excluded.join(", ")}`;
}

function conditionInWords(attribute: Attribute, { values, not }: Clause): string {
  if (values === absent) return absenceInWords(attribute, not);
  const [kind = "", ...words] = attribute.split(" ");
  if (words.length > 0) {
    const value = formatValues(values);
    const name = `${kind === "query" ? "query parameter" : kind} ${words.join(" ")}`;
    return `${not ? "without" : "with"} ${name}${value === "*" ? "" : `: ${value}`}`;
  }
  const [is, isNot] = phrases.get(attribute) ?? ["with", "without"];
  const shown = attribute === "identity" ? formatIdentities(values) : formatValues(values);
  return `${not ? isNot : is} ${shown}`;
}

const absenceInWords = (attribute: Attribute, not: boolean): string =>
  `${not ? "with" : "without"} ${attribute === "token" ? "a token" : "an identity"}`;

const phrases: ReadonlyMap<string, readonly [is: string, isNot: string]> = new Map([
  ["host", ["to host", "to another host than"]],
  ["identity", ["from", "not from"]],
  ["token", ["with a token", "without a token"]],
  ["source.ip", ["from address", "not from address"]],
  ["remote.ip", ["forwarded for", "not forwarded for"]],
  ["destination.ip", ["to address", "not to address"]],
  ["sni", ["with SNI", "without SNI"]],
]);

const listed = (texts: readonly string[]): string =>
  texts.length > mostShown
    ? `${texts.slice(0, mostShown).join(", ")} and ${texts.length - mostShown} more`
    : texts.join(", ");

/** The values of a set, as policies write them. */
export function formatValues(values: Values): string {
  if (values instanceof Addresses) return listed(values.ranges.map(formatRange));
  const texts = values instanceof Lists ? values.texts : values;
  if (!(texts instanceof Texts)) return "some values";
  const exact = [...texts.exact.values()].map((parts) => parts.join("/") || '""');
  return listed([...exact, ...texts.patterns.map((parts) => parts.map(formatPattern).join("/"))]);
}

const formatPattern = ({ tokens }: Pattern): string =>
  tokens
    .map((token) => (typeof token === "string" ? token : token.slash || token.atLeast === 0 ? "*" : "{*}"))
    .join("") || '""';

/** `namespace web`, `service account web/client`, or the pattern of the whole identity. */
function formatIdentities(values: Values): string {
  if (!(values instanceof Texts)) return "some identities";
  const exact = [...values.exact.values()].map(([, namespace, account]) => `service account ${namespace}/${account}`);
  const patterns = values.patterns.map((parts) => {
    const [domain = "", namespace = "", account = ""] = parts.map(formatPattern);
    if (account === "*" && namespace === "*")
      return domain === "*" ? "anybody with an identity" : "workloads of the mesh";
    if (account === "*" && !namespace.includes("*")) return `namespace ${namespace}`;
    if (!`${namespace}${account}`.includes("*")) return `service account ${namespace}/${account}`;
    return `${domain}/ns/${namespace}/sa/${account}`;
  });
  return listed([...new Set([...exact, ...patterns])]);
}

/** A CIDR block, one address, or the first and the last one. */
function formatRange({ first, last }: { readonly first: bigint; readonly last: bigint }): string {
  if (first === last) return formatAddress(first);
  const size = last - first + 1n;
  const base = isIPv6(first) ? first - (1n << 32n) : first;
  const isBlock = (size & (size - 1n)) === 0n && base % size === 0n;
  if (!isBlock) return `${formatAddress(first)}-${formatAddress(last)}`;
  const bits = (isIPv6(first) ? 128 : 32) - (size.toString(2).length - 1);
  return `${formatAddress(first)}/${bits}`;
}
