import type { ObjectOf } from "../../kube/object.ts";
import { type ServerHost, serverHosts } from "../traffic/offered-hosts.ts";

export { type ServerHost, serverHost, serverHosts } from "../traffic/offered-hosts.ts";

export type Gateway = ObjectOf<"Gateway">;
export type Server = Gateway["spec"]["servers"][number];

const httpProtocols: ReadonlySet<string> = new Set(["http", "http2", "http_proxy", "grpc", "grpc-web"]);
const tlsProtocols: ReadonlySet<string> = new Set(["https", "tls"]);
const streamProtocols: ReadonlySet<string> = new Set(["tcp", "udp", "mongo", "redis", "mysql"]);

/** Istio pkg/config/protocol/instance.go Parse ignores case. */
const protocolOf = ({ port }: Server): string => (port?.protocol ?? "").toLowerCase();

/** Istio pkg/config/protocol/instance.go IsHTTP: plain HTTP and what is transported by it, without HTTPS. */
export const isPlainHttp = (server: Server): boolean => httpProtocols.has(protocolOf(server));
/** Istio pkg/config/protocol/instance.go IsTLS: HTTPS and TLS. */
export const isOverTls = (server: Server): boolean => tlsProtocols.has(protocolOf(server));
export const hasKnownProtocol = (server: Server): boolean =>
  isPlainHttp(server) || isOverTls(server) || streamProtocols.has(protocolOf(server));

/**
 * Istio pkg/config/gateway/gateway.go IsPassThroughServer. PASSTHROUGH is also the mode of TLS settings without a mode,
 * because it is the first value of the enum (istio.io/api networking/v1alpha3/gateway.proto).
 */
export const passesThrough = ({ tls }: Server): boolean =>
  tls !== undefined && ["PASSTHROUGH", "AUTO_PASSTHROUGH"].includes(tls.mode || "PASSTHROUGH");

/** Istio pkg/config/gateway/gateway.go IsHTTPSServerWithTLSTermination. */
export const terminatesHttps = (server: Server): boolean =>
  protocolOf(server) === "https" && server.tls !== undefined && !passesThrough(server);

/** Istio pkg/config/gateway/gateway.go IsHTTPServer. */
export const readsHttp = (server: Server): boolean => isPlainHttp(server) || terminatesHttps(server);

/**
 * How a server shares its port with others: HTTP servers with each other, TLS servers with each other by their server
 * names, and other servers with none (Istio pilot/pkg/model/gateway.go mergeGateways, pkg/config/gateway IsTLSServer).
 */
export type Sharing = "HTTP" | "TLS" | "TCP";
export function sharingOf(server: Server): Sharing {
  if (isPlainHttp(server)) return "HTTP";
  return server.tls === undefined ? "TCP" : "TLS";
}

export const formatServerHost = ({ namespace, host }: ServerHost): string =>
  namespace === "*" ? host : `${namespace}/${host}`;

/**
 * The server names that Envoy selects a server by; `*` stands for all of them, and then there are no others (Istio
 * pilot/pkg/model/gateway.go GetSNIHostsForServer, pilot/pkg/networking/core/listener.go toFilterChainMatch).
 */
export function serverNames(server: Server, gatewayNamespace: string): ReadonlySet<string> {
  const names = new Set(serverHosts(server, gatewayNamespace).map(({ host }) => host));
  return names.has("*") ? new Set(["*"]) : names;
}
