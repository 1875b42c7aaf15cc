import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import { attachedRoutes } from "./attached-routes.ts";
import { type Conversion, converted, type ConvertedRoutes, dropped } from "./converted-rules.ts";
import type { ListenerGateway } from "./listener-gateways.ts";
import {
  backendOf,
  grantedServices,
  grantKeyOf,
  isOfRequests,
  type KubernetesRoute,
  namespaceOfRoute,
  servicesOfRoute,
} from "./routes.ts";

/** What `routesByHostname` reads. */
export const hostnameRouteReads = [namespaceOfRoute, grantedServices, servicesOfRoute] as const;
type View = MeshView<(typeof hostnameRouteReads)[number]>;

/** The HTTPRoutes and GRPCRoutes of one hostname at a listener, which istiod merges into one VirtualService. */
export interface HostnameRoutes {
  /** `*`: they have none. */
  readonly hostname: string;
  readonly converted: ConvertedRoutes;
}

export interface RoutesAtListener {
  readonly all: readonly HostnameRoutes[];
  /** Routes of which istiod uses no rule, with the reason. */
  readonly dropped: readonly { readonly route: KubernetesRoute; readonly because: string }[];
  /** Routes of which it is not known whether the listener allows their namespace. */
  readonly uncertain: readonly KubernetesRoute[];
}

/**
 * The routes of a listener for requests, by their hostnames, as far as these are wanted (Istio
 * pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection, mergeHTTPRoutes). Default: all hostnames are wanted.
 */
export function routesByHostname(
  listener: ListenerGateway,
  routes: readonly KubernetesRoute[],
  mesh: View,
  isWanted: (hostname: string) => boolean = () => true,
): RoutesAtListener {
  const attached = attachedRoutes(listener, routes.filter(isOfRequests), mesh).filter(({ hostname }) =>
    isWanted(hostname),
  );
  const uses = usesAtGateways(mesh);
  const kept = attached.filter(({ route }) => dropped(route, uses) === undefined);
  const conversion = { domain: mesh.settings.domain, ...uses };
  const [namespace, name] = [listener.generated.metadata.namespace, listener.generated.metadata.name];
  return {
    all: [...Map.groupBy(kept, ({ hostname }) => hostname)].map(([hostname, some]) => ({
      hostname,
      converted: converted(
        some.map(({ route }) => route),
        { ...conversion, hosts: [hostname], name: [namespace, name, hostname].join("~") },
      ),
    })),
    dropped: attached.flatMap(({ route }) => {
      const because = dropped(route, uses);
      return because === undefined ? [] : [{ route, because }];
    }),
    uncertain: kept.filter(({ isKnown }) => !isKnown).map(({ route }) => route),
  };
}

/** What routes may use at gateways, and whether it exists. */
export const usesAtGateways = (mesh: View): Pick<Conversion, "refusalOf" | "isMissing"> => ({
  refusalOf: refusalIn(mesh),
  isMissing: missingIn(mesh),
});

/** Whether a backend of a route is none of the Services, if all are known. */
export const missingIn =
  (mesh: MeshView<typeof servicesOfRoute>): Conversion["isMissing"] =>
  (ref, route) => {
    const { kind, namespace, name } = backendOf(ref, route);
    if (kind !== "Service" || !mesh.knowsAll("Service")) return false;
    const all = mesh.related(servicesOfRoute, route);
    return !all.some(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  };

/** A backend in another namespace needs a grant there, of whatever kind it is. */
const refusalIn =
  (mesh: View): Conversion["refusalOf"] =>
  (ref, route) => {
    const { namespace, name, kind: known } = backendOf(ref, route);
    if (namespace === route.metadata.namespace) return undefined;
    const { services, grants } = mesh.get(grantedServices, grantKeyOf(route, namespace));
    const { group = "", kind = "Service" } = ref;
    const isGranted =
      known === "Service"
        ? services === undefined || services.has(name)
        : grants.some(({ spec }) =>
            spec.to.some((to) => to.group === group && to.kind === kind && (to.name === undefined || to.name === name)),
          );
    return isGranted
      ? undefined
      : `no ReferenceGrant in namespace ${namespace} lets ${idOf(route)} use ${kind} ${name}`;
  };
