import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { isExternalName, type Service } from "../../mesh/membership/services.ts";
import { portsOf } from "../../mesh/traffic/aliased-hosts.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { ListenerOwner } from "../../mesh/gateways/listener-gateways.ts";
import { listenersOf } from "../../mesh/gateways/route-acceptance.ts";
import { routePortsOfDefinition } from "../../mesh/gateways/route-ports.ts";
import {
  gatewaysGeneratingForRoute,
  gatewaysOfRoute,
  isOfRequests,
  listenerSetsOfRoute,
  type KubernetesRoute,
  type ParentRef,
  parentOf,
  type Referenced,
  servicesOfRoute,
} from "../../mesh/gateways/routes.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

/** A route of the Gateway API and the ServiceEntries that it names as its parents. */
const serviceEntriesOfRoute = relation(
  "serviceEntriesOfRoute",
  index("KubernetesRoute", (route) =>
    route.spec.parentRefs.flatMap((ref) => {
      const { kind, namespace, name } = parentOf(ref, route);
      return kind === "ServiceEntry" ? [`${namespace}/${name}`] : [];
    }),
  ),
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? [`${entry.metadata.namespace}/${entry.metadata.name}`] : [],
  ),
);

/** A route of the Gateway API and the Gateways of any namespace that have the name of one of its parents. */
const gatewaysNamedLikeParent = relation(
  "gatewaysNamedLikeParent",
  index("KubernetesRoute", (route) =>
    route.spec.parentRefs.flatMap((ref) => {
      const { kind, name } = parentOf(ref, route);
      return kind === "Gateway" ? [name] : [];
    }),
  ),
  index("KubernetesGateway", ({ metadata }) => [metadata.name]),
);
const mostNamed = 3;
/** The namespaces of the Gateways of a name, of which one may be meant; at most three. */
const parentNamesakes = fact("parentNamesakes", "key", [gatewaysNamedLikeParent], (name, mesh): readonly string[] =>
  mesh
    .under(gatewaysNamedLikeParent, [name])
    .map(({ metadata }) => metadata.namespace)
    .sort()
    .slice(0, mostNamed),
);
const namesakes = forWording(parentNamesakes);

const reads = [
  ...[gatewaysOfRoute, listenerSetsOfRoute, servicesOfRoute, serviceEntriesOfRoute, gatewaysGeneratingForRoute],
  namesakes,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const httpRouteParentNotFound = defineRule({
  id: "http-route-parent-not-found",
  subject: "KubernetesRoute",
  reads,
  worksWithout: ["KubernetesGateway", "ListenerSet", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A parent of a route does not exist, is of a kind that has no routes, or has no listener or port of this name, number or protocol, so the route has no effect there.",
  why: "A route of the Gateway API applies only to listeners of its parents. One that names a missing Gateway, ListenerSet, Service, ServiceEntry, sectionName or port is not accepted (Istio pilot/pkg/config/kube/gateway/conversion.go referenceAllowed); at the gateway its requests get 404. The group of a parent is that of the Gateway API unless it is written, and other kinds of it are ignored without a status (toInternalParentReference). At a port of a Service or ServiceEntry that is declared as TCP or TLS, sidecars and waypoints use no routes for HTTP, and at one for HTTP none for TCP and TLS (pilot/pkg/networking/core/listener.go buildSidecarOutboundListener, pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).",
  fix: "Correct the name, the namespace, the sectionName or the port of the parent, or create the parent first.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests get 404 at the gateway, or do not follow the route. The status of the route has no parent, or its condition `Accepted` is False.",
    wayOut: "Apply the Gateway again if it was deleted, or the previous version of the route.",
    silentWhen:
      "Parents of groups that belong to other controllers, kinds that are not known, ports of a Service without a declared protocol or without an address of its own, and a TLSRoute at a port for TCP or a TCPRoute at one for TLS, which waypoints use.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    const found = {
      Gateway: byName(mesh.related(gatewaysOfRoute, route)),
      ListenerSet: byName(mesh.related(listenerSetsOfRoute, route)),
      Service: byName(mesh.related(servicesOfRoute, route)),
      ServiceEntry: byName(mesh.related(serviceEntriesOfRoute, route)),
    };
    for (const [i, ref] of route.spec.parentRefs.entries()) {
      const parent = parentOf(ref, route);
      const at = ["spec", "parentRefs", i];
      if (parent.kind === "other") {
        yield* ofWrongGroup(ref, at);
        continue;
      }
      const kind = parent.kind === "Gateway" ? "KubernetesGateway" : parent.kind;
      const name = `${parent.namespace}/${parent.name}`;
      const object = found[parent.kind].get(name);
      if (object !== undefined) yield* withoutPlace(object, ref, route, at);
      else if (mesh.knows(kind) && !(kind === "Service" && mesh.hasUnder(gatewaysGeneratingForRoute, name)))
        yield missing(kind, parent, at, mesh);
    }
  },
});

