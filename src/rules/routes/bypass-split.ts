import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { backendOf, isOfRequests, type KubernetesRoute, parentOf, weightOf } from "../../mesh/gateways/routes.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { isTrueText } from "../../mesh/objects/parse-bool.ts";
import { ingressUseWaypoint } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { serviceByHost } from "../../mesh/traffic/definition-choice.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import { gatewaysOf, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type Routes = ObjectOf<"VirtualService" | "KubernetesRoute">;

/** Where a gateway sends all requests of a route, to a whole host. */
interface Whole {
  readonly host: string;
  readonly at: Path;
}

const serviceHost = (namespace: string, name: string, { domain }: MeshSettings): string =>
  `${name}.${namespace}.svc.${domain}`;

function* wholesOfVirtualService(virtualService: VirtualService, settings: MeshSettings): Iterable<Whole> {
  const { metadata, spec } = virtualService;
  if (!isServed(virtualService, settings) || spec.hosts.length === 0) return;
  if (![...gatewaysOf(virtualService)].some((name) => name !== meshGateway)) return;
  for (const [i, { route }] of spec.http.entries()) {
    // A single destination receives all requests, whatever its weight.
    const isUsed = (weight: number | undefined): boolean => route.length === 1 || (weight ?? 0) > 0;
    const [only, ...others] = [...route.entries()].filter(([, { weight }]) => isUsed(weight));
    if (only === undefined || others.length > 0) continue;
    const [j, { destination }] = only;
    if (!destination.subset)
      yield {
        host: fullHost(destination.host, metadata.namespace, settings.domain),
        at: ["spec", "http", i, "route", j, "destination", "host"],
      };
  }
}

function* wholesOfKubernetesRoute(route: KubernetesRoute, settings: MeshSettings): Iterable<Whole> {
  const isAtGateway = route.spec.parentRefs.some((ref) => parentOf(ref, route).kind !== "Service");
  if (!isAtGateway || !isOfRequests(route)) return;
  for (const [i, { backendRefs }] of route.spec.rules.entries()) {
    const [only, ...others] = [...backendRefs.entries()].filter(([, ref]) => weightOf(ref) > 0);
    if (only === undefined || others.length > 0) continue;
    const [j, ref] = only;
    const { kind, namespace, name } = backendOf(ref, route);
    if (kind === "Service")
      yield { host: serviceHost(namespace, name, settings), at: ["spec", "rules", i, "backendRefs", j] };
  }
}

const hostsOf = (wholes: Iterable<Whole>): ReadonlySet<string> => new Set([...wholes].map(({ host }) => host));
const sendingVirtualServices = index("VirtualService", (one, settings) =>
  hostsOf(wholesOfVirtualService(one, settings)),
);
const sendingRoutes = index("KubernetesRoute", (one, settings) => hostsOf(wholesOfKubernetesRoute(one, settings)));

/** The hosts whose requests a VirtualService divides for clients in the mesh, also with a weight of 0: it is a canary at rest. */
function splitHosts(virtualService: VirtualService, settings: MeshSettings): readonly string[] {
  const { metadata, spec } = virtualService;
  if (!isServed(virtualService, settings) || !gatewaysOf(virtualService).has(meshGateway)) return [];
  if (!spec.http.some(({ route }) => route.length > 1)) return [];
  return spec.hosts.map((host) => fullHost(host, metadata.namespace, settings.domain).toLowerCase());
}

/** The hosts of the Services that are parents of a route whose rules divide requests. */
function splitServices(route: KubernetesRoute, settings: MeshSettings): readonly string[] {
  if (!isOfRequests(route) || !route.spec.rules.some(({ backendRefs }) => backendRefs.length > 1)) return [];
  return route.spec.parentRefs.flatMap((ref) => {
    const { kind, namespace, name } = parentOf(ref, route);
    return kind === "Service" ? serviceHost(namespace, name, settings) : [];
  });
}

const splittingVirtualServices = index("VirtualService", splitHosts);
const splittingRoutes = index("KubernetesRoute", splitServices);

