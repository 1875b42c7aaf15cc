import { type Kind, kinds, type Served } from "../../kube/kinds.ts";
import { type AnyObject, readAny, readObject } from "../../kube/object.ts";
import { isObject } from "../../kube/read.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { defaultMeshSettings } from "../../view/settings.ts";
import type { Knowledge } from "../../view/view.ts";

/** One collection of an API server, and which objects of a mesh come from it. */
export interface ClusterResource {
  readonly kind: Kind;
  readonly served: Served;
  /** As RBAC and users name it: `virtualservices.networking.istio.io`. */
  readonly title: string;
  /** Only the objects of this namespace. */
  readonly namespace?: string;
  /** Query parameters that narrow what is listed. */
  readonly selector: Readonly<Record<string, string>>;
  /** Of the objects of this kind, those that come from here. */
  owns(object: AnyObject): boolean;
}

/** The collections that hold the objects of a kind. */
export function resourcesOf(kind: Kind): readonly ClusterResource[] {
  if (kind === "MeshConfig") return meshConfigs;
  return kinds[kind].served.map((served) => ({
    kind,
    served,
    title: titleOf(served),
    selector: {},
    owns: kinds[kind].served.length === 1 ? () => true : (object: AnyObject) => object.originKind === served.kind,
  }));
}

const titleOf = ({ plural, group }: Served): string => (group === "" ? plural : `${plural}.${group}`);

const configMap = kinds.MeshConfig.served[0] as Served;
const meshConfig = (selector: Readonly<Record<string, string>>, isDefault: boolean): ClusterResource => ({
  kind: "MeshConfig",
  served: configMap,
  title: `${titleOf(configMap)} (${Object.values(selector).join()})`,
  namespace: defaultMeshSettings.rootNamespace,
  selector,
  owns: ({ metadata }) => (metadata.name === "istio") === isDefault,
});
/**
 * Of ConfigMaps only Istio's own are asked for. That of the default revision by its name; those of other revisions by
 * the label that istiod's chart gives them, together with the injector's, which the door turns away.
 */
const meshConfigs = [
  meshConfig({ fieldSelector: "metadata.name=istio" }, true),
  meshConfig({ labelSelector: "istio.io/rev" }, false),
];

/** Where a collection, or with a name one object, is found. */
export function pathOf(
  { served }: ClusterResource,
  version: string,
  at: { namespace?: string; name?: string } = {},
): string {
  const root = served.group === "" ? `/api/${version}` : `/apis/${served.group}/${version}`;
  const namespace = served.namespaced && at.namespace ? `/namespaces/${encodeURIComponent(at.namespace)}` : "";
  const name = at.name === undefined ? "" : `/${encodeURIComponent(at.name)}`;
  return `${root}${namespace}/${served.plural}${name}`;
}

/** Items of a list leave out what the list says once. */
export function asReceived(item: unknown, { served }: ClusterResource, version: string): Record<string, unknown> {
  const apiVersion = served.group === "" ? version : `${served.group}/${version}`;
  return { apiVersion, kind: served.kind, ...(isObject(item) ? item : {}) };
}

/**
 * Through the door. Undefined: no rule reads it. That is a ConfigMap without a mesh config, and what another workload
 * makes, which says nothing that its owner does not say and is most of what a cluster holds.
 */
export function readReceived(raw: Record<string, unknown>, resource: ClusterResource): AnyObject | undefined {
  const object = resource.kind === "MeshConfig" ? readAny(raw) : readObject(resource.kind, raw);
  if (object === undefined || !resource.owns(object)) return undefined;
  return object.kind === "Workload" && isOwned(object) ? undefined : object;
}

/** How far a kind is known whose resources could be read so far. */
export function knowledgeOf(statuses: readonly ResourceStatus[]): Knowledge {
  // A workload of a kind that the API server does not serve does not exist.
  const existing = statuses.filter((status) => status !== "absent");
  if (existing.includes("loading") || !existing.includes("synced")) return "unknown";
  return existing.includes("forbidden") ? "partial" : "complete";
}

/**
 * - `loading`: no list was complete yet.
 * - `synced`: everything was there once, and changes follow; also while the server cannot be reached.
 * - `absent`: the API server does not serve it.
 * - `forbidden`: it may not be read.
 */
export type ResourceStatus = "loading" | "synced" | "absent" | "forbidden";
