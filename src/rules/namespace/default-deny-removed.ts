import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import {
  authorizationOf,
  type Coverage,
  isDeniedByDefault,
  type NamespaceAuthorization,
  readsAuthorization,
  type ReadsAuthorization,
} from "../../mesh/authorization/effective-authorization.ts";
import {
  type AuthorizationPolicy,
  opensToEveryone,
  scopeOf,
  servicesTargeted,
} from "../../mesh/authorization/policies.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { servicesOfNamespace } from "../../mesh/membership/services.ts";
import { isOfGateway } from "../../mesh/membership/workloads.ts";
import type { MeshView } from "../../view/view.ts";

export const namespaceDefaultDenyRemoved = defineRule({
  id: "namespace-default-deny-removed",
  subject: "Namespace",
  reads: [...readsAuthorization, servicesOfNamespace],
  worksWithout: ["Workload", "KubernetesGateway", "Service"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "The change removes the default deny of a namespace, a workload or a waypoint.",
  why: "Requests to a workload are denied by default as long as an enforced ALLOW policy, or a DENY policy that matches everything, selects it (Istio pilot/pkg/security/authz/builder/builder.go). A policy loses this effect if it is deleted, gets a selector or targetRefs, becomes a dry run, or gets another revision or action. An ALLOW policy that matches everyone cancels all others.",
  fix: "Keep the policy that denies by default, or create a replacement first. To decommission workloads, delete them before their policies.",

  *compare(before, after) {
    if (isTerminating(before.object) || isTerminating(after.object)) return;
    const sides = sidesOf(before, after);
    yield* workloadsOpened(sides);
    yield* gatewaysOpened(sides);
    yield* servicesOpened(sides, after);
  },
});

type View = MeshView<ReadsAuthorization | typeof servicesOfNamespace>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}
interface Sides {
  readonly name: string;
  readonly before: NamespaceAuthorization;
  readonly after: NamespaceAuthorization;
  /** Whether neither the namespace nor a policy changes, so that only a workload can be affected. */
  readonly isSame: boolean;
}

/**
 * authorization-policy-allows-everyone reports a policy of the namespace itself that now allows everyone while another
 * policy denies by default, so this rule ignores such a policy.
 */
function sidesOf(before: Side, after: Side): Sides {
  const old = authorizationOf(before.object, before.mesh);
  const { name } = after.object.metadata;
  const settings = after.mesh.settings;
  const opened = new Set(old.policies.filter((policy) => opensToEveryone(policy, before.mesh.settings)).map(scopeOf));
  const isSaidElsewhere = (policy: AuthorizationPolicy) =>
    policy.metadata.namespace === name && opensToEveryone(policy, settings) && !opened.has(scopeOf(policy));
  const now = authorizationOf(after.object, after.mesh, isSaidElsewhere);
  const isSamePolicies =
    old.policies.length === now.policies.length && old.policies.every((policy, i) => policy === now.policies[i]);
  return { name, before: old, after: now, isSame: isSamePolicies && before.object === after.object };
}

const isLost = (before: Coverage, after: Coverage): boolean => isDeniedByDefault(before) && !isDeniedByDefault(after);

function* workloadsOpened(sides: Sides): Iterable<Problem> {
  const { before, after } = sides;
  const { workloads, knowsWorkloads } = after;
  const opened = [...openedWorkloads(sides)];
  if (knowsWorkloads && workloads.length === 0 && opened.length === 0) return;
  const [was, is] = [before.ofLabels({}), after.ofLabels({})];
  // A single workload with its own policy does not show that the namespace needs no default deny.
  const needsDefault = !knowsWorkloads || opened.length > 0 || workloads.length < 2;
  if (!isLost(was, is)) yield* knowsWorkloads ? opened : [...opened, ...openedSelectors(sides)];
  else if (needsDefault) yield problemOf("The default deny is lost", was, is);
  // Every existing workload has its own default deny.
  else yield { ...problemOf("The default deny for future workloads is lost", was, is), atMost: "warn" };
}

