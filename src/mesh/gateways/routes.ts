import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, relation } from "../../view/view.ts";
import { kubernetesGatewayByName, namespaceByName, serviceByName } from "../objects/indexes.ts";
import { gatewayByGeneratedService } from "../traffic/generated-services.ts";

export type KubernetesRoute = ObjectOf<"KubernetesRoute">;
/** Whether a route is for requests of HTTP, as opposed to connections. */
export const isOfRequests = ({ originKind }: KubernetesRoute): boolean =>
  originKind === "HTTPRoute" || originKind === "GRPCRoute";
/**
 * The hostnames that a route can have, by its definition (gateway-api apis/v1/httproute_types.go). Files can have routes with
 * more, for each of which all rules would be sorted.
 */
export const mostHostnames = 16;
export type ParentRef = KubernetesRoute["spec"]["parentRefs"][number];
/** A backend of a rule, or of a mirror, which has no weight. */
export type BackendObject = Omit<BackendRef, "weight" | "filters">;
type BackendRef = KubernetesRoute["spec"]["rules"][number]["backendRefs"][number];

const gatewayGroup = "gateway.networking.k8s.io";

/** An object that a route names. */
export interface Referenced {
  readonly kind: "Gateway" | "ListenerSet" | "Service" | "ServiceEntry" | "other";
  readonly namespace: string;
  readonly name: string;
}

/**
 * A parent is a Gateway unless it says otherwise; group and kind have defaults of their own (Istio
 * pilot/pkg/config/kube/gateway/conversion.go toInternalParentReference).
 */
export function parentOf(ref: ParentRef, route: KubernetesRoute): Referenced {
  const { group = gatewayGroup, kind = "Gateway", name } = ref;
  const found = parentKinds.get(`${group}/${kind}`) ?? "other";
  return { kind: found, namespace: ref.namespace || route.metadata.namespace, name };
}
const parentKinds: ReadonlyMap<string, Referenced["kind"]> = new Map([
  [`${gatewayGroup}/Gateway`, "Gateway"],
  [`${gatewayGroup}/ListenerSet`, "ListenerSet"],
  ["/Service", "Service"],
  ["networking.istio.io/ServiceEntry", "ServiceEntry"],
]);

/**
 * Whether clients in the mesh apply the route, because all its parents are services. Then references to other namespaces
 * need no ReferenceGrant (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection: `!mesh`).
 */
export const isForClients = (route: KubernetesRoute): boolean =>
  route.spec.parentRefs.length > 0 &&
  parentsOf(route).every(({ kind }) => kind === "Service" || kind === "ServiceEntry");

/** A backend is a Service unless it says otherwise (Istio pilot/pkg/config/kube/gateway/conversion.go buildDestination). */
export function backendOf(ref: BackendObject, route: KubernetesRoute): Referenced {
  const isService = (ref.group ?? "") === "" && (ref.kind ?? "Service") === "Service";
  return {
    kind: isService ? "Service" : "other",
    namespace: ref.namespace || route.metadata.namespace,
    name: ref.name,
  };
}

/** A backend of a rule, or of a mirror, with its path in the route. */
export interface Backend {
  readonly at: readonly (string | number)[];
  readonly ref: BackendObject;
  readonly isMirror: boolean;
}

/** The backends that receive requests: those with a weight of 0 receive none. */
export function* backendsOf({ spec }: KubernetesRoute): Iterable<Backend> {
  for (const [i, { backendRefs, filters }] of spec.rules.entries()) {
    for (const [j, ref] of backendRefs.entries())
      if (weightOf(ref) > 0) yield { at: ["spec", "rules", i, "backendRefs", j], ref, isMirror: false };
    for (const [j, { requestMirror }] of filters.entries())
      if (requestMirror?.backendRef !== undefined)
        yield {
          at: ["spec", "rules", i, "filters", j, "requestMirror", "backendRef"],
          ref: requestMirror.backendRef,
          isMirror: true,
        };
  }
}

/** A backend without a weight has a weight of 1. */
export const weightOf = ({ weight }: BackendRef): number => weight ?? 1;

/** The same in CEL, about a raw reference `b`. */
export const weightInCel = "(has(b.weight) ? int(b.weight) : 1)";

const nameOf = ({ namespace, name }: Referenced): string => `${namespace}/${name}`;
const namesOf = (all: readonly Referenced[], kind: Referenced["kind"]): ReadonlySet<string> =>
  new Set(all.filter((one) => one.kind === kind).map(nameOf));

const parentsOf = (route: KubernetesRoute) => route.spec.parentRefs.map((ref) => parentOf(ref, route));

/** A route of the Gateway API and the Gateways that it names as its parents. */
export const gatewaysOfRoute = relation(
  "gatewaysOfRoute",
  index("KubernetesRoute", (route) => namesOf(parentsOf(route), "Gateway")),
  kubernetesGatewayByName,
);

const listenerSetByName = index("ListenerSet", ({ metadata }) => [`${metadata.namespace}/${metadata.name}`]);

/** A route of the Gateway API and the ListenerSets that it names as its parents. */
export const listenerSetsOfRoute = relation(
  "listenerSetsOfRoute",
  index("KubernetesRoute", (route) => namesOf(parentsOf(route), "ListenerSet")),
  listenerSetByName,
);

