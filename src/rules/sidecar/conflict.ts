import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isProxy, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import {
  namespaceOfSidecar,
  selectorOfSidecar,
  type Sidecar,
  sidecarsFirst,
  sidecarsOfSameNamespace,
} from "../../mesh/traffic/sidecar-egress.ts";

export const sidecarConflict = defineRule({
  id: "sidecar-conflict",
  subject: "Sidecar",
  reads: [sidecarsOfSameNamespace, namespaceOfSidecar, workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  summary: "An older Sidecar is for the same workloads, so this one has no effect on them.",
  why: "A workload uses one Sidecar: the oldest that selects it, else the oldest of its namespace without a selector. Sidecars are not merged (Istio pilot/pkg/model/push_context.go initSidecarScopes, doGetSidecarScope).",
  fix: "Merge the Sidecars into one, or make their selectors disjoint.",

  *check(sidecar, mesh) {
    if (!isServed(sidecar, mesh.settings)) return;
    const earlier = mesh
      .related(sidecarsOfSameNamespace, sidecar)
      .filter((other) => other !== sidecar && sidecarsFirst(other, sidecar) < 0);
    const selector = selectorOfSidecar(sidecar);
    if (selector === undefined) {
      const other = earlier.toSorted(sidecarsFirst).find((one) => selectorOfSidecar(one) === undefined);
      if (other !== undefined) yield problem(`${idOf(other)} is older and has no workloadSelector either`, other);
      return;
    }
    const groups = new SelectorGroups(earlier.map((one) => [selectorOfSidecar(one) ?? {}, one]));
    for (const namespace of mesh.related(namespaceOfSidecar, sidecar))
      for (const workload of mesh.related(workloadsOfNamespace, namespace)) {
        if (isProxy(workload) || !selects(selector, workload.pod.labels)) continue;
        const [other] = groups
          .selecting(workload.pod.labels)
          .flatMap(({ members }) => members)
          .sort(sidecarsFirst);
        if (other === undefined) continue;
        const { evidence = [], ...rest } = problem(`${idOf(workload)} uses ${idOf(other)}, which is older`, other);
        yield { ...rest, at: ["spec", "workloadSelector"], evidence: [...evidence, workload] };
      }
  },
});

const problem = (reason: string, other: Sidecar): Problem => ({
  at: [],
  message: `The Sidecar has no effect: ${reason}`,
  related: [other],
  evidence: [other],
});
