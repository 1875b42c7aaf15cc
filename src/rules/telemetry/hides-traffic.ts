import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  addedEffects,
  namespacesInForce,
  proxiesOfNamespace,
  policyScope,
  type ProxyScope,
} from "../../mesh/authorization/proxy-attachments.ts";
import { meshConfigAt, meshConfigOfNamespace } from "../../mesh/membership/mesh-config.ts";
import { type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  hidesLog,
  hidesMetrics,
  isForAll,
  isReadWith,
  telemetriesInOrder,
  type Telemetry,
  usedInsteadOf,
} from "../../mesh/telemetry/merged-telemetry.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

/** A namespace and its own Telemetries that turn something off. */
const hidingTelemetriesInNamespace = relation(
  "hidingTelemetriesInNamespace",
  namespaceByName,
  index("Telemetry", (telemetry, settings) =>
    isServed(telemetry, settings) && mayHide(telemetry) ? [telemetry.metadata.namespace] : [],
  ),
);

/** A namespace's own Telemetries that turn something off, and are not ignored. */
const hidingTelemetriesIn = fact(
  "hidingTelemetriesIn",
  "Namespace",
  [hidingTelemetriesInNamespace, telemetriesInOrder],
  (namespace, mesh): readonly Telemetry[] => {
    const inOrder = mesh.get(telemetriesInOrder, namespace);
    return mesh
      .related(hidingTelemetriesInNamespace, namespace)
      .filter((one) => !isForAll(one) || usedInsteadOf(one, inOrder) === undefined);
  },
);

// A workload that comes or goes adds no such object.
const proxies = forWording(proxiesOfNamespace);

export const telemetryHidesTraffic = defineRule({
  id: "telemetry-hides-traffic",
  subject: "Namespace",
  reads: [hidingTelemetriesIn, telemetriesInOrder, meshConfigOfNamespace, rootOfNamespace, proxies],
  worksWithout: ["KubernetesGateway", "MeshConfig", "Telemetry", "Workload"],
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
    const old = new Set(
      namespacesInForce(before.object, before.mesh).flatMap((one) => before.mesh.get(hidingTelemetriesIn, one)),
    );
    const isOld = (telemetry: Telemetry) => old.has(telemetry);
    const found = addedEffects([before, after], {
      objectsIn: hidingTelemetriesIn,
      proxies,
      scopeOf,
      effectsOf: (telemetry) => hiddenBy(telemetry, isOld(telemetry) ? before : after),
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

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof telemetriesInOrder | typeof meshConfigOfNamespace | typeof rootOfNamespace>;
}

/** Whether a Telemetry has what may turn off something at the server side. */
const mayHide = ({ spec }: Telemetry): boolean =>
  spec.accessLogging.some(({ disabled, filter }) => disabled === true || filter?.expression?.trim() === "false") ||
  spec.metrics.some(({ overrides }) => overrides.some(({ disabled }) => disabled === true));

/**
 * What a Telemetry hides at the server side of proxies of a namespace, with those that these proxies merge it with. One of
 * the root namespace that selects or targets something is for the proxies of the root namespace alone.
 */
function hiddenBy(telemetry: Telemetry, { object, mesh }: Side): readonly string[] {
  const { name } = object.metadata;
  const isOwn = telemetry.metadata.namespace === name;
  if (!isOwn && !isForAll(telemetry)) return [];
  const levels = namespacesInForce(object, mesh).toReversed();
  const wide = levels.flatMap((level) => {
    if (isForAll(telemetry) && level.metadata.name === telemetry.metadata.namespace) return [telemetry];
    return mesh.get(telemetriesInOrder, level).find((one) => isReadWith(one, telemetry)) ?? [];
  });
  const merged = isForAll(telemetry) ? wide : [...wide, telemetry];
  const config = meshConfigAt(object, mesh);
  const logs = config.object === undefined ? undefined : (config.fields.defaultProviders?.accessLogging ?? []);
  const isHidden = (hides: (telemetries: readonly Telemetry[]) => boolean) => hides([telemetry]) && hides(merged);
  return [
    ...(isHidden((telemetries) => hidesLog(telemetries, logs)) ? ["the access log"] : []),
    ...(isHidden(hidesMetrics) ? ["the metrics"] : []),
  ];
}

const scopeOf = ({ spec }: Telemetry): ProxyScope => policyScope(spec);
