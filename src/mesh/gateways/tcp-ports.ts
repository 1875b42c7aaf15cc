import { protocolsOf } from "./attachment.ts";
import { servicesOfAddresses } from "./gateway-addresses.ts";
import { gatewayService } from "./gateway-services.ts";
import { servedByConfig } from "./ingresses.ts";
import { type Gateway, readsHttp } from "./servers.ts";
import { enrollmentOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { declaredProtocol, parsedProtocol, portByNumber } from "../membership/service-protocol.ts";
import { type Service, servicesOfNamespace, workloadsNearService } from "../membership/services.ts";
import { isProxy, type Workload, workloadByLabel } from "../membership/workloads.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import { keysOfSelector } from "../objects/label-keys.ts";
import { Labelled } from "../objects/labelled.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import {
  type AuthorizationPolicy,
  entriesTargeted,
  servicesTargeted,
  targetRefsOf,
} from "../authorization/policies.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** A policy and the ServiceEntries that it targets, at their waypoint. */
const entriesOfPolicy = relation(
  "entriesOfPolicy",
  index("AuthorizationPolicy", (policy) =>
    entriesTargeted(policy).map((name) => `${policy.metadata.namespace}/${name}`),
  ),
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? [`${entry.metadata.namespace}/${entry.metadata.name}`] : [],
  ),
);

/** A policy with a selector and the workloads of its namespace that have one label of it. */
const workloadsNearPolicy = relation(
  "workloadsNearPolicy",
  index("AuthorizationPolicy", (policy) => keysOfSelector(policy.metadata.namespace, selectorOf(policy))),
  workloadByLabel,
);
/** A Service and the Gateways of the Gateway API whose addresses name it, so that its pods have their listeners. */
const gatewaysNamingService = relation(
  "gatewaysNamingService",
  servicesOfAddresses.to,
  servicesOfAddresses.from,
  "identity",
);
/** The pods that serve Ingresses by their label, and the Ingresses that they may serve. */
const ingressesOfPods = relation(
  "ingressesOfPods",
  index("Workload", ({ pod }) => (pod.labels["istio"] === undefined ? [] : [pod.labels["istio"]])),
  index("Ingress", (ingress, settings) =>
    servedByConfig(ingress, settings) === false ? [] : [settings.ingress.proxies],
  ),
  "identity",
);

const labelled = (workloads: readonly Workload[]): Labelled<Workload> =>
  new Labelled(workloads, ({ pod }) => pod.labels);

/** The workloads with a key of workloadsNearService by their labels, with proxies. */
const podsWithLabel = fact(
  "podsWithLabel",
  "key",
  [workloadsNearService],
  (key, mesh): Labelled<Workload> => labelled(mesh.under(workloadsNearService, [key])),
);

/** What `servedBy` and `tcpPortsOf` read. */
export const readsTcpPorts = [
  servicesOfNamespace,
  entriesOfPolicy,
  gatewayService,
  podsWithLabel,
  workloadsNearPolicy,
  gatewaysNamingService,
  ingressesOfPods,
] as const;
type View = MeshView<(typeof readsTcpPorts)[number]>;

/**
 * The Gateways of Istio's kind whose servers decide how the ports of a Service are read; undefined: its pods are no gateways. Without
 * any, pods of a gateway listen at no port (Istio pilot/pkg/networking/core/gateway.go buildGatewayListeners).
 */
function gatewaysAt(service: Service, mesh: View): readonly Gateway[] | undefined {
  const proxies = mesh.get(gatewayService, service);
  if (proxies !== undefined) return proxies.gateways;
  const pods = podsOf(service, mesh);
  return pods.length > 0 && pods.every(isProxy) ? [] : undefined;
}

/** Whether a policy is for workloads, or for Services or ServiceEntries at their waypoint, so that it has ports to ask for. */
export const isForPorts = (policy: AuthorizationPolicy): boolean =>
  targetRefsOf(policy).length === 0 || servicesTargeted(policy).length > 0 || entriesTargeted(policy).length > 0;

/**
 * The Services whose ports the policy is for: those of the workloads that it selects, or those that it targets, with the
 * ServiceEntries, whose ports a waypoint treats alike (Istio pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
export function* servedBy(
  policy: AuthorizationPolicy,
  namespace: Namespace,
  mesh: View,
): Generator<undefined, readonly (Service | ServiceEntry)[]> {
  const all = mesh.related(servicesOfNamespace, namespace);
  if (targetRefsOf(policy).length > 0) {
    const targeted = new Set(servicesTargeted(policy));
    return [...all.filter(({ metadata }) => targeted.has(metadata.name)), ...mesh.related(entriesOfPolicy, policy)];
  }
  const ofPods = yield* servicesOfSelected(policy, all, mesh);
  const selected = all.filter((one) => isForSame(one, policy) || ofPods.has(one));
  // ztunnel knows HTTP at no port, which another rule reports, but the pods of a gateway are proxies.
  return enrollmentOf(namespace, mesh.settings) === "ambient"
    ? selected.filter((one) => gatewaysAt(one, mesh) !== undefined)
    : selected;
}

/** A policy and a Service can select the same pods by different labels. */
function* servicesOfSelected(
  policy: AuthorizationPolicy,
  services: readonly Service[],
  mesh: View,
): Generator<undefined, ReadonlySet<Service>> {
  const near = mesh.related(workloadsNearPolicy, policy);
  mesh.visited(near.length);
  const selector = selectorOf(policy);
  const pods = labelled(near.filter(({ pod }) => selects(selector, pod.labels)));
  const found = new Set<Service>();
  if (pods.all.length === 0) return found;
  for (const service of services) {
    yield;
    if (hasSelector(service) && pods.selected(service.spec.selector).length > 0) found.add(service);
  }
  return found;
}

