import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { precedence } from "../../mesh/objects/creation-order.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import {
  telemetriesInOrder,
  telemetryForAllByNamespace,
  usedInsteadOf,
} from "../../mesh/telemetry/merged-telemetry.ts";
import { relation } from "../../view/view.ts";

/** A Telemetry that is for all proxies of its namespace, and the namespace. */
const namespaceOfTelemetryForAll = relation("namespaceOfTelemetryForAll", telemetryForAllByNamespace, namespaceByName);

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
      const first = usedInsteadOf(telemetry, mesh.get(telemetriesInOrder, namespace));
      if (first === undefined) continue;
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
