import { fixOfUndiscovered } from "../../mesh/membership/control-plane.ts";
import { hasSameInjectors } from "../../mesh/membership/injector-selectors.ts";
import { absent, type Evidence } from "../../engine/evidence.ts";
import { messageOf } from "../../engine/finding.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  authorization,
  type Gateway,
  hasDefaultDeny,
  isDeniedByDefault,
  type NamespaceAuthorization,
  openedBy,
} from "../../mesh/authorization/effective-authorization.ts";
import type { AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import type { PolicySet } from "../../mesh/authorization/policy-set.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { workloadPairs, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { isGone } from "../../mesh/waypoints/departures.ts";
import { openedWaypoints, readsOpenedWaypoints, unusedWaypoints } from "../../mesh/waypoints/opened-waypoints.ts";
import { openSharedWaypoints, type SharedWaypoint } from "../../mesh/waypoints/shared-waypoints.ts";
import type { MeshView } from "../../view/view.ts";

export const namespaceDefaultDenyMissing = defineRule({
  id: "namespace-default-deny-missing",
  subject: "Namespace",
  reads: [...readsOpenedWaypoints, openSharedWaypoints],
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "RequestAuthentication", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "A namespace, a workload or a waypoint in it has no default deny.",
  why: "A workload that no ALLOW policy selects accepts every request (Istio pilot/pkg/model/authorization.go ListAuthorizationPolicies). A waypoint enforces only policies that name it in targetRefs, so even a mesh-wide default deny does not apply to it (pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Apply an AuthorizationPolicy without a selector whose rules name the callers that are needed: it denies all others. Where nothing calls yet, one with `spec: {}`, which denies everyone.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "A caller that no policy names gets an answer from workloads without an ALLOW policy.",
    wayOut:
      "Nothing is broken. Name the callers that the access log shows in one ALLOW policy without a selector: it is the default deny for all others. A policy with `spec: {}` alone denies every request at once.",
    silentWhen:
      "The namespace is the root namespace or is being deleted, or ALLOW policies select each workload, one by one. As long as no workload accepts requests, or nothing uses the waypoint, it only warns.",
    page: "https://istio.io/latest/docs/ambient/usage/l4-policy/",
  },

  *check(namespace, mesh) {
    yield* problemsOf({ object: namespace, mesh });
  },

  /** A workload that had a default deny, or is new, introduces the problem again. So does what is reached through a waypoint
   * since then, and what uses one first. */
  *compare(before, after) {
    // Nothing can be created in a namespace that is deleted together with all that was in it.
    if (isGone(before.object, after.object) && after.mesh.related(workloadsOfNamespace, after.object).length === 0)
      return;
    const found = [...problemsOf(after)];
    if (found.length === 0) return;
    const known = new Set([...problemsOf(before)].map(keyOf));
    let opened: ReadonlySet<string> | undefined;
    const isAgain = (key: string): boolean =>
      isOfWaypoint(key)
        ? (opened ??= openedWaypoints(before, after)).has(nameOfWaypoint(key))
        : isAnyOpened(before, after);
    for (const problem of found) yield sinceThen(problem, known, isAgain);
  },
});

const keyOf = (problem: Problem): string => problem.key ?? messageOf(problem);

/** `known` are the keys before the change. */
function sinceThen(problem: Problem, known: ReadonlySet<string>, isAgain: (key: string) => boolean): Problem {
  const key = keyOf(problem);
  const isOfWorkloads = key === noDefaultDeny || key === anotherPlane;
  const isKnown = known.has(key) || (known.has(noDefaultDeny) && key === anotherPlane);
  if (isKnown && !((isOfWorkloads || isOfWaypoint(key)) && isAgain(key))) return { ...problem, existed: true };
  // A default deny that has no effect is no worse than none.
  return known.has(noDefaultDeny) && !isOfWorkloads
    ? { ...problem, onlyWarns: "workloads that no policy selects had no default deny before the change either" }
    : problem;
}

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsOpenedWaypoints)[number] | typeof openSharedWaypoints>;
}

