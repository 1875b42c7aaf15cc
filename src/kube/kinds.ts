import { readInjectorConfig } from "./injector-config.ts";
import { readMeshConfig } from "./mesh-config.ts";
import type { Read } from "./read.ts";
import {
  admissionWebhook,
  authorizationPolicy,
  destinationRule,
  envoyFilter,
  gateway,
  gatewayClass,
  ingress,
  ingressClass,
  kubernetesGateway,
  kubernetesRoute,
  backendTlsPolicy,
  listenerSet,
  meshwardIntent,
  namespace,
  networkPolicy,
  peerAuthentication,
  proxyConfig,
  referenceGrant,
  requestAuthentication,
  service,
  serviceEntry,
  sidecar,
  telemetry,
  trafficExtension,
  virtualService,
  wasmPlugin,
  workloadEntry,
  workloadGroup,
} from "./schemas.ts";
import { readWorkload } from "./workload.ts";

/** How the API server serves a kind. All versions of one resource represent the same object. */
export interface Served {
  readonly group: string;
  readonly versions: readonly string[];
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

interface KindEntry<T> {
  readonly served: readonly Served[];
  readonly read: Read<T>;
}

const istioVersions = ["v1", "v1beta1", "v1alpha3"];
const networking = (kind: string, plural: string): Served => ({
  group: "networking.istio.io",
  versions: istioVersions,
  kind,
  plural,
  namespaced: true,
});
const gatewayApi = (kind: string, plural: string, versions: readonly string[]): Served => ({
  group: "gateway.networking.k8s.io",
  versions,
  kind,
  plural,
  namespaced: true,
});
const security = (kind: string, plural: string): Served => ({
  group: "security.istio.io",
  versions: ["v1", "v1beta1"],
  kind,
  plural,
  namespaced: true,
});
const extension = (kind: string, plural: string): Served => ({
  group: "extensions.istio.io",
  versions: ["v1alpha1"],
  kind,
  plural,
  namespaced: true,
});
const workload = (group: string, versions: readonly string[], kind: string, plural: string): Served => ({
  group,
  versions,
  kind,
  plural,
  namespaced: true,
});
const core = (kind: string, plural: string, namespaced: boolean): Served => ({
  group: "",
  versions: ["v1"],
  kind,
  plural,
  namespaced,
});
const configMap = core("ConfigMap", "configmaps", true);
const clusterWide = (group: string, kind: string, plural: string): Served => ({
  group,
  versions: ["v1"],
  kind,
  plural,
  namespaced: false,
});
const kubernetesNetworking = (kind: string, plural: string, namespaced: boolean): Served => ({
  group: "networking.k8s.io",
  versions: ["v1"],
  kind,
  plural,
  namespaced,
});
const entry = <T>(served: readonly Served[], read: Read<T>): KindEntry<T> => ({ served, read });

/**
 * The table of all kinds that Meshward knows. Only the fields in the reader are kept, and the types are inferred from it.
 * Paths in problems refer to the raw object.
 */
export const kinds = {
  VirtualService: entry([networking("VirtualService", "virtualservices")], virtualService),
  DestinationRule: entry([networking("DestinationRule", "destinationrules")], destinationRule),
  ServiceEntry: entry([networking("ServiceEntry", "serviceentries")], serviceEntry),
  Gateway: entry([networking("Gateway", "gateways")], gateway),
  KubernetesGateway: entry([gatewayApi("Gateway", "gateways", ["v1", "v1beta1"])], kubernetesGateway),
  /** The class of such Gateways, which says whose they are. */
  GatewayClass: entry(
    [{ ...gatewayApi("GatewayClass", "gatewayclasses", ["v1", "v1beta1"]), namespaced: false }],
    gatewayClass,
  ),
  /** More listeners for a Gateway of the Gateway API. */
  ListenerSet: entry([gatewayApi("ListenerSet", "listenersets", ["v1"])], listenerSet),
  /** The TLS that clients use for Services and ServiceEntries of its namespace. */
  BackendTLSPolicy: entry([gatewayApi("BackendTLSPolicy", "backendtlspolicies", ["v1", "v1alpha3"])], backendTlsPolicy),
  /** The routes of the Gateway API. */
  KubernetesRoute: entry(
    [
      gatewayApi("HTTPRoute", "httproutes", ["v1", "v1beta1"]),
      gatewayApi("GRPCRoute", "grpcroutes", ["v1", "v1alpha2"]),
      gatewayApi("TLSRoute", "tlsroutes", ["v1", "v1alpha3", "v1alpha2"]),
      gatewayApi("TCPRoute", "tcproutes", ["v1", "v1alpha2"]),
    ],
    kubernetesRoute,
  ),
  ReferenceGrant: entry([gatewayApi("ReferenceGrant", "referencegrants", ["v1", "v1beta1"])], referenceGrant),
  PeerAuthentication: entry([security("PeerAuthentication", "peerauthentications")], peerAuthentication),
  AuthorizationPolicy: entry([security("AuthorizationPolicy", "authorizationpolicies")], authorizationPolicy),
  RequestAuthentication: entry([security("RequestAuthentication", "requestauthentications")], requestAuthentication),
  EnvoyFilter: entry([{ ...networking("EnvoyFilter", "envoyfilters"), versions: ["v1alpha3"] }], envoyFilter),
  WasmPlugin: entry([extension("WasmPlugin", "wasmplugins")], wasmPlugin),
  TrafficExtension: entry([extension("TrafficExtension", "trafficextensions")], trafficExtension),
  Telemetry: entry(
    [
      {
        group: "telemetry.istio.io",
        versions: ["v1", "v1alpha1"],
        kind: "Telemetry",
        plural: "telemetries",
        namespaced: true,
      },
    ],
    telemetry,
  ),
  Sidecar: entry([networking("Sidecar", "sidecars")], sidecar),
  ProxyConfig: entry([{ ...networking("ProxyConfig", "proxyconfigs"), versions: ["v1beta1"] }], proxyConfig),
  WorkloadEntry: entry([networking("WorkloadEntry", "workloadentries")], workloadEntry),
  /** What istiod makes WorkloadEntries of, for machines that register themselves. */
  WorkloadGroup: entry([networking("WorkloadGroup", "workloadgroups")], workloadGroup),
  Service: entry([core("Service", "services", true)], service),
  NetworkPolicy: entry([kubernetesNetworking("NetworkPolicy", "networkpolicies", true)], networkPolicy),
  /** Routes that istiod serves at its ingress gateway, if their class is Istio's. */
  Ingress: entry([kubernetesNetworking("Ingress", "ingresses", true)], ingress),
  /** The controller that serves the Ingresses of a class. */
  IngressClass: entry([kubernetesNetworking("IngressClass", "ingressclasses", false)], ingressClass),
  Workload: entry(
    [
      workload("apps", ["v1"], "Deployment", "deployments"),
      workload("apps", ["v1"], "StatefulSet", "statefulsets"),
      workload("apps", ["v1"], "DaemonSet", "daemonsets"),
      workload("apps", ["v1"], "ReplicaSet", "replicasets"),
      workload("batch", ["v1"], "Job", "jobs"),
      workload("batch", ["v1"], "CronJob", "cronjobs"),
      workload("argoproj.io", ["v1alpha1"], "Rollout", "rollouts"),
      core("ReplicationController", "replicationcontrollers", true),
      core("Pod", "pods", true),
    ],
    readWorkload,
  ),
  /**
   * Objects that make the API server call a Service: admission webhooks, aggregated APIs, conversion webhooks. Of definitions, also
   * which kind the API server serves by them.
   */
  AdmissionWebhook: entry(
    [
      clusterWide("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
      clusterWide("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
      clusterWide("apiregistration.k8s.io", "APIService", "apiservices"),
      clusterWide("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
    ],
    admissionWebhook,
  ),
  /** What must hold of some requests: Meshward's own kind, which rules check like the others. */
  MeshwardIntent: entry(
    [
      {
        group: "meshward.io",
        versions: ["v1alpha1"],
        kind: "MeshwardIntent",
        plural: "meshwardintents",
        namespaced: true,
      },
    ],
    meshwardIntent,
  ),
  Namespace: entry([core("Namespace", "namespaces", false)], namespace),
  MeshConfig: entry([configMap], readMeshConfig),
  /** The configuration of the sidecar injector, in a ConfigMap too. */
  InjectorConfig: entry([configMap], readInjectorConfig),
} satisfies Record<string, KindEntry<object>>;

export type Kind = keyof typeof kinds;
export const allKinds = Object.keys(kinds) as readonly Kind[];

const servedKinds = new Map<string, Kind>();
for (const kind of allKinds)
  for (const { group, kind: served } of kinds[kind].served)
    if (!servedKinds.has(`${group}/${served}`)) servedKinds.set(`${group}/${served}`, kind);

const names = new Map<string, string>();
for (const kind of allKinds)
  for (const { group, versions, kind: served } of kinds[kind].served)
    for (const name of [served, ...versions.map((version) => (group === "" ? version : `${group}/${version}`))])
      names.set(name, name);

/** The same name, as the one text of this table: each object in JSON has a copy of its own. */
export const nameInTable = (name: string): string => names.get(name) ?? name;

/**
 * The kind in the table for an apiVersion of any version and a kind; undefined if no rule reads it. Every ConfigMap is a
 * MeshConfig here, and readAny tells them apart.
 */
export function kindOf(apiVersion: string, kind: string): Kind | undefined {
  const slash = apiVersion.indexOf("/");
  return servedKinds.get(`${slash < 0 ? "" : apiVersion.slice(0, slash)}/${kind}`);
}

/** The groups in which the API server has a kind of this name that is read here; the core group is empty. */
export const groupsWith = (name: string): readonly string[] => [
  ...new Set(
    Object.values(kinds).flatMap(({ served }) => served.flatMap((one) => (one.kind === name ? one.group : []))),
  ),
];

/** Whether a group of the API is that of Istio or of the Gateway API. */
export const isMeshGroup = (group: string): boolean =>
  group.endsWith(".istio.io") || group === "gateway.networking.k8s.io";

/** How the API server serves a kind of this table with this `originKind`. */
export function servedAs(kind: Kind, originKind: string): Served {
  const found = kinds[kind].served.find((served) => served.kind === originKind);
  return found ?? (kinds[kind].served[0] as Served);
}
