import { idOf } from "../../kube/identity.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshView } from "../../view/view.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { hasService, servicesOfNamespace } from "../membership/services.ts";
import { isOfGateway, type Workload } from "../membership/workloads.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import {
  authorization,
  type Coverage,
  isDeniedByDefault,
  type NamespaceAuthorization,
} from "./effective-authorization.ts";
import { type AuthorizationPolicy, hasSameLabels, targetRefsOf } from "./policies.ts";
import type { PolicySet } from "./policy-set.ts";
import type { Applied } from "./requests/applied.ts";
import { Asked } from "./requests/gains.ts";
import type { Gain } from "./requests/policy-change.ts";

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
  /** The policies that apply there, before and after the change. */
  readonly asked: Asked;
  /** The Service of the namespace, at its waypoint, or the waypoint of the namespace. */
  readonly target?: { readonly kind: "Service" | "Gateway"; readonly name: string };
  /** Whether a policy no longer applies there, which namespace-waypoint-left reports. */
  readonly hasLeft?: (policy: AuthorizationPolicy) => boolean;
  /** The combined effect of the policies before the change. */
  coverageBefore(): Coverage;
  coverageAfter(): Coverage;
}

/** What `changedPlaces` reads. */
export const readsChangedPlaces = [authorization, servicesOfNamespace] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsChangedPlaces)[number]>;
}

/**
 * The places in a namespace where callers may gain something by a change, each combination of policies once: the workloads,
 * what no policy selects, the gateways, and the Services that policies target. Nothing for a namespace that is being
 * deleted. Yields undefined while it compares the workloads, so that a rule can pause.
 */
export const changedPlaces = (before: Side, after: Side, waypoints: WaypointsOfServices): Places =>
  placesOfSides([before, after], "gaining", waypoints);

/** The same for places where nobody may be admitted any more. */
export const placesThatMayClose = (before: Side, after: Side, waypoints: WaypointsOfServices): Places =>
  placesOfSides([before, after], "closing", waypoints);

/** Through which waypoints requests to a Service go. */
export interface WaypointsOfServices {
  /** Whether they go through waypoints of other namespaces, where other policies count, too. */
  isElsewhere(service: string): boolean;
  /** The names of those of the namespace, before and after the change; undefined: they are not known. */
  own(service: string): ReadonlySet<string> | undefined;
}

function* placesOfSides(
  [before, after]: readonly [before: Side, after: Side],
  wanted: "gaining" | "closing",
  waypoints: WaypointsOfServices,
): Places {
  if (isTerminating(before.object) || isTerminating(after.object)) return;
  const [old, now] = [before.mesh.get(authorization, before.object), after.mesh.get(authorization, after.object)];
  const has = hasService(after.object, after.mesh);
  const isThere = (service: string): boolean => has(service) && !waypoints.isElsewhere(service);
  const services: Services = { isThere, own: waypoints.own };
  if (wanted === "gaining" && !old.isSame(now) && isEditWithoutGain(old, now)) yield* placesBetween(old, now, services);
  else {
    const places = yield* kept(old, now, services);
    yield* places[wanted];
  }
}

/** The Services that have a place, and their waypoints. */
interface Services {
  isThere(service: string): boolean;
  own?: WaypointsOfServices["own"];
}

export type Places = Generator<ChangedPlace | undefined, undefined>;
interface Kept {
  readonly before: NamespaceAuthorization;
  readonly gaining: readonly ChangedPlace[];
  readonly closing: readonly ChangedPlace[];
}
const found = new KeptIn<NamespaceAuthorization, Kept>();

/** Several rules ask about the same places. */
function* kept(
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  services: Services,
): Generator<undefined, Kept> {
  let known = found.get(after);
  if (known?.before !== before) {
    const [gaining, closing]: [ChangedPlace[], ChangedPlace[]] = [[], []];
    for (const place of placesWhere(before.isSame(after), [before, after], services)) {
      if (place?.asked.mayGainAnywhere === true) gaining.push(place);
      if (place?.asked.mayClose === true) closing.push(place);
      yield undefined;
    }
    found.set(after, (known = { before, gaining, closing }));
  }
  return known;
}

