import { idOf } from "../../kube/identity.ts";
import { isOfRequests, type KubernetesRoute, parentOf } from "../gateways/routes.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { isWildcard } from "../traffic/hosts.ts";
import { converted, type ConvertedRoutes, dropped } from "../gateways/converted-rules.ts";

/** What the routes are for. */
export interface RoutedPort {
  readonly definition: Definition;
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
const portsOf = (route: KubernetesRoute, { definition, port }: RoutedPort): readonly (number | undefined)[] =>
  route.spec.parentRefs
    .filter((ref) => {
      const parent = parentOf(ref, route);
      const { namespace, name } = definition.metadata;
      const isIt = parent.kind === definition.kind && parent.namespace === namespace && parent.name === name;
      return isIt && (ref.port === undefined || ref.port === port);
    })
    .map((ref) => ref.port);
