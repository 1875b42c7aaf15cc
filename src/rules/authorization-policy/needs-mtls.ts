import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { acceptsPlaintext, mtls, type NamespaceMtls, planesOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode } from "../../mesh/mtls/peer-authentications.ts";
import { weakestOf } from "../../mesh/mtls/workload-mtls.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** A policy for workloads that names identities, and its namespace, whose PeerAuthentications decide whether callers have one. */
const namespaceOfIdentityPolicy = relation(
  "namespaceOfIdentityPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    targetRefsOf(policy).length === 0 && isEnforced(policy, settings) && policy.spec.rules.some(namesIdentities)
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

export const authorizationPolicyNeedsMtls = defineRule({
  id: "authorization-policy-needs-mtls",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfIdentityPolicy, mtls],
  mode: "warn",
  since: "0.1.0",
  onlyOwnChanges: true,
  tags: ["authorization", "mtls"],
  summary: "A policy names callers by their identity, and the workloads accept callers that have none.",
  why: "Principals, namespaces and service accounts come from the client certificate, so a request in plaintext has none (Istio pilot/pkg/security/authz/model/generator.go). A DENY rule that names them does not match such a request: whoever calls without a proxy gets around it. Where mTLS is disabled no caller has an identity, and an ALLOW rule that names some allows nobody.",
  fix: "Require mTLS first: a PeerAuthentication with mode STRICT for these workloads. Or deny what is not allowed with an ALLOW policy, which plaintext does not get around.",
  incident: {
    symptoms: ["open-access", "access-denied"],
    proxies: ["sidecar", "waypoint", "ztunnel"],
    seen: "A caller without a proxy gets an answer that the DENY rule should refuse. Where mTLS is disabled, every caller of an ALLOW rule gets 403.",
    wayOut:
      "Name what is allowed in an ALLOW policy: callers in plaintext match none of its identities. Then require mTLS when no caller in plaintext is left.",
    silentWhen:
      "The policy is in the root namespace, it is not certain that the workloads are in the mesh, or the DENY rule names only identities that it excludes (`notNamespaces`), which callers without an identity match.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfIdentityPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || isTerminating(namespace) || isRoot(namespace, mesh.settings)) return;
    const mode = modeFor(policy, namespace, mesh.get(mtls, namespace));
    if (mode === undefined || !acceptsPlaintext(mode)) return;
    const said = saidOf(actionOf(policy), mode);
    if (said === undefined) return;
    const evidence = evidenceOf(mode, namespace.metadata.name, mesh.settings.rootNamespace);
    for (const [i, rule] of policy.spec.rules.entries())
      if (namesIdentities(rule)) yield { at: ["spec", "rules", i], ...said, evidence };
  },
});

const isRoot = ({ metadata }: Namespace, { rootNamespace }: MeshSettings): boolean => metadata.name === rootNamespace;

/** The weakest mode of workloads with the labels of the selector; undefined: they are not certain to be in the mesh. */
function modeFor({ spec }: AuthorizationPolicy, namespace: Namespace, modes: NamespaceMtls): EffectiveMode | undefined {
  const { planes, isCertain } = planesOfNamespace(namespace);
  // Workloads outside the mesh enforce no policy.
  if (!isCertain) return undefined;
  return weakestOf(planes.map((plane) => modes.of(spec.selector?.matchLabels ?? {}, plane).mode));
}

function saidOf(action: string, { mode }: EffectiveMode): Pick<Problem, "message" | "key"> | undefined {
  if (action === "DENY")
    return {
      message: `Callers in plaintext have no identity and get around this DENY rule: the effective mTLS mode is ${mode}`,
      key: "plaintext evades",
    };
  if (action !== "ALLOW" || mode !== "DISABLE") return undefined;
  return {
    message: "This rule allows nobody: mTLS is disabled, so no caller has an identity",
    key: "nobody has an identity",
  };
}

const identities = ["principals", "namespaces", "serviceAccounts", "trustDomains"] as const;
const identityKeys: ReadonlySet<string> = new Set(["source.principal", "source.namespace", "source.serviceAccount"]);

/** Whether a request must have an identity to match the rule. */
function namesIdentities({ from, when }: Rule): boolean {
  const inFrom = from.length > 0 && from.every(({ source }) => identities.some((field) => source[field].length > 0));
  return inFrom || when.some(({ key, values }) => identityKeys.has(key) && values.length > 0);
}

const evidenceOf = ({ by }: EffectiveMode, namespace: string, root: string): readonly Evidence[] =>
  by === undefined ? [absent("PeerAuthentication", namespace), absent("PeerAuthentication", root)] : [by];
