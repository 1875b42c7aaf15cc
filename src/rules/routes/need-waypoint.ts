import { absent, type Evidence } from "../../engine/evidence.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import type { Path } from "../../kube/read.ts";
import { entriesOfParents, type KubernetesRoute, parentOf, servicesOfRoute } from "../../mesh/gateways/routes.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { oldestFirst } from "../../mesh/objects/creation-order.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { fullHost, hostOfService } from "../../mesh/traffic/hosts.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { formatWaypoint, isUsable, type WaypointBinding } from "../../mesh/waypoints/bindings.ts";
import {
  ambientHost,
  ambientHostReads,
  fixForLack,
  lackOfWaypoint,
  type Remedies,
} from "../../mesh/waypoints/ambient-hosts.ts";
import { entriesOfHosts, servicesOfHosts } from "../../mesh/waypoints/routed-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A VirtualService and its namespace. */
const namespaceOfRoutingVirtualService = relation(
  "namespaceOfRoutingVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && isForMesh(virtualService) ? [virtualService.metadata.namespace] : [],
  ),
  namespaceByName,
);
/** A route of the Gateway API with a Service or a ServiceEntry as its parent, and its namespace. */
const namespaceOfClientRoute = relation(
  "namespaceOfClientRoute",
  index("KubernetesRoute", (route) =>
    route.spec.parentRefs.some((ref) => isForClients(parentOf(ref, route).kind)) ? [route.metadata.namespace] : [],
  ),
  namespaceByName,
);

const isForClients = (kind: string): boolean => kind === "Service" || kind === "ServiceEntry";

