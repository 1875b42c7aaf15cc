import { fact, type MeshView } from "../../view/view.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { oldestFirst, oldestStreamFirst } from "../objects/creation-order.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { mostSpecificFirst } from "../traffic/hosts.ts";
import { protocolsOf } from "./attachment.ts";
import { dropped, takesConnections } from "./converted-rules.ts";
import type { Listener, ListenerGateway, ListenerOwner } from "./listener-gateways.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "./listener-sets.ts";
import {
  type Acceptance,
  acceptanceOf,
  hostnamesOf,
  listenersOf,
  nameOfReferenced,
  ownersByName,
} from "./route-acceptance.ts";
import { streamRoutesNaming, streamRoutesNamingReads } from "./routes-at-gateway.ts";
import {
  gatewaysOfStream,
  type KubernetesRoute,
  listenerSetsOfStream,
  namespaceOfRoute,
  type ParentRef,
  parentOf,
} from "./routes.ts";

/** A route of connections that a listener uses. */
export interface AttachedStream {
  readonly route: KubernetesRoute;
  /** Whether it is known that the listener allows its namespace. */
  readonly isKnown: boolean;
}

/**
 * The routes of connections at each listener of a Gateway, the oldest first (Istio pilot/pkg/config/kube/gateway/conversion.go
 * extractParentReferenceInfo, referenceAllowed). A listener takes no names of them from another one: see `takingFrom`.
 */
export const streamsAtListeners = fact(
  "streamsAtListeners",
  "KubernetesGateway",
  [...streamRoutesNamingReads, namespaceOfRoute],
  (gateway, mesh): ReadonlyMap<ListenerGateway, readonly AttachedStream[]> => {
    const { all, byOwner } = mesh.get(listenersOfGateway, gateway);
    const found = new Map(all.map(({ listener }) => [listener, new Map<KubernetesRoute, AttachedStream>()]));
    const owners = ownersByName([...byOwner.keys()]);
    for (const route of streamRoutesNaming(gateway, mesh).toSorted(oldestStreamFirst)) {
      const [namespace] = mesh.related(namespaceOfRoute, route);
      for (const ref of route.spec.parentRefs) {
        const owner = owners.get(nameOfReferenced(parentOf(ref, route)));
        mesh.visited(owner?.spec.listeners.length ?? 0);
        for (const { listener, result } of owner === undefined ? [] : resultsAt(owner, ref, { route, namespace }))
          found.get(listener)?.set(route, { route, isKnown: result === "accepted" });
      }
    }
    return new Map(all.map((one) => [one, [...(found.get(one.listener)?.values() ?? [])]]));
  },
);

/** The listeners that accept a route, or may do so, of those that a reference leads to. */
const resultsAt = (
  owner: ListenerOwner,
  ref: ParentRef,
  { route, namespace }: { readonly route: KubernetesRoute; readonly namespace: Namespace | undefined },
): readonly { readonly listener: Listener; readonly result: Acceptance }[] =>
  listenersOf(owner, ref)
    .map((listener) => ({ listener, result: acceptanceOf(listener, owner, route, namespace) }))
    .filter(({ result }) => result === "accepted" || result === "unknown namespace");

/** What the hostnames of a route and of a listener have in common (route_collections.go TLSRouteCollection). */
export const namesAtListener = (
  route: KubernetesRoute,
  { listener: { hostname } }: Pick<ListenerGateway, "listener">,
): readonly string[] =>
  hostnamesOf(route).flatMap((name) => [name, hostname || "*"].sort(mostSpecificFirst).slice(0, 1));

/** A rule of a route of connections. */
export interface StreamRule {
  readonly route: KubernetesRoute;
  /** Its position in `spec.rules`. */
  readonly i: number;
}

/** A rule that takes the connections of another one. */
export interface TakingStream extends StreamRule {
  /** The server name that both have, because of which istiod leaves out the other one; undefined: it takes whatever comes. */
  readonly name: string | undefined;
}

/** The rules of a route that get no connection at a listener, by their positions. */
type LostStreams = ReadonlyMap<number, TakingStream>;

/**
 * The first rules that get no connection at listeners of a Gateway, by the listener and the route. A listener that does not pass TLS on has one
 * rule, whatever the hostnames of the routes are: the first of the first route. One that passes TLS on leaves out a rule with a server
 * name that an earlier one has at the same port, with all its names. First are the routes of the namespace of the proxies, then the
 * oldest (Istio pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTCPRoutes, buildGatewayNetworkFiltersFromTLSRoutes,
 * pilot/pkg/model/push_context.go VirtualServicesForGateway).
 */
