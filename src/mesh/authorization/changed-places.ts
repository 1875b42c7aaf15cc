import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { hasService, servicesOfNamespace } from "../membership/services.ts";
import { isOfGateway, type Workload, workloadPairs } from "../membership/workloads.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import {
  authorization,
  type Coverage,
  isDeniedByDefault,
  type NamespaceAuthorization,
} from "./effective-authorization.ts";
import { type AuthorizationPolicy, targetRefsOf } from "./policies.ts";
import type { PolicySet } from "./policy-set.ts";
import type { Applied } from "./requests/applied.ts";
import type { Gain } from "./requests/gains.ts";

/** Where other policies apply after a change: workloads, a gateway, or a Service at its waypoint. */
export interface ChangedPlace {
  /** `Deployment payments/api`, for a sentence. */
  readonly name: string;
  readonly namespace: string;
  /** The workload, if it is changed itself. */
  readonly workload: Workload | undefined;
  /** Callers from outside the mesh are expected there. */
  readonly isIngress: boolean;
  /**
   * Workloads that may be created, beside existing ones: `none` exist, or `several`, of which each has other policies. A
   * single one does not show that its policies are meant for it alone.
   */
  readonly future: "none" | "several" | undefined;
  readonly was: Applied;
  readonly is: Applied;
  /** The combined effect of the policies, before and after the change. */
  coverages(): readonly [before: Coverage, after: Coverage];
}

/** What `changedPlaces` reads. */
export const readsChangedPlaces = [authorization, servicesOfNamespace] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsChangedPlaces)[number]>;
}

/**
 * The places in a namespace where other policies apply after a change, each combination of policies once: the workloads,
 * what no policy selects, the gateways, and the Services that policies target. Nothing for a namespace that is being
 * deleted. Yields undefined while it compares the workloads, so that a rule can pause.
 */
export function* changedPlaces(before: Side, after: Side): Places {
  if (isTerminating(before.object) || isTerminating(after.object)) return;
  const [old, now] = [before.mesh.get(authorization, before.object), after.mesh.get(authorization, after.object)];
  const known = found.get(now);
  if (known?.before === old) {
    yield* known.places;
    return;
  }
  const places: ChangedPlace[] = [];
  for (const place of placesBetween(old, now, hasService(after.object, after.mesh))) {
    if (place !== undefined) places.push(place);
    yield place;
  }
  found.set(now, { before: old, places });
}

type Places = Generator<ChangedPlace | undefined, undefined>;
/** Several rules ask about the same places. */
const found = new WeakMap<
  NamespaceAuthorization,
  { readonly before: NamespaceAuthorization; readonly places: readonly ChangedPlace[] }
>();

/** The same, for the policies of one kind. */
export const placesBetween = (
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  isThere: (service: string) => boolean,
): Places => placesWhere(before.isSame(after) || isEditWithoutGain(before, after), [before, after], isThere);

/** The same, also where edits of policies let nobody in who was not before. */
export const placesWithNarrowed = (
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  isThere: (service: string) => boolean,
): Places => placesWhere(before.isSame(after), [before, after], isThere);

function* placesWhere(isSame: boolean, [before, after]: Sides, isThere: (service: string) => boolean): Places {
  if (isSame && before.hasSameWorkloads(after)) return;
  const [ingress, others] = [new Distinct(), new Distinct()];
  for (const place of workloads(before, after, isSame)) {
    (place.isIngress ? ingress : others).add(place);
    yield undefined;
  }
  if (!isSame) for (const place of [unselected(before, after), ...selectors(before, after)]) others.add(place);
  yield* others.places;
  // Last, because the same policies are worse at a workload that expects no callers from outside the mesh.
  for (const place of ingress.places) if (others.add(place)) yield place;
  if (isSame) return;
  yield* gateways(before, after);
  yield* services(before, after, isThere);
}

/**
 * Whether policies were only edited, without another scope, so that whatever applies beside them nobody gains anything. For a
 * mesh-wide policy this is decided once for all namespaces.
 */
function isEditWithoutGain(before: NamespaceAuthorization, after: NamespaceAuthorization): boolean {
  return (
    before.isSameNamespace(after) &&
    isSetWithoutGain(before.own, after.own) &&
    isSetWithoutGain(before.meshWide, after.meshWide)
  );
}

function isSetWithoutGain(before: PolicySet | undefined, after: PolicySet | undefined): boolean {
  if (before === undefined || after === undefined) return before === after;
  return before.isSame(after) || after.isEditWithoutGain(before);
}

/** Places with other policies than before, each combination once: most workloads of a namespace have the same policies as others. */
class Distinct {
  readonly places: ChangedPlace[] = [];
  readonly #seen = new Map<Applied["lists"], Set<Applied["lists"]>>();

