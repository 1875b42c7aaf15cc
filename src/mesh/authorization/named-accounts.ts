import type { ObjectOf } from "../../kube/object.ts";
import { Candidates } from "../../text/nearest.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { gatewayServiceAccount } from "../objects/labels.ts";
import { fact, index, relation } from "../../view/view.ts";
import { isOwned } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { callersNamed, type NamedCaller } from "./named-callers.ts";
import type { AuthorizationPolicy } from "./policies.ts";

export interface NamedAccount extends NamedCaller {
  readonly account: string;
}
const isOfAccount = (caller: NamedCaller): caller is NamedAccount => caller.account !== undefined;
/** Of an account among those of all namespaces. */
export const accountKey = ({ namespace, account }: { readonly namespace: string; readonly account: string }): string =>
  `${namespace}/${account}`;

/** The service accounts that a policy names in full. Those of other trust domains belong to other meshes. */
export const accountsNamed = (policy: AuthorizationPolicy, settings: MeshSettings): readonly NamedAccount[] =>
  callersNamed(policy, settings).filter(isOfAccount);

const policyByAccount = index(
  "AuthorizationPolicy",
  (policy, settings) => new Set(accountsNamed(policy, settings).map(accountKey)),
);
/** A policy and the workloads that run as a service account that it names. */
const workloadsOfAccount = relation(
  "workloadsOfAccount",
  policyByAccount,
  index("Workload", ({ metadata: { namespace }, pod }) => [accountKey({ namespace, account: pod.serviceAccountName })]),
);
/** A policy and the WorkloadEntries with a service account that it names. */
const workloadEntriesOfAccount = relation(
  "workloadEntriesOfAccount",
  policyByAccount,
  index("WorkloadEntry", (entry, settings) =>
    isServed(entry, settings)
      ? [accountKey({ namespace: entry.metadata.namespace, account: accountOfEntry(entry) })]
      : [],
  ),
);
/** A policy and the WorkloadGroups whose machines have a service account that it names. */
const workloadGroupsOfAccount = relation(
  "workloadGroupsOfAccount",
  policyByAccount,
  index("WorkloadGroup", (group, settings) =>
    isServed(group, settings)
      ? [accountKey({ namespace: group.metadata.namespace, account: accountOfGroup(group) })]
      : [],
  ),
);
/** A policy and the ServiceEntries with an endpoint that has a service account that it names. */
const serviceEntriesOfAccount = relation(
  "serviceEntriesOfAccount",
  policyByAccount,
  index("ServiceEntry", (entry) =>
    accountsOfEndpoints(entry).map((account) => accountKey({ namespace: entry.metadata.namespace, account })),
  ),
);
/** A policy and the Gateways whose pods run as a service account that it names. */
const gatewaysOfAccount = relation(
  "gatewaysOfAccount",
  policyByAccount,
  index("KubernetesGateway", (gateway) =>
    accountsOfGateway(gateway).map((account) => accountKey({ namespace: gateway.metadata.namespace, account })),
  ),
);

const policyByNamespaceOfAccount = index(
  "AuthorizationPolicy",
  (policy, settings) => new Set(accountsNamed(policy, settings).map(({ namespace }) => namespace)),
);
/** A policy and the workloads of the namespaces whose service accounts it names. */
const workloadsBesideAccount = relation(
  "workloadsBesideAccount",
  policyByNamespaceOfAccount,
  index("Workload", (workload) => (isOwned(workload) ? [] : [workload.metadata.namespace])),
);
/** A policy and the WorkloadEntries there. */
const workloadEntriesBesideAccount = relation(
  "workloadEntriesBesideAccount",
  policyByNamespaceOfAccount,
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);
/** A policy and the WorkloadGroups there. */
const workloadGroupsBesideAccount = relation(
  "workloadGroupsBesideAccount",
  policyByNamespaceOfAccount,
  index("WorkloadGroup", (group, settings) => (isServed(group, settings) ? [group.metadata.namespace] : [])),
);
/** A policy and the ServiceEntries there with accounts of endpoints. */
const serviceEntriesBesideAccount = relation(
  "serviceEntriesBesideAccount",
  policyByNamespaceOfAccount,
  index("ServiceEntry", (entry) => (accountsOfEndpoints(entry).length > 0 ? [entry.metadata.namespace] : [])),
);
/** A policy and the Gateways there. */
const gatewaysBesideAccount = relation(
  "gatewaysBesideAccount",
  policyByNamespaceOfAccount,
  index("KubernetesGateway", ({ metadata }) => [metadata.namespace]),
);

