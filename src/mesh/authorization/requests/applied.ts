import type { ObjectOf } from "../../../kube/object.ts";
import { KeptIn } from "../../../view/kept-in.ts";
import type { MeshSettings } from "../../../view/settings.ts";
import { SmallMap } from "../../../view/small-map.ts";
import type { Place } from "./matches.ts";
import { isAllow, isSameTrust, type Ruled, rulesAt } from "./policies.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

/** A list of policies that many workloads share. Lists with one name are compared with each other. */
export interface NamedList {
  readonly name: string;
  readonly policies: readonly AuthorizationPolicy[];
}

/** The enforced policies that apply to a workload, a gateway or a Service, and where they are enforced. */
export interface Applied {
  readonly place: Place;
  readonly settings: MeshSettings;
  readonly lists: readonly NamedList[];
}

/** The same policies, read as they are at another place. */
export const readAt = ({ settings, lists }: Applied, place: Place): Applied => ({ place, settings, lists });

/** The lists of a namespace and those of the mesh, which are put together only where both are needed. */
export class AppliedLevels implements Applied {
  readonly place: Place;
  readonly settings: MeshSettings;
  readonly own: readonly NamedList[];
  readonly meshWide: readonly NamedList[];
  #lists: readonly NamedList[] | undefined;

  constructor({ place, settings }: Omit<Applied, "lists">, own: readonly NamedList[], meshWide: readonly NamedList[]) {
    this.place = place;
    this.settings = settings;
    this.own = own;
    this.meshWide = meshWide;
  }

