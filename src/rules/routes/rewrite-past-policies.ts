import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import type { Service } from "../../mesh/membership/services.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { policiesOfService, routedReads, servicesRoutedBy } from "../../mesh/waypoints/routed-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [...routedReads, policiesOfService] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesRewritePastPolicies = defineRule({
  id: "routes-rewrite-past-policies",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  onlyWith: [policiesOfService],
  onlyWithFields: ["spec.http.rewrite", "spec.rules.filters"],
  worksWithout: ["KubernetesGateway"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "ambient"],
  summary: "A route at a waypoint changes the path of requests after the policies of the Service have decided by it.",
  why: "The filter for AuthorizationPolicies comes before the router in the chain of a waypoint (Istio pilot/pkg/networking/core/listener_waypoint.go), and the router rewrites the path (pilot/pkg/networking/core/route/route.go TranslateRoute). So the policies read the path that the client has sent, and the application gets another one: who may send requests to one path reaches the other path, whatever the policies say of it.",
  fix: "Write the policies for the paths before the rewrite, and allow no path that is rewritten to one for which other callers are meant. Let the clients use the path of the application instead of a rewrite, if that is possible.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["waypoint"],
    seen: "The application answers requests to a path whose callers the policies deny; the access log of the waypoint shows the path of the client.",
    wayOut: "Apply the previous version of the route.",
    silentWhen:
      "No policy that targets the Service has `paths` or `notPaths`. Policies for the waypoint itself, rewrites of delegates, and routes at gateways and sidecars of clients are not considered: the policies of a workload read the path after such a rewrite.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(route, mesh) {
    const rewrites = route.kind === "VirtualService" ? rewritesOf(route) : rewritesOfRules(route);
    if (rewrites.length === 0) return;
    for (const service of servicesRoutedBy(route, mesh)) {
      yield;
      const policy = policyByPath(service, mesh);
      if (policy === undefined) continue;
      for (const { at, to } of rewrites)
        yield {
          at,
          message: `${idOf(policy)} decides by the path before it becomes ${JSON.stringify(to)}: the waypoint rewrites it afterwards, for ${idOf(service)}`,
          key: JSON.stringify([idOf(service), to]),
          evidence: [service, policy],
          related: [policy],
        };
    }
  },
});

interface Rewrite {
  readonly at: Path;
  readonly to: string;
}

function rewritesOf({ spec }: VirtualService): readonly Rewrite[] {
  return spec.http.flatMap(({ rewrite }, i) => {
    const to = rewrite?.uriRegexRewrite?.rewrite ?? rewrite?.uri ?? "";
    return to === "" ? [] : [{ at: ["spec", "http", i, "rewrite"], to }];
  });
}

function rewritesOfRules({ spec }: KubernetesRoute): readonly Rewrite[] {
  return spec.rules.flatMap(({ filters }, i) =>
    filters.flatMap(({ type, urlRewrite }, j) => {
      const to = urlRewrite?.path?.replaceFullPath ?? urlRewrite?.path?.replacePrefixMatch;
      return type !== "URLRewrite" || to === undefined ? [] : [{ at: ["spec", "rules", i, "filters", j], to }];
    }),
  );
}

/** A policy that targets the Service and decides by paths. */
const policyByPath = (service: Service, mesh: View): AuthorizationPolicy | undefined =>
  mesh
    .related(policiesOfService, service)
    .find(({ spec }) =>
      spec.rules.some(({ to }) => to.some(({ operation }) => operation.paths.length + operation.notPaths.length > 0)),
    );
