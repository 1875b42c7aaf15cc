import { fact } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { publicOnes, type TakenRoute, virtualServicesOfGatewayHost } from "./gateway-routes.ts";
import { routesOfListener, takenByOthers } from "./merged-routes.ts";
import { gatewaysOfVirtualService, nameOf } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { listenersFor } from "./listeners.ts";
import type { Gateway } from "./servers.ts";

/** A route that no request on one port reaches, because a VirtualService at another Gateway takes them. */
export interface RouteTakenOnPort extends TakenRoute {
  readonly port: number;
  /** The Gateway of the VirtualService that takes them. */
  readonly byGateway: Gateway;
}

type Taken = ReadonlyMap<VirtualService, readonly RouteTakenOnPort[]>;
const nothing: Taken = new Map();

/**
 * The routes for a host that are taken by VirtualServices at other Gateways. All servers for plain HTTP on one port of the same
 * proxies have one set of routes: in order of the age of the Gateways, and of the VirtualServices at each (Istio
 * pilot/pkg/model/gateway.go mergeGateways, pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig). HTTPS servers
 * have one for each server. Gateways are compared by equal selectors; VirtualServices that are not exported to all
 * namespaces are left out, because which pods serve a gateway may not be known.
 */
export const takenAtListeners = fact(
  "takenAtListeners",
  "key",
  [virtualServicesOfGatewayHost, gatewaysOfVirtualService],
  (host, mesh): Taken => {
    const all = publicOnes(mesh.under(virtualServicesOfGatewayHost, [host]), mesh.settings);
    if (all.length < 2) return nothing;
    const gateways = new Map<Gateway, VirtualService[]>();
    for (const virtualService of all)
      for (const gateway of mesh.under(
        gatewaysOfVirtualService,
        gatewaysOfVirtualService.from.keys(virtualService, mesh.settings),
      ))
        if (isServed(gateway, mesh.settings)) append(gateways, gateway, virtualService);
    if (gateways.size < 2) return nothing;
    const listeners = new Map<string, Bound[]>();
    for (const gateway of [...gateways.keys()].sort(oldestFirst))
      for (const { key, ...listener } of listenersFor(host, gateway, gateways.get(gateway) ?? []))
        if (key !== undefined) append(listeners, key, { ...listener, gateway });
    return takenOf(listeners);
  },
);

/** The VirtualServices that a Gateway has for a host on one port. */
interface Bound {
  readonly gateway: Gateway;
  readonly port: number;
  readonly virtualServices: readonly VirtualService[];
}

function takenOf(listeners: ReadonlyMap<string, readonly Bound[]>): Taken {
  const taken = new Map<VirtualService, RouteTakenOnPort[]>();
  for (const bound of listeners.values())
    if (bound.length > 1) for (const one of takenOn(bound)) append(taken, one.virtualService, one.route);
  return taken;
}

function* takenOn(
  bound: readonly Bound[],
): Iterable<{ readonly virtualService: VirtualService; readonly route: RouteTakenOnPort }> {
  const pairs = bound.flatMap(({ gateway, virtualServices }) =>
    virtualServices.map((virtualService) => ({ virtualService, gateway })),
  );
  // At several Gateways of the listener, its routes are there several times, of which the first count.
  const places = new Map(pairs.toReversed().map(({ virtualService, gateway }) => [virtualService, gateway]));
  const first = pairs.filter(({ virtualService, gateway }) => places.get(virtualService) === gateway);
  const inOrder = first.map(({ virtualService, gateway }) => ({ virtualService, gateway: nameOf(gateway) }));
  const [listener] = bound;
  for (const { virtualService, i, route, by } of takenByOthers(routesOfListener(inOrder))) {
    const gateway = places.get(virtualService);
    const byGateway = places.get(by.virtualService);
    if (gateway === undefined || byGateway === undefined || gateway === byGateway) continue;
    const port = listener?.port ?? 0;
    yield {
      virtualService,
      route: { i, route, gateway: nameOf(gateway), by: by.virtualService, byGateway, port },
    };
  }
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
