import { index, type MeshView, relation } from "../../view/view.ts";
import { type BackendTlsPolicy, backendTlsOfEntry, backendTlsOfService } from "../traffic/backend-tls-policies.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { destinationRuleOf } from "../traffic/destination-rules-of-host.ts";
import { DestinationRulesByHost } from "../traffic/destination-rule-lookup.ts";
import { type DestinationRule, hostOfRule } from "../traffic/destination-rules.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { policyRuleReads, policyRulesOf } from "../traffic/policy-rules.ts";
import { isServed } from "../objects/revision.ts";
import { clientTlsOf } from "./client-tls.ts";

/** DestinationRules of users by their namespace and their host, with which the rule that istiod makes of policies is merged. */
const userRules = index("DestinationRule", (rule, settings) =>
  isServed(rule, settings) ? [keyFor(rule.metadata.namespace, hostOfRule(rule, settings))] : [],
);
const keyFor = (namespace: string, host: string): string => `${namespace} ${host}`;

/** A Service and the DestinationRules of its own namespace for its host. */
const userRulesOfService = relation(
  "userRulesOfService",
  index("Service", (service, { domain }) => [keyFor(service.metadata.namespace, hostOfService(service, domain))]),
  userRules,
);
/** A ServiceEntry and the DestinationRules of its own namespace for one of its hosts. */
const userRulesOfEntry = relation(
  "userRulesOfEntry",
  index("ServiceEntry", ({ metadata, spec }) => spec.hosts.map((host) => keyFor(metadata.namespace, host))),
  userRules,
);

/** What `rulesOverPolicies` reads. */
export const overriddenReads = [
  userRulesOfService,
  userRulesOfEntry,
  backendTlsOfService,
  backendTlsOfEntry,
  ...policyRuleReads,
] as const;
type View = MeshView<(typeof overriddenReads)[number]>;

/** A port at which clients do not use the TLS of a BackendTLSPolicy. */
export interface Overridden {
  readonly policy: BackendTlsPolicy;
  readonly port: number;
  /** The DestinationRule of a user that decides instead. */
  readonly rule: DestinationRule;
  /** It has an entry for the port, and no TLS in it. */
  readonly isWithoutTls: boolean;
}

/**
 * The ports of a Service or a ServiceEntry at which a DestinationRule takes precedence over its BackendTLSPolicies, for clients of its
 * own namespace without labels. In one namespace and for one host, istiod merges the rule that it makes of the policies under those of
 * users (Istio pilot/pkg/model/destination_rule.go mergeBackendPolicyTrafficPolicy). Clients of other namespaces can have other rules.
 */
export function rulesOverPolicies(definition: Definition, mesh: View): readonly Overridden[] {
  const { namespace } = definition.metadata;
  const users =
    definition.kind === "Service"
      ? mesh.related(userRulesOfService, definition)
      : mesh.related(userRulesOfEntry, definition);
  if (users.length === 0) return [];
  const found: Overridden[] = [];
  for (const [host, made] of policyRulesOf(definition, mesh)) {
    const rules = new DestinationRulesByHost([made, ...users], mesh.settings).over(host, [host]);
    const merged = destinationRuleOf({}, namespace, rules.seenBy(namespace, namespace));
    for (const [port, policy] of policiesByPort(definition, mesh)) {
      const { policy: used, rule, lost } = clientTlsOf(merged, port, undefined, true);
      if (rule !== undefined && (used !== policy || lost !== undefined) && !found.some((one) => one.port === port))
        found.push({ policy, port, rule, isWithoutTls: lost === "no tls at this port" });
    }
  }
  return found;
}

function policiesByPort(definition: Definition, mesh: View): ReadonlyMap<number, BackendTlsPolicy> {
  const used =
    definition.kind === "Service" ? mesh.get(backendTlsOfService, definition) : mesh.get(backendTlsOfEntry, definition);
  if (used === undefined) return new Map();
  const ports =
    definition.kind === "Service"
      ? definition.spec.ports.flatMap(({ port }) => port ?? [])
      : definition.spec.ports.flatMap(({ number }) => number ?? []);
  return new Map(
    ports.flatMap((port) => {
      const policy = used.byPort.get(port) ?? used.wide;
      return policy === undefined ? [] : [[port, policy] as const];
    }),
  );
}
