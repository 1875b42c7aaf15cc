import { type KeptFields, nothingKept } from "../../kube/kept-fields.ts";
import { type Kind, kinds, type Served } from "../../kube/kinds.ts";
import { type AnyObject, readAny, readObject } from "../../kube/object.ts";
import { isObject } from "../../kube/read.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { withMeshConfigFaults } from "../../istiod-validation/mesh-config.ts";
import { defaultMeshSettings } from "../../view/settings.ts";
import type { Knowledge } from "../../view/view.ts";

/** One collection of an API server. */
export interface Collection {
  readonly served: Served;
  /** The name as in RBAC: `virtualservices.networking.istio.io`. */
  readonly title: string;
  /** Limits the list to this namespace. */
  readonly namespace?: string;
  /** Query parameters that narrow what is listed. */
  readonly selector: Readonly<Record<string, string>>;
}

/** A collection with the objects of the mesh that come from it. */
export interface ClusterResource extends Collection {
  readonly kind: Kind;
  /** Whether an object of this kind comes from this collection. */
  owns(object: AnyObject): boolean;
}

/** The collections that contain the objects of a kind. */
export function resourcesOf(kind: Kind): readonly ClusterResource[] {
  if (kind === "MeshConfig") return meshConfigs;
  if (kind === "InjectorConfig") return injectorConfigs;
  return kinds[kind].served.map((served) => ({
    kind,
    served,
    title: titleOf(served),
    selector: {},
    owns: kinds[kind].served.length === 1 ? () => true : (object: AnyObject) => object.originKind === served.kind,
  }));
}

export const titleOf = ({ plural, group }: Served): string => (group === "" ? plural : `${plural}.${group}`);

const configMap = kinds.MeshConfig.served[0] as Served;
const meshConfig = (selector: Readonly<Record<string, string>>, isDefault: boolean): ClusterResource => ({
  kind: "MeshConfig",
  served: configMap,
  title: `${titleOf(configMap)} (${Object.values(selector).join()})`,
  namespace: defaultMeshSettings.rootNamespace,
  selector,
  owns: ({ kind, metadata }) => kind === "MeshConfig" && (metadata.name === "istio") === isDefault,
});
/**
 * Only Istio's own ConfigMaps are read: that of the default revision by its name, those of other revisions by the label
 * that istiod's chart sets. The label also selects the injector's ConfigMaps, which are a kind of their own.
 */
const meshConfigs = [
  meshConfig({ fieldSelector: "metadata.name=istio" }, true),
  meshConfig({ labelSelector: "istio.io/rev" }, false),
];

const injectorConfigs: readonly ClusterResource[] = [
  {
    kind: "InjectorConfig",
    served: configMap,
    title: `${titleOf(configMap)} (the injector's, istio.io/rev)`,
    namespace: defaultMeshSettings.rootNamespace,
    selector: { labelSelector: "istio.io/rev" },
    owns: ({ kind }) => kind === "InjectorConfig",
  },
];

/** The kinds that are read from ConfigMaps, of which only Istio's own are objects of the mesh. */
const inConfigMaps: ReadonlySet<Kind> = new Set(["MeshConfig", "InjectorConfig"]);
export const isInConfigMaps = (kind: Kind): boolean => inConfigMaps.has(kind);

/** The URL path of a collection or, with a name, of one object. */
export function pathOf(
  { served }: Pick<Collection, "served">,
  version: string,
  at: { namespace?: string; name?: string } = {},
): string {
  const root = served.group === "" ? `/api/${version}` : `/apis/${served.group}/${version}`;
  const namespace = served.namespaced && at.namespace ? `/namespaces/${encodeURIComponent(at.namespace)}` : "";
  const name = at.name === undefined ? "" : `/${encodeURIComponent(at.name)}`;
  return `${root}${namespace}/${served.plural}${name}`;
}

/** Items of a list omit apiVersion and kind, which the list contains once. */
export function asReceived(
  item: unknown,
  { served }: Pick<Collection, "served">,
  version: string,
): Record<string, unknown> {
  const apiVersion = served.group === "" ? version : `${served.group}/${version}`;
  return { apiVersion, kind: served.kind, ...(isObject(item) ? item : {}) };
}

/**
 * Reads a raw object. Undefined if no rule needs it: a ConfigMap that is not Istio's, or a workload that another
 * workload owns. Owned workloads are most of the objects in a cluster and add nothing to their owner.
 */
export function readReceived(
  raw: Record<string, unknown>,
  resource: ClusterResource,
  keep: KeptFields = nothingKept,
): AnyObject | undefined {
  const object = isInConfigMaps(resource.kind)
    ? withMeshConfigFaults(readAny(raw), raw)
    : readObject(resource.kind, raw, "", keep);
  if (object === undefined || !resource.owns(object)) return undefined;
  return object.kind === "Workload" && isOwned(object) ? undefined : object;
}

/** How far a kind is known, given the states of its resources. */
export function knowledgeOf(statuses: readonly ResourceStatus[]): Knowledge {
  // A workload of a kind that the API server does not serve does not exist.
  const existing = statuses.filter((status) => status !== "absent");
  if (existing.includes("loading") || !existing.includes("synced")) return "unknown";
  return existing.includes("forbidden") ? "partial" : "complete";
}

/**
 * - `loading`: no list is complete yet.
 * - `synced`: the list was complete once, and a watch keeps it up to date; also while the server is unreachable.
 * - `absent`: the API server does not serve the resource.
 * - `forbidden`: RBAC does not allow to read it.
 */
export type ResourceStatus = "loading" | "synced" | "absent" | "forbidden";
