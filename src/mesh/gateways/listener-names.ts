import { fact, type MeshView } from "../../view/view.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../membership/gateways.ts";
import { coveringHosts, covers } from "../traffic/hosts.ts";
import { certificateReads, grantsOf, missingCertificate } from "./listener-certificates.ts";
import type { Listener, ListenerGateway } from "./listener-gateways.ts";
import { listenersOfGateway } from "./listener-sets.ts";
import { terminatesHttps } from "./servers.ts";

const keyOf = (port: number | undefined, name: string): string => `${port} ${name}`;

/** The HTTPS listeners that work at a Gateway, also those of its ListenerSets, by port and hostname. */
export const httpsListeners = fact(
  "httpsListeners",
  "KubernetesGateway",
  [listenersOfGateway, ...certificateReads],
  (gateway, mesh): ReadonlyMap<string, ListenerGateway> =>
    new Map(
      (hasClassOfIstio(gateway, mesh.settings) ? mesh.get(listenersOfGateway, gateway).all : [])
        .filter(
          (one) =>
            one.leftOut === undefined &&
            one.generated.spec.servers.some(terminatesHttps) &&
            missingCertificate(one, grantsOf(one.owner, mesh)) === undefined,
        )
        .map((one) => [keyOf(one.listener.port, one.listener.hostname || "*"), one]),
    ),
);

/**
 * The listeners that take connections with TLS for a host from others of the same port, because their server names are more exact. istiod
 * leaves a hostname to the most exact listener of one Gateway or one ListenerSet (route-acceptance.ts), but makes a server of each listener
 * of all of them (Istio pilot/pkg/config/kube/gateway/gateway_collection.go ListenerSetCollection), with routes of its own for HTTPS
 * (pilot/pkg/model/gateway.go GetSNIHostsForServer, gatewayRDSRouteName).
 */
export function listenersTakingFrom(
  listeners: readonly Listener[],
  host: string,
  gateway: KubernetesGateway,
  mesh: MeshView<typeof httpsListeners>,
): readonly ListenerGateway[] {
  const all = mesh.get(httpsListeners, gateway);
  return listeners.flatMap((from) => {
    const own = from.hostname || "*";
    if (all.get(keyOf(from.port, own))?.listener !== from) return [];
    const narrower = coveringHosts(host).filter((name) => !covers(name, own));
    return narrower.flatMap((name) => all.get(keyOf(from.port, name)) ?? []).slice(0, 1);
  });
}
