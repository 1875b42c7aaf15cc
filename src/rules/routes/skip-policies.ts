import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { hostnameBackendsOf, servicesOfHostnames } from "../../mesh/gateways/hostname-backends.ts";
import { backendOf, backendsOf, type KubernetesRoute, servicesOfRoute } from "../../mesh/gateways/routes.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import { delegateName, delegatesOfRoot, isDelegate, nameOf } from "../../mesh/traffic/virtual-service-clients.ts";
import { trafficOf, type VirtualService } from "../../mesh/traffic/virtual-services.ts";
import {
  isBehindWaypoint,
  isForMesh,
  policiesOfService,
  routedReads,
  servicesRoutedBy,
  servicesTargeted,
} from "../../mesh/waypoints/routed-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

const serviceByHost = index("Service", (service, { domain }) => [hostOfService(service, domain)]);

/** A VirtualService and the Services of this cluster to which it sends requests. */
const servicesOfDestinations = relation(
  "servicesOfDestinations",
  index("VirtualService", (virtualService, { domain }) =>
    isForMesh(virtualService) || isDelegate(virtualService)
      ? new Set([...destinationsOf(virtualService, domain)].map(({ host }) => host))
      : [],
  ),
  serviceByHost,
);

const reads = [
  ...routedReads,
  servicesOfDestinations,
  servicesOfHostnames,
  delegatesOfRoot,
  policiesOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesSkipPolicies = defineRule({
  id: "routes-skip-policies",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  onlyWith: [policiesOfService],
  worksWithout: ["KubernetesGateway"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "ambient"],
  summary: "A route at a waypoint sends requests for one Service to another one, whose own policies then do not count.",
  why: "A waypoint enforces the policies of the Service that the client called, and then sends the request to a pod of the destination (Istio pilot/pkg/networking/core/listener_waypoint.go buildWaypointNetworkFilters). It sends nothing to the waypoint of the destination (pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint), and ztunnel lets it in. So whoever may call the first Service reaches the second one.",
  fix: "Name both Services in targetRefs of the policies, or bind the policies to the waypoint (a Gateway in targetRefs), so that they count for every request.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["waypoint"],
    seen: "Callers that the policies of the destination deny get answers by the name of the other Service.",
    wayOut: "Apply the previous version of the route.",
    silentWhen:
      "The policies of the destination also target the Service that is called, or the destination has no policies of its own. A MeshwardIntent says what no route may make possible.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(route, mesh) {
    const called = servicesRoutedBy(route, mesh);
    if (called.length === 0) return;
    const destinations = route.kind === "VirtualService" ? toHosts(route, mesh) : toBackends(route, mesh);
    const judged = new Set<Service>();
    for (const { at, service, through } of destinations) {
      yield;
      if (judged.has(service)) continue;
      judged.add(service);
      const found = skipped(service, called, mesh);
      if (found === undefined) continue;
      const { policy, passed } = found;
      yield {
        at,
        message: `Requests for ${idOf(passed)} that this route sends to ${idOf(service)} are not checked by ${idOf(policy)}, which is for ${idOf(service)} only`,
        key: `${idOf(service)} by ${idOf(passed)}`,
        evidence: [passed, service, policy, ...(through === undefined ? [] : [through])],
        related: [policy, ...(through === undefined ? [] : [through])],
      };
    }
  },
});

interface Skipped {
  readonly policy: AuthorizationPolicy;
  readonly passed: Service;
}

/** A policy of a destination that has an effect, and a called Service for whose requests it does not count. */
function skipped(service: Service, called: readonly Service[], mesh: View): Skipped | undefined {
  const policies = mesh.related(policiesOfService, service);
  if (policies.length === 0 || !isBehindWaypoint(service, mesh)) return undefined;
  for (const policy of policies) {
    const passed = skippedBy(policy, service, called);
    if (passed !== undefined) return { policy, passed };
  }
  return undefined;
}

function skippedBy(policy: AuthorizationPolicy, of: Service, called: readonly Service[]): Service | undefined {
  const targets = servicesTargeted(policy);
  const { namespace } = policy.metadata;
  return called.find((one) => one !== of && !(one.metadata.namespace === namespace && targets.has(one.metadata.name)));
}

interface Destination {
  readonly at: Path;
  readonly service: Service;
  /** The delegate that names it, if the route does not do so itself. */
  readonly through?: VirtualService;
}

function* toBackends(route: KubernetesRoute, mesh: View): Iterable<Destination> {
  const services = new Map(
    mesh.related(servicesOfRoute, route).map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]),
  );
  for (const { at, ref } of backendsOf(route)) {
    const { kind, namespace, name } = backendOf(ref, route);
    const service = kind === "Service" ? services.get(`${namespace}/${name}`) : undefined;
    if (service !== undefined) yield { at, service };
  }
  const { domain } = mesh.settings;
  const byHost = new Map(
    mesh.related(servicesOfHostnames, route).map((one) => [hostOfService(one, domain), one] as const),
  );
  for (const { at, host } of hostnameBackendsOf(route)) {
    const service = byHost.get(host);
    if (service !== undefined) yield { at, service };
  }
}

function* toHosts(virtualService: VirtualService, mesh: View): Iterable<Destination> {
  yield* hostsNamedBy(virtualService, mesh);
  const left = new Map(mesh.related(delegatesOfRoot, virtualService).map((one) => [nameOf(one), one]));
  if (left.size === 0) return;
  for (const [i, route] of virtualService.spec.http.entries()) {
    const name = route.delegate === undefined ? "" : delegateName(route, virtualService.metadata.namespace);
    const delegate = left.get(name);
    if (delegate === undefined || !left.delete(name)) continue;
    for (const { service } of hostsNamedBy(delegate, mesh))
      yield { at: ["spec", "http", i, "delegate"], service, through: delegate };
  }
}

function* hostsNamedBy(virtualService: VirtualService, mesh: View): Iterable<Destination> {
  const { domain } = mesh.settings;
  const services = new Map(
    mesh.related(servicesOfDestinations, virtualService).map((one) => [hostOfService(one, domain), one]),
  );
  for (const { at, host } of destinationsOf(virtualService, domain)) {
    const service = services.get(host);
    if (service !== undefined) yield { at, service };
  }
}

function* destinationsOf(
  virtualService: VirtualService,
  domain: string,
): Iterable<{ readonly at: Path; readonly host: string }> {
  for (const { at, destination } of trafficOf(virtualService))
    yield { at: [...at, "host"], host: fullHost(destination.host, virtualService.metadata.namespace, domain) };
}