  /** Whether the place is another one. */
  add(place: ChangedPlace): boolean {
    const { was, is } = place;
    if (was.lists === is.lists && was.place === is.place && was.settings === is.settings) return false;
    const known = this.#seen.get(was.lists) ?? new Set();
    this.#seen.set(was.lists, known);
    if (known.has(is.lists)) return false;
    known.add(is.lists);
    this.places.push(place);
    return true;
  }
}

type Sides = readonly [before: NamespaceAuthorization, after: NamespaceAuthorization];

const unselected = (...[before, after]: Sides): ChangedPlace => ({
  name: "workloads that no policy selects",
  namespace: after.namespace,
  workload: undefined,
  isIngress: before.hasOnlyGateways({}) && after.hasOnlyGateways({}),
  future: futureOf(after),
  was: before.appliedToLabels({}),
  is: after.appliedToLabels({}),
  coverages: () => [before.ofUnselected, after.ofUnselected],
});

function futureOf({ knowsWorkloads, workloads: { length } }: NamespaceAuthorization): ChangedPlace["future"] {
  if (!knowsWorkloads || length === 1) return undefined;
  return length === 0 ? "none" : "several";
}

/** Policies may select workloads that are not known. */
function* selectors(...[before, after]: Sides): Generator<ChangedPlace, undefined> {
  if (after.knowsWorkloads || before.own.isSame(after.own)) return;
  for (const { labels } of before.own.groups.groups)
    yield {
      name: `workloads labelled ${formatLabels(labels)}`,
      namespace: after.namespace,
      workload: undefined,
      isIngress: false,
      future: undefined,
      was: before.appliedToLabels(labels),
      is: after.appliedToLabels(labels),
      coverages: () => [before.ofLabels(labels), after.ofLabels(labels)],
    };
}

function* workloads(
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  isSame: boolean,
): Generator<ChangedPlace, undefined> {
  const pairs = isSame
    ? after.changedSince(before)
    : workloadPairs(before.workloadsAndProxies, after.workloadsAndProxies);
  const changed = after.policiesChangedSince(before);
  const isConcerned = ({ pod }: Workload): boolean =>
    changed === undefined || changed.length > fewPolicies || changed.some((policy) => maySelect(policy, pod.labels));
  for (const [known, workload] of pairs) {
    if (isOfGateway(known) || (known === workload && !isConcerned(workload))) continue;
    yield {
      name: idOf(workload),
      namespace: after.namespace,
      workload: known === workload ? undefined : workload,
      isIngress: before.runsGateway(known) && after.runsGateway(workload),
      future: undefined,
      was: before.appliedTo(known),
      is: after.appliedTo(workload),
      coverages: () => [before.ofWorkload(known), after.ofWorkload(workload)],
    };
  }
}

/** More policies than this are not compared with each workload. */
const fewPolicies = 8;

/** Whether a policy may apply to workloads with these labels, at some data plane. */
const maySelect = (policy: AuthorizationPolicy, labels: Readonly<Record<string, string>>): boolean =>
  targetRefsOf(policy).length === 0 && selects(policy.spec.selector?.matchLabels ?? {}, labels);

function* gateways(...[before, after]: Sides): Generator<ChangedPlace, undefined> {
  const old = new Set(before.gateways.map(({ id }) => id));
  for (const gateway of after.gateways)
    if (old.has(gateway.id))
      yield {
        name: `${gateway.id}${gateway.isWaypoint ? " (waypoint)" : ""}`,
        namespace: after.namespace,
        workload: undefined,
        isIngress: !gateway.isWaypoint,
        future: undefined,
        was: before.appliedToGateway(gateway),
        is: after.appliedToGateway(gateway),
        coverages: () => [before.ofGateway(gateway), after.ofGateway(gateway)],
      };
}

function* services(
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  isThere: (service: string) => boolean,
): Generator<ChangedPlace, undefined> {
  if (!before.mayUseWaypoint || !after.mayUseWaypoint) return;
  for (const service of before.own.servicesTargeted)
    if (isThere(service))
      yield {
        name: `Service ${service}, at its waypoint`,
        namespace: after.namespace,
        workload: undefined,
        isIngress: false,
        future: undefined,
        was: before.appliedToService(service),
        is: after.appliedToService(service),
        coverages: () => [before.ofService(service), after.ofService(service)],
      };
}

/** Whether the default deny is lost altogether, which namespace-default-deny-removed and authorization-policy-allows-everyone report. */
export function losesDefaultDeny({ coverages }: ChangedPlace): boolean {
  const [before, after] = coverages();
  return isDeniedByDefault(before) && !isDeniedByDefault(after);
}

/** Identifies what is gained: by which rule, and at which workload, if it is changed itself. */
export const keyOfGain = ({ by, lost }: Gain, { workload }: ChangedPlace): string =>
  JSON.stringify(
    [by, lost]
      .map((ruled) => (ruled === undefined ? "" : `${idOf(ruled.policy)} ${ruled.index}`))
      .concat(workload === undefined ? [] : idOf(workload)),
  );
