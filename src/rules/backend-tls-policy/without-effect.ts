import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { overriddenReads, rulesOverPolicies } from "../../mesh/client-tls/overridden-policies.ts";
import {
  type BackendTlsPolicy,
  backendTlsOfEntry,
  backendTlsOfService,
  entriesOfBackendTlsPolicy,
  hasInvalidAuthority,
  isIgnored,
  isSupportedTarget,
  portNumbers,
  servicesOfBackendTlsPolicy,
  type TargetRef,
} from "../../mesh/traffic/backend-tls-policies.ts";
import { precedence } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { Definition } from "../../mesh/traffic/definition-choice.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [servicesOfBackendTlsPolicy, entriesOfBackendTlsPolicy, ...overriddenReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const backendTlsPolicyWithoutEffect = defineRule({
  id: "backend-tls-policy-without-effect",
  subject: "BackendTLSPolicy",
  reads,
  worksWithout: ["DestinationRule", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A BackendTLSPolicy, or one of its targets, does not give clients the TLS that it describes.",
  why: "A target is left out that does not exist in the namespace of the policy, that is neither a Service nor a ServiceEntry, whose section is no name of a port, or that an older BackendTLSPolicy has too; clients then send what they sent before, plaintext or the mesh's mTLS (Istio pilot/pkg/config/kube/gateway/backend_policies.go BackendTLSPolicyCollection, btlsIsConflicted). What a DestinationRule of the same namespace and host sets takes precedence over the policy (pilot/pkg/model/destination_rule.go mergeBackendPolicyTrafficPolicy). Of caCertificateRefs it reads the first alone, which must be a ConfigMap: with another one, gateways get a certificate that does not exist, and sidecars no TLS at all (getBackendTLSCredentialName, pilot/pkg/networking/core/cluster_tls.go buildUpstreamClusterTLSContext).",
  fix: "Correct the name, the kind or the section of the target, or delete the policy that is not needed. Keep the certificate of the authority in a ConfigMap, under the key `ca.crt`.",
  incident: {
    symptoms: ["reset", "backend-error"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: 'The backend answers 400 with "Client sent an HTTP request to an HTTPS server", or connections are reset. The condition `Accepted` of the policy is False, or `ResolvedRefs` is.',
    wayOut: "Apply the previous version of the policy or of the Service.",
    silentWhen:
      "Not all Services or ServiceEntries are known, so that the target may exist, a DestinationRule of the namespace of the clients or for a wildcard counts instead, the annotation istio.io/ignore-policy-attachment turns the policy off, or the ConfigMap of the certificate is missing, which is not looked at.",
    page: "https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/",
  },

  *check(policy, mesh) {
    if (isIgnored(policy) || !isServed(policy, mesh.settings)) return;
    if (hasInvalidAuthority(policy))
      yield {
        at: ["spec", "validation", "caCertificateRefs", 0],
        message:
          "The first reference to a certificate is no ConfigMap: connections of gateways fail, and sidecars use no TLS",
        key: "certificate",
      };
    const found = new Map<string, Definition>(
      [...mesh.related(servicesOfBackendTlsPolicy, policy), ...mesh.related(entriesOfBackendTlsPolicy, policy)].map(
        (one) => [`${one.kind}/${one.metadata.name}`, one],
      ),
    );
    for (const [i, target] of policy.spec.targetRefs.entries()) {
      yield;
      const problem = problemWith(target, found.get(`${target.kind}/${target.name}`), policy, mesh);
      if (problem !== undefined) yield { ...problem, at: ["spec", "targetRefs", i, ...problem.at] };
    }
  },
});

function problemWith(
  target: TargetRef,
  definition: Definition | undefined,
  policy: BackendTlsPolicy,
  mesh: View,
): Problem | undefined {
  if (!isSupportedTarget(target))
    return { at: ["kind"], message: "A target can be a Service or a ServiceEntry: istiod leaves out this one" };
  if (definition === undefined) return missing(target, policy, mesh);
  const { sectionName } = target;
  const number = sectionName ? portNumbers(definition).get(sectionName) : undefined;
  if (sectionName && number === undefined)
    return {
      at: ["sectionName"],
      message: `${idOf(definition)} has no port with the name ${JSON.stringify(sectionName)}, so istiod leaves out this target`,
      related: [definition],
      evidence: [definition],
    };
  return passedOver(definition, number, policy, mesh) ?? overridden(definition, number, policy, mesh);
}

/** `port`: of the section; undefined: the target has none, and is for all ports. */
function overridden(
  definition: Definition,
  port: number | undefined,
  policy: BackendTlsPolicy,
  mesh: View,
): Problem | undefined {
  const found = rulesOverPolicies(definition, mesh).filter(
    (one) => one.policy === policy && (port === undefined || one.port === port),
  );
  const [first] = found;
  if (first === undefined) return undefined;
  const { rule, isWithoutTls } = first;
  const ports = found.slice(0, mostShown).map((one) => one.port);
  const at = `at port ${ports.join(", ")} of ${idOf(definition)}`;
  return {
    at: [],
    message: isWithoutTls
      ? `Clients do not use the TLS of this policy ${at}: ${idOf(rule)} has an entry for the port, without tls`
      : `Clients use the TLS of ${idOf(rule)}, and not that of this policy, ${at}`,
    key: JSON.stringify(["rule", definition.kind, definition.metadata.name, port, idOf(rule)]),
    fix: isWithoutTls
      ? "Write `tls` into the entry of `portLevelSettings`, or name the port in `sectionName` of the policy."
      : "Remove `tls` from the DestinationRule, or delete the policy.",
    related: [rule],
    evidence: [definition, rule],
  };
}
const mostShown = 3;

/** `port`: of the section; undefined: the target has none. */
function passedOver(
  definition: Definition,
  port: number | undefined,
  policy: BackendTlsPolicy,
  mesh: View,
): Problem | undefined {
  const used =
    definition.kind === "Service" ? mesh.get(backendTlsOfService, definition) : mesh.get(backendTlsOfEntry, definition);
  const first = port === undefined ? used?.wide : used?.byPort.get(port);
  if (first === undefined || first === policy) return undefined;
  return {
    at: [],
    message: `The TLS of ${idOf(definition)} is that of ${idOf(first)}, which ${precedence(first, policy)}: istiod leaves out this target`,
    key: JSON.stringify(["older", definition.kind, definition.metadata.name, port, idOf(first)]),
    related: [first],
    evidence: [first],
  };
}

function missing({ kind, name }: TargetRef, { metadata }: BackendTlsPolicy, mesh: View): Problem | undefined {
  const target = kind === "ServiceEntry" ? "ServiceEntry" : "Service";
  if (!mesh.knows(target)) return undefined;
  return {
    at: ["name"],
    message: `There is no ${target} ${name} in namespace ${metadata.namespace}, so istiod leaves out this target`,
    evidence: [absent(target, metadata.namespace, name)],
    ...(mesh.knowsAll(target) ? {} : { guess: target === "Service" ? "all Services" : "all ServiceEntries" }),
  };
}
