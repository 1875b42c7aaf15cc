import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, type Clause, opposite } from "../authorization/requests/boxes.ts";
import { ListsBeyond } from "../authorization/requests/lists.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { absent } from "../authorization/requests/values.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { writtenValues } from "../authorization/requests/written.ts";

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
    .flatMap(([, some]) =>
      some.filter(({ values }) => !(values instanceof ListsBeyond)).map((clause) => conditionInWords(clause)),
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
    clauses
      .filter((clause) => clause.not === not)
      .map(({ attribute, values }) => listedValues(writtenValues(values, attribute)));
  const [required, excluded] = [shown(false), shown(true)];
  if (excluded.length === 0) return required.join(" and ");
  const start = required.length === 0 ? `${any} but` : `${required.join(" and ")} but not`;
  return `${start} ${excluded.join(", ")}`;
}

/** A condition on anything but method and path: `with header x-role: admin`, `to host api.example`. */
export function conditionInWords({ attribute, values, not }: Clause, most = mostShown): string {
  if (values === absent) return absenceInWords(attribute, not);
  const written = writtenValues(values, attribute);
  const [is, isNot, any] = phraseOf(attribute);
  const shown = listedValues(attribute === "identity" ? written.map(identityInWords) : written, most);
  const separator = attribute.includes(" ") ? ": " : " ";
  return `${not ? isNot : is}${shown === any ? "" : separator + shown}`;
}

/** The words for a value of an attribute, for no such value, and the list that is every value. */
function phraseOf(attribute: Attribute): readonly [is: string, isNot: string, any?: string] {
  const [kind = "", ...words] = attribute.split(" ");
  if (words.length === 0) return phrases.get(attribute) ?? ["with", "without"];
  const name = `${kind === "query" ? "query parameter" : kind} ${words.join(" ")}`;
  return [`with ${name}`, `without ${name}`, "*"];
}

const absenceInWords = (attribute: Attribute, not: boolean): string =>
  `${not ? "with" : "without"} ${attribute === "token" ? "a token" : "an identity"}`;

const phrases: ReadonlyMap<string, readonly [is: string, isNot: string, any?: string]> = new Map([
  ["host", ["to host", "to another host than"]],
  ["identity", ["from", "not from"]],
  ["token", ["with a token", "without a token", "*/*"]],
  ["source.ip", ["from address", "not from address"]],
  ["remote.ip", ["forwarded for", "not forwarded for"]],
  ["destination.ip", ["to address", "not to address"]],
  ["sni", ["with SNI", "without SNI"]],
]);

/** `a, b and 3 more`. */
export const listedValues = (texts: readonly string[], most = mostShown): string =>
  texts.length > most
    ? `${texts.slice(0, most).join(", ")} and ${texts.length - most} more`
    : texts.map((text) => text || '""').join(", ");

/** `namespace web`, `service account web/client`, or the pattern of the whole identity. */
function identityInWords(identity: string): string {
  const account = /\/ns\/([^*]*)\/sa\/([^*]+)$/.exec(identity);
  if (account !== null) return `service account ${account[1]}/${account[2]}`;
  const namespace = /\/ns\/([^*]*)\/sa\/\*$/.exec(identity);
  if (namespace !== null) return `namespace ${namespace[1]}`;
  if (!identity.endsWith("/ns/*/sa/*")) return identity;
  return identity.startsWith("*") ? "anybody with an identity" : "workloads of the mesh";
}
