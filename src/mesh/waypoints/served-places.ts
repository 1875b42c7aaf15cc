import { keyOf } from "../../kube/identity.ts";
import { KeptIn } from "../../view/kept-in.ts";
import { fact, type MeshView, reachedBy } from "../../view/view.ts";
import type { Gateway } from "../authorization/applied-policies.ts";
import {
  type ChangedPlace,
  changedPlaces,
  type Places,
  placesThatMayClose,
  readsChangedPlaces,
  type WaypointsOfServices,
} from "../authorization/changed-places.ts";
import { type Coverage, noCoverage, together } from "../authorization/coverage.ts";
import { actionOf, type AuthorizationPolicy } from "../authorization/policies.ts";
import { type NamespacePolicies, policyLevels } from "../authorization/policy-levels.ts";
import { placeOf } from "../authorization/reach.ts";
import type { Applied, NamedList } from "../authorization/requests/applied.ts";
import { Asked } from "../authorization/requests/gains.ts";
import { isIstiosWaypoint } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { formatWaypoint, namespaceOfGateway, type WaypointBinding } from "./bindings.ts";
import { ownWaypointsOnBoth } from "./own-waypoints.ts";
import {
  type Destination,
  destinationKinds,
  type ServedTraffic,
  type ServingWaypoints,
  servingWaypoints,
  usedWaypoints,
  waysToServingWaypoints,
  waysToServingWaypointsOfPods,
} from "./served-traffic.ts";

// At a waypoint count the AuthorizationPolicies of its own namespace and of the root namespace that target it or its class, and those of
// the namespace of a Service or a ServiceEntry that target this object, for requests to it (Istio pilot/pkg/model/policyattachment.go
// ShouldAttachPolicy, authorization.go ListAuthorizationPolicies). So the policies of a namespace alone do not show who gains what at a
// waypoint of another one.

type Target = "Service" | "ServiceEntry";
const targets = ["Service", "ServiceEntry"] as const;

/** A waypoint, and the policies that count in its namespace. */
interface At {
  readonly waypoint: Gateway;
  readonly levels: NamespacePolicies;
}

/** The policies for requests to one object, or to all objects that no policy targets, at one waypoint. */
interface Served {
  readonly name: string;
  readonly applied: Applied;
  /** The namespace whose policies are not compared in departures.ts if they no longer apply; undefined: all are. */
  readonly keeps: string | undefined;
  coverage(): Coverage;
}

/** What ServedPolicies read. */
export const readsServedPolicies = [
  reachedBy(servingWaypoints, [...waysToServingWaypoints, ...waysToServingWaypointsOfPods]),
  namespaceOfGateway,
] as const;
type View = MeshView<(typeof readsServedPolicies)[number]>;

/** Which policies count at the waypoints that serve a namespace: those among the policies that `levelsIn` finds in each namespace. */
export class ServedPolicies {
  readonly levels: NamespacePolicies;
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly waypoints: ServingWaypoints;
  readonly #levelsIn: (namespace: Namespace) => NamespacePolicies;
  readonly #known = new Map<string, At | undefined>();

  constructor(namespace: Namespace, mesh: View, levelsIn: (namespace: Namespace) => NamespacePolicies) {
    this.#namespace = namespace;
    this.#mesh = mesh;
    this.waypoints = mesh.get(servingWaypoints, namespace);
    this.#levelsIn = levelsIn;
    this.levels = levelsIn(namespace);
  }

  get areNone(): boolean {
    return this.waypoints.areNone;
  }

  get namespace(): string {
    return this.#namespace.metadata.name;
  }