/** A ListenerSet and all routes that name it as a parent. */
export const routesOfListenerSet = relation("routesOfListenerSet", listenerSetsOfRoute.to, listenerSetsOfRoute.from);

/** A ListenerSet and the routes of connections that name it as a parent. */
export const streamRoutesOfListenerSet = relation(
  "streamRoutesOfListenerSet",
  listenerSetByName,
  index("KubernetesRoute", (route) => (isOfRequests(route) ? [] : namesOf(parentsOf(route), "ListenerSet"))),
);

/** A Gateway of the Gateway API and all routes that name it as a parent. */
export const routesOfKubernetesGateway = relation(
  "routesOfKubernetesGateway",
  gatewaysOfRoute.to,
  gatewaysOfRoute.from,
);

/** A Gateway of the Gateway API and the routes of connections that name it as a parent. */
export const streamRoutesOfGateway = relation(
  "streamRoutesOfGateway",
  kubernetesGatewayByName,
  index("KubernetesRoute", (route) => (isOfRequests(route) ? [] : namesOf(parentsOf(route), "Gateway"))),
);

/** A route of connections and the Gateways that it names as its parents. */
export const gatewaysOfStream = relation("gatewaysOfStream", streamRoutesOfGateway.to, streamRoutesOfGateway.from);

/** A route of connections and the ListenerSets that it names as its parents. */
export const listenerSetsOfStream = relation(
  "listenerSetsOfStream",
  streamRoutesOfListenerSet.to,
  streamRoutesOfListenerSet.from,
);

const routeByService = index("KubernetesRoute", (route) =>
  namesOf([...parentsOf(route), ...[...backendsOf(route)].map(({ ref }) => backendOf(ref, route))], "Service"),
);
/** A route of the Gateway API and the Services that it names as its parents or as its backends. */
export const servicesOfRoute = relation("servicesOfRoute", routeByService, serviceByName);
/** A route of the Gateway API and the Gateways for which istiod may create a Service that it names as a parent or as a backend. */
export const gatewaysGeneratingForRoute = relation(
  "gatewaysGeneratingForRoute",
  routeByService,
  gatewayByGeneratedService,
  "identity",
);

/** A Service and the routes of the Gateway API that name it as their parent, so that they route requests to it. */
export const routesOfParentService = relation(
  "routesOfParentService",
  serviceByName,
  index("KubernetesRoute", (route) => namesOf(parentsOf(route), "Service")),
);

/** A ServiceEntry and the routes of the Gateway API that name it as their parent. */
export const routesOfParentEntry = relation(
  "routesOfParentEntry",
  index("ServiceEntry", ({ metadata }) => [`${metadata.namespace}/${metadata.name}`]),
  index("KubernetesRoute", (route) => namesOf(parentsOf(route), "ServiceEntry")),
);

/** A route of the Gateway API and the ServiceEntries that are its parents. */
export const entriesOfParents = relation("entriesOfParents", routesOfParentEntry.to, routesOfParentEntry.from);

/** A route of the Gateway API and its namespace, whose labels decide whether a listener allows it. */
export const namespaceOfRoute = relation(
  "namespaceOfRoute",
  index("KubernetesRoute", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

const grantKey = (kind: string, from: string, to: string) => `${kind} ${from} ${to}`;
/** The key of grantsOfRoute for the grants of a namespace that count for a route. */
export const grantKeyOf = ({ originKind, metadata }: KubernetesRoute, namespace: string): string =>
  grantKey(originKind, metadata.namespace, namespace);

/** A route of the Gateway API with a backend in another namespace, and the ReferenceGrants there for routes of its kind and namespace. */
export const grantsOfRoute = relation(
  "grantsOfRoute",
  index("KubernetesRoute", (route) => {
    const namespaces = new Set([...backendsOf(route)].map(({ ref }) => backendOf(ref, route).namespace));
    namespaces.delete(route.metadata.namespace);
    return [...namespaces].map((namespace) => grantKeyOf(route, namespace));
  }),
  index("ReferenceGrant", ({ metadata, spec }) => {
    const from = spec.from.filter(({ group }) => group === gatewayGroup);
    return new Set(from.map(({ kind, namespace }) => grantKey(kind, namespace, metadata.namespace)));
  }),
);

/** ReferenceGrants for the same routes in one namespace. */
export interface Granted {
  readonly grants: readonly ObjectOf<"ReferenceGrant">[];
  /** The names of the Services that some grant allows; undefined: all of them. */
  readonly services: ReadonlySet<string> | undefined;
}

/** The Services that the grants with one key allow (Istio pilot/pkg/config/kube/gatewaycommon/references.go BackendAllowed). */
export const grantedServices = fact("grantedServices", "key", [grantsOfRoute], (key, mesh): Granted => {
  const grants = mesh.under(grantsOfRoute, [key]);
  const services = new Set<string>();
  for (const { group, kind, name } of grants.flatMap(({ spec }) => spec.to)) {
    if (group !== "" || kind !== "Service") continue;
    if (name === undefined) return { grants, services: undefined };
    services.add(name);
  }
  return { grants, services };
});
