import { keyFor } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";

type MeshConfig = ObjectOf<"MeshConfig">;
/** A label selector over namespaces. */
export type DiscoverySelector = MeshConfig["mesh"]["discoverySelectors"][number];

type AdmissionWebhook = ObjectOf<"AdmissionWebhook">;
/** The pods that one webhook of an injector is asked about: both must match. An absent selector matches everything. */
export type InjectorSelectors = Pick<AdmissionWebhook["webhooks"][number], "namespaceSelector" | "objectSelector">;

/** Which pods the injectors are asked about, by the names of their revisions or tags. Those whose webhooks are not known are absent. */
export type KnownInjectors = Readonly<Record<string, readonly InjectorSelectors[]>>;

/** The control planes of a mesh. */
export interface ControlPlanes {
  /**
   * Their revisions. No control plane reads an object whose label `istio.io/rev` has another value. Without any mesh
   * config, `default` is assumed.
   */
  readonly revisions: readonly string[];
  /** Those of them that have a mesh config. An external control plane has only its injector in this cluster. */
  readonly configured: readonly string[];
  /** The revisions and tags that have an injector in this cluster. Empty: no injector is known. */
  readonly injectors: readonly string[];
  /** The revision tags, and the revision that each one stands for. They select an injector, not who reads an object. */
  readonly tags: Readonly<Record<string, string>>;
  /** The revision that ztunnel connects to; empty: the default one. */
  readonly ztunnelRevision: string;
  /** The `discoverySelectors` of the revisions that have some. The others read every namespace. */
  readonly discovery: Readonly<Record<string, readonly DiscoverySelector[]>>;
}

/** Istio's own namespace, in which its mesh configs are. */
const istioNamespace = "istio-system";
/** The name of the default revision, which is also the tag that can stand for another one. */
const defaultRevision = "default";
export const revisionLabel = "istio.io/rev";
const tagLabel = "istio.io/tag";
const ztunnel = { originKind: "DaemonSet", namespace: istioNamespace, name: "ztunnel" };
const ztunnelKey = keyFor("Workload", ztunnel);

/** The revision of a mesh config, by the name that istiod's chart gives it (templates/configmap.yaml). */
export function revisionOfConfig({ metadata: { namespace, name } }: MeshConfig): string | undefined {
  if (namespace !== istioNamespace) return undefined;
  if (name === "istio") return defaultRevision;
  return name.startsWith("istio-") ? name.slice("istio-".length) : undefined;
}

/** The injector of a revision, or of a tag that stands for it. */
interface Injector {
  readonly revision: string;
  readonly tag: string | undefined;
}

/**
 * Istio's chart sets the labels (istio-discovery/templates/mutatingwebhook.yaml, revision-tags-mwc.yaml), and istiod
 * knows tags by them (pkg/revisions/tag_watcher.go isTagWebhook).
 */
function injectorOf({ originKind, metadata }: AdmissionWebhook): Injector | undefined {
  const { [revisionLabel]: revision, [tagLabel]: tag } = metadata.labels;
  if (originKind !== "MutatingWebhookConfiguration" || !revision) return undefined;
  if (tag) return { revision, tag };
  return metadata.name.startsWith("istio-sidecar-injector") ? { revision, tag: undefined } : undefined;
}

const isZtunnel = ({ originKind, metadata: { namespace, name } }: ObjectOf<"Workload">): boolean =>
  originKind === ztunnel.originKind && namespace === ztunnel.namespace && name === ztunnel.name;

/** Whether the settings depend on this object: a mesh config, an injector, a revision tag, or ztunnel. */
export function decidesSettings(object: AnyObject): boolean {
  if (object.kind === "MeshConfig") return revisionOfConfig(object) !== undefined;
  if (object.kind === "AdmissionWebhook") return injectorOf(object) !== undefined;
  return object.kind === "Workload" && isZtunnel(object);
}

/** A mesh, as far as its settings need it. */
interface Source {
  all(kind: "MeshConfig" | "AdmissionWebhook"): Iterable<AnyObject>;
  find(kind: Kind, key: string): AnyObject | undefined;
}

