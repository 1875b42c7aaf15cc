import { defineRule } from "../../engine/rule.ts";
import { meshConfigsOfNamespace } from "../../mesh/membership/mesh-config.ts";
import { type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  isForAll,
  isReadWith,
  providersOfEntries,
  telemetriesInOrder,
  type Telemetry,
  type TelemetryEntry,
  type TelemetryField,
  telemetryFields,
  usedInsteadOf,
} from "../../mesh/telemetry/merged-telemetry.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A Telemetry with an entry that names no provider, and its namespace. */
const namespaceOfTelemetryWithoutProvider = relation(
  "namespaceOfTelemetryWithoutProvider",
  index("Telemetry", (telemetry, settings) =>
    isServed(telemetry, settings) && telemetryFields.some((field) => telemetry.spec[field].some(isWithout))
      ? [telemetry.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

const reads = [
  namespaceOfTelemetryWithoutProvider,
  rootOfNamespace,
  telemetriesInOrder,
  meshConfigsOfNamespace,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const telemetryWithoutProvider = defineRule({
  id: "telemetry-without-provider",
  subject: "Telemetry",
  reads,
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "A Telemetry says something about logs, metrics or traces for which no provider is named anywhere.",
  why: "An entry without providers is for those of the Telemetries above it, or for `defaultProviders` of the mesh config, which has none for logs and traces as Istio installs it. Without any, an entry for logs or metrics changes nothing: `disabled: true` does not end the log that `accessLogFile` turns on. Any entry for traces replaces what the mesh config has set in the old way, by `enableTracing` and `defaultConfig.tracing`, so that proxies send no spans at all (Istio pilot/pkg/model/telemetry.go mergeLogs, mergeMetrics, Tracing).",
  fix: "Name the provider in the entry: `providers: [{name: otel}]`, as `extensionProviders` of the mesh config defines it, or name it for the whole mesh in `defaultProviders`.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Traces end when the Telemetry is applied, although it only sets how many requests are traced; or logs and metrics stay as they were.",
    wayOut: "Apply the previous version of the Telemetry, or name the provider: proxies use it within seconds.",
    silentWhen:
      "No mesh config is known, or one that istiod cannot read; another Telemetry for the same proxies, of the namespace or of the root namespace, names a provider; an older Telemetry counts instead (telemetry-conflict); or an entry for traces turns them off.",
    page: "https://istio.io/latest/docs/tasks/observability/telemetry/",
  },

  *check(telemetry, mesh) {
    const [namespace] = mesh.related(namespaceOfTelemetryWithoutProvider, telemetry);
    if (namespace === undefined) return;
    const configs = mesh.related(meshConfigsOfNamespace, namespace);
    // What a mesh config sets that istiod cannot read is not known.
    if (configs.length === 0 || configs.some(({ malformed }) => malformed !== undefined)) return;
    const merged = mergedWith(telemetry, namespace, mesh);
    if (merged === undefined) return;
    for (const field of telemetryFields) {
      const defaults = configs.flatMap((config) => config.mesh.defaultProviders?.[field] ?? []);
      const providers = providersOfEntries(merged, field, defaults);
      for (const [i, entry] of telemetry.spec[field].entries())
        if (isWithout(entry) && providers.get(entry)?.length === 0)
          yield {
            at: ["spec", field, i],
            message: `No provider is named here, in a Telemetry for the whole namespace or mesh, or in defaultProviders.${field} of the mesh config: ${effects[field]}`,
            related: configs,
            evidence: configs,
          };
    }
  },
});

/** An entry that turns traces off needs no provider. */
const isWithout = (entry: TelemetryEntry): boolean =>
  entry.providers.length === 0 && !("disableSpanReporting" in entry && entry.disableSpanReporting === true);

const effects = {
  accessLogging: "the entry changes nothing",
  metrics: "the entry changes nothing",
  tracing: "no spans are sent, also none that enableTracing of the mesh config turns on",
} as const satisfies Record<TelemetryField, string>;

/** The Telemetries that its proxies use for certain, in the order in which they are merged; undefined: another one counts instead. */
function mergedWith(telemetry: Telemetry, namespace: Namespace, mesh: View): readonly Telemetry[] | undefined {
  const own = mesh.get(telemetriesInOrder, namespace);
  const isWide = isForAll(telemetry);
  if (isWide && usedInsteadOf(telemetry, own) !== undefined) return undefined;
  const roots = mesh.related(rootOfNamespace, namespace).filter((root) => root !== namespace);
  const above = [...roots.map((root) => mesh.get(telemetriesInOrder, root)), ...(isWide ? [] : [own])];
  return [...above.flatMap((inOrder) => inOrder.find((one) => isReadWith(one, telemetry)) ?? []), telemetry];
}
