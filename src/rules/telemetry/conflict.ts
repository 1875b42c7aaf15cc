import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { oldestFirst, precedence } from "../../mesh/objects/creation-order.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, index, relation } from "../../view/view.ts";

type Telemetry = ObjectOf<"Telemetry">;

/** Those that are for all proxies of their namespace: a selector without labels counts as none (Istio pilot/pkg/model/telemetry.go namespaceWideTelemetryConfig). */
const isForAll = ({ spec }: Telemetry): boolean =>
  Object.keys(spec.selector?.matchLabels ?? {}).length === 0 &&
  spec.targetRefs.length === 0 &&
  spec.targetRef === undefined;

const byNamespaceForAll = index("Telemetry", (telemetry, settings) =>
  isServed(telemetry, settings) && isForAll(telemetry) ? [telemetry.metadata.namespace] : [],
);

/** A namespace and the Telemetries that are for all its proxies. */
const telemetriesForAll = relation("telemetriesForAll", namespaceByName, byNamespaceForAll);
/** A Telemetry that is for all proxies of its namespace, and the namespace. */
const namespaceOfTelemetryForAll = relation("namespaceOfTelemetryForAll", byNamespaceForAll, namespaceByName);

/** The Telemetries that are for all proxies of a namespace, in the order in which Istio looks for the one that it uses. */
const telemetriesInOrder = fact("telemetriesInOrder", "Namespace", [telemetriesForAll], (namespace, mesh) =>
  mesh.related(telemetriesForAll, namespace).toSorted(oldestFirst),
);

export const telemetryConflict = defineRule({
  id: "telemetry-conflict",
  subject: "Telemetry",
  reads: [namespaceOfTelemetryForAll, telemetriesInOrder],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "An older Telemetry is for the whole namespace too, so this one has no effect.",
  why: "Of the Telemetries without selector and targetRefs, a namespace uses the oldest, for logs, metrics and traces alike; in the root namespace it is the one for the mesh. The others are ignored, they are not merged (Istio pilot/pkg/model/telemetry.go namespaceWideTelemetryConfig).",
  fix: "Put everything into one Telemetry for the namespace. Select workloads with the others.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Logs, metrics or traces are as if the Telemetry was not there, and nothing reports an error.",
    wayOut: "Nothing changes until the older Telemetry is deleted. Put the sections that are needed into that one.",
    silentWhen:
      "This one is the older, or has a selector: several that select one workload are merged, and the younger wins.",
    page: "https://istio.io/latest/docs/tasks/observability/telemetry/",
  },

  *check(telemetry, mesh) {
    for (const namespace of mesh.related(namespaceOfTelemetryForAll, telemetry)) {
      const first = mesh.get(telemetriesInOrder, namespace).find((one) => isReadWith(one, telemetry));
      if (first === undefined || first === telemetry) continue;
      const where = namespace.metadata.name === mesh.settings.rootNamespace ? "mesh" : "namespace";
      yield {
        at: [],
        message: `The Telemetry has no effect: ${idOf(first)} ${precedence(first, telemetry)} and is for the whole ${where} too`,
        key: `loses to ${idOf(first)}`,
        related: [first],
        evidence: [first],
      };
    }
  },
});

/** Whether every control plane that reads the second one reads the first one. */
const isReadWith = (first: Telemetry, second: Telemetry): boolean => {
  const revision = first.metadata.labels[revisionLabel];
  return revision === undefined || revision === second.metadata.labels[revisionLabel];
};
