import type { Labels } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import { PathMap } from "../../view/path-map.ts";
import type { MeshView } from "../../view/view.ts";
import { listens } from "../authorization/enforcement.ts";
import { captureOf, isEnrolled } from "../membership/capture.ts";
import { captured } from "../membership/captured.ts";
import { isNeverRedirected, portsOfProbes } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { formerOf, type Workload } from "../membership/workloads.ts";
import {
  acceptsPlaintext,
  atPort,
  mtls,
  type NamespaceMtls,
  type PeerAuthentication,
  type Plane,
  planes,
  planesOfNamespace,
} from "./effective-mtls.ts";
import { declared, type EffectiveMode, isWide, type Modes, portModes } from "./peer-authentications.ts";

/** A namespace and a view of the mesh. */
export interface PlaintextSide {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof mtls | typeof captured>;
}

/** Workloads of a namespace, or one of their ports, that accept plaintext, and the policy that decides it. */
export interface AcceptedPlaintext {
  /** The selector of the policy that decides; undefined: workloads that no policy with a selector decides for. */
  readonly labels: Labels | undefined;
  /** Undefined: all ports that no policy lists. */
  readonly port: number | undefined;
  readonly is: EffectiveMode;
  /** Set if the other data plane refuses plaintext. */
  readonly onlyAs: Plane | undefined;
  /** `existing`: some workload certainly does; `new`: nothing is captured yet; `possible`: not all workloads are known. */
  readonly who: "existing" | "new" | "possible";
  /** Whether some workload accepts it only since the change. */
  readonly isIntroduced: boolean;
}

/**
 * Where the workloads of a namespace accept plaintext, each policy and port once. Workloads outside the mesh require
 * nothing, whatever the policies say, and are left out, as are proxies and Jobs that do not listen. With `before`, only
 * the places that a change introduces are found, and all of them if the Namespace itself changes or `isAsked` is set. Yields after
 * each workload, so that a rule can pause.
 */
export function* plaintextIn(
  after: PlaintextSide,
  before?: PlaintextSide,
  isAsked = false,
): Generator<undefined, readonly AcceptedPlaintext[]> {
  const is = after.mesh.get(mtls, after.object);
  if (is.levels.workload.length === 0 && planes.every((plane) => !acceptsPlaintext(is.wide(plane)))) return [];
  const search = new Search(after, before, isAsked);
  yield* search.ofWorkloads();
  // Nothing changed for workloads that are not known.
  if (!search.isChanged) return search.found;
  if (!after.mesh.knowsAll("Workload")) search.ofUnknown();
  else if (!search.isAnyCaptured) search.ofNew();
  return search.found;
}

const isSamePolicies = (was: NamespaceMtls, is: NamespaceMtls): boolean =>
  (["mesh", "namespace", "workload"] as const).every((level) => {
    const [a, b] = [was.levels[level], is.levels[level]];
    return a === b || (a.length === b.length && a.every((policy, i) => policy === b[i]));
  });

/** What a workload accepted before the change; undefined: it did not exist. */
interface Known {
  /** For each data plane that may have captured it. Without one it was outside the mesh and accepted everything. */
  readonly modes: readonly Modes[];
}

/** Workloads with these labels, as one data plane captures them. */
interface Asked {
  readonly labels: Labels;
  /** Undefined: workloads that are created later. */
  readonly pod?: Workload["pod"];
  readonly plane: Plane;
  readonly who: AcceptedPlaintext["who"];
  readonly known: Known | undefined;
}

class Search {
  /** Whether a workload that did not change may accept plaintext only now, or is asked for. */
  readonly isChanged: boolean;
  /** Whether what the change does not introduce is asked for too. */
  readonly #isAsked: boolean;
  readonly #after: PlaintextSide;
  readonly #before: PlaintextSide | undefined;
  readonly #is: NamespaceMtls;
  readonly #was: NamespaceMtls | undefined;
  readonly #found = new Map<string, AcceptedPlaintext>();
  /** By the modes after the change and what is known of those before it: who was looked at, as which data plane. */
  readonly #seen = new PathMap<Modes | Known, Set<string>>();
  readonly #knowns = new PathMap<Modes, Known>();