  /** Whether requests to a Service go through waypoints of other namespaces alone. */
  isElsewhere(service: string): boolean {
    if (this.areNone) return false;
    const used = usedWaypoints(this.waypoints.ofNamed("Service", service));
    return used.length > 0 && used.every((one) => this.#isElsewhere(one));
  }

  /** The names of the waypoints of the namespace itself through which a Service is reached here and on the other side of a change. */
  ownWaypoints(service: string, other: ServedPolicies): ReadonlySet<string> | undefined {
    if (this.areNone || other.areNone) return undefined;
    return ownWaypointsOnBoth(service, other, this);
  }

  /** The objects that policies of the namespace target. */
  targeted(kind: Target): ReadonlySet<string> {
    const { own } = this.levels.served;
    return new Set(kind === "Service" ? own.servicesTargeted : own.entriesTargeted);
  }

  /** Whether the object is known, so that its waypoints are. */
  isThere(kind: Target, name: string): boolean {
    return this.waypoints.bound(kind, name) !== undefined;
  }

  /** An object at its waypoints; at those of its own namespace only if `isOwn`. */
  *ofTarget(kind: Target, name: string, isOwn: boolean): Iterable<Served> {
    for (const binding of usedWaypoints(this.waypoints.ofNamed(kind, name))) {
      const isElsewhere = this.#isElsewhere(binding);
      const found = isElsewhere || isOwn ? this.at(binding, kind, name) : undefined;
      if (found === undefined) continue;
      yield {
        name: `${kind} ${name}, at ${isElsewhere ? `waypoint ${formatWaypoint(binding.named)}` : "its waypoint"}`,
        keeps: kind === "Service" ? this.namespace : undefined,
        ...found,
      };
    }
  }

  /**
   * The policies for requests to an object at one waypoint, or to all that no policy targets if it has no name; undefined: they are not
   * known.
   */
  at(
    binding: WaypointBinding,
    kind: Destination["kind"],
    name?: string,
  ): Pick<Served, "applied" | "coverage"> | undefined {
    const at = this.#at(binding);
    if (at === undefined) return undefined;
    const { own } = this.levels.readBy(at.waypoint.controlPlane);
    if (name === undefined || (kind !== "Service" && kind !== "ServiceEntry"))
      return { applied: this.#applied(listsAt(at)), coverage: () => coverageAt(at) };
    const isService = kind === "Service";
    return {
      applied: this.#applied([...(isService ? own.listsOfService(name) : own.listsOfEntry(name)), ...listsAt(at)]),
      coverage: () => together(isService ? own.ofService(name) : own.ofEntry(name), coverageAt(at)),
    };
  }

  /** What no policy targets, at each waypoint of another namespace. */
  *untargeted(left: Readonly<Record<Target, ReadonlySet<string>>>): Iterable<Served> {
    const found = new Map<string, At>();
    for (const traffic of this.#untargeted(left))
      for (const binding of usedWaypoints(traffic)) {
        const name = formatWaypoint(binding.named);
        const at = found.has(name) || !this.#isElsewhere(binding) ? undefined : this.#at(binding);
        if (at !== undefined) found.set(name, at);
      }
    for (const [name, at] of found)
      yield {
        name: `what waypoint ${name} serves`,
        keeps: undefined,
        applied: this.#applied(listsAt(at)),
        coverage: () => coverageAt(at),
      };
  }

  *#untargeted(left: Readonly<Record<Target, ReadonlySet<string>>>): Iterable<ServedTraffic | undefined> {
    const waypoints = this.waypoints;
    if (waypoints.hasUnlabelled("Service", ({ kind, metadata }) => left[kind].has(metadata.name)))
      yield waypoints.ofUnlabelled("Service");
    if (waypoints.hasUnlabelled("Workload")) yield waypoints.ofUnlabelled("Workload");
    for (const kind of destinationKinds)
      for (const name of waypoints.labelled(kind))
        if (kind === "Workload" || kind === "WorkloadEntry" || !left[kind].has(name))
          yield waypoints.ofNamed(kind, name);
  }

  #isElsewhere({ named }: WaypointBinding): boolean {
    return named.namespace !== this.namespace;
  }

  #applied(lists: readonly NamedList[]): Applied {
    return { place: placeOf("proxy"), settings: this.#mesh.settings, lists };
  }

  #at({ named, gateway }: WaypointBinding): At | undefined {
    const key = formatWaypoint(named);
    if (this.#known.has(key)) return this.#known.get(key);
    const [home] = gateway === undefined ? [] : this.#mesh.related(namespaceOfGateway, gateway);
    let at: At | undefined;
    // What another controller does with policies is not known.
    if (gateway !== undefined && isIstiosWaypoint(gateway, this.#mesh.settings) && home !== undefined) {
      const levels = this.#levelsIn(home);
      const controlPlane = levels.readers.ofGateway(gateway);
      at = { levels, waypoint: { id: `Gateway ${key}`, ...named, isWaypoint: true, controlPlane } };
    }
    this.#known.set(key, at);
    return at;
  }
}

function listsAt({ waypoint, levels }: At): readonly NamedList[] {
  const { own, meshWide } = levels.readBy(waypoint.controlPlane);
  const named = (prefix: string, lists: readonly NamedList[]) =>
    lists.map((list) => ({ ...list, name: `${prefix} ${list.name}` }));
  return [
    ...named("waypoint", own.listsOfGateway(waypoint)),
    ...named("mesh", meshWide?.listsOfGateway(waypoint) ?? []),
  ];
}

function coverageAt({ waypoint, levels }: At): Coverage {
  const { own, meshWide } = levels.readBy(waypoint.controlPlane);
  return together(own.ofGateway(waypoint), meshWide?.ofGateway(waypoint) ?? noCoverage);
}

/** Which policies count at the waypoints that serve a namespace, besides those of the namespace itself. */
export const servedPolicies = fact(
  "servedPolicies",
  "Namespace",
  [...readsServedPolicies, policyLevels],
  (namespace, mesh) => new ServedPolicies(namespace, mesh, (one) => mesh.get(policyLevels, one)),
);

/** What `changedPlacesAndServed` reads. */
export const readsServedPlaces = [...readsChangedPlaces, servedPolicies] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsServedPlaces)[number]>;
}

