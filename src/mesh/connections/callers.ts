import type { MeshSettings } from "../../view/settings.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Part, partOf, Texts } from "../authorization/requests/texts.ts";
import { absent, type Values } from "../authorization/requests/values.ts";
import { Memory, type Work } from "../authorization/requests/work.ts";
import { keyOfClause, keyOfSet, type RequestSet, simplified } from "../authorization/requests/sets.ts";

/**
 * Lists of values in one form, so that equal lists are the same object, whichever policy or source they come from. Proxies
 * accept only certificates of the mesh's trust domains (Istio pilot/pkg/networking/plugin/authn/util.go
 * TrustDomainsForValidation), so identities of others are left out, and a trust domain or an alias that a list has stands for all of them.
 */
export class SharedLists {
  /** What questions about these lists have found. */
  readonly memory = new Memory();
  readonly #own: ReadonlySet<string>;
  readonly #trustDomain: string;
  readonly #byText = new Map<string, Values>();
  readonly #known = new WeakMap<Values, Values>();
  readonly #simplified = new Map<string, RequestSet>();

  constructor(settings: MeshSettings) {
    this.#trustDomain = settings.trustDomain;
    this.#own = new Set(trustDomainsOf(settings));
  }

  /**
   * The same conditions with the lists in this form. Everybody of the mesh is everybody with a certificate. Undefined: no
   * caller meets them.
   */
  clauses(clauses: readonly Clause[]): readonly Clause[] | undefined {
    const found: Clause[] = [];
    for (const clause of clauses) {
      const { attribute, values, not } = clause;
      const list = values === absent ? absent : this.#listOf(attribute, values);
      if (list === absent) found.push({ attribute, values: absent, not: values === absent ? not : !not });
      else if (list.size > 0) found.push({ attribute, values: list, not });
      else if (!not) return undefined;
    }
    return found;
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
    const all = [...exact.values(), ...patterns]
      .filter(([domain = ""]) => this.#isOwn(domain))
      .map(([, ...rest]): readonly Part[] => [this.#trustDomain, ...rest.map(simplePart)]);
    if (all.some(([, namespace, account]) => namespace === anything && account === anything)) return absent;
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

  #isOwn(domain: Part): boolean {
    if (typeof domain === "string") return this.#own.has(domain);
    return [...this.#own].some((own) => domain.matches(own));
  }
}

/** Names are never empty, so a wildcard alone is any name. */
function simplePart(part: Part): Part {
  if (typeof part === "string") return part;
  const [only, ...more] = part.tokens;
  return typeof only === "object" && more.length === 0 ? anything : partOf(part);
}
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
