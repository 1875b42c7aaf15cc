import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  type ClientRouteBeside,
  clientRouteReads,
  clientRoutesBeside,
  isForWaypoints,
} from "../../mesh/gateways/client-routes.ts";
import { takenAtListeners } from "../../mesh/gateways/listener-routes.ts";
import { isSameAge, oldestFirst, precedence } from "../../mesh/objects/creation-order.ts";
import { streamLossesAt, streamsAtSameGateway } from "../../mesh/gateways/stream-routes.ts";
import { mayUseHttp, usesHttp } from "../../mesh/gateways/route-ports.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { everyNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { takenAtGateways, virtualServicesOfGatewayHost } from "../../mesh/gateways/gateway-routes.ts";
import { namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { hostOwners, type HostOwners, virtualServicesOfSameHost } from "../../mesh/traffic/host-owners.ts";
import { type NamedOtherwise, namedOtherwise, otherNameReads } from "../../mesh/traffic/other-name-owners.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import { readsOfTlsLosses, tlsLossesOf } from "../../mesh/traffic/tls-routes.ts";
import { followerScopes } from "../../mesh/traffic/sidecar-scope.ts";
import { hostsOf } from "../../mesh/traffic/virtual-service-choices.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { forWording, type MeshView } from "../../view/view.ts";

const reads = [
  hostOwners,
  registeredHost,
  ...otherNameReads,
  followerScopes,
  virtualServicesOfSameHost,
  takenAtGateways,
  takenAtListeners,
  virtualServicesOfGatewayHost,
  ...readsOfTlsLosses,
  streamLossesAt,
  streamsAtSameGateway,
  ...clientRouteReads,
  forWording(isForWaypoints),
] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceHostConflict = defineRule({
  id: "virtual-service-host-conflict",
  subject: "VirtualService",
  reads,
  worksWithout: ["KubernetesGateway", "KubernetesRoute", "Service", "ServiceEntry", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary:
    "Another VirtualService, an HTTPRoute or a TCPRoute already has the requests for a host, or loses them to this VirtualService.",
  why: "Sidecars do not merge VirtualServices of one host: they use one of their own namespace whose exportTo names it (`.`), then one that is exported to them by name, then the oldest for all (Istio pilot/pkg/model/virtualservice.go SelectVirtualServices, pilot/pkg/networking/core/httproute.go dedupeDomains). Gateways merge them in order of age, so what an older one matches never reaches the younger one (pilot/pkg/networking/core/gateway.go); for plain HTTP this is so for all Gateways with one port of the same proxies, in the order of their age. For tcp, a server of a gateway has one route only, and tls matches with a server name that an older VirtualService has are left out (pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTCPRoutes, buildGatewayNetworkFiltersFromTLSRoutes; for sidecars pilot/pkg/networking/core/tls.go buildSidecarOutboundTLSFilterChainOpts). Recreating an object changes that order. The other names of a Service, such as `api.payments` and its address, go to whoever comes first: a VirtualService that has the name as its host, or the one for the full host. An HTTPRoute, GRPCRoute or TCPRoute with a Service as its parent becomes a VirtualService for all clients, at one port if its reference names one: those of its own namespace use it before other VirtualServices for all, and the rest use the oldest (pilot/pkg/model/virtualservice.go SelectVirtualServices). A waypoint has the routes of both, one after the other (pilot/pkg/networking/core/listener_waypoint.go buildWaypointInboundHTTPRouteConfig).",
  fix: "Put all routes of a host into one VirtualService. Teams that share a host can each write a delegate for it.",
  incident: {
    symptoms: ["no-effect", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests follow the routes of the other VirtualService. If that one is created again, they follow this one.",
    wayOut: "Change the routes in the VirtualService that is in use. Do not delete it: its routes go with it.",
    silentWhen:
      "One of the two is for gateways and the other for sidecars, they are exported to different clients, one is a delegate, or the HTTPRoute or TCPRoute is for some of the ports of the VirtualService alone.",
    page: "https://istio.io/latest/docs/ops/best-practices/traffic-management/",
  },

  *check(virtualService, mesh) {
    if (isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    const gateways = gatewaysOf(virtualService);
    const hosts = hostsOf(virtualService, mesh.settings);
    if (gateways.has(meshGateway)) yield* ofSidecars(virtualService, hosts, mesh);
    yield* ofServerNames(virtualService, mesh);
    if (gateways.size > (gateways.has(meshGateway) ? 1 : 0)) {
      yield* atGateways(virtualService, hosts, mesh);
      for (const gateway of gateways) {
        yield;
        yield* ofStreams(virtualService, gateway, mesh);
      }
    }
  },
});

function* ofSidecars(
  virtualService: VirtualService,
  hosts: readonly string[],
  mesh: View,
): Iterable<Problem | undefined> {
  const { http, tcp } = virtualService.spec;
  // Only routes of protocols whose first VirtualService hides the others, and that sidecars use at the ports of the host.
  const stream = tcp.some(({ match }) => match.length === 0) ? "tcp" : undefined;
  for (const [host, i] of new Map(hosts.map((one, at) => [one, at]))) {
    yield;
    const protocol = http.length > 0 && mayUseHttp(host, mesh) ? "http" : stream;
    yield* inMesh(virtualService, { host, i, protocol }, mesh);
    yield* besideClientRoutes(virtualService, { host, i }, mesh);
  }
  if (http.length > 0) yield* byOtherNames(virtualService, hosts, mesh);
}

interface Place {
  readonly host: string;
  readonly i: number;
  readonly protocol: "http" | "tcp" | undefined;
}

/** Which VirtualService sidecars use for a host. */
function* inMesh(virtualService: VirtualService, { host, i, protocol }: Place, mesh: View): Iterable<Problem> {
  const owners = mesh.get(hostOwners, host);
  if (owners.virtualServices.length < 2) return;
  if (protocol !== undefined && !owners.followed(protocol).has(virtualService)) {
    if (isLeftBySidecars(virtualService, owners, protocol, mesh)) return;
    const owner = ownerBefore(owners, virtualService, protocol);
    if (owner !== undefined)
      yield {
        at: ["spec", "hosts", i],
        message: `Sidecars use ${idOf(owner)} for "${host}", so this VirtualService has no effect on their requests for it`,
        key: JSON.stringify([host, meshGateway, idOf(owner)]),
        related: [owner],
        evidence: [owner],
      };
    return;
  }
  if (protocol === "http") yield* takenFor(virtualService, owners, { host, i }, mesh);
}

function* besideClientRoutes(
  virtualService: VirtualService,
  { host, i }: Omit<Place, "protocol">,
  mesh: View,
): Iterable<Problem> {
  const owner = namespaceOfHost(host, mesh.settings.domain);
  for (const protocol of ["http", "tcp"] as const)
    for (const beside of clientRoutesBeside(virtualService, { host, protocol }, mesh)) {
      const { route, port } = beside;
      const isOfOwner = route.metadata.namespace === owner;
      const isTogether = virtualService.metadata.namespace === owner && mesh.get(isForWaypoints, route);
      const said = isTogether ? atWaypoint : isOfOwner ? besideProducer : besideConsumer;
      const of = port === undefined ? `"${host}"` : `port ${port} of "${host}"`;
      yield {
        at: ["spec", "hosts", i],
        message: said(virtualService, { ...beside, of, protocol }),
        key: JSON.stringify([host, meshGateway, idOf(route), ...(port === undefined ? [] : [port])]),
        fix: "Keep the routes of the host in one of the two, and delete the other when the one that stays has all of them.",
        related: [route],
        evidence: [route],
      };
    }
}

interface Beside extends ClientRouteBeside {
  /** The host, in words. */
  readonly of: string;
  readonly protocol: "http" | "tcp";
}

/** Both in the namespace of the Service, from which waypoints read (Istio pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint, getWaypointTCPRoutes). */
const atWaypoint = (_virtualService: VirtualService, { of, route, protocol }: Beside): string =>
  protocol === "tcp"
    ? `A waypoint uses only one of this VirtualService and ${idOf(route)} for connections to ${of}`
    : `A waypoint has the routes of this VirtualService and of ${idOf(route)} for ${of} one after the other, so one without match hides those behind it`;

const withoutEffect = ({ protocol }: Beside): string =>
  `has no effect on their ${protocol === "tcp" ? "connections to it" : "requests for it"}`;

/** A route in the namespace of the Service. */
function besideProducer(virtualService: VirtualService, beside: Beside): string {
  const { of, route, isNamed } = beside;
  const there = `Sidecars in namespace "${route.metadata.namespace}"`;
  if (isNamed)
    return `${there} use this VirtualService for ${of}, and those of namespaces that it is not exported to ${idOf(route)}`;
  if (isSameAge(virtualService, route))
    return `${there} use ${idOf(route)} for ${of}, and those of other namespaces the older one of the two`;
  return oldestFirst(virtualService, route) < 0
    ? `${there} use ${idOf(route)} for ${of}, and those of other namespaces this VirtualService, which is older`
    : `Sidecars use ${idOf(route)} for ${of}, so this VirtualService ${withoutEffect(beside)}`;
}

/** A route in another namespace, which is for its own clients. */
function besideConsumer(_virtualService: VirtualService, beside: Beside): string {
  const { of, route, isNamed } = beside;
  const there = `Sidecars in namespace "${route.metadata.namespace}"`;
  return isNamed
    ? `${there} use this VirtualService for ${of}, so ${idOf(route)} has no effect`
    : `${there} use ${idOf(route)} for ${of}, so this VirtualService ${withoutEffect(beside)}`;
}

/** Which VirtualService sidecars use for other names of Services: one that has the name, or one that has the full host. */
function* byOtherNames(
  virtualService: VirtualService,
  hosts: readonly string[],
  mesh: View,
): Iterable<Problem | undefined> {
  const places = new Map(hosts.map((host, i) => [host, i]));
  for (const named of namedOtherwise(virtualService, mesh))
    if (named === undefined || !usesHttp(named.service)) yield;
    else yield* byOtherName(virtualService, { ...named, i: places.get(named.host) ?? 0 }, mesh);
}

function* byOtherName(
  virtualService: VirtualService,
  { host, i, service, owners, ofHost }: NamedOtherwise & { readonly i: number },
  mesh: View,
): Iterable<Problem> {
  const at = ["spec", "hosts", i];
  const what = `"${host}", another name of ${idOf(service)}`;
  if (owners.followed("http").has(virtualService))
    yield {
      at,
      message: `Requests of sidecars to ${what}, follow this VirtualService, and those to its full host ${idOf(ofHost)}`,
      key: JSON.stringify([host, "split", idOf(ofHost)]),
      related: [ofHost, service],
      evidence: [ofHost, service],
    };
  else if (!isLeftBySidecars(virtualService, owners, "http", mesh)) {
    // Those with the same host are compared already.
    const owner = [virtualService.metadata.namespace, ""]
      .map((client) => owners.ownerFor(client, "http"))
      .find((one) => one !== undefined && !hostsOf(one, mesh.settings).includes(host));
    if (owner === undefined) return;
    yield {
      at,
      message: `Sidecars use ${idOf(owner)} for ${what}, so this VirtualService has no effect on their requests for it`,
      key: JSON.stringify([host, meshGateway, idOf(owner)]),
      related: [owner, service],
      evidence: [owner, service],
    };
  }
}

/** Whether some namespace follows it because the Sidecars there do not import the others. */
function isLeftBySidecars(
  virtualService: VirtualService,
  owners: HostOwners,
  protocol: "http" | "tcp",
  mesh: View,
): boolean {
  const scopes = mesh.get(followerScopes, virtualService);
  return [...scopes.limited].some((client) => owners.ownerAmong(client, protocol, scopes) === virtualService);
}

const ownerBefore = (
  owners: HostOwners,
  { metadata: { namespace } }: VirtualService,
  protocol: "http" | "tcp",
): VirtualService | undefined => owners.ownerFor(namespace, protocol) ?? owners.ownerFor("", protocol);

/** The clients of other namespaces that it is exported to by name and that would use a public one of another owner. */
function* takenFor(
  virtualService: VirtualService,
  owners: HostOwners,
  { host, i }: { readonly host: string; readonly i: number },
  mesh: View,
): Iterable<Problem> {
  const { metadata, spec } = virtualService;
  const visible = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
  if (visible.has(everyNamespace)) return;
  const loser = owners.ownerFor("", "http");
  if (loser === undefined || loser.metadata.namespace === metadata.namespace) return;
  const scopes = mesh.get(followerScopes, virtualService);
  for (const client of visible)
    if (client !== metadata.namespace && owners.ownerAmong(client, "http", scopes) === virtualService)
      yield {
        at: ["spec", "hosts", i],
        message: `Clients in "${client}" use this VirtualService for "${host}" instead of ${idOf(loser)}: it is exported to them by name`,
        key: JSON.stringify([host, client, idOf(loser)]),
        related: [loser],
        evidence: [loser],
      };
}

function* atGateways(
  virtualService: VirtualService,
  hosts: readonly string[],
  mesh: View,
): Iterable<Problem | undefined> {
  const known = new Set<number>();
  for (const host of new Set(hosts)) {
    yield;
    for (const { i, route, gateway, by } of mesh.get(takenAtGateways, host).get(virtualService)?.values() ?? []) {
      if (known.has(i)) continue;
      known.add(i);
      yield {
        at: ["spec", "http", i],
        message: `No request for "${host}" reaches ${routeInWords(route)} at gateway "${gateway}": ${idOf(by)} takes them, which ${precedence(by, virtualService)}`,
        key: JSON.stringify([host, gateway, route.name, route.match, idOf(by)]),
        related: [by],
        evidence: [by],
      };
    }
    for (const { i, route, gateway, by, byGateway, port } of mesh.get(takenAtListeners, host).get(virtualService) ??
      []) {
      if (known.has(i)) continue;
      known.add(i);
      yield {
        at: ["spec", "http", i],
        message: `No request for "${host}" on port ${port} reaches ${routeInWords(route)} at gateway "${gateway}": ${idOf(by)} takes them, because ${idOf(byGateway)} is for the same port of the same proxies and older`,
        key: JSON.stringify([host, port, gateway, route.name, route.match, idOf(by)]),
        related: [by, byGateway],
        evidence: [by, byGateway],
      };
    }
  }
}

/** The tls matches that sidecars do not use, or that make Envoy refuse the listener, because of another VirtualService. */
function* ofServerNames(virtualService: VirtualService, mesh: View): Iterable<Problem | undefined> {
  for (const loss of tlsLossesOf(virtualService, mesh)) {
    if (loss === undefined || loss.by.virtualService === virtualService) {
      yield;
      continue;
    }
    const { i, j, kind, name, by } = loss;
    const other = by.virtualService;
    yield {
      at: ["spec", "tls", i, "match", j],
      message:
        kind === "taken"
          ? `No connection of a sidecar with server name "${name}" reaches this match: ${idOf(other)} has the same sniHosts and comes first`
          : `Envoy refuses the listener for server name "${name}" in sidecars: ${idOf(other)} has it in another list of sniHosts, so two filter chains are for the same connections`,
      key: JSON.stringify([kind, name, idOf(other)]),
      related: [other],
      evidence: [other],
    };
  }
}

/** The tcp routes and tls matches that get no connection at a gateway because of another VirtualService. */
function* ofStreams(virtualService: VirtualService, gateway: string, mesh: View): Iterable<Problem> {
  for (const { protocol, i, j, name, by } of mesh.get(streamLossesAt, gateway).get(virtualService) ?? []) {
    if (by === virtualService) continue;
    const what = protocol === "tcp" ? "tcp route" : `match for server name "${name}"`;
    yield {
      at: ["spec", protocol, i, ...(j === undefined ? [] : ["match", j])],
      message: `No connection reaches this ${what} at gateway "${gateway}": ${idOf(by)} takes them, which ${precedence(by, virtualService)}`,
      key: JSON.stringify([protocol, name, gateway, idOf(by)]),
      related: [by],
      evidence: [by],
    };
  }
}
