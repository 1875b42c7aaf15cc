import type { MeshView } from "../../view/view.ts";
import { type Capture, captureOf, enrollmentOf } from "../membership/capture.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import {
  type Interception,
  interceptionOf,
  interceptsAll,
  isIntercepted,
  withBound,
} from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { atPort, type NamespaceMtls, type Plane } from "../mtls/effective-mtls.ts";
import type { EffectiveMode, Modes } from "../mtls/peer-authentications.ts";
import { Labelled } from "../objects/labelled.ts";
import { boundPorts, type sidecarsOfPassing } from "../traffic/bound-ports.ts";
import type { Destination } from "./destinations.ts";

/** What {@link Servers} reads of a destination. */
export type ServedHost = Pick<Destination, "labels" | "workloads" | "workloadPort">;

/** Workloads, or future pods, of a host that clients reach at a port with the TLS that a DestinationRule sets. */
export interface Arrival<Host = Destination> {
  readonly destination: Host;
  /** The workloads with the same capture and server; empty: no workload of the host is known. */
  readonly workloads: readonly Workload[];
  readonly capture: Capture;
  /**
   * The mTLS mode of their proxies at this port; undefined: they have no proxy, or an annotation makes the port bypass it.
   */
  readonly server: EffectiveMode | undefined;
}

/** Finds the arrivals in one namespace. */
export class Servers<Host extends ServedHost = Destination> {
  readonly #namespace: Namespace;
  readonly #mtls: NamespaceMtls;
  readonly #mesh: MeshView<typeof sidecarsOfPassing>;
  readonly #pods = new Map<Workload, Pod>();
  readonly #lists = new Map<readonly Workload[], Pods>();
  readonly #modes = new Map<EffectiveMode["by"], Map<string, EffectiveMode>>();
  readonly #arrivals = new Map<Host, Map<string, readonly Arrival<Host>[]>>();

  constructor(namespace: Namespace, mtls: NamespaceMtls, mesh: MeshView<typeof sidecarsOfPassing>) {
    this.#namespace = namespace;
    this.#mtls = mtls;
    this.#mesh = mesh;
  }

  /** If no workload of the host is known, those are assumed that its selector describes. */
  arrivals(
    destination: Host,
    ports: () => readonly number[],
    subset: Destination["labels"] | undefined,
  ): readonly Arrival<Host>[] {
    const all = this.#podsBehind(destination);
    const own = subset === undefined ? undefined : all.ofSubset(subset);
    const pods = own === undefined ? all : this.#podsOf(own);
    const known = this.#arrivals.get(destination) ?? new Map<string, readonly Arrival<Host>[]>();
    this.#arrivals.set(destination, known);
    const numbers = pods.isWhole ? [] : ports();
    const key = `${pods.id} ${numbers.join()}`;
    let found = known.get(key);
    if (found === undefined) {
      const alike = pods.isWhole ? pods.alike() : this.#alikeAt(destination, pods, numbers);
      found = alike.map((one) => arrivalAt(destination, one));
      known.set(key, found);
    }
    return found;
  }

  /** The arrivals if they are the same for every port of the destination; undefined: they are not. */
  arrivalsAtAllPorts(destination: Host): readonly Arrival<Host>[] | undefined {
    const pods = this.#podsBehind(destination);
    return pods.isWhole ? pods.alike().map((one) => arrivalAt(destination, one)) : undefined;
  }

  #podsBehind(destination: Host): Pods {
    const { workloads } = destination;
    return workloads.length > 0 ? this.#podsOf(workloads) : new Pods(-1, [this.#podToCome(destination)]);
  }

  #podsOf(workloads: readonly Workload[]): Pods {
    let pods = this.#lists.get(workloads);
    if (pods === undefined) {
      this.#mesh.visited(workloads.length);
      pods = new Pods(
        this.#lists.size,
        workloads.map((workload) => this.#podOf(workload)),
      );
      this.#lists.set(workloads, pods);
    }
    return pods;
  }

  #alikeAt(destination: Host, { all }: Pods, ports: readonly number[]): readonly Alike[] {
    return together(all, (pod) => {
      if (pod.isWhole) return [pod.modes.mode];
      this.#mesh.visited(ports.length);
      return new Set(ports.map((port) => this.#serverAt(pod, destination.workloadPort(port, pod.workload))));
    });
  }

  #serverAt({ modes, interception }: Pod, number: number | undefined): EffectiveMode | undefined {
    if (number === undefined) return modes.mode;
    const isTaken = interception === undefined || isIntercepted(interception, number);
    return isTaken ? this.#same(atPort(modes, number)) : undefined;
  }

  #podOf(workload: Workload): Pod {
    let pod = this.#pods.get(workload);
    if (pod === undefined) {
      const capture = captureOf(workload, this.#namespace, this.#mesh.settings);
      const plane: Plane = capture === "ambient" ? "ambient" : "sidecar";
      const modes = this.#mtls.of(workload.pod.labels, plane);
      const redirected = interceptionOf(workload.pod, plane);
      const interception = plane === "sidecar" ? withBound(redirected, boundPorts(workload, this.#mesh)) : redirected;
      pod = this.#podWith({ workload, capture, modes, interception });
      this.#pods.set(workload, pod);
    }
    return pod;
  }

  #podToCome({ labels }: Host): Pod {
    const capture = captureOfComing(this.#namespace, this.#mesh.settings);
    const modes = this.#mtls.of(labels, capture === "ambient" ? "ambient" : "sidecar");
    return this.#podWith({ workload: undefined, capture, modes, interception: undefined });
  }

  #podWith({ workload, capture, modes, interception }: Omit<Pod, "isWhole">): Pod {
    const isWhole = modes.ports.size === 0 && (interception === undefined || interceptsAll(interception));
    const mode = this.#same(modes.mode);
    const same = mode === modes.mode ? modes : { ...modes, mode };
    return { workload, capture, interception, modes: same, isWhole: capture === "none" || isWhole };
  }

  /** The same object for equal modes of the same policy. */
  #same(mode: EffectiveMode): EffectiveMode {
    let known = this.#modes.get(mode.by);
    if (known === undefined) this.#modes.set(mode.by, (known = new Map()));
    let same = known.get(mode.mode);
    if (same === undefined) known.set(mode.mode, (same = mode));
    return same;
  }
}