  get lists(): readonly NamedList[] {
    return (this.#lists ??= [...this.own, ...namedMeshWide(this.meshWide)]);
  }
}

const meshWideNames = new KeptIn<readonly NamedList[], readonly NamedList[]>();

/** Mesh-wide lists by names that differ from those of the namespace's own. Once for all namespaces, so that they share the lists. */
function namedMeshWide(lists: readonly NamedList[]): readonly NamedList[] {
  let named = meshWideNames.get(lists);
  if (named === undefined)
    meshWideNames.set(lists, (named = lists.map(({ name, policies }) => ({ name: `mesh ${name}`, policies }))));
  return named;
}

/** The rules of some policies by their action. */
export interface Rules {
  readonly allow: readonly Ruled[];
  /** Those of DENY policies, and of CUSTOM policies in a list of these. */
  readonly deny: readonly Ruled[];
  /** Whether some policy is an ALLOW policy, even without rules, so that all other requests are denied. */
  readonly hasAllow: boolean;
}

const compiled = new KeptIn<
  readonly AuthorizationPolicy[],
  SmallMap<Place, { readonly settings: MeshSettings; readonly rules: Rules }>
>();

/** The rules of a list, computed once for each list. */
function rulesOfList(list: readonly AuthorizationPolicy[], { place, settings }: Omit<Applied, "lists">): Rules {
  let places = compiled.get(list);
  if (places === undefined) compiled.set(list, (places = new SmallMap()));
  let known = places.get(place);
  if (known?.settings !== settings) {
    const allow = list.filter(isAllow);
    const deny = allow.length === list.length ? none : list.filter((policy) => !isAllow(policy));
    const of = (some: readonly AuthorizationPolicy[]) => rulesOfAll(some, { place, settings });
    known = { settings, rules: { allow: of(allow), deny: of(deny), hasAllow: allow.length > 0 } };
    places.set(place, known);
  }
  return known.rules;
}

/** Most lists have one policy, and share its rules. */
function rulesOfAll(
  policies: readonly AuthorizationPolicy[],
  { place, settings }: Omit<Applied, "lists">,
): readonly Ruled[] {
  const [only] = policies;
  if (only !== undefined && policies.length === 1) return rulesAt(only, place, settings);
  return policies.flatMap((policy) => rulesAt(policy, place, settings));
}

/** The rules of all lists. Those of a namespace and those of the mesh need not be put together for that. */
export function rulesOf(applied: Applied): readonly Rules[] {
  if (!(applied instanceof AppliedLevels)) return rulesOfLists(applied.lists, applied);
  const [own, meshWide] = [knownRules(applied.own, applied), knownRules(applied.meshWide, applied)];
  if (meshWide.length === 0) return own;
  return own.length === 0 ? meshWide : [...own, ...meshWide];
}

function rulesOfLists(lists: Lists, read: Omit<Applied, "lists">): readonly Rules[] {
  const found: Rules[] = [];
  for (const { policies } of lists) if (policies.length > 0) found.push(rulesOfList(policies, read));
  return found;
}

const rulesOfLevels = new KeptIn<Lists, Omit<Applied, "lists"> & { readonly rules: readonly Rules[] }>();

/** The mesh-wide lists are the same for all namespaces, and most others are the same on both sides of a change. */
function knownRules(lists: Lists, { place, settings }: Omit<Applied, "lists">): readonly Rules[] {
  const known = rulesOfLevels.get(lists);
  if (known?.place === place && known.settings === settings) return known.rules;
  const rules = rulesOfLists(lists, { place, settings });
  rulesOfLevels.set(lists, { place, settings, rules });
  return rules;
}

const allowing = new WeakMap<readonly AuthorizationPolicy[], boolean>();

/** Whether an ALLOW policy is among them, even one without rules. */
export const allowsAny = (applied: Applied): boolean =>
  applied instanceof AppliedLevels
    ? applied.own.some(hasAllow) || applied.meshWide.some(hasAllow)
    : applied.lists.some(hasAllow);

function hasAllow({ policies }: NamedList): boolean {
  const first = policies[0];
  if (first === undefined || isAllow(first)) return first !== undefined;
  let found = allowing.get(policies);
  if (found === undefined) allowing.set(policies, (found = policies.some(isAllow)));
  return found;
}

/** The policies that only one of two sides has. A changed policy is another one. */
export interface PolicyChange {
  readonly gone: readonly AuthorizationPolicy[];
  readonly come: readonly AuthorizationPolicy[];
}

/** The changes of all lists, one for each list that has changed. */
export function listChanges(before: Applied, after: Applied): readonly PolicyChange[] {
  if (before === after) return noChanges;
  const isSamePlace = before.place === after.place && isSameTrust(before.settings, after.settings);
  if (!isSamePlace) return [{ gone: policiesOf(before), come: policiesOf(after) }];
  // By a mesh-wide policy, the same lists change in all namespaces.
  if (before instanceof AppliedLevels && after instanceof AppliedLevels && before.own === after.own)
    return lastChanges(before.meshWide, after.meshWide);
  return changesBetween(before.lists, after.lists);
}

const noChanges: readonly PolicyChange[] = [];
let last: { readonly before: Lists; readonly after: Lists; readonly changes: readonly PolicyChange[] } | undefined;

function lastChanges(before: Lists, after: Lists): readonly PolicyChange[] {
  if (last?.before !== before || last.after !== after) last = { before, after, changes: changesBetween(before, after) };
  return last.changes;
}

type Lists = readonly NamedList[];

function changesBetween(before: Lists, after: Lists): readonly PolicyChange[] {
  if (before === after) return noChanges;
  if (isNamedAlike(before, after)) {
    const changes: PolicyChange[] = [];
    for (const [i, list] of before.entries()) addChange(changes, list, after[i] ?? list);
    return changes;
  }
  // Most lists are the same ones on both sides.
  const changed = new Set(before).symmetricDifference(new Set(after));
  const names = new Set([...changed].map(({ name }) => name));
  return [...names]
    .map((name) => listChange(listOf(before, name), listOf(after, name)))
    .filter(({ gone, come }) => gone.length + come.length > 0);
}

const isNamedAlike = (lists: Lists, others: Lists): boolean =>
  lists.length === others.length && lists.every(({ name }, i) => others[i]?.name === name);

function addChange(changes: PolicyChange[], before: NamedList, after: NamedList): void {
  if (before === after || before.policies === after.policies) return;
  const change = listChange(before.policies, after.policies);
  if (change.gone.length + change.come.length > 0) changes.push(change);
}

const policiesOf = ({ lists }: Applied): readonly AuthorizationPolicy[] => lists.flatMap(({ policies }) => policies);
const none: readonly AuthorizationPolicy[] = Object.freeze([]);
const listOf = (lists: Lists, name: string): readonly AuthorizationPolicy[] =>
  lists.find((list) => list.name === name)?.policies ?? none;

const compared = new KeptIn<
  readonly AuthorizationPolicy[],
  {
    readonly before: readonly AuthorizationPolicy[];
    readonly after: readonly AuthorizationPolicy[];
    readonly change: PolicyChange;
  }
>();
const nothing: PolicyChange = { gone: none, come: none };

/** Most workloads of a namespace share their lists, which are compared once. */
export function listChange(
  before: readonly AuthorizationPolicy[],
  after: readonly AuthorizationPolicy[],
): PolicyChange {
  if (before === after) return nothing;
  // All empty lists are the same one.
  const key = after.length === 0 ? before : after;
  const known = compared.get(key);
  if (known?.before === before && known.after === after) return known.change;
  const [old, now] = [new Set(before), new Set(after)];
  const change = {
    gone: before.filter((policy) => !now.has(policy)),
    come: after.filter((policy) => !old.has(policy)),
  };
  compared.set(key, { before, after, change });
  return change;
}
