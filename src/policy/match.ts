import type { Labels } from "../kube/object.ts";
import { selects } from "../mesh/objects/selectors.ts";
import { type Globs, globs, isGlob } from "../text/globs.ts";
import type { MatchSpec, ObjectsWhere, Requester, Where, Writers } from "./documents.ts";

export type { Requester };

/** A namespace; a Namespace belongs to itself. */
export interface NamespacePlace {
  /** Empty for a cluster-scoped object. */
  readonly namespace: string;
  readonly namespaceLabels: Labels;
}

export interface ObjectPlace {
  /** As in the manifest: `Deployment`. */
  readonly kind: string;
  readonly name: string;
  readonly labels: Labels;
}

/** An object and the namespace that it belongs to. */
export interface Place extends NamespacePlace, ObjectPlace {}

export interface Match {
  /** The conditions of this match: those of the document, with the names of namespaces that are as specific. */
  readonly spec: MatchSpec;
  /** A greater number is more specific. */
  readonly specificity: number;
  readonly readsNamespace: boolean;
  readonly readsObject: boolean;
  /** Whether the result can differ between the states before and after one change. */
  readonly readsLabels: boolean;
  isBy(requester: Requester | undefined): boolean;
  coversNamespace(place: NamespacePlace): boolean;
  coversObject(place: ObjectPlace): boolean;
}

export const covers = (match: Match, place: Place): boolean =>
  match.coversNamespace(place) && match.coversObject(place);

/**
 * The conditions that make a match more specific, strongest first. Each one outweighs all that follow it, so the
 * strongest difference between two matches decides.
 */
export const conditions = [
  "requester",
  "objectNames",
  "objectLabels",
  "namespaceName",
  "namespaceGlob",
  "namespaceLabels",
  "objectKinds",
  "operations",
] as const;
export type Condition = (typeof conditions)[number];
const weightOf = (condition: Condition): number => 2 ** (conditions.length - 1 - conditions.indexOf(condition));

/**
 * The compiled match of a document: one for the exact names of namespaces and one for the globs, because they are not
 * equally specific.
 */
export function compileMatch(spec: MatchSpec = {}): readonly Match[] {
  const { namespaces } = spec;
  if (namespaces?.names === undefined) return [compileOne(spec)];
  const parts = [namespaces.names.filter((name) => !isGlob(name)), namespaces.names.filter(isGlob)];
  return parts
    .filter((names) => names.length > 0)
    .map((names) => compileOne({ ...spec, namespaces: { ...namespaces, names } }));
}

function compileOne(spec: MatchSpec): Match {
  const { namespaces, objects } = spec;
  const inNamespace = compileWhere(namespaces);
  return {
    spec,
    specificity: conditionsOf(spec).reduce((sum, condition) => sum + weightOf(condition), 0),
    readsNamespace: namespaces !== undefined,
    readsObject: objects !== undefined,
    readsLabels: namespaces?.labels !== undefined || objects?.labels !== undefined,
    isBy: compileRequester(spec),
    coversNamespace: ({ namespace, namespaceLabels }) =>
      namespaces === undefined || (namespace !== "" && inNamespace(namespace, namespaceLabels)),
    coversObject: compileObjects(objects),
  };
}

const isByGlob = ({ namespaces }: MatchSpec): boolean => namespaces?.names?.some(isGlob) === true;

/** What a match must have for each condition to count. */
const isSet: Readonly<Record<Condition, (spec: MatchSpec) => boolean>> = {
  requester: ({ users, groups, serviceAccounts }) => (users ?? groups ?? serviceAccounts) !== undefined,
  objectNames: ({ objects }) => objects?.names !== undefined,
  objectLabels: ({ objects }) => objects?.labels !== undefined,
  namespaceName: (spec) => spec.namespaces?.names !== undefined && !isByGlob(spec),
  namespaceGlob: isByGlob,
  namespaceLabels: ({ namespaces }) => namespaces?.labels !== undefined,
  objectKinds: ({ objects }) => objects?.kinds !== undefined,
  operations: ({ operations }) => operations !== undefined,
};

/** The conditions that a match sets, strongest first. */
export const conditionsOf = (spec: MatchSpec): readonly Condition[] =>
  conditions.filter((condition) => isSet[condition](spec));

/** Requires both, if a selector has both names and labels. */
function compileWhere(where: Where | undefined): (name: string, labels: Labels) => boolean {
  if (where === undefined) return () => true;
  const named = where.names === undefined ? undefined : globs(where.names);
  const { labels: wanted = {} } = where;
  return (name, labels) => (named === undefined || named.matches(name)) && selects(wanted, labels);
}

export function compileObjects(objects: ObjectsWhere | undefined): Match["coversObject"] {
  const isObject = compileWhere(objects);
  const kinds = objects?.kinds === undefined ? undefined : new Set(objects.kinds);
  return ({ kind, name, labels }) => (kinds === undefined || kinds.has(kind)) && isObject(name, labels);
}

/** Who is one of the writers. `system:serviceaccount:<namespace>:<name>` is the user name of a service account. */
export interface CompiledWriters {
  readonly users: Globs;
  readonly groups: Globs;
  matches(requester: Pick<Requester, "user" | "groups">): boolean;
}

export function compileWriters({ users = [], groups = [], serviceAccounts = [] }: Writers): CompiledWriters {
  const accounts = serviceAccounts.map((account) => `system:serviceaccount:${account.replace("/", ":")}`);
  const userNames = globs([...users, ...accounts]);
  const groupNames = globs(groups);
  return {
    users: userNames,
    groups: groupNames,
    matches: (requester) =>
      userNames.matches(requester.user) || requester.groups.some((group) => groupNames.matches(group)),
  };
}

/**
 * Without a requester, a match with users, groups or service accounts does not match, and one with operations matches if it
 * contains CREATE or UPDATE, because an object in a file or in a cluster is treated as one that is created.
 */
function compileRequester(spec: MatchSpec): Match["isBy"] {
  const { users, groups, serviceAccounts, operations } = spec;
  const anybody = users === undefined && groups === undefined && serviceAccounts === undefined;
  const writers = compileWriters(spec);
  return (requester) => {
    if (requester === undefined)
      return anybody && (operations === undefined || operations.some((operation) => operation !== "DELETE"));
    if (operations !== undefined && !operations.includes(requester.operation)) return false;
    return anybody || writers.matches(requester);
  };
}
