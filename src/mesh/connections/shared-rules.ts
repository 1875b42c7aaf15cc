import { type Applied, type Rules, rulesOf } from "../authorization/requests/applied.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import type { Ruled } from "../authorization/requests/policies.ts";
import { keyOfClause } from "../authorization/requests/sets.ts";
import type { Values } from "../authorization/requests/values.ts";
import type { RulesIn } from "../requests/decisions.ts";

/**
 * The rules of policies, in which equal lists of values are the same object. The policies of a mesh have few different lists, so that
 * most conditions are recognized instead of compared.
 */
export class SharedRules implements RulesIn {
  readonly #rules = new WeakMap<Ruled, Ruled>();
  readonly #values = new Map<string, Values>();

  of(applied: Applied): readonly Rules[] {
    return rulesOf(applied).map(({ allow, deny, hasAllow }) => ({
      allow: allow.map((ruled) => this.#shared(ruled)),
      deny: deny.map((ruled) => this.#shared(ruled)),
      hasAllow,
    }));
  }

  #shared(ruled: Ruled): Ruled {
    let found = this.#rules.get(ruled);
    if (found === undefined) this.#rules.set(ruled, (found = { ...ruled, match: this.#match(ruled.match) }));
    return found;
  }

  #match({ sources, operations, conditions }: Ruled["match"]): Ruled["match"] {
    const clauses = (all: Clauses) => all.map((one) => this.#clause(one));
    return { sources: sources.map(clauses), operations: operations.map(clauses), conditions: clauses(conditions) };
  }

  #clause(clause: Clause): Clause {
    const { attribute, values, not } = clause;
    const key = keyOfClause({ attribute, values, not: false });
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, values);
    return known === undefined ? clause : { attribute, values: known, not };
  }
}
