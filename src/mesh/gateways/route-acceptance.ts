import type { Path } from "../../kube/read.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact } from "../../view/view.ts";
import { hasClassOfIstio } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { selectsByExpression } from "../objects/selectors.ts";
import { covers, isWildcard, overlaps } from "../traffic/hosts.ts";
import type { Listener, ListenerOwner } from "./listener-gateways.ts";
import { kindsOf } from "./listener-kinds.ts";
import {
  gatewaysOfRoute,
  isOfRequests,
  listenerSetsOfRoute,
  type KubernetesRoute,
  namespaceOfRoute,
  type ParentRef,
  parentOf,
  type Referenced,
} from "./routes.ts";

/** Whether a listener accepts a route, or the first reason why it does not. */
export type Acceptance = "accepted" | "host" | "kind" | "namespace" | "unknown namespace";

/** The listeners that a parent reference of a route is for. */
export const listenersOf = (
  { spec }: Pick<ListenerOwner, "spec">,
  { sectionName, port }: ParentRef,
): readonly Listener[] =>
  spec.listeners.filter(
    (listener) =>
      (!sectionName || listener.name === sectionName) && (port === undefined || port === 0 || listener.port === port),
  );

/**
 * Hosts are compared first, then the namespace, then the kind (Istio pilot/pkg/config/kube/gateway/conversion.go
 * referenceAllowed). `namespace` is that of the route, undefined if it is not known.
 */
export function acceptanceOf(
  listener: Listener,
  owner: ListenerOwner,
  route: KubernetesRoute,
  namespace: Namespace | undefined,
): Acceptance {
  if (!hostnamesOf(route).some((host) => isOffered(host, listener))) return "host";
  const isAllowed = allowsNamespace(listener, owner, route, namespace);
  if (isAllowed === false) return "namespace";
  if (!kindsOf(listener).includes(route.originKind)) return "kind";
  return isAllowed === undefined ? "unknown namespace" : "accepted";
}

/** What one Gateway or ListenerSet that a route names makes of it. */
export interface ParentAcceptance {
  /** The path of the reference in the route. */
  readonly at: Path;
  readonly parent: ListenerOwner;
  /** If no listener accepts the route, the reason of the listener that comes closest. */
  readonly result: Acceptance;
  /** The hostnames of the route that listeners which accept it offer, with these listeners. */
  readonly offered: ReadonlyMap<string, readonly Listener[]>;
  /** Those that they would offer, and that another listener of the parent takes from all of them. */
  readonly taken: ReadonlyMap<string, Listener>;
}

/**
 * The listeners, by port and protocol, to which istiod leaves a hostname, because they are the most exact ones for it, whatever routes
 * they have (Istio pilot/pkg/config/kube/gateway/conversion.go hostnameAllowedByIsolation). `all`: those of one owner.
 */
export function listenersTaking(hostname: string, all: readonly Listener[]): ReadonlyMap<string, Listener> {
  const found = new Map<string, Listener>();
  for (const listener of all) {
    const own = listener.hostname ?? "";
    const known = found.get(placeOf(listener))?.hostname ?? "";
    // `*.example.com` and `m.example.com` have one length.
    const isMoreExact = own.length > known.length || (own.length === known.length && isWildcard(known));
    if (isMoreExact && covers(own, hostname)) found.set(placeOf(listener), listener);
  }
  return found;
}

/**
 * Which of them takes the hostname from a listener; undefined: none does. istiod does not ask for routes of connections (Istio
 * pilot/pkg/config/kube/gateway/route_collections.go TLSRouteCollection).
 */
export function takingFrom(
  listener: Listener,
  taking: ReadonlyMap<string, Listener>,
  route: KubernetesRoute,
): Listener | undefined {
  const own = listener.hostname ?? "";
  if (!isOfRequests(route) || (own !== "" && !isWildcard(own))) return undefined;
  const other = taking.get(placeOf(listener));
  return other?.hostname === undefined || other.hostname === own || own.length > other.hostname.length
    ? undefined
    : other;
}

const placeOf = ({ port, protocol }: Listener): string => `${port} ${protocol}`;

