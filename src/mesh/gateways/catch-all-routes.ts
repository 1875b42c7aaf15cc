import type { ObjectOf } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { rankOfCatchAll } from "./refused-fields.ts";
import {
  entriesOfParents,
  type KubernetesRoute,
  type ParentRef,
  parentOf,
  routesOfParentService,
  servicesOfRoute,
} from "./routes.ts";
import { placesOf, routesAtListeners, routesBesideRoute } from "./unreachable-rules.ts";

/** The routes of a hostname at one listener, and `rankOfCatchAll` of all of them. */
interface CatchAll {
  readonly routes: ReadonlySet<KubernetesRoute>;
  readonly rank: number;
}

/** For the routes of a hostname at each listener of a Gateway, whether one is for all requests. The key is one of `placesOf`. */
export const catchAllsAtListeners = fact(
  "catchAllsAtListeners",
  "key",
  [routesAtListeners],
  (key, mesh): readonly CatchAll[] =>
    mesh.get(routesAtListeners, key).map(({ routes }) => {
      mesh.visited(routes.size);
      let rank = 0;
      for (const route of routes) rank = Math.max(rank, rankOfCatchAll(route));
      return { routes, rank };
    }),
);

/** For the routes that name a Service as their parent, by `placeAtService`, whether one is for all requests. */
export const catchAllsOfService = fact(
  "catchAllsOfService",
  "Service",
  [routesOfParentService],
  (service, mesh): ReadonlyMap<string, number> => {
    const found = new Map<string, number>();
    const routes = mesh.related(routesOfParentService, service);
    mesh.visited(routes.length);
    for (const route of routes) {
      const rank = rankOfCatchAll(route);
      for (const ref of route.spec.parentRefs) {
        if (!isFor(service, ref, route)) continue;
        const place = placeAtService(route, ref);
        found.set(place, Math.max(rank, found.get(place) ?? 0));
      }
    }
    return found;
  },
);

const isFor = ({ metadata }: ObjectOf<"Service" | "ServiceEntry">, ref: ParentRef, route: KubernetesRoute): boolean => {
  const parent = parentOf(ref, route);
  return parent.name === metadata.name && parent.namespace === metadata.namespace;
};

/** istiod merges the routes of one namespace for one port (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection). */
const placeAtService = ({ metadata }: KubernetesRoute, { port }: ParentRef): string =>
  `${metadata.namespace} ${port ?? ""}`;

/** What `catchAllsBeside` reads. */
export const catchAllReads = [
  catchAllsAtListeners,
  routesBesideRoute,
  catchAllsOfService,
  servicesOfRoute,
  entriesOfParents,
] as const;

/** `rankOfCatchAll` of the routes at each place where proxies get the rules of a route; none: no proxy gets them. */
export function* catchAllsBeside(
  route: KubernetesRoute,
  mesh: MeshView<(typeof catchAllReads)[number]>,
): Iterable<number> {
  for (const { key } of placesOf(route, mesh.settings))
    for (const { routes, rank } of mesh.get(catchAllsAtListeners, key)) if (routes.has(route)) yield rank;
  const services = mesh.related(servicesOfRoute, route);
  const entries = mesh.related(entriesOfParents, route);
  for (const ref of route.spec.parentRefs) {
    const { kind } = parentOf(ref, route);
    if (kind === "ServiceEntry" && entries.some((entry) => isFor(entry, ref, route))) yield rankOfCatchAll(route);
    const service = kind === "Service" ? services.find((one) => isFor(one, ref, route)) : undefined;
    if (service !== undefined) yield mesh.get(catchAllsOfService, service).get(placeAtService(route, ref)) ?? 0;
  }
}
