import type { ObjectOf } from "../../../kube/object.ts";
import type { MeshSettings } from "../../../view/settings.ts";
import type { Place } from "./matches.ts";
import { isSameTrust, type Ruled, rulesAt } from "./policies.ts";

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

/** The rules of some policies by their action. */
export interface Rules {
  readonly allow: readonly Ruled[];
  /** Those of DENY policies, and of CUSTOM policies in a list of these. */
  readonly deny: readonly Ruled[];
  /** Whether some policy is an ALLOW policy, even without rules, so that all other requests are denied. */
  readonly hasAllow: boolean;
}

const isAllow = ({ spec }: AuthorizationPolicy): boolean => (spec.action ?? "ALLOW") === "ALLOW";

const compiled = new WeakMap<
  readonly AuthorizationPolicy[],
  Map<string, { readonly settings: MeshSettings; readonly rules: Rules }>
>();

/** The rules of a list, computed once for each list. */
function rulesOfList(list: readonly AuthorizationPolicy[], { place, settings }: Omit<Applied, "lists">): Rules {
  let places = compiled.get(list);
  if (places === undefined) compiled.set(list, (places = new Map()));
  let known = places.get(place);
  if (known?.settings !== settings) {
    const of = (some: readonly AuthorizationPolicy[]) => some.flatMap((policy) => rulesAt(policy, place, settings));
    const { allow = [], deny = [] } = Object.groupBy(list, (policy) => (isAllow(policy) ? "allow" : "deny"));
    known = { settings, rules: { allow: of(allow), deny: of(deny), hasAllow: allow.length > 0 } };
    places.set(place, known);
  }
  return known.rules;
}

/** The rules of all lists. */
export const rulesOf = (applied: Applied): readonly Rules[] =>
  applied.lists.filter(({ policies }) => policies.length > 0).map(({ policies }) => rulesOfList(policies, applied));

/** The policies that only one of two sides has. A changed policy is another one. */
export interface PolicyChange {
  readonly gone: readonly AuthorizationPolicy[];
  readonly come: readonly AuthorizationPolicy[];
}

/** The changes of all lists, one for each list that has changed. */
export function listChanges(before: Applied, after: Applied): readonly PolicyChange[] {
  const isSamePlace = before.place === after.place && isSameTrust(before.settings, after.settings);
  if (!isSamePlace) return [{ gone: policiesOf(before), come: policiesOf(after) }];
  if (before.lists === after.lists) return [];
  // Most lists are the same ones on both sides.
  const changed = new Set(before.lists).symmetricDifference(new Set(after.lists));
  const names = new Set([...changed].map(({ name }) => name));
  return [...names]
    .map((name) => listChange(listOf(before, name), listOf(after, name)))
    .filter(({ gone, come }) => gone.length + come.length > 0);
}

const policiesOf = ({ lists }: Applied): readonly AuthorizationPolicy[] => lists.flatMap(({ policies }) => policies);
const none: readonly AuthorizationPolicy[] = Object.freeze([]);
const listOf = ({ lists }: Applied, name: string): readonly AuthorizationPolicy[] =>
  lists.find((list) => list.name === name)?.policies ?? none;

const compared = new WeakMap<
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
