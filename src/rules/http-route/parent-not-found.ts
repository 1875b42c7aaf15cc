import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
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

  *check(route, mesh) {
    for (const [i, ref] of route.spec.parentRefs.entries()) {
      const parent = parentOf(ref, route);
      const at = ["spec", "parentRefs", i];
      if (parent.kind === "Gateway") yield* atGateway(parent, ref, route, { at, mesh });
      else if (parent.kind === "Service" && mesh.knows("Service") && !hasService(parent, route, mesh))
        yield missing("Service", parent, { at, mesh });
    }
  },
});

interface Place {
  readonly at: Problem["at"];
  readonly mesh: View;
}

function* atGateway(parent: Referenced, ref: ParentRef, route: KubernetesRoute, place: Place): Iterable<Problem> {
  const { at, mesh } = place;
  if (!mesh.knows("KubernetesGateway")) return;
  const gateway = mesh
    .related(gatewaysOfRoute, route)
    .find(({ metadata }) => metadata.namespace === parent.namespace && metadata.name === parent.name);
  if (gateway === undefined) yield missing("KubernetesGateway", parent, place);
  else if (listenersOf(gateway, ref).length === 0) {
    const wanted = [
      ...(ref.sectionName ? [`name ${JSON.stringify(ref.sectionName)}`] : []),
      ...(ref.port ? [`port ${ref.port}`] : []),
    ];
    const which = wanted.length === 0 ? "listener" : `listener with ${wanted.join(" and ")}`;
    yield {
      at,
      message: `${idOf(gateway)} has no ${which}, so this ${route.originKind} has no effect there`,
      related: [gateway],
      evidence: [gateway],
    };
  }
}

const hasService = (parent: Referenced, route: KubernetesRoute, mesh: View): boolean =>
  mesh
    .related(servicesOfRoute, route)
    .some(({ metadata }) => metadata.namespace === parent.namespace && metadata.name === parent.name);

function missing(kind: "KubernetesGateway" | "Service", { namespace, name }: Referenced, { at, mesh }: Place): Problem {
  const shown = kind === "Service" ? "Service" : "Gateway";
  return {
    at,
    message: `${shown} ${namespace}/${name} does not exist, so the route has no effect there`,
    evidence: [absent(kind, namespace, name)],
    ...(mesh.knowsAll(kind) ? {} : { guess: `all ${shown}s` }),
  };
}
