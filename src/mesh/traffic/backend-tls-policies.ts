import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import type { Definition } from "./definition-choice.ts";

export type BackendTlsPolicy = ObjectOf<"BackendTLSPolicy">;
export type TargetRef = BackendTlsPolicy["spec"]["targetRefs"][number];

const groups: ReadonlyMap<string | undefined, string> = new Map([
  ["Service", ""],
  ["ServiceEntry", "networking.istio.io"],
]);

/** Whether istiod makes TLS for a target of this kind (Istio pilot/pkg/config/kube/gateway/backend_policies.go BackendTLSPolicyCollection). */
export const isSupportedTarget = ({ group, kind }: TargetRef): boolean =>
  groups.has(kind) && (group ?? "") === groups.get(kind);

/** Whether an annotation makes istiod ignore a policy (backend_policies.go BackendTLSPolicyCollection). */
export const isIgnored = ({ metadata }: BackendTlsPolicy): boolean =>
  metadata.annotations["istio.io/ignore-policy-attachment"]?.toLowerCase() === "true";

/**
 * Whether istiod has no certificate of an authority for a policy, because the first reference is no ConfigMap: its credential is then
 * one that does not exist (backend_policies.go getBackendTLSCredentialName).
 */
export function hasInvalidAuthority({ spec: { validation } }: BackendTlsPolicy): boolean {
  const [first] = validation.caCertificateRefs;
  if (validation.wellKnownCACertificates !== undefined || first === undefined) return false;
  return first.kind !== "ConfigMap" || (first.group ?? "") !== "";
}

const keyOfTarget = (kind: string | undefined, namespace: string, name: string): string =>
  `${kind}/${namespace}/${name}`;

const targets = new WeakMap<BackendTlsPolicy, ReadonlyMap<string, readonly TargetRef[]>>();

/** The supported targets of a policy by their keys. Each of the definitions that it names asks for its own. */
function targetsOf(policy: BackendTlsPolicy): ReadonlyMap<string, readonly TargetRef[]> {
  let found = targets.get(policy);
  if (found === undefined) {
    found = Map.groupBy(policy.spec.targetRefs.filter(isSupportedTarget), ({ kind, name }) =>
      keyOfTarget(kind, policy.metadata.namespace, name),
    );
    targets.set(policy, found);
  }
  return found;
}

const noTargets: readonly TargetRef[] = [];
const targetsNaming = (key: string, policy: BackendTlsPolicy): readonly TargetRef[] =>
  targetsOf(policy).get(key) ?? noTargets;

const policyByTarget = index("BackendTLSPolicy", (policy, settings) =>
  isIgnored(policy) || !isServed(policy, settings) ? [] : targetsOf(policy).keys(),
);
const keyOfDefinition = ({ kind, metadata }: Definition): string =>
  keyOfTarget(kind, metadata.namespace, metadata.name);
const definitionKey = (definition: Definition): readonly string[] => [keyOfDefinition(definition)];

/** A Service and the BackendTLSPolicies of its namespace that name it. */
export const backendTlsPoliciesOfService = relation(
  "backendTlsPoliciesOfService",
  index("Service", definitionKey),
  policyByTarget,
);
/** A ServiceEntry and the BackendTLSPolicies of its namespace that name it. */
export const backendTlsPoliciesOfEntry = relation(
  "backendTlsPoliciesOfEntry",
  index("ServiceEntry", definitionKey),
  policyByTarget,
);

/** A namespace and the BackendTLSPolicies in it that istiod reads. */
export const backendTlsPoliciesOfNamespace = relation(
  "backendTlsPoliciesOfNamespace",
  namespaceByName,
  index("BackendTLSPolicy", (policy, settings) =>
    isIgnored(policy) || !isServed(policy, settings) ? [] : [policy.metadata.namespace],
  ),
);

/** A BackendTLSPolicy that istiod reads and the Services of its namespace that it names. */
export const servicesOfBackendTlsPolicy = relation(
  "servicesOfBackendTlsPolicy",
  policyByTarget,
  backendTlsPoliciesOfService.from,
);
/** A BackendTLSPolicy that istiod reads and the ServiceEntries of its namespace that it names. */
export const entriesOfBackendTlsPolicy = relation(
  "entriesOfBackendTlsPolicy",
  policyByTarget,
  backendTlsPoliciesOfEntry.from,
);

/** The BackendTLSPolicies that give the clients of a Service or a ServiceEntry their TLS. */
export interface BackendTls {
  /** The one for all ports that have none of their own. */
  readonly wide: BackendTlsPolicy | undefined;
  readonly byPort: ReadonlyMap<number, BackendTlsPolicy>;
}

/** The BackendTLSPolicies that count for a Service; undefined: none does. */
export const backendTlsOfService = fact(
  "backendTlsOfService",
  "Service",
  [backendTlsPoliciesOfService],
  (service, mesh): BackendTls | undefined => backendTlsOf(service, mesh.related(backendTlsPoliciesOfService, service)),
);
/** The BackendTLSPolicies that count for a ServiceEntry; undefined: none does. */
export const backendTlsOfEntry = fact(
  "backendTlsOfEntry",
  "ServiceEntry",
  [backendTlsPoliciesOfEntry],
  (entry, mesh): BackendTls | undefined => backendTlsOf(entry, mesh.related(backendTlsPoliciesOfEntry, entry)),
);

/**
 * Of the policies for one target, the oldest counts, and a target whose section is no name of a port is left out (Istio
 * pilot/pkg/config/kube/gateway/backend_policies.go BackendTLSPolicyCollection, btlsIsConflicted, DestinationRuleCollection).
 * Undefined: no policy counts.
 */
function backendTlsOf(definition: Definition, policies: readonly BackendTlsPolicy[]): BackendTls | undefined {
  if (policies.length === 0) return undefined;
  const key = keyOfDefinition(definition);
  const numbers = portNumbers(definition);
  const byPort = new Map<number, BackendTlsPolicy>();
  let wide: BackendTlsPolicy | undefined;
  for (const policy of policies.toSorted(oldestFirst))
    for (const { sectionName } of targetsNaming(key, policy)) {
      const number = numbers.get(sectionName);
      if (!sectionName) wide ??= policy;
      else if (number !== undefined && !byPort.has(number)) byPort.set(number, policy);
    }
  return wide === undefined && byPort.size === 0 ? undefined : { wide, byPort };
}

/** The ports of a definition by name. Of several ports with a name, the first counts. */
export function portNumbers(definition: Definition): ReadonlyMap<string | undefined, number> {
  const ports =
    definition.kind === "Service"
      ? definition.spec.ports.map(({ name, port }) => ({ name, number: port }))
      : definition.spec.ports;
  return new Map(
    ports.toReversed().flatMap(({ name, number }) => (number === undefined ? [] : [[name, number] as const])),
  );
}
