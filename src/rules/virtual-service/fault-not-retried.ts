import { defineRule, type Problem } from "../../engine/rule.ts";
import { durationMs, shownDuration } from "../../mesh/traffic/durations.ts";
import { timeoutMsOf } from "../../mesh/traffic/retries.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import type { HttpRoute } from "../../mesh/traffic/virtual-services.ts";

export const virtualServiceFaultNotRetried = defineRule({
  id: "virtual-service-fault-not-retried",
  subject: "VirtualService",
  reads: [],
  onlyWithFields: ["spec.http.fault"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["canary"],
  summary: "A route injects a fault, which its own retries and timeout do not count.",
  why: "The same proxy injects the fault and repeats requests, and the filter for faults comes before the one that sends requests on, which has the retries and the timeout (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager, pilot/pkg/networking/core/route/route.go TranslateFault). A request that is aborted is never repeated, and a delay may be longer than the timeout. So a test with both says nothing about them: clients get every fault.",
  fix: "Inject the fault behind the proxy that retries: with an EnvoyFilter for the inbound listener of the server, or in the service itself. To test the clients, leave out `retries` and `timeout` in this route.",
  incident: {
    symptoms: ["fault"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Of the requests, exactly the share of the fault fails or is late, although retries and a timeout are set.",
    wayOut: "Remove `fault` from the route: its retries and its timeout work at once.",
    silentWhen:
      "The route sets no retries and no timeout of its own, also if the mesh config or the route that names a delegate does, the delay is shorter than the timeouts, or the fault is not for any request.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check({ spec }) {
    for (const [i, route] of spec.http.entries())
      for (const problem of [notRepeated(route), notCutOff(route)])
        if (problem !== undefined) yield { ...problem, at: ["spec", "http", i, ...problem.at] };
  },
});

type Fault = NonNullable<HttpRoute["fault"]>;

const isAborting = ({ abort }: Fault): boolean =>
  (abort?.httpStatus !== undefined || !!abort?.grpcStatus) && (abort?.percentage?.value ?? 0) > 0;

function notRepeated(route: HttpRoute): Problem | undefined {
  const { fault, retries } = route;
  if (fault === undefined || !isAborting(fault) || (retries?.attempts ?? 0) <= 0) return undefined;
  return {
    at: ["fault", "abort"],
    message: `The retries of ${routeInWords(route)} do not repeat the requests that this fault aborts`,
    key: JSON.stringify(["abort", route.name, route.match]),
  };
}

/** Undefined: it delays no request. */
function delayMsOf({ delay }: Fault): number | undefined {
  const percent = delay?.percentage === undefined ? delay?.percent : delay.percentage.value;
  return (percent ?? 0) > 0 ? durationMs(delay?.fixedDelay) : undefined;
}

/** The timeouts of a route, of which each try has one too if there are retries (Istio route.go setTimeout, retry.go ConvertPolicy). */
function* timeoutsOf(route: HttpRoute): Iterable<readonly [name: string, ms: number]> {
  const { attempts = 0, perTryTimeout } = route.retries ?? {};
  const [whole, perTry] = [timeoutMsOf(route), durationMs(perTryTimeout)];
  if (whole !== undefined) yield ["timeout", whole];
  if (perTry && attempts > 0) yield ["perTryTimeout", perTry];
}

function notCutOff(route: HttpRoute): Problem | undefined {
  const delayMs = route.fault && delayMsOf(route.fault);
  if (delayMs === undefined) return undefined;
  const [shorter] = [...timeoutsOf(route)].filter(([, ms]) => ms <= delayMs);
  if (shorter === undefined) return undefined;
  const [name, ms] = shorter;
  return {
    at: ["fault", "delay"],
    message: `The ${name} of ${routeInWords(route)}, ${shownDuration(ms)}, does not count this delay of ${shownDuration(delayMs)}`,
    key: JSON.stringify(["delay", route.name, route.match]),
  };
}
