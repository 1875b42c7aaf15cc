import type { ObjectOf } from "../../kube/object.ts";
import { index, type Mesh } from "../../view/view.ts";
import { hostnamesOf } from "../gateways/route-acceptance.ts";
import { canHaveListenerSets } from "../gateways/listener-sets.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import { type Gateway, serverHosts, sharingOf } from "../gateways/servers.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import { isServed } from "../objects/revision.ts";
import { coveringHosts, hostKey } from "../traffic/hosts.ts";
import { everyVirtualServiceByHost } from "../traffic/virtual-service-choices.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";

export type WebScheme = "http" | "https";

/**
 * A host that clients outside the mesh send requests to, and the port of the gateway at which these come in. `tcp`: connections that
 * are neither HTTP nor TLS, of which nothing tells the gateway for which host they are.
 */
export interface EntryHost {
  readonly kind: "entry";
  /** Without a wildcard, in lower case. */
  readonly host: string;
  readonly port: number;
  readonly scheme: WebScheme | "tcp";
}

/** The objects that can let in requests for a host from outside, and route them at a gateway. */
export interface Front {
  readonly gateways: readonly Gateway[];
  readonly kubernetesGateways: readonly KubernetesGateway[];
  readonly virtualServices: readonly VirtualService[];
  readonly routes: readonly KubernetesRoute[];
}

const keysOf = (hosts: readonly string[]): ReadonlySet<string> =>
  new Set(hosts.map((host) => hostKey(host.toLowerCase())));

/** Gateways by the hosts that their servers offer. */
export const gatewayByHost = index("Gateway", (gateway, settings) =>
  isServed(gateway, settings)
    ? keysOf(
        gateway.spec.servers.flatMap((server) =>
          // A server for TCP takes whatever comes, for whatever host.
          sharingOf(server) === "TCP" ? ["*"] : serverHosts(server, gateway.metadata.namespace).map(({ host }) => host),
        ),
      )
    : [],
);
/** Gateways of the Gateway API by the hosts of their listeners; where ListenerSets can add listeners, these have any host. */
export const kubernetesGatewayByHost = index("KubernetesGateway", (gateway, settings) => {
  const hosts = gateway.spec.listeners.map(({ hostname }) => hostname || "*");
  return keysOf(canHaveListenerSets(gateway, settings) ? [...hosts, "*"] : hosts);
});
/** Routes of the Gateway API by their hostnames. */
export const routeByHostname = index("KubernetesRoute", (route) => keysOf(hostnamesOf(route)));

/** The front of a host without a wildcard, in lower case. */
export function frontOf(host: string, mesh: Mesh): Front {
  const keys = coveringHosts(host);
  return {
    gateways: mesh.lookup(gatewayByHost, keys) as readonly ObjectOf<"Gateway">[],
    kubernetesGateways: mesh.lookup(kubernetesGatewayByHost, keys) as readonly ObjectOf<"KubernetesGateway">[],
    virtualServices: mesh.lookup(everyVirtualServiceByHost, keys) as readonly ObjectOf<"VirtualService">[],
    routes: mesh.lookup(routeByHostname, keys) as readonly ObjectOf<"KubernetesRoute">[],
  };
}
