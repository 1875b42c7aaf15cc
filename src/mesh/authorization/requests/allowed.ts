import type { Rules } from "./applied.ts";
import type { Box } from "./boxes.ts";
import { inside } from "./difference.ts";
import { outsideLists } from "./kept-differences.ts";
import type { Ruled } from "./policies.ts";
import type { Work } from "./work.ts";

/** Requests that a rule allows; undefined: no ALLOW policy applies. */
export interface Allowed {
  readonly box: Box;
  readonly by: Ruled | undefined;
}

/** The requests of a box that the rules allow, and that none of them denies. */
export function* allowedBy(rules: readonly Rules[], box: Box, work: Work): Generator<Allowed, undefined> {
  const refusing = rules.map(({ deny }) => deny);
  const allowing = rules.some(({ hasAllow }) => hasAllow) ? rules.flatMap(({ allow }) => allow) : [undefined];
  for (const by of allowing)
    for (const one of by === undefined ? [box] : inside(box, by.match, work))
      for (const left of outsideLists(one, refusing, 0, work)) yield { box: left, by };
}
