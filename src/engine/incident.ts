/**
 * What is seen once a problem is in the mesh. The texts that the rules of a symptom share are in
 * `src/generate/symptoms.ts`.
 */
export type Symptom =
  | "no-cluster"
  | "no-route"
  | "no-endpoints"
  | "overflow"
  | "backend-error"
  | "reset"
  | "origination-fails"
  | "unreachable"
  | "access-denied"
  | "fault"
  | "no-address"
  | "not-imported"
  | "open-access"
  | "plaintext"
  | "outside-mesh"
  | "waypoint-bypassed"
  | "no-effect"
  | "other-destination"
  | "repeated"
  | "config-refused"
  | "api-refused"
  | "pods-refused"
  | "webhook-fails"
  | "foreign-code"
  | "no-telemetry"
  | "load"
  | "protection-missing";

/** The proxies in which a problem has an effect. */
export type Proxy = "sidecar" | "gateway" | "waypoint" | "ztunnel";

/** What somebody needs who is paged because of a problem, or because it was denied. Full sentences. */
export interface Incident {
  /** At least one; the most conspicuous first. */
  readonly symptoms: readonly [Symptom, ...Symptom[]];
  /** None: the problem does not depend on a proxy. */
  readonly proxies: readonly Proxy[];
  /** What is seen of this problem in particular. */
  readonly seen: string;
  /** The fast and safe way out, before anybody understands why it happened. */
  readonly wayOut: string;
  /** Cases in which the rule reports nothing, although somebody may expect it. */
  readonly silentWhen: string;
  /** A page of Istio's or Kubernetes' documentation. */
  readonly page: `https://${string}/`;
}
