import type { Attribute } from "./attributes.ts";
import { Addresses, blockOf } from "./addresses.ts";
import type { Clause } from "./boxes.ts";
import {
  identitiesOfNamespaceAtProxy,
  identitiesOfPrincipal,
  identitiesOfTrustDomain,
  type IdentityPattern,
  identitiesOfServiceAccount,
  withTrustDomains,
} from "./identities.ts";
import { Lists } from "./lists.ts";
import type { Clauses, Condition, Match, Operation, Rule, Source, Surroundings } from "./matches.ts";
import { headerPatternOf, pathPatternOf, type Pattern, patternOf } from "./patterns.ts";
import { partOf, Texts } from "./texts.ts";
import { tokensOf } from "./tokens.ts";
import type { Values } from "./values.ts";

/** A value or a key that Istio cannot translate, or an HTTP attribute on a TCP port. */
class Untranslatable extends Error {}

/** One attribute of a rule as the proxy reads it. `isHttp`: it does not exist on a TCP port. */
interface Reading {
  readonly attribute: Attribute;
  readonly isHttp: boolean;
  valuesOf(values: readonly string[]): Values;
}

/**
 * The requests that a rule matches at a proxy; undefined: Istio leaves the rule out. On a TCP port, an ALLOW rule with an
 * HTTP attribute is left out, and other rules lose that attribute, so that they match more (Istio
 * pilot/pkg/security/authz/model/model.go New, Generate, checkError).
 */
export class ProxyReader {
  readonly #isAllow: boolean;
  readonly #isTcp: boolean;
  readonly #readings: ReadonlyMap<string, Reading>;

  constructor({ namespace, isAllow, settings }: Surroundings, isTcp: boolean) {
    this.#isAllow = isAllow;
    this.#isTcp = isTcp;
    const identity = (patternsOf: (value: string) => readonly IdentityPattern[]): Reading => ({
      attribute: "identity",
      isHttp: false,
      valuesOf: (values) => new Texts(values.flatMap(patternsOf)),
    });
    this.#readings = new Map<string, Reading>([
      ...ofRequest,
      ["source.principal", identity((value) => withTrustDomains(value, settings).flatMap(identitiesOfPrincipal))],
      ["source.namespace", identity(identitiesOfNamespaceAtProxy)],
      ["source.serviceAccount", identity((value) => identitiesOfServiceAccount(value, namespace))],
      ["source.trustDomain", identity((value) => identitiesOfTrustDomain(value, settings))],
      ["source.ip", this.#addresses("source.ip")],
      ["remote.ip", this.#addresses("remote.ip")],
      ["destination.ip", this.#addresses("destination.ip")],
      ["destination.port", this.#ports()],
    ]);
  }

  match(rule: Rule): Match | undefined {
    try {
      return {
        conditions: rule.when.flatMap((condition) => this.#condition(condition)),
        sources: rule.from.length === 0 ? anything : rule.from.map(({ source }) => this.#source(source)),
        operations: rule.to.length === 0 ? anything : rule.to.map(({ operation }) => this.#operation(operation)),
      };
    } catch (error) {
      if (error instanceof Untranslatable) return undefined;
      throw error;
    }
  }

  #source(source: Source): Clauses {
    const clauses: Clause[] = [];
    for (const [key, field, not] of sourceFields) this.#add(clauses, key, [source[field], source[not]]);
    return clauses;
  }

  #operation(operation: Operation): Clauses {
    const clauses: Clause[] = [];
    for (const [key, field, not] of operationFields) this.#add(clauses, key, [operation[field], operation[not]]);
    return clauses;
  }

  #condition({ key, values, notValues }: Condition): Clauses {
    if (operationFields.some(([field]) => field === key && field !== "destination.port")) throw new Untranslatable();
    const clauses: Clause[] = [];
    this.#add(clauses, key, [values, notValues]);
    return clauses;
  }

  #add(clauses: Clause[], key: string, [values, notValues]: readonly [readonly string[], readonly string[]]): void {
    if (values.length + notValues.length === 0) return;
    const reading = this.#readings.get(key) ?? readingOfKey(key);
    if (reading.isHttp && this.#isTcp) {
      if (this.#isAllow) throw new Untranslatable();
      return;
    }
    addClause(clauses, reading, { values, not: false });
    addClause(clauses, reading, { values: notValues, not: true });
  }

  #addresses(attribute: Attribute): Reading {
    return {
      attribute,
      isHttp: false,
      valuesOf: (texts) => {
        const blocks = this.#translated(texts, blockOf);
        return blocks.length === 0 ? unreadable : new Addresses(blocks);
      },
    };
  }

  #ports(): Reading {
    return {
      attribute: "port",
      isHttp: false,
      valuesOf: (texts) => {
        const all = this.#translated(texts, portOf);
        return all.length === 0 ? unreadable : new Texts(all.map((port) => [port]));
      },
    };
  }

  /** Values that Istio cannot translate remove an ALLOW rule; other rules lose them. */
  #translated<T>(texts: readonly string[], translate: (text: string) => T | undefined): readonly T[] {
    const all = texts.map(translate).filter((one) => one !== undefined);
    if (all.length < texts.length && this.#isAllow) throw new Untranslatable();
    return all;
  }
}

