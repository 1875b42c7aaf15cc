import type { MeshView } from "../../view/view.ts";
import { covers, isWildcard, overlaps } from "../traffic/hosts.ts";
import type { Listener, ListenerGateway } from "./listener-gateways.ts";
import { acceptanceOf, hostnamesOf, listenersOf } from "./route-acceptance.ts";
import { isOfRequests, type KubernetesRoute, namespaceOfRoute, parentOf } from "./routes.ts";

/** A route that a listener uses for one of its hostnames. */
export interface AttachedRoute {
  readonly route: KubernetesRoute;
  /** As in the route; `*`: the route has none. */
  readonly hostname: string;
  /** False: whether the listener allows the namespace of the route depends on labels that are not known. */
  readonly isKnown: boolean;
}

/**
 * The routes that a listener uses, by their hostnames (Istio pilot/pkg/config/kube/gateway/conversion.go
 * extractParentReferenceInfo, referenceAllowed, hostnameAllowedByIsolation).
 */
export function attachedRoutes(
  { owner, listener, siblings }: ListenerGateway,
  routes: readonly KubernetesRoute[],
  mesh: MeshView<typeof namespaceOfRoute>,
): readonly AttachedRoute[] {
  const beside = siblings
    .filter(({ leftOut }) => leftOut === undefined)
    .map((one) => one.listener)
    .filter((other) => other !== listener && other.port === listener.port && other.protocol === listener.protocol);
  return routes.flatMap((route) => {
    if (!names(route, owner, listener)) return [];
    const result = acceptanceOf(listener, owner, route, mesh.related(namespaceOfRoute, route)[0]);
    if (result !== "accepted" && result !== "unknown namespace") return [];
    return hostnamesOf(route)
      .filter((hostname) => overlaps(listener.hostname || "*", hostname))
      .filter((hostname) => !isOfRequests(route) || isLeftTo(listener, hostname, beside))
      .map((hostname) => ({ route, hostname, isKnown: result === "accepted" }));
  });
}

/** A reference to a Gateway is for its own listeners alone. */
const names = (route: KubernetesRoute, owner: ListenerGateway["owner"], listener: Listener): boolean =>
  route.spec.parentRefs.some((ref) => {
    const { kind, namespace, name } = parentOf(ref, route);
    const isParent =
      namespace === owner.metadata.namespace && name === owner.metadata.name && kind === owner.originKind;
    return isParent && listenersOf(owner, ref).includes(listener);
  });

/**
 * Whether no other listener of the same port and protocol is more specific for a hostname. istiod does not ask for routes of
 * connections (route_collections.go TLSRouteCollection).
 */
function isLeftTo({ hostname: own = "" }: Listener, hostname: string, beside: readonly Listener[]): boolean {
  if (own !== "" && !isWildcard(own)) return true;
  return !beside.some(
    ({ hostname: other = "" }) => other !== "" && own.length <= other.length && covers(other, hostname),
  );
}
