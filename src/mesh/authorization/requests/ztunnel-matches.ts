import { Addresses, blockOf } from "./addresses.ts";
import type { Attribute } from "./attributes.ts";
import type { Clause } from "./boxes.ts";
import {
  identitiesOfNamespaceAtZtunnel,
  identitiesOfPrincipal,
  identitiesOfServiceAccount,
  type IdentityPattern,
} from "./identities.ts";
import type { Clauses, Condition, Match, Operation, Rule, Source, Surroundings } from "./matches.ts";
import { portOf } from "./proxy-matches.ts";
import { Texts } from "./texts.ts";
import type { Values } from "./values.ts";
import { asksForHttp } from "../rules.ts";

type ValuesOf = (values: readonly string[]) => Values | undefined;

/**
 * The requests that a rule matches at ztunnel; undefined: none. ztunnel supports no HTTP attributes. An ALLOW rule with one
 * is left out, and other rules lose them. A source, an operation or a condition without any values is skipped, so that it
 * matches nothing (Istio pilot/pkg/serviceregistry/ambient/authorization.go handleRule, hasEffectiveRules; ztunnel
 * src/rbac.rs matches).
 */
export function matchAtZtunnel(rule: Rule, where: Surroundings): Match | undefined {
  if (where.isAllow && asksForHttp(rule)) return undefined;
  const sources = rule.from.map(({ source }) => sourceOf(source, where)).filter(isNotEmpty);
  const operations = rule.to.map(({ operation }) => operationOf(operation)).filter(isNotEmpty);
  const conditions = rule.when.map((condition) => conditionOf(condition));
  if (!conditions.every(isNotEmpty)) return undefined;
  if (rule.from.length > 0 && sources.length === 0) return undefined;
  if (rule.to.length > 0 && operations.length === 0) return undefined;
  return {
    sources: rule.from.length === 0 ? [[]] : sources,
    operations: rule.to.length === 0 ? [[]] : operations,
    conditions: conditions.flat(),
  };
}

const isNotEmpty = (clauses: Clauses): boolean => clauses.length > 0;

function clausesOf(
  attribute: Attribute,
  valuesOf: ValuesOf,
  [values, notValues]: readonly [readonly string[], readonly string[]],
): readonly Clause[] {
  return [
    { values: valuesOf(values), not: false },
    { values: valuesOf(notValues), not: true },
  ].flatMap(({ values: set, not }) => (set === undefined ? [] : [{ attribute, values: set, not }]));
}

const identities =
  (patternsOf: (value: string) => readonly IdentityPattern[]): ValuesOf =>
  (values) =>
    values.length === 0 ? undefined : new Texts(values.flatMap(patternsOf));
const principals = identities(identitiesOfPrincipal);
const namespaces = identities(identitiesOfNamespaceAtZtunnel);
const ports: ValuesOf = (values) => {
  const all = values.flatMap((value) => portOf(value) ?? []);
  return all.length === 0 ? undefined : new Texts(all.map((port) => [port]));
};
const addresses: ValuesOf = (values) => {
  const blocks = values.map(blockOf).filter((block) => block !== undefined);
  return blocks.length === 0 ? undefined : new Addresses(blocks);
};

const sourceOf = (source: Source, { namespace }: Surroundings): Clauses => [
  ...clausesOf("identity", principals, [source.principals, source.notPrincipals]),
  ...clausesOf("identity", namespaces, [source.namespaces, source.notNamespaces]),
  ...clausesOf(
    "identity",
    identities((value) => identitiesOfServiceAccount(value, namespace)),
    [source.serviceAccounts, source.notServiceAccounts],
  ),
  ...clausesOf("source.ip", addresses, [source.ipBlocks, source.notIpBlocks]),
];

const operationOf = (operation: Operation): Clauses => clausesOf("port", ports, [operation.ports, operation.notPorts]);

function conditionOf({ key, values, notValues }: Condition): Clauses {
  const known = conditions.get(key);
  return known === undefined ? [] : clausesOf(known[0], known[1], [values, notValues]);
}

const conditions: ReadonlyMap<string, readonly [Attribute, ValuesOf]> = new Map([
  ["source.principal", ["identity", principals]],
  ["source.namespace", ["identity", namespaces]],
  ["source.ip", ["source.ip", addresses]],
  ["destination.ip", ["destination.ip", addresses]],
  ["destination.port", ["port", ports]],
] as const);