const anything: readonly Clauses[] = [[]];

/** The key of the condition that means the same as a field, the field, and its negation. */
const sourceFields = [
  ["source.principal", "principals", "notPrincipals"],
  ["source.namespace", "namespaces", "notNamespaces"],
  ["source.serviceAccount", "serviceAccounts", "notServiceAccounts"],
  ["source.trustDomain", "trustDomains", "notTrustDomains"],
  ["source.ip", "ipBlocks", "notIpBlocks"],
  ["remote.ip", "remoteIpBlocks", "notRemoteIpBlocks"],
  ["request.auth.principal", "requestPrincipals", "notRequestPrincipals"],
] as const;
const operationFields = [
  ["host", "hosts", "notHosts"],
  ["method", "methods", "notMethods"],
  ["path", "paths", "notPaths"],
  ["destination.port", "ports", "notPorts"],
] as const;

/** A rule that does not allow loses a list of which Istio can translate nothing. */
function addClause(
  clauses: Clause[],
  { attribute, valuesOf }: Reading,
  { values, not }: { readonly values: readonly string[]; readonly not: boolean },
): void {
  if (values.length === 0) return;
  const set = valuesOf(values);
  if (set !== unreadable) clauses.push({ attribute, values: set, not });
}

function readingOfKey(key: string): Reading {
  const header = inBrackets(key, "request.headers");
  if (header !== undefined) return readingOfHeader(header);
  const claim = inBrackets(key, "request.auth.claims");
  if (claim !== undefined) return readingOfList(`claim ${claim}`, patternOf);
  if (key.startsWith("experimental.envoy.filters.")) return readingOfMetadata(key);
  throw new Untranslatable();
}

/** None of the values of a list can be translated. */
const unreadable: Values = { size: 0, has: () => false };

/** The port as a number without leading zeros; undefined: it is none (model/util.go convertToPort). */
export const portOf = (text: string): string | undefined =>
  /^\d+$/.test(text) && Number(text) <= 65535 ? String(Number(text)) : undefined;

const readingOfTexts = (
  attribute: Attribute,
  isHttp: boolean,
  patternOfValue: (value: string) => Pattern,
): Reading => ({
  attribute,
  isHttp,
  valuesOf: (values) => new Texts(values.map((value) => [partOf(patternOfValue(value))])),
});

const readingOfList = (attribute: Attribute, patternOfValue: (value: string) => Pattern): Reading => ({
  attribute,
  isHttp: true,
  valuesOf: (values) => new Lists(values.map(patternOfValue)),
});

/** Host names ignore case. */
const hosts = readingOfTexts("host", true, (value) => headerPatternOf(value.toLowerCase()));
const methods = readingOfTexts("method", true, headerPatternOf);
const paths = readingOfTexts("path", true, pathPatternOf);
/** Sets of methods, paths and hosts, written as in a policy. */
export const methodsOf = (values: readonly string[]): Values => methods.valuesOf(values);
export const pathsOf = (values: readonly string[]): Values => paths.valuesOf(values);
export const hostsOf = (values: readonly string[]): Values => hosts.valuesOf(values);
const anyServerNames = readingOfTexts("sni", false, patternOf);
/** Envoy reads server names in lower case, and compares values as they are written (source/common/network/socket_impl.h setRequestedServerName). */
const serverNames: Reading = {
  ...anyServerNames,
  valuesOf: (values) => anyServerNames.valuesOf(values.filter((value) => value === value.toLowerCase())),
};
const requestPrincipals: Reading = {
  attribute: "token",
  isHttp: true,
  valuesOf: (values) => new Texts(values.map((value) => tokensOf(value).map(partOf))),
};
/** `host`, `method` and `path` are no keys of conditions. */
const ofRequest: ReadonlyMap<string, Reading> = new Map([
  ["host", hosts],
  ["method", methods],
  ["path", paths],
  ["connection.sni", serverNames],
  ["request.auth.principal", requestPrincipals],
  ["request.auth.audiences", readingOfList("claim aud", patternOf)],
  ["request.auth.presenter", readingOfList("claim azp", patternOf)],
]);

/** A pseudo-header is the attribute itself; names of headers ignore case. */
function readingOfHeader(name: string): Reading {
  const lower = name.toLowerCase();
  return lower === ":method" ? methods : readingOfList(`header ${lower}`, headerPatternOf);
}

/** Metadata of other filters is on TCP ports too; `[x]` is an element of a list (generator.go envoyFilterGenerator). */
const readingOfMetadata = (key: string): Reading => ({
  ...readingOfList(`metadata ${key}`, (value) => patternOf(/^\[.*\]$/.test(value) ? value.slice(1, -1) : value)),
  isHttp: false,
});

/** The text in the brackets behind a name; nested ones stay as they are. */
const inBrackets = (key: string, name: string): string | undefined =>
  key.startsWith(`${name}[`) && key.endsWith("]") ? key.slice(name.length + 1, -1) : undefined;
