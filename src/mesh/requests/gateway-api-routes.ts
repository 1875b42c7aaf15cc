import { idOf } from "../../kube/identity.ts";
import { type KubernetesRoute, parentOf } from "../gateways/routes.ts";
import type { Service } from "../membership/services.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { converted, type ConvertedRoutes, dropped } from "./converted-rules.ts";

/** What the routes are for. */
export interface RoutedPort {
  readonly service: Service;
  readonly port: number;
  /** The namespace of the proxy that has the routes. */
  readonly client: string;
  readonly domain: string;
}

/**
 * The routes of the Gateway API that name a Service as their parent, for proxies of a namespace: those of the namespace of the
 * Service, and those of their own (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection;
 * pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). No grant is needed for their backends. A text: why that is not decided;
 * undefined: there are none.
 */
export function convertedRoutes(all: readonly KubernetesRoute[], to: RoutedPort): ConvertedRoutes | string | undefined {
  const { namespace, name } = to.service.metadata;
  const routes = all
    .filter((route) => [namespace, to.client].includes(route.metadata.namespace) && portsOf(route, to).length > 0)
    .sort(oldestFirst);
  const [first] = routes;
  if (first === undefined) return undefined;
  // istiod merges the routes of one namespace and one port, and tries several of the results in an order of their own.
  const keys = new Set(
    routes.flatMap((route) => portsOf(route, to).map((port) => `${route.metadata.namespace} ${port}`)),
  );
  if (keys.size > 1)
    return `routes of several namespaces, or for one port and for all, route requests to Service ${namespace}/${name}`;
  const strange = routes.find(
    (route) => !["HTTPRoute", "GRPCRoute"].includes(route.originKind) || dropped(route) !== undefined,
  );
  if (strange !== undefined) return `${idOf(strange)} routes requests in a way that is not examined`;
  return converted(routes, { hosts: [`${name}.${namespace}.svc.${to.domain}`], domain: to.domain });
}

/** The ports of its references to the Service: undefined for all of them. */
const portsOf = (route: KubernetesRoute, { service, port }: RoutedPort): readonly (number | undefined)[] =>
  route.spec.parentRefs
    .filter((ref) => {
      const parent = parentOf(ref, route);
      const { namespace, name } = service.metadata;
      const isIt = parent.kind === "Service" && parent.namespace === namespace && parent.name === name;
      return isIt && (ref.port === undefined || ref.port === port);
    })
    .map((ref) => ref.port);
