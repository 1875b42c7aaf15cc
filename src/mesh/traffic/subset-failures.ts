import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { everyNamespace } from "./export-to.ts";
import type { Callers, Routing, SubsetClient } from "./subset-clients.ts";
import { anyOtherNamespace, type SubsetLookup, type SubsetsOfHost, type SubsetTarget } from "./subsets.ts";
import type { Protocol, Traffic, VirtualService } from "./virtual-services.ts";

/** So many namespaces that a failure stands for are listed. */
const fewNames = 16;

/** Clients for which a subset does not exist. */
export interface SubsetFailure {
  /** Undefined: gateways whose pods the view does not contain. */
  readonly client: SubsetClient | undefined;
  /**
   * What is missing of such gateways: the pods, or the Gateways themselves; `not offered`: no request fails, because the Gateways offer other
   * hosts. Undefined: the client is known, or the route is that of a delegate which nobody delegates to.
   */
  readonly unseen: "pods" | "Gateway" | "not offered" | undefined;
  readonly lookup: SubsetLookup;
  /** Whether requests that the route is intended for fail. */
  readonly isGrave: boolean;
  /**
   * If no client of the route has the subset, the other namespaces that this failure stands for; undefined: it stands for
   * none. Empty if they are too many.
   */
  readonly standsFor: readonly string[] | undefined;
  /** Whether it stands for every other namespace there is or will be, because the VirtualService is hidden from none. */
  readonly standsForAll: boolean;
  /**
   * Whether every other namespace lacks the subset now, or has it and loses nothing with it: Sidecars keep it from the VirtualService, or it
   * has no sidecars.
   */
  readonly coversAll: boolean;
  /** The VirtualService that these clients follow instead; undefined: they follow the one with the route. */
  readonly ownerInstead: VirtualService | undefined;
  /** For a delegate: the root VirtualService through which the clients reach it. */
  readonly root: VirtualService | undefined;
}

interface AskedSubset extends Pick<SubsetTarget, "subset" | "subsets"> {
  /** Whether a namespace that defines the subset has only gateways and workloads outside the mesh, which lose nothing with it. */
  readonly isAside: (namespace: string) => boolean;
}

/**
 * The clients of a route for which the subset does not exist. If no client has it, clients that the route is not intended
 * for are included only if they use other DestinationRules than the intended clients. Clients that follow another
 * VirtualService for its hosts are not intended.
 */
export function subsetFailures(
  routing: Routing,
  traffic: Traffic,
  { subset, subsets, isAside }: AskedSubset,
): readonly SubsetFailure[] {
  const { virtualService, settings } = routing;
  const callers = routing.callersOf(traffic);
  if (callers.length === 0) return failuresOfNobody(subset, subsets);
  const failures = new Map<string, SubsetFailure>();
  for (const one of callers)
    for (const failure of new CallersLookUp(one, traffic.protocol, { subsets, isAside, settings }).failures(subset)) {
      const namespace = failure.client?.namespace ?? everyNamespace;
      if (failures.get(namespace)?.isGrave) continue;
      failures.set(namespace, one.root === virtualService ? failure : { ...failure, root: one.root });
    }
  return [...failures.values()];
}

/** The result for a delegate that no VirtualService delegates to: no request fails yet. */
function failuresOfNobody(subset: string, subsets: SubsetsOfHost): readonly SubsetFailure[] {
  if (!subsets.isNowhere(subset)) return [];
  const nobody = {
    client: undefined,
    unseen: undefined,
    isGrave: false,
    standsFor: undefined,
    ...forNotAll,
    ownerInstead: undefined,
    root: undefined,
  };
  return [{ ...nobody, lookup: subsets.lookUp(anyOtherNamespace, subset) }];
}

type Failure = Pick<SubsetFailure, "client" | "lookup" | "isGrave"> & Partial<Pick<SubsetFailure, "unseen">>;

/** What a failure stands for, unless it stands for itself alone. */
type Others = Pick<SubsetFailure, "standsFor" | "standsForAll" | "coversAll">;
const forNotAll = { standsForAll: false, coversAll: false } as const;
const noNamespace: AskedSubset["isAside"] = () => false;
const itselfAlone: Others = { standsFor: undefined, ...forNotAll };

