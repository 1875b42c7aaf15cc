import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { reachOf } from "./reach.ts";
import type { Enforcer } from "./rules.ts";
import { gatewayApiGroup, gatewayNameLabel, waypointClass } from "../objects/labels.ts";

export type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;
export type TargetRef = AuthorizationPolicy["spec"]["targetRefs"][number];

/** `targetRef` is used only if `targetRefs` is empty (Istio pilot/pkg/model/policyattachment.go GetTargetRefs). */
export const targetRefsOf = ({
  spec,
}: AuthorizationPolicy | ObjectOf<"RequestAuthentication">): readonly TargetRef[] =>
  spec.targetRefs.length === 0 && spec.targetRef !== undefined ? [spec.targetRef] : spec.targetRefs;

export const actionOf = ({ spec }: AuthorizationPolicy): string => spec.action ?? "ALLOW";

/**
 * Whether the policy is a dry run, which is logged and not enforced (Istio
 * pilot/pkg/security/authz/builder/builder.go isDryRun; ambient/authorization.go convertAuthorizationPolicy).
 */
export const isDryRun = ({ metadata }: AuthorizationPolicy): boolean =>
  isTrueText(metadata.annotations["istio.io/dry-run"]);

/**
 * Why a policy is not enforced, regardless of its scope.
 * - `not-read`: no control plane has the revision in its label `istio.io/rev`.
 * - `dry-run`, `audit-only`: its result is only logged.
 * - `asks-provider`: CUSTOM calls an external provider, and does not exist at ztunnel.
 * - `unknown-action`: the API server rejects such an object.
 */
export type Idleness = "not-read" | "dry-run" | "audit-only" | "asks-provider" | "unknown-action";

export function idlenessOf(policy: AuthorizationPolicy, settings: MeshSettings): Idleness | undefined {
  if (!isServed(policy, settings)) return "not-read";
  if (isDryRun(policy)) return "dry-run";
  const action = actionOf(policy);
  if (action === "ALLOW" || action === "DENY") return undefined;
  if (action === "CUSTOM") return "asks-provider";
  return action === "AUDIT" ? "audit-only" : "unknown-action";
}

/** Whether a policy is enforced. A policy that is not enforced does not deny by default. */
export const isEnforced = (policy: AuthorizationPolicy, settings: MeshSettings): boolean =>
  idlenessOf(policy, settings) === undefined;

/**
 * Whether a policy of a workload's namespace, or of the root namespace, applies to a workload with these labels
 * (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy for workloads that are not gateways). For ztunnel, a
 * selector without matchLabels selects nothing (ambient/workloads.go buildWorkloadPolicies); with empty matchLabels it
 * selects everything.
 */
export const attachesToLabels = (
  policy: AuthorizationPolicy,
  labels: Readonly<Record<string, string>>,
  enforcer: Enforcer,
): boolean => attachmentTo(policy, labels, enforcer) === "attached";

/**
 * The same, with a separate result for an empty selector, which selects nothing at ztunnel; undefined: the policy is
 * for other workloads.
 */
export function attachmentTo(
  policy: AuthorizationPolicy,
  labels: Readonly<Record<string, string>>,
  enforcer: Enforcer,
): "attached" | "empty-selector" | undefined {
  if (targetRefsOf(policy).length > 0) return undefined;
  const { selector } = policy.spec;
  if (selector === undefined) return "attached";
  if (selector.matchLabels === undefined) return enforcer === "proxy" ? "attached" : "empty-selector";
  return selects(selector.matchLabels, labels) ? "attached" : undefined;
}

/** A Gateway of the Gateway API that Istio runs. */
export interface GatewayTarget {
  readonly name: string;
  readonly namespace: string;
  readonly isWaypoint: boolean;
  /** The labels that istiod gives its pods; undefined: no others are known than that of its name. Nothing selects a waypoint. */
  readonly labels?: Readonly<Record<string, string>>;
}
export const podLabelsOf = ({ name, labels }: GatewayTarget): Readonly<Record<string, string>> =>
  labels ?? { [gatewayNameLabel]: name };
export const hasSameLabels = (a: GatewayTarget, b: GatewayTarget): boolean =>
  a.labels === b.labels || JSON.stringify(podLabelsOf(a)) === JSON.stringify(podLabelsOf(b));

/**
 * Whether a policy applies to a gateway. A waypoint is selected only by targetRefs (ShouldAttachPolicy for gateways).
 */
export function attachesToGateway(
  policy: AuthorizationPolicy,
  gateway: GatewayTarget,
  { rootNamespace }: MeshSettings,
): boolean {
  const refs = targetRefsOf(policy);
  if (refs.length === 0) return !gateway.isWaypoint && attachesToLabels(policy, podLabelsOf(gateway), "proxy");
  const { namespace } = policy.metadata;
  return refs.some((ref) => {
    if (ref.group !== gatewayApiGroup) return false;
    if (ref.kind === "GatewayClass")
      return gateway.isWaypoint && namespace === rootNamespace && ref.name === waypointClass;
    const isHere = namespace === gateway.namespace && ["", namespace].includes(ref.namespace ?? "");
    return isHere && ref.kind === "Gateway" && ref.name === gateway.name;
  });
}

/** The names of the Services in its namespace that a policy targets, enforced at their waypoint. */
export const servicesTargeted = (policy: AuthorizationPolicy): readonly string[] =>
  targetRefsOf(policy).flatMap(({ group, kind, name }) =>
    kind === "Service" && (group === "" || group === "core") ? [name] : [],
  );

/** The names of the ServiceEntries in its namespace that a policy targets, enforced at their waypoint. */
export const entriesTargeted = (policy: AuthorizationPolicy): readonly string[] =>
  targetRefsOf(policy).flatMap(({ group, kind, name }) =>
    kind === "ServiceEntry" && group === "networking.istio.io" ? [name] : [],
  );

/** The scope of a policy in a comparable form: its selector or its targets, without the rules. */
export function scopeOf(policy: AuthorizationPolicy): string {
  const { selector } = policy.spec;
  const labels = selector?.matchLabels;
  const sorted = labels && Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([targetRefsOf(policy), selector === undefined ? "all" : (sorted ?? "empty")]);
}

/** Whether an ALLOW policy allows everyone when a proxy enforces it. */
export const opensToEveryone = (policy: AuthorizationPolicy, settings: MeshSettings): boolean =>
  actionOf(policy) === "ALLOW" && reachOf(policy, "proxy", settings) === "everyone";
