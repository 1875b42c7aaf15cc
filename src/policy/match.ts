import { selects } from "../mesh/objects/selectors.ts";
import type { Labels, MatchSpec, Where } from "./documents.ts";
import { globs, isGlob } from "./globs.ts";

/** Who asks for a change. There is none where objects are judged without a request: in check and in audit. */
export interface Requester {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly user: string;
  readonly groups: readonly string[];
  readonly fieldManager: string;
}

/** An object and the namespace that it lives in. A Namespace lives in itself. */
export interface Place {
  /** Empty: in none. */
  readonly namespace: string;
  readonly namespaceLabels: Labels;
  readonly name: string;
  readonly labels: Labels;
}

export interface Match {
  /** The greater, the more specific. */
  readonly specificity: number;
  readonly readsNamespace: boolean;
  readonly readsObject: boolean;
  /** What it reads can differ between the two sides of one change. */
  readonly readsLabels: boolean;
  isBy(requester: Requester | undefined): boolean;
  covers(place: Place): boolean;
}

/**
 * What makes a match more specific, strongest first. Each outweighs all that follow it together, so that two matches
 * compare as their strongest difference does.
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
 * A document's match, compiled: one for its namespaces' exact names and one for their globs, because the two are not
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

/** Names and labels both, where both are given. */
export function compileWhere(where: Where | undefined): (name: string, labels: Labels) => boolean {
  if (where === undefined) return () => true;
  const named = where.names === undefined ? undefined : globs(where.names);
  const { labels: wanted = {} } = where;
  return (name, labels) => (named === undefined || named.matches(name)) && selects(wanted, labels);
}

/**
 * Where nobody asks, nobody's users and groups match, and a document for creating or updating does: what lies in a file
 * or in a cluster is what somebody creates.
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