/** The look-up results of the callers of a route for one host. Namespaces that use the same rules are looked up once. */
class CallersLookUp {
  readonly #callers: Callers;
  readonly #subsets: SubsetsOfHost;
  readonly #isAside: AskedSubset["isAside"];
  readonly #rootNamespace: string;
  readonly #isForOthersOnly: boolean;
  readonly #protocol: Protocol;
  /** Whether every sidecar follows another VirtualService. */
  readonly #isHidden: boolean;
  readonly #served = new SmallMap<ReadonlySet<string>, readonly string[]>();

  constructor(
    callers: Callers,
    protocol: Protocol,
    { subsets, isAside, settings }: Omit<AskedSubset, "subset"> & { readonly settings: MeshSettings },
  ) {
    this.#callers = callers;
    this.#subsets = subsets;
    this.#isAside = isAside;
    this.#rootNamespace = settings.rootNamespace;
    this.#protocol = protocol;
    this.#isHidden = callers.followers.areNone(protocol);
    const isAnyServed = callers.inOrder.some(
      (some) => !("sidecars" in some) || this.#namesServed(some.sidecars).length > 0,
    );
    this.#isForOthersOnly = callers.somewhere.length === 0 && !isAnyServed;
  }

  /** Through the root VirtualService itself. */
  failures(subset: string): readonly SubsetFailure[] {
    const { inOrder } = this.#callers;
    const served = inOrder.flatMap((some) =>
      "sidecars" in some ? this.#ofServed(some.sidecars, subset) : this.#ofPod(some, subset),
    );
    const ofGateways = served.length === 0 ? this.#ofUnseen(subset) : [];
    served.push(...ofGateways.filter(({ isGrave }) => isGrave));
    const found = this.#withOthers(served, subset);
    for (const failure of ofGateways) if (!failure.isGrave) found.push(this.#failure(failure, itselfAlone));
    return found;
  }

  #withOthers(served: readonly Failure[], subset: string): SubsetFailure[] {
    const { inOrder } = this.#callers;
    const told = served.length > 0 && this.#isLackedByAll(subset) ? served : [];
    const lacking = inOrder.flatMap((some) => ("sidecars" in some ? [this.#lacking(some.sidecars, subset, told)] : []));
    const others = lacking.flatMap(({ like }) => like);
    const standsFor = others.length === 0 ? undefined : others.length > fewNames ? [] : others;
    const isForEveryone = served.length > 0 && lacking.some(({ visible }) => visible.has(everyNamespace));
    const all = isForEveryone ? this.#standsForAll(subset, told.length > 0) : forNotAll;
    const found = served.map((failure) => this.#failure(failure, { standsFor, ...all }));
    for (const { visible, names } of lacking)
      for (const failure of this.#others(visible, names, subset)) found.push(this.#failure(failure, itselfAlone));
    return found;
  }

  #failure(
    { client, lookup, isGrave, unseen }: Failure,
    { standsFor, standsForAll, coversAll }: Others,
  ): SubsetFailure {
    return {
      client,
      unseen,
      lookup,
      isGrave,
      standsFor,
      standsForAll,
      coversAll,
      ownerInstead: this.#ownerInstead(client),
      root: undefined,
    };
  }

  #standsForAll(subset: string, isTold: boolean): Pick<Others, "standsForAll" | "coversAll"> {
    if (!isTold && !this.#isLackedButAside(subset)) return forNotAll;
    const hidden = [...this.#subsets.clients].filter((name) => this.#isOutOfSight(name));
    const coversAll = hidden.every((name) => this.#subsets.lookUp(name, subset).definedFor === "all");
    return { standsForAll: isTold && hidden.length === 0, coversAll };
  }

  /** Whether only namespaces have the subset that have no sidecars, as far as it is asked. */
  #isLackedButAside(subset: string): boolean {
    const areFew = this.#subsets.rules.defining(subset).length <= fewNames;
    return areFew && this.#isLackedByAll(subset, this.#isAside);
  }

  #ownerInstead(client: SubsetClient | undefined): VirtualService | undefined {
    if (client === undefined || client.gateway !== undefined) return undefined;
    return this.#callers.followers.ownerInstead(client.namespace, this.#protocol);
  }

  /** Whether no client has the subset, except in namespaces that do not count. */
  #isLackedByAll(subset: string, isAside = noNamespace): boolean {
    const { inOrder, somewhere } = this.#callers;
    return [...inOrder, ...somewhere.map((sidecars) => ({ sidecars }))].every((some) =>
      "sidecars" in some
        ? this.#isNowhereInSight(some.sidecars, subset, isAside)
        : this.#ofPod(some, subset).some(({ isGrave }) => isGrave),
    );
  }

  #isServed(namespace: string): boolean {
    const isMeant =
      namespace === this.#callers.root.metadata.namespace || this.#subsets.serviceNamespaces.has(namespace);
    return (
      isMeant && namespace !== this.#rootNamespace && this.#isFollowing(namespace) && !this.#isOutOfSight(namespace)
    );
  }

  /** Whether Sidecars hide the VirtualService from all sidecars of the namespace. */
  #isOutOfSight(namespace: string): boolean {
    return this.#callers.scopes.hides(this.#callers.root, namespace);
  }

  /** If no sidecar follows the VirtualService, it is treated as if its hosts were its own. */
  #isFollowing(namespace: string): boolean {
    return this.#isHidden || this.#callers.followers.include(namespace, this.#protocol);
  }

