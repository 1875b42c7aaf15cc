import type { MeshSettings } from "../../view/settings.ts";
import { HostPatterns } from "../traffic/host-patterns.ts";
import { fullHost } from "../traffic/hosts.ts";
import { hostsInCommon, namesFor, offering } from "../traffic/offered-hosts.ts";
import type { Protocol, VirtualService } from "../traffic/virtual-services.ts";
import { type Gateway, isPlainHttp, passesThrough, readsHttp, type Server, terminatesHttps } from "./servers.ts";

/** What a Gateway offers to a VirtualService that is bound to it. */
export interface Attachment {
  /** The positions in `spec.hosts` of the hosts that some server offers to the namespace of the VirtualService. */
  readonly offered: ReadonlySet<number>;
  /** Those of them that a server offers which does not redirect every request to HTTPS. */
  readonly answered: ReadonlySet<number>;
  /**
   * The protocols of routes that some of these servers can use. One that redirects every request to HTTPS uses none, and counts
   * only if all of them do.
   */
  readonly protocols: ReadonlySet<Protocol>;
  /** The hosts that servers for HTTPS offer, with their positions. */
  readonly overTls: readonly OfferOverTls[];
}

interface OfferOverTls {
  readonly gateway: Gateway;
  readonly server: Server;
  readonly host: string;
  readonly i: number;
}

/**
 * A server uses a VirtualService if one of its hosts for the namespace of the VirtualService matches one of the hosts there,
 * with case, and if it can use routes of the protocol (Istio pilot/pkg/networking/core/gateway.go
 * buildGatewayHTTPRouteConfig, pickMatchingGatewayHosts, createGatewayTCPFilterChainOpts; pkg/config/host/names.go
 * NamesForNamespace, Intersection).
 */
export function attachmentsOf(
  virtualService: VirtualService,
  { domain }: MeshSettings,
): (gateway: Gateway) => Attachment {
  const { metadata, spec } = virtualService;
  const hosts = spec.hosts.map((host) => fullHost(host, metadata.namespace, domain));
  const places = new Map(hosts.map((host, i) => [host, i]));
  const wanted = new HostPatterns(hosts);
  return (gateway) => {
    const offered = new Set<number>();
    const answered = new Set<number>();
    const protocols = new Set<Protocol>();
    const redirected = new Set<Protocol>();
    const overTls: OfferOverTls[] = [];
    for (const server of gateway.spec.servers) {
      const common = hostsInCommon(namesFor(server, gateway, metadata.namespace), hosts, wanted);
      for (const host of common) {
        const i = places.get(host) as number;
        offered.add(i);
        if (!redirectsAll(server)) answered.add(i);
        if (terminatesHttps(server)) overTls.push({ gateway, server, host, i });
      }
      const found = redirectsAll(server) ? redirected : protocols;
      if (common.size > 0) for (const protocol of protocolsOf(server)) found.add(protocol);
    }
    return { offered, answered, protocols: protocols.size > 0 ? protocols : redirected, overTls };
  };
}

/** Whether a server offers a host of a VirtualService to its namespace. */
export const isOfferedBy = (
  virtualService: VirtualService,
  { server, gateway }: { readonly server: Server; readonly gateway: Gateway },
  settings: MeshSettings,
): boolean => offering(virtualService, settings)(server, gateway);

/** Whether a server offers a host, in lower case, or a wildcard over it, to VirtualServices of a namespace. */
export const serverOffersHost = (
  server: Server,
  gateway: Gateway,
  { host, namespace }: { readonly host: string; readonly namespace: string },
): boolean => patternsOf(server, gateway, namespace).over(host) !== undefined;

const patterns = new WeakMap<Server, Map<string, HostPatterns>>();

/** The hosts of a server for VirtualServices of a namespace, in lower case. */
function patternsOf(server: Server, gateway: Gateway, namespace: string): HostPatterns {
  const known = patterns.get(server) ?? new Map<string, HostPatterns>();
  patterns.set(server, known);
  let found = known.get(namespace);
  if (found === undefined) {
    const hosts = namesFor(server, gateway, namespace).map((host) => host.toLowerCase());
    known.set(namespace, (found = new HostPatterns(hosts)));
  }
  return found;
}

/**
 * Whether a server answers every plain request with a redirect to HTTPS, so that no route answers one (Istio
 * pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, RequireTls).
 */
export const redirectsAll = (server: Server): boolean => isPlainHttp(server) && server.tls?.httpsRedirect === true;

/** The protocols of the routes that a server uses. With AUTO_PASSTHROUGH it uses none. */
export function protocolsOf(server: Server): readonly Protocol[] {
  if (readsHttp(server)) return ["http"];
  if (passesThrough(server)) return server.tls?.mode === "AUTO_PASSTHROUGH" ? [] : ["tls"];
  return ["tcp"];
}

/**
 * The hosts of a VirtualService's routes of tcp that a Gateway serves, each with the position in `spec.hosts` of the host that it is
 * part of: the narrower one where a server's host and one of the VirtualService cover each other. Only a server that ends TLS tells
 * hosts apart: plain TCP has none (Istio pilot/pkg/networking/core/gateway.go createGatewayTCPFilterChainOpts).
 */
export function hostsOfStreams(
  { metadata, spec }: VirtualService,
  gateway: Gateway,
  { domain }: MeshSettings,
): ReadonlyMap<string, number> {
  const hosts = spec.hosts.map((host) => fullHost(host, metadata.namespace, domain));
  const wanted = new HostPatterns(hosts);
  const places = new Map(hosts.map((host, i) => [host, i]));
  const found = new Map<string, number>();
  for (const server of gateway.spec.servers) {
    if (server.tls === undefined || !protocolsOf(server).includes("tcp")) continue;
    const names = namesFor(server, gateway, metadata.namespace);
    for (const name of names) {
      const [over] = wanted.allOver(name);
      if (over !== undefined) found.set(name, places.get(over) ?? 0);
    }
    const patterns = new HostPatterns(names);
    for (const [host, i] of places) if (patterns.over(host) !== undefined) found.set(host, i);
  }
  return found;
}

/**
 * Whether the name is that of the Gateway which istiod generates for a listener of a Gateway API Gateway, with `~` between its parts
 * and in older versions with `-` (Istio pkg/config/gateway/kube/gatewayapi.go). It is not stored in the API server.
 */
export const isGenerated = (gatewayName: string): boolean =>
  /[-~]istio-autogenerated-k8s-gateway[-~]/u.test(gatewayName);
