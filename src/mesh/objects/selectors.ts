/** Whether the object has every label of the selector; an empty selector selects everything. */
export function selects(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  for (const key of keysOf(selector)) if (labels[key] !== selector[key]) return false;
  return true;
}

/** To list the keys of a selector with thousands of labels takes longer than to find that the first one differs. */
const keysOfLong = new WeakMap<Readonly<Record<string, string>>, readonly string[]>();
const longKeys = 32;

function keysOf(selector: Readonly<Record<string, string>>): readonly string[] {
  const known = keysOfLong.get(selector);
  if (known !== undefined) return known;
  const keys = Object.keys(selector);
  if (keys.length > longKeys) keysOfLong.set(selector, keys);
  return keys;
}

/** The labels that a policy of Istio selects workloads by; none: it selects all of its namespace. */
export const matchLabelsOf = ({ spec: { selector } }: SelectingPolicy): Readonly<Record<string, string>> =>
  selector?.matchLabels ?? noLabels;
const noLabels: Readonly<Record<string, string>> = Object.freeze({});
interface SelectingPolicy {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> | undefined } | undefined;
  };
}

/** Formats labels in a stable order: `app=api, version=v1`. */
export const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(", ");

/** A label selector of Kubernetes kinds, with matchExpressions. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

/**
 * All parts of the selector must match; an empty selector selects everything (apimachinery LabelSelectorAsSelector).
 */
export const selectsByExpression = (
  { matchLabels, matchExpressions }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean => selects(matchLabels, labels) && matchExpressions.every((expression) => holds(expression, labels));

/** An unknown operator makes the whole selector invalid, so that it selects nothing. */
function holds(
  { key, operator, values }: LabelSelector["matchExpressions"][number],
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = labels[key];
  if (operator === "Exists") return value !== undefined;
  if (operator === "DoesNotExist") return value === undefined;
  if (operator === "In") return value !== undefined && values.includes(value);
  return operator === "NotIn" && (value === undefined || !values.includes(value));
}

/** Whether Kubernetes can read the selector (apimachinery labels.NewRequirement). */
export const isValidSelector = ({ matchExpressions }: LabelSelector): boolean =>
  matchExpressions.every(({ operator, values }) =>
    operator === "In" || operator === "NotIn"
      ? values.length > 0
      : (operator === "Exists" || operator === "DoesNotExist") && values.length === 0,
  );
