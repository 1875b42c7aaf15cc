import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { meshConfigsOfNamespace } from "../../mesh/membership/mesh-config.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import {
  defaultsOf,
  logsBy,
  metricsBy,
  possibleDefaults,
  type ProxySide,
  type Telemetry,
  type TelemetryDefaults,
  writesLog,
  writesMetrics,
} from "../../mesh/telemetry/merged-telemetry.ts";
import { areSame, type TelemetryProxy, telemetryOfProxies } from "../../mesh/telemetry/telemetry-of-proxies.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [telemetryOfProxies, meshConfigsOfNamespace] as const;

export const telemetryHidesTraffic = defineRule({
  id: "telemetry-hides-traffic",
  subject: "Namespace",
  reads,
  worksWithout: ["KubernetesGateway", "MeshConfig", "Telemetry", "Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  summary:
    "A Telemetry turns off an access log or metrics that proxies of a namespace write, or one that turned them on no longer does.",
  why: "A Telemetry with `disabled: true` turns off access logs or metrics at the proxies that it applies to, also those that the mesh config or the root namespace turns on (Istio pilot/pkg/model/telemetry.go). Requests then leave no trace by which an attack or a wrong policy could be found. For a gateway, the client's side of a Telemetry counts; for sidecars and waypoints, that of the server.",
  fix: "Keep the access log and the metrics. To log less, use a filter; to save metrics, disable single metrics.",
  incident: {
    symptoms: ["no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Dashboards show no requests of these workloads, and their access log is empty, while requests are answered.",
    wayOut: "Delete the Telemetry, or apply its previous version: logs and metrics are back within seconds.",
    silentWhen:
      "These proxies wrote neither before, as the mesh config and all Telemetries say together; or only the other side of requests, single metrics such as sizes, or tracing are turned off. It only warns if it is not known what the mesh config turns on, if the Telemetry targets a Service, and if a Telemetry goes that turned them on.",
    page: "https://istio.io/latest/docs/reference/config/telemetry/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const [old, now] = [before, after].map(({ object, mesh }) => mesh.get(telemetryOfProxies, object));
    if (old === undefined || now === undefined || now.isSame(old)) return;
    const losses = new Losses(defaultsAt(before));
    for (const [was, is] of now.pairsWith(old)) {
      yield;
      losses.add(was, is);
    }
    for (const loss of losses.all()) yield problemOf(loss, after.object.metadata.name);
  },
});

/** The mesh configs before the change: what a mesh config itself turns off is another problem. */
function defaultsAt({
  object,
  mesh,
}: {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof meshConfigsOfNamespace>;
}): readonly TelemetryDefaults[] {
  const configs = mesh.related(meshConfigsOfNamespace, object);
  return configs.length === 0 ? possibleDefaults : configs.map((config) => defaultsOf(config.mesh));
}

const effects = {
  "the access log": { isOn: writesLog, saidBy: logsBy },
  "the metrics": { isOn: writesMetrics, saidBy: metricsBy },
} as const;
type EffectName = keyof typeof effects;
const effectNames = Object.keys(effects) as readonly EffectName[];

interface Loss {
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
    const key = [is.side, this.#textOf(was.telemetries), this.#textOf(is.telemetries)].join();
    let losses = this.#known.get(key);
    if (losses === undefined)
      this.#known.set(
        key,
        (losses = effectNames.flatMap((effect) => this.#lossesOf(effect, is.side, [was.telemetries, is.telemetries]))),
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
    if (this.#found.get(key)?.isSure !== true) this.#found.set(key, loss);
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
    side: ProxySide,
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
    if (hiding.length > 0) return hiding.map((by) => ({ effect, by, isTurnedOff: true, hider: undefined, isSure }));
    const left = new Set(now);
    const by = old.findLast((one) => !left.has(one) && saidBy([one], defaults, side) !== false && mayShow(one));
    const hider = isOff(now) ? now.findLast((one) => isOff([one])) : undefined;
    return by === undefined ? [] : [{ effect, by, isTurnedOff: false, hider, isSure }];
  }
}

function problemOf({ effect, by, isTurnedOff, hider, isSure }: Loss, namespace: string): Problem {
  const what = `${effect} of proxies of namespace ${namespace}`;
  if (isTurnedOff)
    return {
      at: [],
      message: `${idOf(by)} turns off ${what}`,
      key: `${idOf(by)} ${effect}`,
      related: [by],
      ...(isSure ? {} : { atMost: "warn" as const }),
    };
  const whoElse = hider === undefined ? "nothing else does" : `${idOf(hider)} turns it off`;
  return {
    at: [],
    message: `${idOf(by)} no longer turns on ${what}, and ${whoElse}`,
    key: `${idOf(by)} ${effect} again`,
    related: hider === undefined ? [] : [hider],
    // Whoever turned on a log, to look for an error, may end that.
    atMost: "warn",
  };
}

/** Whether a Telemetry has what may turn on something that is off. */
const mayShow = ({ spec }: Telemetry): boolean =>
  spec.accessLogging.some(({ disabled }) => disabled !== true) ||
  spec.metrics.some(({ overrides }) => overrides.length === 0 || overrides.some(({ disabled }) => disabled !== true));
