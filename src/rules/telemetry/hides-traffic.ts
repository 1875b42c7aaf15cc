import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  addedEffects,
  proxiesOfNamespace,
  policyScope,
  type ProxyScope,
} from "../../mesh/authorization/proxy-attachments.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, forWording, index, relation } from "../../view/view.ts";

type Telemetry = ObjectOf<"Telemetry">;

/** A namespace and its own Telemetries that hide traffic. */
const hidingTelemetriesInNamespace = relation(
  "hidingTelemetriesInNamespace",
  namespaceByName,
  index("Telemetry", (telemetry, settings) =>
    isServed(telemetry, settings) && hiddenBy(telemetry).length > 0 ? [telemetry.metadata.namespace] : [],
  ),
);

/** A namespace's own Telemetries that hide traffic. */
const hidingTelemetriesIn = fact(
  "hidingTelemetriesIn",
  "Namespace",
  [hidingTelemetriesInNamespace],
  (namespace, mesh): readonly Telemetry[] => mesh.related(hidingTelemetriesInNamespace, namespace),
);

// A workload that comes or goes adds no such object.
const proxies = forWording(proxiesOfNamespace);

export const telemetryHidesTraffic = defineRule({
  id: "telemetry-hides-traffic",
  subject: "Namespace",
  reads: [hidingTelemetriesIn, rootOfNamespace, proxies],
  worksWithout: ["KubernetesGateway", "Telemetry", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  summary: "A Telemetry turns off the access log or the metrics of requests to a namespace.",
  why: "A Telemetry with `disabled: true` turns off access logs or metrics at the proxies that it applies to, also those that the mesh config or the root namespace turns on (Istio pilot/pkg/model/telemetry.go). Requests then leave no trace by which an attack or a wrong policy could be found.",
  fix: "Keep the access log and the metrics of the server side. To log less, use a filter; to save metrics, disable single metrics.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Dashboards show no requests of these workloads, and their access log is empty, while requests are answered.",
    wayOut: "Delete the Telemetry, or apply its previous version: logs and metrics are back within seconds.",
    silentWhen: "Only the client's side, single metrics such as sizes, or tracing are turned off.",
    page: "https://istio.io/latest/docs/reference/config/telemetry/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: hidingTelemetriesIn,
      proxies,
      scopeOf,
      effectsOf: hiddenBy,
    });
    for (const { object, effect, reach } of found)
      yield {
        at: [],
        message: `${idOf(object)} turns off ${effect} of proxies of namespace ${after.object.metadata.name}`,
        key: `${idOf(object)} ${effect}`,
        related: [object],
        ...(reach === "sure" ? {} : { atMost: "warn" }),
      };
  },
});

/** Metrics that show whether there are requests at all; without a match, all metrics are meant. */
const counting: ReadonlySet<string> = new Set(["ALL_METRICS", "REQUEST_COUNT"]);

/** What a Telemetry hides at the server side. */
function hiddenBy({ spec }: Telemetry): readonly string[] {
  const isForServer = (mode: string | undefined) => mode !== "CLIENT";
  const hidesLog = spec.accessLogging.some(
    ({ match, disabled, filter }) =>
      isForServer(match?.mode) && (disabled === true || filter?.expression?.trim() === "false"),
  );
  const hidesMetrics = spec.metrics.some(({ overrides }) =>
    overrides.some(
      ({ match, disabled }) =>
        disabled === true &&
        isForServer(match?.mode) &&
        match?.customMetric === undefined &&
        counting.has(match?.metric ?? "ALL_METRICS"),
    ),
  );
  return [...(hidesLog ? ["the access log"] : []), ...(hidesMetrics ? ["the metrics"] : [])];
}

const scopeOf = ({ spec }: Telemetry): ProxyScope => policyScope(spec);
