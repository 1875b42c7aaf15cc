import { keyFor, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";

type MeshConfig = ObjectOf<"MeshConfig">;
/** A label selector over namespaces. */
export type DiscoverySelector = MeshConfig["mesh"]["discoverySelectors"][number];

type AdmissionWebhook = ObjectOf<"AdmissionWebhook">;
type AnyWebhook = AdmissionWebhook["webhooks"][number];
/** The pods that one webhook of an injector is asked about: both must match. An absent selector matches everything. */
export interface InjectorSelectors extends Pick<AnyWebhook, "namespaceSelector" | "objectSelector"> {
  /** Conditions in CEL over the pod and the request, all of which must hold, too; undefined: there are none. */
  readonly matchConditions?: AnyWebhook["matchConditions"];
}

type InjectorConfig = ObjectOf<"InjectorConfig">;
/** Which pods an injector injects, of those that it is asked about and that do not say it themselves. */
export type InjectionPolicy = Pick<InjectorConfig["config"], "policy" | "neverInjectSelector" | "alwaysInjectSelector">;

/** What its templates do with pods that do not say it themselves. */
export interface InjectorValues {
  /** Whether the agent takes over the probes of the application. */
  readonly rewritesProbes: boolean;
  readonly includeInboundPorts: string;
  readonly excludeInboundPorts: string;
  /** Empty: the default one. */
  readonly statusPort: string;
}

export interface KnownInjector {
  /** The pods that it is asked about; undefined: its webhooks are not known. */
  readonly webhooks: readonly InjectorSelectors[] | undefined;
  /** Undefined: it injects all of them, or its configuration is not known. */
  readonly policy: InjectionPolicy | undefined;
  /** Undefined: those of Istio's chart, or they are not known. */
  readonly values?: InjectorValues | undefined;
}

/** What is known of the injectors, by the names of their revisions or tags. Those of which nothing is known are absent. */
export type KnownInjectors = Readonly<Record<string, KnownInjector>>;

/**
 * What a GatewayClass says of its Gateways. Its label and its annotation are the defaults for waypoints that have none of their own (Istio
 * pilot/pkg/serviceregistry/ambient/waypoints.go gatewayToWaypointTransform, getGatewayOrGatewayClassAnnotation).
 */
export interface KnownGatewayClass {
  readonly controller: string;
  readonly waypointFor?: string;
  readonly inboundBinding?: string;
}
/** The GatewayClasses that are known, by their names. */
export type GatewayClasses = Readonly<Record<string, KnownGatewayClass>>;

function saidByClass({ metadata: { labels, annotations }, spec }: ObjectOf<"GatewayClass">): KnownGatewayClass {
  const traffic = labels["istio.io/waypoint-for"];
  const binding = annotations["ambient.istio.io/waypoint-inbound-binding"];
  return {
    controller: spec.controllerName ?? "",
    ...(traffic === undefined ? {} : { waypointFor: traffic }),
    ...(binding === undefined ? {} : { inboundBinding: binding }),
  };
}

/** What is known beside the control planes. */
interface Known {
  readonly injection: KnownInjectors;
  readonly gatewayClasses: GatewayClasses;
}

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
/**
 * What a mesh with several networks has by Istio's instructions: the network of this cluster, and the Gateway for requests from the others
 * (samples/multicluster/expose-services.yaml).
 */
const networkLabel = "topology.istio.io/network";
const networkKey = namespaceKey(istioNamespace);
const crossNetwork = { originKind: "Gateway", namespace: istioNamespace, name: "cross-network-gateway" };
const crossNetworkKey = keyFor("Gateway", crossNetwork);

function joinsClusters(object: AnyObject): boolean {
  const { name, namespace, labels } = object.metadata;
  if (object.kind === "MeshConfig") return revisionOfConfig(object) !== undefined && object.joinsClusters;
  if (object.kind === "Namespace") return name === istioNamespace && networkLabel in labels;
  if (object.kind !== "Gateway" || name !== crossNetwork.name || namespace !== istioNamespace) return false;
  return object.spec.servers.some(({ tls }) => tls?.mode === "AUTO_PASSTHROUGH");
}

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

const injectorConfigName = /^istio-sidecar-injector(?:-(.+))?$/;

/**
 * The revision whose injector reads this ConfigMap, by the name that istiod's chart gives it
 * (templates/istiod-injector-configmap.yaml).
 */
export function revisionOfInjectorConfig({ metadata: { namespace, name } }: InjectorConfig): string | undefined {
  const found = namespace === istioNamespace ? injectorConfigName.exec(name) : null;
  return found === null ? undefined : (found[1] ?? defaultRevision);
}

/** Undefined: it injects all pods, or the injector cannot read it and keeps the one that it has (pkg/kube/inject/watcher.go). */
export function injectionPolicyOf({ config, malformed }: InjectorConfig): InjectionPolicy | undefined {
  const { policy, neverInjectSelector, alwaysInjectSelector } = config;
  const isForAll = policy === "enabled" && neverInjectSelector.length === 0;
  return isForAll || (malformed?.length ?? 0) > 0 ? undefined : { policy, neverInjectSelector, alwaysInjectSelector };
}

/**
 * The values of an injector; a chart always writes them all, so that a part which is not there at all was left out by who wrote the
 * file. Within `sidecarInjectorWebhook`, what is not written is off (pkg/kube/inject/webhook.go applyRewrite).
 */
export function injectorValuesOf({ values }: InjectorConfig): InjectorValues {
  const { global, sidecarInjectorWebhook: webhook } = values;
  const { includeInboundPorts = "*", excludeInboundPorts = "", statusPort } = global?.proxy ?? {};
  const rewritesProbes = webhook === undefined || webhook.rewriteAppHTTPProbe === true;
  return { rewritesProbes, includeInboundPorts, excludeInboundPorts, statusPort: String(statusPort ?? "") };
}

/** Undefined: they are those of the chart. A status port is excluded from what sidecars capture, and 15020 always is. */
function unusualValuesOf(config: InjectorConfig): InjectorValues | undefined {
  const values = injectorValuesOf(config);
  const { rewritesProbes, includeInboundPorts, excludeInboundPorts, statusPort } = values;
  const isUsual = rewritesProbes && includeInboundPorts === "*" && excludeInboundPorts === "";
  const isRead = (config.malformed?.length ?? 0) === 0;
  return isRead && !(isUsual && ["", "0", "15020"].includes(statusPort)) ? values : undefined;
}

const isZtunnel = ({ originKind, metadata: { namespace, name } }: ObjectOf<"Workload">): boolean =>
  originKind === ztunnel.originKind && namespace === ztunnel.namespace && name === ztunnel.name;

/**
 * Whether the settings depend on this object: a mesh config, an injector and its configuration, a revision tag, a GatewayClass, ztunnel, or
 * what joins clusters.
 */
export function decidesSettings(object: AnyObject): boolean {
  if (object.kind === "MeshConfig") return revisionOfConfig(object) !== undefined;
  if (object.kind === "InjectorConfig") return revisionOfInjectorConfig(object) !== undefined;
  if (object.kind === "AdmissionWebhook") return injectorOf(object) !== undefined;
  if (object.kind === "GatewayClass") return true;
  return object.kind === "Workload" ? isZtunnel(object) : joinsClusters(object);
}

/** A mesh, as far as its settings need it. */
interface Source {
  all(kind: "MeshConfig" | "InjectorConfig" | "AdmissionWebhook" | "GatewayClass"): Iterable<AnyObject>;
  find(kind: Kind, key: string): AnyObject | undefined;
}

/** The objects of a mesh that can be its settings. */
export function* settingsObjects(mesh: Source): Iterable<AnyObject> {
  yield* mesh.all("MeshConfig");
  yield* mesh.all("InjectorConfig");
  yield* mesh.all("AdmissionWebhook");
  yield* mesh.all("GatewayClass");
  for (const [kind, key] of [
    ["Workload", ztunnelKey],
    ["Namespace", networkKey],
    ["Gateway", crossNetworkKey],
  ] as const) {
    const found = mesh.find(kind, key);
    if (found !== undefined) yield found;
  }
}

/** The control planes, and the mesh config from which the other settings come. `base` is for what no object shows. */
export function controlPlanesOf(
  objects: Iterable<AnyObject>,
  base: ControlPlanes & Known,
): ControlPlanes & Known & { readonly joinsClusters: boolean; readonly config: MeshConfig | undefined } {
  const found = new Found(base);
  let isJoined = false;
  for (const object of objects) {
    found.add(object);
    isJoined ||= joinsClusters(object);
  }
  const { configs, injected, injectors, tags, ztunnelRevision } = found;
  const revisions = new Set([...(configs.size === 0 ? base.revisions : configs.keys()), ...injected]);
  return {
    revisions: [...revisions].sort(),
    configured: configs.size === 0 ? base.configured : [...configs.keys()].sort(),
    injectors: [...injectors].sort(),
    injection: { ...base.injection, ...sorted(found.injection) },
    gatewayClasses: { ...base.gatewayClasses, ...sorted(found.gatewayClasses) },
    tags: sorted(tags),
    ztunnelRevision,
    discovery: { ...base.discovery, ...sorted(discoveryOf(configs)) },
    joinsClusters: isJoined,
    config: configs.get(mainRevision(configs, tags.get(defaultRevision)) ?? ""),
  };
}

class Found {
  readonly configs = new Map<string, MeshConfig>();
  readonly injected = new Set<string>();
  readonly injectors: Set<string>;
  readonly gatewayClasses = new Map<string, KnownGatewayClass>();
  readonly #webhooks = new Map<string, readonly InjectorSelectors[]>();
  readonly #policies = new Map<string, InjectionPolicy>();
  readonly #values = new Map<string, InjectorValues>();
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
    } else if (object.kind === "InjectorConfig") this.#addConfig(revisionOfInjectorConfig(object), object);
    else if (object.kind === "AdmissionWebhook") this.#addInjector(injectorOf(object), object);
    else this.#addOther(object);
  }

  #addOther(object: AnyObject): void {
    if (object.kind === "GatewayClass") this.gatewayClasses.set(object.metadata.name, saidByClass(object));
    else if (object.kind === "Workload" && isZtunnel(object))
      this.ztunnelRevision = object.pod.annotations[revisionLabel] ?? "";
  }

  /** A tag has the configuration of the revision that it stands for. */
  get injection(): ReadonlyMap<string, KnownInjector> {
    const names = new Set([
      ...[this.#webhooks, this.#policies, this.#values, this.tags].flatMap((one) => [...one.keys()]),
    ]);
    const found = new Map<string, KnownInjector>();
    for (const name of names) {
      const configured = this.tags.get(name) ?? name;
      const [webhooks, policy] = [this.#webhooks.get(name), this.#policies.get(configured)];
      const values = this.#values.get(configured);
      if (webhooks !== undefined || policy !== undefined || values !== undefined)
        found.set(name, { webhooks, policy, ...(values === undefined ? {} : { values }) });
    }
    return found;
  }

  #addConfig(revision: string | undefined, config: InjectorConfig): void {
    if (revision === undefined) return;
    const [policy, values] = [injectionPolicyOf(config), unusualValuesOf(config)];
    if (policy !== undefined) this.#policies.set(revision, policy);
    if (values !== undefined) this.#values.set(revision, values);
  }

  #addInjector(injector: Injector | undefined, { webhooks }: AdmissionWebhook): void {
    if (injector === undefined) return;
    const name = injector.tag ?? injector.revision;
    this.injected.add(injector.revision);
    this.injectors.add(name);
    if (webhooks.length > 0)
      this.#webhooks.set(name, [...(this.#webhooks.get(name) ?? []), ...webhooks.map(selectorsOf)]);
    if (injector.tag !== undefined) this.tags.set(injector.tag, injector.revision);
  }
}

