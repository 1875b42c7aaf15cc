import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type Mesh, relation } from "../../view/view.ts";
import { listenersFor } from "./listeners.ts";
import { routesInOrder, takenByOthers } from "./merged-routes.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import { mostSpecificFirst, mostSpecificHost } from "../traffic/hosts.ts";
import { hostsOf, virtualServicesOfHost } from "../traffic/virtual-service-choices.ts";
import {
  fullGatewayName,
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  nameOf,
} from "../traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";

const hostsAtGateways = index("VirtualService", (virtualService, settings) => {
  const isRead = isServed(virtualService, settings) && !isDelegate(virtualService);
  return isRead && gatewaysAlone(virtualService).length > 0 ? new Set(hostsOf(virtualService, settings)) : [];
});

/** A VirtualService and all VirtualServices at gateways, itself among them, that have one of its hosts, exactly as written. */
export const virtualServicesOfGatewayHost = relation("virtualServicesOfGatewayHost", hostsAtGateways, hostsAtGateways);

const gatewaysAlone = (virtualService: VirtualService): readonly string[] =>
  [...gatewaysOf(virtualService)].filter((gateway) => gateway !== meshGateway);

/** A route of a VirtualService that no request reaches at a gateway, because another VirtualService takes them. */
export interface TakenRoute {
  readonly i: number;
  readonly route: HttpRoute;
  readonly gateway: string;
  readonly by: VirtualService;
}

/** The results so far for the hosts of which a VirtualService is the first one: those of the same VirtualServices have the same. */
const takenFromFirst = fact("takenFromFirst", "VirtualService", [], (): Computed[] => []);

/**
 * The routes of several VirtualServices of one host at gateways. A gateway merges them: the routes of the oldest come first,
 * and behind all others those that match every request (Istio pilot/pkg/networking/core/gateway.go
 * buildGatewayHTTPRouteConfig, route/route.go SortVHostRoutes). The result is by VirtualService and position. Those that are not
 * exported to all namespaces are left out, because which pods serve a gateway may not be known, and those to whose namespace a
 * Gateway does not offer the host.
 */
export const takenAtGateways = fact(
  "takenAtGateways",
  "key",
  [virtualServicesOfGatewayHost, gatewaysOfVirtualService, takenFromFirst],
  (host, mesh): Taken => {
    const all = publicOnes(mesh.under(virtualServicesOfGatewayHost, [host]), mesh.settings);
    const [first] = all;
    if (first === undefined || all.length < 2) return nothing;
    const gateways = new Map(
      mesh.under(gatewaysOfVirtualService, new Set(all.flatMap(gatewaysAlone))).map((one) => [nameOf(one), one]),
    );
    const apart = gatewaysApart(all, (name, bound) => {
      const gateway = gateways.get(name);
      return gateway === undefined ? [bound] : listenersFor(host, gateway, bound).map((one) => one.virtualServices);
    });
    const key = [...apart]
      .map(([gateway, lists]) => `${gateway} ${lists.map((bound) => bound.map(nameOf).join()).join(" ")}`)
      .join("\n");
    const known = mesh.get(takenFromFirst, first);
    const isSame = (among: readonly VirtualService[]) =>
      among.length === all.length && among.every((one, i) => one === all[i]);
    let found = known.find((one) => one.key === key && isSame(one.among));
    if (found === undefined) {
      mesh.visited(all.reduce((routes, { spec }) => routes + spec.http.length, 0));
      known.push((found = { among: all, key, taken: takenAmong(apart) }));
    }
    return found.taken;
  },
);

/** The VirtualServices that every proxy gets, oldest first. */
export const publicOnes = (all: readonly VirtualService[], settings: MeshSettings): readonly VirtualService[] =>
  all
    .filter(({ metadata, spec }) =>
      visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo).has(everyNamespace),
    )
    .sort(oldestFirst);

type Taken = ReadonlyMap<VirtualService, ReadonlyMap<number, TakenRoute>>;
const nothing: Taken = new Map();

interface Computed {
  readonly among: readonly VirtualService[];
  /** The VirtualServices of each gateway. */
  readonly key: string;
  readonly taken: Taken;
}

/** The VirtualServices of each listener, in their order, by gateway. */
type Listeners = ReadonlyMap<string, readonly (readonly VirtualService[])[]>;

