import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { allRequests, type RequestSet, simplified, without } from "../authorization/requests/sets.ts";
import { Undecided, type Work } from "../authorization/requests/work.ts";
import { writtenClause } from "../authorization/requests/written.ts";
import { conditionInWords, listedValues } from "./box-wording.ts";

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
function formatBox({ clauses }: Box, { values: most }: WordingLimits): string {
  if (clauses.length === 0) return "all requests";
  const of = (attribute: Attribute) => clauses.filter((clause) => clause.attribute === attribute);
  const [methods, paths] = [of("method"), of("path")];
  const others = clauses.filter(({ attribute }) => attribute !== "method" && attribute !== "path");
  return [
    methods.length === 0
      ? paths.length === 0
        ? "requests"
        : "any method"
      : valuesOrAnyBut(methods, "any method", most),
    ...(paths.length === 0 ? [] : [`on ${valuesOrAnyBut(paths, "any path", most)}`]),
    ...others.map((clause) => conditionInWords(clause, most)).sort(),
  ].join(" ");
}

/** `GET, POST`, `any method but GET`, `/a* but not /a/b`. */
function valuesOrAnyBut(clauses: readonly Clause[], any: string, most: number): string {
  const lists = (not: boolean) => clauses.filter((clause) => clause.not === not).map(writtenClause);
  const excluded = [...new Set(lists(true).flatMap(({ values }) => values))].sort();
  const required = lists(false).map(({ values }) => listedValues(values, most));
  const but = listedValues(excluded, most);
  if (required.length === 0) return `${any} but ${but}`;
  return `${required.join(" and also ")}${excluded.length === 0 ? "" : ` but not ${but}`}`;
}
