import type { MeshConfigFields } from "../../kube/mesh-config.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { meshConfigsOfNamespace } from "../membership/mesh-config.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { revisionLabel } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { fact, index, relation } from "../../view/view.ts";

export type Telemetry = ObjectOf<"Telemetry">;

/** Those that are for all proxies of their namespace: a selector without labels counts as none (Istio pilot/pkg/model/telemetry.go namespaceWideTelemetryConfig). */
export const isForAll = ({ spec }: Telemetry): boolean =>
  Object.keys(spec.selector?.matchLabels ?? {}).length === 0 &&
  spec.targetRefs.length === 0 &&
  spec.targetRef === undefined;

export const telemetryForAllByNamespace = index("Telemetry", (telemetry, settings) =>
  isServed(telemetry, settings) && isForAll(telemetry) ? [telemetry.metadata.namespace] : [],
);

/** A namespace and the Telemetries that are for all its proxies. */
const telemetriesForAll = relation("telemetriesForAll", namespaceByName, telemetryForAllByNamespace);

/** The Telemetries that are for all proxies of a namespace, in the order in which Istio looks for the one that it uses. */
export const telemetriesInOrder = fact("telemetriesInOrder", "Namespace", [telemetriesForAll], (namespace, mesh) =>
  mesh.related(telemetriesForAll, namespace).toSorted(oldestFirst),
);

/** Whether every control plane that reads the second one reads the first one. */
export const isReadWith = (first: Telemetry, second: Telemetry): boolean => {
  const revision = first.metadata.labels[revisionLabel];
  return revision === undefined || revision === second.metadata.labels[revisionLabel];
};

/** The Telemetry that a namespace uses instead of this one, of those that are for all its proxies. */
export const usedInsteadOf = (telemetry: Telemetry, inOrder: readonly Telemetry[]): Telemetry | undefined => {
  const first = inOrder.find((one) => isReadWith(one, telemetry));
  return first === telemetry ? undefined : first;
};

/** Which side of requests a proxy is on: a sidecar that receives them and a waypoint are the server, a gateway is the client. */
export type ProxySide = "SERVER" | "CLIENT";

/** What proxies do for which no Telemetry says anything, and the providers of Telemetries that name none. */
export interface TelemetryDefaults {
  readonly logs: readonly string[];
  readonly metrics: readonly string[];
  /** Whether the mesh config turns on an access log without a provider. */
  readonly hasLogFile: boolean;
  /** All providers by their names in lower case; undefined: not known, so that every name may be that of one. */
  readonly providers?: ReadonlyMap<string, ProviderUse> | undefined;
}

/** What proxies can write to a provider. */
interface ProviderUse {
  readonly logs: boolean;
  readonly metrics: boolean;
}

/** Istio pkg/config/mesh/mesh.go DefaultMeshConfig; those of a mesh config are added, or replace them. */
export const builtInProviders: ReadonlyMap<string, ProviderUse> = new Map([
  ["prometheus", { logs: false, metrics: true }],
  ["stackdriver", { logs: false, metrics: false }],
  ["envoy", { logs: true, metrics: false }],
]);

/** Istio pilot/pkg/model/telemetry_logging.go telemetryAccessLog, telemetry.go buildHTTPTelemetryFilter. */
const useOf = (provider: MeshConfigFields["extensionProviders"][number]): ProviderUse => ({
  logs: [provider.envoyFileAccessLog, provider.envoyHttpAls, provider.envoyTcpAls, provider.envoyOtelAls].some(
    (one) => one !== undefined,
  ),
  metrics: provider.prometheus !== undefined,
});

/**
 * The defaults that a mesh config sets (Istio pilot/pkg/networking/core/accesslog.go, pilot/pkg/model/telemetry.go). Providers that it
 * does not define, or that are of another sort, get nothing. Of one that istiod cannot read, they are not known.
 */
export function defaultsOf(
  { defaultProviders, accessLogFile = "", enableEnvoyAccessLogService, extensionProviders }: MeshConfigFields,
  isReadable = true,
): TelemetryDefaults {
  const own = extensionProviders.map((one) => [one.name.toLowerCase(), useOf(one)] as const);
  const providers = isReadable ? new Map([...builtInProviders, ...own]) : undefined;
  return {
    logs: (defaultProviders?.accessLogging ?? []).filter((name) => takes("logs", name, providers)),
    metrics: (defaultProviders?.metrics ?? []).filter((name) => takes("metrics", name, providers)),
    hasLogFile: accessLogFile !== "" || enableEnvoyAccessLogService === true,
    providers,
  };
}

