import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { type BackendEffects, backendEffects, notMirrored } from "../../mesh/gateways/backend-effects.ts";
import {
  anyNamespace,
  type DefinedHost,
  definitionsOfBackendHost,
  gatewaysGeneratingForHostname,
  isHostname,
} from "../../mesh/gateways/hostname-backends.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { Service } from "../../mesh/membership/services.ts";
import {
  type BackendObject,
  backendOf,
  backendsOf,
  gatewaysGeneratingForRoute,
  gatewaysOfRoute,
  type KubernetesRoute,
  servicesOfRoute,
} from "../../mesh/gateways/routes.ts";
import { fixOfAlias, routedAlias, wrongOfAlias } from "../../mesh/traffic/aliased-hosts.ts";
import { namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { portMeant } from "../../mesh/traffic/port-meant.ts";
import { isRegistryComplete } from "../../mesh/traffic/registry.ts";
import { isForOtherControllers } from "../../mesh/waypoints/other-controllers.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  ...[servicesOfRoute, definitionsOfBackendHost, isForOtherControllers, gatewaysOfRoute, routedAlias],
  ...[gatewaysGeneratingForRoute, gatewaysGeneratingForHostname],
] as const;
type View = MeshView<(typeof reads)[number]>;

export const httpRouteBackendNotFound = defineRule({
  id: "http-route-backend-not-found",
  subject: "KubernetesRoute",
  reads,
  worksWithout: ["ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A route of the Gateway API sends requests to a Service, a host, a port of it or a kind of backend that does not exist.",
  why: "Requests to a backend that does not exist get 500, and its share of the others is not redistributed. A backend without a port, or whose name is a host name, invalidates all rules of the route (Istio pilot/pkg/config/kube/gateway/conversion.go buildDestination). An ExternalName has no cluster of its own: routes to it lead to the host that it names (pilot/pkg/networking/core/route/route.go GetDestinationCluster).",
  fix: "Correct the name, the namespace or the port of the backend, or create the Service first. The port is that of the Service, not of its pods.",
  incident: {
    symptoms: ["backend-error"],
    proxies: ["gateway", "waypoint"],
    seen: "Requests for this backend get 500, so its share of the requests fails; if the whole route is invalid, all of them. If the Service does not exist, the condition `ResolvedRefs` of the route is False, with reason `BackendNotFound`.",
    wayOut: "Apply the previous version of the route, or give the backend weight 0.",
    silentWhen:
      "The backend has weight 0 and is not a mirror, or the Services are not known. A Gateway exists for which istiod creates a Service of that name, `NAME-CLASS`. The backend is of a kind that istiod reads if it is set to, such as InferencePool, or of a group that is not Istio's, and no parent is known to be a Gateway of Istio's classes. A host of another namespace that is not exported to the clients. All parents are Gateways of classes other than Istio's, or Services with waypoints of such classes.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    // Other controllers have backends of their own.
    if (mesh.get(isForOtherControllers, route)) return;
    const services = new Map(
      mesh
        .related(servicesOfRoute, route)
        .map((service) => [`${service.metadata.namespace}/${service.metadata.name}`, service]),
    );
    for (const { at, ref, isMirror } of backendsOf(route)) {
      const { kind, namespace, name } = backendOf(ref, route);
      const { lost, invalid } = backendEffects(route, isMirror);
      if (isHostname(ref)) yield* ofHostname({ ref, at, isMirror, lost, invalid }, route, mesh);
      else if (kind !== "Service") yield* ofOtherKind(ref, { at, lost }, readersOf(ref, route, mesh));
      else if (name.includes("."))
        yield {
          at: [...at, "name"],
          message: `${JSON.stringify(name)} is a host name; a backend is named by its Service and its namespace, so ${invalid}`,
          fix: "Write the name of the Service in `name`, and its namespace in `namespace`.",
        };
      else if (ref.port === undefined)
        yield {
          at,
          message: `The backend ${namespace}/${name} has no port, so ${invalid}`,
          fix: "Set the port of the Service.",
        };
      else
        yield* ofService(
          services.get(`${namespace}/${name}`),
          { namespace, name, port: ref.port, at, isMirror, lost },
          mesh,
        );
    }
  },
});

interface Wanted {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly at: Path;
  readonly isMirror: boolean;
  readonly lost: string;
}

function* ofService(service: Service | undefined, wanted: Wanted, mesh: View): Iterable<Problem> {
  const { namespace, name, port, at, isMirror, lost } = wanted;
  if (service === undefined) {
    if (mesh.hasUnder(gatewaysGeneratingForRoute, `${namespace}/${name}`)) return;
    yield {
      at,
      message: `Service ${namespace}/${name} does not exist: ${lost}`,
      evidence: [absent("Service", namespace, name)],
      ...(mesh.knowsAll("Service") ? {} : { guess: "all Services" }),
    };
  } else if (service.spec.type === "ExternalName") yield* ofAlias(service, wanted, mesh);
  else if (!service.spec.ports.some((one) => one.port === port)) {
    const meant = portMeant([service], port);
    yield {
      at: [...at, "port"],
      message: `${idOf(service)} has no port ${port}: ${isMirror ? notMirrored : lost}`,
      related: [service],
      evidence: [service],
      ...(meant === undefined ? {} : { fix: `Name a port of the Service, not of its pods. ${meant}` }),
    };
  }
}

/** An ExternalName has no cluster of its own: the route leads to the host that it names. */
function* ofAlias(service: Service, { port, at, isMirror, lost }: Wanted, mesh: View): Iterable<Problem> {
  const alias = mesh.get(routedAlias, service);
  const wrong = alias && wrongOfAlias(alias, port);
  if (alias === undefined || wrong === undefined) return;
  const isUnknown = alias.definitions.length === 0 && !(mesh.knowsAll("Service") && mesh.knowsAll("ServiceEntry"));
  yield {
    at,
    message: `${idOf(service)} stands for "${alias.target}", which ${wrong}: ${isMirror ? notMirrored : lost}`,
    fix: fixOfAlias(alias),
    related: [...new Set([service, ...alias.definitions])],
    evidence: [service, ...(alias.definitions.length === 0 ? [absent("ServiceEntry", "")] : alias.definitions)],
    ...(isUnknown ? { guess: "all Services and ServiceEntries" } : {}),
  };
}

interface NamedHost extends BackendEffects {
  readonly ref: BackendObject;
  readonly at: Path;
  readonly isMirror: boolean;
}

/** A host is looked up as it is written, so that a wildcard of a ServiceEntry does not define it (pilot/pkg/config/kube/gatewaycommon/context.go GetService). */
function* ofHostname(named: NamedHost, route: KubernetesRoute, mesh: View): Iterable<Problem> {
  const { ref, at, invalid } = named;
  if (ref.namespace)
    yield {
      at: [...at, "namespace"],
      message: `A backend of kind Hostname has no namespace, so ${invalid}`,
      fix: "Remove `namespace`: a host is looked up as clients in the namespace of the route see it.",
    };
  else if (ref.port === undefined)
    yield {
      at,
      message: `The backend ${JSON.stringify(ref.name)} has no port, so ${invalid}`,
      fix: "Set the port of the host.",
    };
  else yield* undefinedHost(named, ref.port, definedHost(named, route, mesh), mesh);
}

/** For a mirror, the namespace of the route has to define the host; requests reach one that any namespace exports. */
const definedHost = (
  { ref, isMirror }: NamedHost,
  { metadata }: KubernetesRoute,
  mesh: View,
): DefinedHost | undefined =>
  mesh.get(definitionsOfBackendHost, ref.name).get(isMirror ? metadata.namespace : anyNamespace);

function* undefinedHost(
  { ref: { name }, at, isMirror, lost }: NamedHost,
  port: number,
  defined: DefinedHost | undefined,
  mesh: View,
): Iterable<Problem> {
  const host = JSON.stringify(name);
  if (defined === undefined) {
    const namespace = namespaceOfHost(name, mesh.settings.domain);
    if (mesh.knows("ServiceEntry") && !mesh.hasUnder(gatewaysGeneratingForHostname, name))
      yield {
        at: [...at, "name"],
        message: `Host ${host} is no Service and no ServiceEntry${isMirror ? " of the namespace of the route" : ""}: ${lost}`,
        fix: `Add a ServiceEntry for ${host} with port ${port}, not for a wildcard over it, or correct the name.`,
        evidence: [absent("ServiceEntry", ""), ...(namespace === undefined ? [] : [absent("Service", namespace)])],
        ...(isRegistryComplete(mesh) ? {} : { guess: "all Services and ServiceEntries" }),
      };
  } else if (defined.ports?.has(port) === false)
    yield {
      at: [...at, "port"],
      message: `Host ${host} has no port ${port}: ${isMirror ? notMirrored : lost}`,
      related: defined.definitions,
      evidence: defined.definitions,
    };
}

/** Only a Service and a `Hostname`, which stands for a host of a ServiceEntry, are backends always (buildDestination). */
function* ofOtherKind(
  { group = "", kind = "Service" }: BackendObject,
  { at, lost }: { readonly at: Path; readonly lost: string },
  readers: readonly KubernetesGateway[] | undefined,
): Iterable<Problem> {
  if (readers?.length === 0) return;
  yield {
    at,
    message: `No requests are sent to a ${kind} of group ${JSON.stringify(group)}: ${lost}`,
    fix: `Name a Service. For a host of a ServiceEntry, write \`group: ${istioGroup}\`, \`kind: Hostname\` and the host as \`name\`.`,
    ...(readers === undefined ? {} : { evidence: readers }),
  };
}
const istioGroup = "networking.istio.io";
/** Of these groups, istiod reads a kind if a setting of it says so. */
const optionalGroups: ReadonlySet<string> = new Set([
  "multicluster.x-k8s.io",
  "inference.networking.k8s.io",
  "gateway.networking.x-k8s.io",
]);

/**
 * The Gateways where nobody knows the kind of a backend: its group is neither one that istiod reads if it is set to, nor, where no parent has a
 * class of Istio, perhaps one of another controller. Undefined: nobody knows it anywhere.
 */
function readersOf(
  { group = "" }: BackendObject,
  route: KubernetesRoute,
  mesh: View,
): readonly KubernetesGateway[] | undefined {
  if (group === "" || group === istioGroup) return undefined;
  return optionalGroups.has(group)
    ? []
    : mesh.related(gatewaysOfRoute, route).filter((one) => hasClassOfIstio(one, mesh.settings));
}
