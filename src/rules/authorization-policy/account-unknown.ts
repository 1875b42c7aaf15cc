import { absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import {
  accountKey,
  accountsNamed,
  type NamedAccount,
  similarAccounts,
  whatRunsAsAccount,
} from "../../mesh/authorization/named-accounts.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [...whatRunsAsAccount, similarAccounts] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyAccountUnknown = defineRule({
  id: "authorization-policy-account-unknown",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["WorkloadEntry", "WorkloadGroup", "ServiceEntry", "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A rule names callers by a service account that no workload of their namespace runs as, and a similar one is there, or one that something runs as is named no more.",
  why: "Principals and service accounts are compared as text with the caller's identity, which has the service account of its pod (Istio pilot/pkg/security/authz/model/generator.go, pilot/pkg/serviceregistry/ambient/authorization.go stringToServiceAccountMatch). No caller has one that no pod runs as, so an ALLOW rule lets nobody in, and a DENY rule or `notPrincipals` refuses nobody.",
  fix: "Correct the name: it is `serviceAccountName` of the caller's pod template, and `default` if there is none.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, the callers that were meant get 403. With a DENY rule or with notPrincipals, callers that should be denied or excluded are not.",
    wayOut: "Correct the name in the policy. The access log shows the identity of the callers.",
    silentWhen:
      "Not all workloads are known, nothing in the namespace runs as an account with a similar name (the workload may be created later) and the entry does not come in place of an account that something runs as, more than 512 accounts are there, the trust domain is another mesh's, or the entry is a pattern.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  check: (policy, mesh) => misspelt({ object: policy, mesh }),

  *compare(before, after) {
    let old: ReadonlySet<string | undefined> | undefined;
    const reported = new Set<string | undefined>();
    for (const problem of misspelt(after)) {
      yield;
      if (problem === undefined) continue;
      reported.add(problem.key);
      old ??= new Set(Array.from(misspelt(before), (one) => one?.key));
      yield old.has(problem.key) ? { ...problem, existed: true } : problem;
    }
    yield* inPlaceOfKnown(before, after, reported);
  },
});

interface Side {
  readonly object: AuthorizationPolicy;
  readonly mesh: View;
}

/** Accounts that nothing runs as, where something runs as a similar one; undefined between them, where a review can give way. */
function* misspelt({ object: policy, mesh }: Side): Generator<Problem | undefined, undefined> {
  if (!mesh.knowsAll("Workload")) return;
  let [unknown, compared] = [0, 0];
  for (const { namespace, account, at } of accountsNamed(policy, mesh.settings)) {
    yield;
    if (isRun({ namespace, account }, mesh) || ++unknown > mostCompared) continue;
    // Policies are often applied before the workloads whose callers they name.
    const similar = mesh.get(similarAccounts, namespace);
    compared += similar.size;
    const meant = compared > mostComparisons ? undefined : similar.nearest(account);
    if (meant === undefined) continue;
    yield {
      at,
      message: `${unmatched({ namespace, account })}; did you mean ${JSON.stringify(meant)}?`,
      key: accountKey({ namespace, account }),
      ...evidenceOf(namespace),
    };
  }
}

/** An account that something runs as is named no more, and one that nothing runs as comes in its place: the first that is not `reported`. */
function* inPlaceOfKnown(
  before: Side,
  { object, mesh }: Side,
  reported: ReadonlySet<string | undefined>,
): Generator<Problem | undefined, undefined> {
  if (before.object === object || !mesh.knowsAll("Workload")) return;
  const [old, now] = [accountsOf(before), accountsOf({ object, mesh })];
  const gone = [...old.values()].find((one) => !now.has(accountKey(one)) && isRun(one, mesh));
  if (gone === undefined) return;
  for (const [key, { namespace, account, at }] of now) {
    yield;
    if (old.has(key) || reported.has(key) || isRun({ namespace, account }, mesh)) continue;
    yield {
      at,
      message: `${unmatched({ namespace, account })}, and ${JSON.stringify(gone.account)} of namespace ${JSON.stringify(gone.namespace)} is named no more`,
      key,
      ...evidenceOf(namespace),
    };
    return;
  }
}

interface Account {
  readonly namespace: string;
  readonly account: string;
}

const accountsOf = ({ object, mesh }: Side): ReadonlyMap<string, NamedAccount> =>
  new Map(accountsNamed(object, mesh.settings).map((one) => [accountKey(one), one]));

const isRun = (account: Account, mesh: View): boolean => {
  const key = accountKey(account);
  return whatRunsAsAccount.some((relation) => mesh.hasUnder(relation, key));
};

const unmatched = ({ namespace, account }: Account): string =>
  `No workload of namespace ${JSON.stringify(namespace)} runs as service account ${JSON.stringify(account)}, so this entry matches no caller`;

const evidenceOf = (namespace: string): Pick<Problem, "evidence" | "guess"> => ({
  evidence: [absentHere("Workload", namespace)],
  // Files rarely contain every workload of a namespace.
  guess: `the workloads of namespace ${namespace}`,
});

/** Of the unknown accounts of one policy, so many are compared with those of their namespace. */
const mostCompared = 16;
/** So many comparisons of two names are made for one policy, because a change of a workload asks all policies that name its namespace. */
const mostComparisons = 512;