/** The places where somebody may gain something, for the policies of one kind. */
export function* placesBetween(
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  services: Services,
): Places {
  const isSame = before.isSame(after) || isEditWithoutGain(before, after);
  for (const place of placesWhere(isSame, [before, after], services))
    yield place?.asked.mayGainAnywhere === true ? place : undefined;
}

function* placesWhere(isSame: boolean, sides: Sides, services: Services): Places {
  const [before, after] = sides;
  if (isSame && before.hasSameWorkloads(after) && before.hasSameGateways(after)) return;
  const [ingress, others] = [new Distinct(), new Distinct()];
  yield* enterWorkloads(sides, { isSame, ingress, others });
  const further = isSame ? [] : [unselected(before, after), ...selectors(before, after)];
  for (const place of further) if (others.add(place.asked.was, place.asked.is)) others.places.push(place);
  yield* others.places;
  // Last, because the same policies are worse at a workload that expects no callers from outside the mesh.
  yield* ingress.places.filter(({ asked }) => others.add(asked.was, asked.is));
  yield* gateways(sides, isSame);
  if (isSame) return;
  yield* atWaypoints(before, after, services);
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
  /** What applied before, by what applies now: most often one. */
  readonly #seen = new Map<Applied, Applied | Set<Applied>>();

  /** Whether the combination is a new one. */
  add(was: Applied, is: Applied): boolean {
    if (was === is) return false;
    const known = this.#seen.get(is);
    if (known === was) return false;
    if (known === undefined) this.#seen.set(is, was);
    else if (!(known instanceof Set)) this.#seen.set(is, new Set([known, was]));
    else if (known.has(was)) return false;
    else known.add(was);
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
  asked: new Asked(before.applied.toLabels({}), after.applied.toLabels({})),
  coverageBefore: () => before.ofUnselected,
  coverageAfter: () => after.ofUnselected,
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
      asked: new Asked(before.applied.toLabels(labels), after.applied.toLabels(labels)),
      coverageBefore: () => before.ofLabels(labels),
      coverageAfter: () => after.ofLabels(labels),
    };
}

interface Found {
  readonly isSame: boolean;
  readonly ingress: Distinct;
  readonly others: Distinct;
}

/** So many workloads are compared between two yields: each yield goes through all generators up to the engine. */
const atOnce = 16;

/** Enters one place for each new combination of policies, and yields now and then. */
function* enterWorkloads(sides: Sides, { isSame, ingress, others }: Found): Generator<undefined, undefined> {
  const [before, after] = sides;
  const pairs = isSame ? after.changedSince(before) : after.pairsWith(before);
  const isConcerned = concernedBy(after.policiesChangedSince(before));
  let compared = 0;
  for (const pair of pairs) {
    const [known, workload] = pair;
    if (compared++ % atOnce === 0) yield undefined;
    if (isOfGateway(known) || (known === workload && !isConcerned(workload))) continue;
    const isIngress = before.runsGateway(known) && after.runsGateway(workload);
    const was = before.applied.toWorkload(known);
    const is = after.applied.toWorkload(workload);
    const distinct = isIngress ? ingress : others;
    if (distinct.add(was, is)) distinct.places.push(new PlaceOfWorkloads(sides, pair, { isIngress, was, is }));
  }
}

/** Workloads with the same policies, by the first of them. A review of a mesh can have tens of thousands of such places. */
class PlaceOfWorkloads implements ChangedPlace {
  readonly isIngress: boolean;
  readonly future = undefined;
  readonly asked: Asked;
  readonly #sides: Sides;
  readonly #pair: readonly [before: Workload, after: Workload];

  constructor(
    sides: Sides,
    pair: readonly [before: Workload, after: Workload],
    { isIngress, was, is }: { readonly isIngress: boolean; readonly was: Applied; readonly is: Applied },
  ) {
    this.#sides = sides;
    this.#pair = pair;
    this.isIngress = isIngress;
    this.asked = new Asked(was, is, this.workload);
  }

