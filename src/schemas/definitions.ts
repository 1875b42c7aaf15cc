import { isObject, member } from "../kube/read.ts";
import { isSchema, type Schema } from "./schema.ts";

/** What an API server knows about one kind. */
export interface KindDefinition {
  readonly group: string;
  readonly kind: string;
  /** The served versions; without a schema, everything is accepted. */
  readonly versions: ReadonlyMap<string, () => Schema | undefined>;
}

const groups = [
  ...["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"],
  "gateway.networking.k8s.io",
];

/** Whether objects of a group are checked: those of Istio and of the Gateway API. */
export const isKnownGroup = (group: string): boolean => groups.includes(group);

export const isDefinition = (raw: unknown): raw is Record<string, unknown> =>
  member(raw, "kind") === "CustomResourceDefinition" &&
  String(member(raw, "apiVersion")).startsWith("apiextensions.k8s.io/");

/**
 * What a CustomResourceDefinition defines; undefined for one of another group. A string says why it cannot be used, and what to
 * do.
 */
export function definitionIn(raw: Record<string, unknown>): KindDefinition | string | undefined {
  const spec = member(raw, "spec");
  const [group, kind] = [member(spec, "group"), member(member(spec, "names"), "kind")];
  if (typeof group !== "string" || !isKnownGroup(group)) return undefined;
  const versions = member(spec, "versions");
  if (typeof kind !== "string" || !Array.isArray(versions))
    return "the CustomResourceDefinition has no spec.names.kind or spec.versions; give one of apiextensions.k8s.io/v1";
  const served = new Map(versions.flatMap(servedIn));
  if (served.size === 0)
    return `no version of ${group} ${kind} is served, so that the API server has no such kind; ${take}`;
  for (const [name, schema] of served)
    if (!isUsable(schema)) return `the schema of ${group}/${name} ${kind} is not a structural schema; ${take}`;
  return { group, kind, versions: new Map([...served].map(([name, schema]) => [name, () => schema as Schema])) };
}

const take = "take the definition as the project publishes it";

/** The name of a version and its schema, if it is served. */
function servedIn(version: unknown): [string, unknown][] {
  const name = member(version, "name");
  if (typeof name !== "string" || member(version, "served") === false) return [];
  return [[name, member(member(version, "schema"), "openAPIV3Schema")]];
}

function isUsable(schema: unknown): schema is Schema | undefined {
  try {
    return schema === undefined || (isObject(schema) && isSchema(schema));
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