/** From the reason that is furthest from acceptance. */
const order: readonly Acceptance[] = ["host", "namespace", "kind", "unknown namespace", "accepted"];

/**
 * For each Gateway and each ListenerSet that exists and that a route names, whether its listeners accept the route. References to
 * listeners that do not exist are left out.
 */
export const routeAcceptances = fact(
  "routeAcceptances",
  "KubernetesRoute",
  [gatewaysOfRoute, listenerSetsOfRoute, namespaceOfRoute],
  (route, mesh): readonly ParentAcceptance[] => {
    const owners = ownersByName([...mesh.related(gatewaysOfRoute, route), ...mesh.related(listenerSetsOfRoute, route)]);
    const [namespace] = mesh.related(namespaceOfRoute, route);
    return route.spec.parentRefs.flatMap((ref, i) => {
      const parent = owners.get(nameOfReferenced(parentOf(ref, route)));
      const listeners = parent === undefined ? [] : listenersOf(parent, ref);
      if (parent === undefined || listeners.length === 0) return [];
      const accepting: Listener[] = [];
      let best = 0;
      for (const listener of listeners) {
        const result = acceptanceOf(listener, parent, route, namespace);
        best = Math.max(best, order.indexOf(result));
        if (result === "accepted" || result === "unknown namespace") accepting.push(listener);
      }
      const at = ["spec", "parentRefs", i];
      return [{ at, parent, result: order[best] as Acceptance, ...hostsAt(accepting, parent, route, mesh.settings) }];
    });
  },
);

/** What becomes of the hostnames of a route at the listeners of a parent that accept it. */
function hostsAt(
  accepting: readonly Listener[],
  owner: ListenerOwner,
  route: KubernetesRoute,
  settings: MeshSettings,
): Pick<ParentAcceptance, "offered" | "taken"> {
  // Controllers do not have to isolate listeners (the feature GatewayHTTPListenerIsolation).
  const isOfOthers = owner.kind === "KubernetesGateway" && !hasClassOfIstio(owner, settings);
  const offered = new Map<string, Listener[]>();
  const taken = new Map<string, Listener>();
  for (const host of hostnamesOf(route)) {
    const exact = listenersTaking(host, isOfOthers ? [] : owner.spec.listeners);
    for (const listener of accepting.filter((one) => isOffered(host, one))) {
      const taking = takingFrom(listener, exact, route);
      if (taking === undefined) offered.set(host, [...(offered.get(host) ?? []), listener]);
      else taken.set(host, taking);
    }
  }
  return { offered, taken };
}

/** The key of `ownersByName` for what a route names. */
export const nameOfReferenced = ({ kind, namespace, name }: Referenced): string => `${kind} ${namespace}/${name}`;
/** Gateways and ListenerSets under what `parentOf` says of references to them. */
export const ownersByName = (owners: readonly ListenerOwner[]): ReadonlyMap<string, ListenerOwner> =>
  new Map(owners.map((owner) => [`${owner.originKind} ${owner.metadata.namespace}/${owner.metadata.name}`, owner]));

/** A route without hostnames, and every TCPRoute, is for all hosts of its listeners. */
export const hostnamesOf = ({ spec }: KubernetesRoute): readonly string[] =>
  spec.hostnames.length > 0 ? spec.hostnames : ["*"];

/** Whether a listener has a host in common; one without a hostname has all. */
const isOffered = (host: string, { hostname }: Listener): boolean => overlaps(hostname || "*", host);

/** Istio pilot/pkg/config/kube/gateway/conversion.go namespacesFromSelector. */
function allowsNamespace(
  { allowedRoutes }: Listener,
  owner: ListenerOwner,
  route: KubernetesRoute,
  namespace: Namespace | undefined,
): boolean | undefined {
  const { from = "Same", selector } = allowedRoutes?.namespaces ?? {};
  if (from === "Same") return route.metadata.namespace === owner.metadata.namespace;
  if (from !== "Selector" || selector === undefined) return true;
  if (namespace === undefined || namespace.implied) return undefined;
  const { name, labels } = namespace.metadata;
  return selectsByExpression(selector, { ...labels, "kubernetes.io/metadata.name": name });
}
