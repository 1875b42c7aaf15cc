import { defineRule, type Problem } from "../../engine/rule.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { isForOtherControllers } from "../../mesh/waypoints/other-controllers.ts";
import { durationMs, shownDuration } from "../../mesh/traffic/durations.ts";

export const httpRouteTimeoutCutOff = defineRule({
  id: "http-route-timeout-cut-off",
  subject: "KubernetesRoute",
  reads: [isForOtherControllers],
  worksWithout: ["KubernetesGateway", "Service"],
  mode: "warn",
  since: "0.1.0",
  // A short timeout of the whole request may be what is wanted.
  stage: "trial",
  tags: ["gateway"],
  summary: "The timeouts of an HTTPRoute leave less time than they say, for the whole request or for its retries.",
  why: "Without `retry`, istiod uses `timeouts.backendRequest` as the timeout of the whole request, in which Istio's two default retries have to happen, and `timeouts.request` has no effect. With `retry`, it is the timeout of each try, and `request` ends all of them (Istio pilot/pkg/config/kube/gateway/conversion.go convertHTTPRoute).",
  fix: "Set `retry.attempts`, so that backendRequest is the timeout of one try, and a `request` that is longer than all tries together; or leave backendRequest out.",
  incident: {
    symptoms: ["backend-error"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "Clients get 504 after the time of backendRequest, or before all retries have happened.",
    wayOut: "Raise the timeout that ends the requests, or apply the previous version of the route.",
    silentWhen: "Only one of the two timeouts is set or is not 0, or all parents are Gateways of another controller.",
    page: "https://gateway-api.sigs.k8s.io/guides/http-timeouts/",
  },

  *check(route, mesh) {
    if (route.originKind !== "HTTPRoute") return;
    for (const [i, rule] of route.spec.rules.entries()) {
      const problem = problemOf(rule);
      if (problem !== undefined && !mesh.get(isForOtherControllers, route))
        yield { ...problem, at: ["spec", "rules", i, "timeouts", ...problem.at] };
    }
  },
});

/** Attempts if `retry` does not say how many (conversion.go convertHTTPRoute). */
const defaultAttempts = 2;

function problemOf({ timeouts, retry }: KubernetesRoute["spec"]["rules"][number]): Problem | undefined {
  const requestMs = durationMs(timeouts?.request) ?? 0;
  const backendMs = durationMs(timeouts?.backendRequest) ?? 0;
  if (requestMs === 0 || backendMs === 0) return undefined;
  const message =
    retry === undefined
      ? unused(requestMs, backendMs)
      : tooShort(requestMs, backendMs, (retry.attempts ?? defaultAttempts) + 1);
  return message === undefined ? undefined : { at: ["request"], message };
}

const unused = (requestMs: number, backendMs: number): string | undefined =>
  backendMs === requestMs
    ? undefined
    : `The timeout of ${shownDuration(requestMs)} has no effect: without retry, the whole request may take the ${shownDuration(backendMs)} of backendRequest`;

const tooShort = (requestMs: number, backendMs: number, tries: number): string | undefined =>
  tries < 2 || tries * backendMs <= requestMs
    ? undefined
    : `The timeout of ${shownDuration(requestMs)} ends before ${tries} tries of ${shownDuration(backendMs)} each are over`;
