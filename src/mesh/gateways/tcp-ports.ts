import { protocolsOf } from "./attachment.ts";
import { gatewayService } from "./gateway-services.ts";
import type { Gateway } from "./servers.ts";
import { enrollmentOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { declaredProtocol, parsedProtocol, portByNumber } from "../membership/service-protocol.ts";
import { selectsWorkload, type Service, servicesOfNamespace, workloadsNearService } from "../membership/services.ts";
import { isProxy } from "../membership/workloads.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
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

/** What `servedBy` and `tcpPortsOf` read. */
export const readsTcpPorts = [servicesOfNamespace, entriesOfPolicy, gatewayService, workloadsNearService] as const;
type View = MeshView<(typeof readsTcpPorts)[number]>;

/**
 * The Gateways of Istio's kind whose servers decide how the ports of a Service are read; undefined: its pods are no gateways. Without
 * any, pods of a gateway listen at no port (Istio pilot/pkg/networking/core/gateway.go buildGatewayListeners).
 */
function gatewaysAt(service: Service, mesh: View): readonly Gateway[] | undefined {
  const proxies = mesh.get(gatewayService, service);
  if (proxies !== undefined) return proxies.gateways;
  const pods = mesh.related(workloadsNearService, service).filter((one) => selectsWorkload(service, one));
  return pods.length > 0 && pods.every(isProxy) ? [] : undefined;
}

/** Whether a policy is for workloads, or for Services or ServiceEntries at their waypoint, so that it has ports to ask for. */
export const isForPorts = (policy: AuthorizationPolicy): boolean =>
  targetRefsOf(policy).length === 0 || servicesTargeted(policy).length > 0 || entriesTargeted(policy).length > 0;

/**
 * The Services whose ports the policy is for: those of the workloads that it selects, or those that it targets, with the
 * ServiceEntries, whose ports a waypoint treats alike (Istio pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
export function servedBy(
  policy: AuthorizationPolicy,
  namespace: Namespace,
  mesh: View,
): readonly (Service | ServiceEntry)[] {
  const all = mesh.related(servicesOfNamespace, namespace);
  if (targetRefsOf(policy).length > 0) {
    const targeted = new Set(servicesTargeted(policy));
    return [...all.filter(({ metadata }) => targeted.has(metadata.name)), ...mesh.related(entriesOfPolicy, policy)];
  }
  const selected = all.filter((one) => isForSame(one, policy));
  // ztunnel knows HTTP at no port, which another rule reports, but the pods of a gateway are proxies.
  return enrollmentOf(namespace, mesh.settings) === "ambient"
    ? selected.filter((one) => gatewaysAt(one, mesh) !== undefined)
    : selected;
}

const isForSame = ({ spec }: Service, policy: AuthorizationPolicy): boolean =>
  selectsSame(spec.selector, policy.spec.selector?.matchLabels ?? {});

type Port = Service["spec"]["ports"][number];
const isOfTcp = (port: Port): boolean => declaredProtocol(port) === "TCP" && port.protocol !== "UDP";

/** Whether a port of a ServiceEntry is declared as one; nothing listens at those of UDP. */
export const isEntryPortOfTcp = ({ protocol = "" }: ServiceEntry["spec"]["ports"][number]): boolean =>
  parsedProtocol(protocol) === "TCP" && protocol.toUpperCase() !== "UDP";

/** What makes a port one of TCP: the Service or the ServiceEntry that declares it, or the Gateway with its server. */
export type Declaring = Service | ServiceEntry | Gateway;

/** Whether every port is declared as TCP, and the pods of a Service are no gateway, whose servers decide. */
export const hasOnlyTcp = (one: Service | ServiceEntry, mesh: View): boolean =>
  one.kind === "ServiceEntry"
    ? one.spec.ports.every(isEntryPortOfTcp)
    : gatewaysAt(one, mesh) === undefined && one.spec.ports.every(isOfTcp);

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
