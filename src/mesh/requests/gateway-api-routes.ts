import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import {
  isOfRequests,
  type KubernetesRoute,
  parentOf,
  routesOfParentEntry,
  routesOfParentService,
} from "../gateways/routes.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import {
  type Definition,
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
} from "../traffic/definition-choice.ts";
import { isWildcard } from "../traffic/hosts.ts";
import { converted, type ConvertedRoutes, dropped } from "../gateways/converted-rules.ts";

/** What `parentsOfName` and `routesOfParents` read. */
export const parentReads = [
  routesOfParentService,
  routesOfParentEntry,
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
] as const;
type View = MeshView<(typeof parentReads)[number]>;

/** A name, and what defines it for a client; undefined: nothing does. */
interface Named {
  readonly definition: Definition | undefined;
  readonly name: string;
}

/**
 * What routes of the Gateway API can name to count for a name. istiod makes a VirtualService of a route for each host of a ServiceEntry
 * that it names, which counts for whatever service has the host (Istio pilot/pkg/config/kube/gateway/route_collections.go
 * HTTPRouteCollection).
 */
export function parentsOfName({ definition, name }: Named, mesh: View): readonly Definition[] {
  if (definition === undefined) return [];
  const beside =
    definition.kind === "Service"
      ? mesh.related(serviceEntriesBesideService, definition)
      : mesh.related(serviceEntriesBesideServiceEntry, definition);
  return [definition, ...beside.filter((one) => one !== definition && one.spec.hosts.includes(name))];
}

/** The routes that name one of these parents. */
export function routesOfParents(parents: readonly Definition[], mesh: View): readonly KubernetesRoute[] {
  const all = parents.flatMap((one) =>
    one.kind === "Service" ? mesh.related(routesOfParentService, one) : mesh.related(routesOfParentEntry, one),
  );
  return parents.length > 1 ? [...new Set(all)] : all;
}

/** What the routes are for. */
export interface RoutedPort {
  readonly definition: Definition;
  /** The definitions of the name that routes can have as their parent. */
  readonly parents: readonly Definition[];
  /** By which clients have it: the host of the Service, or one of the ServiceEntry. */
  readonly name: string;
  readonly port: number;
  /** Whether the port is declared as TCP or TLS, so that no route of HTTP counts. */
  readonly isStream: boolean;
  /** The namespace of the proxy that has the routes. */
  readonly client: string;
  readonly isWaypoint: boolean;
  readonly domain: string;
}

/**
 * The routes of the Gateway API that name a Service or a ServiceEntry as their parent, for proxies of a namespace: those of the
 * namespace of the parent, and those of their own. A sidecar has none for wildcards, which stand for no single service (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection;
 * pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). No grant is needed for their backends. A text: why that is not decided;
 * undefined: there are none.
 */
export function convertedRoutes(all: readonly KubernetesRoute[], to: RoutedPort): ConvertedRoutes | string | undefined {
  const { namespace } = to.definition.metadata;
  const routes = all
    .filter((route) => [namespace, to.client].includes(route.metadata.namespace) && portsOf(route, to).length > 0)
    .filter((route) => !(to.isStream && isOfRequests(route)))
    .sort(oldestFirst);
  const [first] = routes;
  if (first === undefined || (isWildcard(to.name) && !to.isWaypoint)) return undefined;
  if (isWildcard(to.name)) return `${idOf(first)} is for wildcard ${to.name}, which is not examined at waypoints`;
  // istiod merges the routes of one namespace and one port, and tries several of the results in an order of their own.
  const keys = new Set(
    routes.flatMap((route) => portsOf(route, to).map((port) => `${route.metadata.namespace} ${port}`)),
  );
  if (keys.size > 1)
    return `routes of several namespaces, or for one port and for all, route requests to ${idOf(to.definition)}`;
  const strange = routes.find((route) => !isOfRequests(route) || dropped(route) !== undefined);
  if (strange !== undefined) return `${idOf(strange)} routes requests in a way that is not examined`;
  return converted(routes, { hosts: [to.name], domain: to.domain });
}

/** The ports of its references to the parent: undefined for all of them. */
const portsOf = (route: KubernetesRoute, { parents, port }: RoutedPort): readonly (number | undefined)[] =>
  route.spec.parentRefs
    .filter((ref) => {
      const { kind, namespace, name } = parentOf(ref, route);
      const isParent = (one: Definition) =>
        one.kind === kind && one.metadata.namespace === namespace && one.metadata.name === name;
      return parents.some(isParent) && (ref.port === undefined || ref.port === port);
    })
    .map((ref) => ref.port);
