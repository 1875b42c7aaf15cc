import type { MeshSettings } from "../../view/settings.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Part, partOf, Texts } from "../authorization/requests/texts.ts";
import { absent, type Values } from "../authorization/requests/values.ts";
import type { Work } from "../authorization/requests/work.ts";
import { keyOfClause, keyOfSet, type RequestSet, simplified } from "../authorization/requests/sets.ts";

/**
 * Lists of values in one form, so that equal lists are the same object, whichever policy or source they come from. Proxies
 * accept only certificates of the mesh's trust domains (Istio pilot/pkg/networking/plugin/authn/util.go
 * TrustDomainsForValidation), so an identity of any trust domain is one of the mesh, and an alias stands for the trust domain.
 */
export class SharedLists {
  readonly #own: ReadonlySet<string>;
  readonly #trustDomain: string;
  readonly #byText = new Map<string, Values>();
  readonly #known = new WeakMap<Values, Values>();
  readonly #simplified = new Map<string, RequestSet>();

  constructor(settings: MeshSettings) {
    this.#trustDomain = settings.trustDomain;
    this.#own = new Set(trustDomainsOf(settings));
  }

  /** The same condition with the list in this form. Everybody of the mesh is everybody with a certificate. */
  clause(clause: Clause): Clause {
    const { attribute, values, not } = clause;
    if (values === absent) return clause;
    const list = this.#listOf(attribute, values);
    return list === absent ? { ...clause, values: absent, not: !not } : { ...clause, values: list };
  }

  /** `absent`: the list has every identity, so that nobody else is a caller without one. */
  #listOf(attribute: Attribute, values: Values): Values {
    let found = this.#known.get(values);
    if (found === undefined) {
      const isIdentity = attribute === "identity" && values instanceof Texts;
      found = isIdentity
        ? this.#identities(values)
        : this.#shared(keyOfClause({ attribute, values, not: false }), values);
      this.#known.set(values, found);
    }
    return found;
  }

  #identities({ exact, patterns }: Texts): Values {
    const all = [...exact.values(), ...patterns].map(([domain = "", ...rest]): readonly Part[] => [
      this.#domainOf(domain),
      ...rest.map((part) => (typeof part === "string" ? part : partOf(part))),
    ]);
    if (all.some(isEverybody)) return absent;
    return this.#shared(JSON.stringify(all.map((one) => JSON.stringify(one.map(textOf))).sort()), new Texts(all));
  }

  /** The set in few boxes. Many ports have the same set, which is simplified once. */
  simplified(set: RequestSet, work: Work): RequestSet {
    const key = keyOfSet(set);
    let found = this.#simplified.get(key);
    if (found === undefined) this.#simplified.set(key, (found = simplified(set, work)));
    return found;
  }

  #shared(text: string, values: Values): Values {
    let found = this.#byText.get(text);
    if (found === undefined) this.#byText.set(text, (found = values));
    return found;
  }

  #domainOf(domain: Part): Part {
    const literal = typeof domain === "string" ? domain : domain.literal;
    if (literal === undefined) return domain === anything ? this.#trustDomain : domain;
    return this.#own.has(literal) ? this.#trustDomain : literal;
  }
}

const isEverybody = ([domain, namespace, account]: readonly Part[]): boolean =>
  typeof domain === "string" && namespace === anything && account === anything;
const textOf = (part: Part): unknown => (typeof part === "string" ? part : part.tokens);

/** Requests of the same callers: conditions about the identity, and about the rest. */
export interface CallersRequests {
  /** Boxes with conditions about the identity only. */
  readonly callers: RequestSet;
  /** Boxes without such conditions. */
  readonly requests: RequestSet;
}

/** A set by its callers. Callers with the same requests are together; a caller can be in several of the parts. */
export function byCallers(set: RequestSet, work: Work): readonly CallersRequests[] {
  const split = set.map((box) => splitByIdentity(box, work));
  const sameCallers = [...Map.groupBy(split, ({ caller }) => keyOfSet([caller])).values()].map((some) => ({
    callers: some.slice(0, 1).map(({ caller }) => caller),
    requests: some.map(({ rest }) => rest),
  }));
  return [...Map.groupBy(sameCallers, ({ requests }) => keyOfSet(requests)).values()].map((some) => ({
    callers: some.flatMap(({ callers }) => callers),
    requests: some[0]?.requests ?? [],
  }));
}

function splitByIdentity({ clauses }: Box, work: Work): { readonly caller: Box; readonly rest: Box } {
  const of = (some: readonly Clause[]) => everyRequest.withAll(some, work) ?? everyRequest;
  return {
    caller: of(clauses.filter(({ attribute }) => attribute === "identity")),
    rest: of(clauses.filter(({ attribute }) => attribute !== "identity")),
  };
}
