import { hasSameInjectors } from "../../mesh/membership/injector-selectors.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { together } from "../../mesh/authorization/coverage.ts";
import {
  authorization,
  type Coverage,
  type Gateway,
  isDeniedByDefault,
  type NamespaceAuthorization,
  openedBy,
} from "../../mesh/authorization/effective-authorization.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import { Asked, type Callers, Questions } from "../../mesh/authorization/requests/gains.ts";
import { type AuthorizationPolicy, scopeOf } from "../../mesh/authorization/policies.ts";
import { fixOfUndiscovered } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { hasService, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { isOfGateway, type Workload } from "../../mesh/membership/workloads.ts";
import { CertainCallers, kindsOfCertainCallers, readsCertainCallers } from "../../mesh/mtls/certain-callers.ts";
import { idleReason, readsIdlePlaces } from "../../mesh/waypoints/idle-places.ts";
import { ownWaypointsOnBoth } from "../../mesh/waypoints/own-waypoints.ts";
import { servingWaypoints } from "../../mesh/waypoints/served-traffic.ts";
import { coverageElsewhere, servicesRefusingWaypoint } from "../../mesh/waypoints/shared-waypoints.ts";
import type { MeshView } from "../../view/view.ts";

// An object that begins to use a waypoint opens nothing that was closed; other rules compare what protects it.
const reads = [
  authorization,
  servicesOfNamespace,
  coverageElsewhere,
  servicesRefusingWaypoint,
  ...readsIdlePlaces,
  ...readsCertainCallers,
] as const;

export const namespaceDefaultDenyRemoved = defineRule({
  id: "namespace-default-deny-removed",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry", ...kindsOfCertainCallers],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "The change removes the default deny of a namespace, a workload or a waypoint.",
  why: "Requests to a workload are denied by default as long as an enforced ALLOW policy, or a DENY policy that matches everything, selects it (Istio pilot/pkg/security/authz/builder/builder.go). A policy loses this effect if it is deleted, gets a selector or targetRefs, becomes a dry run, or gets another revision or action. An ALLOW policy that matches everyone cancels all others.",
  fix: "Keep the policy that denies by default, or create a replacement first. To decommission workloads, delete them before their policies.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Requests that got 403 before the change get answers.",
    wayOut:
      "Apply the policy that denied by default again; the message names it. ALLOW policies that exist keep their effect.",
    silentWhen:
      "Something else denies by default, such as a policy of the mesh, the workloads are gone, or only callers without an identity would gain something and mTLS is STRICT. It only warns if each of several workloads that are left has a default deny of its own, of a waypoint that nothing uses, and of a Service without one.",
    page: "https://istio.io/latest/docs/ops/best-practices/security/",
  },

  *compare(before, after) {
    if (isTerminating(before.object) || isTerminating(after.object)) return;
    const sides = sidesOf(before, after);
    for (const problem of problemsOf(sides, after)) yield withCause(problem, sides);
  },
});

function* problemsOf(sides: Sides, after: Side): Iterable<Problem> {
  yield* workloadsOpened(sides);
  if (sides.areGatewaysSame) return;
  yield* gatewaysOpened(sides);
  yield* servicesOpened(sides, after);
}

/** In a namespace that is not read any more, a replacement has no effect either. */
function withCause(problem: Problem, { after }: Sides): Problem {
  const [by, opener] = problem.related ?? [];
  return opener === undefined && by?.kind === "AuthorizationPolicy" && after.isUndiscovered(by)
    ? { ...problem, fix: fixOfUndiscovered(by.metadata.namespace) }
    : problem;
}

type View = MeshView<(typeof reads)[number]>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}
interface Sides {
  readonly name: string;
  readonly before: NamespaceAuthorization;
  readonly after: NamespaceAuthorization;
  /** The namespace and its policies are unchanged, so only changed workloads can be opened. */
  readonly isSame: boolean;
  /** The gateways and the policies are unchanged, and nothing else affects gateways. */
  readonly areGatewaysSame: boolean;
  /** Whether somebody who can come gains anything: where mTLS is STRICT, callers without an identity cannot. */
  readonly gaining: Gaining;
  /** Why a default deny at the waypoint, or for a Service, protects nothing; undefined: it may. */
  idle(kind: "Service" | "Gateway", name: string): string | undefined;
  /** The names of the waypoints of the namespace that serve a Service before and after; undefined: none is known to. */
  ownWaypoints(service: string): ReadonlySet<string> | undefined;
}

/**
 * authorization-policy-allows-everyone reports a policy of the namespace itself that now allows everyone while another
 * policy denies by default, so this rule ignores such a policy.
 */
