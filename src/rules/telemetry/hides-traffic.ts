import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ComparedSide } from "../../mesh/authorization/changed-attachments.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import {
  logsBy,
  metricsBy,
  type Telemetry,
  telemetryDefaults,
  type TelemetryDefaults,
  writesLog,
  writesMetrics,
} from "../../mesh/telemetry/merged-telemetry.ts";
import { areSame, type TelemetryProxy, telemetryOfProxies } from "../../mesh/telemetry/telemetry-of-proxies.ts";
import { telemetryAtWaypoints } from "../../mesh/waypoints/telemetry-at-waypoints.ts";

const reads = [telemetryOfProxies, telemetryAtWaypoints, telemetryDefaults] as const;

export const telemetryHidesTraffic = defineRule({
  id: "telemetry-hides-traffic",
  subject: "Namespace",
  reads,
  onlyWith: "Telemetry",
  worksWithout: [
    "KubernetesGateway",
    "MeshConfig",
    "Service",
    "ServiceEntry",
    "Telemetry",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  summary:
    "A Telemetry turns off an access log or metrics that proxies of a namespace or the waypoints of its Services write, or one that turned them on no longer does.",
  why: "A Telemetry with `disabled: true` turns off access logs or metrics at the proxies that it applies to, also those that the mesh config or the root namespace turns on; so does one that names only providers which the mesh config does not define, or which take no logs or metrics, because these replace the others (Istio pilot/pkg/model/telemetry.go mergeLogs, mergeMetrics, fetchProvider, buildHTTPTelemetryFilter). Requests then leave no trace by which an attack or a wrong policy could be found. For a gateway, the client's side of a Telemetry counts; for sidecars and waypoints, that of the server. A waypoint uses the Telemetry of its own namespace, and after that the one of the Service's namespace and those there that target the Service; what targets the waypoint counts only for Services of its own namespace (applicableTelemetries; pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Keep the access log and the metrics. To log less, use a filter; to save metrics, disable single metrics.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Dashboards show no requests of these workloads, and their access log is empty, while requests are answered.",
    wayOut: "Delete the Telemetry, or apply its previous version: logs and metrics are back within seconds.",
    silentWhen:
      "These proxies wrote neither before, as the mesh config and all Telemetries say together; or only the other side of requests, single metrics such as sizes, or tracing are turned off. It only warns if it is not known what the mesh config turns on or which waypoint a Service has, and if a Telemetry goes that turned them on.",
    page: "https://istio.io/latest/docs/reference/config/telemetry/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    // The mesh configs before the change: what a mesh config itself turns off is another problem.
    const losses = new Losses(before.mesh.get(telemetryDefaults, before.object));
    for (const [was, is] of pairsOf(before, after)) {
      yield;
      losses.add(was, is);
    }
    for (const loss of losses.all()) yield problemOf(loss, after.object.metadata.name);
  },
});

type Side = ComparedSide<typeof telemetryOfProxies | typeof telemetryAtWaypoints>;

/** The proxies of the namespace, and the waypoints that serve its Services, on both sides of a change. */
function* pairsOf(before: Side, after: Side): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.get(telemetryOfProxies, object));
  if (old !== undefined && now !== undefined && !now.isSame(old)) yield* now.pairsWith(old);
  yield* after.mesh
    .get(telemetryAtWaypoints, after.object)
    .pairsWith(before.mesh.get(telemetryAtWaypoints, before.object));
}

const effects = {
  "the access log": { isOn: writesLog, saidBy: logsBy },
  "the metrics": { isOn: writesMetrics, saidBy: metricsBy },
} as const;
type EffectName = keyof typeof effects;
const effectNames = Object.keys(effects) as readonly EffectName[];

interface Loss {
  /** The waypoint of another namespace that no longer writes it; undefined: proxies of the namespace itself. */
  readonly waypoint: string | undefined;
  readonly effect: EffectName;
  /** What turns it off, or turned it on. */
  readonly by: Telemetry;
  /** Whether it is turned off. Otherwise it is no longer turned on. */
  readonly isTurnedOff: boolean;
  /** What turns it off if nothing turns it on any more. */
  readonly hider: Telemetry | undefined;
  readonly isSure: boolean;
}

/** What proxies no longer write because they use other Telemetries. Proxies that use the same ones are looked at once. */
class Losses {
  readonly #defaults: readonly TelemetryDefaults[];
  readonly #numbers = new Map<Telemetry, number>();
  readonly #found = new Map<string, Loss>();
  readonly #known = new Map<string, readonly Loss[]>();

