import { keyOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import {
  acceptsPlaintext,
  atPort,
  mtlsOf,
  type NamespaceMtls,
  type peerAuthenticationsOfNamespace,
  type Plane,
  planes,
  planesOf,
  planesOfNamespace,
  type PossiblePlanes,
} from "./effective-mtls.ts";
import { type EffectiveMode, isWide, type Modes } from "./peer-authentications.ts";

type Labels = Readonly<Record<string, string>>;
/** A namespace and a view of the mesh. */
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof peerAuthenticationsOfNamespace | typeof workloadsOfNamespace>;
}

/** A workload, port or namespace that refused plaintext before a change and accepts it afterwards. */
export interface Weakening {
  /** The namespace as a whole, one workload, or workloads with these labels if workloads are not known. */
  readonly of: "namespace" | Workload | { readonly labels: Labels };
  /** Undefined: all ports that no policy lists. */
  readonly port: number | undefined;
  readonly was: EffectiveMode;
  readonly is: EffectiveMode;
  /** Set if the other data plane still refuses plaintext, or if it is not certain that this one is used. */
  readonly onlyAs: Plane | undefined;
}

interface Comparison {
  readonly before: Side;
  readonly after: Side;
  readonly was: NamespaceMtls;
  readonly is: NamespaceMtls;
}

/**
 * The weakenings that a change causes in a namespace. If every workload is known, each one is compared before and after,
 * and workloads that follow the namespace are reported once. Otherwise the namespace is compared, and one imaginary
 * workload for each selector, because a policy that wins for some workload also wins for one with only its labels.
 */
export function weakenings(before: Side, after: Side): readonly Weakening[] {
  const comparison = {
    before,
    after,
    was: mtlsOf(before.object, before.mesh),
    is: mtlsOf(after.object, after.mesh),
  };
  const isChanged = before.object !== after.object || !isSamePolicies(comparison);
  if (isIdle(comparison, isChanged)) return [];
  const isKnown = after.mesh.knowsAll("Workload");
  const workloads = pairsOfWorkloads(before, after);
  const concerned = isChanged && isKnown ? workloads : workloads.filter(([old, now]) => old !== now);
  const found = concerned.flatMap((pair) => [...ofWorkload(pair, comparison)]);
  if (isChanged && !isKnown) found.push(...ofUnknownWorkloads(comparison, () => true));
  // Labels that pods get only when they are created are in no template, so policies that select them cannot be
  // evaluated.
  if (isChanged && isKnown && workloads.length > 0) found.push(...ofUnknownWorkloads(comparison, hasGivenLabel));
  return [...ofNamespace(found), ...found.filter(({ isOfNamespace }) => !isOfNamespace)];
}

/** Whether workloads need not be read: nobody was refused before, or no label can change the one mode that all have. */
function isIdle({ was }: Comparison, isChanged: boolean): boolean {
  if (was.levels.workload.length > 0) return false;
  const accepting = planes.filter((plane) => acceptsPlaintext(was.wide(plane)));
  return accepting.length === planes.length || (!isChanged && accepting.length === 0);
}

function isSamePolicies({ was, is }: Comparison): boolean {
  if (was.levels.isRoot !== is.levels.isRoot) return false;
  return (["mesh", "namespace", "workload"] as const).every((level) => {
    const [a, b] = [was.levels[level], is.levels[level]];
    return a.length === b.length && a.every((policy, i) => policy === b[i]);
  });
}

type Pair = readonly [old: Workload, now: Workload];

/** The workloads that exist before and after, without proxies, which enforce no PeerAuthentication. */
function pairsOfWorkloads(before: Side, after: Side): readonly Pair[] {
  const known = new Map<string, Workload>();
  for (const old of before.mesh.related(workloadsOfNamespace, before.object)) known.set(keyOf(old), old);
  const pairs: Pair[] = [];
  for (const now of after.mesh.related(workloadsOfNamespace, after.object)) {
    const old = known.get(keyOf(now));
    if (old !== undefined && !isProxy(old)) pairs.push([old, now]);
  }
  return pairs;
}

/** A weakening, and whether it applies to the whole namespace. */
interface Found extends Weakening {
  readonly isOfNamespace: boolean;
}

function ofWorkload([old, now]: Pair, comparison: Comparison): readonly Found[] {
  const { before, after } = comparison;
  const routes = routesOf(planesOf(old, before.object), planesOf(now, after.object));
  return compared(now, [old.pod.labels, now.pod.labels], routes, comparison);
}

/** The data planes of a workload before and after the change. */
type PlaneStep = readonly [was: Plane, is: Plane];

/**
 * A workload that moves to another data plane must still refuse plaintext there. One that joins the mesh refused nothing
 * before, and other rules check one that leaves it. An assumed data plane stays the same.
 */
function routesOf(before: PossiblePlanes, after: PossiblePlanes): readonly PlaneStep[] {
  const kept = after.planes.filter((plane) => before.planes.includes(plane)).map((plane) => [plane, plane] as const);
  if (!before.isCertain || !after.isCertain) return kept;
  const gone = before.planes.filter((plane) => !after.planes.includes(plane));
  return [...kept, ...gone.flatMap((plane) => after.planes.map((other) => [plane, other] as const))];
}