const relabelFix =
  "Keep the labels by which a policy selects the workload, or create a policy for the new labels first.";

/** Workloads that are gateways only after this change are treated as workloads. */
function* openedWorkloads({ before, after, isSame }: Sides): Iterable<Problem> {
  const guarded = before.workloadsAndProxies.filter((workload) => !isOfGateway(workload));
  const old = new Map(guarded.map((workload) => [keyOf(workload), workload]));
  for (const workload of after.workloadsAndProxies) {
    const known = old.get(keyOf(workload));
    if (known === undefined || (isSame && known === workload)) continue;
    const [was, is] = [before.ofWorkload(known), after.ofWorkload(workload)];
    if (!isLost(was, is)) continue;
    const problem = problemOf(`${idOf(workload)} loses its default deny`, was, is);
    // Nothing but the workload changed.
    yield isSame ? { ...problem, fix: relabelFix } : problem;
  }
}

/** A policy may select workloads that are not known. Selectors of mesh-wide policies are ignored for this namespace. */
function* openedSelectors({ name, before, after }: Sides): Iterable<Problem> {
  for (const { metadata, spec } of before.policies) {
    const labels = spec.selector?.matchLabels;
    if (labels === undefined) continue;
    const [was, is] = [before.ofLabels(labels), after.ofLabels(labels)];
    if (!isLost(was, is)) continue;
    const shown = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    const problem = problemOf(`Workloads labelled ${shown.join(",")} lose their default deny`, was, is);
    yield metadata.namespace === name ? problem : { ...problem, atMost: "warn" };
  }
}

function* gatewaysOpened({ before, after }: Sides): Iterable<Problem> {
  const old = new Set(before.gateways.map(({ id }) => id));
  for (const gateway of after.gateways) {
    if (!old.has(gateway.id)) continue;
    const [was, is] = [before.ofGateway(gateway), after.ofGateway(gateway)];
    const shown = `${gateway.id}${gateway.isWaypoint ? " (waypoint)" : ""}`;
    if (isLost(was, is)) yield problemOf(`${shown} loses its default deny`, was, is);
  }
}

/** Services that policies protect at their waypoint, each checked separately. */
function* servicesOpened({ name, before, after }: Sides, { object, mesh }: Side): Iterable<Problem> {
  if (!before.mayUseWaypoint || !after.mayUseWaypoint || isWaypointLost(before, after)) return;
  const isThere = servicesThere(object, mesh);
  const own = before.policies.filter(({ metadata }) => metadata.namespace === name);
  for (const service of new Set(own.flatMap(servicesTargeted))) {
    const [was, is] = [before.ofService(service), after.ofService(service)];
    if (isThere(service) && isLost(was, is))
      yield problemOf(`Service ${service}, at its waypoint, loses its default deny`, was, is);
  }
}

/** Whether the waypoint was reported already. */
const isWaypointLost = (before: NamespaceAuthorization, after: NamespaceAuthorization): boolean =>
  after.gateways.some((gateway) => gateway.isWaypoint && isLost(before.ofGateway(gateway), after.ofGateway(gateway)));

function servicesThere(namespace: Namespace, mesh: View): (name: string) => boolean {
  if (!mesh.knowsAll("Service")) return () => true;
  const names = new Set(mesh.related(servicesOfNamespace, namespace).map(({ metadata }) => metadata.name));
  return (name) => names.has(name);
}

function problemOf(loss: string, was: Coverage, is: Coverage): Problem {
  const closedBy = was.sealedBy ?? was.closedBy;
  const by = closedBy === undefined ? "" : `${idOf(closedBy)} denied by default, and `;
  const now = is.openedBy === undefined ? "no policy does any more" : `${idOf(is.openedBy)} allows everyone`;
  return {
    at: [],
    topic: "default deny",
    message: `${loss}: ${by}${now}`,
    ...(is.openedBy === undefined
      ? {}
      : { fix: `Restrict the callers in the rules of ${idOf(is.openedBy)}, or do not apply it.` }),
    related: [closedBy, is.openedBy].filter((policy) => policy !== undefined),
  };
}
