import type { Labels } from "../../kube/object.ts";
import { captureOf } from "../membership/capture.ts";
import { captured } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { SelectorGroups, selectorText } from "../objects/selector-groups.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";
import { selectorOfSidecar, type Sidecar, sidecarFor, sidecarsFirst, sidecarsOfNamespace } from "./sidecar-egress.ts";
import { sidecarsOfRoot } from "./sidecar-scope.ts";

// A change of a workload moves none to another Sidecar: the labels after it are asked for on both sides.
export const readsOfSidecarMoves = [sidecarsOfNamespace, sidecarsOfRoot, reachedBy(captured, [])] as const;
type View = MeshView<(typeof readsOfSidecarMoves)[number]>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

/** The Sidecar that some workloads of a namespace used, and the one that they use after a change; undefined: none. */
export interface SidecarMove {
  readonly from: Sidecar | undefined;
  readonly to: Sidecar | undefined;
  /** Whether the workloads are known, and have sidecars. */
  readonly isKnown: boolean;
}

/** So many kinds of workloads are asked which Sidecar they use, and so many answers compared. */
const mostAsked = 100;
const mostMoves = 16;

/** The workloads with sidecars of a namespace that use another Sidecar after a change, or one with another content. */
export function sidecarMoves(before: Side, after: Side): readonly SidecarMove[] {
  const [was, is] = [sidecarsAt(before), sidecarsAt(after)];
  const changed = [...was.all.symmetricDifference(is.all)];
  if (changed.length === 0) return [];
  const [usedBefore, usedAfter] = [usedAmong(was), usedAmong(is)];
  const { labels, isKnown } = labelsUnder(changed, after);
  const moves: SidecarMove[] = [];
  for (const one of labels) {
    const [from, to] = [usedBefore(one), usedAfter(one)];
    if (from === to || moves.some((move) => move.from === from && move.to === to)) continue;
    if (moves.push({ from, to, isKnown }) === mostMoves) break;
  }
  return moves;
}

interface Sidecars {
  readonly own: readonly Sidecar[];
  readonly ofRoot: readonly Sidecar[];
  readonly all: ReadonlySet<Sidecar>;
}

function sidecarsAt({ object, mesh }: Side): Sidecars {
  const own = mesh.related(sidecarsOfNamespace, object);
  const ofRoot = mesh.related(sidecarsOfRoot, object);
  return { own, ofRoot, all: new Set([...own, ...ofRoot]) };
}

/** The Sidecar that workloads with some labels use. Of several with one selector, all but the first are for nobody. */
function usedAmong({ own, ofRoot }: Sidecars): (labels: Labels) => Sidecar | undefined {
  const ordered = own.toSorted(sidecarsFirst);
  const groups = new SelectorGroups(ordered.map((one) => [selectorOfSidecar(one) ?? {}, one] as const));
  const ofAll = sidecarFor([], ofRoot, {});
  return (labels) => {
    const selecting = groups.selecting(labels).flatMap(({ members }) => members.slice(0, 1));
    return sidecarFor(selecting, ofAll === undefined ? [] : [ofAll], labels);
  };
}

interface Asked {
  readonly labels: Iterable<Labels>;
  readonly isKnown: boolean;
}

/** The labels of the workloads that these Sidecars may be for. */
function labelsUnder(changed: readonly Sidecar[], { object, mesh }: Side): Asked {
  const selectors = changed.map(
    (one) => (one.metadata.namespace === object.metadata.name ? selectorOfSidecar(one) : {}) ?? {},
  );
  const { workloads, proxies } = mesh.get(captured, object);
  if (workloads.all.length === 0 && proxies.all.length === 0 && !mesh.knowsAll("Workload"))
    return { labels: selectors, isKnown: false };
  const found = new Map<string, Labels>();
  for (const workload of selectors.flatMap((selector) => workloads.selected(selector))) {
    if (found.size === mostAsked) break;
    const capture = captureOf(workload, object, mesh.settings);
    if (capture === "sidecar" || capture === "unknown")
      found.set(selectorText(workload.pod.labels), workload.pod.labels);
  }
  return { labels: found.values(), isKnown: true };
}
