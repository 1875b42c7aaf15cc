import type { PolicyMode, RuleOptions } from "./documents.ts";
import { keyOf, rulesText, textOf } from "./document-text.ts";
import type { Policies } from "./policies.ts";
import { entriesFor, type RuleEntry, type Scope, scopesOfDocuments } from "./scopes.ts";

/** A rule with its own mode, which applies where no document sets one. */
export interface RuleDefault {
  readonly id: string;
  readonly tags?: readonly string[];
  /** The modes in protected namespaces and elsewhere. `off` elsewhere cannot be changed by a document. */
  readonly mode: { readonly protected: PolicyMode; readonly elsewhere: PolicyMode };
}

/**
 * The settings of rules that are milder after a change of policies, one phrase for each. Only the documents that changed are
 * compared one by one. Where such a document is new or gone, any other document may apply on the other side, and the extreme
 * of all of them counts.
 */
export function lostModes(before: Policies, after: Policies, rules: readonly RuleDefault[]): readonly string[] {
  const texts = (policies: Policies) => new Set(policies.documents.map(textOf));
  const [was, is] = [texts(before), texts(after)];
  const sides = [sideOf(before, is), sideOf(after, was)] as const;
  if (sides.every(({ changed }) => changed.length === 0)) return [];
  return rules.flatMap((rule) => {
    const named = sides.some(({ changed }) => entriesFor(rule, changed).length > 0);
    return named ? lossesOfRule(sides, rule) : [];
  });
}

interface Side {
  /** The documents that only this side has. */
  readonly changed: readonly Scope[];
  /** The scopes without any condition. */
  readonly everywhere: readonly Scope[];
  /** Of the documents with conditions that say the same of rules, one. */
  readonly representatives: readonly Scope[];
}

function sideOf({ documents, scopes }: Policies, others: ReadonlySet<string>): Side {
  const somewhere = new Map<string, Scope>();
  for (const scope of scopes) {
    if (scope.match.specificity === 0) continue;
    const text = rulesText(scope.policy);
    if (!somewhere.has(text)) somewhere.set(text, scope);
  }
  return {
    changed: scopesOfDocuments(documents.filter((document) => !others.has(textOf(document)))),
    everywhere: scopes.filter(({ match }) => match.specificity === 0),
    representatives: [...somewhere.values()],
  };
}

/** The fields of an entry that decide whether a finding denies, with their values, strictest first. */
const fields = {
  mode: ["deny", "warn", "audit", "off"],
  existing: ["deny", "warn"],
  onError: ["deny", "warn"],
  onUnknown: ["deny", "warn"],
} as const satisfies { readonly [field in keyof RuleOptions]?: readonly string[] };
type Field = keyof typeof fields;
const allFields = Object.keys(fields) as readonly Field[];
const ownValue = { existing: "warn", onError: "deny", onUnknown: "warn" } as const;

function lossesOfRule([before, after]: readonly [Side, Side], rule: RuleDefault): readonly string[] {
  const [was, is] = [new RuleOnSide(before, rule), new RuleOnSide(after, rule)];
  return allFields.flatMap((field) => {
    const lost: string[] = [];
    const [everywhereBefore, everywhere] = [was.everywhere(field), is.everywhere(field)];
    if (isLess(field, everywhereBefore, everywhere))
      lost.push(`${rule.id}: ${field} is ${everywhere.join(" or ")}, and was ${everywhereBefore.join(" or ")}`);
    const [documentsBefore, documents] = [was.somewhere(field), is.somewhere(field)];
    for (const key of new Set([...documentsBefore.keys(), ...documents.keys()])) {
      // Where only one side has this match, any other document may apply on the other side.
      const valueBefore = documentsBefore.get(key)?.values ?? was.extreme(field, "strictest");
      const value = documents.get(key)?.values ?? is.extreme(field, "weakest");
      const { of } = documentsBefore.get(key) ?? documents.get(key) ?? { of: "a document" };
      if (isLess(field, valueBefore, value))
        lost.push(
          `${rule.id}: ${field} may be ${value.join(" or ")} where ${of} matches, and was ${valueBefore.join(" or ")}`,
        );
    }
    return lost;
  });
}

/** Values in protected namespaces and elsewhere; one value if they are the same. */
type Values = readonly string[];

function isLess(field: Field, before: Values, after: Values): boolean {
  const rank = (value: string | undefined) => (fields[field] as readonly string[]).indexOf(value ?? "");
  const at = (values: Values, i: number) => rank(values[i] ?? values[0]);
  return at(after, 0) > at(before, 0) || at(after, 1) > at(before, 1);
}

/** One rule on one side. */
class RuleOnSide {
  readonly #side: Side;
  readonly #rule: RuleDefault;
  readonly #everywhere: readonly RuleEntry[];
  readonly #changed: readonly RuleEntry[];

  constructor(side: Side, rule: RuleDefault) {
    this.#side = side;
    this.#rule = rule;
    this.#everywhere = entriesFor(rule, side.everywhere);
    this.#changed = entriesFor(rule, side.changed);
  }

  /** Where no condition applies. */
  everywhere(field: Field): Values {
    const { mode } = this.#rule;
    const set = this.#firstOf(this.#everywhere, field);
    return set ?? (field === "mode" ? distinct([mode.protected, mode.elsewhere]) : [ownValue[field]]);
  }

  /** In each changed document with a condition. */
  somewhere(field: Field): ReadonlyMap<string, { readonly values: Values; readonly of: string }> {
    const found = new Map<string, { readonly values: Values; readonly of: string }>();
    for (const { scope, value } of this.#changed) {
      const set = value[field];
      if (set === undefined || scope.match.specificity === 0) continue;
      const key = keyOf(scope.policy);
      if (!found.has(key)) found.set(key, { values: this.#valuesOf(set, field), of: scope.policy.title });
    }
    return found;
  }

  /** The strictest or weakest value of all documents. */
  extreme(field: Field, which: "strictest" | "weakest"): Values {
    let found = this.everywhere(field);
    for (const scope of this.#side.representatives) {
      const values = this.#firstOf(entriesFor(this.#rule, [scope]), field);
      if (values === undefined) continue;
      if (which === "weakest" ? isLess(field, found, values) : isLess(field, values, found)) found = values;
    }
    return found;
  }

  #firstOf(entries: readonly RuleEntry[], field: Field): Values | undefined {
    const value = entries.find((entry) => entry.value[field] !== undefined)?.value[field];
    return value === undefined ? undefined : this.#valuesOf(value, field);
  }

  #valuesOf(value: string, field: Field): Values {
    return field === "mode" && this.#rule.mode.elsewhere === "off" ? distinct([value, "off"]) : [value];
  }
}

const distinct = (values: readonly [string, string]): Values => (values[0] === values[1] ? [values[0]] : values);
