import { defineRule, type Problem } from "../../engine/rule.ts";
import { catchAllReads, catchAllsBeside } from "../../mesh/gateways/catch-all-routes.ts";
import { dropped } from "../../mesh/gateways/converted-rules.ts";
import { type RefusedField, refusedFields } from "../../mesh/gateways/refused-fields.ts";
import { isOfRequests } from "../../mesh/gateways/routes.ts";
import { isForOtherControllers } from "../../mesh/waypoints/other-controllers.ts";

export const httpRouteRuleRejected = defineRule({
  id: "http-route-rule-rejected",
  subject: "KubernetesRoute",
  reads: [isForOtherControllers, ...catchAllReads],
  worksWithout: ["KubernetesRoute", "KubernetesGateway", "ListenerSet", "Namespace", "Service", "ServiceEntry"],
  mode: "deny",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "Envoy rejects a rule of a route for a regular expression or the value of a header, and with it all routes of the port.",
  why: "The API server stores regular expressions and values of headers as they are, no webhook of istiod is for routes of the Gateway API, and istiod converts them without a look (Istio pilot/pkg/config/kube/gateway/conversion.go createURIMatch, createHeadersMatch, createQueryParamsMatch, createGRPCURIMatch, createHeadersFilter, headerListToMap). Envoy reads expressions in the syntax of RE2, which has no lookahead, and replaces variables such as `%REQ(x-user)%` in values. If it cannot, it rejects the route configuration of the port: all hosts of the gateway keep their old routes, and new pods have none. Newer releases of istiod drop all rules of a route with a control character in a value.",
  fix: "Correct the regular expression, and write `%%` for a percent sign in the value of a header.",
  incident: {
    symptoms: ["config-refused"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "`istioctl proxy-status` shows RDS as STALE, the log of the proxy has `rejected`, and no change of any route of the port has an effect. New pods of the gateway answer 404.",
    wayOut: "Apply the previous version of the route, or delete it.",
    silentWhen:
      "No Gateway of Istio's classes accepts the route and no Service or ServiceEntry is its parent, another rule for all requests comes first, so that istiod leaves the rule out, the expression has more than 1024 characters or many repetitions, or only the arguments of a variable are wrong.",
    page: "https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/",
  },

  *check(route, mesh) {
    if (!isOfRequests(route)) return;
    const found: RefusedField[] = [];
    for (const field of refusedFields(route)) {
      if (field !== undefined) found.push(field);
      yield;
    }
    if (found.length === 0 || dropped(route) !== undefined || mesh.get(isForOtherControllers, route)) return;
    let least = Number.POSITIVE_INFINITY;
    for (const rank of catchAllsBeside(route, mesh)) {
      least = Math.min(least, rank);
      yield;
    }
    for (const field of found) if (field.rank > least) yield problemOf(field);
  },
});

const problemOf = ({ at, message, isCertain }: RefusedField): Problem => ({
  at,
  message: `${message}, so Envoy rejects all routes of the port`,
  ...(isCertain ? {} : { onlyWarns: "a later release of Envoy may have the variable" }),
});
