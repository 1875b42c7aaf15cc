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

/** A namespace and its own Telemetries that are for some proxies, and turn something on. */
const showingTelemetriesInNamespace = relation(
  "showingTelemetriesInNamespace",
  namespaceByName,
  index("Telemetry", (telemetry, settings) =>
    isServed(telemetry, settings) && !isForAll(telemetry) && mayShow(telemetry) ? [telemetry.metadata.namespace] : [],
  ),
);

// A workload that comes or goes adds no such object.
const proxies = forWording(proxiesOfNamespace);

export const telemetryHidesTraffic = defineRule({
  id: "telemetry-hides-traffic",
  subject: "Namespace",
  reads: [
    hidingTelemetriesIn,
    showingTelemetriesInNamespace,
    telemetriesInOrder,
    meshConfigOfNamespace,
    rootOfNamespace,
    proxies,
  ],
  worksWithout: ["KubernetesGateway", "MeshConfig", "Telemetry", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  summary:
    "A Telemetry turns off the access log or the metrics of requests to a namespace, or one that turned them on again no longer does.",
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
    const added = new Set<string>();
    const found = addedEffects([before, after], {
      objectsIn: hidingTelemetriesIn,
      proxies,
      scopeOf,
      effectsOf: (telemetry) => hiddenBy(telemetry, isOld(telemetry) ? before : after),
    });
    for (const { object, effect, reach } of found) {
      yield {
        at: [],
        message: `${idOf(object)} turns off ${effect} of proxies of namespace ${after.object.metadata.name}`,
        key: `${idOf(object)} ${effect}`,
        related: [object],
        ...(reach === "sure" ? {} : { atMost: "warn" }),
      };
      added.add(effect);
    }
    for (const { was, hider, effect } of noLongerShown(before, after))
      if (!added.has(effect))
        yield {
          at: [],
          message: `${idOf(was)} no longer turns on ${effect} of proxies of namespace ${after.object.metadata.name}, and ${idOf(hider)} turns it off`,
          key: `${idOf(was)} ${effect} again`,
          related: [hider],
          // Whoever saves logs again only ends an exception from what the mesh or the namespace has decided.
          atMost: "warn",
        };
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof telemetriesInOrder | typeof meshConfigOfNamespace | typeof rootOfNamespace>;
}

interface ShowingSide extends Side {
  readonly mesh: MeshView<
    | typeof telemetriesInOrder
    | typeof meshConfigOfNamespace
    | typeof rootOfNamespace
    | typeof showingTelemetriesInNamespace
  >;
}

interface NoLongerShown {
  readonly was: Telemetry;
  readonly hider: Telemetry;
  readonly effect: string;
}

/** What a Telemetry turned on that goes or changes, and what another one of the same proxies turns off. */
function* noLongerShown(before: ShowingSide, after: ShowingSide): Iterable<NoLongerShown> {
  const [old, now] = [usedForAll(before), usedForAll(after)];
  const hider = now.findLast(mayHide);
  if (hider === undefined) return;
  const kept = new Map(after.mesh.related(showingTelemetriesInNamespace, after.object).map((one) => [idOf(one), one]));
  const changes = [
    ...old.filter((was) => !now.includes(was)).map((was) => ({ was, merged: old, left: now })),
    ...before.mesh
      .related(showingTelemetriesInNamespace, before.object)
      .filter((was) => kept.get(idOf(was)) !== was)
      .map((was) => {
        const is = kept.get(idOf(was));
        return { was, merged: [...old, was], left: is === undefined ? now : [...now, is] };
      }),
  ];
  for (const { was, merged, left } of changes) {
    const known = new Set(effectsTogether(merged, before));
    for (const effect of effectsTogether(left, after)) if (!known.has(effect)) yield { was, hider, effect };
  }
}

/** The Telemetries that are for all proxies of a namespace and are used there, that of the root namespace first. */
const usedForAll = ({ object, mesh }: Side): readonly Telemetry[] =>
  namespacesInForce(object, mesh)
    .toReversed()
    .flatMap((level) => mesh.get(telemetriesInOrder, level)[0] ?? []);

/** Whether a Telemetry has what may turn on something at the server side that another one turns off. */
const mayShow = ({ spec }: Telemetry): boolean =>
  spec.accessLogging.some(({ disabled }) => disabled !== true) ||
  spec.metrics.some(({ overrides }) => overrides.some(({ disabled }) => disabled !== true));

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
  // It is the reason if it hides something by itself, or if nothing would be hidden without it.
  const others = merged.filter((one) => one !== telemetry);
  const alone = new Set(effectsTogether([telemetry], { object, mesh }));
  const without = new Set(effectsTogether(others, { object, mesh }));
  return effectsTogether(merged, { object, mesh }).filter((effect) => alone.has(effect) || !without.has(effect));
}

/** What Telemetries hide together at the proxies that they are all for. */
function effectsTogether(telemetries: readonly Telemetry[], { object, mesh }: Side): readonly string[] {
  const config = meshConfigAt(object, mesh);
  const logs = config.object === undefined ? undefined : (config.fields.defaultProviders?.accessLogging ?? []);
  return [
    ...(hidesLog(telemetries, logs) ? ["the access log"] : []),
    ...(hidesMetrics(telemetries) ? ["the metrics"] : []),
  ];
}

const scopeOf = ({ spec }: Telemetry): ProxyScope => policyScope(spec);
