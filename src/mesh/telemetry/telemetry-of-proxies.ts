import { idOf } from "../../kube/identity.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import { readers } from "../membership/control-plane.ts";
import { gatewaysOfNamespace, type KubernetesGateway } from "../membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { gatewayApiGroup, gatewayNameLabel, waypointClass } from "../objects/labels.ts";
import { Labelled } from "../objects/labelled.ts";
import { isServed } from "../objects/revision.ts";
import { isForAll, type ProxySide, telemetriesInOrder, type Telemetry } from "./merged-telemetry.ts";

/** A namespace and its own Telemetries that are for some of its proxies, and say something about their logs or metrics. */
export const telemetriesForSome = relation(
  "telemetriesForSome",
  namespaceByName,
  index("Telemetry", (telemetry, settings) =>
    isServed(telemetry, settings) && !isForAll(telemetry) && saysSomething(telemetry)
      ? [telemetry.metadata.namespace]
      : [],
  ),
);
const saysSomething = ({ spec }: Telemetry): boolean => spec.accessLogging.length + spec.metrics.length > 0;

/** A proxy of a namespace, or several of which only the selector or the target is known. */
export interface TelemetryProxy {
  /** The same one on both sides of a change. */
  readonly id: string;
  /** On which side of requests it is, for what a Telemetry matches with `mode`. */
  readonly side: ProxySide;
  /** Whether it is there for certain. */
  readonly isSure: boolean;
  /** All Telemetries that it uses, in the order in which they are merged. */
  readonly telemetries: readonly Telemetry[];
}

const reads = [
  telemetriesInOrder,
  telemetriesForSome,
  rootOfNamespace,
  readers,
  workloadsOfNamespace,
  gatewaysOfNamespace,
] as const;
type View = MeshView<(typeof reads)[number]>;

/**
 * Which Telemetries each proxy of a namespace uses: one of the root namespace, one of its own namespace, and all of its own
 * namespace that select or target it (Istio pilot/pkg/model/telemetry.go applicableTelemetries). What selects or targets
 * something in the root namespace is for the proxies of the root namespace alone.
 */
