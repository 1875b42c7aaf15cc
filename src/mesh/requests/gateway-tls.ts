import { idOf } from "../../kube/identity.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import { isPlainHttp, type Server } from "../gateways/servers.ts";
import { type Entrance, gatewayOf } from "./entrances.ts";
import type { RouteDestination, Source, TransportOutcome } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import type { Way } from "./way.ts";

/** A connection to the proxy of a gateway. */
export interface Arriving {
  readonly proxy: GatewayProxy;
  /** The port of the Service, and that of the pod. */
  readonly ports: { readonly service: number; readonly pod: number };
  readonly destination: RouteDestination;
  /** The host that the requests name. */
  readonly host: string;
  readonly payload: Way["payload"];
  readonly client: Source;
  readonly tls: ClientTlsChoice;
}

/** The TLS of a connection: that of the proxy of the client, or, without it, that of the application, if it sends TLS. */
export interface ConnectionTls {
  readonly by: "proxy" | "application" | "nobody";
  /** Whether it is that of the mesh, with the certificate of the client. */
  readonly isMtls: boolean;
  /** The name that it asks for; undefined: none. */
  readonly name: string | undefined;
  /** Whether the name is that of the client's own configuration, because no DestinationRule sets one. */
  readonly isDefaultName: boolean;
}

/**
 * The TLS of a client towards a gateway. Pods of gateways do not say that they support mTLS, unless a label does, so that there is no
 * auto mTLS to them. Without `sni`, mTLS asks for the name of the cluster, and other TLS for the host of each request (Istio
 * pilot/pkg/networking/core/cluster_tls.go, pilot/pkg/model/service.go GetTLSModeFromEndpointLabels).
 */
export function connectionTlsOf({ client, tls, proxy, destination, host, payload }: Arriving): ConnectionTls {
  const supportsMtls = proxy.labels["security.istio.io/tlsMode"] === "istio";
  const asked = tls.tls === "auto" && supportsMtls ? "mtls" : tls.tls;
  if (client.sender !== "proxy" || asked === "plaintext" || asked === "auto") return ofApplication(host, payload);
  const isMtls = asked === "mtls";
  const own = isMtls ? clusterName(destination) : payload === "http" ? host : undefined;
  return { by: "proxy", isMtls, name: tls.sni?.toLowerCase() ?? own, isDefaultName: tls.sni === undefined };
}

const ofApplication = (host: string, payload: Way["payload"]): ConnectionTls =>
  payload === "tls"
    ? { by: "application", isMtls: false, name: host, isDefaultName: false }
    : { by: "nobody", isMtls: false, name: undefined, isDefaultName: false };

/** Istio pilot/pkg/model/service.go BuildDNSSrvSubsetKey. */
export const clusterName = ({ port, subset = "", host }: RouteDestination): string =>
  `outbound_.${port}_.${subset}_.${host}`;

/** Why a connection fails, or why it is not known whether it does. */
export interface ConnectionFault {
  readonly result: "refused" | "undecided";
  readonly because: string;
}

/** Undefined: the server takes the connection. */
export function faultOf(
  { offers: [offer], reads }: Entrance,
  tls: ConnectionTls,
  payload: Way["payload"],
): ConnectionFault | undefined {
  if (offer === undefined) return undefined;
  const { server } = offer;
  const gateway = idOf(gatewayOf(offer));
  if (reads === "tls") return tls.isMtls ? passedOn(gateway) : undefined;
  const ofCertificate = terminatesTls(server) ? certificateFault(gateway, server, tls) : undefined;
  if (ofCertificate !== undefined || reads !== "http" || tls.by !== "proxy" || payload === "http") return ofCertificate;
  return { result: "undecided", because: `${gateway} reads HTTP, and the application sends something else` };
}

const terminatesTls = (server: Server): boolean => server.tls !== undefined && !isPlainHttp(server);

const passedOn = (gateway: string): ConnectionFault => ({
  result: "undecided",
  because: `${gateway} passes on the mTLS of the mesh, which something behind it has to terminate`,
});

function certificateFault(gateway: string, server: Server, { isMtls }: ConnectionTls): ConnectionFault | undefined {
  const isOfMesh = server.tls?.mode === "ISTIO_MUTUAL";
  if (isOfMesh === isMtls) return undefined;
  return isOfMesh
    ? { result: "refused", because: `${gateway} asks for a certificate of the mesh (ISTIO_MUTUAL)` }
    : {
        result: "undecided",
        because: `the client accepts only a certificate of the mesh (ISTIO_MUTUAL), and ${gateway} has one of its own`,
      };
}

/** What becomes of the connection. */
export function transportTo(
  { client, tls: choice }: Arriving,
  tls: ConnectionTls,
  fault: ConnectionFault | undefined,
): TransportOutcome {
  const works = tls.isMtls ? "mtls" : tls.by === "nobody" ? "plaintext" : "tls";
  const isOfProxy = client.sender === "proxy";
  return {
    ...{ to: "gateway", result: fault?.result ?? works, because: fault?.because, mode: undefined, waypoint: undefined },
    tls: isOfProxy ? choice.tls : "plaintext",
    rule: isOfProxy ? choice.rule : undefined,
  };
}