/** Istio pilot/pkg/model/telemetry.go fetchProvider. */
const takes = (use: keyof ProviderUse, name: string, providers: TelemetryDefaults["providers"]): boolean =>
  providers === undefined || providers.get(name.toLowerCase())?.[use] === true;

/** What a mesh config that is not known may set: what the charts of Istio do with and without a provider of logs, or nothing. */
const possibleDefaults: readonly TelemetryDefaults[] = [
  { logs: ["envoy"], metrics: ["prometheus"], hasLogFile: false },
  { logs: [], metrics: ["prometheus"], hasLogFile: true },
  { logs: [], metrics: [], hasLogFile: false },
];

/** The defaults that the mesh configs of a namespace's control planes set, or those that unknown ones may set. */
export const telemetryDefaults = fact(
  "telemetryDefaults",
  "Namespace",
  [meshConfigsOfNamespace],
  (namespace, mesh): readonly TelemetryDefaults[] => {
    const configs = mesh.related(meshConfigsOfNamespace, namespace);
    return configs.length === 0
      ? possibleDefaults
      : configs.map(({ mesh: fields, malformed }) => defaultsOf(fields, malformed === undefined));
  },
);

interface Entry {
  readonly providers: readonly { readonly name: string }[];
}
const namesOf = ({ providers }: Entry): readonly string[] => providers.map(({ name }) => name);

/** Each entry with its providers. One that names none has those of the entry before it. */
function* withProviders<E extends Entry>(
  entries: readonly E[],
  otherwise: readonly string[],
): Iterable<readonly [E, readonly string[]]> {
  let names = otherwise;
  for (const entry of entries) {
    if (entry.providers.length > 0) names = namesOf(entry);
    yield [entry, names];
  }
}

/** The providers of the last list that names some. */
const lastNamed = (lists: readonly (readonly string[])[], otherwise: readonly string[]): ReadonlySet<string> =>
  new Set(lists.findLast((names) => names.length > 0) ?? otherwise);

const otherSide = { SERVER: "CLIENT", CLIENT: "SERVER" } as const satisfies Record<ProxySide, ProxySide>;
const isForSide =
  (side: ProxySide) =>
  ({ match }: { readonly match: { readonly mode: string | undefined } | undefined }): boolean =>
    match?.mode !== otherSide[side];

/**
 * Whether Telemetries make the proxies that use them, the root namespace's first, write an access log (Istio
 * pilot/pkg/model/telemetry.go mergeLogs, AccessLogging). Undefined if they say nothing about it. Without default providers, an entry
 * that names no provider changes nothing. Providers that do not exist, or take no logs, replace others and write nothing, so that what the mesh config
 * turns on without a provider is left.
 */
export function logsBy(
  telemetries: readonly Telemetry[],
  { logs: defaults, hasLogFile, providers }: TelemetryDefaults,
  side: ProxySide = "SERVER",
): boolean | undefined {
  const isFor = isForSide(side);
  const entries = telemetries.flatMap(({ spec }) => spec.accessLogging);
  const inScope = lastNamed(
    telemetries.map(({ spec }) => spec.accessLogging.filter(isFor).flatMap(namesOf)),
    defaults,
  );
  // A filter counts for the providers that its entry names, wherever the entry is.
  const filters = new Map(
    entries.filter(isFor).flatMap((entry) => namesOf(entry).map((name) => [name, entry.filter?.expression?.trim()])),
  );
  const logs = new Map<string, boolean>();
  for (const [entry, names] of withProviders(entries, defaults))
    for (const name of isFor(entry) ? names.filter((one) => inScope.has(one) && takes("logs", one, providers)) : [])
      logs.set(name, entry.disabled !== true && filters.get(name) !== "false");
  if (logs.size > 0) return [...logs.values()].includes(true);
  return inScope.size === 0 || hasLogFile || !entries.some(isFor) ? undefined : false;
}

