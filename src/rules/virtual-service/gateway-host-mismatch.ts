import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Attachment, attachmentsOf, serverOffersHost } from "../../mesh/gateways/attachment.ts";
import { type Gateway, isPlainHttp, type Server } from "../../mesh/gateways/servers.ts";
import { readsOfTakenNames, takingHost } from "../../mesh/gateways/taken-names.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  fullGatewayName,
  gatewaysOfVirtualService,
  isDelegate,
  nameOf,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { Protocol, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [gatewaysOfVirtualService, ...readsOfTakenNames] as const;

export const virtualServiceGatewayHostMismatch = defineRule({
  id: "virtual-service-gateway-host-mismatch",
  subject: "VirtualService",
  reads,
  worksWithout: ["Workload"],
  onlyWithFields: ["spec.gateways"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "No server of a Gateway offers the hosts of a VirtualService that is bound to it, none can use its routes, or requests are redirected to HTTPS, where none offers the host.",
  why: "A server of a Gateway uses a VirtualService only for hosts that both have, that the server offers to the namespace of the VirtualService, and with routes of its protocol: `http` at HTTP and HTTPS servers, `tls` at servers that pass TLS through, `tcp` at others (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pickMatchingGatewayHosts, createGatewayTCPFilterChainOpts). Otherwise requests for the host get 404, or the connection is closed. Of HTTPS servers, each has its own routes, and the one that names a host most exactly gets its connections (pilot/pkg/model/gateway.go gatewayRDSRouteName).",
  fix: "Add the host to a server of the Gateway, for the namespace of the VirtualService, or correct the host or the names of its Gateways, also in matches.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the host get 404 at the gateway, or the connection is closed. The VirtualService has its effect for sidecars, if it is for them too.",
    wayOut: "Apply the previous version of the Gateway or of the VirtualService.",
    silentWhen:
      "The Gateway is not known, the VirtualService is a delegate, or a more exact server takes only some names of a wildcard. A host is only redirected to HTTPS, and the Gateways have no server for TLS at all: a load balancer in front of them may end it.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    const { settings } = mesh;
    const { spec } = virtualService;
    if (isDelegate(virtualService) || !isServed(virtualService, settings)) return;
    const gateways = mesh.related(gatewaysOfVirtualService, virtualService);
    if (gateways.length === 0) return;
    const attachmentOf = attachmentsOf(virtualService, settings);
    const places = placesOf(virtualService);
    const attachments = new Map<Gateway, Attachment>();
    const routesAt = protocolsAt(virtualService);
    for (const gateway of gateways) {
      const attachment = attachmentOf(gateway);
      mesh.visited(virtualService.spec.hosts.length);
      attachments.set(gateway, attachment);
      const problem = problemOf(gateway, attachment, virtualService, routesAt(nameOf(gateway)));
      yield problem && { at: ["spec", "gateways", places.get(nameOf(gateway)) ?? 0], ...problem };
    }
    // A Gateway that is not known, and sidecars, can be for all hosts.
    if (gateways.length === new Set(spec.gateways).size) {
      yield* unofferedHosts(virtualService, [...attachments]);
      yield* redirectedHosts(virtualService, attachments);
    }
    if (spec.http.length > 0) yield* takenHosts(attachments, virtualService, mesh);
  },
});

/** The position of each gateway name in `spec.gateways`. */
function placesOf({ metadata, spec }: VirtualService): ReadonlyMap<string, number> {
  const places = new Map<string, number>();
  for (const [i, gateway] of spec.gateways.entries()) {
    const name = fullGatewayName(gateway, metadata.namespace);
    if (!places.has(name)) places.set(name, i);
  }
  return places;
}

function problemOf(
  gateway: Gateway,
  { offered, protocols }: Attachment,
  { metadata, spec }: VirtualService,
  own: readonly Protocol[],
): Omit<Problem, "at"> | undefined {
  const known = { related: [gateway], evidence: [gateway] };
  if (offered.size === 0)
    return {
      ...known,
      message: `${idOf(gateway)} offers none of the hosts to namespace ${metadata.namespace}, so this VirtualService has no effect there`,
    };
  if (own.length === 0)
    return spec.http.length + spec.tls.length + spec.tcp.length === 0
      ? undefined
      : {
          ...known,
          message: `All matches are for other gateways than ${idOf(gateway)}`,
        };
  if (own.some((protocol) => protocols.has(protocol))) return undefined;
  return {
    ...known,
    message: `The servers of ${idOf(gateway)} for these hosts use ${usable(protocols)}, and this VirtualService has only ${own.join(" and ")} routes`,
    fix: "Write routes of the protocol of the server, or change the protocol or the TLS mode of the server.",
  };
}

/** The protocols of which it has a route for a gateway (Istio pilot/pkg/networking/core/route/route.go sourceMatchHTTP, gateway.go l4SingleMatch). */
function protocolsAt({ metadata, spec }: VirtualService): (gateway: string) => readonly Protocol[] {
  const named = (["http", "tls", "tcp"] as const).map((protocol) => {
    const ofMatch = (gateways: readonly string[]) =>
      gateways.length === 0 ? [""] : gateways.map((gateway) => fullGatewayName(gateway, metadata.namespace));
    const names = spec[protocol].flatMap(({ match }) =>
      match.length === 0 ? [""] : match.flatMap(({ gateways }) => ofMatch(gateways)),
    );
    return [protocol, new Set(names)] as const;
  });
  return (gateway) => named.filter(([, names]) => names.has("") || names.has(gateway)).map(([protocol]) => protocol);
}

const usable = (protocols: Attachment["protocols"]): string =>
  protocols.size === 0 ? "no routes" : `only ${[...protocols].sort().join(" and ")} routes`;

function* unofferedHosts(
  { spec, metadata }: VirtualService,
  attachments: readonly (readonly [Gateway, Attachment])[],
): Iterable<Problem> {
  const offered = new Set(attachments.flatMap(([, attachment]) => [...attachment.offered]));
  if (offered.size === 0) return;
  // A few of them are enough to show what is offered.
  const gateways = attachments.slice(0, mostNamed).map(([gateway]) => gateway);
  const named = gateways.map((gateway) => idOf(gateway)).join(" or ");
  for (const [i, host] of spec.hosts.entries())
    if (!offered.has(i))
      yield {
        at: ["spec", "hosts", i],
        message: `No server of ${attachments.length > mostNamed ? `${named} or another Gateway` : named} offers host ${JSON.stringify(host)} to namespace ${metadata.namespace}`,
        key: host,
        related: gateways,
        evidence: gateways,
      };
}
const mostNamed = 4;

/**
 * The hosts that are redirected to HTTPS, where the Gateways have servers for other hosts alone. Without any server for HTTPS there, a load
 * balancer in front of the gateway may end TLS, and say so in a header, which no redirect follows.
 */
function* redirectedHosts(
  { spec }: VirtualService,
  attachments: ReadonlyMap<Gateway, Attachment>,
): Iterable<Problem | undefined> {
  const secure = [...attachments.keys()].filter((gateway) => gateway.spec.servers.some(isForTls)).slice(0, mostNamed);
  if (secure.length === 0) return;
  const [offered, answered] = (["offered", "answered"] as const).map(
    (of) => new Set([...attachments.values()].flatMap((attachment) => [...attachment[of]])),
  );
  for (const [i, host] of spec.hosts.entries())
    yield offered?.has(i) === true && answered?.has(i) !== true
      ? {
          at: ["spec", "hosts", i],
          message: `Requests for host ${JSON.stringify(host)} are redirected to HTTPS, and no server for HTTPS of ${secure.map((gateway) => idOf(gateway)).join(" or ")} offers it`,
          key: `redirected ${host}`,
          related: secure,
          evidence: secure,
        }
      : undefined;
}
const isForTls = (server: Server): boolean => server.tls !== undefined && !isPlainHttp(server);

/** The hosts whose connections with TLS reach a server where this VirtualService has no effect. */
function* takenHosts(
  attachments: ReadonlyMap<Gateway, Attachment>,
  { metadata: { namespace } }: VirtualService,
  mesh: MeshView<(typeof reads)[number]>,
): Iterable<Problem | undefined> {
  for (const from of [...attachments.values()].flatMap(({ overTls }) => overTls)) {
    const host = from.host.toLowerCase();
    const taking = takingHost(host, from, mesh);
    const isLost =
      taking &&
      !(attachments.has(taking.gateway) && serverOffersHost(taking.server, taking.gateway, { host, namespace }));
    yield isLost
      ? {
          at: ["spec", "hosts", from.i],
          message: `Connections with TLS for host ${JSON.stringify(host)} belong to the server for "${taking.name}" of ${idOf(taking.gateway)}, where this VirtualService has no effect`,
          related: [taking.gateway],
          evidence: [from.gateway, taking.gateway],
        }
      : undefined;
  }
}
