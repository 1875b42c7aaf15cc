import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";
import { type authorization, authorizationOf, type Gateway } from "./effective-authorization.ts";
import {
  actionOf,
  attachesToGateway,
  attachmentTo,
  type AuthorizationPolicy,
  type Idleness,
  idlenessOf,
  servicesTargeted,
  type TargetRef,
  targetRefsOf,
} from "./policies.ts";
import { type Reach, reachOf } from "./reach.ts";
import type { Enforcer } from "./rules.ts";
import { authorizationOfWorkload } from "./workload-authorization.ts";
import { atZtunnel, unseenAttributesOf, type ZtunnelRule } from "./ztunnel-rules.ts";

/** A namespace and every AuthorizationPolicy in it and in the root namespace, including dry runs and AUDIT. */
export const everyAuthorizationPolicyOfNamespace = relation(
  "everyAuthorizationPolicyOfNamespace",
  namespaceByNameAndRoot,
  index("AuthorizationPolicy", ({ metadata }) => [metadata.namespace]),
);

/**
 * The status of a policy for a workload or Service, and if it has no effect, why.
 * - `counts`: its rules are evaluated; with CUSTOM, a provider is called.
 * - `not-read`: the control plane of these proxies does not read it, because of its label `istio.io/rev` or of the
 *   `discoverySelectors`.
 * - `dry-run`: its result is only logged.
 * - `audit-only`: AUDIT neither denies nor allows.
 * - `unknown-action`: Istio has no such action.
 * - `custom-at-ztunnel`: ztunnel does not support CUSTOM.
 * - `empty-selector-at-ztunnel`: for ztunnel, a selector without matchLabels selects nothing.
 * - `nothing-captures`: the pods are not captured.
 */
export type AuthorizationOutcome =
  | "counts"
  | Exclude<Idleness, "asks-provider">
  | "custom-at-ztunnel"
  | "empty-selector-at-ztunnel"
  | "nothing-captures";

/** A rule with another effect at ztunnel than written, because ztunnel does not parse HTTP. */
export interface RuleAtZtunnel {
  readonly index: number;
  readonly outcome: Exclude<ZtunnelRule, "whole">;
  /** The names of its unsupported attributes. */
  readonly unseen: readonly string[];
}

/** A policy for a namespace, workload or Service, with its status. */
export interface AuthorizationChoice {
  readonly policy: AuthorizationPolicy;
  readonly action: string;
  readonly outcome: AuthorizationOutcome;
  /** The component that enforces it, or would enforce it: policies with targets are for proxies. */
  readonly enforcer: Enforcer;
  /** The requests that its rules match there; `nobody`: it has no rules. */
  readonly reach: Reach | "nobody";
  readonly targets: readonly TargetRef[];
  /** The labels in its selector; empty: all workloads. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it applies to every namespace. */
  readonly isMeshWide: boolean;
  /** Empty if it has no effect, or if proxies enforce it. */
  readonly atZtunnel: readonly RuleAtZtunnel[];
}

type View = MeshView<typeof everyAuthorizationPolicyOfNamespace | typeof authorization>;

/** Every policy for a namespace or for an object in it, including mesh-wide policies, oldest first. */
export function authorizationChoicesOfNamespace(namespace: Namespace, mesh: View): readonly AuthorizationChoice[] {
  const found = authorizationOf(namespace, mesh);
  const { enforcer } = found;
  // Policies with targets in the root namespace are for its own gateways, or for all gateways of a class.
  return everyPolicy(namespace, mesh)
    .filter((policy) => policy.metadata.namespace === namespace.metadata.name || targetRefsOf(policy).length === 0)
    .map((policy) => {
      const controlPlane = targetRefsOf(policy).length > 0 ? found.controlPlaneOfWaypoint : found.controlPlaneOf();
      return choice(policy, enforcer, mesh.settings, found.readers.reads(policy, controlPlane));
    });
}

/** Every policy for one workload, or for the gateway that the workload belongs to. */
export function authorizationChoicesOfWorkload(
  workload: Workload,
  namespace: Namespace,
  mesh: View,
): readonly AuthorizationChoice[] {
  const { settings } = mesh;
  const found = authorizationOf(namespace, mesh);
  const { enforcer, gateway, isEnforced } = authorizationOfWorkload(workload, namespace, found);
  const controlPlane = gateway ? gateway.controlPlane : found.controlPlaneOf(workload.pod.labels, enforcer);
  const policies = everyPolicy(namespace, mesh).filter((policy) =>
    gateway === undefined
      ? attachmentTo(policy, workload.pod.labels, enforcer) !== undefined
      : attachesToGateway(policy, gateway, settings),
  );
  const choices = policies.map((policy) =>
    choice(policy, enforcer, settings, found.readers.reads(policy, controlPlane)),
  );
  return isEnforced ? choices : choices.map((one) => uncaptured(one));
}

/** A waypoint, and the namespace that it is in. */
export interface WaypointAt {
  readonly waypoint: Gateway;
  readonly home: Namespace;
}

/**
 * Every policy for a Service at its waypoint, which enforces only policies with targetRefs: those of the Service's namespace that target
 * it, those of the waypoint's namespace that target the waypoint, and those of the root namespace for the class of waypoints.
 */
export function authorizationChoicesOfService(
  service: string,
  namespace: Namespace,
  { waypoint, home }: WaypointAt,
  mesh: View,
): readonly AuthorizationChoice[] {
  const isForIt = (policy: AuthorizationPolicy): boolean =>
    (policy.metadata.namespace === namespace.metadata.name && servicesTargeted(policy).includes(service)) ||
    attachesToGateway(policy, waypoint, mesh.settings);
  const policies = new Set([namespace, home].flatMap((one) => everyPolicy(one, mesh)).filter(isForIt));
  return [...policies].sort(oldestFirst).map((policy) => {
    const at = policy.metadata.namespace === namespace.metadata.name ? namespace : home;
    const { readers } = authorizationOf(at, mesh);
    return choice(policy, "proxy", mesh.settings, readers.reads(policy, waypoint.controlPlane));
  });
}

const everyPolicy = (namespace: Namespace, mesh: View): readonly AuthorizationPolicy[] =>
  mesh.related(everyAuthorizationPolicyOfNamespace, namespace).toSorted(oldestFirst);

function choice(
  policy: AuthorizationPolicy,
  where: Enforcer,
  settings: MeshSettings,
  isRead: boolean,
): AuthorizationChoice {
  const targets = targetRefsOf(policy);
  const enforcer = targets.length > 0 ? "proxy" : where;
  const { rules, selector } = policy.spec;
  const outcome = isRead ? outcomeAt(policy, enforcer, settings) : "not-read";
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

/** Ignores that an empty selector selects nothing at ztunnel, which has its own status. */
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
    return outcome === "whole" ? [] : [{ index: i, outcome, unseen: unseenAttributesOf(rule) }];
  });
