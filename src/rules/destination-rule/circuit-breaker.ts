import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { setting } from "../../view/view.ts";

type TrafficPolicy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;
type Limits = Pick<TrafficPolicy, "connectionPool" | "outlierDetection">;

export const destinationRuleCircuitBreaker = defineRule({
  id: "destination-rule-circuit-breaker",
  subject: "DestinationRule",
  reads: [setting("defaultTrafficPolicy")],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  // How many connections and failures are usual for a service, no manifest shows.
  stage: "trial",
  summary:
    "A circuit breaker in a protected namespace keeps pods that fail, ejects every pod, or lets one request or connection through.",
  why: "Without outlierDetection, Envoy keeps sending requests to a pod that fails (Istio pilot/pkg/networking/core/cluster_traffic_policy.go applyOutlierDetection), unless the mesh config has one for all hosts (applyDefaultTrafficPolicy). With maxEjectionPercent 100 it may eject every pod, and answers 503 itself. With a limit of 1 for requests, as examples have it, Envoy answers 503 to all but one of those that arrive at the same time. A limit of 1 for connections closes all others of TCP, and lets requests over HTTP/1.1 wait for each other, because how many may wait is not limited (getDefaultCircuitBreakerThresholds).",
  fix: "Set outlierDetection with a maxEjectionPercent of at most 50, and limits that are above the usual load.",
  incident: {
    symptoms: ["overflow"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "A limit of 1 for requests answers 503 with flag `UO` under the least load; with one for connections, requests take longer the more there are, and connections of TCP are closed with flag `UO`. Without outlierDetection, a share of the requests fails as long as one pod fails. With maxEjectionPercent 100, all requests get 503 with flag `UH` after a few errors.",
    wayOut:
      "Delete the connectionPool or outlierDetection that was added last: the defaults of Istio have no such limits.",
    silentWhen:
      "A DestinationRule without limits, such as one with subsets or a connectTimeout alone, or with the outlierDetection of the mesh config. Which limits a service needs is not known.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/circuit-breaking/",
  },

  *check(rule, { settings }) {
    if (!isServed(rule, settings)) return;
    const { trafficPolicy, subsets } = rule.spec;
    const places = [...placesIn(["spec", "trafficPolicy"], trafficPolicy)];
    for (const [i, subset] of subsets.entries())
      places.push(...placesIn(["spec", "subsets", i, "trafficPolicy"], subset.trafficPolicy));
    // A rule without limits, such as one with subsets or a connectTimeout alone, is not meant as a circuit breaker.
    const isBreaker = places.some(
      ([, { connectionPool }]) => connectionPool !== undefined && isLimiting(connectionPool),
    );
    const isDetecting = settings.defaultTrafficPolicy?.outlierDetection !== undefined;
    if (isBreaker && !isDetecting && places.every(([, { outlierDetection }]) => outlierDetection === undefined))
      yield {
        at: ["spec"],
        message: `Pods of "${hostOfRule(rule, settings)}" that fail keep getting requests: there is no outlierDetection`,
        key: "no outlierDetection",
      };
    for (const [at, limits] of places) yield* harmfulIn(at, limits);
  },
});

/** The settings of a policy, and those of its ports, which subsets can have as well (Istio util.go GetPortLevelTrafficPolicy). */
function* placesIn(at: Path, policy: TrafficPolicy | undefined): Iterable<readonly [Path, Limits]> {
  if (policy === undefined) return;
  yield [at, policy];
  for (const [i, one] of policy.portLevelSettings.entries()) yield [[...at, "portLevelSettings", i], one];
}

function* harmfulIn(at: Path, { connectionPool, outlierDetection }: Limits): Iterable<Problem> {
  if (outlierDetection !== undefined && mayEjectAll(outlierDetection))
    yield {
      at: [...at, "outlierDetection", "maxEjectionPercent"],
      message: "Outlier detection may eject every pod, and then every request fails: maxEjectionPercent is 100",
      key: JSON.stringify([at.slice(1), "ejects all"]),
    };
  if (connectionPool === undefined) return;
  for (const { field, limit, effect } of limitsOf(connectionPool))
    if (limit === 1)
      yield {
        at: [...at, "connectionPool", ...field],
        message: `${field.at(-1)} is 1, so ${effect}`,
        key: JSON.stringify([at.slice(1), field]),
      };
}

/** Envoy's default ejects a tenth at most. */
const mayEjectAll = ({ maxEjectionPercent = 10, minHealthPercent = 0 }: NonNullable<Limits["outlierDetection"]>) =>
  maxEjectionPercent >= 100 && minHealthPercent === 0;

interface Limit {
  readonly field: readonly string[];
  readonly limit: number | undefined;
  /** Of a limit of 1. */
  readonly effect: string;
}

/** Of 0, Istio sets nothing (pilot/pkg/networking/core/cluster_traffic_policy.go applyConnectionPool). */
const isLimiting = (pool: NonNullable<Limits["connectionPool"]>): boolean =>
  limitsOf(pool).some(({ limit }) => limit !== undefined && limit > 0);

const refused = "requests that arrive at the same time are answered with 503";
/** Envoy answers 503 only when http1MaxPendingRequests is reached too; its TCP proxy closes connections at once. */
const waiting = "requests over HTTP/1.1 wait for each other, and further TCP connections are closed";

const limitsOf = ({ tcp, http }: NonNullable<Limits["connectionPool"]>): readonly Limit[] => [
  { field: ["tcp", "maxConnections"], limit: tcp?.maxConnections, effect: waiting },
  { field: ["http", "http1MaxPendingRequests"], limit: http?.http1MaxPendingRequests, effect: refused },
  { field: ["http", "http2MaxRequests"], limit: http?.http2MaxRequests, effect: refused },
];
