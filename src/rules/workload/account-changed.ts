import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import {
  accountKey,
  accountOf,
  namesAccount,
  policiesOfAccount,
  policiesOfEntryAccount,
  policiesOfGatewayAccount,
  policiesOfGroupAccount,
  whatRunsAsAccount,
} from "../../mesh/authorization/named-accounts.ts";
import { leavesMesh, type LostCaller, lostCallers, readsLostCallers } from "../../mesh/authorization/lost-callers.ts";
import { reasonAt } from "../../mesh/membership/capture-evidence.ts";
import {
  hasClassOfIstio,
  isDeployedByHand,
  isForIngress,
  type KubernetesGateway,
  serviceAccountOf,
} from "../../mesh/membership/gateways.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import {
  isOwned,
  namespaceOfWorkload,
  owningGateway,
  type Workload,
  workloadPairs,
  workloadsOfNamespace,
} from "../../mesh/membership/workloads.ts";
import type { MeshView } from "../../view/view.ts";

const policiesNaming = {
  Workload: policiesOfAccount,
  KubernetesGateway: policiesOfGatewayAccount,
  WorkloadEntry: policiesOfEntryAccount,
  WorkloadGroup: policiesOfGroupAccount,
} as const;
const reads = [...Object.values(policiesNaming), ...whatRunsAsAccount, ...readsLostCallers] as const;
type View = MeshView<(typeof reads)[number]>;
type Runner = Workload | ObjectOf<"WorkloadEntry"> | ObjectOf<"WorkloadGroup">;
type Subject = Runner | KubernetesGateway;
interface Side<Of> {
  readonly object: Of;
  readonly mesh: View;
}

function placeOf(of: Runner): Path {
  if (of.kind === "Workload") return [...of.podAt, "spec", "serviceAccountName"];
  return of.kind === "WorkloadEntry" ? ["spec", "serviceAccount"] : ["spec", "template", "serviceAccount"];
}

/** Machines have the account of the token that they are given with this one (istioctl/pkg/workload/workload.go). */
const runs = {
  Workload: "this workload runs",
  WorkloadEntry: "this machine is to run",
  WorkloadGroup: "machines that register with this group are to run",
} as const;

export const workloadAccountChanged = defineRule({
  id: "workload-account-changed",
  subject: ["Workload", "Namespace", "KubernetesGateway", "WorkloadEntry", "WorkloadGroup"],
  reads,
  worksWithout: ["WorkloadEntry", "WorkloadGroup", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A workload, a machine outside of Kubernetes or an ingress gateway gets another service account, or leaves the mesh, and policies still name the one that it had, as which nothing runs in the mesh any more.",
  why: "The identity of a caller is that of the service account of its pods, and policies compare it as text (Istio pilot/pkg/security/authz/model/generator.go). The proxies that istiod runs for a Gateway of the Gateway API have the account `<name>-<class>`, or that of the annotation `gateway.istio.io/service-account` (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway). An ALLOW rule for the former account lets the caller in no more, and a DENY rule for it refuses nobody. Pods that neither have a sidecar (pkg/kube/inject/inject.go injectRequired) nor are captured by ztunnel (cni/pkg/util/enablement_selector.go Matches) have no certificate, so that no ALLOW rule for their account or their namespace matches them, and STRICT workloads reset their connections.",
  fix: "Add the new account to the rules first, and remove the former one when all pods are new. Keep callers that policies name in the mesh.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "As the pods are replaced, requests of this workload get 403 from the workloads that these policies protect, or are reset. Nobody changed a policy.",
    wayOut:
      "`kubectl rollout undo` the workload, or apply the previous version of the Gateway, or add the new account to the policies.",
    silentWhen:
      "Something else in the namespace runs as the former account, and is in the mesh; the policy names the new account too, or its namespace, or a pattern of namespaces; or it names accounts by patterns or conditions. Machines keep the identity of their certificates until they get a token of the new account. Of workloads that leave the mesh, it finds those that an ALLOW policy of another namespace names, and not those that it lets in without an identity too; who else called a STRICT workload is not known. Ways by which requests of the workload reach the protected ones are not followed.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    if (now.kind === "Namespace") {
      if (old.kind === "Namespace") yield* leavesWithNamespace({ ...before, object: old }, { ...after, object: now });
      return;
    }
    if (old.kind === "Namespace") return;
    const changed = changesAccount({ ...before, object: old }, { ...after, object: now });
    if (changed !== undefined) yield changed;
    else if (old.kind === "Workload" && now.kind === "Workload" && !isOwned(now))
      yield* leaves({ ...before, object: old }, { ...after, object: now });
  },
});

function changesAccount(before: Side<Subject>, after: Side<Subject>): Problem | undefined {
  const { object: now, mesh } = after;
  const { namespace } = now.metadata;
  const change = changeOf(before, after);
  if (change === undefined || change.was === change.is) return undefined;
  const key = accountKey({ namespace, account: change.was });
  const named = mesh.under(policiesNaming[now.kind], [key]);
  const is = { namespace, account: change.is };
  const policies = named.filter((policy) => !namesAccount(policy, is, mesh.settings)).sort(byId);
  const [first] = policies;
  if (first === undefined || isUsed(key, now, mesh)) return undefined;
  return {
    at: change.at,
    message: `${naming(policies)} service account ${JSON.stringify(change.was)}, as which nothing in namespace ${JSON.stringify(namespace)} runs any more: ${change.now}`,
    related: policies.slice(0, 3),
    evidence: [first, absent("Workload", namespace)],
  };
}