function sidesOf(before: Side, after: Side): Sides {
  const old = before.mesh.get(authorization, before.object);
  const now = after.mesh.get(authorization, after.object);
  const isSaidElsewhere = (policy: AuthorizationPolicy): boolean => {
    const scope = scopeOf(policy);
    return !old.own.openScopes.has(scope) && old.meshWide?.openScopes.has(scope) !== true;
  };
  const isSamePolicies = now.hasSamePolicies(old);
  return {
    name: after.object.metadata.name,
    before: old,
    after: now.passingOver(new Set(now.own.opening.filter(isSaidElsewhere))),
    isSame:
      isSamePolicies && before.object === after.object && hasSameInjectors(before.mesh.settings, after.mesh.settings),
    areGatewaysSame:
      isSamePolicies &&
      before.mesh.settings === after.mesh.settings &&
      isSameList(old.gateways.map(comparable), now.gateways.map(comparable)),
    gaining: new Gaining(old, now, after),
    idle: (kind, name) => idleReason({ target: { kind, name } }, before, after),
    ownWaypoints: (service) => ownWaypointsOnBoth(service, waypointsAt(before), waypointsAt(after)),
  };
}

const waypointsAt = ({ object, mesh }: Side) => ({
  namespace: object.metadata.name,
  waypoints: mesh.get(servingWaypoints, object),
});

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i]);
const comparable = (gateway: Gateway): string =>
  JSON.stringify([shownGateway(gateway), gateway.controlPlane, gateway.labels]);
const shownGateway = ({ id, isWaypoint }: Gateway): string => `${id}${isWaypoint ? " (waypoint)" : ""}`;

const isLost = (before: Coverage, after: Coverage): boolean => isDeniedByDefault(before) && !isDeniedByDefault(after);

function* workloadsOpened(sides: Sides): Iterable<Problem> {
  const { before, after } = sides;
  if (before.deniesNothing || after.deniesEverything) return;
  const [was, is] = [before.ofUnselected, after.ofUnselected];
  if (isLost(was, is) && sides.gaining.atUnselected) {
    yield* defaultOpened(sides, [was, is]);
    return;
  }
  for (const [workload, ...lost] of openedWorkloads(sides)) {
    const problem = problemOf(`${idOf(workload)} loses its default deny`, ...lost);
    // Nothing but the workload changed.
    yield sides.isSame ? { ...problem, fix: relabelFix } : problem;
  }
  if (!after.knowsWorkloads) yield* openedSelectors(sides);
}

/** One opened workload is enough. */
function* defaultOpened(sides: Sides, lost: Lost): Iterable<Problem> {
  const { workloads, knowsWorkloads } = sides.after;
  const isAnyOpened = openedWorkloads(sides).next().done !== true;
  if (knowsWorkloads && workloads.length === 0 && !isAnyOpened) return;
  // A single workload with its own policy does not show that the namespace needs no default deny.
  const needsDefault = !knowsWorkloads || isAnyOpened || workloads.length < 2;
  if (needsDefault) yield problemOf("The default deny is lost", ...lost);
  // Every existing workload has its own default deny.
  else
    yield {
      ...problemOf("The default deny for future workloads is lost", ...lost),
      onlyWarns: "every known workload has a default deny of its own",
    };
}

type Lost = readonly [was: Coverage, is: Coverage];

const relabelFix =
  "Keep the labels by which a policy selects the workload, or create a policy for the new labels first.";

/** Workloads that are gateways only after this change are treated as workloads. */
function* openedWorkloads(sides: Sides): Generator<readonly [Workload, ...Lost]> {
  const { before, after, isSame } = sides;
  const pairs = isSame ? after.changedSince(before) : after.pairsWith(before);
  for (const [known, workload] of pairs) {
    if (isOfGateway(known)) continue;
    const is = after.ofWorkload(workload);
    // Most workloads keep a default deny, whatever they had.
    if (isDeniedByDefault(is)) continue;
    const was = before.ofWorkload(known);
    if (isDeniedByDefault(was) && sides.gaining.at(known, workload)) yield [workload, was, is];
  }
}

/**
 * Whether the loss of a default deny gives anything to callers that can come. A default deny is what unnamed callers without an identity meet, so
 * that it can be lost where none of them comes.
 */
class Gaining {
  readonly #before: NamespaceAuthorization;
  readonly #after: NamespaceAuthorization;
  readonly #callers: CertainCallers;
  readonly #questions: Questions;
  /** By the policies before and after, which are the same ones for most workloads. */
  readonly #known = new Map<Applied, Map<Applied, boolean>>();

  constructor(before: NamespaceAuthorization, after: NamespaceAuthorization, side: Side) {
    this.#before = before;
    this.#after = after;
    this.#callers = new CertainCallers(side);
    this.#questions = new Questions((values) => side.mesh.visited(Math.ceil(values / 100)));
  }

