import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { captureOf, enrollmentOf, staysOut } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isOfGateway, isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import {
  actionOf,
  attachesToGateway,
  attachesToLabels,
  type AuthorizationPolicy,
  type GatewayTarget,
  isEnforced,
  reachOf,
  scopeOf,
  servicesTargeted,
} from "./policies.ts";
import type { Enforcer } from "./rules.ts";
import { type KubernetesGateway, gatewaysOfNamespace } from "../membership/gateways.ts";
import { namespaceByName, namespaceByNameAndRoot } from "../objects/indexes.ts";
import { useWaypoint, waypointClass } from "../objects/labels.ts";

type Labels = Readonly<Record<string, string>>;

/**
 * A namespace and the enforced policies that apply in it: its own and the mesh-wide ones (Istio
 * pilot/pkg/model/authorization.go ListAuthorizationPolicies).
 */
export const authorizationPoliciesOfNamespace = relation(
  "authorizationPoliciesOfNamespace",
  namespaceByNameAndRoot,
  index("AuthorizationPolicy", (policy, settings) => (isEnforced(policy, settings) ? [policy.metadata.namespace] : [])),
);

/** An enforced policy and its namespace. */
export const namespaceOfAuthorizationPolicy = relation(
  "namespaceOfAuthorizationPolicy",
  authorizationPoliciesOfNamespace.to,
  namespaceByName,
);

export type ReadsAuthorization =
  | typeof authorizationPoliciesOfNamespace
  | typeof gatewaysOfNamespace
  | typeof workloadsOfNamespace;
export const readsAuthorization = [
  authorizationPoliciesOfNamespace,
  gatewaysOfNamespace,
  workloadsOfNamespace,
] as const;

/** The combined effect of the policies that apply to one workload, gateway or service. */
export interface Coverage {
  /** A DENY policy that matches every request; no other policy can override it. */
  readonly sealedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that does not allow everyone, so that requests which no ALLOW policy matches are denied. */
  readonly closedBy: AuthorizationPolicy | undefined;
  /** An ALLOW policy that allows everyone. One matching ALLOW policy is enough, so the others have no effect. */
  readonly openedBy: AuthorizationPolicy | undefined;
}

/** Whether some policy denies by default, even if another policy cancels its effect. */
export const hasDefaultDeny = ({ sealedBy, closedBy }: Coverage): boolean =>
  sealedBy !== undefined || closedBy !== undefined;

/**
 * Whether a request that no policy allows is denied. DENY takes precedence over ALLOW, and one matching ALLOW is
 * enough.
 */
export const isDeniedByDefault = ({ sealedBy, closedBy, openedBy }: Coverage): boolean =>
  sealedBy !== undefined || (closedBy !== undefined && openedBy === undefined);

/** Authorization in one namespace, before or after a change. */
export interface NamespaceAuthorization {
  readonly policies: readonly AuthorizationPolicy[];
  /**
   * The workloads that policies protect: no proxies, no workloads that opt out of the mesh, no Jobs that do not
   * listen.
   */
  readonly workloads: readonly Workload[];
  /** The same and the proxies, because policies with a selector also apply to gateways. */
  readonly workloadsAndProxies: readonly Workload[];
  /** Whether the namespace has no workloads that the view does not contain. */
  readonly knowsWorkloads: boolean;
  readonly gateways: readonly Gateway[];
  /** Whether policies at a waypoint have an effect in this namespace. */
  readonly mayUseWaypoint: boolean;
  /** The coverage of a workload without labels in this namespace. */
  readonly enforcer: Enforcer;
  ofWorkload(workload: Workload): Coverage;
  /** The coverage of a workload that has exactly these labels. */
  ofLabels(labels: Labels): Coverage;
  ofGateway(gateway: GatewayTarget): Coverage;
  /** The coverage of a Service of this namespace at its waypoint. */
  ofService(name: string): Coverage;
}

export interface Gateway extends GatewayTarget {
  readonly id: string;
}

