import { absent, type Evidence } from "../../engine/evidence.ts";
import { idOf } from "../../kube/identity.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import type { Path } from "../../kube/read.ts";
import { type KubernetesRoute, parentOf, servicesOfRoute } from "../../mesh/gateways/routes.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isExternalName, isHeadless, namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { useWaypoint } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import {
  formatWaypoint,
  isUsable,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointOfService,
} from "../../mesh/waypoints/bindings.ts";
import { servicesOfHosts } from "../../mesh/waypoints/routed-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A VirtualService and its namespace. */
const namespaceOfRoutingVirtualService = relation(
  "namespaceOfRoutingVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && isForMesh(virtualService) ? [virtualService.metadata.namespace] : [],
  ),
  namespaceByName,
);
/** A route of the Gateway API with a Service as its parent, and its namespace. */
const namespaceOfClientRoute = relation(
  "namespaceOfClientRoute",
  index("KubernetesRoute", (route) =>
    route.spec.parentRefs.some((ref) => parentOf(ref, route).kind === "Service") ? [route.metadata.namespace] : [],
  ),
  namespaceByName,
);

const reads = [
  namespaceOfRoutingVirtualService,
  namespaceOfClientRoute,
  servicesOfHosts,
  servicesOfRoute,
  namespaceOfService,
  waypointBinding,
  waypointOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesNeedWaypoint = defineRule({
  id: "routes-need-waypoint",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  worksWithout: ["KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "canary"],
  summary:
    "A VirtualService or a route of the Gateway API is for a Service in an ambient namespace that has no waypoint, or whose waypoint ignores it.",
  why: "HTTP is not parsed by ztunnel, which does not read VirtualServices and HTTPRoutes either. Requests of ambient clients reach the Service as if the routes did not exist, and Istio does not report this (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService). A waypoint uses only those of its own namespace and of that of the Service (pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint). Clients with a sidecar and ingress gateways apply the routes themselves.",
  fix: "Create a waypoint for the namespace (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or set the label `istio.io/use-waypoint` on the Service.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests of ambient clients follow no route: the canary gets its share by the number of pods, and timeouts, retries and faults do not apply.",
    wayOut: "Create the waypoint, or shift traffic by the number of replicas until it is there.",
    silentWhen:
      "The routes apply only at gateways, the Service or its namespace is not ambient, or a waypoint serves the Service and uses them, or they are in a namespace that is not ambient, whose clients can have sidecars.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(routes, mesh) {
    if (!isServed(routes, mesh.settings)) return;
    const called = routes.kind === "VirtualService" ? calledByHost(routes, mesh) : calledAsParent(routes, mesh);
    for (const { at, service } of called) {
      const [namespace] = mesh.related(namespaceOfService, service);
      if (namespace === undefined || isTerminating(namespace) || enrollmentOf(namespace, mesh.settings) !== "ambient")
        continue;
      const binding = waypointBindingOfService(service, namespace, mesh);
      if (isUsable(binding)) {
        const problem = passedOver(routes, { at, service }, binding, mesh);
        if (problem !== undefined) yield { ...problem, evidence: [namespace, ...problem.evidence] };
        continue;
      }
      const host = hostOfService(service, mesh.settings.domain);
      yield {
        at,
        message: `Namespace ${namespace.metadata.name} is ambient and ${lackOf(binding, service)}: ztunnel ignores these routes for ${host}`,
        key: `no waypoint for ${host}`,
        ...fixOf(binding, service),
        evidence: [namespace, service, absent("KubernetesGateway", namespace.metadata.name)],
      };
    }
  },
});

/**
 * The routes of clients in another namespace, which a waypoint leaves out (Istio pilot/pkg/networking/core/listener_waypoint.go
 * getVirtualServiceForWaypoint). If their namespace is ambient, nothing else applies them.
 */
function passedOver(
  routes: VirtualService | KubernetesRoute,
  { at, service }: Called,
  { named }: WaypointBinding,
  mesh: View,
): (Problem & { readonly evidence: readonly Evidence[] }) | undefined {
  const own = routes.metadata.namespace;
  const served = service.metadata.namespace;
  if (own === served || own === named.namespace) return undefined;
  const [home] =
    routes.kind === "VirtualService"
      ? mesh.related(namespaceOfRoutingVirtualService, routes)
      : mesh.related(namespaceOfClientRoute, routes);
  if (home === undefined || isTerminating(home) || enrollmentOf(home, mesh.settings) !== "ambient") return undefined;
  const host = hostOfService(service, mesh.settings.domain);
  return {
    at,
    message: `Waypoint ${formatWaypoint(named)} ignores these routes for ${host}: it uses those of its own namespace and of namespace ${served} alone`,
    key: `other namespace than ${host}`,
    fix: `Move the routes to namespace ${served}.`,
    evidence: [service, home],
  };
}

/** A Service for which routes are, and where they say so. */
interface Called {
  readonly at: Path;
  readonly service: Service;
}

function* calledByHost(virtualService: VirtualService, mesh: View): Generator<Called, undefined> {
  if (!isForMesh(virtualService)) return;
  const { domain } = mesh.settings;
  const services = new Map(
    mesh.related(servicesOfHosts, virtualService).map((service) => [hostOfService(service, domain), service]),
  );
  for (const [i, said] of virtualService.spec.hosts.entries()) {
    const service = services.get(fullHost(said, virtualService.metadata.namespace, domain));
    if (service !== undefined) yield { at: ["spec", "hosts", i], service };
  }
}

function* calledAsParent(route: KubernetesRoute, mesh: View): Generator<Called, undefined> {
  const services = new Map(
    mesh.related(servicesOfRoute, route).map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]),
  );
  for (const [i, ref] of route.spec.parentRefs.entries()) {
    const { kind, namespace, name } = parentOf(ref, route);
    const service = kind === "Service" ? services.get(`${namespace}/${name}`) : undefined;
    if (service !== undefined) yield { at: ["spec", "parentRefs", i], service };
  }
}

/** Gateways apply routes that are only for gateways. */
function isForMesh({ spec }: VirtualService): boolean {
  const isForClients = spec.gateways.length === 0 || spec.gateways.includes("mesh");
  return isForClients && spec.http.length + spec.tcp.length + spec.tls.length > 0;
}

function lackOf(binding: WaypointBinding | undefined, service: Service): string {
  if (binding !== undefined) return `its waypoint ${formatWaypoint(binding.named)} is not usable`;
  if (isHeadless(service)) return `Service ${service.metadata.name} is headless, so no waypoint receives its requests`;
  if (isExternalName(service))
    return `Service ${service.metadata.name} is another name for a host, so it has no waypoint`;
  return isOptedOut(service) ? `its Service ${service.metadata.name} opts out of waypoints` : "has no waypoint";
}

const withAddress = "Route to another Service of these pods, one with a cluster IP, and let clients use that one.";

function fixOf(binding: WaypointBinding | undefined, service: Service): { readonly fix?: string } {
  if (binding !== undefined)
    return {
      fix: `Make waypoint ${formatWaypoint(binding.named)} usable (waypoint-not-found reports why it is not), or use another one.`,
    };
  if (isHeadless(service)) return { fix: withAddress };
  if (isExternalName(service)) return { fix: "Write the routes for the host itself." };
  if (!isOptedOut(service)) return {};
  return { fix: `Remove the label ${useWaypoint} from ${idOf(service)}, or set it to the name of a waypoint.` };
}

const isOptedOut = ({ metadata }: Service): boolean => metadata.labels[useWaypoint] === "none";
