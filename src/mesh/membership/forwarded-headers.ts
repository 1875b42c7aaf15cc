import type { ProxyConfigFields } from "../../kube/proxy-config.ts";

// What a proxy believes in headers that its clients can write (Istio pilot/pkg/networking/core/gateway.go
// buildGatewayConnectionManager, pilot/pkg/networking/util/proxy_headers.go GetProxyHeadersFromProxyConfig).

/** How many proxies in front of a gateway are trusted to write X-Forwarded-For. A proxy config counts them as a number or as a text. */
export const trustedProxies = (config: ProxyConfigFields | undefined): number =>
  Number((config?.gatewayTopology?.numTrustedProxies ?? "").replaceAll('"', "")) || 0;

/**
 * Whether a gateway believes the address of the client that each connection begins with, in the PROXY protocol (Istio
 * pilot/pkg/networking/core/gateway.go buildGatewayListeners, buildGatewayListener).
 */
export const believesProxyProtocol = (config: ProxyConfigFields | undefined): boolean =>
  config?.gatewayTopology?.proxyProtocol !== undefined;

/** Sidecars and waypoints append the certificate of the caller by default, with which the application can tell who wrote what. */
const believedInMesh: ReadonlySet<string> = new Set(["FORWARD_ONLY", "ALWAYS_FORWARD_ONLY"]);
/** Gateways remove what clients send by default. */
const believedByGateways: ReadonlySet<string> = new Set([...believedInMesh, "APPEND_FORWARD"]);

/** A field of a proxy config because of which X-Forwarded-Client-Cert is passed on as clients wrote it, and its value. */
export interface BelievedCertificates {
  readonly field: "gatewayTopology.forwardClientCertDetails" | "proxyHeaders.forwardedClientCert";
  readonly value: string;
}

/** Only gateways have a topology; the headers of all other proxies are in `proxyHeaders`. */
export function believedCertificates(
  config: ProxyConfigFields | undefined,
  isGateway: boolean,
): BelievedCertificates | undefined {
  const value = isGateway
    ? config?.gatewayTopology?.forwardClientCertDetails
    : config?.proxyHeaders?.forwardedClientCert;
  if (value === undefined || !(isGateway ? believedByGateways : believedInMesh).has(value)) return undefined;
  return { field: isGateway ? "gatewayTopology.forwardClientCertDetails" : "proxyHeaders.forwardedClientCert", value };
}