/** A pod with the mTLS modes of its ports. */
interface Pod {
  /** Undefined: no pod is known. */
  readonly workload: Workload | undefined;
  readonly capture: Capture;
  readonly modes: Modes;
  readonly interception: Interception | undefined;
  /** Whether all its ports have the same mode. */
  readonly isWhole: boolean;
}

/** The pods of a host or of a subset. */
class Pods {
  readonly id: number;
  readonly all: readonly Pod[];
  readonly isWhole: boolean;
  #alike: readonly Alike[] | undefined;
  #labelled: Labelled<Workload> | undefined;

  constructor(id: number, all: readonly Pod[]) {
    this.id = id;
    this.all = all;
    this.isWhole = all.every(({ isWhole }) => isWhole);
  }

  /** The pods by capture and mode; only if all their ports have the same mode. */
  alike(): readonly Alike[] {
    this.#alike ??= this.#asOne() ?? together(this.all, ({ modes }) => [modes.mode]);
    return this.#alike;
  }

  /** If all pods have the same capture and mode, as most have; undefined: they have not. */
  #asOne(): readonly Alike[] | undefined {
    const [first] = this.all;
    if (first === undefined) return undefined;
    const { capture, modes } = first;
    const isSame = this.all.every((pod) => pod.capture === capture && pod.modes.mode === modes.mode);
    if (!isSame) return undefined;
    // A list of one is made as such, because one that grows takes several times its memory, and most hosts have one workload.
    const { workload: only } = first;
    const isAlone = this.all.length === 1 && only !== undefined;
    const workloads = isAlone ? [only] : this.all.flatMap(({ workload }) => workload ?? []);
    return [{ workloads, capture, server: capture === "none" ? undefined : modes.mode }];
  }

  /** The workloads with the labels of a subset, in the same list for the same labels; undefined: all pods represent it. */
  ofSubset(labels: Destination["labels"]): readonly Workload[] | undefined {
    this.#labelled ??= new Labelled(
      this.all.flatMap(({ workload }) => workload ?? []),
      ({ pod }) => pod.labels,
    );
    const own = this.#labelled.selected(labels);
    return own.length === 0 || own.length === this.all.length ? undefined : own;
  }
}

/** Pods with the same capture and mode. */
type Alike = Omit<Arrival, "destination">;

const arrivalAt = <Host>(destination: Host, { workloads, capture, server }: Alike): Arrival<Host> => ({
  destination,
  workloads,
  capture,
  server,
});

function together(
  pods: readonly Pod[],
  serversOf: (pod: Pod) => Iterable<EffectiveMode | undefined>,
): readonly Alike[] {
  const found = new Map<Capture, Map<EffectiveMode | undefined, Workload[]>>();
  for (const pod of pods) {
    const { workload, capture } = pod;
    const byServer = found.get(capture) ?? new Map<EffectiveMode | undefined, Workload[]>();
    found.set(capture, byServer);
    for (const server of capture === "none" ? [undefined] : serversOf(pod)) {
      const workloads = byServer.get(server) ?? [];
      byServer.set(server, workloads);
      if (workload !== undefined) workloads.push(workload);
    }
  }
  return [...found].flatMap(([capture, byServer]) =>
    [...byServer].map(([server, workloads]) => ({ workloads, capture, server })),
  );
}

function captureOfComing(namespace: Namespace, settings: InjectorSettings): Capture {
  const enrollment = enrollmentOf(namespace, settings);
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return "sidecar";
  if (enrollment === "ambient" || enrollment === "unknown") return enrollment;
  return "none";
}
