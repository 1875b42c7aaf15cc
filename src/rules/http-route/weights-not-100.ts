import { defineRule } from "../../engine/rule.ts";
import { weightInCel, weightOf } from "../../mesh/gateways/routes.ts";

export const httpRouteWeightsNot100 = defineRule({
  id: "http-route-weights-not-100",
  subject: "KubernetesRoute",
  reads: [],
  mode: "off",
  since: "0.1.0",
  tags: ["gateway", "canary"],
  summary: "The weights of a rule's backends do not sum to 100.",
  why: "The Gateway API defines a weight as a share of the sum, and a backend without one has a weight of 1, so other sums are valid. Where a team writes weights in percent, a sum other than 100 is a mistake that nothing reports.",
  fix: "Change the weights of the rule so that their sum is 100. Set a weight for every backend, 0 for no traffic.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["gateway", "waypoint"],
    seen: "The backends get other shares of the requests than the numbers say: 90 and 20 become 82 and 18 percent.",
    wayOut: "Apply the previous weights.",
    silentWhen: "The rule has one backend, or all weights are 0 (http-route-without-backend).",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  cel: {
    problems: `(has(object.spec) && has(object.spec.rules) ? object.spec.rules : [])
.filter(r, has(r.backendRefs) && r.backendRefs.size() > 1 && !(r.backendRefs.map(b, ${weightInCel}).sum() in [0, 100]))
.map(r, r.backendRefs.map(b, (has(b.namespace) ? b.namespace : '') + '/' + (has(b.name) ? b.name : '') + ':' + (has(b.port) ? string(b.port) : '')))`,
  },

  *check({ spec }) {
    for (const [i, { backendRefs }] of spec.rules.entries()) {
      if (backendRefs.length < 2) continue;
      const sum = backendRefs.reduce((total, ref) => total + weightOf(ref), 0);
      if (sum === 100 || sum === 0) continue;
      const shown = backendRefs.map(({ weight }) => weight ?? "1 (not set)").join(" + ");
      yield {
        at: ["spec", "rules", i, "backendRefs"],
        message: `Weights sum to ${sum}, not to 100: ${shown} = ${sum}`,
        key: backendRefs.map(({ namespace, name, port }) => `${namespace ?? ""}/${name}:${port}`).join(" "),
      };
    }
  },
});
