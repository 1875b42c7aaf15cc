import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import { hostKey } from "../traffic/hosts.ts";
import { type BackendTls, type BackendTlsPolicy, hasInvalidAuthority } from "./backend-tls-policies.ts";
import { type ClientTlsChoice, clientTlsOf, entryAt } from "./client-tls.ts";

type Subset = MergedDestinationRule["subsets"][number];

/** A host, the namespace of what defines it, and that of a client. */
export interface ClientAndHost {
  readonly host: string;
  readonly namespace: string;
  readonly client: string;
}

/**
 * The DestinationRule of users that counts beside BackendTLSPolicies. What istiod makes of these is for the host itself, in the
 * namespace of its Service. There it hides rules for wildcards and those of the root namespace; a rule of the client's own namespace
 * hides it (Istio pilot/pkg/model/push_context.go destinationRule).
 */
export function besidePolicies(
  merged: MergedDestinationRule | undefined,
  { host, namespace, client }: ClientAndHost,
): { readonly rule: MergedDestinationRule | undefined; readonly arePoliciesHidden: boolean } {
  if (merged === undefined) return { rule: undefined, arePoliciesHidden: false };
  if (merged.namespace !== namespace)
    return merged.namespace === client
      ? { rule: merged, arePoliciesHidden: true }
      : { rule: undefined, arePoliciesHidden: false };
  return { rule: hostKey(merged.host) === hostKey(host) ? merged : undefined, arePoliciesHidden: false };
}

/**
 * The TLS of a client if BackendTLSPolicies fill the gaps of a DestinationRule for the same host: each field that the user has set
 * counts, and a port that only a policy has is added (Istio pilot/pkg/model/destination_rule.go mergeBackendPolicyTrafficPolicy,
 * mergeBackendPolicyPortLevelSettings).
 */
export function clientTlsWithPolicies(
  merged: MergedDestinationRule | undefined,
  policies: BackendTls,
  at: { readonly port: number; readonly subset: Subset | undefined; readonly isGateway: boolean },
): ClientTlsChoice {
  const { port, subset, isGateway } = at;
  const filled = subsetDecides(subset, port) ? undefined : gapFilled(merged, policies, at);
  return filled ?? clientTlsOf(merged, port, subset, isGateway);
}

const subsetDecides = (subset: Subset | undefined, port: number): boolean =>
  subset?.trafficPolicy?.tls !== undefined || entryAt(subset?.trafficPolicy, port) !== undefined;

/** Undefined: there is no gap, or no policy for it. */
function gapFilled(
  merged: MergedDestinationRule | undefined,
  { wide, byPort }: BackendTls,
  { port, isGateway }: { readonly port: number; readonly isGateway: boolean },
): ClientTlsChoice | undefined {
  const entry = entryAt(merged?.trafficPolicy, port);
  if (entry?.tls !== undefined) return undefined;
  const ofPort = byPort.get(port);
  if (ofPort !== undefined) return simple(ofPort, merged, isGateway);
  if (wide === undefined || hasWideTls(merged)) return undefined;
  // The entry of a user without tls leaves the cluster without it, but the endpoints get that of the policy (clientTlsOf).
  return entry === undefined
    ? simple(wide, merged, isGateway)
    : { tls: "plaintext", lost: "no tls at this port", port, policy: wide };
}

const hasWideTls = (merged: MergedDestinationRule | undefined): boolean => merged?.trafficPolicy?.tls !== undefined;

/** A sidecar gets no TLS for a credential that is no ConfigMap, also for one that does not exist (cluster_tls.go buildUpstreamClusterTLSContext). */
function simple(
  policy: BackendTlsPolicy,
  merged: MergedDestinationRule | undefined,
  isGateway: boolean,
): ClientTlsChoice {
  const mayReadCredentials = isGateway || merged?.selector !== undefined;
  const { hostname } = policy.spec.validation;
  if (!mayReadCredentials && hasInvalidAuthority(policy))
    return { tls: "plaintext", lost: "no workloadSelector", policy };
  return { tls: "tls", policy, ...(hostname ? { sni: hostname } : {}) };
}
