import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { controllerOf } from "../../mesh/membership/owners.ts";
import { namespaceOfWorkload, ownerIn, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { selects } from "../../mesh/objects/selectors.ts";

export const workloadOwnerDiffers = defineRule({
  id: "workload-owner-differs",
  subject: "Workload",
  reads: [namespaceOfWorkload, workloadsOfNamespace],
  onlyOwnChanges: true,
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A workload gets an owner whose pods have other labels.",
  why: "Policies are checked for the owner of a workload, and not again for the workload itself. A controller adopts only objects that its selector matches and that therefore have the labels of its pods (kubernetes pkg/controller/controller_ref_manager.go ClaimObject). With other labels, policies that select the workload are no longer checked for anything.",
  fix: "Remove the owner reference. Only controllers write it, for the objects that they create or adopt.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: [],
    seen: "Nothing in the mesh. The pods of this workload are not those that the policies were checked for.",
    wayOut: "Remove the owner reference.",
    silentWhen:
      "The owner created the workload, or the workload had an owner before, such as a ReplicaSet of an earlier template.",
    page: "https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/",
  },

  *compare(before, after) {
    const owner = controllerOf(after.object);
    if (owner === undefined || controllerOf(before.object) !== undefined) return;
    const [namespace] = after.mesh.related(namespaceOfWorkload, after.object);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const known = ownerIn(after.object, owner, after.mesh);
    // workload-owner-not-found reports an owner that does not exist.
    if (known === undefined || selects(known.pod.labels, after.object.pod.labels)) return;
    yield {
      at: ["metadata", "ownerReferences", after.object.metadata.ownerReferences.indexOf(owner)],
      message: `${idOf(after.object)} is now owned by ${owner.kind} ${owner.name}, but its pods do not have the labels of that owner`,
      key: `owner ${owner.kind} ${owner.name}`,
    };
  },
});
