import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
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
import {
  hasClassOfIstio,
  isDeployedByHand,
  isForIngress,
  type KubernetesGateway,
  serviceAccountOf,
} from "../../mesh/membership/gateways.ts";
import { isOwned, owningGateway, type Workload } from "../../mesh/membership/workloads.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const policiesNaming = {
  Workload: policiesOfAccount,
  KubernetesGateway: policiesOfGatewayAccount,
  WorkloadEntry: policiesOfEntryAccount,
  WorkloadGroup: policiesOfGroupAccount,
} as const;
const reads = [...Object.values(policiesNaming), ...whatRunsAsAccount] as const;
type View = MeshView<(typeof reads)[number]>;
type Runner = Workload | ObjectOf<"WorkloadEntry"> | ObjectOf<"WorkloadGroup">;
type Subject = Runner | KubernetesGateway;

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
  subject: ["Workload", "KubernetesGateway", "WorkloadEntry", "WorkloadGroup"],
  reads,
  worksWithout: ["WorkloadEntry", "WorkloadGroup", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A workload, a machine outside of Kubernetes or an ingress gateway gets another service account, and policies still name the one that it had, as which nothing runs any more.",
  why: "The identity of a caller is that of the service account of its pods, and policies compare it as text (Istio pilot/pkg/security/authz/model/generator.go). The proxies that istiod runs for a Gateway of the Gateway API have the account `<name>-<class>`, or that of the annotation `gateway.istio.io/service-account` (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway). An ALLOW rule for the former account lets the caller in no more, and a DENY rule for it refuses nobody.",
  fix: "Add the new account to the rules first, and remove the former one when all pods are new.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "As the pods are replaced, requests of this workload get 403 from the workloads that these policies protect. Nobody changed a policy.",
    wayOut:
      "`kubectl rollout undo` the workload, or apply the previous version of the Gateway, or add the new account to the policies.",
    silentWhen:
      "Something else in the namespace runs as the former account; the policy names the new account too, or its namespace, or a pattern of namespaces; or it names accounts by patterns or conditions. Machines keep the identity of their certificates until they get a token of the new account. Ways by which requests of the workload reach the protected ones are not followed.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const { object: now, mesh } = after;
    const { namespace } = now.metadata;
    const change = changeOf(before, after);
    if (change === undefined || change.was === change.is) return;
    const key = accountKey({ namespace, account: change.was });
    const named = mesh.under(policiesNaming[now.kind], [key]);
    const is = { namespace, account: change.is };
    const policies = named.filter((policy) => !namesAccount(policy, is, mesh.settings)).sort(byId);
    const [first, ...others] = policies;
    if (first === undefined || isUsed(key, now, mesh)) return;
    const names =
      others.length === 0
        ? "names"
        : `and ${others.length} other ${others.length === 1 ? "policy name" : "policies name"}`;
    yield {
      at: change.at,
      message: `${idOf(first)} ${names} service account ${JSON.stringify(change.was)}, as which nothing in namespace ${JSON.stringify(namespace)} runs any more: ${change.now}`,
      related: policies.slice(0, 3),
      evidence: [first, absent("Workload", namespace)],
    };
  },
});

interface AccountChange {
  readonly was: string;
  readonly is: string;
  readonly at: Path;
  /** What is so now, at the end of a sentence. */
  readonly now: string;
}

interface Side<T extends Subject> {
  readonly object: T;
  readonly mesh: { readonly settings: MeshSettings };
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