/**
 * The revision whose mesh config stands for the mesh: the default one, else the one that the default tag stands for, else the one that was
 * there first. During an upgrade, that is the one that workloads leave.
 */
export function mainRevision(configs: ReadonlyMap<string, MeshConfig>, defaultTag: string | undefined) {
  const named = [defaultRevision, defaultTag].find((revision) => revision !== undefined && configs.has(revision));
  if (named !== undefined) return named;
  const [first, ...others] = configs;
  return first && others.reduce((one, other) => (isBefore(other, one) ? other : one), first)[0];
}

/** The order of versions decides where times do not, as in files: `1-9` comes before `1-10`. */
function isBefore(
  [one, { metadata }]: readonly [string, MeshConfig],
  [other, { metadata: than }]: readonly [string, MeshConfig],
) {
  const [at, thanAt] = [metadata, than].map(({ creationTimestamp }) => creationTimestamp || "~") as [string, string];
  return at === thanAt ? one.localeCompare(other, "en", { numeric: true }) < 0 : at < thanAt;
}

const selectorsOf = ({ namespaceSelector, objectSelector, matchConditions }: AnyWebhook): InjectorSelectors => ({
  namespaceSelector,
  objectSelector,
  ...(matchConditions.length === 0 ? {} : { matchConditions }),
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
