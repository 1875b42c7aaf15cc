/** Whether every label of the selector stands on the object; an empty selector selects everything. */
export function selects(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  for (const key in selector) if (labels[key] !== selector[key]) return false;
  return true;
}

/** Labels as users write them, in an order that does not depend on theirs: `app=api, version=v1`. */
export const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(", ");

/** A selector of Kubernetes' own kinds, which asks for more than equal values. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

/** As Kubernetes has it: all parts must hold, an empty selector selects everything (apimachinery LabelSelectorAsSelector). */
export const selectsByExpression = (
  { matchLabels, matchExpressions }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean => selects(matchLabels, labels) && matchExpressions.every((expression) => holds(expression, labels));

/** An operator that does not exist makes the whole selector an error, which selects nothing. */
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
