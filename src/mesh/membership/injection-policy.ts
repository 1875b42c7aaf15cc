import type { Labels } from "../../kube/object.ts";
import type { InjectionPolicy } from "../../view/control-planes.ts";
import { formatLabels, isValidSelector, type LabelSelector, selectsByExpression } from "../objects/selectors.ts";

/** Why an injector leaves a pod alone that it is asked about: a selector, or what its `policy` says. */
export type Refusal =
  | { readonly by: "neverInjectSelector"; readonly selector: LabelSelector }
  | { readonly by: "policy"; readonly policy: string };

/**
 * Why the configuration of an injector leaves out pods with these labels, which do not say themselves whether they are injected.
 * Undefined: it injects them. The first of these decides: neverInjectSelector, alwaysInjectSelector, the policy; any policy but
 * `enabled` is none (Istio pkg/kube/inject/inject.go injectRequired).
 */
export function refusalBy(policy: InjectionPolicy | undefined, labels: Labels): Refusal | undefined {
  if (policy === undefined) return undefined;
  const never = policy.neverInjectSelector.find((selector) => selectsPods(selector, labels));
  if (never !== undefined) return { by: "neverInjectSelector", selector: never };
  if (policy.alwaysInjectSelector.some((selector) => selectsPods(selector, labels))) return undefined;
  return policy.policy === "enabled" ? undefined : { by: "policy", policy: policy.policy ?? "" };
}

/** The injector passes over a selector that is empty or invalid. */
const selectsPods = (selector: LabelSelector, labels: Labels): boolean =>
  Object.keys(selector.matchLabels).length + selector.matchExpressions.length > 0 &&
  isValidSelector(selector) &&
  selectsByExpression(selector, labels);

/** The selector or the policy, for users. */
export const refusalText = (refusal: Refusal): string =>
  refusal.by === "policy"
    ? `the policy is ${JSON.stringify(refusal.policy)}`
    : `neverInjectSelector selects ${selectorText(refusal.selector)}`;

const selectorText = ({ matchLabels, matchExpressions }: LabelSelector): string =>
  [
    formatLabels(matchLabels),
    ...matchExpressions.map(({ key, operator, values }) => [key, operator, values.join("|")].filter(Boolean).join(" ")),
  ]
    .filter(Boolean)
    .join(", ");
