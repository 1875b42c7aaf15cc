import { defineRule, type Problem } from "../../engine/rule.ts";
import { shownDuration } from "../../mesh/traffic/durations.ts";
import {
  conditionsAfterProcessing,
  methodsRepeated,
  multipliedRetries,
  type Retries,
  retriesOf,
  timeoutMsOf,
} from "../../mesh/traffic/retries.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import type { HttpRoute } from "../../mesh/traffic/virtual-services.ts";
import { setting } from "../../view/view.ts";

export const virtualServiceRetriesUnsafe = defineRule({
  id: "virtual-service-retries-unsafe",
  subject: "VirtualService",
  reads: [setting("defaultRetries")],
  mode: "warn",
  since: "0.1.0",
  // Many applications make POST idempotent, by a key or a transaction, which no manifest shows.
  stage: "trial",
  tags: ["canary"],
  parameters: {
    maxTries: { summary: "The highest number of times that two routes together may send one request", default: 10 },
  },
  summary:
    "A route repeats requests that the application may have processed, plans retries that its timeout cuts off, or multiplies them with another route's.",
  why: "Envoy repeats a request when a condition of retryOn is true (Istio pilot/pkg/networking/core/route/retry/retry.go ConvertPolicy). `5xx`, `gateway-error` and `reset` are also true after the application has processed it, so a POST or PATCH can take effect twice. The timeout of a route includes all attempts, so retries that do not fit never happen. Where a sidecar sends requests to an egress gateway, each of its attempts is repeated there again.",
  fix: "Retry only on `connect-failure,refused-stream`, give POST and PATCH a route of their own with `retries: {attempts: 0}`, and set a timeout that is longer than all attempts together. Retry in one of several proxies on the way.",
  incident: {
    symptoms: ["repeated", "load"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Orders or payments appear twice after an error, or clients get 504 although attempts are left.",
    wayOut: "Set `attempts: 0` for the route, or apply the previous version.",
    silentWhen: "The route is for methods that may be repeated, such as GET, or has no condition of its own.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, { settings }, { maxTries }) {
    const { spec } = virtualService;
    for (const { i, route, tries, j } of multipliedRetries(virtualService, settings)) {
      const [first, then] = tries;
      if (first * then > maxTries)
        yield {
          at: ["spec", "http", i, "retries", "attempts"],
          message: `One request is sent up to ${first * then} times: ${routeInWords(route)} tries ${first} times, and http[${j}], the route at the gateway behind it, ${then} times each`,
          key: JSON.stringify(["multiplied", route.name, route.match, tries]),
          fix: "Set `retries: {attempts: 0}` in one of the two routes.",
        };
    }
    for (const [i, route] of spec.http.entries()) {
      // What the mesh config sets for all routes is not of this one, and Istio's default repeats only what no application has processed.
      if (route.retries === undefined || route.redirect !== undefined || route.directResponse !== undefined) continue;
      const retries = retriesOf(route, settings);
      for (const problem of [repeated(route, retries), cutOff(route, retries)])
        if (problem !== undefined) yield { ...problem, at: ["spec", "http", i, ...problem.at] };
    }
  },
});

function repeated(route: HttpRoute, retries: Retries): Problem | undefined {
  const [condition] = conditionsAfterProcessing(retries);
  const methods = methodsRepeated(route);
  if (condition === undefined || methods === "left out") return undefined;
  const which = methods === "named" ? "POST or PATCH requests" : "requests of every method, also POST and PATCH,";
  return {
    at: ["retries", "retryOn"],
    message: `On "${condition}", ${routeInWords(route)} repeats ${which} that may have been processed`,
    key: JSON.stringify(["repeated", route.name, route.match, condition, methods]),
  };
}

function cutOff(route: HttpRoute, { attempts, perTryTimeoutMs }: Retries): Problem | undefined {
  if (attempts === 0 || perTryTimeoutMs === undefined) return undefined;
  const timeoutMs = timeoutMsOf(route);
  const tries = attempts + 1;
  if (timeoutMs === undefined || tries * perTryTimeoutMs <= timeoutMs) return undefined;
  const wanted = `${tries} tries of ${shownDuration(perTryTimeoutMs)}`;
  return {
    at: ["retries", "attempts"],
    message: `The timeout of ${routeInWords(route)}, ${shownDuration(timeoutMs)}, ends before ${wanted} each are over`,
    key: JSON.stringify(["cut off", route.name, route.match, attempts, perTryTimeoutMs, timeoutMs]),
    fix: "Raise the timeout of the route, or lower attempts or perTryTimeout.",
  };
}