/** The objects of a mesh that can be its settings. */
export function* settingsObjects(mesh: Source): Iterable<AnyObject> {
  yield* mesh.all("MeshConfig");
  yield* mesh.all("AdmissionWebhook");
  const found = mesh.find("Workload", ztunnelKey);
  if (found !== undefined) yield found;
}

/** The control planes, and the mesh config from which the other settings come. `base` is for what no object shows. */
export function controlPlanesOf(
  objects: Iterable<AnyObject>,
  base: ControlPlanes & { readonly injectorSelectors: KnownInjectors },
): ControlPlanes & { readonly injectorSelectors: KnownInjectors; readonly config: MeshConfig | undefined } {
  const found = new Found(base);
  for (const object of objects) found.add(object);
  const { configs, injected, injectors, selectors, tags, ztunnelRevision } = found;
  const revisions = new Set([...(configs.size === 0 ? base.revisions : configs.keys()), ...injected]);
  return {
    revisions: [...revisions].sort(),
    configured: configs.size === 0 ? base.configured : [...configs.keys()].sort(),
    injectors: [...injectors].sort(),
    injectorSelectors:
      selectors.size === 0 ? base.injectorSelectors : { ...base.injectorSelectors, ...sorted(selectors) },
    tags: sorted(tags),
    ztunnelRevision,
    discovery: { ...base.discovery, ...sorted(discoveryOf(configs)) },
    config: configs.get(mainRevision(configs, tags.get(defaultRevision)) ?? ""),
  };
}

class Found {
  readonly configs = new Map<string, MeshConfig>();
  readonly injected = new Set<string>();
  readonly injectors: Set<string>;
  readonly selectors = new Map<string, readonly InjectorSelectors[]>();
  readonly tags: Map<string, string>;
  ztunnelRevision: string;

  constructor({ injectors, tags, ztunnelRevision }: ControlPlanes) {
    this.injectors = new Set(injectors);
    this.tags = new Map(Object.entries(tags));
    this.ztunnelRevision = ztunnelRevision;
  }

  add(object: AnyObject): void {
    if (object.kind === "MeshConfig") {
      const revision = revisionOfConfig(object);
      if (revision !== undefined) this.configs.set(revision, object);
    } else if (object.kind === "AdmissionWebhook") this.#addInjector(injectorOf(object), object);
    else if (object.kind === "Workload" && isZtunnel(object))
      this.ztunnelRevision = object.pod.annotations[revisionLabel] ?? "";
  }

  #addInjector(injector: Injector | undefined, { webhooks }: AdmissionWebhook): void {
    if (injector === undefined) return;
    const name = injector.tag ?? injector.revision;
    this.injected.add(injector.revision);
    this.injectors.add(name);
    if (webhooks.length > 0)
      this.selectors.set(name, [...(this.selectors.get(name) ?? []), ...webhooks.map(selectorsOf)]);
    if (injector.tag !== undefined) this.tags.set(injector.tag, injector.revision);
  }
}

/**
 * The revision whose mesh config stands for the mesh: the default one, else the one that the default tag stands for, else the only
 * one that has a mesh config.
 */
export function mainRevision(configs: ReadonlyMap<string, MeshConfig>, defaultTag: string | undefined) {
  const named = [defaultRevision, defaultTag].find((revision) => revision !== undefined && configs.has(revision));
  return named ?? (configs.size === 1 ? [...configs.keys()][0] : undefined);
}

const selectorsOf = ({ namespaceSelector, objectSelector }: InjectorSelectors): InjectorSelectors => ({
  namespaceSelector,
  objectSelector,
});

function discoveryOf(configs: ReadonlyMap<string, MeshConfig>): ReadonlyMap<string, readonly DiscoverySelector[]> {
  const found = new Map<string, readonly DiscoverySelector[]>();
  for (const [revision, { mesh }] of configs)
    if (mesh.discoverySelectors.length > 0) found.set(revision, mesh.discoverySelectors);
  return found;
}

/** In the order of the keys, so that equal settings have equal texts. */
const sorted = <T>(entries: ReadonlyMap<string, T>): Readonly<Record<string, T>> =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
