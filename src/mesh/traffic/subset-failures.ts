import type { MeshSettings } from "../../view/settings.ts";
import { everyNamespace } from "./export-to.ts";
import type { Callers, Routing, SubsetClient } from "./subset-clients.ts";
import { anyOtherNamespace, type SubsetLookup, type SubsetsOfHost, type SubsetTarget } from "./subsets.ts";
import type { Traffic, VirtualService } from "./virtual-services.ts";

/** Clients for which a subset does not exist. */
export interface SubsetFailure {
  /** Undefined: gateways whose pods the view does not contain. */
  readonly client: SubsetClient | undefined;
  readonly lookup: SubsetLookup;
  /** Whether requests that the route is intended for fail. */
  readonly isGrave: boolean;
  /** For a delegate: the root VirtualService through which the clients reach it. */
  readonly root: VirtualService | undefined;
}

/**
 * The clients of a route for which the subset does not exist. Clients that the route is not intended for are included
 * only if they use other DestinationRules than the intended clients.
 */
export function subsetFailures(
  routing: Routing,
  traffic: Traffic,
  { subset, subsets }: Pick<SubsetTarget, "subset" | "subsets">,
): readonly SubsetFailure[] {
  const { virtualService, settings } = routing;
  const callers = routing.callersOf(traffic);
  if (callers.length === 0) return failuresOfNobody(subset, subsets);
  const failures = new Map<string, SubsetFailure>();
  for (const one of callers)
    for (const failure of new CallersLookUp(one, subsets, settings).failures(subset)) {
      const namespace = failure.client?.namespace ?? everyNamespace;
      if (failures.get(namespace)?.isGrave) continue;
      failures.set(namespace, { ...failure, root: one.root === virtualService ? undefined : one.root });
    }
  return [...failures.values()];
}

/** The result for a delegate that no VirtualService delegates to: no request fails yet. */
function failuresOfNobody(subset: string, subsets: SubsetsOfHost): readonly SubsetFailure[] {
  if (!subsets.isNowhere(subset)) return [];
  return [{ client: undefined, lookup: subsets.lookUp(anyOtherNamespace, subset), isGrave: false, root: undefined }];
}

type Failure = Omit<SubsetFailure, "root">;

/** The look-up results of the callers of a route for one host. Namespaces that use the same rules are looked up once. */
class CallersLookUp {
  readonly #callers: Callers;
  readonly #subsets: SubsetsOfHost;
  readonly #rootNamespace: string;
  readonly #isForOthersOnly: boolean;

  constructor(callers: Callers, subsets: SubsetsOfHost, { rootNamespace }: MeshSettings) {
    this.#callers = callers;
    this.#subsets = subsets;
    this.#rootNamespace = rootNamespace;
    const isAnyServed = callers.inOrder.some(
      (some) => !("sidecars" in some) || this.#namesServed(some.sidecars).length > 0,
    );
    this.#isForOthersOnly = callers.somewhere.length === 0 && !isAnyServed;
  }

  failures(subset: string): readonly Failure[] {
    const { inOrder } = this.#callers;
    const served = inOrder.flatMap((some) =>
      "sidecars" in some ? this.#served(some.sidecars, subset) : this.#ofPod(some, subset),
    );
    const unseen = served.length === 0 ? this.#unseen(subset) : undefined;
    if (unseen) served.push({ client: undefined, lookup: unseen, isGrave: true });
    const others = inOrder.flatMap((some) => ("sidecars" in some ? this.#others(some.sidecars, subset, served) : []));
    return [...served, ...others];
  }

  #isServed(namespace: string): boolean {
    const isMeant =
      namespace === this.#callers.root.metadata.namespace || this.#subsets.serviceNamespaces.has(namespace);
    return isMeant && namespace !== this.#rootNamespace;
  }

  /** The namespaces that the route is intended for, in the order of `visible`. */
  #namesServed(visible: ReadonlySet<string>): readonly string[] {
    const { serviceNamespaces } = this.#subsets;
    const meant = new Set([this.#callers.root.metadata.namespace, ...serviceNamespaces]);
    const isForAll = visible.has(everyNamespace);
    const names = [...meant].filter((name) => this.#isServed(name) && (isForAll || visible.has(name)));
    return isForAll || names.length < 2 ? names : inOrderOf(visible, names);
  }

  #served(visible: ReadonlySet<string>, subset: string): Failure[] {
    return this.#namesServed(visible).flatMap((namespace) => {
      const lookup = this.#subsets.lookUp(namespace, subset);
      if (lookup.definedFor === "all") return [];
      const client = { namespace, gateway: undefined, isServed: true };
      return [{ client, lookup, isGrave: lookup.definedFor === "none" }];
    });
  }

  #ofPod(client: SubsetClient, subset: string): Failure[] {
    const lookup = this.#subsets.lookUp(client.namespace, subset, client.gateway?.workload.pod.labels);
    return lookup.definedFor === "all" ? [] : [{ client, lookup, isGrave: lookup.definedFor === "none" }];
  }

  /** The result for pods that the view does not contain; undefined if the subset exists somewhere, or there are none. */
  #unseen(subset: string): SubsetLookup | undefined {
    const { somewhere } = this.#callers;
    if (somewhere.length === 0 || !somewhere.every((visible) => this.#isNowhere(visible, subset))) return undefined;
    const names = somewhere.length === 1 ? somewhere[0] : new Set(somewhere.flatMap((visible) => [...visible]));
    const last = names?.has(everyNamespace) ? anyOtherNamespace : [...(names ?? [])].at(-1);
    return this.#subsets.lookUp(last ?? anyOtherNamespace, subset);
  }

  #isNowhere(visible: ReadonlySet<string>, subset: string): boolean {
    if (visible.has(everyNamespace)) return this.#subsets.isNowhere(subset);
    return this.#subsets.alike(visible).every(({ choices }) => choices.lookUp(subset).definedFor === "none");
  }

  /** The clients that the route is not intended for. Those in the root namespace are ignored if there are any others. */
  #others(visible: ReadonlySet<string>, subset: string, served: readonly Failure[]): readonly Failure[] {
    const isGrave = this.#isForOthersOnly && this.#isNowhere(visible, subset);
    return this.#lacking(visible, subset, served).map((namespace) => ({
      client: { namespace, gateway: undefined, isServed: false },
      lookup: this.#subsets.lookUp(namespace, subset),
      isGrave,
    }));
  }

  /** The namespaces without the subset that the route is not intended for and whose result differs from the others. */
  #lacking(visible: ReadonlySet<string>, subset: string, served: readonly Failure[]): readonly string[] {
    const all = visible.has(everyNamespace) ? this.#everyone() : visible;
    const lacking = this.#subsets.alike(all).flatMap(({ namespaces, choices }) => {
      const lookup = choices.lookUp(subset);
      const isTold = lookup.definedFor === "all" || served.some((failure) => isAlike(failure.lookup, lookup));
      return isTold ? [] : namespaces;
    });
    const named = lacking.filter(
      (name) => !this.#isServed(name) && (this.#isForOthersOnly || name !== this.#rootNamespace),
    );
    return named.length < 2 ? named : inOrderOf(all, named);
  }

  /** All client namespaces with a result of their own, preceded by that of a VirtualService in the root namespace. */
  #everyone(): ReadonlySet<string> {
    const { clients } = this.#subsets;
    const { namespace } = this.#callers.root.metadata;
    if (namespace !== this.#rootNamespace || !this.#isForOthersOnly) return clients;
    return this.#subsets.clientsAfter(namespace);
  }
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
  a.definedFor === b.definedFor && (a.used === b.used || isEqual(a.used, b.used));

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