function* problemsOf({ object, mesh }: Side): Iterable<Problem> {
  const { rootNamespace } = mesh.settings;
  const { name } = object.metadata;
  // The root namespace contains the mesh-wide policies; its own workloads are the control plane.
  if (name === rootNamespace || isTerminating(object)) return;
  const found = mesh.get(authorization, object);
  const evidence = [absent("AuthorizationPolicy", name), absent("AuthorizationPolicy", rootNamespace)];
  yield* ofWorkloads(found, name, evidence);
  const open = found.gateways.filter((gateway) => gateway.isWaypoint && !hasDefaultDeny(found.ofGateway(gateway)));
  if (open.length > 0) {
    const unused = unusedWaypoints({ object, mesh });
    for (const gateway of open) yield ofWaypoint(gateway, evidence, unused.has(gateway.name));
  }
  for (const shared of mesh.get(openSharedWaypoints, object)) yield ofShared(shared, rootNamespace);
}

function* ofWorkloads(
  found: NamespaceAuthorization,
  namespace: string,
  evidence: readonly Evidence[],
): Iterable<Problem> {
  const { isAnyOpen, liftedBy } = effectOnWorkloads(found, namespace);
  if (!hasDefaultDeny(found.ofUnselected)) {
    const leftOut = found.isLeftOut ? namespace : undefined;
    if (!found.isGuardedOneByOne) yield ofUnselected(evidence, isAnyOpen || !found.knowsWorkloads, leftOut);
  } else if (isAnyOpen) yield ofOtherPlane(found);
  for (const policy of liftedBy) yield lifted(policy);
}

interface Effect {
  /** Whether some existing workload has no default deny. */
  readonly isAnyOpen: boolean;
  /** Policies of other namespaces that allow everyone. authorization-policy-allows-everyone reports those of the namespace itself. */
  readonly liftedBy: ReadonlySet<AuthorizationPolicy>;
}

function effectOnWorkloads(found: NamespaceAuthorization, namespace: string): Effect {
  if (found.deniesEverything) return { isAnyOpen: false, liftedBy: new Set() };
  if (found.deniesNothing) return { isAnyOpen: found.workloads.length > 0, liftedBy: new Set() };
  const coverages = found.workloads.map((workload) => found.ofWorkload(workload));
  const lifted = [found.ofUnselected, ...coverages].filter(
    (coverage) => hasDefaultDeny(coverage) && !isDeniedByDefault(coverage),
  );
  const policies = lifted.flatMap((coverage) => openedBy(coverage) ?? []);
  return {
    isAnyOpen: coverages.some((coverage) => !hasDefaultDeny(coverage)),
    liftedBy: new Set(policies.filter(({ metadata }) => metadata.namespace !== namespace)),
  };
}

/** As long as nothing accepts requests without a default deny, the policies may still follow. */
const ofUnselected = (evidence: readonly Evidence[], mayBeOpen: boolean, leftOut: string | undefined): Problem => ({
  at: [],
  topic: "default deny",
  message: leftOut === undefined ? noDefaultDeny : noneIsRead,
  key: noDefaultDeny,
  evidence,
  ...(leftOut === undefined ? {} : { fix: fixOfUndiscovered(leftOut) }),
  ...(mayBeOpen ? {} : { onlyWarns: "no workload accepts requests without a default deny yet" }),
});
const noDefaultDeny = "There is no default deny: workloads that no ALLOW policy selects accept requests from everyone";

const noneIsRead =
  "There is no default deny, because the discoverySelectors leave out the namespace: workloads accept requests from everyone";

