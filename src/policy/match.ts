import { selects } from "../mesh/objects/selectors.ts";
import type { Labels, MatchSpec, Requester, Where } from "./documents.ts";
import { globs, isGlob } from "../text/globs.ts";

export type { Requester };

/** An object and the namespace that it belongs to. A Namespace belongs to itself. */
export interface Place {
  /** Empty for a cluster-scoped object. */
  readonly namespace: string;
  readonly namespaceLabels: Labels;
  readonly name: string;
  readonly labels: Labels;
}

export interface Match {
  /** A greater number is more specific. */
  readonly specificity: number;
  readonly readsNamespace: boolean;
  readonly readsObject: boolean;
  /** Whether the result can differ between the states before and after one change. */
  readonly readsLabels: boolean;
  isBy(requester: Requester | undefined): boolean;
  covers(place: Place): boolean;
}

/**
 * The conditions that make a match more specific, strongest first. Each one outweighs all that follow it, so the
 * strongest difference between two matches decides.
 */
const weights = {
  requester: 64,
  objectNames: 32,
  objectLabels: 16,
  namespaceName: 8,
  namespaceGlob: 4,
  namespaceLabels: 2,
  operations: 1,
} as const;

/**
 * The compiled match of a document: one for the exact names of namespaces and one for the globs, because they are not
 * equally specific.
 */
export function compileMatch(spec: MatchSpec = {}): readonly Match[] {
  const { namespaces } = spec;
  if (namespaces?.names === undefined) return [compileOne(spec, namespaces)];
  const parts = [namespaces.names.filter((name) => !isGlob(name)), namespaces.names.filter(isGlob)];
  return parts.filter((names) => names.length > 0).map((names) => compileOne(spec, { ...namespaces, names }));
}

function compileOne(spec: MatchSpec, namespaces: Where | undefined): Match {
  const inNamespace = compileWhere(namespaces);
  const isObject = compileWhere(spec.objects);
  return {
    specificity: specificityOf(spec, namespaces),
    readsNamespace: namespaces !== undefined,
    readsObject: spec.objects !== undefined,
    readsLabels: namespaces?.labels !== undefined || spec.objects?.labels !== undefined,
    isBy: compileRequester(spec),
    covers: ({ namespace, namespaceLabels, name, labels }) =>
      (namespaces === undefined || (namespace !== "" && inNamespace(namespace, namespaceLabels))) &&
      isObject(name, labels),
  };
}

function specificityOf({ users, groups, objects, operations }: MatchSpec, namespaces: Where | undefined): number {
  const namespaceNames = namespaces?.names?.some(isGlob) ? "namespaceGlob" : "namespaceName";
  const conditions: readonly (readonly [keyof typeof weights, unknown])[] = [
    ["requester", users ?? groups],
    ["objectNames", objects?.names],
    ["objectLabels", objects?.labels],
    [namespaceNames, namespaces?.names],
    ["namespaceLabels", namespaces?.labels],
    ["operations", operations],
  ];
  return conditions.reduce((sum, [of, condition]) => sum + (condition === undefined ? 0 : weights[of]), 0);
}

/** Requires both, if a selector has both names and labels. */
export function compileWhere(where: Where | undefined): (name: string, labels: Labels) => boolean {
  if (where === undefined) return () => true;
  const named = where.names === undefined ? undefined : globs(where.names);
  const { labels: wanted = {} } = where;
  return (name, labels) => (named === undefined || named.matches(name)) && selects(wanted, labels);
}

/**
 * Without a requester, a match with users or groups does not match, and one with operations matches if it contains
 * CREATE or UPDATE, because an object in a file or in a cluster is treated as one that is created.
 */
function compileRequester({ users, groups, operations }: MatchSpec): Match["isBy"] {
  const anybody = users === undefined && groups === undefined;
  const userNames = globs(users ?? []);
  const groupNames = globs(groups ?? []);
  return (requester) => {
    if (requester === undefined)
      return anybody && (operations === undefined || operations.some((operation) => operation !== "DELETE"));
    if (operations !== undefined && !operations.includes(requester.operation)) return false;
    return anybody || userNames.matches(requester.user) || requester.groups.some((group) => groupNames.matches(group));
  };
}
