import { mostSteps } from "./cost.ts";
import { type Expression, partsOf } from "./program.ts";

// The cost of an expression before it is evaluated. Kubernetes estimates it from the sizes that the schema of a kind allows
// (apiserver pkg/cel/library/cost.go); the schemas of Istio allow any size, so the estimate is the size at which it costs too much.

/** The items that each list of an object may have at least, before an evaluation costs too much. */
const fewestItems = 20;

/**
 * Why an expression is too costly to be used: as soon as each list has this many items, its macros take more steps than one
 * evaluation may. Undefined: it is not, for lists of {@link fewestItems} items.
 */
export function costProblem(root: Expression): string | undefined {
  if (steps(root, fewestItems) <= mostSteps) return undefined;
  let items = fewestItems;
  while (items > 1 && steps(root, items - 1) > mostSteps) items--;
  return `it is too costly: its macros visit lists within lists, which takes more than ${mostSteps} steps as soon as each list has ${items} ${items === 1 ? "item" : "items"}; look into fewer lists at once, for example with filter() before, or split the rule`;
}

/** The steps of all macros, if each list whose size is not written down has so many items. Stops counting far above the limit. */
function steps(expression: Expression | undefined, items: number): number {
  if (expression === undefined) return 0;
  const { exprKind } = expression;
  if (exprKind.case !== "comprehensionExpr")
    return partsOf(expression).reduce((sum, part) => Math.min(sum + steps(part, items), far), 0);
  const { iterRange, accuInit, loopCondition, loopStep, result } = exprKind.value;
  const each = 1 + steps(loopCondition, items) + steps(loopStep, items);
  const once = [iterRange, accuInit, result].reduce((sum, part) => sum + steps(part, items), 0);
  return Math.min(once + sizeOf(iterRange, items) * each, far);
}
const far = 1e9;

/** The items of what a macro visits. A macro that fills a list from another makes one that is as long at most. */
function sizeOf(range: Expression | undefined, items: number): number {
  if (range?.exprKind.case === "listExpr") return range.exprKind.value.elements.length;
  if (range?.exprKind.case === "structExpr") return range.exprKind.value.entries.length;
  if (range?.exprKind.case === "comprehensionExpr") return sizeOf(range.exprKind.value.iterRange, items);
  return items;
}
