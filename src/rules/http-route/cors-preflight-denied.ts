import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { converted, dropped, type RouteOrigin } from "../../mesh/gateways/converted-rules.ts";
import { routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import { gatewaysOfRoute, type KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { ruleMatchInWords } from "../../mesh/gateways/rule-wording.ts";
import { Work } from "../../mesh/authorization/requests/work.ts";
import { isForIngress, type KubernetesGateway, labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import { type Guard, guardReads, guards, namespaceOfWaypoint } from "../../mesh/requests/enforcement.ts";
import type { AuthorizationOutcome } from "../../mesh/requests/outcome.ts";
import { preflightsOfRouteDenied } from "../../mesh/requests/preflights.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [routeAcceptances, gatewaysOfRoute, namespaceOfWaypoint, ...guardReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const httpRouteCorsPreflightDenied = defineRule({
  id: "http-route-cors-preflight-denied",
  subject: "KubernetesRoute",
  reads,
  onlyWith: "AuthorizationPolicy",
  onlyWithFields: ["spec.rules.filters"],
  worksWithout: [
    "EnvoyFilter",
    "KubernetesGateway",
    "ListenerSet",
    "RequestAuthentication",
    "TrafficExtension",
    "WasmPlugin",
  ],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary: "AuthorizationPolicies of a Gateway deny the preflight requests that a CORS filter would answer.",
  why: "Of the filter, istiod makes a CORS policy (Istio pilot/pkg/config/kube/gateway/conversion.go createCorsFilter), by which the proxy answers a browser that asks with `OPTIONS`, without a token, whether it may send a request of another origin. In the proxy of a Gateway, authorization comes before the filter that answers (pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager). The validation of tokens lets preflight requests pass (pilot/pkg/security/authn/policy_applier.go), but a policy that asks for a token denies them with 403, and the browser never sends the request itself.",
  fix: "Let preflight requests pass: add an ALLOW rule with `methods: [OPTIONS]` for these hosts, and `notMethods: [OPTIONS]` to a DENY rule that asks for a token. The CORS filter answers them, so that the service does not see them.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["gateway"],
    seen: "Requests with curl succeed, and browsers report a failed preflight request or a missing `Access-Control-Allow-Origin`. The access log of the Gateway has 403 with `rbac_access_denied` for OPTIONS.",
    wayOut: "Add the rule for OPTIONS, or apply the previous version of the policy: the Gateway has it within seconds.",
    silentWhen:
      "Some preflight requests for the rule are allowed, all requests of browsers are denied, a CUSTOM policy decides, the rule asks for headers or for a method other than OPTIONS, so that it gets no preflight requests, the parent is a ListenerSet or a Service, the Gateway is of another controller, or a waypoint or a sidecar behind it denies them.",
    page: "https://gateway-api.sigs.k8s.io/guides/http-cors/",
  },

  *check(route, mesh) {
    if (route.originKind !== "HTTPRoute" || !route.spec.rules.some(hasCors)) return;
    if (dropped(route) !== undefined) return;
    const found = new Map<number, Problem>();
    const work = new Work(mostWork);
    for (const { gateway, guard, hosts } of placesOf(route, mesh)) {
      yield;
      for (const { rule, virtualService, origin } of rulesWithCors(route, hosts, mesh)) {
        if (found.has(origin.i)) continue;
        const { namespace, name } = gateway.metadata;
        const at = { virtualService, guard, gateway: `${namespace}/${name}`, work };
        const outcome = preflightsOfRouteDenied(rule, at);
        if (outcome !== undefined) found.set(origin.i, problemOf(origin, gateway, outcome));
      }
    }
    yield* found.values();
  },
});

/** So much work is done for one route; what takes more stays open. */
const mostWork = 500_000;

type Rule = KubernetesRoute["spec"]["rules"][number];
const hasCors = ({ filters }: Rule): boolean => filters.some(isCors);
const isCors = ({ type }: Rule["filters"][number]): boolean => type === "CORS";

interface Place {
  readonly gateway: KubernetesGateway;
  readonly guard: Guard;
  /** Those that the Gateway offers to the route. */
  readonly hosts: readonly string[];
}

/** The Gateways of Istio that accept a route, one of those with the same policies and hosts. */
function* placesOf(route: KubernetesRoute, mesh: View): Iterable<Place> {
  const known = new Map<Guard, Set<string>>();
  for (const { parent, result, offered } of mesh.get(routeAcceptances, route)) {
    if (parent.kind !== "KubernetesGateway" || result !== "accepted" || offered.size === 0) continue;
    if (!isForIngress(parent, mesh.settings)) continue;
    const [namespace] = mesh.related(namespaceOfWaypoint, parent);
    if (namespace === undefined) continue;
    const proxy = { workload: undefined, labels: labelsOfGatewayPods(parent, mesh.settings) };
    const guard = mesh.get(guards, namespace).ofProxy(proxy, "http");
    const [hosts, there] = [[...offered.keys()], known.get(guard) ?? new Set<string>()];
    if (!there.has(hosts.join())) yield { gateway: parent, guard, hosts };
    known.set(guard, there.add(hosts.join()));
  }
}

interface RuleWithCors {
  readonly rule: HttpRoute;
  readonly virtualService: VirtualService;
  readonly origin: RouteOrigin;
}

function* rulesWithCors(route: KubernetesRoute, hosts: readonly string[], { settings }: View): Iterable<RuleWithCors> {
  const { virtualService, origins } = converted([route], { hosts, domain: settings.domain });
  for (const [rule, origin] of origins) if (hasCors(origin.rule)) yield { rule, virtualService, origin };
}

const mostPolicies = 5;

function problemOf(origin: RouteOrigin, gateway: KubernetesGateway, { by, policies }: AuthorizationOutcome): Problem {
  const match = ruleMatchInWords(origin);
  const reason = by === undefined ? "no ALLOW policy allows OPTIONS without a token" : `${idOf(by.policy)} denies them`;
  const related = [gateway, ...(by === undefined ? policies.slice(0, mostPolicies) : [by.policy])];
  return {
    at: ["spec", "rules", origin.i, "filters", origin.rule.filters.findIndex(isCors)],
    message: `Preflight requests for ${match === undefined ? "the rule without match" : `the rule for ${match}`} get 403 at ${idOf(gateway)} before the CORS filter answers them: ${reason}`,
    key: JSON.stringify(origin.rule.matches),
    related,
    evidence: related,
  };
}
