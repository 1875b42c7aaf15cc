import { selectorText } from "../objects/selector-groups.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { serverOffersHost } from "./attachment.ts";
import { type Gateway, isPlainHttp, readsHttp, type Server } from "./servers.ts";

/** The VirtualServices that one listener of a Gateway has for a host. */
export interface Listener {
  /** Equal keys of several Gateways are one listener; undefined: it is for this Gateway alone. */
  readonly key: string | undefined;
  readonly port: number;
  /** In the order in which their routes are merged. */
  readonly virtualServices: readonly VirtualService[];
}

/**
 * What the servers of a Gateway that read HTTP have for a host, of the VirtualServices that are bound to it, oldest first. All
 * servers for plain HTTP on one port are one listener, to which each adds its VirtualServices; each HTTPS server is its own
 * (Istio pilot/pkg/model/gateway.go mergeGateways, pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig).
 */
export function listenersFor(host: string, gateway: Gateway, bound: readonly VirtualService[]): readonly Listener[] {
  const groups = new Map<string, Server[]>();
  for (const [i, server] of gateway.spec.servers.entries()) {
    if (!readsHttp(server)) continue;
    const key = JSON.stringify([server.port?.number, server.bind, isPlainHttp(server) ? "" : i]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [server]);
    else group.push(server);
  }
  return [...groups].flatMap(([key, servers]): readonly Listener[] => {
    const offered = servers.flatMap((server) =>
      bound.filter(({ metadata: { namespace } }) => serverOffersHost(server, gateway, { host, namespace })),
    );
    const [first] = servers;
    if (offered.length === 0 || first === undefined) return [];
    const isShared = isPlainHttp(first) && Object.keys(gateway.spec.selector).length > 0;
    return [
      {
        key: isShared ? `${selectorText(gateway.spec.selector)} ${key}` : undefined,
        port: first.port?.number ?? 0,
        virtualServices: [...new Set(offered)],
      },
    ];
  });
}