function takenAmong(gateways: Listeners): Taken {
  const taken = new Map<VirtualService, Map<number, TakenRoute>>();
  for (const [gateway, listeners] of gateways)
    for (const [virtualService, one] of takenAtAll(gateway, listeners)) {
      const there = taken.get(virtualService) ?? new Map<number, TakenRoute>();
      taken.set(virtualService, there);
      if (!there.has(one.i)) there.set(one.i, one);
    }
  return taken;
}

/** The routes that are taken at every listener of a gateway that has them. */
function takenAtAll(
  gateway: string,
  listeners: readonly (readonly VirtualService[])[],
): Iterable<readonly [VirtualService, TakenRoute]> {
  const found = listeners.map((bound) => [...takenAt(gateway, bound)]);
  const [only] = found;
  if (found.length === 1 && only !== undefined) return only;
  const times = new Map<VirtualService, number>();
  for (const bound of listeners) for (const one of bound) times.set(one, (times.get(one) ?? 0) + 1);
  const losses = new Map<HttpRoute, number>();
  for (const [, { route }] of found.flat()) losses.set(route, (losses.get(route) ?? 0) + 1);
  return found.flat().filter(([virtualService, { route }]) => losses.get(route) === times.get(virtualService));
}

/** Gateways with the same VirtualServices have the same routes, unless a match names one: of such a group, the first. */
function gatewaysApart(
  all: readonly VirtualService[],
  listenersOf: (gateway: string, bound: readonly VirtualService[]) => readonly (readonly VirtualService[])[],
): Listeners {
  const bound = new Map<string, VirtualService[]>();
  for (const virtualService of all)
    for (const gateway of gatewaysAlone(virtualService)) {
      const there = bound.get(gateway);
      if (there === undefined) bound.set(gateway, [virtualService]);
      else there.push(virtualService);
    }
  const named = new Set(all.flatMap(gatewaysInMatches));
  const places = new Map(all.map((virtualService, i) => [virtualService, i]));
  const apart = new Map<string, readonly [string, readonly (readonly VirtualService[])[]]>();
  for (const [gateway, some] of bound) {
    if (some.length < 2) continue;
    const listeners = listenersOf(gateway, some).filter(({ length }) => length > 0);
    const shown = listeners.map((one) => one.map((each) => places.get(each)).join());
    const key = named.has(gateway) ? `gateway ${gateway}` : shown.join(" ");
    if (!apart.has(key)) apart.set(key, [gateway, listeners]);
  }
  return new Map(apart.values());
}

const gatewaysInMatches = ({ metadata, spec }: VirtualService): readonly string[] =>
  spec.http
    .flatMap(({ match }) => match.flatMap(({ gateways }) => gateways))
    .map((gateway) => fullGatewayName(gateway, metadata.namespace));

function* takenAt(gateway: string, bound: readonly VirtualService[]): Iterable<readonly [VirtualService, TakenRoute]> {
  // What an earlier route of the same VirtualService takes is reported without gateways.
  for (const { virtualService, i, route, by } of takenByOthers(routesInOrder(gateway, bound)))
    yield [virtualService, { i, route, gateway, by: by.virtualService }];
}

/** The gateways at which VirtualServices for a host are merged, each with those for its most specific host, oldest first. */
export function gatewaysOfHost(host: string, mesh: Mesh): ReadonlyMap<string, readonly VirtualService[]> {
  const { settings } = mesh;
  const best = new Map<string, { host: string; readonly bound: VirtualService[] }>();
  const all = virtualServicesOfHost(host, mesh).filter((one) => isServed(one, settings) && one.spec.http.length > 0);
  for (const virtualService of all.toSorted(oldestFirst)) {
    const own = mostSpecificHost(host, hostsOf(virtualService, settings));
    if (own === undefined) continue;
    for (const gateway of gatewaysAlone(virtualService)) {
      const there = best.get(gateway);
      if (there === undefined || mostSpecificFirst(own, there.host) < 0)
        best.set(gateway, { host: own, bound: [virtualService] });
      else if (own === there.host) there.bound.push(virtualService);
    }
  }
  return new Map([...best].sort(([a], [b]) => (a < b ? -1 : 1)).map(([gateway, { bound }]) => [gateway, bound]));
}
