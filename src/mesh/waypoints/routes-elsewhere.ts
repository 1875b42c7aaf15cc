import { type KubernetesRoute, routesOfParentService } from "../gateways/routes.ts";
import { namespaceOfService } from "../membership/services.ts";
import { isServed } from "../objects/revision.ts";
import { fullHost, hostOfService, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { everyService, wildcardNamespaces } from "../traffic/service-claims.ts";
import { gatewaysOf, meshGateway } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { fact, index, reachedBy, relation } from "../../view/view.ts";
import { servingWaypoints, usedWaypoints, waysToServingWaypoints } from "./served-traffic.ts";

/** The key of wildcards for the hosts of a namespace, or of all. */
const wildcardOf = (namespace: string): string => (namespace === everyService ? "*" : `*.${namespace}`);

/** A Service and the VirtualServices that name its host, or a wildcard for all hosts of its namespace, whomever they are exported to. */
const virtualServicesNamingService = relation(
  "virtualServicesNamingService",
  index("Service", (service, { domain }) => [
    hostOfService(service, domain),
    wildcardOf(service.metadata.namespace),
    wildcardOf(everyService),
  ]),
  index("VirtualService", (virtualService, settings) => {
    const { metadata, spec } = virtualService;
    if (!isServed(virtualService, settings) || !gatewaysOf(virtualService).has(meshGateway)) return [];
    const { domain } = settings;
    const hosts = spec.hosts.map((host) => fullHost(host, metadata.namespace, domain));
    return new Set(
      hosts.flatMap((host) => {
        if (isWildcard(host)) return wildcardNamespaces(host, domain).map(wildcardOf);
        return namespaceOfHost(host, domain) === metadata.namespace ? [] : [host];
      }),
    );
  }),
);

/** A route of another namespace that a waypoint there uses for requests to a Service, and the name of the waypoint. */
export interface RouteElsewhere {
  readonly route: VirtualService | KubernetesRoute;
  readonly waypoint: string;
}

/**
 * The routes of another namespace that a waypoint there uses for requests to a Service. A waypoint uses those of its own namespace and of
 * that of the Service, VirtualServices that are exported to nobody else as well (Istio pilot/pkg/networking/core/listener_waypoint.go
 * getVirtualServiceForWaypoint). The root namespace, which belongs to those who run the mesh, is left out.
 */
export const routesAtWaypointElsewhere = fact(
  "routesAtWaypointElsewhere",
  "Service",
  [
    virtualServicesNamingService,
    routesOfParentService,
    namespaceOfService,
    reachedBy(servingWaypoints, waysToServingWaypoints),
  ],
  (service, mesh): readonly RouteElsewhere[] => {
    const { namespace: own, name } = service.metadata;
    const named = [
      ...mesh.related(virtualServicesNamingService, service),
      ...mesh.related(routesOfParentService, service).filter((route) => isServed(route, mesh.settings)),
    ];
    const routes = named.filter(({ metadata }) => ![own, mesh.settings.rootNamespace].includes(metadata.namespace));
    const [namespace] = routes.length === 0 ? [] : mesh.related(namespaceOfService, service);
    if (namespace === undefined) return none;
    const used = usedWaypoints(mesh.get(servingWaypoints, namespace).ofNamed("Service", name));
    return used.flatMap(({ named: waypoint }) =>
      routes
        .filter(({ metadata }) => metadata.namespace === waypoint.namespace)
        .map((route) => ({ route, waypoint: `${waypoint.namespace}/${waypoint.name}` })),
    );
  },
);
const none: readonly RouteElsewhere[] = Object.freeze([]);