  get atUnselected(): boolean {
    const [was, is] = [this.#before.applied.toLabels({}), this.#after.applied.toLabels({})];
    return this.#byCallers(was, is, this.#callers.ofUnselected);
  }

  at(known: Workload, workload: Workload): boolean {
    const [was, is] = [this.#before.applied.toWorkload(known), this.#after.applied.toWorkload(workload)];
    return this.#byCallers(was, is, this.#callers.ofWorkload(workload));
  }

  #byCallers(was: Applied, is: Applied, callers: Callers): boolean {
    if (!callers.haveIdentity) return true;
    const byPolicies = this.#known.get(was) ?? new Map<Applied, boolean>();
    this.#known.set(was, byPolicies);
    let mayGain = byPolicies.get(is);
    if (mayGain === undefined)
      byPolicies.set(is, (mayGain = this.#questions.mayAdmitMore(new Asked(was, is), callers)));
    return mayGain;
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
    yield metadata.namespace === name
      ? problem
      : { ...problem, onlyWarns: "a policy of another namespace may select no workload here" };
  }
}

const waypointFix =
  "Keep the policy that denies by default, or create a replacement first. To take the waypoint away, remove the labels that name it and delete its Gateway before its policies.";

/** A waypoint that serves nothing may be set up or taken away in any order; what it gets to serve later is checked then. */
function* gatewaysOpened(sides: Sides): Iterable<Problem> {
  for (const [gateway, was, is] of gatewaysCovered(sides)) {
    if (!isLost(was, is)) continue;
    const fix = gateway.isWaypoint ? { fix: waypointFix } : {};
    const problem = { ...fix, ...problemOf(`${shownGateway(gateway)} loses its default deny`, was, is) };
    yield { ...problem, ...doubt(gateway.isWaypoint ? sides.idle("Gateway", gateway.name) : undefined) };
  }
}

const doubt = (reason: string | undefined): Pick<Problem, "onlyWarns"> =>
  reason === undefined ? {} : { onlyWarns: reason };

/** The gateways that exist before and after. Each may have another control plane afterwards. */
function* gatewaysCovered({ before, after }: Sides): Iterable<readonly [Gateway, ...Lost]> {
  const old = new Map(before.gateways.map((gateway) => [gateway.id, gateway]));
  for (const gateway of after.gateways) {
    const known = old.get(gateway.id);
    if (known !== undefined) yield [gateway, before.ofGateway(known), after.ofGateway(gateway)];
  }
}

/** Services that policies protect at their waypoint, each checked separately. */
function* servicesOpened(sides: Sides, { object, mesh }: Side): Iterable<Problem> {
  const { before, after } = sides;
  const isThere = hasService(object, mesh);
  const elsewhere = mesh.get(coverageElsewhere, object);
  const refuses = mesh.get(servicesRefusingWaypoint, object);
  const reported = waypointsLost(sides);
  for (const service of before.own.servicesTargeted) {
    // Its policies have no effect, and what comes to a waypoint without a default deny is found then.
    if (refuses(service)) continue;
    const there = elsewhere("Service", service);
    const pairs =
      there?.map(
        (one): Lost => [together(before.own.ofService(service), one), together(after.own.ofService(service), one)],
      ) ?? ownPairs(service, sides, reported);
    const lost = pairs.find(([was, is]) => isLost(was, is));
    if (lost !== undefined && isThere(service))
      yield {
        ...problemOf(`Service ${service}, at its waypoint, loses its default deny`, ...lost),
        ...doubt(sides.idle("Service", service)),
      };
  }
}

/** The coverage of a Service at each of its waypoints in the namespace, without those that were reported already. */
function ownPairs(service: string, sides: Sides, reported: ReadonlySet<string>): readonly Lost[] {
  const { before, after } = sides;
  if (!before.mayUseWaypoint || !after.mayUseWaypoint) return [];
  const names = sides.ownWaypoints(service);
  if (names === undefined) return reported.size > 0 ? [] : [[before.ofService(service), after.ofService(service)]];
  return [...names.difference(reported)].map((name): Lost => {
    const one = new Set([name]);
    return [before.ofService(service, one), after.ofService(service, one)];
  });
}

/** The names of the waypoints that were reported already. */
const waypointsLost = (sides: Sides): ReadonlySet<string> =>
  new Set(
    [...gatewaysCovered(sides)]
      .filter(
        ([gateway, was, is]) =>
          gateway.isWaypoint && isLost(was, is) && sides.idle("Gateway", gateway.name) === undefined,
      )
      .map(([{ name }]) => name),
  );

function problemOf(loss: string, was: Coverage, is: Coverage): Problem {
  const closedBy = was.sealedBy ?? was.deniedBy ?? was.closedBy;
  const by = closedBy === undefined ? "" : `${idOf(closedBy)} denied by default, and `;
  const opener = openedBy(is);
  const now = opener === undefined ? "no policy does any more" : `${idOf(opener)} ${allowsEveryone(is)}`;
  return {
    at: [],
    topic: "default deny",
    message: `${loss}: ${by}${now}`,
    ...(opener === undefined
      ? {}
      : { fix: `Restrict the callers in the rules of ${idOf(opener)}, or do not apply it.` }),
    related: [closedBy, opener].filter((policy) => policy !== undefined),
  };
}

const allowsEveryone = ({ openedAloneBy }: Coverage): string =>
  openedAloneBy === undefined ? "allows everyone, together with other policies" : "allows everyone";
