import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { KubernetesGateway } from "../../mesh/membership/gateways.ts";
import { listenersOf } from "../../mesh/gateways/route-acceptance.ts";
import {
  gatewaysOfRoute,
  type KubernetesRoute,
  type ParentRef,
  parentOf,
  type Referenced,
  servicesOfRoute,
} from "../../mesh/gateways/routes.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [gatewaysOfRoute, servicesOfRoute] as const;
type View = MeshView<(typeof reads)[number]>;

export const httpRouteParentNotFound = defineRule({
  id: "http-route-parent-not-found",
  subject: "KubernetesRoute",
  reads,
  worksWithout: ["KubernetesGateway", "Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A parent of a route does not exist, or has no listener with this name or port, so the route has no effect there.",
  why: "A route of the Gateway API applies only to listeners of its parents. One that names a missing Gateway, Service, sectionName or port is not accepted (Istio pilot/pkg/config/kube/gateway/conversion.go referenceAllowed); at the gateway its requests get 404.",
  fix: "Correct the name, the namespace, the sectionName or the port of the parent, or create the parent first.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway", "waypoint"],
    seen: "Requests get 404 at the gateway, or do not follow the route. The status of the route has no parent, or its condition `Accepted` is False.",
    wayOut: "Apply the Gateway again if it was deleted, or the previous version of the route.",
    silentWhen: "Parents of other kinds, such as ListenerSets, and kinds that are not known.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    const gateways = byName(mesh.related(gatewaysOfRoute, route));
    const services = byName(mesh.related(servicesOfRoute, route));
    for (const [i, ref] of route.spec.parentRefs.entries()) {
      const parent = parentOf(ref, route);
      const name = `${parent.namespace}/${parent.name}`;
      const at = ["spec", "parentRefs", i];
      const gateway = parent.kind === "Gateway" ? gateways.get(name) : undefined;
      if (gateway !== undefined) yield* withoutListener(gateway, ref, route, at);
      else if (parent.kind === "Gateway" && mesh.knows("KubernetesGateway"))
        yield missing("KubernetesGateway", parent, at, mesh);
      else if (parent.kind === "Service" && mesh.knows("Service") && !services.has(name))
        yield missing("Service", parent, at, mesh);
    }
  },
});

const byName = <T extends AnyObject>(objects: readonly T[]): ReadonlyMap<string, T> =>
  new Map(objects.map((object) => [`${object.metadata.namespace}/${object.metadata.name}`, object]));

function* withoutListener(
  gateway: KubernetesGateway,
  ref: ParentRef,
  { originKind }: KubernetesRoute,
  at: Path,
): Iterable<Problem> {
  if (listenersOf(gateway, ref).length > 0) return;
  const wanted = [
    ...(ref.sectionName ? [`name ${JSON.stringify(ref.sectionName)}`] : []),
    ...(ref.port ? [`port ${ref.port}`] : []),
  ];
  const which = wanted.length === 0 ? "listener" : `listener with ${wanted.join(" and ")}`;
  yield {
    at,
    message: `${idOf(gateway)} has no ${which}, so this ${originKind} has no effect there`,
    related: [gateway],
    evidence: [gateway],
  };
}

type ParentKind = "KubernetesGateway" | "Service";

function missing(kind: ParentKind, { namespace, name }: Referenced, at: Path, mesh: View): Problem {
  const shown = kind === "Service" ? "Service" : "Gateway";
  return {
    at,
    message: `${shown} ${namespace}/${name} does not exist, so the route has no effect there`,
    evidence: [absent(kind, namespace, name)],
    ...(mesh.knowsAll(kind) ? {} : { guess: `all ${shown}s` }),
  };
}
