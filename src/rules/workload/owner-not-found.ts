import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { gatewayOfProxy, isProxyOf } from "../../mesh/membership/gateways.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { confirmingNames, controllerOf, isNamedAfter, type OwnerReference } from "../../mesh/membership/owners.ts";
import {
  isOfGateway,
  namespaceOfWorkload,
  ownerIn,
  owningGateway,
  type Workload,
  workloadsOfNamespace,
} from "../../mesh/membership/workloads.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [namespaceOfWorkload, workloadsOfNamespace, gatewayOfProxy] as const;
type View = MeshView<(typeof reads)[number]>;

export const workloadOwnerNotFound = defineRule({
  id: "workload-owner-not-found",
  subject: "Workload",
  reads,
  worksWithout: ["KubernetesGateway"],
  // An owner that is deleted takes its workloads with it.
  onlyOwnChanges: true,
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A workload claims an owner that does not exist or that did not create it.",
  why: "Policies are checked for the owner of a workload and not again for the workload itself, and proxies that istiod runs for a Gateway are not checked at all. Anyone may write ownerReferences. The garbage collector deletes objects whose owner does not exist (kubernetes pkg/controller/garbagecollector/garbagecollector.go attemptToDeleteItem), but only after some time.",
  fix: "Remove the owner reference. Only controllers write it, for the objects that they create.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: [],
    seen: "Nothing in the mesh, until the garbage collector deletes the workload, as its owner does not exist.",
    wayOut: "Remove the owner reference. If the owner was deleted by accident, apply it again.",
    silentWhen: "The owner is being deleted and takes its workloads with it, or its kind is not known.",
    page: "https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/",
  },

  *check(workload, mesh) {
    if (isGoing(workload, mesh)) return;
    const owner = controllerOf(workload);
    if (owner !== undefined) yield* workloadProblem(workload, owner, mesh);
    const gateway = isOfGateway(workload) ? owningGateway(workload) : undefined;
    if (gateway !== undefined && mesh.knows("KubernetesGateway")) yield* gatewayProblem(workload, gateway, mesh);
  },
});

function isGoing(workload: Workload, mesh: View): boolean {
  const [namespace] = mesh.related(namespaceOfWorkload, workload);
  return workload.metadata.deletionTimestamp !== undefined || (namespace !== undefined && isTerminating(namespace));
}

function* workloadProblem(workload: Workload, owner: OwnerReference, mesh: View): Iterable<Problem> {
  const known = ownerIn(workload, owner, mesh);
  if (known === undefined)
    yield problemOf(
      workload,
      owner,
      confirmingNames(owner).map((name) => absent("Workload", workload.metadata.namespace, name)),
    );
  else if (!isNamedAfter(workload, owner)) yield problemOf(workload, owner);
}

function* gatewayProblem(workload: Workload, owner: OwnerReference, mesh: View): Iterable<Problem> {
  const [gateway] = mesh.related(gatewayOfProxy, workload);
  if (gateway === undefined)
    yield problemOf(workload, owner, [absent("KubernetesGateway", workload.metadata.namespace, owner.name)]);
  else if (!isProxyOf(workload, gateway, mesh.settings)) yield problemOf(workload, owner, [gateway]);
}

function problemOf(
  workload: Workload,
  owner: OwnerReference,
  evidence: NonNullable<Problem["evidence"]> = [],
): Problem {
  const isThere = evidence.every((one) => "kind" in one);
  return {
    at: refsAt(workload, owner),
    message: `${idOf(workload)} claims to be owned by ${owner.kind} ${owner.name}, which ${isThere ? "did not create it" : "does not exist"}`,
    key: `owner ${owner.kind} ${owner.name}`,
    ...(evidence.length === 0 ? {} : { evidence }),
  };
}

const refsAt = ({ metadata }: Workload, owner: OwnerReference): Path => [
  "metadata",
  "ownerReferences",
  metadata.ownerReferences.indexOf(owner),
];