/** The service accounts that something in a namespace runs as. */
const accountsOfNamespace = fact(
  "accountsOfNamespace",
  "key",
  [
    ...[workloadsBesideAccount, workloadEntriesBesideAccount, workloadGroupsBesideAccount],
    ...[serviceEntriesBesideAccount, gatewaysBesideAccount],
  ],
  (namespace, mesh): ReadonlySet<string> =>
    new Set([
      ...mesh.under(workloadsBesideAccount, [namespace]).map(({ pod }) => pod.serviceAccountName),
      ...mesh.under(workloadEntriesBesideAccount, [namespace]).map(accountOfEntry),
      ...mesh.under(workloadGroupsBesideAccount, [namespace]).map(accountOfGroup),
      ...mesh.under(serviceEntriesBesideAccount, [namespace]).flatMap(accountsOfEndpoints),
      ...mesh.under(gatewaysBesideAccount, [namespace]).flatMap(accountsOfGateway),
    ]),
);

function accountOfEntry({ spec }: ObjectOf<"WorkloadEntry">): string {
  return spec.serviceAccount || "default";
}

/** That of the WorkloadEntries that istiod makes of it (pilot/pkg/autoregistration/controller.go workloadEntryFromGroup). */
function accountOfGroup({ spec }: ObjectOf<"WorkloadGroup">): string {
  return spec.template.serviceAccount || "default";
}

function accountsOfEndpoints({ spec }: ObjectOf<"ServiceEntry">): readonly string[] {
  return spec.endpoints.flatMap(({ serviceAccount }) => serviceAccount || []);
}

/**
 * istiod calls the account as the Gateway, with its class for ingress gateways
 * (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway).
 */
function accountsOfGateway({
  metadata: { name, annotations },
  spec,
}: ObjectOf<"KubernetesGateway">): readonly string[] {
  return [name, `${name}-${spec.gatewayClassName}`, annotations[gatewayServiceAccount] ?? name];
}

/** What runs as a service account that a policy names. */
export const whatRunsAsAccount = [
  workloadsOfAccount,
  workloadEntriesOfAccount,
  workloadGroupsOfAccount,
  serviceEntriesOfAccount,
  gatewaysOfAccount,
] as const;

/** A workload and the policies that name its service account in full. */
export const policiesOfAccount = relation("policiesOfAccount", workloadsOfAccount.to, policyByAccount);
/** A WorkloadEntry and the policies that name its service account in full. */
export const policiesOfEntryAccount = relation("policiesOfEntryAccount", workloadEntriesOfAccount.to, policyByAccount);
/** A WorkloadGroup and the policies that name the service account of its machines in full. */
export const policiesOfGroupAccount = relation("policiesOfGroupAccount", workloadGroupsOfAccount.to, policyByAccount);

/** The service account of a workload, or the one that machines outside of Kubernetes are said to have. */
export function accountOf(of: ObjectOf<"Workload"> | ObjectOf<"WorkloadEntry"> | ObjectOf<"WorkloadGroup">): string {
  if (of.kind === "Workload") return of.pod.serviceAccountName;
  return of.kind === "WorkloadEntry" ? accountOfEntry(of) : accountOfGroup(of);
}

/** A Gateway and the policies that name a service account which its pods can have. */
export const policiesOfGatewayAccount = relation("policiesOfGatewayAccount", gatewaysOfAccount.to, policyByAccount);

/** Whether a policy names a caller with this account, or all those of its namespace. */
export const namesAccount = (
  policy: AuthorizationPolicy,
  { namespace, account }: { readonly namespace: string; readonly account: string },
  settings: MeshSettings,
): boolean =>
  callersNamed(policy, settings).some(
    (caller) =>
      (caller.account === undefined && (caller.namespace.includes("*") || caller.namespace === namespace)) ||
      (caller.account === account && caller.namespace === namespace),
  );

/** The accounts of a namespace that can be meant by a name that nothing runs as. */
export const similarAccounts = fact(
  "similarAccounts",
  "key",
  [accountsOfNamespace],
  (namespace, mesh): Candidates => new Candidates(mesh.get(accountsOfNamespace, namespace)),
);