  constructor(after: PlaintextSide, before: PlaintextSide | undefined, isAsked: boolean) {
    this.#after = after;
    this.#before = before;
    this.#is = after.mesh.get(mtls, after.object);
    this.#was = before?.mesh.get(mtls, before.object);
    this.#isAsked = isAsked || before === undefined || before.object !== after.object;
    this.isChanged =
      this.#isAsked ||
      this.#was === undefined ||
      before?.mesh.settings !== after.mesh.settings ||
      !isSamePolicies(this.#was, this.#is);
  }

  get found(): readonly AcceptedPlaintext[] {
    const all = [...this.#found.values()];
    return this.#isAsked ? all : all.filter(({ isIntroduced }) => isIntroduced);
  }

  get isAnyCaptured(): boolean {
    return this.#workloads.some((workload) => planesOf(workload, this.#after).length > 0);
  }

  *ofWorkloads(): Generator<undefined, void> {
    const concerned = this.#concerned();
    if (concerned.length === 0) return;
    const there = this.#before?.mesh.get(captured, this.#before.object).workloads.all;
    const former = there === undefined ? () => undefined : formerOf(there, this.#all);
    for (const workload of concerned) {
      yield undefined;
      const before = former(workload);
      const planes = planesOf(workload, this.#after);
      const known = before === undefined ? undefined : this.#known(before);
      const who = planes.length === 1 ? "existing" : "possible";
      for (const plane of planes) this.#add({ labels: workload.pod.labels, pod: workload.pod, plane, who, known });
    }
  }

  /** Workloads that are created later. Where no label enrolls them, they are outside the mesh. */
  ofNew(): void {
    if (isEnrolled(this.#after.object, this.#after.mesh.settings) !== false) this.#addFuture(noLabels, "new");
  }

  /** Workloads that the view may lack, which only their labels distinguish. */
  ofUnknown(): void {
    if (isEnrolled(this.#after.object, this.#after.mesh.settings) === false) return;
    this.#addFuture(noLabels, "possible");
    for (const { spec } of this.#is.levels.workload)
      this.#addFuture(spec.selector?.matchLabels ?? noLabels, "possible");
  }

  get #workloads(): readonly Workload[] {
    return this.#all.filter(listens);
  }

  get #all(): readonly Workload[] {
    return this.#after.mesh.get(captured, this.#after.object).workloads.all;
  }

  /** The workloads that the change can concern. */
  #concerned(): readonly Workload[] {
    if (this.#before === undefined || this.isChanged) return this.#workloads;
    const known = new Set(this.#before.mesh.get(captured, this.#before.object).workloads.all);
    return this.#workloads.filter((workload) => !known.has(workload));
  }

  #known(workload: Workload): Known {
    return this.#knownAs(workload.pod.labels, planesOf(workload, this.#before ?? this.#after));
  }

  /** The same object for the same modes. */
  #knownAs(labels: Labels, planes: readonly Plane[]): Known {
    const was = this.#was ?? this.#is;
    let known = this.#knowns;
    for (const plane of planes) known = known.next(was.of(labels, plane));
    return (known.value ??= { modes: planes.map((plane) => was.of(labels, plane)) });
  }

  #addFuture(labels: Labels, who: AcceptedPlaintext["who"]): void {
    for (const plane of planesOfNamespace(this.#after.object, this.#after.mesh.settings).planes) {
      const known = this.#was === undefined ? undefined : this.#knownAs(labels, [plane]);
      this.#add({ labels, plane, who, known });
    }
  }

  #add(asked: Asked): void {
    const modes = this.#is.of(asked.labels, asked.plane);
    // Workloads with the same modes before and after the change accept the same.
    const alike = this.#seen.next(modes).next(asked.known ?? isNew);
    const unread = portsOfProxy(asked, modes);
    const by = `${asked.who} ${asked.plane} ${unread.join(" ")}`;
    if (alike.value?.has(by)) return;
    (alike.value ??= new Set()).add(by);
    if (acceptsPlaintext(modes.mode)) this.#addPlace(asked, undefined, modes.mode);
    for (const [port, mode] of modes.ports)
      if (acceptsPlaintext(mode) && !isOfWhole(mode, modes) && !unread.includes(port))
        this.#addPlace(asked, port, mode);
  }

  #addPlace(asked: Asked, port: number | undefined, is: EffectiveMode): void {
    const key = `${port ?? "all"} ${is.by === undefined ? "" : idOf(is.by)}`;
    const there = this.#found.get(key);
    const onlyAs = this.#onlyAs(asked, port);
    const found: AcceptedPlaintext = {
      labels: selectorOf(is),
      port,
      is,
      onlyAs,
      who: asked.who,
      isIntroduced: !didAccept(asked.known, port),
    };
    this.#found.set(key, there === undefined ? found : both(there, found));
  }

  #onlyAs({ labels, plane }: Asked, port: number | undefined): Plane | undefined {
    const other = this.#is.of(labels, plane === "sidecar" ? "ambient" : "sidecar");
    return acceptsPlaintext(port === undefined ? other.mode : atPort(other, port)) ? undefined : plane;
  }
}

/** Whether the policy that decides about all other ports accepts plaintext there too. */
const isOfWhole = (mode: EffectiveMode, modes: Modes): boolean =>
  acceptsPlaintext(modes.mode) && mode.by === modes.mode.by;

/**
 * The ports with a mode at which the sidecar itself answers probes, whatever the mode is: peer-authentication-port-unknown reports that it
 * has no effect.
 */
const portsOfProxy = ({ plane, pod }: Asked, { ports }: Modes): readonly number[] =>
  plane === "ambient" || ports.size === 0
    ? []
    : [...portsOfProbes].filter((port) => ports.has(port) && (pod === undefined || isNeverRedirected(pod, port)));

/** Stands for what is known of a workload that did not exist. */
const isNew: Known = { modes: [] };

const noLabels: Labels = Object.freeze({});

const selectorOf = ({ by }: EffectiveMode): Labels | undefined =>
  by === undefined || isWide(by) ? undefined : by.spec.selector?.matchLabels;

const both = (a: AcceptedPlaintext, b: AcceptedPlaintext): AcceptedPlaintext => ({
  ...a,
  onlyAs: a.onlyAs === b.onlyAs ? a.onlyAs : undefined,
  who: a.who === "existing" ? a.who : b.who,
  isIntroduced: a.isIntroduced || b.isIntroduced,
});

function didAccept(known: Known | undefined, port: number | undefined): boolean {
  if (known === undefined) return false;
  const { modes } = known;
  return modes.length === 0 || modes.some((one) => acceptsPlaintext(port === undefined ? one.mode : atPort(one, port)));
}

const only: Readonly<Record<Plane, readonly Plane[]>> = { sidecar: ["sidecar"], ambient: ["ambient"] };
const none: readonly Plane[] = [];

/** The data planes that capture a workload; more than one if the labels of its namespace are not known. */
function planesOf(workload: Workload, { object, mesh }: PlaintextSide): readonly Plane[] {
  const capture = captureOf(workload, object, mesh.settings);
  if (capture === "sidecar" || capture === "ambient") return only[capture];
  return capture === "unknown" ? planes : none;
}

/** A policy that accepts plaintext does not say that ztunnel gets less of it than is written. */
export const topicOf = ({ isDropped }: EffectiveMode): string => (isDropped ? "ports at ztunnel" : "plaintext");

/** What makes ztunnel enforce the ports of a policy: only of its own STRICT mode, istiod sends it every exception. */
export const fixOfDropped = (policy: PeerAuthentication): string =>
  `Set spec.mtls.mode of ${idOf(policy)} to STRICT, and list the ports that accept plaintext in portLevelMtls: istiod then sends ztunnel all of it.`;

/** Why plaintext is accepted, as the end of a sentence about a workload or one of its ports. */
export function plaintextCause({ by, isDropped }: EffectiveMode, port: number | undefined): string {
  if (by === undefined) return "no PeerAuthentication requires mTLS";
  const name = idOf(by);
  const ofPort = port === undefined ? undefined : portModes(by).get(port);
  if (isDropped)
    return ofPort === "STRICT"
      ? `${name} sets mode STRICT at this port, and istiod does not send that to ztunnel`
      : `${name} lists ports, and istiod sends ztunnel neither them nor the surrounding STRICT mode`;
  return ofPort === undefined || ofPort === "UNSET"
    ? `${name} has mode ${declared(by.spec.mtls)}`
    : `${name} sets mode ${ofPort} at this port`;
}
