import type { ObjectOf } from "../../kube/object.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { delegatingReads, delegatingTo, mostDelegating, routesThroughRoots } from "../traffic/delegate-routes.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { namespaceOfHost } from "../traffic/hosts.ts";
import { portsOfHosts, registryReads } from "../traffic/registry.ts";
import { doubtOfUse } from "../traffic/unreachable-routes.ts";
import { fullGatewayName, gatewaysOf, isDelegate, meshGateway } from "../traffic/virtual-service-clients.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import type { Traffic, VirtualService } from "../traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { type RoutePorts, routePortsOf, type RouteUse } from "./route-ports.ts";

/** A VirtualService and its Namespace, whose labels say whether sidecars are injected there. */
export const namespaceOfRoutes = relation(
  "namespaceOfRoutes",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);
/** A VirtualService, its Namespace, and those of its hosts that see it. */
const namespacesRouted = relation(
  "namespacesRouted",
  index("VirtualService", (virtualService, settings) => {
    const { metadata, spec } = virtualService;
    const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
    const names = hostsOf(virtualService, settings).flatMap((host) => namespaceOfHost(host, settings.domain) ?? []);
    return new Set([metadata.namespace, ...names.filter((name) => includesNamespace(visible, name))]);
  }),
  namespaceByName,
);

/** Whether sidecars are injected in one of these. Many destinations of a VirtualService with many hosts ask for it. */
const isForSidecarsThere = fact("isForSidecarsThere", "VirtualService", [namespacesRouted], (virtualService, mesh) =>
  mesh.related(namespacesRouted, virtualService).some((one) => hasSidecars(one, mesh.settings)),
);

const routesReads = [portsOfHosts, routePortsOf, routesThroughRoots] as const;
type RoutesView = MeshView<(typeof routesReads)[number]>;

/** What `portsOfArrival` and `sidecarPortsOf` read. */
export const arrivalReads = [...registryReads, ...routesReads, namespaceOfRoutes, isForSidecarsThere] as const;
type View = MeshView<(typeof arrivalReads)[number]>;

type Arriving = Pick<Traffic, "protocol"> & { readonly route: Pick<Traffic["route"], "match"> };

/** A route of a VirtualService with hosts, and those that a route of a delegate becomes (Istio pilot/pkg/model/virtualservice.go). */
function inEffect(
  virtualService: VirtualService,
  traffic: Pick<Traffic, "at" | "protocol" | "route">,
  mesh: RoutesView,
): readonly (readonly [VirtualService, Arriving])[] {
  if (!isDelegate(virtualService)) return [[virtualService, traffic]];
  if (traffic.protocol !== "http") return [];
  const delegated = mesh.get(routesThroughRoots, virtualService).get(traffic.at[2] as number) ?? [];
  return delegated.map(({ root, route }) => [root, { route, protocol: "http" }]);
}

/** The ports at which requests for a route arrive and use it, as far as they are known. */
export const portsOfArrival = (virtualService: VirtualService, traffic: Traffic, mesh: View): readonly number[] =>
  inEffect(virtualService, traffic, mesh).flatMap(([root, route]) => [...arrivalAt(root, route, mesh)]);

function arrivalAt(
  virtualService: VirtualService,
  { route, protocol }: Arriving,
  mesh: RoutesView,
): ReadonlySet<number> {
  const tables = mesh.get(routePortsOf, virtualService);
  mesh.visited(route.match.length * tables.size);
  const ports = new Set<number>();
  const anyPort = new Set<string>();
  for (const [gateway, port] of asked(virtualService, route.match, [...tables.keys()])) {
    if (!port) anyPort.add(gateway);
    else if (isUsedAt(port, gateway, tables.get(gateway), protocol)) ports.add(port);
  }
  for (const gateway of anyPort) for (const port of portsUsed(virtualService, gateway, protocol, mesh)) ports.add(port);
  return ports;
}

/** Whether requests may arrive at a port that uses the route. */
function mayArrive(virtualService: VirtualService, { route, protocol }: Arriving, mesh: RoutesView): boolean {
  const tables = mesh.get(routePortsOf, virtualService);
  mesh.visited(route.match.length * tables.size);
  for (const [gateway, port] of asked(virtualService, route.match, [...tables.keys()])) {
    const table = tables.get(gateway);
    if (table === undefined || (!port && hasNames(gateway, protocol))) return true;
    if (port ? isUsedAt(port, gateway, table, protocol) : usesIn(table).has(protocol)) return true;
  }
  return false;
}

const uses = new WeakMap<RoutePorts, ReadonlySet<RouteUse>>();

