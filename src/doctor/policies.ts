import type { Labels } from "../kube/object.ts";
import { documentDefinitions } from "../deploy/definitions.ts";
import type { KubernetesObject } from "../deploy/object.ts";
import type { Rule } from "../engine/rule.ts";
import { isObject } from "../kube/read.ts";
import { type DocumentKind, documentKinds } from "../policy/documents.ts";
import type { PolicySource } from "../policy/load.ts";
import type { Policies } from "../policy/policies.ts";
import { type PolicyObject, readObject } from "../sources/cluster/policy-objects.ts";
import { counted, listed } from "../text/phrases.ts";
import { type CheckResult, fail, ok, warn } from "./check-result.ts";
import { at, type ClusterApi, type Fields, nameOf, objectsIn, textAt } from "./cluster-api.ts";

/** The policies in force with these objects of the cluster, beside those of files. */
export type PoliciesWith = (objects: readonly PolicySource[]) => Promise<Policies>;

/** Of a long list, this many are named. */
const mostNamed = 10;

/**
 * Whether policies can be written to the API server: the definitions of their kinds are those of this version. Without
 * them, policies come from files only, which is a choice. Throws a ClusterError.
 */
export function checkDefinitions(api: ClusterApi, rules: readonly Rule[]): Promise<readonly CheckResult[]> {
  return Promise.all(documentDefinitions(rules).map((expected) => definitionResult(api, expected)));
}

const definitionAdvice = "Apply the definitions of this version: they are in deploy/crds and in `meshward manifests`";

async function definitionResult(api: ClusterApi, expected: KubernetesObject): Promise<CheckResult> {
  const { name } = expected.metadata;
  const live = await api.get(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`);
  if (live === undefined) return ok("definitions", `${name} is not defined, so such documents come from files only`);
  const established = objectsIn(at(live, "status", "conditions")).find((one) => textAt(one, "type") === "Established");
  if (textAt(established, "status") !== "True")
    return fail(
      "definitions",
      `${name} is defined, but not established: ${textAt(established, "message") || "the API server says no reason"}`,
      `kubectl describe customresourcedefinition ${name}`,
    );
  const missing = versionsOf(expected).filter((version) => !versionsOf(live).some((one) => isSame(one, version)));
  if (missing.length === 0) return ok("definitions", `${name} is defined as this version of Meshward needs it`);
  return warn(
    "definitions",
    `${name} is defined by another version of Meshward: ${listed(missing.map(nameOfVersion), "and")} differs`,
    definitionAdvice,
  );
}

const versionsOf = (definition: object): readonly Fields[] => objectsIn(at(definition, "spec", "versions"));
const nameOfVersion = (version: Fields): string => textAt(version, "name");

/** Compares names, whether they are served, and schemas; the API server fills in other fields. */
const isSame = (live: Fields, expected: Fields): boolean =>
  (["name", "served", "storage", "schema"] as const).every(
    (field) => sortedText(live[field]) === sortedText(expected[field]),
  );

/** JSON with the fields of each object in one order. */
const sortedText = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );

/**
 * The documents in the cluster of which no replica says that they are in force, and which namespaces are protected by what.
 * Throws a ClusterError.
 */
export async function checkPolicies(api: ClusterApi, policiesWith: PoliciesWith): Promise<readonly CheckResult[]> {
  const kinds = Object.keys(documentKinds) as readonly DocumentKind[];
  const lists = await Promise.all(kinds.map((kind) => documentsOf(api, kind)));
  const objects = lists.flat();
  const [policies, namespaces] = await Promise.all([policiesWith(objects), api.list("/api/v1/namespaces")]);
  return [...objects.flatMap(documentResults), ...inForce(objects), protection(policies, namespaces ?? [])];
}

async function documentsOf(api: ClusterApi, kind: DocumentKind): Promise<readonly PolicyObject[]> {
  const { group, versions, plural } = documentKinds[kind];
  const items = await api.list(`/apis/${group}/${versions[0]}/${plural}`);
  return (items ?? []).map((item) => readObject(kind, item));
}

const titleOf = ({ kind, namespace, name }: PolicyObject): string =>
  `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;

function documentResults(object: PolicyObject): readonly CheckResult[] {
  const conditions = objectsIn(at(object.status, "conditions"));
  const broken = conditions.find((one) => textAt(one, "type") === "Broken" && textAt(one, "status") === "True");
  if (broken !== undefined)
    return [
      fail(
        "policies",
        `${titleOf(object)} is invalid: ${textAt(broken, "message")}`,
        "Correct it. Its last valid generation stays in force until then",
      ),
    ];
  if (conditions.length > 0 && at(object.status, "observedGeneration") === object.generation) return [];
  return [
    warn(
      "policies",
      `No replica has said anything about generation ${object.generation} of ${titleOf(object)}`,
      "Start Meshward with --policies-from-cluster, and see the log of the replica that has the Lease",
    ),
  ];
}

function inForce(objects: readonly PolicyObject[]): readonly CheckResult[] {
  const wrong = objects.filter((object) => documentResults(object).length > 0).length;
  return wrong > 0
    ? []
    : [ok("policies", `${counted(objects.length, "document")} in the cluster, none of them invalid`)];
}

/** Which of the namespaces are protected. That none is protected is unusual: the strictest rules then apply nowhere. */
function protection(policies: Policies, namespaces: readonly Fields[]): CheckResult {
  const isProtected = namespaces.filter(
    (namespace) =>
      policies.protectsByName(nameOf(namespace)) ||
      policies.protectsByLabels((at(namespace, "metadata", "labels") as Labels | undefined) ?? {}),
  );
  const selectors = policies.protectedSelectors.map(
    (labels) =>
      `the label ${listed(
        Object.entries(labels).map(([key, value]) => `${key}=${value}`),
        "and",
      )}`,
  );
  const names = policies.protectedNames.map((name) => `the name ${name}`);
  const by = listed([...selectors, ...names], "or");
  if (isProtected.length === 0)
    return warn(
      "protection",
      by === "" ? "No policy protects namespaces" : `No namespace is protected; policies protect those with ${by}`,
      "Label the namespaces that need it: kubectl label namespace NAME meshward.io/protected=true",
    );
  const named = isProtected.slice(0, mostNamed).map(nameOf);
  const more = isProtected.length - named.length;
  return ok(
    "protection",
    `${counted(isProtected.length, "namespace")} of ${namespaces.length} protected, by ${by}: ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`,
  );
}
