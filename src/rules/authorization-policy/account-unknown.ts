import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { callersNamed, type NamedCaller } from "../../mesh/authorization/named-callers.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

interface NamedAccount extends NamedCaller {
  readonly account: string;
}
const isOfAccount = (caller: NamedCaller): caller is NamedAccount => caller.account !== undefined;
const keyOf = ({ namespace, account }: { readonly namespace: string; readonly account: string }): string =>
  `${namespace}/${account}`;

const accountsNamed = (policy: AuthorizationPolicy, settings: MeshSettings): readonly NamedAccount[] =>
  callersNamed(policy, settings).filter(isOfAccount);

const policyByAccount = index(
  "AuthorizationPolicy",
  (policy, settings) => new Set(accountsNamed(policy, settings).map(keyOf)),
);
/** A policy and the workloads that run as a service account that it names. */
const workloadsOfAccount = relation(
  "workloadsOfAccount",
  policyByAccount,
  index("Workload", ({ metadata: { namespace }, pod }) => [keyOf({ namespace, account: pod.serviceAccountName })]),
);
/** A policy and the WorkloadEntries with a service account that it names. */
const workloadEntriesOfAccount = relation(
  "workloadEntriesOfAccount",
  policyByAccount,
  index("WorkloadEntry", (entry, settings) =>
    isServed(entry, settings)
      ? [keyOf({ namespace: entry.metadata.namespace, account: entry.spec.serviceAccount || "default" })]
      : [],
  ),
);
/** A policy and the ServiceEntries with an endpoint that has a service account that it names. */
const serviceEntriesOfAccount = relation(
  "serviceEntriesOfAccount",
  policyByAccount,
  index("ServiceEntry", ({ metadata: { namespace }, spec }) =>
    spec.endpoints.flatMap(({ serviceAccount }) =>
      serviceAccount ? [keyOf({ namespace, account: serviceAccount })] : [],
    ),
  ),
);
/**
 * A policy and the Gateways whose pods run as a service account that it names: istiod calls it as the Gateway, with its class
 * for ingress gateways (pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway).
 */
const gatewaysOfAccount = relation(
  "gatewaysOfAccount",
  policyByAccount,
  index("KubernetesGateway", ({ metadata: { name, namespace, annotations }, spec }) =>
    [name, `${name}-${spec.gatewayClassName}`, annotations["gateway.istio.io/service-account"] ?? name].map((account) =>
      keyOf({ namespace, account }),
    ),
  ),
);
/** A policy and the workloads of the namespaces whose service accounts it names. */
const workloadsBesideAccount = relation(
  "workloadsBesideAccount",
  index(
    "AuthorizationPolicy",
    (policy, settings) => new Set(accountsNamed(policy, settings).map(({ namespace }) => namespace)),
  ),
  index("Workload", (workload) => (isOwned(workload) ? [] : [workload.metadata.namespace])),
);

const ofAccount = [workloadsOfAccount, workloadEntriesOfAccount, serviceEntriesOfAccount, gatewaysOfAccount] as const;

export const authorizationPolicyAccountUnknown = defineRule({
  id: "authorization-policy-account-unknown",
  subject: "AuthorizationPolicy",
  reads: [...ofAccount, workloadsBesideAccount],
  worksWithout: ["WorkloadEntry", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary: "A rule names callers by a service account that no workload of their namespace runs as.",
  why: "Principals and service accounts are compared as text with the caller's identity, which has the service account of its pod (Istio pilot/pkg/security/authz/model/generator.go, pilot/pkg/serviceregistry/ambient/authorization.go stringToServiceAccountMatch). No caller has one that no pod runs as, so an ALLOW rule lets nobody in, and a DENY rule or `notPrincipals` refuses nobody.",
  fix: "Correct the name: it is `serviceAccountName` of the caller's pod template, and `default` if there is none.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, the callers that were meant get 403. With a DENY rule or with notPrincipals, callers that should be denied or excluded are not.",
    wayOut: "Correct the name in the policy. The access log shows the identity of the callers.",
    silentWhen:
      "Not all workloads are known, the namespace has no workloads or does not exist, the trust domain is another mesh's, or the entry is a pattern.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    if (!mesh.knowsAll("Workload")) return;
    for (const { namespace, account, at } of accountsNamed(policy, mesh.settings)) {
      yield;
      const key = keyOf({ namespace, account });
      if (!mesh.hasUnder(workloadsBesideAccount, namespace)) continue;
      if (ofAccount.some((relation) => mesh.hasUnder(relation, key))) continue;
      yield {
        at,
        message: `No workload of namespace ${JSON.stringify(namespace)} runs as service account ${JSON.stringify(account)}, so this entry matches no caller`,
        evidence: [absent("Workload", namespace)],
        // Files rarely contain every workload of a namespace.
        guess: `the workloads of namespace ${namespace}`,
      };
    }
  },
});