  /** The namespaces that the route is intended for, in the order of `visible`. */
  #namesServed(visible: ReadonlySet<string>): readonly string[] {
    let found = this.#served.get(visible);
    if (found === undefined) this.#served.set(visible, (found = this.#findServed(visible)));
    return found;
  }

  #findServed(visible: ReadonlySet<string>): readonly string[] {
    const { serviceNamespaces } = this.#subsets;
    const meant = new Set([this.#callers.root.metadata.namespace, ...serviceNamespaces]);
    const isSeenByEveryone = visible.has(everyNamespace);
    const names = [...meant].filter((name) => this.#isServed(name) && (isSeenByEveryone || visible.has(name)));
    return isSeenByEveryone || names.length < 2 ? names : inOrderOf(visible, names);
  }

  #ofServed(visible: ReadonlySet<string>, subset: string): Failure[] {
    const found: Failure[] = [];
    for (const namespace of this.#namesServed(visible)) {
      const lookup = this.#subsets.lookUp(namespace, subset);
      if (lookup.definedFor === "all") continue;
      const client = { namespace, gateway: undefined, isServed: true };
      found.push({ client, lookup, isGrave: lookup.definedFor === "none" && !this.#isHidden });
    }
    return found;
  }

  #ofPod(client: SubsetClient, subset: string): Failure[] {
    const lookup = this.#subsets.lookUp(client.namespace, subset, client.gateway?.workload.pod.labels);
    return lookup.definedFor === "all" ? [] : [{ client, lookup, isGrave: lookup.definedFor === "none" }];
  }

  /** The failure of gateways whose pods the view does not contain, or, if there are none, of Gateways that offer other hosts. */
  #ofUnseen(subset: string): readonly Failure[] {
    const { somewhere, isGatewayThere, notOffered } = this.#callers;
    const unseen = this.#unseen(somewhere, subset);
    if (unseen)
      return [{ client: undefined, lookup: unseen, isGrave: true, unseen: isGatewayThere ? "pods" : "Gateway" }];
    const closed = this.#unseen(notOffered, subset);
    return closed ? [{ client: undefined, lookup: closed, isGrave: false, unseen: "not offered" }] : [];
  }

  /** The result for pods that the view does not contain; undefined if the subset exists somewhere, or there are none. */
  #unseen(somewhere: Callers["somewhere"], subset: string): SubsetLookup | undefined {
    if (somewhere.length === 0 || !somewhere.every((visible) => this.#isNowhere(visible, subset))) return undefined;
    const names = somewhere.length === 1 ? somewhere[0] : new Set(somewhere.flatMap((visible) => [...visible]));
    const last = names?.has(everyNamespace) ? anyOtherNamespace : [...(names ?? [])].at(-1);
    return this.#subsets.lookUp(last ?? anyOtherNamespace, subset);
  }

  #isNowhere(visible: ReadonlySet<string>, subset: string): boolean {
    if (visible.has(everyNamespace)) return this.#subsets.isNowhere(subset);
    return this.#subsets.alike(visible).every(({ choices }) => choices.lookUp(subset).definedFor === "none");
  }

  /** Whether no sidecar has the subset of those that Sidecars do not keep from the VirtualService. */
  #isNowhereInSight(visible: ReadonlySet<string>, subset: string, isAside = noNamespace): boolean {
    if (this.#isNowhere(visible, subset)) return true;
    const [limited] = this.#callers.scopes.limited;
    if (limited === undefined && isAside === noNamespace) return false;
    const all = visible.has(everyNamespace) ? this.#subsets.clients : visible;
    const isOut = (name: string) => this.#isOutOfSight(name) || isAside(name);
    return this.#subsets
      .alike(all)
      .every(({ namespaces, choices }) => choices.lookUp(subset).definedFor === "none" || namespaces.every(isOut));
  }

  /** The clients that the route is not intended for. */
  #others(visible: ReadonlySet<string>, names: readonly string[], subset: string): readonly Failure[] {
    if (names.length === 0) return [];
    const isGrave = this.#isForOthersOnly && !this.#isHidden && this.#isNowhereInSight(visible, subset);
    return names.map((namespace) => ({
      client: { namespace, gateway: undefined, isServed: false },
      lookup: this.#subsets.lookUp(namespace, subset),
      isGrave: isGrave && this.#isFollowing(namespace),
    }));
  }

  /**
   * The namespaces without the subset that the route is not intended for: `like` have the same result as one in `told`. The
   * root namespace is ignored if there are any others.
   */
  #lacking(
    visible: ReadonlySet<string>,
    subset: string,
    told: readonly Failure[],
  ): { readonly visible: ReadonlySet<string>; readonly names: readonly string[]; readonly like: readonly string[] } {
    const all = visible.has(everyNamespace) ? this.#everyone() : visible;
    const isOther = (name: string) =>
      !this.#isServed(name) && (this.#isForOthersOnly || name !== this.#rootNamespace) && !this.#isOutOfSight(name);
    const named: (readonly string[])[] = [];
    const like: string[] = [];
    for (const { namespaces, choices } of this.#subsets.alike(all)) {
      const lookup = choices.lookUp(subset);
      if (lookup.definedFor === "all") continue;
      if (!told.some((failure) => isAlike(failure.lookup, lookup))) named.push(namespaces.filter(isOther));
      else if (like.length <= fewNames) like.push(...firstFew(namespaces, isOther));
    }
    const names = named.flat();
    return { visible, names: names.length < 2 ? names : inOrderOf(all, names), like };
  }

  /** All client namespaces with a result of their own, preceded by that of a VirtualService in the root namespace. */
  #everyone(): ReadonlySet<string> {
    const { clients } = this.#subsets;
    const { namespace } = this.#callers.root.metadata;
    if (namespace !== this.#rootNamespace || !this.#isForOthersOnly) return clients;
    return this.#subsets.clientsAfter(namespace);
  }
}

