import type { Labels } from "../kube/object.ts";
import { protectedLabel } from "../kube/meshward-metadata.ts";
import type { Policies } from "../policy/policies.ts";
import { isGlob } from "../text/globs.ts";

/** The namespaces whose webhooks fail closed: those with one of the names, and those with all labels of one selector. */
export interface ProtectedNamespaces {
  /** Exact, because the selector of a webhook has no globs. */
  readonly names?: readonly string[];
  readonly labels?: readonly Labels[];
}

/** The protected namespaces of the profiles. */
export const protectedByDefault: ProtectedNamespaces = { labels: [{ [protectedLabel.key]: "true" }] };

/** The namespaces that policies protect. Names with `*` are left out: protect these namespaces by a label as well. */
export function protectedNamespacesOf(policies: Policies): ProtectedNamespaces {
  const names = policies.documents.flatMap(({ spec }) => spec.protectedNamespaces?.names ?? []);
  return { names: [...new Set(names)].filter((name) => !isGlob(name)).sort(), labels: policies.protectedSelectors };
}

export interface Requirement {
  readonly key: string;
  readonly operator: "In" | "NotIn";
  readonly values: readonly string[];
}
export interface MatchCondition {
  readonly name: string;
  readonly expression: string;
}

/** What one of several webhooks matches, which together match each request of the original one exactly once. */
export interface Share {
  /** Added to the first part of the name of the webhook. */
  readonly suffix: string;
  readonly failsClosed: boolean;
  readonly requirements: readonly Requirement[];
  readonly conditions: readonly MatchCondition[];
}

const namespaceName = "kubernetes.io/metadata.name";

/**
 * Divides a webhook for objects in namespaces: outside of protected namespaces; inside, what fails closed; and inside,
 * the rest. A request that a cluster needs to recover is never in the part that fails closed: see `recovers`.
 */
export function sharesOf(
  { names = [], labels = [] }: ProtectedNamespaces,
  { operations, rootNamespace }: { readonly operations: readonly string[]; readonly rootNamespace: string },
): readonly Share[] {
  const groups: { readonly inside: readonly Requirement[]; readonly outside: readonly Requirement[] }[] = [];
  if (names.length > 0) groups.push(alternatives({ [namespaceName]: names }));
  for (const selector of labels)
    groups.push(alternatives(Object.fromEntries(Object.entries(selector).map(([key, value]) => [key, [value]]))));
  const failing = failsClosed(operations, rootNamespace);
  const rest = { name: "does-not-fail-closed", expression: `!(${failing.expression})` };
  // A namespace that several selectors match belongs to the first of them.
  const inside = groups.flatMap(({ inside: requirements }, i): Share[] => {
    const earlier = groups.slice(0, i).flatMap(({ outside }) => outside);
    const number = i === 0 ? "" : `-${i + 1}`;
    const shared = [...requirements, ...earlier];
    return [
      { suffix: `-protected${number}`, failsClosed: true, requirements: shared, conditions: [failing] },
      { suffix: `-protected${number}-rest`, failsClosed: false, requirements: shared, conditions: [rest] },
    ];
  });
  const outside = groups.flatMap((group) => group.outside);
  return [{ suffix: "", failsClosed: false, requirements: outside, conditions: [] }, ...inside];
}

/**
 * The opposite of several labels cannot be said in one selector. Namespaces with such labels then match two webhooks and
 * are reviewed twice, which is correct.
 */
function alternatives(wanted: Readonly<Record<string, readonly string[]>>) {
  const entries = Object.entries(wanted);
  const all = (operator: "In" | "NotIn") => entries.map(([key, values]) => ({ key, operator, values }));
  return { inside: all("In"), outside: entries.length === 1 ? all("NotIn") : [] };
}

/**
 * Whether a request fails closed. Who sends it and whether the stored object is being deleted are facts that the writer
 * of the object cannot choose.
 */
function failsClosed(operations: readonly string[], rootNamespace: string): MatchCondition {
  const listed = operations.map((operation) => `'${operation}'`).join(", ");
  return {
    name: "fails-closed",
    expression:
      `request.operation in [${listed}] && (!has(request.subResource) || request.subResource == '') && ` +
      `!(${isByControlPlane(rootNamespace)}) && !(${isBeingDeleted})`,
  };
}

/** Nodes, Kubernetes' controllers and istiod, which repair a cluster, and collect what was deleted. */
const isByControlPlane = (rootNamespace: string): string =>
  "(has(request.userInfo.username) && request.userInfo.username in " +
  "['system:kube-controller-manager', 'system:kube-scheduler']) || (has(request.userInfo.groups) && (" +
  ["system:nodes", "system:serviceaccounts:kube-system", `system:serviceaccounts:${rootNamespace}`]
    .map((group) => `'${group}' in request.userInfo.groups`)
    .join(" || ") +
  "))";

/** The removal of finalizers from an object that is being deleted, which blocks its namespace otherwise. */
const isBeingDeleted =
  "request.operation == 'UPDATE' && has(oldObject.metadata.deletionTimestamp) && " +
  "has(object.spec) == has(oldObject.spec) && (!has(object.spec) || object.spec == oldObject.spec)";

/** Divides the webhook for the labels of namespaces by the labels that a namespace has before the request. */
export function sharesOfNamespaces({ names = [], labels = [] }: ProtectedNamespaces): readonly Share[] {
  const selectors = labels.map((selector) =>
    Object.entries(selector)
      .map(
        ([key, value]) =>
          `${text(key)} in oldObject.metadata.labels && oldObject.metadata.labels[${text(key)}] == ${text(value)}`,
      )
      .join(" && "),
  );
  const named = names.length > 0 ? [`request.name in [${names.map(text).join(", ")}]`] : [];
  const labelled = selectors.map((selector) => `(has(oldObject.metadata.labels) && ${selector})`);
  const isProtected = [...named, ...labelled].join(" || ");
  const share = (suffix: string, expression: string): Share => ({
    suffix,
    failsClosed: suffix !== "",
    requirements: [],
    conditions: isProtected === "" ? [] : [{ name: "protection", expression }],
  });
  const rest = share("", `!(${isProtected})`);
  return isProtected === "" ? [rest] : [share("-protected", isProtected), rest];
}

/** A string of CEL. Names and labels of Kubernetes contain nothing that has to be escaped. */
const text = (value: string): string => `'${value.replaceAll(/[^\w./-]/g, "")}'`;