/** Some policies, sorted, and the verb. */
function naming([first, ...others]: readonly AnyObject[]): string {
  const isOne = others.length === 1;
  const names = others.length === 0 ? "names" : `and ${others.length} other ${isOne ? "policy name" : "policies name"}`;
  return `${first === undefined ? "" : idOf(first)} ${names}`;
}

function* leaves(before: Side<Workload>, after: Side<Workload>): Iterable<Problem> {
  const [was, is] = [before, after].map(({ object, mesh }) => ({
    namespace: mesh.related(namespaceOfWorkload, object)[0],
    mesh,
  }));
  if (was === undefined || is === undefined) return;
  if (!leavesMesh([before.object, after.object], was, is)) return;
  for (const lost of lostCallers([after.object], is))
    yield { ...lostProblem(lost, "this workload"), at: reasonAt(after.object) };
}

function* leavesWithNamespace(before: Side<Namespace>, after: Side<Namespace>): Iterable<Problem> {
  const [was, is] = [before, after].map(({ object, mesh }) => ({ namespace: object, mesh }));
  if (was === undefined || is === undefined) return;
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.related(workloadsOfNamespace, object));
  const leaving: Workload[] = [];
  for (const pair of workloadPairs(old ?? [], now ?? [])) if (leavesMesh(pair, was, is)) leaving.push(pair[1]);
  for (const lost of lostCallers(leaving, is))
    yield { ...lostProblem(lost, "its workloads"), at: ["metadata", "labels"] };
}

function lostProblem({ namespace, account, policies }: LostCaller, whose: string): Omit<Problem, "at"> {
  const sorted = policies.toSorted(byId);
  const name = JSON.stringify(namespace.metadata.name);
  const what =
    account === undefined
      ? `namespace ${name}, in which nothing is in the mesh any more`
      : `service account ${JSON.stringify(account)}, as which nothing in namespace ${name} runs in the mesh any more`;
  return {
    message: `${naming(sorted)} ${what}: without a proxy, requests of ${whose} have no identity`,
    key: `leaves the mesh ${account === undefined ? "" : JSON.stringify(account)}`,
    fix: "Keep the workload in the mesh, or let its requests in without an identity first, such as by a token.",
    related: sorted.slice(0, 3),
    evidence: [...sorted.slice(0, 1), namespace, absent("Workload", namespace.metadata.name)],
  };
}

interface AccountChange {
  readonly was: string;
  readonly is: string;
  readonly at: Path;
  /** What is so now, at the end of a sentence. */
  readonly now: string;
}

function changeOf(before: Side<Subject>, after: Side<Subject>): AccountChange | undefined {
  const [old, now] = [before.object, after.object];
  if (old.kind === "KubernetesGateway")
    return now.kind === old.kind ? changeOfGateway({ ...before, object: old }, { ...after, object: now }) : undefined;
  if (now.kind === "KubernetesGateway" || (now.kind === "Workload" && isOwned(now))) return undefined;
  const [was, is] = [accountOf(old), accountOf(now)];
  return { was, is, at: placeOf(now), now: `${runs[now.kind]} as ${JSON.stringify(is)} now` };
}

/** A waypoint is a caller at ztunnel alone, which authorization-policy-waypoint-locked-out is about. */
function changeOfGateway(before: Side<KubernetesGateway>, after: Side<KubernetesGateway>): AccountChange | undefined {
  const [old, now] = [before.object, after.object];
  if (!isForIngress(old, before.mesh.settings) || isDeployedByHand(old) || isDeployedByHand(now)) return undefined;
  const [was, is] = [serviceAccountOf(old, before.mesh.settings), serviceAccountOf(now, after.mesh.settings)];
  const isOfClass = old.spec.gatewayClassName !== now.spec.gatewayClassName;
  return {
    was,
    is,
    at: isOfClass ? ["spec", "gatewayClassName"] : ["metadata", "annotations"],
    // Which controller has another class may not be known.
    now: hasClassOfIstio(now, after.mesh.settings)
      ? `the proxies of this Gateway run as ${JSON.stringify(is)} now`
      : `this Gateway has class ${JSON.stringify(now.spec.gatewayClassName)} now`,
  };
}

/** Whether anything else runs as an account, besides what istiod runs for the Gateway itself and changes with it. */
function isUsed(key: string, now: Subject, mesh: View): boolean {
  const { namespace, name } = now.metadata;
  const isItself = (one: AnyObject): boolean =>
    now.kind === "KubernetesGateway" &&
    one.metadata.namespace === namespace &&
    (one.kind === "Workload" ? owningGateway(one)?.name === name : one.kind === now.kind && one.metadata.name === name);
  return whatRunsAsAccount
    .flatMap((relation): readonly AnyObject[] => mesh.under(relation, [key]))
    .some((one) => !isItself(one) && (one.kind !== "Workload" || !isOwned(one)));
}
