import { oldestRouteFirst, oldestStreamFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import { fullHost, namespaceOfHost } from "../traffic/hosts.ts";
import { hostOwners, type HostOwners, hostsForSidecars } from "../traffic/host-owners.ts";
import { registeredHost } from "../traffic/registry.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { hasAmbientAlone } from "../membership/clients.ts";
import { rulesTaking } from "./listener-streams.ts";
import { routePortsOfDefinition } from "./route-ports.ts";
import { isOfRequests, type KubernetesRoute, namespaceOfRoute, parentOf } from "./routes.ts";

/**
 * The hosts of the Services that clients call and for which an HTTPRoute, a GRPCRoute or a TCPRoute has routes (Istio
 * pilot/pkg/config/kube/gateway/conversion.go toInternalParentReference).
 */
const hostsOfClientRoutes = index("KubernetesRoute", (route, settings) => {
  if (protocolOf(route) === undefined || !isServed(route, settings)) return [];
  return new Set(hostsOfParents(route, settings).map(({ host }) => host));
});

const protocolOf = (route: KubernetesRoute): "http" | "tcp" | undefined =>
  isOfRequests(route) ? "http" : route.originKind === "TCPRoute" ? "tcp" : undefined;

/** The Services that are parents, with the port that a reference names; undefined: all ports. */
const hostsOfParents = (
  route: KubernetesRoute,
  { domain }: MeshSettings,
): readonly { readonly host: string; readonly port: number | undefined }[] =>
  route.spec.parentRefs.flatMap((ref) => {
    const { kind, namespace, name } = parentOf(ref, route);
    return kind === "Service" ? [{ host: fullHost(name, namespace, domain).toLowerCase(), port: ref.port }] : [];
  });

/** A VirtualService for sidecars and the routes for clients of the Services that are its hosts. */
export const clientRoutesOfHost = relation("clientRoutesOfHost", hostsForSidecars, hostsOfClientRoutes);

/** The oldest route for each port that routes of one namespace name; undefined: for all ports. */
type OldestByPort = ReadonlyMap<number | undefined, KubernetesRoute>;
type ByNamespace = ReadonlyMap<string, OldestByPort>;

/**
 * The routes for clients of the host of a Service, by their namespaces: those for requests, of which istiod makes one VirtualService for
 * each port (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes), and those for TCP, of which proxies use the first.
 */
export const clientRoutesByNamespace = fact(
  "clientRoutesByNamespace",
  "key",
  [clientRoutesOfHost],
  (host, mesh): Readonly<Record<"http" | "tcp", ByNamespace>> => {
    const found = { http: new Map<string, Map<number | undefined, KubernetesRoute>>(), tcp: new Map() };
    for (const route of mesh.under(clientRoutesOfHost, [host])) {
      const protocol = protocolOf(route);
      if (protocol === undefined || !hasRules(route)) continue;
      const first: Map<number | undefined, KubernetesRoute> =
        found[protocol].get(route.metadata.namespace) ?? new Map<number | undefined, KubernetesRoute>();
      found[protocol].set(route.metadata.namespace, first);
      const inOrder = protocol === "http" ? oldestRouteFirst : oldestStreamFirst;
      for (const { host: own, port } of hostsOfParents(route, mesh.settings)) {
        if (own !== host) continue;
        const there = first.get(port);
        if (there === undefined || inOrder(route, there) < 0) first.set(port, route);
      }
    }
    return found;
  },
);

const hasRules = (route: KubernetesRoute): boolean => isOfRequests(route) || rulesTaking(route).length > 0;

/** A route for clients of a host of a VirtualService, which both have routes for. */
export interface ClientRouteBeside {
  readonly route: KubernetesRoute;
  /** The port at which they meet; undefined: all ports of the host at which there are requests, or connections, of the protocol. */
  readonly port: number | undefined;
  /** Whether the VirtualService is exported to the namespace of the route by name, so that its clients prefer it. */
  readonly isNamed: boolean;
}

/** What `clientRoutesBeside` reads. */
export const clientRouteReads = [clientRoutesByNamespace, clientRoutesOfHost, hostOwners, registeredHost] as const;

/**
 * The routes of the Gateway API for clients of the same host: those of the namespace of the Service are for all clients, and those of other
 * namespaces for their own clients alone (Istio pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService).
 */
export function* clientRoutesBeside(
  virtualService: VirtualService,
  { host, protocol }: { readonly host: string; readonly protocol: "http" | "tcp" },
  mesh: MeshView<(typeof clientRouteReads)[number]>,
): Iterable<ClientRouteBeside> {
  const routes = mesh.get(clientRoutesByNamespace, host)[protocol];
  if (routes.size === 0 || !isFollowed(virtualService, mesh.get(hostOwners, host), protocol)) return;
  const { metadata, spec } = virtualService;
  const visible = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
  const isForAll = visible.has(everyNamespace);
  for (const namespace of new Set([namespaceOfHost(host, mesh.settings.domain), metadata.namespace])) {
    const own = routes.get(namespace ?? "");
    if (own === undefined || !(isForAll || visible.has(namespace ?? ""))) continue;
    for (const one of meeting(virtualService, own, { host, protocol }, mesh)) yield { ...one, isNamed: !isForAll };
  }
}

/** Routes of TCP for a port do not hide those of others, but those of the only VirtualService are followed. */
const isFollowed = (virtualService: VirtualService, owners: HostOwners, protocol: "http" | "tcp"): boolean =>
  (protocol === "tcp" && owners.virtualServices.length === 1) || owners.followed(protocol).has(virtualService);

/**
 * The routes that meet a VirtualService, each once. Where they are for some of its ports alone, the owner may mean the two to share the
 * ports, so there are none.
 */
function* meeting(
  virtualService: VirtualService,
  routes: OldestByPort,
  { host, protocol }: { readonly host: string; readonly protocol: "http" | "tcp" },
  mesh: MeshView<typeof registeredHost>,
): Iterable<Omit<ClientRouteBeside, "isNamed">> {
  const written = portsOf(virtualService, protocol);
  const used = portsUsing(host, protocol, mesh);
  const ports =
    used === undefined ? [...written] : [...used].filter((port) => written.has(undefined) || written.has(port));
  if (!ports.every((port) => routes.has(port) || routes.has(undefined))) return;
  const known = new Set<KubernetesRoute>();
  for (const port of ports)
    for (const at of new Set([port, undefined])) {
      const route = routes.get(at);
      if (route === undefined || known.has(route)) continue;
      known.add(route);
      yield { route, port: used?.size === 1 ? undefined : at };
    }
}

/** The ports for which a VirtualService has routes that all requests, or some of them, follow; undefined: all ports. */
function portsOf({ spec }: VirtualService, protocol: "http" | "tcp"): ReadonlySet<number | undefined> {
  if (protocol === "http")
    return new Set(
      spec.http.flatMap(({ match }) => (match.length === 0 ? [undefined] : match.map(({ port }) => port || undefined))),
    );
  const led = spec.tcp.filter(({ route }) => route.length > 0);
  return new Set(led.flatMap(({ match }) => (match.length === 0 ? [undefined] : portsOfAll(match))));
}

/** Matches that take all connections to their port. */
const portsOfAll = (all: VirtualService["spec"]["tcp"][number]["match"]): readonly (number | undefined)[] =>
  all
    .filter(
      ({ destinationSubnets, sourceLabels, sourceNamespace, gateways }) =>
        destinationSubnets.length + gateways.length + Object.keys(sourceLabels).length === 0 && !sourceNamespace,
    )
    .map(({ port }) => port || undefined);

/** The ports of a host at which sidecars use routes of the protocol; undefined: they are not known. */
function portsUsing(
  host: string,
  protocol: "http" | "tcp",
  mesh: MeshView<typeof registeredHost>,
): ReadonlySet<number> | undefined {
  const { definitions, ports } = mesh.get(registeredHost, host);
  if (definitions.length === 0 || ports === undefined) return undefined;
  const all = definitions.flatMap((definition) => [...routePortsOfDefinition(definition)]);
  return new Set(all.filter(([, uses]) => uses.has(protocol)).map(([port]) => port));
}

/** Whether the clients in the namespace of a route follow none themselves, but waypoints apply it, as far as it is known. */
export const isForWaypoints = fact(
  "isForWaypoints",
  "KubernetesRoute",
  [namespaceOfRoute, hasAmbientAlone],
  (route, mesh) => mesh.related(namespaceOfRoute, route).some((namespace) => mesh.get(hasAmbientAlone, namespace)),
);
