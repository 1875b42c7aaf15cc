import { type Box, opposite, type Request } from "./boxes.ts";
import type { Clauses, Match } from "./matches.ts";
import type { Work } from "./work.ts";

/** The requests of a box that a rule matches, in one box for each source and operation. */
export function* inside(box: Box, { sources, operations, conditions }: Match, work: Work): Generator<Box, undefined> {
  const meeting = box.withAll(conditions, work);
  if (meeting === undefined) return;
  for (const source of sources) {
    const sent = meeting.withAll(source, work);
    if (sent === undefined) continue;
    for (const operation of operations) {
      const found = sent.withAll(operation, work);
      if (found !== undefined) yield found;
    }
  }
}

/**
 * The requests of a box that none of the rules matches, in boxes that are computed one by one. Each rule that overlaps a box
 * divides it by the conditions of the rule, so that their number can grow fast: the work is limited.
 */
export function* outside(box: Box, matches: readonly Match[], work: Work): Generator<Box, undefined> {
  const left: { readonly box: Box; readonly next: number }[] = [{ box, next: 0 }];
  for (let one = left.pop(); one !== undefined; one = left.pop()) {
    const { next } = one;
    const match = matches[next];
    if (match === undefined) yield one.box;
    else for (const part of outsideMatch(one.box, match, work).reverse()) left.push({ box: part, next: next + 1 });
  }
}

function outsideMatch(box: Box, match: Match, work: Work): Box[] {
  const overlap = inside(box, match, work).next();
  if (overlap.done === true) return [box];
  const { sources, operations, conditions } = match;
  const meeting = box.withAll(conditions, work);
  const found = outsideClauses(box, conditions, work);
  if (meeting === undefined) return found;
  found.push(...outsideAll(meeting, sources, work));
  for (const source of sources) {
    const sent = meeting.withAll(source, work);
    if (sent !== undefined) found.push(...outsideAll(sent, operations, work));
  }
  return found;
}

function outsideAll(box: Box, alternatives: readonly Clauses[], work: Work): readonly Box[] {
  let left: readonly Box[] = [box];
  for (const clauses of alternatives) {
    if (left.length === 0) return left;
    left = left.flatMap((one) => outsideClauses(one, clauses, work));
  }
  return left;
}

function outsideClauses(box: Box, clauses: Clauses, work: Work): Box[] {
  if (clauses.length === 0) return [];
  if (clauses.length > 1 && box.withAll(clauses, work) === undefined) return [box];
  const found: Box[] = [];
  let meeting: Box | undefined = box;
  for (const clause of clauses) {
    const without: Box | undefined = meeting.with(opposite(clause), work);
    if (without !== undefined) found.push(without);
    meeting = meeting.with(clause, work);
    if (meeting === undefined) return found;
  }
  return found;
}

/** Whether a rule matches a request in which every attribute that the rule asks for has a value. */
export const isMatched = ({ sources, operations, conditions }: Match, request: Request): boolean =>
  isMet(conditions, request) &&
  sources.some((clauses) => isMet(clauses, request)) &&
  operations.some((clauses) => isMet(clauses, request));

export const isMet = (clauses: Clauses, request: Request): boolean =>
  clauses.every(({ attribute, values, not }) => values.has(request.get(attribute)) !== not);
