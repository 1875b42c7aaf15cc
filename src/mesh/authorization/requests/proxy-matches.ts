import type { Attribute } from "./attributes.ts";
import { Addresses, blockOf } from "./addresses.ts";
import type { Clause } from "./boxes.ts";
import {
  identitiesOfNamespaceAtProxy,
  identitiesOfPrincipal,
  identitiesOfTrustDomain,
  identitiesOfServiceAccount,
  withTrustDomains,
} from "./identities.ts";
import { Lists } from "./lists.ts";
import type { Clauses, Condition, Match, Operation, Rule, Source, Surroundings } from "./matches.ts";
import { exactly, headerPatternOf, pathPatternOf, type Pattern, patternOf } from "./patterns.ts";
import { Texts } from "./texts.ts";
import { tokensOf } from "./tokens.ts";
import type { Values } from "./values.ts";

/** A value that Istio cannot translate, or an HTTP attribute on a TCP port. */
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
export function matchAtProxy(rule: Rule, where: Surroundings, isTcp: boolean): Match | undefined {
  const reader = new Reader(where, isTcp);
  try {
    return {
      conditions: rule.when.flatMap((condition) => reader.condition(condition)),
      sources: rule.from.length === 0 ? [[]] : rule.from.map(({ source }) => reader.source(source)),
      operations: rule.to.length === 0 ? [[]] : rule.to.map(({ operation }) => reader.operation(operation)),
    };
  } catch (error) {
    if (error instanceof Untranslatable) return undefined;
    throw error;
  }
}

class Reader {
  readonly #where: Surroundings;
  readonly #isTcp: boolean;

  constructor(where: Surroundings, isTcp: boolean) {
    this.#where = where;
    this.#isTcp = isTcp;
  }

  source(source: Source): Clauses {
    return [
      ...this.#clauses(this.#principals(), source.principals, source.notPrincipals),
      ...this.#clauses(this.#namespaces(), source.namespaces, source.notNamespaces),
      ...this.#clauses(this.#serviceAccounts(), source.serviceAccounts, source.notServiceAccounts),
      ...this.#clauses(this.#trustDomains(), source.trustDomains, source.notTrustDomains),
      ...this.#clauses(this.#addresses("source.ip"), source.ipBlocks, source.notIpBlocks),
      ...this.#clauses(this.#addresses("remote.ip"), source.remoteIpBlocks, source.notRemoteIpBlocks),
      ...this.#clauses(requestPrincipals, source.requestPrincipals, source.notRequestPrincipals),
    ];
  }

  operation(operation: Operation): Clauses {
    return [
      ...this.#clauses(hosts, operation.hosts, operation.notHosts),
      ...this.#clauses(methods, operation.methods, operation.notMethods),
      ...this.#clauses(paths, operation.paths, operation.notPaths),
      ...this.#clauses(this.#ports(), operation.ports, operation.notPorts),
    ];
  }

  condition({ key, values, notValues }: Condition): Clauses {
    return this.#clauses(this.#readingOf(key), values, notValues);
  }

  #clauses(reading: Reading, values: readonly string[], notValues: readonly string[]): readonly Clause[] {
    if (values.length + notValues.length === 0) return [];
    if (reading.isHttp && this.#isTcp) {
      if (this.#where.isAllow) throw new Untranslatable();
      return [];
    }
    const { attribute } = reading;
    const lists = [
      { values, not: false },
      { values: notValues, not: true },
    ];
    // A rule that does not allow loses values that Istio cannot translate, and a list in which none is left.
    return lists.flatMap(({ values: listed, not }) => {
      const set = listed.length > 0 ? reading.valuesOf(listed) : undefined;
      return set === undefined || set === unreadable ? [] : [{ attribute, values: set, not }];
    });
  }

  #readingOf(key: string): Reading {
    const named = this.#byKey(key) ?? conditions.get(key);
    if (named !== undefined) return named;
    const header = inBrackets(key, "request.headers");
    if (header !== undefined) return readingOfHeader(header);
    const claim = inBrackets(key, "request.auth.claims");
    if (claim !== undefined) return readingOfList(`claim ${claim}`, patternOf);
    if (key.startsWith("experimental.envoy.filters.")) return readingOfMetadata(key);
    throw new Untranslatable();
  }

  #byKey(key: string): Reading | undefined {
    switch (key) {
      case "source.principal":
        return this.#principals();
      case "source.namespace":
        return this.#namespaces();
      case "source.serviceAccount":
        return this.#serviceAccounts();
      case "source.trustDomain":
        return this.#trustDomains();
      case "source.ip":
      case "remote.ip":
      case "destination.ip":
        return this.#addresses(key);
      case "destination.port":
        return this.#ports();
      default:
        return undefined;
    }
  }

  #principals(): Reading {
    const { settings } = this.#where;
    return readingOfIdentity((value) => withTrustDomains(value, settings).flatMap(identitiesOfPrincipal));
  }
  #namespaces(): Reading {
    return readingOfIdentity(identitiesOfNamespaceAtProxy);
  }
  #serviceAccounts(): Reading {
    return readingOfIdentity((value) => identitiesOfServiceAccount(value, this.#where.namespace));
  }
  #trustDomains(): Reading {
    return readingOfIdentity((value) => identitiesOfTrustDomain(value, this.#where.settings));
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
        return all.length === 0 ? unreadable : new Texts(all.map((port) => [exactly(port)]));
      },
    };
  }

  /** Values that Istio cannot translate remove an ALLOW rule; other rules lose them. */
  #translated<T>(texts: readonly string[], translate: (text: string) => T | undefined): readonly T[] {
    const all = texts.map(translate).filter((one) => one !== undefined);
    if (all.length < texts.length && this.#where.isAllow) throw new Untranslatable();
    return all;
  }
}

/** None of the values of a list can be translated. */
const unreadable: Values = { size: 0, has: () => false };

/** The port as a number without leading zeros; undefined: it is none (model/util.go convertToPort). */
export const portOf = (text: string): string | undefined =>
  /^\d+$/.test(text) && Number(text) <= 65535 ? String(Number(text)) : undefined;

const readingOfIdentity = (patternsOf: (value: string) => readonly (readonly Pattern[])[]): Reading => ({
  attribute: "identity",
  isHttp: false,
  valuesOf: (values) => new Texts(values.flatMap(patternsOf)),
});

const readingOfTexts = (
  attribute: Attribute,
  isHttp: boolean,
  patternOfValue: (value: string) => Pattern,
): Reading => ({
  attribute,
  isHttp,
  valuesOf: (values) => new Texts(values.map((value) => [patternOfValue(value)])),
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
/** Sets of methods and of paths, written as in a policy. */
export const methodsOf = (values: readonly string[]): Values => methods.valuesOf(values);
export const pathsOf = (values: readonly string[]): Values => paths.valuesOf(values);
const requestPrincipals: Reading = {
  attribute: "token",
  isHttp: true,
  valuesOf: (values) => new Texts(values.map(tokensOf)),
};
const conditions: ReadonlyMap<string, Reading> = new Map([
  ["connection.sni", readingOfTexts("sni", false, patternOf)],
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
