import type { MeshView } from "../../view/view.ts";
import { overlaps } from "../traffic/hosts.ts";
import type { Listener, ListenerGateway } from "./listener-gateways.ts";
import { acceptanceOf, hostnamesOf, listenersOf, listenersTaking, takingFrom } from "./route-acceptance.ts";
import { type KubernetesRoute, namespaceOfRoute, parentOf } from "./routes.ts";

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
  const beside = siblings.filter(({ leftOut }) => leftOut === undefined).map((one) => one.listener);
  return routes.flatMap((route) => {
    if (!names(route, owner, listener)) return [];
    const result = acceptanceOf(listener, owner, route, mesh.related(namespaceOfRoute, route)[0]);
    if (result !== "accepted" && result !== "unknown namespace") return [];
    return hostnamesOf(route)
      .filter((hostname) => overlaps(listener.hostname || "*", hostname))
      .filter((hostname) => takingFrom(listener, listenersTaking(hostname, beside), route) === undefined)
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