const streamsLost = fact(
  "streamsLost",
  "KubernetesGateway",
  [streamsAtListeners],
  (gateway, mesh): ReadonlyMap<Listener, ReadonlyMap<KubernetesRoute, LostStreams>> => {
    if (!hasClassOfIstio(gateway, mesh.settings)) return new Map();
    const { namespace } = gateway.metadata;
    const { defaultVirtualServiceExportTo: exportTo } = mesh.settings;
    const isFar = (route: KubernetesRoute) => Number(route.metadata.namespace !== namespace);
    const rulesOf = (streams: readonly AttachedStream[]) =>
      streams
        .filter(({ isKnown }) => isKnown)
        .map(({ route }) => route)
        .filter((one) => includesNamespace(visibleTo([], one.metadata.namespace, exportTo), namespace))
        .sort((a, b) => isFar(a) - isFar(b))
        .flatMap((route) => rulesTaking(route).slice(0, 1));
    const names = new Map<string, StreamRule>();
    return new Map(
      [...mesh.get(streamsAtListeners, gateway)]
        .filter(([{ leftOut }]) => leftOut === undefined)
        .sort(([a], [b]) => oldestFirst(a.generated, b.generated))
        .map(([at, streams]) => [at.listener, lostAt(at, rulesOf(streams), names)]),
    );
  },
);

function lostAt(
  at: ListenerGateway,
  rules: readonly StreamRule[],
  names: Map<string, StreamRule>,
): ReadonlyMap<KubernetesRoute, LostStreams> {
  const protocols = at.generated.spec.servers.flatMap(protocolsOf);
  const result = new Map<KubernetesRoute, Map<number, TakingStream>>();
  const [first] = rules;
  for (const rule of rules) {
    const by = protocols.includes("tls")
      ? takenName(rule, at, names)
      : protocols.includes("tcp") && first !== undefined
        ? { ...first, name: undefined }
        : undefined;
    const lost = result.get(rule.route) ?? new Map<number, TakingStream>();
    result.set(rule.route, lost);
    if (by !== undefined && by.route !== rule.route) lost.set(rule.i, by);
  }
  return result;
}

/** The rule that has a server name of this one already. */
function takenName(rule: StreamRule, at: ListenerGateway, names: Map<string, StreamRule>): TakingStream | undefined {
  const own = namesAtListener(rule.route, at).map((name) => name.toLowerCase());
  const keyOf = (name: string) => `${at.listener.port ?? 0} ${name}`;
  const name = own.find((one) => names.has(keyOf(one)));
  const by = name === undefined ? undefined : names.get(keyOf(name));
  if (by !== undefined) return { ...by, name };
  for (const one of own) names.set(keyOf(one), rule);
  return undefined;
}

/** A rule that gets no connection at any listener that a reference of its route leads to. */
export interface LostStream {
  readonly i: number;
  /** The first of these listeners, and what it is written in. */
  readonly listener: Listener;
  readonly parent: ListenerOwner;
  readonly gateway: KubernetesGateway;
  readonly by: TakingStream;
}

/** The rules of a route of connections that get none, because its first one takes them all, and that one. */
export function streamsLostWithin(route: KubernetesRoute): LostStreams {
  const [first, ...others] = rulesTaking(route);
  return new Map(first === undefined ? [] : others.map(({ i }) => [i, { ...first, name: undefined }]));
}

/** The rules of a route of connections that take them. */
export const rulesTaking = (route: KubernetesRoute): readonly StreamRule[] =>
  dropped(route) === undefined ? route.spec.rules.map((_, i) => ({ route, i })).filter(takesConnections) : [];

/** What `lostStreamsOf` reads. */
export const lostStreamReads = [gatewaysOfStream, listenerSetsOfStream, gatewayOfListenerSet, streamsLost] as const;
type View = MeshView<(typeof lostStreamReads)[number]>;

/** The rules of a route of connections that get none because of other routes, for each of its references to parents. */
export function* lostStreamsOf(route: KubernetesRoute, mesh: View): Iterable<LostStream> {
  const sets = mesh.related(listenerSetsOfStream, route);
  const owners = ownersByName([...mesh.related(gatewaysOfStream, route), ...sets]);
  for (const ref of route.spec.parentRefs) {
    const parent = owners.get(nameOfReferenced(parentOf(ref, route)));
    const gateway = parent && gatewayOf(parent, mesh);
    if (parent === undefined || gateway === undefined) continue;
    const lost = mesh.get(streamsLost, gateway);
    const all = listenersOf(parent, ref).flatMap((listener) => {
      const own = lost.get(listener)?.get(route);
      return own === undefined ? [] : [{ listener, own }];
    });
    const [first] = all;
    for (const [i, by] of first?.own ?? [])
      if (first !== undefined && all.every(({ own }) => own.has(i)))
        yield { i, listener: first.listener, parent, gateway, by };
  }
}

const gatewayOf = (owner: ListenerOwner, mesh: MeshView<typeof gatewayOfListenerSet>): KubernetesGateway | undefined =>
  owner.kind === "KubernetesGateway" ? owner : mesh.related(gatewayOfListenerSet, owner)[0];
