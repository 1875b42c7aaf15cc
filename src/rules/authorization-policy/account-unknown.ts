import { absentHere } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import {
  accountKey,
  accountsNamed,
  similarAccounts,
  whatRunsAsAccount,
} from "../../mesh/authorization/named-accounts.ts";

export const authorizationPolicyAccountUnknown = defineRule({
  id: "authorization-policy-account-unknown",
  subject: "AuthorizationPolicy",
  reads: [...whatRunsAsAccount, similarAccounts],
  worksWithout: ["WorkloadEntry", "WorkloadGroup", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A rule names callers by a service account that no workload of their namespace runs as, and a similar one is there.",
  why: "Principals and service accounts are compared as text with the caller's identity, which has the service account of its pod (Istio pilot/pkg/security/authz/model/generator.go, pilot/pkg/serviceregistry/ambient/authorization.go stringToServiceAccountMatch). No caller has one that no pod runs as, so an ALLOW rule lets nobody in, and a DENY rule or `notPrincipals` refuses nobody.",
  fix: "Correct the name: it is `serviceAccountName` of the caller's pod template, and `default` if there is none.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, the callers that were meant get 403. With a DENY rule or with notPrincipals, callers that should be denied or excluded are not.",
    wayOut: "Correct the name in the policy. The access log shows the identity of the callers.",
    silentWhen:
      "Not all workloads are known, nothing in the namespace runs as an account with a similar name (the workload may be created later), more than 512 accounts are there, the trust domain is another mesh's, or the entry is a pattern.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    if (!mesh.knowsAll("Workload")) return;
    let [unknown, compared] = [0, 0];
    for (const { namespace, account, at } of accountsNamed(policy, mesh.settings)) {
      yield;
      const key = accountKey({ namespace, account });
      if (whatRunsAsAccount.some((relation) => mesh.hasUnder(relation, key)) || ++unknown > mostCompared) continue;
      // Policies are often applied before the workloads whose callers they name.
      const similar = mesh.get(similarAccounts, namespace);
      compared += similar.size;
      const meant = compared > mostComparisons ? undefined : similar.nearest(account);
      if (meant === undefined) continue;
      yield {
        at,
        message: `No workload of namespace ${JSON.stringify(namespace)} runs as service account ${JSON.stringify(account)}, so this entry matches no caller; did you mean ${JSON.stringify(meant)}?`,
        evidence: [absentHere("Workload", namespace)],
        // Files rarely contain every workload of a namespace.
        guess: `the workloads of namespace ${namespace}`,
      };
    }
  },
});

/** Of the unknown accounts of one policy, so many are compared with those of their namespace. */
const mostCompared = 16;
/** So many comparisons of two names are made for one policy, because a change of a workload asks all policies that name its namespace. */
const mostComparisons = 512;