  constructor(defaults: readonly TelemetryDefaults[]) {
    this.#defaults = defaults;
  }

  add(was: TelemetryProxy, is: TelemetryProxy): void {
    if (areSame(was.telemetries, is.telemetries)) return;
    const key = [is.side, is.waypoint, this.#textOf(was.telemetries), this.#textOf(is.telemetries)].join();
    let losses = this.#known.get(key);
    if (losses === undefined)
      this.#known.set(
        key,
        (losses = effectNames.flatMap((effect) => this.#lossesOf(effect, is, [was.telemetries, is.telemetries]))),
      );
    for (const loss of losses) this.#enter({ ...loss, isSure: loss.isSure && is.isSure && was.isSure });
  }

  /** What is turned off first. Nobody needs to know that something else turned it on. */
  all(): readonly Loss[] {
    const all = [...this.#found.values()];
    const turnedOff = new Set(all.filter(({ isTurnedOff }) => isTurnedOff).map(({ effect }) => effect));
    return all.filter(({ effect, isTurnedOff }) => isTurnedOff || !turnedOff.has(effect));
  }

  #enter(loss: Loss): void {
    const key = `${loss.effect} ${loss.isTurnedOff} ${idOf(loss.by)}`;
    const known = this.#found.get(key);
    if (known === undefined || rankOf(loss) > rankOf(known)) this.#found.set(key, loss);
  }

  #textOf(telemetries: readonly Telemetry[]): string {
    const numbers = telemetries.map((one) => {
      const known = this.#numbers.get(one) ?? this.#numbers.size;
      this.#numbers.set(one, known);
      return known;
    });
    return numbers.join(" ");
  }

  #lossesOf(
    effect: EffectName,
    { side, waypoint }: TelemetryProxy,
    [old, now]: readonly [before: readonly Telemetry[], after: readonly Telemetry[]],
  ): readonly Loss[] {
    const { isOn, saidBy } = effects[effect];
    const lost = this.#defaults.filter((defaults) => isOn(old, defaults, side) && !isOn(now, defaults, side));
    const [defaults] = lost;
    if (defaults === undefined) return [];
    const isSure = lost.length === this.#defaults.length;
    const isOff = (telemetries: readonly Telemetry[]): boolean => saidBy(telemetries, defaults, side) === false;
    const known = new Set(old);
    const hiding = now.filter(
      (one) => !known.has(one) && (isOff([one]) || (isOff(now) && !isOff(now.filter((other) => other !== one)))),
    );
    if (hiding.length > 0)
      return hiding.map((by) => ({ waypoint, effect, by, isTurnedOff: true, hider: undefined, isSure }));
    const left = new Set(now);
    const by = old.findLast((one) => !left.has(one) && saidBy([one], defaults, side) !== false && mayShow(one));
    const hider = isOff(now) ? now.findLast((one) => isOff([one])) : undefined;
    return by === undefined ? [] : [{ waypoint, effect, by, isTurnedOff: false, hider, isSure }];
  }
}

/** What is sure comes first, then what happens at proxies of the namespace itself. */
const rankOf = ({ isSure, waypoint }: Loss): number => (isSure ? 2 : 0) + (waypoint === undefined ? 1 : 0);

function problemOf({ waypoint, effect, by, isTurnedOff, hider, isSure }: Loss, namespace: string): Problem {
  const whose =
    waypoint === undefined
      ? `proxies of namespace ${namespace}`
      : `waypoint ${waypoint} for Services of namespace ${namespace}`;
  const what = `${effect} of ${whose}`;
  if (isTurnedOff)
    return {
      at: [],
      message: `${idOf(by)} turns off ${what}`,
      key: `${idOf(by)} ${effect}`,
      related: [by],
      ...(isSure ? {} : { onlyWarns: "it is not known whether a proxy loses it" }),
    };
  const whoElse = hider === undefined ? "nothing else does" : `${idOf(hider)} turns it off`;
  return {
    at: [],
    message: `${idOf(by)} no longer turns on ${what}, and ${whoElse}`,
    key: `${idOf(by)} ${effect} again`,
    related: hider === undefined ? [] : [hider],
    onlyWarns: "whoever turned it on for a time may end that",
  };
}

/** Whether a Telemetry has what may turn on something that is off. */
const mayShow = ({ spec }: Telemetry): boolean =>
  spec.accessLogging.some(({ disabled }) => disabled !== true) ||
  spec.metrics.some(({ overrides }) => overrides.length === 0 || overrides.some(({ disabled }) => disabled !== true));
