import type { ObjectOf } from "../../../kube/object.ts";
import { KeptIn } from "../../../view/kept-in.ts";
import type { MeshSettings } from "../../../view/settings.ts";
import type { Clause } from "./boxes.ts";
import type { Clauses, Match, Place, Rule } from "./matches.ts";
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

/**
 * The rules of a policy that have an effect at a place. Policies never change, so this is computed once for each. `former`: those
 * of a policy of the same namespace that allows or denies as this one does; rules with the same text share what they match.
 */
export function rulesAt(
  policy: AuthorizationPolicy,
  place: Place,
  settings: MeshSettings,
  former: readonly Ruled[] = [],
): readonly Ruled[] {
  let of = known.get(policy);
  if (of === undefined || !isSameTrust(of.settings, settings)) known.set(policy, (of = { settings, byPlace: {} }));
  return (of.byPlace[place] ??= readRules(policy, { place, settings }, former));
}

/** Of the settings, only the trust domains affect what a rule matches. */
export const isSameTrust = (a: MeshSettings, b: MeshSettings): boolean =>
  a === b || (a.trustDomain === b.trustDomain && a.trustDomainAliases.join() === b.trustDomainAliases.join());

function readRules(
  policy: AuthorizationPolicy,
  { place, settings }: { readonly place: Place; readonly settings: MeshSettings },
  former: readonly Ruled[],
): readonly Ruled[] {
  const { metadata, spec } = policy;
  const where = { namespace: metadata.namespace, isAllow: isAllow(policy), settings };
  const shared = new Map(former.map((ruled) => [textOf(ruled), ruled.match]));
  let proxy: ProxyReader | undefined;
  const read = (rule: Rule): Match | undefined => {
    const match =
      place === "ztunnel"
        ? matchAtZtunnel(rule, where)
        : (proxy ??= new ProxyReader(where, place === "tcp")).match(rule);
    return match && simplified(match);
  };
  const rules: Ruled[] = [];
  for (const [index, rule] of spec.rules.entries()) {
    const match = (shared.size > 0 ? shared.get(textOfRule(policy, index)) : undefined) ?? read(rule);
    if (match !== undefined) rules.push({ policy, index, match });
  }
  return rules;
}

export const isAllow = ({ spec }: AuthorizationPolicy): boolean => (spec.action ?? "ALLOW") === "ALLOW";

const texts = new KeptIn<Rule, string>();

/** Two rules with the same text in one namespace match the same. */
export const textOf = ({ policy, index }: Ruled): string => textOfRule(policy, index);
export function textOfRule({ metadata, spec }: AuthorizationPolicy, index: number): string {
  const rule = spec.rules[index];
  let text = rule && texts.get(rule);
  if (rule !== undefined && text === undefined) texts.set(rule, (text = metadata.namespace + writtenRule(rule)));
  return text ?? "";
}

/** Without the lists that are empty, which are most of them. */
function writtenRule({ from, to, when }: Rule): string {
  let text = "";
  for (const { source } of from) text += ` from ${writtenFields(source)}`;
  for (const { operation } of to) text += ` to ${writtenFields(operation)}`;
  return when.length === 0 ? text : `${text} when ${JSON.stringify(when)}`;
}

function writtenFields(fields: Readonly<Record<string, readonly string[]>>): string {
  let text = "";
  for (const [name, values] of Object.entries(fields)) if (values.length > 0) text += name + JSON.stringify(values);
  return text;
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
