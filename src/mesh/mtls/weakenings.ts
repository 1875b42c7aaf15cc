import type { Labels } from "../../kube/object.ts";
import { hasSameInjectors } from "../membership/injector-selectors.ts";
import { PathMap } from "../../view/path-map.ts";
import type { MeshView } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadPairs, workloadsOfNamespace } from "../membership/workloads.ts";
import {
  acceptsPlaintext,
  atPort,
  mtls,
  type NamespaceMtls,
  type PeerAuthentication,
  type Plane,
  planes,
  planesOf,
  planesOfNamespace,
  type PossiblePlanes,
} from "./effective-mtls.ts";
import { givenLabels } from "../objects/labels.ts";
import { LabelSets, labelsAskedFor } from "./labels-asked-for.ts";
import { declared, type EffectiveMode, isWide, type Modes, portModes } from "./peer-authentications.ts";

/** A namespace and a view of the mesh. */
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof mtls | typeof workloadsOfNamespace>;
}

/** A mode that refused plaintext and accepts it. */
export interface WeakenedMode {
  /** Undefined: all ports that no policy lists. */
  readonly port: number | undefined;
  readonly was: EffectiveMode;
  readonly is: EffectiveMode;
  /** Set if the other data plane still refuses plaintext, or if it is not certain that this one is used. */
  readonly onlyAs: Plane | undefined;
}

/** A workload, port or namespace that refused plaintext before a change and accepts it afterwards. */
export interface Weakening extends WeakenedMode {
  /** The namespace as a whole, one workload, or workloads with these labels if workloads are not known. */
  readonly of: "namespace" | Workload | { readonly labels: Labels };
}

/** Whether the step from one mode to another one is a loss. */
export type IsLost = (was: EffectiveMode, is: EffectiveMode) => boolean;

const isWeakened: IsLost = (was, is) => !acceptsPlaintext(was) && acceptsPlaintext(is);

/**
 * Whether a mode that left mTLS to the clients ends it: for endpoints with mode DISABLE, sidecars and gateways send plaintext (Istio
 * pilot/pkg/xds/endpoints/mtls_checker.go checkMtlsEnabled). ztunnel has no such mode.
 */
const isSwitchedOff: IsLost = (was, is) =>
  is.mode === "DISABLE" && (was.mode === "PERMISSIVE" || (was.mode === "STRICT" && is.isRefused === true));

/** What a comparison looks for: which step is a loss, and between which modes. */
export interface Loss {
  readonly isLost: IsLost;
  /** The modes of a namespace that count before and after. */
  readonly was: (modes: NamespaceMtls) => NamespaceMtls["of"];
  readonly is: (modes: NamespaceMtls) => NamespaceMtls["of"];
  /** Whether these can differ although all policies are the same. */
  readonly isChanged: boolean;
}

const plaintextAccepted: Loss = { isLost: isWeakened, was: ({ of }) => of, is: ({ of }) => of, isChanged: false };

/** What clients of a namespace use at one side. `isSet`: for pods with these labels, DestinationRules set the mesh's mTLS. */
export interface ClientsMtls {
  readonly autoMtls: boolean;
  readonly isSet: (labels: Labels) => boolean;
  /** For pods with these labels, there are Services whose clients send plaintext to them even if they refuse it. */
  readonly isRefused?: (labels: Labels) => boolean;
}

/** Clients that used mTLS send plaintext. `isChanged`: what they use can differ although all policies are the same. */
export const mtlsSwitchedOff = (was: ClientsMtls, is: ClientsMtls, isChanged: boolean): Loss => ({
  isLost: isSwitchedOff,
  was: (modes) => modesForClients(modes, was),
  is: (modes) => modesForClients(modes, is),
  isChanged,
});

/**
 * Without auto mTLS, or with mode DISABLE for the namespace, clients use mTLS for none of its services unless a DestinationRule sets it
 * (Istio pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings, pilot/pkg/model/push_context.go
 * BestEffortInferServiceMTLSMode), so that PERMISSIVE of one workload or port is of no use to them, and STRICT refuses them.
 */
function modesForClients(modes: NamespaceMtls, { autoMtls, isSet, isRefused }: ClientsMtls): NamespaceMtls["of"] {
  const wide: EffectiveMode = autoMtls ? modes.wide("sidecar") : { mode: "DISABLE" };
  if (wide.mode !== "DISABLE") return modes.of;
  const refused: EffectiveMode = { ...wide, isRefused: true };
  const open = new Map<Modes, Modes>();
  const closed = new Map<Modes, Modes>();
  return (labels, plane) => {
    const own = modes.of(labels, plane);
    if (plane !== "sidecar" || isSet(labels)) return own;
    const known = isRefused?.(labels) === true ? closed : open;
    const found = known.get(own) ?? mapped(own, { PERMISSIVE: wide, ...(known === closed ? { STRICT: refused } : {}) });
    known.set(own, found);
    return found;
  };
}

