import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";
import { authorization, isDeniedByDefault } from "../authorization/effective-authorization.ts";
import { Admissions } from "../authorization/requests/admitted.ts";
import { allowsAny, type Applied } from "../authorization/requests/applied.ts";
import type { Callers } from "../authorization/requests/gains.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { hasIdentity } from "../authorization/requests/strangers.ts";
import { captureOf } from "../membership/capture.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import { formatLabels } from "../objects/selectors.ts";
import { formatWaypoint, identityOfWaypoint, type WaypointBinding } from "./bindings.ts";
import { accountOf, waypointAccountsNamed } from "./guarded-traffic.ts";
import { concernedDestinations, destinations, readsConcerned, waypointsOf } from "./opened-waypoints.ts";
import { readsServedPlaces, type ServedPolicies, servedPolicies } from "./served-places.ts";
import { type Addressed, nameOfDestination, servingWaypoints } from "./served-traffic.ts";
import { keptByZtunnel, podsBehind } from "./ztunnel-behind.ts";

// Requests that begin to go through a waypoint are decided by its policies, and ztunnel at the pods sees the waypoint instead of the caller.
// Without it, ztunnel decides about the caller (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget,
// authorization.go convertAuthorizationPolicy). So does a sidecar at the pods, which gets HBONE from the waypoint where the mesh is installed
// for ambient (manifests/charts/istio-control/istio-discovery/files/profile-ambient.yaml ISTIO_META_ENABLE_HBONE, pilot/pkg/xds/endpoints/
// endpoint_builder.go buildEnvoyLbEndpoint).

/** What the functions of this file read. Policies that change are compared where they are, so that no change reaches a rule through ztunnel's. */
export const readsNewWays = [
  ...readsServedPlaces,
  ...readsConcerned,
  reachedBy(keptByZtunnel, []),
  reachedBy(waypointAccountsNamed, []),
] as const;

export interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsNewWays)[number]>;
}

/** Only workloads of the mesh use waypoints. */
export const throughWaypoint: Callers = { haveIdentity: true, haveNoToken: false, passSidecar: false };

/** All but the callers that waypoints are themselves. */
export function notWaypoints(waypoints: readonly WaypointBinding[], settings: MeshSettings): Clause {
  const identities = waypoints.flatMap(({ named, gateway }) => {
    const { namespace, serviceAccount } = identityOfWaypoint(named, gateway);
    return trustDomainsOf(settings).map((trustDomain) => [trustDomain, namespace, serviceAccount]);
  });
  return { attribute: "identity", values: new Texts(identities), not: true };
}

/** An object to which requests go another way since a change. */
export interface NewWay {
  readonly object: Addressed;
  readonly from: readonly WaypointBinding[];
  readonly to: readonly WaypointBinding[];
  /** What the object was before; undefined: it was not there. */
  readonly former: Addressed | undefined;
}

export function* newWays(before: Side, after: Side): Generator<NewWay, undefined> {
  if (isTerminating(before.object) || isTerminating(after.object)) return;
  // A namespace can have thousands of objects, and most have no waypoint.
  if ([before, after].every(({ object, mesh }) => mesh.get(servingWaypoints, object).areNone)) return;
  for (const { now, was } of concernedDestinations(before, after))
    for (const object of now) {
      const former = was(object);
      const from = former === undefined ? [] : waypointsOf(former, before);
      const to = waypointsOf(object, after);
      if (namesOf(from) !== namesOf(to)) yield { object, from, to, former };
    }
}

/** Those that go the same way through waypoints, where policies changed which may let a waypoint in at the pods. */
export function* sameWays(before: Side, after: Side): Generator<NewWay, undefined> {
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.get(authorization, object));
  if (old === undefined || now === undefined || now.hasSamePolicies(old)) return;
  if (after.mesh.get(servingWaypoints, after.object).areNone) return;
  for (const relation of destinations)
    for (const object of after.mesh.related(relation, after.object)) {
      const [from, to] = [waypointsOf(object, before), waypointsOf(object, after)];
      if (to.length > 0 && namesOf(from) === namesOf(to)) yield { object, from, to, former: object };
    }
}

const namesOf = (waypoints: readonly WaypointBinding[]): string =>
  waypoints.map(({ named }) => formatWaypoint(named)).join();

export type TargetedNames = (kind: Addressed["kind"]) => ReadonlySet<string>;
const noNames: ReadonlySet<string> = new Set();