/** A VirtualService at a gateway, and those that divide the requests of the hosts that it sends requests to. */
const splitsOfVirtualService = relation("splitsOfVirtualService", sendingVirtualServices, splittingVirtualServices);
/** A VirtualService at a gateway, and the routes of the Gateway API that divide the requests of these hosts. */
const routeSplitsOfVirtualService = relation("routeSplitsOfVirtualService", sendingVirtualServices, splittingRoutes);
/** A route of the Gateway API at a gateway, and the VirtualServices that divide the requests of its backends. */
const splitsOfRoute = relation("splitsOfRoute", sendingRoutes, splittingVirtualServices);
/** A route of the Gateway API at a gateway, and those that divide the requests of its backends. */
const routeSplitsOfRoute = relation("routeSplitsOfRoute", sendingRoutes, splittingRoutes);
/** A VirtualService at a gateway, and the Services that it sends requests to. */
const wholeServicesOfVirtualService = relation("wholeServicesOfVirtualService", sendingVirtualServices, serviceByHost);
/** A route of the Gateway API at a gateway, and the Services that it sends requests to. */
const wholeServicesOfRoute = relation("wholeServicesOfRoute", sendingRoutes, serviceByHost);

const reads = [
  splitsOfVirtualService,
  routeSplitsOfVirtualService,
  splitsOfRoute,
  routeSplitsOfRoute,
  wholeServicesOfVirtualService,
  wholeServicesOfRoute,
  namespaceOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesBypassSplit = defineRule({
  id: "routes-bypass-split",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  worksWithout: ["VirtualService", "KubernetesRoute", "Service"],
  mode: "warn",
  since: "0.1.0",
  // A canary may be meant for clients in the mesh alone.
  stage: "trial",
  tags: ["canary", "gateway"],
  summary:
    "A route at a gateway sends requests to a whole host, past the weights by which other routes divide its requests.",
  why: "A gateway looks a host up once: the destination of its route is a cluster with all pods of the Service, and routes that clients in the mesh use for the same host are not asked (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pilot/pkg/model/push_context.go VirtualServicesForGateway). So the shares of a canary, its timeouts and its rollback have no effect on requests from outside.",
  fix: "Divide the requests at the gateway, too: add the public host and the gateway to the VirtualService with the weights (`gateways: [mesh, NAMESPACE/GATEWAY]`), delegate to one that has them, or write the same destinations and weights here.",
  incident: {
    symptoms: ["other-destination", "no-effect"],
    proxies: ["gateway"],
    seen: "Requests from outside reach the new version by the number of its pods, whatever the weights say, and go on after a rollback.",
    wayOut: "Send the requests of the gateway to the subset or the Service of the stable version.",
    silentWhen:
      "The route at the gateway names a subset or divides the requests itself, the weights are in a delegate, or the label `istio.io/ingress-use-waypoint` makes the gateway use the waypoint of the Service.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(routes, mesh) {
    const splits = splitsBy(routes, mesh);
    if (splits.size === 0) return;
    const services = servicesBy(routes, mesh);
    const wholes =
      routes.kind === "VirtualService"
        ? wholesOfVirtualService(routes, mesh.settings)
        : wholesOfKubernetesRoute(routes, mesh.settings);
    for (const { host, at } of wholes) {
      yield;
      const split = splits.get(host);
      if (split === undefined || usesWaypoint(services.get(host), mesh)) continue;
      yield {
        at,
        message: `The gateway sends requests to "${host}" itself, past the weights of ${idOf(split)}, which only clients in the mesh use`,
        key: host,
        related: [split],
        evidence: [split],
      };
    }
  },
});

/** What divides the requests of each host. An object does not bypass itself. */
function splitsBy(routes: Routes, mesh: View): ReadonlyMap<string, Routes> {
  const all: readonly Routes[] =
    routes.kind === "VirtualService"
      ? [...mesh.related(splitsOfVirtualService, routes), ...mesh.related(routeSplitsOfVirtualService, routes)]
      : [...mesh.related(splitsOfRoute, routes), ...mesh.related(routeSplitsOfRoute, routes)];
  const found = new Map<string, Routes>();
  for (const one of all)
    for (const host of one.kind === "VirtualService"
      ? splitHosts(one, mesh.settings)
      : splitServices(one, mesh.settings))
      if (idOf(one) !== idOf(routes) && !found.has(host)) found.set(host, one);
  return found;
}

function servicesBy(routes: Routes, mesh: View): ReadonlyMap<string, Service> {
  const all =
    routes.kind === "VirtualService"
      ? mesh.related(wholeServicesOfVirtualService, routes)
      : mesh.related(wholeServicesOfRoute, routes);
  return new Map(all.map((service) => [hostOfService(service, mesh.settings.domain), service]));
}

/** Whether gateways send requests through the waypoint of the Service, which divides them (Istio ambient/services.go). */
function usesWaypoint(service: Service | undefined, mesh: View): boolean {
  if (service === undefined) return false;
  const [namespace] = mesh.related(namespaceOfService, service);
  const label = service.metadata.labels[ingressUseWaypoint] ?? namespace?.metadata.labels[ingressUseWaypoint];
  return isTrueText(label);
}