const reads = [
  namespaceOfRoutingVirtualService,
  namespaceOfClientRoute,
  servicesOfHosts,
  entriesOfHosts,
  servicesOfRoute,
  entriesOfParents,
  ...ambientHostReads,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesNeedWaypoint = defineRule({
  id: "routes-need-waypoint",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  worksWithout: ["KubernetesGateway", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "canary"],
  summary:
    "A VirtualService or a route of the Gateway API is for a Service or a ServiceEntry in an ambient namespace that has no waypoint, or whose waypoint ignores it or some of its routes.",
  why: "HTTP is not parsed by ztunnel, which does not read VirtualServices and HTTPRoutes either. Requests of ambient clients reach the Service as if the routes did not exist, and Istio does not report this (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService). A waypoint uses only those of its own namespace and of that of the Service (pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint), and of these no route for labels or other namespaces of clients (waypointInboundRoute). Clients with a sidecar and ingress gateways apply the routes themselves.",
  fix: "Create a waypoint for the namespace (`istioctl waypoint apply --namespace <namespace> --enroll-namespace`), or set the label `istio.io/use-waypoint` on the Service or the ServiceEntry.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests of ambient clients follow no route: the canary gets its share by the number of pods, and timeouts, retries and faults do not apply.",
    wayOut: "Create the waypoint, or shift traffic by the number of replicas until it is there.",
    silentWhen:
      "The routes apply only at gateways, a host of the VirtualService is a wildcard, the namespace of the Service or the ServiceEntry is not ambient, or a waypoint serves it and uses them, or they are in a namespace that is not ambient, whose clients can have sidecars.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(routes, mesh) {
    if (!isServed(routes, mesh.settings)) return;
    const called = routes.kind === "VirtualService" ? calledByHost(routes, mesh) : calledAsParent(routes, mesh);
    // Many hosts can have one waypoint, and its routes are the same for all of them.
    const asked = new Set<string>();
    for (const one of called) {
      const { at, definition, host } = one;
      const ambient = ambientHost(definition, mesh);
      if (ambient === undefined) continue;
      const { namespace, binding } = ambient;
      if (isUsable(binding)) {
        const problem = passedOver(routes, one, binding, mesh);
        if (problem !== undefined) yield { ...problem, evidence: [namespace, ...problem.evidence] };
        else if (
          routes.kind === "VirtualService" &&
          isFirst(`${formatWaypoint(binding.named)} ${definition.metadata.namespace}`, asked)
        )
          yield* leftOut(routes, one, binding);
        continue;
      }
      yield {
        at,
        message: `Namespace ${namespace.metadata.name} is ambient and ${lackOfWaypoint(binding, definition)}: ztunnel ignores these routes for ${host}`,
        key: `no waypoint for ${host}`,
        ...withFix(fixForLack(binding, definition, remedies)),
        evidence: [namespace, definition, absent("KubernetesGateway", namespace.metadata.name)],
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
  { at, definition, host }: Called,
  { named }: WaypointBinding,
  mesh: View,
): (Problem & { readonly evidence: readonly Evidence[] }) | undefined {
  const own = routes.metadata.namespace;
  const served = definition.metadata.namespace;
  if (own === named.namespace || own === served) return hiddenFrom(named, routes, { at, definition, host }, mesh);
  const [home] =
    routes.kind === "VirtualService"
      ? mesh.related(namespaceOfRoutingVirtualService, routes)
      : mesh.related(namespaceOfClientRoute, routes);
  if (home === undefined || isTerminating(home) || enrollmentOf(home, mesh.settings) !== "ambient") return undefined;
  return {
    at,
    message: `Waypoint ${formatWaypoint(named)} ignores these routes for ${host}: it uses those of its own namespace and of namespace ${served} alone`,
    key: `other namespace than ${host}`,
    fix: `Move the routes to namespace ${served}.`,
    evidence: [definition, home],
  };
}

/** A waypoint sees only VirtualServices that are exported to its namespace, which may be their own (pilot/pkg/model/push_context.go VirtualServicesForGateway). */
function hiddenFrom(
  named: WaypointBinding["named"],
  routes: VirtualService | KubernetesRoute,
  { at, definition, host }: Called,
  { settings }: View,
): ReturnType<typeof passedOver> {
  if (routes.kind !== "VirtualService") return undefined;
  const { metadata, spec } = routes;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  if (includesNamespace(visible, named.namespace)) return undefined;
  return {
    at,
    message: `Waypoint ${formatWaypoint(named)} ignores these routes for ${host}: they are not exported to namespace ${named.namespace}`,
    key: `hidden from the waypoint of ${host}`,
    fix: `Export the VirtualService to the namespace of the waypoint: add "${named.namespace}" to exportTo.`,
    evidence: [definition],
  };
}

/**
 * Routes for some clients only, which a waypoint leaves out: it has no routes for labels of clients, and takes its own namespace for
 * that of the client (Istio pilot/pkg/networking/core/listener_waypoint.go waypointInboundRoute; route/route.go sourceMatchHTTP).
 * Those of other namespaces may be for clients with sidecars.
 */
function* leftOut(
  { metadata, spec }: VirtualService,
  { definition, host }: Called,
  { named }: WaypointBinding,
): Generator<Problem, undefined> {
  if (metadata.namespace !== definition.metadata.namespace) return;
  const isForOthers = ({ sourceLabels, sourceNamespace, gateways }: Match) =>
    Object.keys(sourceLabels).length > 0 ||
    (gateways.length === 0 && sourceNamespace && sourceNamespace !== named.namespace);
  for (const [i, { match }] of spec.http.entries())
    if (match.length > 0 && match.every(isForOthers))
      yield {
        at: ["spec", "http", i, "match"],
        message: `Waypoint ${formatWaypoint(named)} leaves this route for ${host} out: it does not match labels or namespaces of clients`,
        key: JSON.stringify(["for some clients", host, match]),
        fix: "Match what requests contain, as headers, instead of sourceLabels and sourceNamespace.",
        evidence: [definition],
      };
}

function isFirst(name: string, asked: Set<string>): boolean {
  if (asked.has(name)) return false;
  asked.add(name);
  return true;
}

type Match = VirtualService["spec"]["http"][number]["match"][number];

/** What defines a host for which routes are, and where they say so. */
interface Called {
  readonly at: Path;
  readonly definition: Definition;
  readonly host: string;
}

function* calledByHost(virtualService: VirtualService, mesh: View): Generator<Called, undefined> {
  if (!isForMesh(virtualService)) return;
  const { domain } = mesh.settings;
  const services = new Map(
    mesh.related(servicesOfHosts, virtualService).map((service) => [hostOfService(service, domain), service]),
  );
  // Of several that define a host, the oldest counts, whatever the order of the view is.
  const youngestFirst = mesh.related(entriesOfHosts, virtualService).toSorted((a, b) => oldestFirst(b, a));
  const entries = new Map(youngestFirst.flatMap((entry) => entry.spec.hosts.map((host) => [host, entry])));
  for (const [i, said] of virtualService.spec.hosts.entries()) {
    const host = fullHost(said, virtualService.metadata.namespace, domain);
    const definition = services.get(host) ?? entries.get(host);
    if (definition !== undefined) yield { at: ["spec", "hosts", i], definition, host };
  }
}

function* calledAsParent(route: KubernetesRoute, mesh: View): Generator<Called, undefined> {
  const { domain } = mesh.settings;
  const parents = new Map<string, Definition>();
  for (const one of [...mesh.related(servicesOfRoute, route), ...mesh.related(entriesOfParents, route)])
    parents.set(`${one.kind} ${one.metadata.namespace}/${one.metadata.name}`, one);
  for (const [i, ref] of route.spec.parentRefs.entries()) {
    const { kind, namespace, name } = parentOf(ref, route);
    const definition = isForClients(kind) ? parents.get(`${kind} ${namespace}/${name}`) : undefined;
    if (definition === undefined) continue;
    const host = definition.kind === "Service" ? hostOfService(definition, domain) : hostsOf(definition);
    yield { at: ["spec", "parentRefs", i], definition, host };
  }
}

const hostsOf = ({ spec: { hosts } }: ObjectOf<"ServiceEntry">): string =>
  hosts.length > 1 ? `${hosts[0]} and ${hosts.length - 1} more` : (hosts[0] ?? "");

/** Gateways apply routes that are only for gateways. */
function isForMesh({ spec }: VirtualService): boolean {
  const isForClients = spec.gateways.length === 0 || spec.gateways.includes("mesh");
  return isForClients && spec.http.length + spec.tcp.length + spec.tls.length > 0;
}

const withFix = (fix: string | undefined): Pick<Problem, "fix"> => (fix === undefined ? {} : { fix });

const remedies: Remedies = {
  headless: "Route to another Service of these pods, one with a cluster IP, and let clients use that one.",
  alias: "Write the routes for the host itself.",
};
