import type { ObjectOf } from "../../../kube/object.ts";
import { KeptIn } from "../../../view/kept-in.ts";
import type { MeshSettings } from "../../../view/settings.ts";
import type { Clause } from "./boxes.ts";
import type { Clauses, Match, Place } from "./matches.ts";
import { ProxyReader } from "./proxy-matches.ts";
import { Texts } from "./texts.ts";
import { matchAtZtunnel } from "./ztunnel-matches.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

/** A rule of a policy, and what it matches at a place. */
export interface Ruled {
  readonly policy: AuthorizationPolicy;
  readonly index: number;
  readonly match: Match;
}

type ByPlace = { [P in Place]?: readonly Ruled[] };
const known = new KeptIn<AuthorizationPolicy, { readonly settings: MeshSettings; readonly byPlace: ByPlace }>();

/** The rules of a policy that have an effect at a place. Policies never change, so this is computed once for each. */
export function rulesAt(policy: AuthorizationPolicy, place: Place, settings: MeshSettings): readonly Ruled[] {
  let of = known.get(policy);
  if (of === undefined || !isSameTrust(of.settings, settings)) known.set(policy, (of = { settings, byPlace: {} }));
  return (of.byPlace[place] ??= readRules(policy, place, settings));
}

/** Of the settings, only the trust domains affect what a rule matches. */
export const isSameTrust = (a: MeshSettings, b: MeshSettings): boolean =>
  a === b || (a.trustDomain === b.trustDomain && a.trustDomainAliases.join() === b.trustDomainAliases.join());

function readRules(policy: AuthorizationPolicy, place: Place, settings: MeshSettings): readonly Ruled[] {
  const { metadata, spec } = policy;
  const where = { namespace: metadata.namespace, isAllow: (spec.action ?? "ALLOW") === "ALLOW", settings };
  const proxy = place === "ztunnel" ? undefined : new ProxyReader(where, place === "tcp");
  return spec.rules.flatMap((rule, index) => {
    const match = proxy === undefined ? matchAtZtunnel(rule, where) : proxy.match(rule);
    return match === undefined ? [] : [{ policy, index, match: simplified(match) }];
  });
}

const simplified = ({ sources, operations, conditions }: Match): Match => ({
  sources: united(sources),
  operations: united(operations),
  conditions,
});

/** Alternatives that list values of the same attribute and nothing else are one alternative with all these values. */
function united(all: readonly Clauses[]): readonly Clauses[] {
  if (all.length < 2) return all;
  const lists = Map.groupBy(all, ([first, ...more]) =>
    first !== undefined && more.length === 0 && !first.not && first.values instanceof Texts ? first.attribute : "",
  );
  return [...lists].flatMap(([attribute, some]) => {
    if (attribute === "" || some.length < 2) return some;
    const sets = some.flatMap(([clause]) => (clause?.values instanceof Texts ? clause.values : []));
    return [[{ attribute, values: Texts.union(sets), not: false } satisfies Clause]];
  });
}
