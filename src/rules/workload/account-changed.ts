import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import {
  accountKey,
  accountOf,
  namesAccount,
  policiesOfAccount,
  policiesOfEntryAccount,
  policiesOfGroupAccount,
  whatRunsAsAccount,
} from "../../mesh/authorization/named-accounts.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";

type Subject = ObjectOf<"Workload"> | ObjectOf<"WorkloadEntry"> | ObjectOf<"WorkloadGroup">;

const policiesNaming = {
  Workload: policiesOfAccount,
  WorkloadEntry: policiesOfEntryAccount,
  WorkloadGroup: policiesOfGroupAccount,
} as const;

function placeOf(of: Subject): Path {
  if (of.kind === "Workload") return [...of.podAt, "spec", "serviceAccountName"];
  return of.kind === "WorkloadEntry" ? ["spec", "serviceAccount"] : ["spec", "template", "serviceAccount"];
}

/** Machines have the account of the token that they are given with this one (istioctl/pkg/workload/workload.go). */
const runs = {
  Workload: "this workload runs",
  WorkloadEntry: "this machine is to run",
  WorkloadGroup: "machines that register with this group are to run",
} as const;

const isOfOther = (of: Subject): boolean => of.kind === "Workload" && isOwned(of);

export const workloadAccountChanged = defineRule({
  id: "workload-account-changed",
  subject: ["Workload", "WorkloadEntry", "WorkloadGroup"],
  reads: [policiesOfAccount, policiesOfEntryAccount, policiesOfGroupAccount, ...whatRunsAsAccount],
  worksWithout: ["WorkloadEntry", "WorkloadGroup", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A workload or a machine outside of Kubernetes gets another service account, and policies still name the one that it had, as which nothing runs any more.",
  why: "The identity of a caller is that of the service account of its pods, and policies compare it as text (Istio pilot/pkg/security/authz/model/generator.go). An ALLOW rule for the former account lets the caller in no more, and a DENY rule for it refuses nobody.",
  fix: "Add the new account to the rules first, and remove the former one when all pods are new.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "As the pods are replaced, requests of this workload get 403 from the workloads that these policies protect. Nobody changed a policy.",
    wayOut: "`kubectl rollout undo` the workload, or add the new account to the policies.",
    silentWhen:
      "Something else in the namespace runs as the former account; the policy names the new account too, or its namespace, or a pattern of namespaces; or it names accounts by patterns or conditions. Machines keep the identity of their certificates until they get a token of the new account. Ways by which requests of the workload reach the protected ones are not followed.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare({ object: old }, { object: now, mesh }) {
    const { namespace } = now.metadata;
    const [was, is] = [old, now].map((one) => ({ namespace, account: accountOf(one) }));
    if (was === undefined || is === undefined || was.account === is.account || isOfOther(now)) return;
    const key = accountKey(was);
    const named = mesh.under(policiesNaming[now.kind], [key]);
    const policies = named.filter((policy) => !namesAccount(policy, is, mesh.settings)).sort(byId);
    const [first, ...others] = policies;
    if (first === undefined) return;
    const isUsed = whatRunsAsAccount
      .flatMap((relation) => mesh.under(relation, [key]))
      .some((one) => one.kind !== "Workload" || !isOwned(one));
    if (isUsed) return;
    const names =
      others.length === 0
        ? "names"
        : `and ${others.length} other ${others.length === 1 ? "policy name" : "policies name"}`;
    yield {
      at: placeOf(now),
      message: `${idOf(first)} ${names} service account ${JSON.stringify(was.account)}, as which nothing in namespace ${JSON.stringify(namespace)} runs any more: ${runs[now.kind]} as ${JSON.stringify(is.account)} now`,
      related: policies.slice(0, 3),
      evidence: [first, absent("Workload", namespace)],
    };
  },
});