function compared(
  of: Weakening["of"],
  labels: readonly [was: Labels, is: Labels],
  steps: readonly PlaneStep[],
  { was, is }: Comparison,
): readonly Found[] {
  const found = new Map<number | undefined, Found>();
  const isOnePlane = new Set(steps.map(([, plane]) => plane)).size < 2;
  for (const [old, now] of steps) {
    const isWeaker = isWeakened(was.wide(old), is.wide(now));
    for (const weaker of weakenedModes(was.of(labels[0], old), is.of(labels[1], now))) {
      const other = found.get(weaker.port);
      const onlyAs = isOnePlane || other !== undefined ? undefined : now;
      found.set(
        weaker.port,
        other ? { ...other, onlyAs } : { of, ...weaker, onlyAs, isOfNamespace: isWeaker && isInherited(weaker.is) },
      );
    }
  }
  return [...found.values()];
}

const isWeakened = (was: EffectiveMode, is: EffectiveMode): boolean => !acceptsPlaintext(was) && acceptsPlaintext(is);

/** Whether no policy with a selector sets the mode. */
const isInherited = ({ by, isDropped }: EffectiveMode): boolean => !isDropped && (by === undefined || isWide(by));

/** Single ports are reported only if the workload as a whole still refuses plaintext. */
function* weakenedModes(was: Modes, is: Modes): Iterable<Pick<Weakening, "port" | "was" | "is">> {
  if (isWeakened(was.mode, is.mode)) {
    yield { port: undefined, was: was.mode, is: is.mode };
    return;
  }
  for (const port of new Set([...was.ports.keys(), ...is.ports.keys()])) {
    const [old, now] = [atPort(was, port), atPort(is, port)];
    if (isWeakened(old, now)) yield { port, was: old, is: now };
  }
}

/** Reports the workloads that follow the namespace once. */
function ofNamespace(found: readonly Found[]): readonly Weakening[] {
  const ofAll = found.filter(({ isOfNamespace, port }) => isOfNamespace && port === undefined);
  const [first] = ofAll;
  if (first === undefined) return found.filter(({ isOfNamespace }) => isOfNamespace);
  const isEverywhere = ofAll.some(({ onlyAs }) => onlyAs !== first.onlyAs);
  return [{ ...first, of: "namespace", onlyAs: isEverywhere ? undefined : first.onlyAs }];
}

/** Labels that Kubernetes controllers and Istio's injector (pkg/kube/inject) set on pods. */
const givenLabels: ReadonlySet<string> = new Set([
  "apps.kubernetes.io/pod-index",
  "batch.kubernetes.io/controller-uid",
  "batch.kubernetes.io/job-name",
  "controller-revision-hash",
  "controller-uid",
  "job-name",
  "pod-template-hash",
  "security.istio.io/tlsMode",
  "service.istio.io/canonical-name",
  "service.istio.io/canonical-revision",
  "statefulset.kubernetes.io/pod-name",
]);
const hasGivenLabel = (labels: Labels): boolean => Object.keys(labels).some((label) => givenLabels.has(label));

function ofUnknownWorkloads(comparison: Comparison, isUnknown: (labels: Labels) => boolean): readonly Found[] {
  const { before, after, was, is } = comparison;
  const steps = routesOf(planesOfNamespace(before.object), planesOfNamespace(after.object));
  const found: Found[] = [];
  for (const labels of labelsAskedFor(was, is)) {
    if (!isUnknown(labels)) continue;
    for (const weakening of compared({ labels }, [labels, labels], steps, comparison))
      if (!found.some((other) => covers(other, weakening))) found.push(weakening);
  }
  return found;
}

/** Whether a smaller set of labels gives the same result. */
function covers(wider: Found, found: Found): boolean {
  if (wider.port !== found.port || wider.is.by !== found.is.by) return false;
  const [few, many] = [labelsOf(wider), labelsOf(found)];
  return Object.keys(few).every((key) => few[key] === many[key]);
}
const labelsOf = ({ of }: Found): Labels => (typeof of === "object" && "labels" in of ? of.labels : {});

/**
 * The smallest sets of labels for which each policy can win, starting with none. If one of two policies is new or
 * changed, the winner can change between them, so the labels of both together are included too.
 */
function* labelsAskedFor(was: NamespaceMtls, is: NamespaceMtls): Iterable<Labels> {
  const [old, now] = [was.levels.workload, is.levels.workload];
  const labelsOfPolicy = ({ spec }: (typeof old)[number]): Labels => spec.selector?.matchLabels ?? {};
  yield {};
  for (const policy of new Set([...old, ...now])) yield labelsOfPolicy(policy);
  for (const loser of old)
    for (const winner of now) {
      if (now.includes(loser) && old.includes(winner)) continue;
      const both = { ...labelsOfPolicy(loser), ...labelsOfPolicy(winner) };
      if (Object.entries(labelsOfPolicy(loser)).every(([key, value]) => both[key] === value)) yield both;
    }
}