export function targetedNames(policies: ServedPolicies): TargetedNames {
  const [services, entries] = [policies.targeted("Service"), policies.targeted("ServiceEntry")];
  return (kind) => (kind === "Service" ? services : kind === "ServiceEntry" ? entries : noNames);
}

/** The labels of the pods that get what is sent to an object; undefined: they are not known. */
export const podsThatGet = (object: Addressed): Labels | undefined =>
  object.kind === "ServiceEntry" ? object.spec.workloadSelector?.labels : podsBehind({ kind: object.kind, object });

/** The name of an object that policies target. */
export function targetedNameOf(object: Addressed, targeted: TargetedNames): string | undefined {
  const name = nameOfDestination(object);
  return targeted(object.kind).has(name) ? name : undefined;
}

type At = NonNullable<ReturnType<ServedPolicies["at"]>>;

type Protection = "ambient" | "sidecar";

/** The pods of one side, by the labels that select them: those of many Services can be the same. */
export class Pods {
  readonly #side: Side;
  readonly #admissions: Admissions;
  readonly #protected = new Map<string, ReadonlyMap<Applied, Workload>>();
  readonly #answers = new Map<string, boolean>();

  constructor(side: Side) {
    this.#side = side;
    this.#admissions = new Admissions((values) => side.mesh.visited(Math.ceil(values / 100)));
  }

  /** Those that ztunnel or sidecars protect, one for each combination of policies. */
  protectedBy(capture: Protection, selector: Labels): ReadonlyMap<Applied, Workload> {
    const key = `${capture} ${formatLabels(selector)}`;
    let found = this.#protected.get(key);
    if (found === undefined) this.#protected.set(key, (found = this.#find(capture, selector)));
    return found;
  }

  #find(capture: Protection, selector: Labels): ReadonlyMap<Applied, Workload> {
    const { object, mesh } = this.#side;
    const there = mesh.get(authorization, object);
    const found = new Map<Applied, Workload>();
    const selected = there.workloadsByLabel.selected(selector);
    mesh.visited(selected.length);
    for (const workload of selected) {
      const applied = there.applied.toWorkload(workload);
      const isProtected =
        capture === "ambient" ? applied.place === "ztunnel" : captureOf(workload, object, mesh.settings) === capture;
      if (isProtected && !found.has(applied)) found.set(applied, workload);
    }
    return found;
  }

  /** Whether the policies at the pods deny nothing by default, so that no caller needs the waypoint. */
  isOpen(workload: Workload): boolean {
    const { object, mesh } = this.#side;
    return !isDeniedByDefault(mesh.get(authorization, object).ofWorkload(workload));
  }

  /** Whether ztunnel, or some sidecar, lets a waypoint in. */
  letIn({ named, gateway }: WaypointBinding, selector: Labels, capture: Protection = "ambient"): boolean {
    const { object, mesh } = this.#side;
    return this.#asked(`${capture} ${formatWaypoint(named)} ${formatLabels(selector)}`, () => {
      const caller = identityOfWaypoint(named, gateway);
      if (capture === "ambient") return mesh.get(keptByZtunnel, object).letsIn(caller, selector);
      const identity = [mesh.settings.trustDomain, caller.namespace, caller.serviceAccount] as const;
      const policies = [...this.protectedBy(capture, selector).keys()];
      return policies.some(
        (applied) => this.#admissions.any(applied, throughWaypoint, [hasIdentity(identity)]) === true,
      );
    });
  }

  /** Whether ztunnel refuses every caller but some waypoints, and those that other objects of the namespace use. */
  areForWaypointsAlone(waypoints: readonly WaypointBinding[], selector: Labels): boolean {
    const { object, mesh } = this.#side;
    return this.#asked(`only ${namesOf(waypoints)} ${formatLabels(selector)}`, () => {
      const accounts = new Set([...waypoints.map(accountOf), ...mesh.get(waypointAccountsNamed, object)]);
      return mesh.get(keptByZtunnel, object).from((account) => accounts.has(account), selector);
    });
  }

  #asked(key: string, ask: () => boolean): boolean {
    let answer = this.#answers.get(key);
    if (answer === undefined) this.#answers.set(key, (answer = ask()));
    return answer;
  }
}