/** One more than the few that are listed, if there are so many. */
function firstFew(names: readonly string[], isListed: (name: string) => boolean): readonly string[] {
  const found: string[] = [];
  for (const name of names) {
    if (isListed(name)) found.push(name);
    if (found.length > fewNames) break;
  }
  return found;
}

const places = new WeakMap<ReadonlySet<string>, ReadonlyMap<string, number>>();

function inOrderOf(all: ReadonlySet<string>, names: readonly string[]): readonly string[] {
  let known = places.get(all);
  if (known === undefined) {
    known = new Map([...all].map((name, i) => [name, i]));
    places.set(all, known);
  }
  const placeOf = (name: string) => known.get(name) ?? -1;
  return names.toSorted((a, b) => placeOf(a) - placeOf(b));
}

const isAlike = (a: SubsetLookup, b: SubsetLookup): boolean =>
  a.definedFor === b.definedFor &&
  (a.used === b.used || isEqual(a.used, b.used)) &&
  (a.made === b.made || isEqual(a.made, b.made));

type Rules = SubsetLookup["used"];
const equal = new WeakMap<Rules, Map<Rules, boolean>>();

/** The result is stored, because many subsets can be missing in the same rules. */
function isEqual(a: Rules, b: Rules): boolean {
  if (a.length !== b.length) return false;
  const known = equal.get(a) ?? new Map<Rules, boolean>();
  equal.set(a, known);
  const found = known.get(b) ?? a.every((rule, i) => rule === b[i]);
  known.set(b, found);
  return found;
}
