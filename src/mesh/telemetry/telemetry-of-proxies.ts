import { idOf } from "../../kube/identity.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import { readers } from "../membership/control-plane.ts";
import { gatewaysOfNamespace, isIstiosWaypoint } from "../membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadPairs, workloadsOfNamespace } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import { Labelled } from "../objects/labelled.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { isForAll, type ProxySide, telemetriesInOrder, type Telemetry } from "./merged-telemetry.ts";
import { hasTargets, targetNamed, targetsOf } from "./targets.ts";

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
  /** The waypoint of another namespace that it is, `namespace/name`. */
  readonly waypoint?: string;
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
 * Which Telemetries each proxy of a namespace uses, except waypoints (`telemetryAtWaypoints`): one of the root namespace, one of its own namespace, and all of its own
 * namespace that select or target it (Istio pilot/pkg/model/telemetry.go applicableTelemetries). What selects or targets
 * something in the root namespace is for the proxies of the root namespace alone.
 */
class TelemetryOfProxies {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  /** Those for all proxies, that of the root namespace first. */
  readonly forAll: readonly Telemetry[];
  readonly forSome: readonly Telemetry[];
  #selecting: ReadonlyMap<Workload, readonly Telemetry[]> | undefined;

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

  /**
   * Whether each proxy uses the same Telemetries as on the other side of a change. A workload whose labels change may not.
   */
  isSame(other: TelemetryOfProxies): boolean {
    if (this === other) return true;
    if (!areSame(this.forAll, other.forAll) || !areSame(this.forSome, other.forSome)) return false;
    if (this.forSome.length === 0) return true;
    const [now, old] = [this.#all, other.#all];
    if (now === old) return true;
    for (const [was, is] of workloadPairs(old, now))
      if (was !== is && selectorText(was.pod.labels) !== selectorText(is.pod.labels)) return false;
    return true;
  }

  get #all(): readonly Workload[] {
    return this.#mesh.related(workloadsOfNamespace, this.#namespace);
  }

