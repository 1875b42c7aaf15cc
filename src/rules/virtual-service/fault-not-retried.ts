import { defineRule, type Problem } from "../../engine/rule.ts";
import { durationMs, shownDuration } from "../../mesh/traffic/durations.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  delegatedRoutes,
  type Delegating,
  delegatingReads,
  delegatingTo,
  mostDelegating,
} from "../../mesh/traffic/delegate-routes.ts";
import { timeoutMsOf } from "../../mesh/traffic/retries.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import { isDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

export const virtualServiceFaultNotRetried = defineRule({
  id: "virtual-service-fault-not-retried",
  subject: "VirtualService",
  reads: delegatingReads,
  onlyWithFields: ["spec.http.fault", "spec.http.retries", "spec.http.timeout"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["canary"],
  summary: "A route injects a fault, which its own retries and timeout do not count.",
  why: "The same proxy injects the fault and repeats requests, and the filter for faults comes before the one that sends requests on, which has the retries and the timeout (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager, pilot/pkg/networking/core/route/route.go TranslateFault). A delegate takes what it does not set from the route that names it (pilot/pkg/model/virtualservice.go mergeHTTPRoute). A request that is aborted is never repeated, and a delay may be longer than the timeout. So a test with both says nothing about them: clients get every fault.",
  fix: "Inject the fault behind the proxy that retries: with an EnvoyFilter for the inbound listener of the server, or in the service itself. To test the clients, leave out `retries` and `timeout` in this route.",
  incident: {
    symptoms: ["fault"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Of the requests, exactly the share of the fault fails or is late, although retries and a timeout are set.",
    wayOut: "Remove `fault` from the route: its retries and its timeout work at once.",
    silentWhen:
      "Neither the route nor one that delegates to it sets retries or a timeout, also if the mesh config sets retries, the delay is shorter than the timeouts, the fault is not for any request, or more than 16 routes name the delegate.",
    page: "https://istio.io/latest/docs/ops/common-problems/network-issues/",
  },

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings)) return;
    for (const [i, route] of virtualService.spec.http.entries())
      for (const { problem } of notCounted(route, route)) yield { ...problem, at: ["spec", "http", i, ...problem.at] };
    if (isDelegate(virtualService)) yield* ofDelegate(virtualService, mesh);
  },
});

/** Problems of the routes of a delegate with what they get from the routes that delegate to it, each once. */
function* ofDelegate(
  delegate: VirtualService,
  mesh: MeshView<(typeof delegatingReads)[number]>,
): Iterable<Problem | undefined> {
  const delegating = delegatingTo(delegate, mesh);
  if (delegating.length > mostDelegating) return;
  const found = new Map<string, Problem>();
  for (const one of delegating) {
    yield;
    mesh.visited(delegate.spec.http.length);
    for (const [key, problem] of through(one, delegate, mesh.settings)) if (!found.has(key)) found.set(key, problem);
  }
  yield* found.values();
}

/** Problems for which both say something: the route of the delegate and the one that delegates. */
function* through(
  { root, route }: Delegating,
  delegate: VirtualService,
  settings: MeshSettings,
): Iterable<readonly [key: string, problem: Problem]> {
  for (const { index, route: merged } of delegatedRoutes(root, route, delegate, settings)) {
    const own = delegate.spec.http[index] as HttpRoute;
    for (const { lost, problem } of notCounted(merged, own)) {
      if ((own.fault === undefined) === (own[lost] === undefined)) continue;
      const at = ["spec", "http", index, ...(own.fault === undefined ? [] : problem.at)];
      yield [`${index} ${problem.key}`, { ...problem, at, related: [root], evidence: [root] }];
    }
  }
}

/** A problem, and the setting that does not count the fault. */
interface NotCounted {
  readonly lost: "retries" | "timeout";
  readonly problem: Problem;
}

/** `own`: the route as it is written. */
const notCounted = (route: HttpRoute, own: HttpRoute): readonly NotCounted[] =>
  [notRepeated(route, own), notCutOff(route, own)].filter((problem) => problem !== undefined);

type Fault = NonNullable<HttpRoute["fault"]>;

const isAborting = ({ abort }: Fault): boolean =>
  (abort?.httpStatus !== undefined || !!abort?.grpcStatus) && (abort?.percentage?.value ?? 0) > 0;

function notRepeated({ fault, retries }: HttpRoute, own: HttpRoute): NotCounted | undefined {
  if (fault === undefined || !isAborting(fault) || (retries?.attempts ?? 0) <= 0) return undefined;
  return {
    lost: "retries",
    problem: {
      at: ["fault", "abort"],
      message: `The retries of ${routeInWords(own)} do not repeat the requests that ${own.fault === undefined ? "its" : "this"} fault aborts`,
      key: JSON.stringify(["abort", own.name, own.match]),
    },
  };
}

/** Undefined: it delays no request. */
function delayMsOf({ delay }: Fault): number | undefined {
  const percent = delay?.percentage === undefined ? delay?.percent : delay.percentage.value;
  return (percent ?? 0) > 0 ? durationMs(delay?.fixedDelay) : undefined;
}

/** The timeouts of a route, of which each try has one too if there are retries (Istio route.go setTimeout, retry.go ConvertPolicy). */
function* timeoutsOf(route: HttpRoute): Iterable<readonly [name: "timeout" | "perTryTimeout", ms: number]> {
  const { attempts = 0, perTryTimeout } = route.retries ?? {};
  const [whole, perTry] = [timeoutMsOf(route), durationMs(perTryTimeout)];
  if (whole !== undefined) yield ["timeout", whole];
  if (perTry && attempts > 0) yield ["perTryTimeout", perTry];
}

function notCutOff(route: HttpRoute, own: HttpRoute): NotCounted | undefined {
  const delayMs = route.fault && delayMsOf(route.fault);
  if (delayMs === undefined) return undefined;
  const [shorter] = [...timeoutsOf(route)].filter(([, ms]) => ms <= delayMs);
  if (shorter === undefined) return undefined;
  const [name, ms] = shorter;
  return {
    lost: name === "timeout" ? "timeout" : "retries",
    problem: {
      at: ["fault", "delay"],
      message: `The ${name} of ${routeInWords(own)}, ${shownDuration(ms)}, does not count ${own.fault === undefined ? "its" : "this"} delay of ${shownDuration(delayMs)}`,
      key: JSON.stringify(["delay", own.name, own.match]),
    },
  };
}