function mapped(modes: Modes, others: { readonly [mode in EffectiveMode["mode"]]?: EffectiveMode }): Modes {
  const forClients = (mode: EffectiveMode): EffectiveMode => others[mode.mode] ?? mode;
  return {
    mode: forClients(modes.mode),
    ports: new Map([...modes.ports].map(([port, mode]) => [port, forClients(mode)])),
  };
}

/**
 * The weakenings that a change causes in a namespace, by `loss`, without those for which `isSaidElsewhere` is true. If every workload
 * is known, each one is compared before and after, and workloads that follow the namespace are reported once. Otherwise the
 * namespace is compared, and one imaginary workload for each selector, because a policy that wins for some workload also
 * wins for one with only its labels.
 */
export function* weakenings(
  before: Side,
  after: Side,
  isSaidElsewhere: (weakened: WeakenedMode) => boolean = () => false,
  loss: Loss = plaintextAccepted,
): Iterable<Weakening> {
  const comparison = new Comparison(before, after, isSaidElsewhere, loss);
  const found = foundIn(comparison);
  yield* ofNamespace(found, isSaidElsewhere);
  for (const { of, weakened } of found) for (const mode of weakened.others) yield { ...mode, of };
}

/** The weakened modes of one workload, or of workloads with some labels. */
interface Found {
  readonly of: Weakening["of"];
  readonly weakened: Weakened;
}

function foundIn(comparison: Comparison): readonly Found[] {
  const { before, after, isChanged } = comparison;
  if (comparison.isIdle) return [];
  const isKnown = after.mesh.knowsAll("Workload");
  const workloads = [...pairsOfWorkloads(before, after)];
  const concerned = isChanged && isKnown ? workloads : workloads.filter(([old, now]) => old !== now);
  const found = concerned.map(([old, now]) => ({ of: now, weakened: comparison.ofWorkload(old, now) }));
  // Labels that pods get only when they are created are in no template, so policies that select them cannot be
  // evaluated.
  const isUnknown = isKnown ? hasGivenLabel : () => true;
  const asked = isChanged && (!isKnown || workloads.length > 0) ? ofUnknownWorkloads(comparison, isUnknown) : [];
  return [...found, ...asked];
}

/** The workloads that exist before and after, without proxies, which enforce no PeerAuthentication. */
function* pairsOfWorkloads(before: Side, after: Side): Iterable<readonly [old: Workload, now: Workload]> {
  const there = before.mesh.related(workloadsOfNamespace, before.object);
  for (const pair of workloadPairs(there, after.mesh.related(workloadsOfNamespace, after.object)))
    if (!isProxy(pair[0])) yield pair;
}

/** The data planes of a workload before and after the change. */
type PlaneStep = readonly [was: Plane, is: Plane];

/**
 * A workload that moves to another data plane must still refuse plaintext there. One that joins the mesh refused nothing
 * before, and other rules check one that leaves it. An assumed data plane stays the same.
 */
function routesBetween(before: PossiblePlanes, after: PossiblePlanes): readonly PlaneStep[] {
  const kept = after.planes.filter((plane) => before.planes.includes(plane)).map((plane) => [plane, plane] as const);
  if (!before.isCertain || !after.isCertain) return kept;
  const gone = before.planes.filter((plane) => !after.planes.includes(plane));
  return [...kept, ...gone.flatMap((plane) => after.planes.map((other) => [plane, other] as const))];
}

const routes = new PathMap<PossiblePlanes, readonly PlaneStep[]>();

/** The same list for the same data planes. */
function routesOf(before: PossiblePlanes, after: PossiblePlanes): readonly PlaneStep[] {
  const known = routes.next(before).next(after);
  return (known.value ??= routesBetween(before, after));
}

/** A namespace before and after a change. Workloads with the same modes before and after are compared once. */
class Comparison {
  readonly before: Side;
  readonly after: Side;
  readonly was: NamespaceMtls;
  readonly is: NamespaceMtls;
  readonly isChanged: boolean;
  readonly #isSaidElsewhere: (weakened: WeakenedMode) => boolean;
  readonly #isLost: IsLost;
  readonly #mayChange: boolean;
  readonly #wasOf: NamespaceMtls["of"];
  readonly #isOf: NamespaceMtls["of"];
  /** By the steps, and for each of them the modes before and after. */
  readonly #known = new PathMap<readonly PlaneStep[] | Modes, Weakened>();

