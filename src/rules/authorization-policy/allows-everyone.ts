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
  summary: "A rule of an ALLOW policy restricts nobody, so that everything else that denies by default is pointless.",
  why: 'ALLOW policies add up: one matching rule lets a request pass, and a rule whose `from`, `to` and `when` restrict nothing matches every request (Istio pilot/pkg/security/authz/model/model.go New). `principals: ["*"]` and `namespaces: ["*"]` ask only that the caller has some identity of the mesh.',
  fix: "Say who may call in `from` (principals, namespaces or serviceAccounts), or what in `to`; to close a namespace, leave `rules` out.",

  *check(policy, mesh) {
    const { settings } = mesh;
    // Most policies restrict somebody whoever enforces them: then nothing else has to be looked at.
    if (actionOf(policy) !== "ALLOW" || enforcers.every((enforcer) => reachOf(policy, enforcer, settings) === "some"))
      return;
    for (const namespace of mesh.related(namespaceOfAuthorizationPolicy, policy)) {
      const authorization = authorizationOf(namespace, mesh);
      const concerned = concernedBy(policy, authorization, namespace, settings);
      // A DENY that matches everything cannot be lifted.
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
      ? "This rule lets everyone in: no from, to or when restricts it"
      : "This rule lets every workload of the mesh in: any identity will do, and no to restricts it";
  return {
    at: ["spec", "rules", i],
    message: isDenied ? `${who}; what denies by default here is lifted` : who,
    // A scope that grows opens more; that something denies since then opens nothing.
    key: JSON.stringify([scopeOf(policy), reach]),
    ...(reach === "everyone" && isDenied ? {} : { atMost: "warn" as const }),
  };
}

interface Concerned {
  readonly enforcer: Enforcer;
  readonly coverage: Coverage;
}

/** What the policy is for: what is there, and what could be there. */
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

/** Targets that nobody has shown are taken as they are named. */
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
