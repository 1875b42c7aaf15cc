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
 * A namespace with the policies that decide in it: its own and the mesh-wide ones (Istio
 * pilot/pkg/model/authorization.go ListAuthorizationPolicies). Only those that are enforced.
 */
export const authorizationPoliciesOfNamespace = relation(
  "authorizationPoliciesOfNamespace",
  namespaceByNameAndRoot,
  index("AuthorizationPolicy", (policy, settings) => (isEnforced(policy, settings) ? [policy.metadata.namespace] : [])),
);

/** An enforced policy and the namespace that it lives in. */
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

/** What the policies that are for one workload, gateway or service do together. */
export interface Coverage {
  /** A DENY that matches every request: nothing can lift it. */
  readonly sealedBy: AuthorizationPolicy | undefined;
  /** An ALLOW that does not let everyone in: what no ALLOW matches is refused. */
  readonly closedBy: AuthorizationPolicy | undefined;
  /** An ALLOW that lets everyone in: ALLOWs add up, so the others are pointless. */
  readonly openedBy: AuthorizationPolicy | undefined;
}

/** Somebody has seen to it that what nobody allows is refused, even where another policy undoes it. */
export const hasDefaultDeny = ({ sealedBy, closedBy }: Coverage): boolean =>
  sealedBy !== undefined || closedBy !== undefined;

/** What no policy allows is refused: DENY goes before ALLOW, and one ALLOW is enough to let a request pass. */
export const isDeniedByDefault = ({ sealedBy, closedBy, openedBy }: Coverage): boolean =>
  sealedBy !== undefined || (closedBy !== undefined && openedBy === undefined);

/** Authorization in one namespace, on one side of a change. */
export interface NamespaceAuthorization {
  readonly policies: readonly AuthorizationPolicy[];
  /** What policies on workloads are for: no proxies, nothing that asks to be left out of the mesh, nothing that only runs and never listens. */
  readonly workloads: readonly Workload[];
  /** The same, and what is data plane itself: policies with a selector hold for gateways, too. */
  readonly workloadsAndProxies: readonly Workload[];
  /** Whether there can be no other workloads. */
  readonly knowsWorkloads: boolean;
  readonly gateways: readonly Gateway[];
  /** Whether what these policies say at a waypoint can matter. */
  readonly mayUseWaypoint: boolean;
  /** How a workload without labels of its own fares in this namespace. */
  readonly enforcer: Enforcer;
  ofWorkload(workload: Workload): Coverage;
  /** A workload that has these labels and no others. */
  ofLabels(labels: Labels): Coverage;
  ofGateway(gateway: GatewayTarget): Coverage;
  /** A Service of this namespace at its waypoint. */
  ofService(name: string): Coverage;
}

export interface Gateway extends GatewayTarget {
  readonly id: string;
}

/** What `isPassedOver` names lets nobody in here, whatever its rules say. */
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

/** What policies that are for the same thing do together. */
function coverageOf(policies: readonly AuthorizationPolicy[], enforcer: Enforcer, settings: MeshSettings) {
  const isForAll = (policy: AuthorizationPolicy) => reachOf(policy, enforcer, settings) === "everyone";
  const allowing = policies.filter((policy) => actionOf(policy) === "ALLOW");
  return {
    sealedBy: policies.find((policy) => actionOf(policy) === "DENY" && isForAll(policy)),
    closedBy: allowing.find((policy) => !isForAll(policy)),
    openedBy: allowing.filter(isForAll),
  };
}

/** Which data plane enforces policies on a workload. Where nothing or nobody knows, policies are taken as sidecars take them. */
export const enforcerOf = (workload: Workload, namespace: Namespace): Enforcer =>
  captureOf(workload, namespace) === "ambient" ? "ztunnel" : "proxy";

/**
 * Whether every workload there is has its default deny from policies that select it: at least two selectors, so that
 * the namespace is guarded workload by workload; one policy says nothing about what is not its own.
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

/** Neither out of the mesh nor without anything to reach. */
const isReached = (workload: Workload, namespace: Namespace): boolean =>
  listens(workload) && !(staysOut(workload) && captureOf(workload, namespace) === "none");

/** Jobs run to their end; only one that declares a port has something to guard. */
const listens = ({ originKind, pod }: Workload): boolean =>
  (originKind !== "Job" && originKind !== "CronJob") || pod.ports.length > 0;