/** Policies for which `isPassedOver` is true are treated as if they allowed nobody. */
export function authorizationOf(
  namespace: Namespace,
  mesh: MeshView<ReadsAuthorization>,
  isPassedOver: (policy: AuthorizationPolicy) => boolean = () => false,
): NamespaceAuthorization {
  const { settings } = mesh;
  const policies = mesh.related(authorizationPoliciesOfNamespace, namespace).toSorted(oldestFirst);
  const gateways = mesh.related(gatewaysOfNamespace, namespace).map(gatewayOf);
  const waypoints = gateways.filter(({ isWaypoint }) => isWaypoint);
  const workloadsAndProxies = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => isReached(workload, namespace));
  const enforcer = enrollmentOf(namespace) === "ambient" ? "ztunnel" : "proxy";
  const coverage = (by: Enforcer, attaches: (policy: AuthorizationPolicy) => boolean): Coverage => {
    const found = coverageOf(policies.filter(attaches), by, settings);
    return { ...found, openedBy: found.openedBy.find((policy) => !isPassedOver(policy)) };
  };
  const ofLabels = (labels: Labels, by: Enforcer) => coverage(by, (policy) => attachesToLabels(policy, labels, by));
  return {
    policies,
    workloads: workloadsAndProxies.filter((workload) => !isProxy(workload) && !isOfGateway(workload)),
    workloadsAndProxies,
    knowsWorkloads: mesh.knowsAll("Workload"),
    gateways,
    mayUseWaypoint:
      waypoints.length > 0 ||
      namespace.implied === true ||
      namesWaypoint(namespace) ||
      !mesh.knowsAll("KubernetesGateway"),
    enforcer,
    ofLabels: (labels) => ofLabels(labels, enforcer),
    ofWorkload: (workload) => ofLabels(workload.pod.labels, enforcerOf(workload, namespace)),
    ofGateway: (gateway) => coverage("proxy", (policy) => attachesToGateway(policy, gateway, settings)),
    ofService: (name) =>
      coverage(
        "proxy",
        (policy) =>
          (policy.metadata.namespace === namespace.metadata.name && servicesTargeted(policy).includes(name)) ||
          waypoints.some((waypoint) => attachesToGateway(policy, waypoint, settings)),
      ),
  };
}

/** Combines the policies that apply to the same workload, gateway or service. */
function coverageOf(policies: readonly AuthorizationPolicy[], enforcer: Enforcer, settings: MeshSettings) {
  const isForAll = (policy: AuthorizationPolicy) => reachOf(policy, enforcer, settings) === "everyone";
  const allowing = policies.filter((policy) => actionOf(policy) === "ALLOW");
  return {
    sealedBy: policies.find((policy) => actionOf(policy) === "DENY" && isForAll(policy)),
    closedBy: allowing.find((policy) => !isForAll(policy)),
    openedBy: allowing.filter(isForAll),
  };
}

/**
 * The data plane that enforces policies on a workload. If that is unknown, policies are interpreted as a sidecar
 * does.
 */
export const enforcerOf = (workload: Workload, namespace: Namespace): Enforcer =>
  captureOf(workload, namespace) === "ambient" ? "ztunnel" : "proxy";

/**
 * Whether every existing workload gets a default deny from policies that select it, with at least two selectors. Then the
 * namespace is protected workload by workload. A single policy does not show such an intention.
 */
export function isGuardedOneByOne(authorization: NamespaceAuthorization, namespace: Namespace): boolean {
  const { workloads, knowsWorkloads, policies, enforcer, ofWorkload } = authorization;
  if (!knowsWorkloads || workloads.length === 0) return false;
  const selectors = new Set<string>();
  for (const policy of policies) {
    const { selector } = policy.spec;
    const isOwn = policy.metadata.namespace === namespace.metadata.name && actionOf(policy) === "ALLOW";
    if (isOwn && selector && attachesToLabels(policy, selector.matchLabels ?? {}, enforcer))
      selectors.add(scopeOf(policy));
  }
  return selectors.size > 1 && workloads.every((workload) => hasDefaultDeny(ofWorkload(workload)));
}

const gatewayOf = (gateway: KubernetesGateway): Gateway => ({
  id: idOf(gateway),
  name: gateway.metadata.name,
  namespace: gateway.metadata.namespace,
  isWaypoint: gateway.spec.gatewayClassName === waypointClass,
});

function namesWaypoint({ metadata }: Namespace): boolean {
  const waypoint = metadata.labels[useWaypoint];
  return waypoint !== undefined && waypoint !== "" && waypoint !== "none";
}

/** Whether the workload is in the mesh and listens on a port. */
const isReached = (workload: Workload, namespace: Namespace): boolean =>
  listens(workload) && !(staysOut(workload) && captureOf(workload, namespace) === "none");

/** Jobs usually do not listen, so only a Job that declares a port counts. */
const listens = ({ originKind, pod }: Workload): boolean =>
  (originKind !== "Job" && originKind !== "CronJob") || pod.ports.length > 0;
