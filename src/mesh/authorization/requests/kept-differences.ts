import { KeptIn } from "../../../view/kept-in.ts";
import { type Box, everyRequest } from "./boxes.ts";
import { matchOf } from "./changed-rules.ts";
import { inside, outside } from "./difference.ts";
import type { Match } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import type { Kept, Work } from "./work.ts";

// `inside` and `outside` of lists of rules that thousands of workloads share. What does not depend on the workload is found once.

/** The requests that no rule of any list matches, from one of the lists on. */
export function* outsideLists(
  box: Box,
  lists: readonly (readonly Ruled[])[],
  next: number,
  work: Work,
): Generator<Box, undefined> {
  const first = lists[next];
  if (first === undefined) yield box;
  else for (const left of outsideList(box, first, work)) yield* outsideLists(left, lists, next + 1, work);
}

/** The lists with so many rules are compared once with each set of requests: a mesh-wide policy is the same in all namespaces. */
const manyRules = 8;
/** The work to find that no rule of a list matches any request of a set. */
const apart = new KeptIn<readonly Ruled[], WeakMap<Box, number>>();

/** The requests that no rule of a list matches. */
function* outsideList(box: Box, list: readonly Ruled[], work: Work): Generator<Box, undefined> {
  const known = apart.get(list)?.get(box);
  if (known !== undefined) {
    work.spend(known);
    yield box;
    return;
  }
  const before = work.spent;
  for (const left of outside(box, matchesOf(list), work)) {
    if (left === box && list.length >= manyRules) {
      const boxes = apart.get(list) ?? new WeakMap<Box, number>();
      apart.set(list, boxes.set(box, work.spent - before));
    }
    yield left;
  }
}

const insideAny = new KeptIn<Match, Kept>();

/** As `inside`. Of all requests, those that a rule of one box matches depend on the rule alone, and are found once for all places. */
export function knownInside(box: Box, match: Match, work: Work): Iterable<Box> {
  if (box !== everyRequest || match.sources.length !== 1 || match.operations.length !== 1)
    return inside(box, match, work);
  let known = insideAny.get(match);
  if (known === undefined) {
    const before = work.spent;
    const result = [...inside(box, match, work)];
    insideAny.set(match, (known = { result, spent: work.spent - before }));
  } else work.spend(known.spent);
  return known.result as readonly Box[];
}

const matches = new KeptIn<readonly Ruled[], readonly Match[]>();

/** Thousands of workloads can share a list of rules. */
function matchesOf(rules: readonly Ruled[]): readonly Match[] {
  let found = matches.get(rules);
  if (found === undefined) matches.set(rules, (found = rules.map(matchOf)));
  return found;
}
