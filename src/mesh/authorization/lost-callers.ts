import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { senderOf } from "../membership/clients.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import { injectedProxy } from "../membership/injection-templates.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { isOwned, namespaceOfWorkload, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { accountKey, policiesOfAccount, whatRunsAsAccount } from "./named-accounts.ts";
import { callersNamed } from "./named-callers.ts";
import { actionOf, type AuthorizationPolicy, isEnforced } from "./policies.ts";
import { namesIdentities } from "./rule-identities.ts";

// The identity of a caller is in the certificate of its sidecar, of ztunnel, or of the gateway that it is (Istio
// pilot/pkg/security/authz/model/generator.go srcPrincipalGenerator). What no proxy sends has none, in plaintext or with any other TLS.

/** A namespace and the policies that allow all callers in it by its name. */
const policiesOfCallersNamespace = relation(
  "policiesOfCallersNamespace",
  namespaceByName,
  index(
    "AuthorizationPolicy",
    (policy, settings) =>
      new Set(
        callersNamed(policy, settings).flatMap(({ namespace, account }) => (account === undefined ? namespace : [])),
      ),
  ),
);
/** A namespace and the WorkloadEntries there. */
const machinesOfNamespace = relation(
  "machinesOfNamespace",
  namespaceByName,
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);
/** A namespace and the WorkloadGroups there. */
const machineGroupsOfNamespace = relation(
  "machineGroupsOfNamespace",
  namespaceByName,
  index("WorkloadGroup", (group, settings) => (isServed(group, settings) ? [group.metadata.namespace] : [])),
);

/** What {@link lostCallers} reads. */
export const readsLostCallers = [
  namespaceOfWorkload,
  workloadsOfNamespace,
  policiesOfAccount,
  ...whatRunsAsAccount,
  policiesOfCallersNamespace,
  machinesOfNamespace,
  machineGroupsOfNamespace,
  gatewaysOfNamespace,
] as const;
type View = MeshView<(typeof readsLostCallers)[number]>;

/** A caller that policies allow by an identity which none of its requests has any more. */
export interface LostCaller {
  readonly namespace: Namespace;
  /** Undefined: all of the namespace. */
  readonly account: string | undefined;
  /** One at least. */
  readonly policies: readonly AuthorizationPolicy[];
}

/** One side of a change, with the namespace that has these workloads. */
interface Side {
  readonly namespace: Namespace | undefined;
  readonly mesh: View;
}

/** Whether a change takes these pods out of the mesh. */
export const leavesMesh = (
  [was, is]: readonly [was: Workload, is: Workload],
  before: Side,
  after: Side,
): after is Side & { readonly namespace: Namespace } =>
  after.namespace !== undefined &&
  before.namespace !== undefined &&
  !isTerminating(after.namespace) &&
  !mayHaveIdentity(is, after.namespace, after.mesh.settings) &&
  ["proxy", "ztunnel"].includes(senderOf(was, before.namespace, before.mesh.settings));

/** Also with a proxy that is in the template, or with an agent for gRPC without a proxy, which gets a certificate of the mesh. */
const mayHaveIdentity = (workload: Workload, namespace: Namespace, settings: MeshSettings): boolean =>
  senderOf(workload, namespace, settings) !== "nothing" ||
  workload.pod.hasProxyContainer ||
  injectedProxy(workload.pod) === "none";

/** The callers that policies of other namespaces name in vain since these workloads of a namespace left the mesh. */
export function* lostCallers(
  leaving: readonly Workload[],
  { namespace, mesh }: { readonly namespace: Namespace; readonly mesh: View },
): Iterable<LostCaller> {
  if (leaving.length === 0 || !mesh.knowsAll("Workload")) return;
  for (const account of new Set(leaving.map(({ pod }) => pod.serviceAccountName))) {
    const key = accountKey({ namespace: namespace.metadata.name, account });
    const policies = mesh
      .under(policiesOfAccount, [key])
      .filter((policy) => isLettingIn(policy, { namespace, account }, mesh.settings));
    if (policies.length > 0 && !isUsedInMesh(key, namespace, mesh)) yield { namespace, account, policies };
  }
  const policies = mesh
    .related(policiesOfCallersNamespace, namespace)
    .filter((policy) => isLettingIn(policy, { namespace, account: undefined }, mesh.settings));
  if (policies.length > 0 && !isAnyInMesh(namespace, mesh)) yield { namespace, account: undefined, policies };
}

/**
 * Whether the policy of another namespace allows a caller by its identity alone. Of workloads beside those that a policy protects, it is
 * said at themselves that they leave the mesh.
 */
function isLettingIn(
  policy: AuthorizationPolicy,
  { namespace: { metadata }, account }: Pick<LostCaller, "namespace" | "account">,
  settings: MeshSettings,
): boolean {
  const { rules } = policy.spec;
  if (actionOf(policy) !== "ALLOW" || !isEnforced(policy, settings)) return false;
  if (policy.metadata.namespace === metadata.name || rules.some(isForEverybody)) return false;
  return callersNamed(policy, settings).some((caller) => {
    if (caller.namespace !== metadata.name || caller.account !== account || caller.at.some(isExcluding)) return false;
    const rule = rules[Number(caller.at[2])];
    return rule !== undefined && namesIdentities(rule);
  });
}
const isForEverybody = ({ from, to, when }: AuthorizationPolicy["spec"]["rules"][number]): boolean =>
  from.length + to.length + when.length === 0;
const isExcluding = (part: string | number): boolean => typeof part === "string" && part.startsWith("not");

const [workloadsOfAccount, ...othersOfAccount] = whatRunsAsAccount;

function isUsedInMesh(key: string, namespace: Namespace, mesh: View): boolean {
  if (othersOfAccount.some((relation) => mesh.hasUnder(relation, key))) return true;
  const workloads = mesh.under(workloadsOfAccount, [key]);
  mesh.visited(workloads.length);
  return workloads.some((one) => !isOwned(one) && mayHaveIdentity(one, namespace, mesh.settings));
}

function isAnyInMesh(namespace: Namespace, mesh: View): boolean {
  const { name } = namespace.metadata;
  const others = [machinesOfNamespace, machineGroupsOfNamespace, gatewaysOfNamespace] as const;
  if (others.some((relation) => mesh.hasUnder(relation, name))) return true;
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  mesh.visited(workloads.length);
  return workloads.some((one) => mayHaveIdentity(one, namespace, mesh.settings));
}