  get name(): string {
    return idOf(this.#pair[1]);
  }
  get namespace(): string {
    return this.#sides[1].namespace;
  }
  get workload(): Workload | undefined {
    const [before, after] = this.#pair;
    return before === after ? undefined : after;
  }
  coverageBefore(): Coverage {
    return this.#sides[0].ofWorkload(this.#pair[0]);
  }
  coverageAfter(): Coverage {
    return this.#sides[1].ofWorkload(this.#pair[1]);
  }
}

/** Whether other policies may apply to a workload that is the same; undefined: the namespace may differ too. */
function concernedBy(changed: readonly AuthorizationPolicy[] | undefined): (workload: Workload) => boolean {
  if (changed === undefined || changed.length > fewPolicies) return () => true;
  return ({ pod }) => changed.some((policy) => maySelect(policy, pod.labels));
}

/** More policies than this are not compared with each workload. */
const fewPolicies = 8;

/** Whether a policy may apply to workloads with these labels, at some data plane. */
const maySelect = (policy: AuthorizationPolicy, labels: Readonly<Record<string, string>>): boolean =>
  targetRefsOf(policy).length === 0 && selects(policy.spec.selector?.matchLabels ?? {}, labels);

/** With the same policies, those whose pods have other labels. */
function* gateways([before, after]: Sides, isSame: boolean): Generator<ChangedPlace, undefined> {
  const old = new Map(before.gateways.map((gateway) => [gateway.id, gateway]));
  for (const gateway of after.gateways) {
    const was = old.get(gateway.id);
    if (was !== undefined && !(isSame && hasSameLabels(was, gateway)))
      yield {
        name: `${gateway.id}${gateway.isWaypoint ? " (waypoint)" : ""}`,
        namespace: after.namespace,
        workload: undefined,
        isIngress: !gateway.isWaypoint,
        future: undefined,
        ...(gateway.isWaypoint ? { target: { kind: "Gateway", name: gateway.name } } : {}),
        asked: new Asked(before.applied.toGateway(was), after.applied.toGateway(gateway)),
        coverageBefore: () => before.ofGateway(was),
        coverageAfter: () => after.ofGateway(gateway),
      };
  }
}

function* atWaypoints(
  before: NamespaceAuthorization,
  after: NamespaceAuthorization,
  { isThere, own }: Services,
): Generator<ChangedPlace, undefined> {
  if (!before.mayUseWaypoint || !after.mayUseWaypoint) return;
  // A Service that no policy targeted was closed where its waypoint denies by default.
  for (const service of new Set([...before.own.servicesTargeted, ...after.own.servicesTargeted])) {
    if (!isThere(service)) continue;
    const names = own?.(service);
    yield {
      name: `Service ${service}, at its waypoint`,
      namespace: after.namespace,
      workload: undefined,
      isIngress: false,
      future: undefined,
      target: { kind: "Service", name: service },
      asked: new Asked(before.applied.toService(service, names), after.applied.toService(service, names)),
      coverageBefore: () => before.ofService(service, names),
      coverageAfter: () => after.ofService(service, names),
    };
  }
}

/** Whether the default deny is lost altogether, which namespace-default-deny-removed and authorization-policy-allows-everyone report. */
export const losesDefaultDeny = (place: ChangedPlace): boolean =>
  !isDeniedByDefault(place.coverageAfter()) && isDeniedByDefault(place.coverageBefore());

/** Identifies what is gained: by which rule, and at which workload, if it is changed itself. */
export const keyOfGain = ({ by, lost }: Gain, { workload }: ChangedPlace): string =>
  JSON.stringify(
    [by, lost]
      .map((ruled) => (ruled === undefined ? "" : `${idOf(ruled.policy)} ${ruled.index}`))
      .concat(workload === undefined ? [] : idOf(workload)),
  );
