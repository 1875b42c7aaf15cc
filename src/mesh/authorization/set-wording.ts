import type { Attribute } from "./requests/attributes.ts";
import type { Box } from "./requests/boxes.ts";
import { allRequests, type RequestSet, simplified, without } from "./requests/sets.ts";
import { Undecided, type Work } from "./requests/work.ts";
import { type WrittenClause, writtenClause } from "./requests/written.ts";

/** How many values, and how many alternatives, a text lists before it only counts. */
export interface WordingLimits {
  readonly values: number;
  readonly alternatives: number;
}
export const everything: WordingLimits = { values: Number.POSITIVE_INFINITY, alternatives: Number.POSITIVE_INFINITY };

/**
 * A set of requests in words: `GET, HEAD on /public/*; POST on /orders`, `all requests but DELETE on /admin/*`. Of both forms
 * the one with fewer conditions is used, if there are several alternatives.
 */
export function formatSet(set: RequestSet, limits: WordingLimits, work: Work): string {
  const rest = set.length === 1 ? undefined : complementOf(set, work);
  if (rest !== undefined && sizeOf(rest) < sizeOf(set))
    return rest.length === 0 ? "all requests" : `all requests but ${formatBoxes(rest, limits)}`;
  return set.length === 0 ? "no requests" : formatBoxes(set, limits);
}

const sizeOf = (set: RequestSet): number =>
  set.reduce((sum, { clauses }) => sum + clauses.reduce((count, { not }) => count + (not ? 2 : 1), 1), 0);

/** The other requests; undefined: no set that says what is not in it, or it takes too much work. */
function complementOf(set: RequestSet, work: Work): RequestSet | undefined {
  if (!set.some(({ clauses }) => clauses.some(({ not }) => not))) return undefined;
  try {
    return simplified(without(allRequests, set, work), work);
  } catch (error) {
    if (error instanceof Undecided) return undefined;
    throw error;
  }
}

const formatBoxes = (set: RequestSet, limits: WordingLimits): string => {
  const shown = set.slice(0, limits.alternatives).map((box) => formatBox(box, limits));
  const more = set.length - shown.length;
  return more > 0 ? `${shown.join("; ")}; and ${more} more` : shown.join("; ");
};

/** The conditions of a box in words. */
function formatBox({ clauses }: Box, limits: WordingLimits): string {
  if (clauses.length === 0) return "all requests";
  const byAttribute = Map.groupBy(clauses.map(writtenClause), ({ attribute }) => attribute);
  const said = (attribute: Attribute) => saidOf(byAttribute.get(attribute) ?? [], limits);
  const [method, path] = [said("method"), said("path")];
  const others = [...byAttribute.keys()].filter((attribute) => attribute !== "method" && attribute !== "path").sort();
  return [
    methodText(method, path !== undefined),
    path === undefined ? "" : `on ${orAnyBut(path, "any path")}`,
    ...others.map((attribute) => otherText(attribute, byAttribute.get(attribute) ?? [], limits)),
  ]
    .filter((part) => part !== "")
    .join(" ");
}

/** The values of one attribute in words: those that it has one of, and those that it has none of. */
interface Said {
  readonly of: string;
  readonly but: string;
}

function saidOf(clauses: readonly WrittenClause[], { values: most }: WordingLimits): Said | undefined {
  if (clauses.length === 0) return undefined;
  const lists = (not: boolean) => clauses.filter((clause) => clause.not === not).map(({ values }) => values);
  const excluded = [...new Set(lists(true).flat())].sort();
  return {
    of: lists(false)
      .map((list) => firstOf(list, most))
      .join(" and also "),
    but: firstOf(excluded, most),
  };
}

/** `a, b and 3 more`. */
function firstOf(values: readonly string[], most: number): string {
  const shown = values.slice(0, most).map((value) => value || '""');
  const more = values.length - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more} more` : shown.join(", ");
}

const orAnyBut = ({ of, but }: Said, any: string): string => {
  if (of === "") return `${any} but ${but}`;
  return but === "" ? of : `${of} but not ${but}`;
};

function methodText(said: Said | undefined, hasPath: boolean): string {
  if (said !== undefined) return orAnyBut(said, "any method");
  return hasPath ? "any method" : "requests";
}

const prepositions: ReadonlyMap<Attribute, string> = new Map([
  ["host", "to host"],
  ["port", "to port"],
  ["destination.ip", "to address"],
  ["source.ip", "from address"],
  ["remote.ip", "from original address"],
  ["sni", "with SNI"],
] as const);

function otherText(attribute: Attribute, clauses: readonly WrittenClause[], limits: WordingLimits): string {
  const preposition = prepositions.get(attribute);
  const said = saidOf(clauses, limits);
  if (preposition !== undefined && said !== undefined) return `${preposition} ${orAnyBut(said, "any")}`;
  return clauses.map((clause) => propertyText(attribute, clause, limits)).join(" ");
}

/** A header, a claim or a token, which a request need not have. */
function propertyText(attribute: Attribute, { values, not }: WrittenClause, limits: WordingLimits): string {
  if (attribute === "token") return tokenText(values, not, limits);
  const isAny = values.length === 1 && values[0] === "*";
  return `${not ? "without" : "with"} ${attribute}${isAny ? "" : `: ${firstOf(values, limits.values)}`}`;
}

function tokenText(values: readonly string[], not: boolean, limits: WordingLimits): string {
  // No values: the request has no token.
  if (values.length === 0) return not ? "with a token" : "without a token";
  if (values.length === 1 && values[0] === "*/*") return not ? "without a token" : "with a token";
  return `${not ? "without a token of" : "with a token of"} ${firstOf(values, limits.values)}`;
}
