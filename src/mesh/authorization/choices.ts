import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";
import { authorizationOf, type ReadsAuthorization } from "./effective-authorization.ts";
import {
  actionOf,
  attachesToGateway,
  attachmentTo,
  type AuthorizationPolicy,
  type Idleness,
  idlenessOf,
  reachOf,
  servicesTargeted,
  type TargetRef,
  targetRefsOf,
} from "./policies.ts";
import type { Enforcer, Reach } from "./rules.ts";
import { authorizationOfWorkload } from "./workload-authorization.ts";
import { atZtunnel, httpAttributesOf, type ZtunnelRule } from "./ztunnel-rules.ts";

/** A namespace and every AuthorizationPolicy in it and in the root namespace, including dry runs and AUDIT. */
export const everyAuthorizationPolicyOfNamespace = relation(
  "everyAuthorizationPolicyOfNamespace",
  namespaceByNameAndRoot,
  index("AuthorizationPolicy", ({ metadata }) => [metadata.namespace]),
);

/**
 * Whether a policy takes part where it is for something, and if not, why.
 * - `counts`: requests are held against its rules; CUSTOM hands them to a provider.
 * - `not-read`: its `istio.io/rev` names no revision that is served.
 * - `dry-run`: it is only recorded what it would do.
 * - `audit-only`: AUDIT denies and allows nothing.
 * - `unknown-action`: there is no such action.
 * - `custom-at-ztunnel`: ztunnel is given no policy that asks a provider.
 * - `empty-selector-at-ztunnel`: ztunnel gets a selector without matchLabels as one that selects nothing.
 * - `nothing-captures`: no proxy and no ztunnel stands before the pods.
 */
export type AuthorizationOutcome =
  | "counts"
  | Exclude<Idleness, "asks-provider">
  | "custom-at-ztunnel"
  | "empty-selector-at-ztunnel"
  | "nothing-captures";

/** A rule that ztunnel takes otherwise than it is written, because it sees no HTTP. */
export interface RuleAtZtunnel {
  readonly index: number;
  readonly outcome: Exclude<ZtunnelRule, "whole">;
  /** What it asks for in vain, by name. */
  readonly unseen: readonly string[];
}

/** A policy that speaks of something, with what becomes of it. */
export interface AuthorizationChoice {
  readonly policy: AuthorizationPolicy;
  readonly action: string;
  readonly outcome: AuthorizationOutcome;
  /** What enforces it, or would: policies with targets are for proxies. */
  readonly enforcer: Enforcer;
  /** Whom its rules match there; `nobody`: it has no rules. */
  readonly reach: Reach | "nobody";
  readonly targets: readonly TargetRef[];
  /** Of the workloads that it is for; none: of all. */
  readonly labels: Readonly<Record<string, string>>;
  /** It counts in every namespace. */
  readonly isMeshWide: boolean;
  /** Empty where it does not count, or proxies enforce it. */
  readonly atZtunnel: readonly RuleAtZtunnel[];
}

type View = MeshView<typeof everyAuthorizationPolicyOfNamespace | ReadsAuthorization>;

/** Every policy that speaks of a namespace, for whatever in it: oldest first, what is mesh-wide among them. */
export function authorizationChoicesOfNamespace(namespace: Namespace, mesh: View): readonly AuthorizationChoice[] {
  const { enforcer } = authorizationOf(namespace, mesh);
  // Of the root namespace, what has targets is for gateways: of other namespaces, or of all.
  return everyPolicy(namespace, mesh)
    .filter((policy) => policy.metadata.namespace === namespace.metadata.name || targetRefsOf(policy).length === 0)
    .map((policy) => choice(policy, enforcer, mesh.settings));
}

/** Every policy that is for one workload, or for the gateway whose pods it makes. */
export function authorizationChoicesOfWorkload(
  workload: Workload,
  namespace: Namespace,
  mesh: View,
): readonly AuthorizationChoice[] {
  const { settings } = mesh;
  const { enforcer, gateway, isEnforced } = authorizationOfWorkload(
    workload,
    namespace,
    authorizationOf(namespace, mesh),
  );
  const policies = everyPolicy(namespace, mesh).filter((policy) =>
    gateway === undefined
      ? attachmentTo(policy, workload.pod.labels, enforcer) !== undefined
      : attachesToGateway(policy, gateway, settings),
  );
  const choices = policies.map((policy) => choice(policy, enforcer, settings));
  return isEnforced ? choices : choices.map((one) => uncaptured(one));
}

/** Every policy that is for a Service at its waypoint, which reaches it through targetRefs only. */
export function authorizationChoicesOfService(
  service: string,
  namespace: Namespace,
  mesh: View,
): readonly AuthorizationChoice[] {
  const waypoints = authorizationOf(namespace, mesh).gateways.filter(({ isWaypoint }) => isWaypoint);
  return everyPolicy(namespace, mesh)
    .filter(
      (policy) =>
        (policy.metadata.namespace === namespace.metadata.name && servicesTargeted(policy).includes(service)) ||
        waypoints.some((waypoint) => attachesToGateway(policy, waypoint, mesh.settings)),
    )
    .map((policy) => choice(policy, "proxy", mesh.settings));
}

const everyPolicy = (namespace: Namespace, mesh: View): readonly AuthorizationPolicy[] =>
  mesh.related(everyAuthorizationPolicyOfNamespace, namespace).toSorted(oldestFirst);

function choice(policy: AuthorizationPolicy, where: Enforcer, settings: MeshSettings): AuthorizationChoice {
  const targets = targetRefsOf(policy);
  const enforcer = targets.length > 0 ? "proxy" : where;
  const { rules, selector } = policy.spec;
  const outcome = outcomeAt(policy, enforcer, settings);
  return {
    policy,
    action: actionOf(policy),
    outcome,
    enforcer,
    reach: rules.length === 0 ? "nobody" : reachOf(policy, enforcer, settings),
    targets,
    labels: targets.length > 0 ? {} : (selector?.matchLabels ?? {}),
    isMeshWide: policy.metadata.namespace === settings.rootNamespace,
    atZtunnel: outcome === "counts" && enforcer === "ztunnel" ? rulesAtZtunnel(policy) : [],
  };
}

/** Whoever it selects: an empty selector is ztunnel's own way of selecting nothing. */
function outcomeAt(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): AuthorizationOutcome {
  const idleness = idlenessOf(policy, settings);
  if (idleness === "asks-provider") return enforcer === "ztunnel" ? "custom-at-ztunnel" : "counts";
  if (idleness !== undefined) return idleness;
  const labels = policy.spec.selector?.matchLabels ?? {};
  return attachmentTo(policy, labels, enforcer) === "empty-selector" ? "empty-selector-at-ztunnel" : "counts";
}

const uncaptured = (one: AuthorizationChoice): AuthorizationChoice =>
  one.outcome === "counts" ? { ...one, outcome: "nothing-captures", atZtunnel: [] } : one;

const rulesAtZtunnel = (policy: AuthorizationPolicy): readonly RuleAtZtunnel[] =>
  policy.spec.rules.flatMap((rule, i) => {
    const outcome = atZtunnel(rule, actionOf(policy));
    return outcome === "whole" ? [] : [{ index: i, outcome, unseen: httpAttributesOf(rule) }];
  });