class TelemetryOfProxies {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  /** Those for all proxies, that of the root namespace first. */
  readonly forAll: readonly Telemetry[];
  readonly forSome: readonly Telemetry[];
  #proxies: readonly TelemetryProxy[] | undefined;

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
    const read = mesh.get(readers, namespace);
    const root = mesh
      .related(rootOfNamespace, namespace)
      .filter(({ metadata }) => metadata.name !== namespace.metadata.name)
      .flatMap((one) => read.meshWideOfProxies(mesh.get(telemetriesInOrder, one))[0] ?? []);
    const [own] = read.ownOfProxies(mesh.get(telemetriesInOrder, namespace));
    this.forAll = own === undefined ? root : [...root, own];
    this.forSome = read.ownOfProxies(mesh.related(telemetriesForSome, namespace)).toSorted(oldestFirst);
  }

  get proxies(): readonly TelemetryProxy[] {
    return (this.#proxies ??= [...this.#find()]);
  }

  *#find(): Iterable<TelemetryProxy> {
    const bySelector = this.forSome.filter(({ spec }) => targetsOf(spec).length === 0);
    const byTarget = new Map<string, Telemetry[]>();
    for (const telemetry of this.forSome)
      for (const target of targetsOf(telemetry.spec)) enter(byTarget, target, telemetry);
    yield* this.#workloads(bySelector);
    yield* this.#unknownWorkloads(bySelector);
    yield* this.#gateways(bySelector, byTarget);
    // Whether a Service has a waypoint is not asked.
    for (const [target, telemetries] of byTarget)
      if (!target.startsWith(gatewayTarget("")) || !this.#mesh.knowsAll("KubernetesGateway"))
        yield this.#proxy({ id: target, side: "SERVER", isSure: false }, telemetries);
  }

  *#workloads(bySelector: readonly Telemetry[]): Iterable<TelemetryProxy> {
    const all = this.#mesh.related(workloadsOfNamespace, this.#namespace).filter(isOwnProxy);
    const labelled = new Labelled(all, ({ pod }) => pod.labels);
    const selecting = new Map<Workload, Telemetry[]>();
    for (const telemetry of bySelector)
      for (const workload of labelled.selected(labelsOf(telemetry))) enter(selecting, workload, telemetry);
    for (const workload of all) {
      const capture = isProxy(workload) ? "sidecar" : captureOf(workload, this.#namespace);
      if (capture !== "sidecar" && capture !== "unknown") continue;
      const side = isProxy(workload) ? "CLIENT" : "SERVER";
      const proxy = { id: idOf(workload), side, isSure: capture === "sidecar" } as const;
      yield this.#proxy(proxy, selecting.get(workload) ?? nothing);
    }
  }

  /** Those that there may be if not all workloads are known: without special labels, and with those that are selected. */
  *#unknownWorkloads(bySelector: readonly Telemetry[]): Iterable<TelemetryProxy> {
    if (this.#mesh.knowsAll("Workload")) return;
    yield this.#proxy({ id: "any workload", side: "SERVER", isSure: false }, nothing);
    for (const [labels, telemetries] of Map.groupBy(bySelector, (one) => JSON.stringify(labelsOf(one))))
      yield this.#proxy({ id: `workload ${labels}`, side: "SERVER", isSure: false }, telemetries);
  }

  /** A gateway is on the client's side, a waypoint on that of the server (telemetry.go workloadMode). */
  *#gateways(
    bySelector: readonly Telemetry[],
    byTarget: ReadonlyMap<string, readonly Telemetry[]>,
  ): Iterable<TelemetryProxy> {
    const byName = Map.groupBy(bySelector, nameSelected);
    for (const gateway of this.#mesh.related(gatewaysOfNamespace, this.#namespace)) {
      const { name } = gateway.metadata;
      const targeting = byTarget.get(gatewayTarget(name)) ?? nothing;
      const selecting = isWaypoint(gateway) ? nothing : (byName.get(name) ?? nothing);
      yield this.#proxy(
        { id: idOf(gateway), side: isWaypoint(gateway) ? "SERVER" : "CLIENT", isSure: true },
        selecting.length === 0 ? targeting : [...targeting, ...selecting].toSorted(oldestFirst),
      );
    }
  }

  #proxy(proxy: Omit<TelemetryProxy, "telemetries">, telemetries: readonly Telemetry[]): TelemetryProxy {
    return { ...proxy, telemetries: telemetries.length === 0 ? this.forAll : [...this.forAll, ...telemetries] };
  }
}

/** Which Telemetries each proxy of a namespace uses. */
export const telemetryOfProxies = fact(
  "telemetryOfProxies",
  "Namespace",
  reads,
  (namespace, mesh) => new TelemetryOfProxies(namespace, mesh),
);

function enter<K>(telemetries: Map<K, Telemetry[]>, key: K, telemetry: Telemetry): void {
  const known = telemetries.get(key);
  if (known === undefined) telemetries.set(key, [telemetry]);
  else known.push(telemetry);
}

const nothing: readonly Telemetry[] = Object.freeze([]);

/** The pods of a Gateway of the Gateway API are represented by the Gateway. */
const isOwnProxy = ({ pod }: Workload): boolean => pod.labels[gatewayNameLabel] === undefined;
const isWaypoint = ({ spec }: KubernetesGateway): boolean => spec.gatewayClassName === waypointClass;

const labelsOf = ({ spec }: Telemetry): Readonly<Record<string, string>> => spec.selector?.matchLabels ?? noLabels;
const noLabels = Object.freeze({});

/** The Gateway whose pods a Telemetry selects by the label of its name alone: what other labels they have is not known. */
function nameSelected(telemetry: Telemetry): string | undefined {
  const { [gatewayNameLabel]: name, ...others } = labelsOf(telemetry);
  return Object.keys(others).length === 0 ? name : undefined;
}

/** The objects that a Telemetry targets in its own namespace. */
function targetsOf({ targetRef, targetRefs }: Telemetry["spec"]): readonly string[] {
  const refs = targetRefs.length === 0 && targetRef !== undefined ? [targetRef] : targetRefs;
  return refs.map(({ group, kind, name }) => `${group === "core" ? "" : group}/${kind}/${name}`);
}
const gatewayTarget = (name: string): string => `${gatewayApiGroup}/Gateway/${name}`;
