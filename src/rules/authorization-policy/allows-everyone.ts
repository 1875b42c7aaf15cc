import { defineRule, type Problem } from "../../engine/rule.ts";
import {
  authorizationOf,
  type Coverage,
  enforcerOf,
  type NamespaceAuthorization,
  namespaceOfAuthorizationPolicy,
  readsAuthorization,
} from "../../mesh/authorization/effective-authorization.ts";
import {
  actionOf,
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  reachOf,
  scopeOf,
  servicesTargeted,
  targetRefsOf,
} from "../../mesh/authorization/policies.ts";
import { type Enforcer, type Reach, ruleReach, widest } from "../../mesh/authorization/rules.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";

export const authorizationPolicyAllowsEveryone = defineRule({
  id: "authorization-policy-allows-everyone",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfAuthorizationPolicy, ...readsAuthorization],
  worksWithout: ["Workload", "KubernetesGateway"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "A rule of an ALLOW policy has no restrictions, so it cancels every default deny.",
  why: 'ALLOW policies are additive: one matching rule allows a request, and a rule whose `from`, `to` and `when` restrict nothing matches every request (Istio pilot/pkg/security/authz/model/model.go New). `principals: ["*"]` and `namespaces: ["*"]` require only that the caller has some identity of the mesh.',
  fix: "Restrict the callers in `from` (principals, namespaces or serviceAccounts) or the operations in `to`. To deny everything by default, leave `rules` out.",

  *check(policy, mesh) {
    const { settings } = mesh;
    // Most policies have restrictions for every enforcer, so nothing else has to be checked.
    if (actionOf(policy) !== "ALLOW" || enforcers.every((enforcer) => reachOf(policy, enforcer, settings) === "some"))
      return;
    for (const namespace of mesh.related(namespaceOfAuthorizationPolicy, policy)) {
      const authorization = authorizationOf(namespace, mesh);
      const concerned = concernedBy(policy, authorization, namespace, settings);
      // A DENY policy that matches everything cannot be overridden.
      const isDenied = concerned.some(({ coverage }) => coverage.closedBy && !coverage.sealedBy);
      for (const [i, rule] of policy.spec.rules.entries()) {
        const reach = widest(concerned.map(({ enforcer }) => ruleReach(rule, enforcer, settings)));
        if (reach !== "some") yield problemOf(policy, i, reach, isDenied);
      }
    }
  },
});

const enforcers: readonly Enforcer[] = ["proxy", "ztunnel"];

function problemOf(policy: AuthorizationPolicy, i: number, reach: Reach, isDenied: boolean): Problem {
  const who =
    reach === "everyone"
      ? "This rule allows everyone: no from, to or when restricts it"
      : "This rule allows every workload of the mesh: it accepts any identity, and no to restricts it";
  return {
    at: ["spec", "rules", i],
    message: isDenied ? `${who}; it cancels the default deny` : who,
    // A wider scope allows more, so it is a new finding; a default deny that was added meanwhile is not.
    key: JSON.stringify([scopeOf(policy), reach]),
    ...(reach === "everyone" && isDenied ? {} : { atMost: "warn" as const }),
  };
}

interface Concerned {
  readonly enforcer: Enforcer;
  readonly coverage: Coverage;
}

/** The workloads and targets that the policy applies to, existing and possible ones. */
function concernedBy(
  policy: AuthorizationPolicy,
  authorization: NamespaceAuthorization,
  namespace: Namespace,
  settings: MeshSettings,
): readonly Concerned[] {
  const { workloads, enforcer, ofLabels, ofWorkload } = authorization;
  const concerned = targetedBy(policy, authorization, settings);
  const labels = policy.spec.selector?.matchLabels ?? {};
  if (attachesToLabels(policy, labels, enforcer)) concerned.push({ enforcer, coverage: ofLabels(labels) });
  for (const workload of workloads) {
    const by = enforcerOf(workload, namespace);
    if (attachesToLabels(policy, workload.pod.labels, by))
      concerned.push({ enforcer: by, coverage: ofWorkload(workload) });
  }
  return concerned;
}

/** Targets that are not known are assumed to exist as named. */
function targetedBy(
  policy: AuthorizationPolicy,
  { gateways, ofGateway, ofService }: NamespaceAuthorization,
  settings: MeshSettings,
): Concerned[] {
  const { namespace } = policy.metadata;
  const named = targetRefsOf(policy)
    .filter(({ name }) => gateways.every((gateway) => gateway.name !== name))
    .map(({ name }) => ({ name, namespace, isWaypoint: true }));
  return [
    ...[...gateways, ...named].filter((gateway) => attachesToGateway(policy, gateway, settings)).map(ofGateway),
    ...servicesTargeted(policy).map(ofService),
  ].map((coverage) => ({ enforcer: "proxy", coverage }));
}
