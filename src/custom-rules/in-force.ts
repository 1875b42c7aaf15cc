import type { Rule } from "../engine/rule.ts";
import { FieldUse, type KeptFields, nothingKept } from "../kube/kept-fields.ts";
import type { Kind } from "../kube/kinds.ts";
import type { Policies } from "../policy/policies.ts";

const known = new WeakMap<Policies, { readonly builtIn: readonly Rule[]; readonly all: readonly Rule[] }>();

/**
 * The built-in rules and those that policies define: one list as long as the policies are in force. A list that has them already
 * is returned.
 */
export function rulesInForce(builtIn: readonly Rule[], policies: Policies): readonly Rule[] {
  const found = known.get(policies);
  if (found?.builtIn === builtIn) return found.all;
  // Rules are defined by compile.ts, which is imported only where there are any.
  const custom = policies.customRules as readonly Rule[];
  const [first] = custom;
  const all = first === undefined || builtIn.includes(first) ? builtIn : [...builtIn, ...custom];
  known.set(policies, { builtIn, all });
  return all;
}

const keptBy = new WeakMap<readonly Rule[], KeptFields>();

/** The raw fields that rules read, by kind. */
export function keptFieldsOf(rules: readonly Rule[]): KeptFields {
  let found = keptBy.get(rules);
  if (found === undefined) {
    const kept = new Map<Kind, FieldUse>();
    for (const { subject, keeps } of rules)
      for (const kind of keeps === undefined ? [] : subject) {
        const use = kept.get(kind) ?? new FieldUse();
        use.add(keeps as FieldUse);
        kept.set(kind, use);
      }
    keptBy.set(rules, (found = kept.size === 0 ? nothingKept : kept));
  }
  return found;
}

/** The kinds of which more fields are kept than before. */
export const kindsWithMore = (before: KeptFields, now: KeptFields): readonly Kind[] =>
  [...now].flatMap(([kind, use]) => (before.get(kind)?.covers(use) === true ? [] : [kind]));