/** Workloads that another data plane captures than the namespace's own. */
function ofOtherPlane({ enforcer, ofUnselected: { sealedBy, closedBy } }: NamespaceAuthorization): Problem {
  const policy = sealedBy ?? closedBy;
  return {
    at: [],
    topic: "default deny",
    message: `Workloads ${enforcer === "ztunnel" ? "behind a sidecar" : "in ambient mode"} have no default deny: ${policy === undefined ? "the policy" : idOf(policy)} does not apply to them`,
    key: anotherPlane,
    ...(policy === undefined ? {} : { related: [policy], evidence: [policy] }),
  };
}

const anotherPlane = "another data plane";

/** Whether some workload has no default deny only since the change. One that was outside the mesh had none before. */
function isAnyOpened(before: Side, after: Side): boolean {
  const [old, now] = [before.mesh.get(authorization, before.object), after.mesh.get(authorization, after.object)];
  const there = before.mesh.related(workloadsOfNamespace, before.object);
  const known = new Set(there);
  const isSamePlace = before.object === after.object && hasSameInjectors(before.mesh.settings, after.mesh.settings);
  const isSame = isSamePlace && isSameSet(old.own, now.own) && isSameSet(old.meshWide, now.meshWide);
  const concerned = isSame ? now.workloads.filter((workload) => !known.has(workload)) : now.workloads;
  if (concerned.length === 0) return false;
  const pairs = new Map([...workloadPairs(there, concerned)].map(([was, is]) => [is, was]));
  const reached = new Set(old.workloads);
  return concerned.some((workload) => {
    if (hasDefaultDeny(now.ofWorkload(workload))) return false;
    const was = pairs.get(workload);
    return was === undefined || (reached.has(was) && hasDefaultDeny(old.ofWorkload(was)));
  });
}

const isSameSet = (old: PolicySet | undefined, now: PolicySet | undefined): boolean =>
  old === undefined || now === undefined ? old === now : now.isSame(old);

function lifted(policy: AuthorizationPolicy): Problem {
  return {
    at: [],
    topic: "default deny",
    message: `The default deny has no effect: ${idOf(policy)} allows everyone`,
    related: [policy],
    evidence: [policy],
    fix: `Delete ${idOf(policy)}, or restrict the callers in its rules.`,
  };
}

const ofWaypoint = ({ name }: Gateway, evidence: readonly Evidence[], isUnused: boolean): Problem => ({
  at: [],
  topic: "default deny",
  key: keyOfWaypoint(name),
  message: `Waypoint ${name} has no default deny: it enforces only policies that name it in targetRefs`,
  evidence,
  fix: waypointFix(name),
  ...(isUnused ? { onlyWarns: "nothing uses the waypoint yet" } : {}),
});

/** A waypoint of another namespace. */
function ofShared({ name, gateway, isCanary }: SharedWaypoint, rootNamespace: string): Problem {
  const { namespace } = gateway.metadata;
  const share = isCanary ? ", the canary for a share of the connections," : "";
  return {
    at: [],
    topic: "default deny",
    key: keyOfWaypoint(name),
    message: `Waypoint ${name}${share} has no default deny: Services or pods of this namespace are reached through it, and it enforces only policies that name it, or a Service, in targetRefs`,
    evidence: [gateway, absent("AuthorizationPolicy", namespace), absent("AuthorizationPolicy", rootNamespace)],
    related: [gateway],
    fix: `${waypointFix(gateway.metadata.name)} They are in namespace ${namespace}; policies for single Services are in this one.`,
  };
}

const ofWaypointKey = "waypoint ";
const keyOfWaypoint = (name: string): string => `${ofWaypointKey}${name}`;
const isOfWaypoint = (key: string): boolean => key.startsWith(ofWaypointKey);
const nameOfWaypoint = (key: string): string => key.slice(ofWaypointKey.length);

const waypointFix = (waypoint: string): string =>
  `Apply an AuthorizationPolicy without rules whose targetRefs name the Gateway ${waypoint} (group gateway.networking.k8s.io, kind Gateway), then ALLOW policies for the requests that are needed.`;
