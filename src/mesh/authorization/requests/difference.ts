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
export const outside = (box: Box, matches: readonly Match[], work: Work): Generator<Box, undefined> =>
  outsideEach(box, matches, (one, match) => outsideMatch(one, match, work));

/** The parts of a box that are outside of each item. `divided` has those outside of one; undefined: it has all of the box. */
function* outsideEach<T>(
  box: Box,
  items: readonly T[],
  divided: (box: Box, item: T) => Iterator<Box> | undefined,
): Generator<Box, undefined> {
  // A stack of its own: there can be more items than calls fit into the stack.
  const open: { readonly parts: Iterator<Box>; readonly next: number }[] = [{ parts: [box].values(), next: 0 }];
  for (let last = open.at(-1); last !== undefined; last = open.at(-1)) {
    const { done, value: part } = last.parts.next();
    if (done === true) {
      open.pop();
      continue;
    }
    let { next } = last;
    let parts: Iterator<Box> | undefined;
    for (; next < items.length && parts === undefined; next++) parts = divided(part, items[next] as T);
    if (parts === undefined) yield part;
    else open.push({ parts, next });
  }
}

function outsideMatch(box: Box, match: Match, work: Work): Iterator<Box> | undefined {
  return overlaps(box, match, work) ? outsideOverlapping(box, match, work) : undefined;
}

/** Whether a rule matches a request of a box. Most rules match none, so that this makes no boxes one by one as `inside` does. */
function overlaps(box: Box, { sources, operations, conditions }: Match, work: Work): boolean {
  const meeting = box.withAll(conditions, work);
  if (meeting === undefined) return false;
  return sources.some((source) => {
    const sent = meeting.withAll(source, work);
    return sent !== undefined && operations.some((operation) => sent.withAll(operation, work) !== undefined);
  });
}

function* outsideOverlapping(
  box: Box,
  { sources, operations, conditions }: Match,
  work: Work,
): Generator<Box, undefined> {
  yield* outsideClauses(box, conditions, work);
  const meeting = box.withAll(conditions, work);
  if (meeting === undefined) return;
  yield* outsideAll(meeting, sources, work);
  for (const source of sources) {
    const sent = meeting.withAll(source, work);
    if (sent !== undefined) yield* outsideAll(sent, operations, work);
  }
}

const outsideAll = (box: Box, alternatives: readonly Clauses[], work: Work): Generator<Box, undefined> =>
  outsideEach(box, alternatives, (one, clauses) =>
    clauses.length > 1 && one.withAll(clauses, work) === undefined ? undefined : outsideClauses(one, clauses, work),
  );

function* outsideClauses(box: Box, clauses: Clauses, work: Work): Generator<Box, undefined> {
  let meeting: Box | undefined = box;
  for (const clause of clauses) {
    const without: Box | undefined = meeting.with(opposite(clause), work);
    if (without !== undefined) yield without;
    meeting = meeting.with(clause, work);
    if (meeting === undefined) return;
  }
}

/** Whether a rule matches a request in which every attribute that the rule asks for has a value. */
export const isMatched = ({ sources, operations, conditions }: Match, request: Request): boolean =>
  isMet(conditions, request) &&
  sources.some((clauses) => isMet(clauses, request)) &&
  operations.some((clauses) => isMet(clauses, request));

export const isMet = (clauses: Clauses, request: Request): boolean =>
  clauses.every(({ attribute, values, not }) => values.has(request.get(attribute)) !== not);