/** Objects to which no requests get any more, because they go another way. */
export interface ClosedWay {
  readonly objects: readonly Addressed[];
  /** The waypoint that refuses them; undefined: ztunnel does, because they bypass the waypoint before. */
  readonly waypoint: WaypointBinding | undefined;
}

/** Those at each waypoint that allows nobody, and those that only waypoints may reach. */
export function closedWays(before: Side, after: Side): Iterable<ClosedWay> {
  const found = new Map<string, { readonly objects: Addressed[]; readonly waypoint: WaypointBinding | undefined }>();
  const [was, is] = [new AdmittedRequests(before), new AdmittedRequests(after)];
  for (const way of newWays(before, after)) {
    if (way.former === undefined || isOfGateway(way.object)) continue;
    const closed = is.closedAmong(way);
    // Few ways are closed, and what got in before is asked about these alone.
    if (closed.length === 0 || !was.mayReach(way)) continue;
    for (const waypoint of closed) {
      const key = waypoint === undefined ? "" : formatWaypoint(waypoint.named);
      const known = found.get(key);
      if (known === undefined) found.set(key, { objects: [way.object], waypoint });
      else known.objects.push(way.object);
    }
  }
  return found.values();
}

/** Requests to a gateway come from outside the mesh, and those to a waypoint from ztunnel and sidecars, and pass no other waypoint. */
const isOfGateway = (object: Addressed): boolean =>
  object.kind === "Service" && gatewayNameLabel in object.spec.selector;

/** What policies do with all requests: several ones have the effect of the strongest. */
type Effect = "refuse" | "allow some" | "allow none" | "are no ALLOW policies";

/** To which objects of one side the policies admit requests. */
class AdmittedRequests {
  readonly #policies: ServedPolicies;
  readonly #targeted: TargetedNames;
  readonly #pods: Pods;
  readonly #admissions: Admissions;
  readonly #waypoints = new Map<string, Effect | undefined>();

  constructor(side: Side) {
    this.#admissions = new Admissions((values) => side.mesh.visited(Math.ceil(values / 100)));
    this.#policies = side.mesh.get(servedPolicies, side.object);
    this.#targeted = targetedNames(this.#policies);
    this.#pods = new Pods(side);
  }

  /** Whether some requests get to the pods: not if ztunnel or all waypoints refuse them. */
  mayReach({ object, from, to }: NewWay): boolean {
    if (from.length > 0 && from.every((waypoint) => this.#isClosed(waypoint, object))) return false;
    const behind = podsBehind({ kind: object.kind, object });
    if (behind === undefined) return true;
    return from.length === 0
      ? !this.#pods.areForWaypointsAlone(to, behind)
      : this.#pods.protectedBy("ambient", behind).size === 0 ||
          from.some((waypoint) => this.#pods.letIn(waypoint, behind));
  }

  closedAmong({ object, from, to }: NewWay): readonly (WaypointBinding | undefined)[] {
    if (to.length === 0) {
      const behind = podsBehind({ kind: object.kind, object });
      return behind !== undefined && this.#pods.areForWaypointsAlone(from, behind) ? [undefined] : [];
    }
    const before = new Set(from.map(({ named }) => formatWaypoint(named)));
    return to.filter((one) => !before.has(formatWaypoint(one.named)) && this.#isClosed(one, object));
  }

  /** A namespace can have thousands of Services, and a waypoint thousands of policies, so that each is looked at alone. */
  #isClosed(waypoint: WaypointBinding, object: Addressed): boolean {
    const key = formatWaypoint(waypoint.named);
    if (!this.#waypoints.has(key)) {
      const at = this.#policies.at(waypoint, object.kind);
      this.#waypoints.set(key, at && this.#effectOf(at));
    }
    const effect = this.#waypoints.get(key);
    if (effect === undefined || effect === "refuse" || effect === "allow some") return effect === "refuse";
    const name = targetedNameOf(object, this.#targeted);
    const at = name === undefined ? undefined : this.#policies.at(waypoint, object.kind, name);
    const together = at === undefined ? effect : this.#effectOf(at);
    return together === "refuse" || together === "allow none";
  }

  #effectOf({ applied, coverage }: At): Effect {
    if (coverage().sealedBy !== undefined) return "refuse";
    if (!allowsAny(applied)) return "are no ALLOW policies";
    return this.#admissions.any(applied, throughWaypoint) === false ? "allow none" : "allow some";
  }
}
