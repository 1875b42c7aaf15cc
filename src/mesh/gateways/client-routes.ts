import { oldestRouteFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { fullHost } from "../traffic/hosts.ts";
import { hostsForSidecars } from "../traffic/host-owners.ts";
import { fact, index, relation } from "../../view/view.ts";
import { hasAmbientAlone } from "../membership/clients.ts";
import { isOfRequests, type KubernetesRoute, namespaceOfRoute, parentOf } from "./routes.ts";

/**
 * The hosts of the Services that clients call and for which an HTTPRoute or GRPCRoute has routes, at all their ports (Istio
 * pilot/pkg/config/kube/gateway/conversion.go toInternalParentReference).
 */
const hostsOfClientRoutes = index("KubernetesRoute", (route, settings) => {
  if (!isOfRequests(route) || !isServed(route, settings)) return [];
  const hosts = new Set<string>();
  for (const ref of route.spec.parentRefs) {
    const { kind, namespace, name } = parentOf(ref, route);
    if (kind === "Service" && ref.port === undefined)
      hosts.add(fullHost(name, namespace, settings.domain).toLowerCase());
  }
  return hosts;
});

/** A VirtualService for sidecars and the HTTPRoutes and GRPCRoutes for clients of the Services that are its hosts. */
export const clientRoutesOfHost = relation("clientRoutesOfHost", hostsForSidecars, hostsOfClientRoutes);

/**
 * The HTTPRoutes and GRPCRoutes for clients of the host of a Service: the oldest of each namespace, by it. istiod makes one
 * VirtualService of those of a namespace (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes).
 */
export const clientRoutesByNamespace = fact(
  "clientRoutesByNamespace",
  "key",
  [clientRoutesOfHost],
  (host, mesh): ReadonlyMap<string, KubernetesRoute> => {
    const first = new Map<string, KubernetesRoute>();
    for (const route of mesh.under(clientRoutesOfHost, [host])) {
      const there = first.get(route.metadata.namespace);
      if (there === undefined || oldestRouteFirst(route, there) < 0) first.set(route.metadata.namespace, route);
    }
    return first;
  },
);

/** Whether the clients in the namespace of a route follow none themselves, but waypoints apply it, as far as it is known. */
export const isForWaypoints = fact(
  "isForWaypoints",
  "KubernetesRoute",
  [namespaceOfRoute, hasAmbientAlone],
  (route, mesh) => mesh.related(namespaceOfRoute, route).some((namespace) => mesh.get(hasAmbientAlone, namespace)),
);