/**
 * The places where callers may gain something by a change: those in the namespace itself, and those at the waypoints of other namespaces
 * that serve its contents before and after the change. Which policies an object loses because it leaves a waypoint is compared in
 * departures.ts.
 */
export function* changedPlacesAndServed(before: Side, after: Side): Places {
  const sides = sidesOf(before, after);
  yield* changedPlaces(before, after, sides);
  for (const place of placesServed(sides)) yield place?.asked.mayGainAnywhere === true ? place : undefined;
}

/** The same for places where nobody may be admitted any more. */
export function* placesThatMayCloseAndServed(before: Side, after: Side): Places {
  const sides = sidesOf(before, after);
  yield* placesThatMayClose(before, after, sides);
  for (const place of placesServed(sides)) yield place?.asked.mayClose === true ? place : undefined;
}

/** The places at waypoints of other namespaces that serve a namespace on both sides, with the policies of both. */
export function* placesServedBetween(was: ServedPolicies, is: ServedPolicies): Places {
  if (!was.areNone && !is.areNone) yield* find(was, is);
}

interface Sides extends WaypointsOfServices {
  readonly was: ServedPolicies;
  readonly is: ServedPolicies;
  readonly isTerminating: boolean;
}

function sidesOf(before: Side, after: Side): Sides {
  const was = before.mesh.get(servedPolicies, before.object);
  const is = after.mesh.get(servedPolicies, after.object);
  return {
    was,
    is,
    isTerminating: isTerminating(before.object) || isTerminating(after.object),
    isElsewhere: (service) => was.isElsewhere(service) && is.isElsewhere(service),
    own: (service) => is.ownWaypoints(service, was),
  };
}

interface Kept {
  readonly was: ServedPolicies;
  readonly places: readonly ChangedPlace[];
}
const kept = new KeptIn<ServedPolicies, Kept>();

/** Several rules ask about the same places. */
function* placesServed({ was, is, isTerminating: isGoing }: Sides): Places {
  if (isGoing || was.areNone || is.areNone) return;
  let known = kept.get(is);
  if (known?.was !== was) {
    const places: ChangedPlace[] = [];
    for (const place of find(was, is)) {
      if (place !== undefined) places.push(place);
      yield undefined;
    }
    kept.set(is, (known = { was, places }));
  }
  yield* known.places;
}

function* find(was: ServedPolicies, is: ServedPolicies): Places {
  const left = { Service: new Set<string>(), ServiceEntry: new Set<string>() };
  for (const kind of targets)
    for (const name of is.targeted(kind).union(was.targeted(kind))) {
      left[kind].add(name);
      // A Service at a waypoint of its own namespace is a place of the namespace itself.
      const isOwn = kind !== "Service";
      yield* compared(was.ofTarget(kind, name, isOwn), is.ofTarget(kind, name, isOwn), is.namespace);
      yield undefined;
    }
  yield* compared(was.untargeted(left), is.untargeted(left), is.namespace);
}

/** The places on both sides. */
function* compared(was: Iterable<Served>, is: Iterable<Served>, namespace: string): Generator<ChangedPlace, undefined> {
  const before = new Map([...was].map((one) => [one.name, one]));
  for (const now of is) {
    const old = before.get(now.name);
    if (old === undefined) continue;
    yield {
      name: now.name,
      namespace,
      workload: undefined,
      isIngress: false,
      future: undefined,
      asked: new Asked(old.applied, now.applied),
      hasLeft: (policy) => policy.metadata.namespace !== now.keeps && !isAmong(policy, now.applied),
      coverageBefore: () => old.coverage(),
      coverageAfter: () => now.coverage(),
    };
  }
}

/** Whether the policy still applies, perhaps with other rules, but with the same action. */
const isAmong = (policy: AuthorizationPolicy, { lists }: Applied): boolean =>
  lists.some(({ policies }) =>
    policies.some((one) => keyOf(one) === keyOf(policy) && actionOf(one) === actionOf(policy)),
  );