function* withoutPlace(
  parent: ListenerOwner | Service | ObjectOf<"ServiceEntry">,
  ref: ParentRef,
  route: KubernetesRoute,
  at: Path,
): Iterable<Problem> {
  if (parent.kind === "Service" || parent.kind === "ServiceEntry") yield* withoutPort(parent, ref, route, at);
  else yield* withoutListener(parent, ref, route, at);
}

const byName = <T extends AnyObject>(objects: readonly T[]): ReadonlyMap<string, T> =>
  new Map(objects.map((object) => [`${object.metadata.namespace}/${object.metadata.name}`, object]));

function* withoutListener(
  owner: ListenerOwner,
  ref: ParentRef,
  { originKind }: KubernetesRoute,
  at: Path,
): Iterable<Problem> {
  if (listenersOf(owner, ref).length > 0) return;
  const wanted = [
    ...(ref.sectionName ? [`name ${JSON.stringify(ref.sectionName)}`] : []),
    ...(ref.port ? [`port ${ref.port}`] : []),
  ];
  const which = wanted.length === 0 ? "listener" : `listener with ${wanted.join(" and ")}`;
  yield {
    at,
    message: `${idOf(owner)} has no ${which}, so this ${originKind} has no effect there`,
    related: [owner],
    evidence: [owner],
  };
}

/** Istio does not compare the port of a service, and no client sends requests to one that does not exist. */
function* withoutPort(parent: Definition, ref: ParentRef, route: KubernetesRoute, at: Path): Iterable<Problem> {
  const { port } = ref;
  const known = { at, related: [parent], evidence: [parent] };
  if (port && !portsOf([parent]).has(port)) {
    yield { ...known, message: `${idOf(parent)} has no port ${port}, so the route has no effect there` };
    return;
  }
  const mismatch = ofOtherProtocol(parent, ref, route);
  if (mismatch !== undefined)
    yield {
      ...known,
      message: `${mismatch}, so this ${route.originKind} has no effect there`,
      fix: "Declare the protocol of the port, by appProtocol or by its name, or write a route of its protocol.",
    };
}

/** What keeps the ports of a parent from using the route, as a sentence. Of TCP and TLS, waypoints use the routes of both at both. */
function ofOtherProtocol(parent: Definition, { port }: ParentRef, route: KubernetesRoute): string | undefined {
  if (parent.kind === "Service" && isExternalName(parent)) return undefined;
  const isForRequests = isOfRequests(route);
  const all = [...routePortsOfDefinition(parent)].filter(
    ([number, uses]) => (!port || number === port) && (isForRequests || uses.size > 0),
  );
  if (all.length === 0 || all.some(([, uses]) => [...uses].some((use) => (use === "http") === isForRequests)))
    return undefined;
  if (port) return `Port ${port} of ${idOf(parent)} is ${isForRequests ? "not HTTP" : "HTTP"}`;
  return `${idOf(parent)} has ${isForRequests ? "no port for HTTP" : "only ports for HTTP"}`;
}

/** The kinds that can be parents, with their groups. Others can belong to other controllers. */
const groups: ReadonlyMap<string, string> = new Map([
  ["Gateway", "gateway.networking.k8s.io"],
  ["ListenerSet", "gateway.networking.k8s.io"],
  ["Service", ""],
  ["ServiceEntry", "networking.istio.io"],
]);

function* ofWrongGroup(
  { group = "gateway.networking.k8s.io", kind = "Gateway" }: ParentRef,
  at: Path,
): Iterable<Problem> {
  const right = groups.get(kind);
  const message = `No route applies to a parent ${kind} of group ${JSON.stringify(group)}, so it has no effect there`;
  if (right !== undefined)
    yield { at, message, fix: `Write \`group: ${right === "" ? '""' : right}\` for a parent of kind ${kind}.` };
  else if (new Set(groups.values()).has(group)) yield { at, message, fix: fixOfKind };
}
const fixOfKind = `Correct the kind: the parents of routes are of kind ${[...groups.keys()].join(", ")}.`;

type ParentKind = "KubernetesGateway" | "ListenerSet" | "Service" | "ServiceEntry";

function missing(kind: ParentKind, { namespace, name }: Referenced, at: Path, mesh: View): Problem {
  const shown = kind === "KubernetesGateway" ? "Gateway" : kind;
  const meant = kind === "KubernetesGateway" ? mesh.get(namesakes, name) : [];
  return {
    at,
    message: `${shown} ${namespace}/${name} does not exist, so the route has no effect there`,
    evidence: [absent(kind, namespace, name)],
    ...(meant.length === 0
      ? {}
      : { fix: `Set \`namespace\` of the parentRef. Did you mean ${meant.map((one) => `"${one}"`).join(" or ")}?` }),
    ...(mesh.knowsAll(kind) ? {} : { guess: kind === "ServiceEntry" ? "all ServiceEntries" : `all ${shown}s` }),
  };
}