  /**
   * Proxies on both sides of a change, this one being after it. Of the workloads that no Telemetry selects on either side, there
   * is one that stands for all of its kind.
   */
  *pairsWith(before: TelemetryOfProxies): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
    yield* this.#workloadsWith(before);
    const known = new Map([...before.#others()].map((proxy) => [proxy.id, proxy]));
    for (const is of this.#others()) {
      const was = known.get(is.id);
      if (was !== undefined) yield [was, is];
    }
  }

  *#workloadsWith(before: TelemetryOfProxies): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
    const [selected, old] = [this.#selected(), before.#selected()];
    const represented = new Set<ProxySide>();
    for (const [was, is] of pairsOf(before.#all, this.#all)) {
      const isSelected = selected.has(is) || old.has(was);
      if (!isSelected && represented.has(sideOf(is))) continue;
      const [wasProxy, isProxy] = [before.ofWorkload(was), this.ofWorkload(is)];
      if (wasProxy === undefined || isProxy === undefined) continue;
      if (!isSelected && wasProxy.isSure && isProxy.isSure) represented.add(isProxy.side);
      yield [wasProxy, isProxy];
    }
  }

  /** The workloads that Telemetries select, and these. */
  #selected(): ReadonlyMap<Workload, readonly Telemetry[]> {
    if (this.#selecting !== undefined) return this.#selecting;
    const selecting = new Map<Workload, Telemetry[]>();
    const bySelector = this.#bySelector;
    const labelled = new Labelled(bySelector.length === 0 ? [] : this.#all.filter(isOwnProxy), ({ pod }) => pod.labels);
    for (const telemetry of bySelector)
      for (const workload of labelled.selected(labelsOf(telemetry))) enter(selecting, workload, telemetry);
    return (this.#selecting = selecting);
  }

  get #bySelector(): readonly Telemetry[] {
    return this.forSome.filter((telemetry) => !hasTargets(telemetry));
  }

  /** What the proxy of a workload uses. Undefined: it has no proxy, or that of a Gateway. */
  ofWorkload(workload: Workload): TelemetryProxy | undefined {
    if (!isOwnProxy(workload)) return undefined;
    const capture = isProxy(workload) ? "sidecar" : captureOf(workload, this.#namespace, this.#mesh.settings);
    if (capture !== "sidecar" && capture !== "unknown") return undefined;
    const proxy = { id: idOf(workload), side: sideOf(workload), isSure: capture === "sidecar" };
    return this.#proxy(proxy, this.#selected().get(workload) ?? nothing);
  }

  /** All that are no workloads. */
  *#others(): Iterable<TelemetryProxy> {
    const bySelector = this.#bySelector;
    const byTarget = new Map<string, Telemetry[]>();
    for (const telemetry of this.forSome) for (const target of targetsOf(telemetry)) enter(byTarget, target, telemetry);
    yield* this.#unknownWorkloads(bySelector);
    yield* this.#gateways(bySelector, byTarget);
    if (this.#mesh.knowsAll("KubernetesGateway")) return;
    for (const [target, telemetries] of byTarget)
      if (target.startsWith(targetNamed("Gateway", "")))
        yield this.#proxy({ id: target, side: "SERVER", isSure: false }, telemetries);
  }

  /** Those that there may be if not all workloads are known: without special labels, and with those that are selected. */
  *#unknownWorkloads(bySelector: readonly Telemetry[]): Iterable<TelemetryProxy> {
    if (this.#mesh.knowsAll("Workload")) return;
    yield this.#proxy({ id: "any workload", side: "SERVER", isSure: false }, nothing);
    for (const [labels, telemetries] of Map.groupBy(bySelector, (one) => JSON.stringify(labelsOf(one))))
      yield this.#proxy({ id: `workload ${labels}`, side: "SERVER", isSure: false }, telemetries);
  }

  /** Gateways are on the client's side (telemetry.go workloadMode). */
  *#gateways(
    bySelector: readonly Telemetry[],
    byTarget: ReadonlyMap<string, readonly Telemetry[]>,
  ): Iterable<TelemetryProxy> {
    const byName = Map.groupBy(bySelector, nameSelected);
    for (const gateway of this.#mesh.related(gatewaysOfNamespace, this.#namespace)) {
      if (isIstiosWaypoint(gateway, this.#mesh.settings)) continue;
      const { name } = gateway.metadata;
      const targeting = byTarget.get(targetNamed("Gateway", name)) ?? nothing;
      const selecting = byName.get(name) ?? nothing;
      yield this.#proxy(
        { id: idOf(gateway), side: "CLIENT", isSure: true },
        selecting.length === 0 ? targeting : [...targeting, ...selecting].toSorted(oldestFirst),
      );
    }
  }

  #proxy(proxy: Omit<TelemetryProxy, "telemetries">, telemetries: readonly Telemetry[]): TelemetryProxy {
    return { ...proxy, telemetries: telemetries.length === 0 ? this.forAll : [...this.forAll, ...telemetries] };
  }
}

/** Which Telemetries each proxy of a namespace uses, except waypoints. */
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

const sideOf = (workload: Workload): ProxySide => (isProxy(workload) ? "CLIENT" : "SERVER");

/** Workloads of both sides. Most changes change none. */
function* pairsOf(old: readonly Workload[], now: readonly Workload[]): Iterable<readonly [Workload, Workload]> {
  if (old !== now) yield* workloadPairs(old, now);
  else for (const workload of now) yield [workload, workload];
}

/** Whether two lists are the same Telemetries, not only equal ones. */
export const areSame = (some: readonly Telemetry[], others: readonly Telemetry[]): boolean =>
  some.length === others.length && some.every((one, i) => one === others[i]);

/** The pods of a Gateway of the Gateway API are represented by the Gateway. */
const isOwnProxy = ({ pod }: Workload): boolean => pod.labels[gatewayNameLabel] === undefined;

const labelsOf = ({ spec }: Telemetry): Readonly<Record<string, string>> => spec.selector?.matchLabels ?? noLabels;
const noLabels = Object.freeze({});

/** The Gateway whose pods a Telemetry selects by the label of its name alone: what other labels they have is not known. */
function nameSelected(telemetry: Telemetry): string | undefined {
  const { [gatewayNameLabel]: name, ...others } = labelsOf(telemetry);
  return Object.keys(others).length === 0 ? name : undefined;
}