const hasSelector = ({ spec }: Service): boolean =>
  spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0;

function podsOf(service: Service, mesh: View): readonly Workload[] {
  const [key] = workloadsNearService.from.keys(service, mesh.settings);
  return key === undefined ? [] : mesh.get(podsWithLabel, key).selected(service.spec.selector);
}

const selectorOf = (policy: AuthorizationPolicy): Labels =>
  targetRefsOf(policy).length > 0 ? {} : (policy.spec.selector?.matchLabels ?? {});

const isForSame = ({ spec }: Service, policy: AuthorizationPolicy): boolean =>
  selectsSame(spec.selector, selectorOf(policy));

type Port = Service["spec"]["ports"][number];
const isOfTcp = (port: Port): boolean => declaredProtocol(port) === "TCP" && port.protocol !== "UDP";

/** Whether a port of a ServiceEntry is declared as one; nothing listens at those of UDP. */
export const isEntryPortOfTcp = ({ protocol = "" }: ServiceEntry["spec"]["ports"][number]): boolean =>
  parsedProtocol(protocol) === "TCP" && protocol.toUpperCase() !== "UDP";

/** What makes a port one of TCP: the Service or the ServiceEntry that declares it, or the Gateway with its server. */
export type Declaring = Service | ServiceEntry | Gateway;

/** Whether every port is declared as TCP: by the Service or ServiceEntry, or by all servers of the gateway that its pods are. */
export function hasOnlyTcp(one: Service | ServiceEntry, mesh: View): boolean {
  if (one.kind === "ServiceEntry") return one.spec.ports.every(isEntryPortOfTcp);
  const gateways = gatewaysAt(one, mesh);
  if (gateways === undefined) return one.spec.ports.every(isOfTcp);
  return hasOnlyGateways(one, mesh) && gateways.every(({ spec }) => spec.servers.every((server) => !readsHttp(server)));
}

/** Whether the pods of a gateway are known, and have no listener of a Gateway of the Gateway API and no server for Ingresses. */
function hasOnlyGateways(service: Service, mesh: View): boolean {
  if (gatewayNameLabel in service.spec.selector || mesh.related(gatewaysNamingService, service).length > 0)
    return false;
  if (!mesh.knowsAll("Gateway") || !mesh.knowsAll("KubernetesGateway")) return false;
  const pods = podsOf(service, mesh);
  return pods.length > 0 && pods.every((one) => mesh.related(ingressesOfPods, one).length === 0);
}

/**
 * The ports that are declared as TCP: those of pods, or those of the Services themselves, which a waypoint sees (Istio
 * pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
export function tcpPortsOf(
  services: readonly (Service | ServiceEntry)[],
  isAtWaypoint: boolean,
  mesh: View,
): ReadonlyMap<number, Declaring> {
  const found = new Map<number, Declaring>();
  for (const service of services)
    for (const [port, declaring] of portsDeclaredBy(service, isAtWaypoint, mesh))
      if (!found.has(port)) found.set(port, declaring);
  return found;
}

function portsDeclaredBy(
  one: Service | ServiceEntry,
  isAtWaypoint: boolean,
  mesh: View,
): Iterable<readonly [number, Declaring]> {
  if (one.kind === "ServiceEntry")
    return one.spec.ports.flatMap((port) =>
      port.number !== undefined && isEntryPortOfTcp(port) ? [[port.number, one] as const] : [],
    );
  return isAtWaypoint ? declaredOfService(one) : tcpPortsOfService(one, mesh);
}

const declaredOfService = (service: Service): readonly (readonly [number, Declaring])[] =>
  service.spec.ports.flatMap((one) => (one.port !== undefined && isOfTcp(one) ? [[one.port, service] as const] : []));

function tcpPortsOfService(service: Service, mesh: View): Iterable<readonly [number, Declaring]> {
  const gateways = gatewaysAt(service, mesh);
  return gateways === undefined ? declaredAsTcp(service) : tcpPortsAtGateways(service, gateways);
}

function* declaredAsTcp(service: Service): Iterable<readonly [number, Declaring]> {
  for (const port of service.spec.ports) {
    const target = targetOf(port);
    if (target !== undefined && isOfTcp(port)) yield [target, service];
  }
}

/** A server listens at the target of the Service's port with its number (Istio pilot/pkg/model/gateway.go resolvePorts). */
function* tcpPortsAtGateways(service: Service, gateways: readonly Gateway[]): Iterable<readonly [number, Declaring]> {
  for (const gateway of gateways)
    for (const server of gateway.spec.servers) {
      const isStream = protocolsOf(server).some((protocol) => protocol !== "http");
      const port = portByNumber(service, server.port?.number);
      const target = port && targetOf(port);
      if (isStream && target !== undefined) yield [target, gateway];
    }
}

/** Every pod that one selects is selected by the other. A Service without a selector selects none. */
const selectsSame = (service: Service["spec"]["selector"], policy: Service["spec"]["selector"]): boolean =>
  Object.keys(service).length > 0 && (selects(policy, service) || selects(service, policy));

/** The port of the pods; undefined if it has a name, whose number depends on the pod. */
function targetOf({ port, targetPort }: Port): number | undefined {
  const target = targetPort ?? port;
  return typeof target === "number" ? target : undefined;
}
