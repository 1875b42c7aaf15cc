import type { ObjectOf } from "../../kube/object.ts";
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

/** The providers of Telemetries that name none, where the mesh config is not known. */
const usualLogs: readonly string[] = ["envoy"];
const usualMetrics: readonly string[] = ["prometheus"];

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

const isForServer = ({ match }: { readonly match: { readonly mode: string | undefined } | undefined }): boolean =>
  match?.mode !== "CLIENT";

/**
 * Whether the proxies for which these Telemetries count, the root namespace's first, write no access log of the requests
 * that they receive (Istio pilot/pkg/model/telemetry.go mergeLogs). `defaults` are those of `defaultProviders` in the mesh
 * config: without any, an entry that names no provider changes nothing.
 */
export function hidesLog(telemetries: readonly Telemetry[], defaults: readonly string[] = usualLogs): boolean {
  const entries = telemetries.flatMap(({ spec }) => spec.accessLogging);
  if (entries.length === 0) return false;
  const inScope = lastNamed(
    telemetries.map(({ spec }) => spec.accessLogging.filter(isForServer).flatMap(namesOf)),
    defaults,
  );
  // A filter counts for the providers that its entry names, wherever the entry is.
  const filters = new Map(
    entries
      .filter(isForServer)
      .flatMap((entry) => namesOf(entry).map((name) => [name, entry.filter?.expression?.trim()])),
  );
  const logs = new Map<string, boolean>();
  for (const [entry, names] of withProviders(entries, defaults))
    for (const name of isForServer(entry) ? names.filter((one) => inScope.has(one)) : [])
      logs.set(name, entry.disabled !== true && filters.get(name) !== "false");
  // Where no entry is for this side, `accessLogFile` of the mesh config decides (core/accesslog.go setHTTPAccessLog).
  return logs.size > 0 && ![...logs.values()].includes(true);
}

interface Counting {
  /** Whether all metrics are turned off. A later override turns those on that are not turned off themselves. */
  readonly isDropped: boolean;
  readonly isDisabled: boolean;
}
const isCounted: Counting = { isDropped: false, isDisabled: false };

/** The same for the metrics of requests (mergeMetrics): whether no provider counts them. */
export function hidesMetrics(telemetries: readonly Telemetry[]): boolean {
  const entries = telemetries.flatMap(({ spec }) => spec.metrics);
  const inScope = lastNamed(entries.map(namesOf), usualMetrics);
  const counts = new Map<string, Counting>();
  for (const [entry, names] of withProviders(entries, usualMetrics))
    for (const name of names.filter((one) => inScope.has(one)))
      counts.set(name, entry.overrides.filter(isForServer).reduce(overridden, counts.get(name) ?? isCounted));
  return counts.size > 0 && [...counts.values()].every(({ isDropped, isDisabled }) => isDropped || isDisabled);
}

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
