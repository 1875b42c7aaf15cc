import type { ObjectOf } from "../../kube/object.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { routesThroughRoots } from "../traffic/delegate-routes.ts";
import { listenerPortsOf, registryReads } from "../traffic/registry.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../traffic/virtual-service-clients.ts";
import type { Traffic, VirtualService } from "../traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { routePortsOf } from "./route-ports.ts";

/** A VirtualService and its Namespace, whose labels say whether sidecars are injected there. */
const namespaceOfRoutes = relation(
  "namespaceOfRoutes",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

/** What `portsOfArrival` and `sidecarPortsOf` read. */
export const arrivalReads = [...registryReads, routePortsOf, namespaceOfRoutes, routesThroughRoots] as const;
type View = MeshView<(typeof arrivalReads)[number]>;

type Arriving = Pick<Traffic, "protocol"> & { readonly route: Pick<Traffic["route"], "match"> };

/** A route of a VirtualService with hosts, and those that a route of a delegate becomes (Istio pilot/pkg/model/virtualservice.go). */
function inEffect(
  virtualService: VirtualService,
  traffic: Traffic,
  mesh: View,
): readonly (readonly [VirtualService, Arriving])[] {
  if (!isDelegate(virtualService)) return [[virtualService, traffic]];
  if (traffic.protocol !== "http") return [];
  const delegated = mesh.get(routesThroughRoots, virtualService).get(traffic.at[2] as number) ?? [];
  return delegated.map(({ root, route }) => [root, { route, protocol: "http" }]);
}

/** The ports at which requests for a route arrive and use it, as far as they are known. */
export const portsOfArrival = (virtualService: VirtualService, traffic: Traffic, mesh: View): readonly number[] =>
  inEffect(virtualService, traffic, mesh).flatMap(([root, route]) => arrivingAt(root, route, mesh));

function arrivingAt(virtualService: VirtualService, { route, protocol }: Arriving, mesh: View): readonly number[] {
  const tables = [...mesh.get(routePortsOf, virtualService).values()];
  const isUsed = (port: number) => {
    const uses = tables.flatMap((table) => (table === undefined || table.has(port) ? [table?.get(port)] : []));
    return uses.length === 0 || uses.some((use) => use === undefined || use.has(protocol));
  };
  return [...(listenerPortsOf(virtualService, route, mesh) ?? [])].filter(isUsed);
}

/**
 * Those at which sidecars have an http route. They look services up among those with the port of the listener, and only with this port,
 * so that even the only other port of a service does not count (Istio pilot/pkg/networking/core/httproute.go
 * BuildSidecarOutboundVirtualHosts, route/route.go GetDestinationCluster). Gateways and waypoints know all ports.
 */
export const sidecarPortsOf = (virtualService: VirtualService, traffic: Traffic, mesh: View): readonly number[] =>
  inEffect(virtualService, traffic, mesh).flatMap(([root, route]) => atSidecars(root, route, mesh));

function atSidecars(virtualService: VirtualService, { route, protocol }: Arriving, mesh: View): readonly number[] {
  const names = gatewaysOf(virtualService);
  const matches = route.match.filter(({ gateways }) => gateways.length === 0 || gateways.includes(meshGateway));
  if (protocol !== "http" || !names.has(meshGateway) || (route.match.length > 0 && matches.length === 0)) return [];
  if (!mesh.related(namespaceOfRoutes, virtualService).some((one) => hasSidecars(one, mesh.settings))) return [];
  const table = mesh.get(routePortsOf, virtualService).get(meshGateway);
  const ofNames = names.size === 1 ? listenerPortsOf(virtualService, { match: [] }, mesh) : undefined;
  const all =
    table === undefined ? [...(ofNames ?? [])] : [...table].flatMap(([port, use]) => (use.has("http") ? [port] : []));
  return matches.length > 0 ? all.filter((port) => matches.some((match) => (match.port || port) === port)) : all;
}

const hasSidecars = (namespace: ObjectOf<"Namespace">, settings: MeshSettings): boolean => {
  const enrollment = enrollmentOf(namespace, settings);
  return enrollment === "sidecar" || enrollment === "ambient-and-sidecar";
};
