import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import { type Capture, captureOf } from "../../mesh/membership/capture.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { precedence } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { type SelectorGroup, SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import {
  namespaceOfSidecar,
  selectorOfSidecar,
  type Sidecar,
  sidecarsFirst,
  sidecarsOfNamespace,
} from "../../mesh/traffic/sidecar-egress.ts";
import { fact } from "../../view/view.ts";

/** Another Sidecar that is used instead, and a workload for which it is; undefined: for all without a selector. */
interface Loss {
  readonly by: Sidecar;
  readonly workload: Workload | undefined;
}

/** The Sidecars of a namespace that have no effect on some workload that they are for, each with the one that has. */
const sidecarLosses = fact(
  "sidecarLosses",
  "Namespace",
  [sidecarsOfNamespace, workloadsOfNamespace],
  (namespace, mesh): ReadonlyMap<Sidecar, Loss> => {
    const sidecars = mesh.related(sidecarsOfNamespace, namespace).toSorted(sidecarsFirst);
    const losses = new Map<Sidecar, Loss>();
    if (sidecars.length < 2) return losses;
    // No workload reaches the Sidecars behind the first that is for all of them.
    const first = sidecars.findIndex(isForAll);
    const [common, ...others] = first < 0 ? [] : sidecars.slice(first);
    if (common !== undefined) for (const other of others) losses.set(other, { by: common, workload: undefined });
    const selecting = sidecars.filter((one) => selectorOfSidecar(one) !== undefined && !losses.has(one));
    const groups = new SelectorGroups(selecting.map((one) => [selectorOfSidecar(one) ?? {}, one]));
    const done = new Set<SelectorGroup<Sidecar>>();
    const mayUse = (one: Workload) => !isProxy(one) && mayHaveSidecar.has(captureOf(one, namespace, mesh.settings));
    const workloads = mesh.related(workloadsOfNamespace, namespace).filter(mayUse);
    for (const workload of workloads.toSorted(byId))
      for (const [loser, by] of losersAt(groups.selecting(workload.pod.labels), done))
        if (!losses.has(loser)) losses.set(loser, { by, workload });
    return losses;
  },
);

/** An empty workloadSelector selects every workload, as none does. */
const isForAll = (sidecar: Sidecar): boolean => Object.keys(selectorOfSidecar(sidecar) ?? {}).length === 0;

const mayHaveSidecar: ReadonlySet<Capture> = new Set(["sidecar", "unknown"]);

/** Those of the Sidecars that select a workload that it does not use. `done`: the groups of which all but the first have lost. */
function* losersAt(
  found: readonly SelectorGroup<Sidecar>[],
  done: Set<SelectorGroup<Sidecar>>,
): Iterable<readonly [loser: Sidecar, by: Sidecar]> {
  const [by] = found.flatMap(({ members }) => members[0] ?? []).sort(sidecarsFirst);
  if (by === undefined) return;
  for (const group of found) {
    for (const loser of done.has(group) ? group.members.slice(0, 1) : group.members)
      if (loser !== by) yield [loser, by];
    done.add(group);
  }
}

export const sidecarConflict = defineRule({
  id: "sidecar-conflict",
  subject: "Sidecar",
  reads: [namespaceOfSidecar, sidecarLosses],
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  summary: "An older Sidecar is for the same workloads, so this one has no effect on them.",
  why: "A workload uses one Sidecar: the oldest that selects it, else the oldest of its namespace without a selector. An empty workloadSelector selects all workloads, and comes before none. Sidecars are not merged (Istio pilot/pkg/model/push_context.go initSidecarScopes, doGetSidecarScope).",
  fix: "Merge the Sidecars into one, or make their selectors disjoint.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar"],
    seen: "Workloads import other hosts than this Sidecar says.",
    wayOut: "Nothing changes until the older Sidecar is deleted. Put the hosts that are needed into that one.",
    silentWhen:
      "The Sidecars select different workloads, none that both select has a sidecar, or this one is the older.",
    page: "https://istio.io/latest/docs/reference/config/networking/sidecar/",
  },

  *check(sidecar, mesh) {
    if (!isServed(sidecar, mesh.settings)) return;
    for (const namespace of mesh.related(namespaceOfSidecar, sidecar)) {
      const loss = mesh.get(sidecarLosses, namespace).get(sidecar);
      if (loss !== undefined) yield problemOf(loss, sidecar);
    }
  },
});

function problemOf({ by, workload }: Loss, sidecar: Sidecar): Problem {
  if (workload === undefined)
    return {
      at: [],
      message: `The Sidecar has no effect: ${reasonOf(by, sidecar)}`,
      related: [by],
      evidence: [by],
    };
  return {
    at: ["spec", "workloadSelector"],
    message: `The Sidecar has no effect on ${idOf(workload)}, which uses ${idOf(by)}: that ${precedence(by, sidecar)}`,
    key: `loses to ${idOf(by)}`,
    related: [by],
    evidence: [by, workload],
  };
}

/** Why a Sidecar for all workloads is used instead of another one. */
function reasonOf(by: Sidecar, sidecar: Sidecar): string {
  if (selectorOfSidecar(by) === undefined)
    return `${idOf(by)} ${precedence(by, sidecar)} and has no workloadSelector either`;
  return selectorOfSidecar(sidecar) === undefined
    ? `${idOf(by)} has an empty workloadSelector, which selects all workloads and comes before none`
    : `${idOf(by)} ${precedence(by, sidecar)} and has an empty workloadSelector, which selects all workloads`;
}
