import { readObject } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { revisionLabel } from "../objects/labels.ts";
import { asMadeOfPolicies } from "./backend-policy-merge.ts";
import type { Definition } from "./definition-choice.ts";
import type { DestinationRule } from "./destination-rules.ts";
import { hostOfService } from "./hosts.ts";
import {
  type BackendTls,
  type BackendTlsPolicy,
  backendTlsOfEntry,
  backendTlsOfService,
  backendTlsPoliciesOfService,
  hasInvalidAuthority,
} from "./backend-tls-policies.ts";

type Tls = NonNullable<NonNullable<DestinationRule["spec"]["trafficPolicy"]>["tls"]>;

const policies = new WeakMap<Tls, BackendTlsPolicy>();

/** The BackendTLSPolicy of which istiod makes a setting; undefined: a DestinationRule of users has it. */
export const policyThatSets = (tls: Tls): BackendTlsPolicy | undefined => policies.get(tls);

/** The BackendTLSPolicies of which istiod makes a DestinationRule; empty: users have written it. */
export function policiesOf({ spec: { trafficPolicy } }: DestinationRule): readonly BackendTlsPolicy[] {
  const all = [trafficPolicy, ...(trafficPolicy?.portLevelSettings ?? [])];
  return [...new Set(all.flatMap((one) => (one?.tls && policyThatSets(one.tls)) ?? []))];
}

/** DestinationRules by their hosts. */
export type PolicyRules = ReadonlyMap<string, DestinationRule>;

/** The DestinationRule that istiod makes of the BackendTLSPolicies of a Service. */
export const policyRulesOfService = fact(
  "policyRulesOfService",
  "Service",
  [backendTlsOfService],
  (service, mesh): PolicyRules =>
    rulesMadeOf(mesh.get(backendTlsOfService, service), service, [hostOfService(service, mesh.settings.domain)]),
);

/**
 * Those that it makes of the BackendTLSPolicies of a ServiceEntry, one for each host. That for a host without a dot is for another name
 * (Istio pilot/pkg/model/push_context.go ResolveShortnameToFQDN, without a domain).
 */
export const policyRulesOfEntry = fact(
  "policyRulesOfEntry",
  "ServiceEntry",
  [backendTlsOfEntry],
  (entry, mesh): PolicyRules => {
    const hosts = entry.spec.hosts.filter((host) => host.includes("."));
    return rulesMadeOf(mesh.get(backendTlsOfEntry, entry), entry, hosts);
  },
);

/** What `policyRulesOf` reads. */
export const policyRuleReads = [policyRulesOfService, policyRulesOfEntry, backendTlsPoliciesOfService] as const;
export type PolicyRuleView = MeshView<(typeof policyRuleReads)[number]>;

/** Whether istiod makes a DestinationRule of any BackendTLSPolicy: most meshes have none. */
export const hasPolicyRules = (mesh: MeshView<typeof backendTlsPoliciesOfService>): boolean =>
  mesh.hasAny(backendTlsPoliciesOfService);

export function policyRulesOf(definition: Definition, mesh: PolicyRuleView): PolicyRules {
  if (!hasPolicyRules(mesh)) return none;
  return definition.kind === "Service"
    ? mesh.get(policyRulesOfService, definition)
    : mesh.get(policyRulesOfEntry, definition);
}

/** The DestinationRules that istiod makes of BackendTLSPolicies for all that defines a host. */
export const policyRulesFor = (
  host: string,
  definitions: readonly Definition[],
  mesh: PolicyRuleView,
): readonly DestinationRule[] => definitions.flatMap((one) => policyRulesOf(one, mesh).get(host) ?? []);

const none: PolicyRules = new Map();
const beforeAll = "0001-01-01T00:00:00Z";

/**
 * A DestinationRule for each host, in the namespace of what the policies name, without exportTo and without a time, so that it is older
 * than every other one (Istio pilot/pkg/config/kube/gateway/backend_policies.go DestinationRuleCollection).
 */
function rulesMadeOf(found: BackendTls | undefined, definition: Definition, hosts: readonly string[]): PolicyRules {
  if (found === undefined) return none;
  const rule = ruleWithoutHost(found, definition);
  return new Map(
    hosts.map((host) => {
      const metadata = { ...rule.metadata, name: nameFor(definition, host) };
      return [host, asMadeOfPolicies({ ...rule, metadata, spec: { ...rule.spec, host } })];
    }),
  );
}

/** The rule without its host. One for several policies is for the control planes that read one of them. */
function ruleWithoutHost({ wide, byPort }: BackendTls, { metadata }: Definition): DestinationRule {
  const ofPorts = [...byPort].sort(([a], [b]) => a - b);
  const labels = Object.fromEntries(
    [wide, ...byPort.values()].flatMap((policy) => {
      const revision = policy?.metadata.labels[revisionLabel];
      return revision === undefined ? [] : [[revisionLabel, revision]];
    }),
  );
  const trafficPolicy = {
    tls: wide && tlsOf(wide),
    portLevelSettings: ofPorts.map(([number, policy]) => ({ port: { number }, tls: tlsOf(policy) })),
  };
  const rule = readObject("DestinationRule", {
    metadata: { namespace: metadata.namespace, labels, creationTimestamp: beforeAll },
    spec: { trafficPolicy },
  });
  const read = rule.spec.trafficPolicy;
  remember(read?.tls, wide);
  for (const [i, [, policy]] of ofPorts.entries()) remember(read?.portLevelSettings[i]?.tls, policy);
  return rule;
}

/** A credential that does not exist stands for an authority that is no ConfigMap (backend_policies.go getBackendTLSCredentialName). */
const tlsOf = (policy: BackendTlsPolicy) => ({
  mode: "SIMPLE",
  sni: policy.spec.validation.hostname,
  credentialName: hasInvalidAuthority(policy) ? "invalid://" : "",
});

function remember(tls: Tls | undefined, policy: BackendTlsPolicy | undefined): void {
  if (tls !== undefined && policy !== undefined) policies.set(tls, policy);
}

/** The name decides which of several counts (backend_policies.go generateDRName). */
function nameFor({ kind, metadata }: Definition, host: string): string {
  const suffix = "istio-autogenerated-k8s-gateway";
  return kind === "Service" ? `${metadata.name}~${suffix}` : `${metadata.name}~${host.replaceAll(".", "-")}~${suffix}`;
}
