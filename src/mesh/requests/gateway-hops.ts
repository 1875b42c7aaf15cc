import { type MeshView, relation } from "../../view/view.ts";
import { coveringHosts } from "../traffic/hosts.ts";
import { everyVirtualServiceByHost } from "../traffic/virtual-service-choices.ts";
import { serviceEntryByHost } from "../traffic/definition-choice.ts";
import { type AskedAtGateway, type Entrance, entranceAtProxy } from "./entrances.ts";
import { type Front, gatewayByHost, kubernetesGatewayByHost, routeByHostname } from "./front.ts";
import { type Stage, stageAt, stageReads } from "./gateway-stage.ts";
import { type Arriving, type ConnectionTls, connectionTlsOf, faultOf, transportTo } from "./gateway-tls.ts";
import type { TransportOutcome } from "./outcome.ts";
import type { Way } from "./way.ts";

// Gateways within the way of requests from the mesh: an egress gateway, or an ingress gateway that clients of the mesh use, too.

/** A ServiceEntry, and the Gateways that offer one of its hosts. */
export const gatewaysOfEntryHosts = relation("gatewaysOfEntryHosts", serviceEntryByHost, gatewayByHost);
/** The same of the Gateway API. */
export const kubernetesGatewaysOfEntryHosts = relation(
  "kubernetesGatewaysOfEntryHosts",
  serviceEntryByHost,
  kubernetesGatewayByHost,
);
/** A ServiceEntry, and the VirtualServices for one of its hosts. */
export const virtualServicesOfEntryHosts = relation(
  "virtualServicesOfEntryHosts",
  serviceEntryByHost,
  everyVirtualServiceByHost,
);
/** A ServiceEntry, and the routes of the Gateway API with one of its hosts, or with none. */
export const routesOfEntryHosts = relation("routesOfEntryHosts", serviceEntryByHost, routeByHostname);

/** What `hopAt` reads. */
export const hopReads = [
  ...stageReads,
  gatewaysOfEntryHosts,
  kubernetesGatewaysOfEntryHosts,
  virtualServicesOfEntryHosts,
  routesOfEntryHosts,
] as const;
type View = MeshView<(typeof hopReads)[number]>;

function frontFor(host: string, mesh: View): Front {
  const keys = coveringHosts(host);
  return {
    gateways: mesh.under(gatewaysOfEntryHosts, keys),
    kubernetesGateways: mesh.under(kubernetesGatewaysOfEntryHosts, keys),
    virtualServices: mesh.under(virtualServicesOfEntryHosts, keys),
    routes: mesh.under(routesOfEntryHosts, keys),
  };
}

/** What the client does, and what the gateway makes of it. */
export interface GatewayArrival {
  readonly transport: TransportOutcome;
  readonly stage: Stage;
  /** The name that TLS asks for; empty: none. */
  readonly sni: string;
  /** What is within the connection, once the gateway has terminated its TLS. */
  readonly payload: Way["payload"];
}

/**
 * How a connection arrives at a gateway: by which server, which the port and the name that TLS asks for decide, and with which TLS
 * (Istio pilot/pkg/networking/core/gateway.go, cluster_tls.go; Envoy selects the server by the name in TLS, and the route by the host).
 */
export function arrivalAtGateway(arriving: Arriving, mesh: View): GatewayArrival {
  const { host, ports, payload } = arriving;
  const tls = connectionTlsOf(arriving);
  const scheme = tls.by === "nobody" ? (payload === "http" ? "http" : "tcp") : "https";
  const name = scheme === "https" ? (tls.name ?? "") : host;
  const entrance = entranceOf({ host: name, scheme }, arriving, mesh);
  const transport = transportTo(arriving, tls, faultOf(entrance, tls, payload));
  const asked = { host: entrance.reads === "tls" ? name : host, port: ports.service, scheme } as const;
  const stage = explained(stageAt(entrance, asked, frontFor(asked.host, mesh), mesh), tls);
  const isTerminated = tls.by === "application" && entrance.reads !== "tls";
  return { transport, stage, sni: tls.name ?? "", payload: isTerminated ? entrance.reads : payload };
}

/** A server listens at the port to which a Service leads its own one; where no Service has it, at the port itself. */
function entranceOf(
  { host, scheme }: Omit<AskedAtGateway, "port">,
  { proxy, ports }: Pick<Arriving, "proxy" | "ports">,
  mesh: View,
): Entrance {
  const front = frontFor(host, mesh);
  const at = (port: number) => entranceAtProxy({ host, port, scheme }, proxy, front, mesh);
  const own = at(ports.service);
  if (own.proxy !== undefined || ports.pod === ports.service) return own;
  const direct = at(ports.pod);
  return direct.proxy === undefined ? own : direct;
}

/** A client that sets no name asks for that of its own configuration, which gateways seldom offer. */
function explained(stage: Stage, { isMtls, name, isDefaultName }: ConnectionTls): Stage {
  if (stage.kind !== "ended" || !isMtls || !isDefaultName || stage.gateway !== undefined) return stage;
  return {
    ...stage,
    because: `the client asks in TLS for ${name}, because no DestinationRule sets sni: ${stage.because}`,
  };
}