/** Whether proxies write an access log. Where nothing is said for their side, the mesh config decides (core/accesslog.go setHTTPAccessLog). */
export const writesLog = (telemetries: readonly Telemetry[], defaults: TelemetryDefaults, side: ProxySide): boolean =>
  logsBy(telemetries, defaults, side) ??
  (defaults.hasLogFile ||
    (defaults.logs.length > 0 && telemetries.every(({ spec }) => spec.accessLogging.length === 0)));

/**
 * The providers that count for each entry of a list, of all Telemetries that a proxy uses, the root namespace's first. Empty: the entry
 * is for none, so that it changes nothing. For traces, a side of requests has the provider of the last entry for it that names one, wherever
 * that is, and without one it sends no spans, also none that the mesh config turns on in the old way (Istio
 * pilot/pkg/model/telemetry.go mergeLogs, mergeMetrics, Tracing).
 */
export function providersOfEntries(
  telemetries: readonly Telemetry[],
  field: TelemetryField,
  defaults: readonly string[],
): ReadonlyMap<TelemetryEntry, readonly string[]> {
  if (field !== "tracing")
    return new Map(
      withProviders(
        telemetries.flatMap(({ spec }): readonly TelemetryEntry[] => spec[field]),
        defaults,
      ),
    );
  const entries = telemetries.flatMap(({ spec }) => spec.tracing);
  const bySide = (["SERVER", "CLIENT"] as const).map((side) => {
    const isFor = isForSide(side);
    return { isFor, names: entries.findLast((entry) => isFor(entry) && entry.providers.length > 0)?.providers };
  });
  return new Map(
    entries.map((entry) => [
      entry,
      bySide.flatMap(({ isFor, names }) => (isFor(entry) ? (names?.map(({ name }) => name) ?? defaults) : [])),
    ]),
  );
}

export const telemetryFields = ["accessLogging", "metrics", "tracing"] as const;
export type TelemetryField = (typeof telemetryFields)[number];
export type TelemetryEntry = Telemetry["spec"][TelemetryField][number];

interface Counting {
  /** Whether all metrics are turned off. A later override turns those on that are not turned off themselves. */
  readonly isDropped: boolean;
  readonly isDisabled: boolean;
}
const isCounted: Counting = { isDropped: false, isDisabled: false };

/** The same for the metrics of requests (mergeMetrics, telemetryFilters): whether some provider counts them. */
export function metricsBy(
  telemetries: readonly Telemetry[],
  { metrics: defaults, providers }: TelemetryDefaults,
  side: ProxySide = "SERVER",
): boolean | undefined {
  const isFor = isForSide(side);
  const entries = telemetries.flatMap(({ spec }) => spec.metrics);
  const inScope = lastNamed(entries.map(namesOf), defaults);
  const counts = new Map<string, Counting>();
  for (const [entry, names] of withProviders(entries, defaults))
    for (const name of names.filter((one) => inScope.has(one) && takes("metrics", one, providers)))
      counts.set(name, entry.overrides.filter(isFor).reduce(overridden, counts.get(name) ?? isCounted));
  if (counts.size === 0) return entries.length === 0 || inScope.size === 0 ? undefined : false;
  return [...counts.values()].some(({ isDropped, isDisabled }) => !isDropped && !isDisabled);
}

/** Whether proxies count requests. */
export const writesMetrics = (
  telemetries: readonly Telemetry[],
  defaults: TelemetryDefaults,
  side: ProxySide,
): boolean => metricsBy(telemetries, defaults, side) ?? defaults.metrics.length > 0;

type Override = Telemetry["spec"]["metrics"][number]["overrides"][number];

function overridden(known: Counting, override: Override): Counting {
  const { disabled } = override;
  const metric = metricOf(override);
  if (metric === allMetrics && disabled === true) return { ...known, isDropped: true };
  const isAbout = disabled !== undefined && (metric === allMetrics || metric === "REQUEST_COUNT");
  return { isDropped: false, isDisabled: isAbout ? disabled : known.isDisabled };
}

const allMetrics = "ALL_METRICS";
/** Without a match, all metrics are meant. */
const metricOf = ({ match }: Override): string => match?.customMetric ?? match?.metric ?? allMetrics;
