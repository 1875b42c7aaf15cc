import type { Labels } from "../../kube/object.ts";
import type { InjectionPolicy } from "../../view/control-planes.ts";
import { formatLabels, isValidSelector, type LabelSelector, selectsByExpression } from "../objects/selectors.ts";

/** Why an injector leaves a pod alone that it is asked about: a selector, or what its `policy` says. */
export type Refusal =
  | { readonly by: "neverInjectSelector"; readonly selector: LabelSelector }
  | { readonly by: "policy"; readonly policy: string };

/**
 * Why the configuration of an injector leaves out pods with these labels, which do not say themselves whether they are injected.
 * Undefined: it injects them. The first of these decides: a policy that Istio does not know, neverInjectSelector,
 * alwaysInjectSelector, the policy (Istio pkg/kube/inject/inject.go injectRequired).
 */
export function refusalBy(policy: InjectionPolicy | undefined, labels: Labels): Refusal | undefined {
  const ofAll = refusalOfAll(policy);
  if (policy === undefined || ofAll !== undefined) return ofAll;
  const never = policy.neverInjectSelector.find((selector) => selectsPods(selector, labels));
  if (never !== undefined) return { by: "neverInjectSelector", selector: never };
  if (policy.alwaysInjectSelector.some((selector) => selectsPods(selector, labels))) return undefined;
  return policy.policy === "enabled" ? undefined : { by: "policy", policy: policy.policy ?? "" };
}

/** Why the configuration injects no pod, whatever the pods say themselves: its policy is neither of those that Istio knows. */
export function refusalOfAll(policy: InjectionPolicy | undefined): Refusal | undefined {
  if (policy === undefined || knownPolicies.has(policy.policy ?? "")) return undefined;
  return { by: "policy", policy: policy.policy ?? "" };
}
const knownPolicies: ReadonlySet<string> = new Set(["enabled", "disabled"]);

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
