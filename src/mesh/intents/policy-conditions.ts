import { type AuthorizationPolicy, actionOf } from "../authorization/policies.ts";
import type { WrittenRequests } from "../requests/written-requests.ts";

// The conditions on requests in AuthorizationPolicies, in the words of intents. Who sends the requests is none of them.

type Rule = AuthorizationPolicy["spec"]["rules"][number];
type ListField = Exclude<keyof WrittenRequests, "headers" | "claims" | "hasOnlyTheseHeaders">;

/** Each field and its negation. */
const opposites: readonly (readonly [ListField, ListField])[] = [
  ["methods", "notMethods"],
  ["paths", "notPaths"],
  ["hosts", "notHosts"],
  ["requestPrincipals", "notRequestPrincipals"],
  ["ipBlocks", "notIpBlocks"],
  ["remoteIpBlocks", "notRemoteIpBlocks"],
];

/**
 * Sets of conditions under which requests may be accepted as these policies are, those with the fewest fields first: none, those of
 * each rule of an ALLOW policy, and both also without what DENY policies deny by one condition. Rules with conditions that an
 * intent cannot express are left out.
 */
export function conditionsOfPolicies(policies: Iterable<AuthorizationPolicy>): readonly WrittenRequests[] {
  const all = [...policies];
  const notDenied = conditionsOfRules(all, "DENY").reduce<WrittenRequests>((found, conditions) => {
    const negations = fieldsOf(conditions).length === 1 ? negationsOf(conditions) : [];
    return { ...found, ...negations[0] };
  }, {});
  const allowed = new Map(
    [{}, ...conditionsOfRules(all, "ALLOW")].map((conditions) => [JSON.stringify(conditions), conditions]),
  );
  return [...allowed.values()]
    .flatMap((conditions) => {
      const limited = { ...notDenied, ...conditions };
      return fieldsOf(limited).length === fieldsOf(conditions).length ? [conditions] : [conditions, limited];
    })
    .sort((a, b) => fieldsOf(a).length - fieldsOf(b).length);
}

const conditionsOfRules = (policies: readonly AuthorizationPolicy[], action: string): readonly WrittenRequests[] =>
  policies.flatMap((policy) =>
    actionOf(policy) === action ? policy.spec.rules.flatMap((rule) => [...conditionsOfRule(rule)]) : [],
  );

/** Each way to combine a source and an operation of a rule with its other conditions. */
function* conditionsOfRule({ from, to, when }: Rule): Generator<WrittenRequests, undefined> {
  const more = when.map(conditionOf);
  const sources = from.length === 0 ? [{}] : from.map(({ source }) => listsOf(source));
  const operations = to.length === 0 ? [{}] : to.map(({ operation }) => listsOf(operation));
  for (const source of sources)
    for (const operation of operations) {
      const conditions = allOf([operation, source, ...more]);
      if (conditions !== undefined) yield conditions;
    }
}

function listsOf(given: Partial<Record<ListField, readonly string[]>>): WrittenRequests {
  const set = opposites.flat().flatMap((field) => {
    const values = given[field] ?? [];
    return values.length === 0 ? [] : [[field, values] as const];
  });
  return Object.fromEntries(set);
}

const ofCallersAndPorts = /^(source\.(principal|namespace|serviceAccount|trustDomain)|destination\.port)$/;
const keys = new Map<string, readonly [ListField, ListField]>([
  ["request.auth.principal", ["requestPrincipals", "notRequestPrincipals"]],
  ["source.ip", ["ipBlocks", "notIpBlocks"]],
  ["remote.ip", ["remoteIpBlocks", "notRemoteIpBlocks"]],
]);

/** A condition of `when`; undefined: an intent cannot express it. */
function conditionOf({ key, values, notValues }: Rule["when"][number]): WrittenRequests | undefined {
  if (ofCallersAndPorts.test(key)) return {};
  const fields = keys.get(key);
  if (fields !== undefined) return listsOf({ [fields[0]]: values, [fields[1]]: notValues });
  const [, what, name = ""] = /^request\.(headers|auth\.claims)\[(.+)\]$/.exec(key) ?? [];
  if (what === undefined || notValues.length > 0) return undefined;
  if (what === "headers") return { headers: { [name.toLowerCase()]: values } };
  return { claims: { [name.includes("][") ? `[${name}]` : name]: values } };
}

/** Undefined: two lists for one field would both have to match, or a part cannot be expressed. */
function allOf(parts: readonly (WrittenRequests | undefined)[]): WrittenRequests | undefined {
  let found: WrittenRequests = {};
  for (const part of parts) {
    if (part === undefined || fieldsOf(part).some((field) => Array.isArray(found[field as ListField])))
      return undefined;
    const { headers, claims } = part;
    found = {
      ...found,
      ...part,
      ...(headers === undefined ? {} : { headers: { ...found.headers, ...headers } }),
      ...(claims === undefined ? {} : { claims: { ...found.claims, ...claims } }),
    };
  }
  return found;
}

const fieldsOf = (conditions: WrittenRequests): readonly string[] => Object.keys(conditions);

/** For each field: the requests that it excludes. Requests without the claims of a token may have no token. */
export function negationsOf(conditions: WrittenRequests): readonly WrittenRequests[] {
  const lists = opposites.flatMap(([field, not]) => [
    ...(conditions[field] === undefined ? [] : [{ [not]: conditions[field] }]),
    ...(conditions[not] === undefined ? [] : [{ [field]: conditions[not] }]),
  ]);
  const isWithoutToken = conditions.claims !== undefined && conditions.requestPrincipals === undefined;
  return isWithoutToken ? [...lists, { notRequestPrincipals: ["*"] }] : lists;
}

/** Whether some conditions only add to others. */
export const isNarrowed = (narrow: WrittenRequests, wide: WrittenRequests): boolean =>
  Object.entries(wide).every(([field, value]) => {
    const own: unknown = narrow[field as keyof WrittenRequests];
    return JSON.stringify(own) === JSON.stringify(value);
  });