  constructor(before: Side, after: Side, isSaidElsewhere: (weakened: WeakenedMode) => boolean, loss: Loss) {
    this.before = before;
    this.after = after;
    this.was = before.mesh.get(mtls, before.object);
    this.is = after.mesh.get(mtls, after.object);
    this.isChanged =
      loss.isChanged ||
      before.object !== after.object ||
      !hasSameInjectors(before.mesh.settings, after.mesh.settings) ||
      !isSamePolicies(this.was, this.is);
    this.#isSaidElsewhere = isSaidElsewhere;
    this.#isLost = loss.isLost;
    this.#mayChange = loss.isChanged;
    this.#wasOf = loss.was(this.was);
    this.#isOf = loss.is(this.is);
  }

  /** Whether nothing can be weakened: no plaintext was refused, or all workloads keep the one mode that they have. */
  get isIdle(): boolean {
    if (this.#isLost === isSwitchedOff)
      return !this.#mayChange && !Object.values(this.is.levels).flat().some(isSwitchingOff);
    if (this.was.levels.workload.length > 0 || !this.was.isOfAll || !this.is.isOfAll) return false;
    const accepting = planes.filter((plane) => acceptsPlaintext(this.was.wide(plane)));
    return accepting.length === planes.length || (!this.isChanged && accepting.length === 0);
  }

  ofWorkload(old: Workload, now: Workload): Weakened {
    const steps = routesOf(
      planesOf(old, this.before.object, this.before.mesh.settings),
      planesOf(now, this.after.object, this.after.mesh.settings),
    );
    return this.ofLabels(old.pod.labels, now.pod.labels, steps);
  }

  ofLabels(old: Labels, now: Labels, steps: readonly PlaneStep[]): Weakened {
    let known = this.#known.next(steps);
    for (const [was, is] of steps) known = known.next(this.#wasOf(old, was)).next(this.#isOf(now, is));
    return (known.value ??= this.#weakened(old, now, steps));
  }

  #weakened(old: Labels, now: Labels, steps: readonly PlaneStep[]): Weakened {
    const modes = steps.map(([was, is]) => [this.#wasOf(old, was), this.#isOf(now, is)] as const);
    return new Weakened([...this.#compared(steps, modes).values()], this.#isSaidElsewhere);
  }

  #compared(steps: readonly PlaneStep[], modes: readonly (readonly [was: Modes, is: Modes])[]) {
    const found = new Map<number | undefined, Compared>();
    const isOnePlane = new Set(steps.map(([, plane]) => plane)).size < 2;
    for (const [i, [old, now]] of steps.entries()) {
      const isWeaker = this.#isLost(this.was.wide(old), this.is.wide(now));
      for (const weaker of weakenedModes(...(modes[i] as readonly [Modes, Modes]), this.#isLost)) {
        const other = found.get(weaker.port);
        const onlyAs = isOnePlane || other !== undefined ? undefined : now;
        const isOfNamespace = isWeaker && isInherited(weaker.is);
        found.set(weaker.port, other ? { ...other, onlyAs } : { ...weaker, onlyAs, isOfNamespace });
      }
    }
    return found;
  }
}

function isSamePolicies(was: NamespaceMtls, is: NamespaceMtls): boolean {
  if (was.levels.isRoot !== is.levels.isRoot) return false;
  if (!(was.isOfAll && is.isOfAll) && !was.readers.isSame(is.readers)) return false;
  return (["mesh", "namespace", "workload"] as const).every((level) => {
    const [a, b] = [was.levels[level], is.levels[level]];
    return a === b || (a.length === b.length && a.every((policy, i) => policy === b[i]));
  });
}

/** A weakened mode, and whether it applies to the whole namespace. */
interface Compared extends WeakenedMode {
  readonly isOfNamespace: boolean;
}

/** The weakened modes of all workloads with the same modes before and after. */
class Weakened {
  readonly all: readonly Compared[];
  readonly ofNamespace: readonly Compared[];
  /** The modes that are reported for each workload. */
  readonly others: readonly Compared[];
  readonly #isSaidElsewhere: (weakened: WeakenedMode) => boolean;

  constructor(all: readonly Compared[], isSaidElsewhere: (weakened: WeakenedMode) => boolean) {
    this.all = all;
    this.ofNamespace = all.filter(({ isOfNamespace }) => isOfNamespace);
    this.others = all.filter((mode) => !mode.isOfNamespace && !isSaidElsewhere(mode));
    this.#isSaidElsewhere = isSaidElsewhere;
  }

  without(isKnown: (mode: Compared) => boolean): Weakened {
    return new Weakened(
      this.all.filter((mode) => !isKnown(mode)),
      this.#isSaidElsewhere,
    );
  }
}

const isSwitchingOff = (policy: PeerAuthentication | boolean): boolean =>
  typeof policy === "object" &&
  [declared(policy.spec.mtls), ...portModes(policy).values()].some((mode) => mode === "DISABLE");

/** Whether no policy with a selector sets the mode. */
const isInherited = ({ by, isDropped }: EffectiveMode): boolean => !isDropped && (by === undefined || isWide(by));

/** Single ports are reported only if the workload as a whole still refuses plaintext. */
function* weakenedModes(was: Modes, is: Modes, isLost: IsLost): Iterable<Pick<WeakenedMode, "port" | "was" | "is">> {
  if (isLost(was.mode, is.mode)) {
    yield { port: undefined, was: was.mode, is: is.mode };
    return;
  }
  for (const port of new Set([...was.ports.keys(), ...is.ports.keys()])) {
    const [old, now] = [atPort(was, port), atPort(is, port)];
    if (isLost(old, now)) yield { port, was: old, is: now };
  }
}

/** Reports the workloads that follow the namespace once. */
function* ofNamespace(
  found: readonly Found[],
  isSaidElsewhere: (weakened: WeakenedMode) => boolean,
): Iterable<Weakening> {
  const weakened = new Set(found.map((one) => one.weakened));
  const ofAll = [...weakened].flatMap((one) => one.ofNamespace.filter(({ port }) => port === undefined));
  const [first] = ofAll;
  if (first !== undefined) {
    const isEverywhere = ofAll.some(({ onlyAs }) => onlyAs !== first.onlyAs);
    const whole = { ...first, onlyAs: isEverywhere ? undefined : first.onlyAs };
    if (!isSaidElsewhere(whole)) yield { ...whole, of: "namespace" };
    return;
  }
  for (const one of found)
    for (const mode of one.weakened.ofNamespace) if (!isSaidElsewhere(mode)) yield { ...mode, of: one.of };
}

const hasGivenLabel = (labels: Labels): boolean => Object.keys(labels).some((label) => givenLabels.has(label));

function ofUnknownWorkloads(comparison: Comparison, isUnknown: (labels: Labels) => boolean): readonly Found[] {
  const { before, after, was, is } = comparison;
  const steps = routesOf(
    planesOfNamespace(before.object, before.mesh.settings),
    planesOfNamespace(after.object, after.mesh.settings),
  );
  const found: Found[] = [];
  const said = new Said();
  for (const labels of labelsAskedFor(was, is)) {
    if (!isUnknown(labels)) continue;
    const weakened = comparison.ofLabels(labels, labels, steps);
    const left = said.add(labels, weakened);
    if (left !== undefined) found.push({ of: { labels }, weakened: left });
  }
  return found;
}

/** The weakenings reported so far by labels: a larger set of labels with the same weakening adds nothing. */
class Said {
  readonly #ofWeakened = new Map<Weakened, LabelSets>();
  readonly #ofModes = new Map<PeerAuthentication | undefined, Map<number | undefined, LabelSets>>();

  /** The weakened modes of these labels that no smaller set of labels has. */
  add(labels: Labels, weakened: Weakened): Weakened | undefined {
    const alike = this.#ofWeakened.get(weakened) ?? new LabelSets();
    if (weakened.all.length === 0 || alike.hasPartOf(labels)) return undefined;
    this.#ofWeakened.set(weakened, alike);
    alike.add(labels);
    const left = weakened.without((mode) => this.#isSaid(labels, mode));
    return left.all.length === 0 ? undefined : left;
  }

  #isSaid(labels: Labels, { port, is: { by } }: WeakenedMode): boolean {
    const ofPolicy = this.#ofModes.get(by) ?? new Map<number | undefined, LabelSets>();
    this.#ofModes.set(by, ofPolicy);
    const sets = ofPolicy.get(port) ?? new LabelSets();
    ofPolicy.set(port, sets);
    if (sets.hasPartOf(labels)) return true;
    sets.add(labels);
    return false;
  }
}