/** The result is stored, because many routes are for all ports of a host that has many. */
function usesIn(table: RoutePorts): ReadonlySet<RouteUse> {
  let found = uses.get(table);
  if (found === undefined) uses.set(table, (found = new Set([...table.values()].flatMap((some) => [...some]))));
  return found;
}

/** Names of Gateways in matches are in the namespace of the VirtualService; those of a delegate's routes are full names by now. */
function* asked(
  { metadata }: VirtualService,
  matches: Arriving["route"]["match"],
  bound: readonly string[],
): Iterable<readonly [gateway: string, port: number | undefined]> {
  if (matches.length === 0) for (const gateway of bound) yield [gateway, undefined];
  for (const { port, gateways } of matches) {
    const names = new Set(gateways.map((name) => fullGatewayName(name, metadata.namespace)));
    for (const gateway of bound) if (names.size === 0 || names.has(gateway)) yield [gateway, port];
  }
}

/** At port 80 of sidecars, even a host without this port is a name (route/route.go buildSidecarVirtualHostsForVirtualService). */
const hasNames = (gateway: string, protocol: Traffic["protocol"]): boolean =>
  gateway === meshGateway && protocol === "http";

const isUsedAt = (
  port: number,
  gateway: string,
  table: RoutePorts | undefined,
  protocol: Traffic["protocol"],
): boolean =>
  table === undefined || table.get(port)?.has(protocol) === true || (port === 80 && hasNames(gateway, protocol));

/** Those that are known. */
function portsUsed(
  virtualService: VirtualService,
  gateway: string,
  protocol: Traffic["protocol"],
  mesh: RoutesView,
): Iterable<number> {
  const table = mesh.get(routePortsOf, virtualService).get(gateway);
  if (table !== undefined) return [...table].flatMap(([port, uses]) => (uses.has(protocol) ? [port] : []));
  return (gateway === meshGateway ? mesh.get(portsOfHosts, virtualService) : undefined) ?? [];
}

/**
 * The routes of a VirtualService that no port uses at which requests for it arrive: their matches name other ports, or other gateways. Those
 * of a delegate are also without one if nothing delegates to it, or istiod leaves them out everywhere.
 */
const routesWithoutPort = fact(
  "routesWithoutPort",
  "VirtualService",
  [...routesReads, ...delegatingReads],
  (virtualService, mesh): ReadonlySet<Traffic["route"]> => {
    const found = new Set<Traffic["route"]>();
    // Only the first of so many routes that delegate are followed.
    if (isDelegate(virtualService) && delegatingTo(virtualService, mesh).length > mostDelegating) return found;
    const { http, tcp, tls } = virtualService.spec;
    const lists = { http, tcp, tls };
    for (const protocol of ["http", "tcp", "tls"] as const)
      for (const [i, route] of lists[protocol].entries()) {
        const inUse = inEffect(virtualService, { route, protocol, at: ["spec", protocol, i] }, mesh);
        if (!inUse.some(([root, one]) => mayArrive(root, one, mesh))) found.add(route);
      }
    return found;
  },
);

/** What `doubtOfTraffic` reads. */
export const doubtReads = [routesWithoutPort] as const;

/**
 * Why what is wrong with a destination only warns, as the rest of a sentence that begins with "because"; undefined: requests reach it
 * (Istio pilot/pkg/networking/core/route/route.go TranslateRoute, pilot/pkg/networking/core/tls.go matchTLS, matchTCP).
 */
export const doubtOfTraffic = (
  traffic: Traffic,
  virtualService: VirtualService,
  mesh: MeshView<typeof routesWithoutPort>,
): string | undefined =>
  doubtOfUse(traffic, virtualService) ??
  (mesh.get(routesWithoutPort, virtualService).has(traffic.route) ? withoutPort(virtualService) : undefined);

const withoutPort = (virtualService: VirtualService): string =>
  isDelegate(virtualService)
    ? "no known VirtualService that delegates to it uses this route"
    : "no port at which requests arrive uses this route";

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
  if (!mesh.get(isForSidecarsThere, virtualService)) return [];
  const all = [...portsUsed(virtualService, meshGateway, "http", mesh)];
  return matches.length > 0 ? all.filter((port) => matches.some((match) => (match.port || port) === port)) : all;
}

/** Whether sidecars are injected in the namespace of a VirtualService. */
export const isAmongSidecars = (virtualService: VirtualService, mesh: MeshView<typeof namespaceOfRoutes>): boolean =>
  mesh.related(namespaceOfRoutes, virtualService).some((one) => hasSidecars(one, mesh.settings));

const hasSidecars = (namespace: ObjectOf<"Namespace">, settings: MeshSettings): boolean => {
  const enrollment = enrollmentOf(namespace, settings);
  return enrollment === "sidecar" || enrollment === "ambient-and-sidecar";
};
