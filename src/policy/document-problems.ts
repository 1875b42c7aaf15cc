import { describe, isObject, member } from "../kube/read.ts";
import { suggestion } from "../text/nearest.ts";
import type { RuleMetadata } from "./documents.ts";
import { isExpiry } from "./expiry.ts";
import { type SchemaProblem, wrongExpiry } from "./schema-problems.ts";
import { compileSelector, selectorOf } from "./scopes.ts";

/** What is wrong with one policy besides its form. The document may be of any form. */
export const policyProblems = (raw: unknown, rules: readonly RuleMetadata[]): readonly SchemaProblem[] => [
  ...duplicates(raw),
  ...duplicatesOfCustomRules(raw),
  ...namesNoRule(raw, rules),
  ...withdrawnAndMore(raw),
  ...limitsOfMore(raw),
  ...limitsToNoRule(raw, rules),
];

const entriesIn = (raw: unknown): readonly unknown[] => {
  const rules = member(member(raw, "spec"), "rules");
  return Array.isArray(rules) ? rules : [];
};

/**
 * An entry without settings keeps those of others in the same document from its rules, and does nothing if there are none. No policy
 * protects less because of it, so it is no reason to refuse one.
 */
export function setsNothing(raw: unknown): readonly SchemaProblem[] {
  const entries = entriesIn(raw).map((entry) => (isObject(entry) ? entry : { mode: entry }));
  const isWide = (entry: Readonly<Record<string, unknown>>): boolean =>
    entry["tag"] !== undefined || String(entry["id"]).includes("*");
  return entries.flatMap((entry, i) => {
    const [only, ...others] = Object.keys(entry);
    const isUseful = others.length > 0 || (only !== "id" && only !== "tag");
    if (isUseful || entries.some((other) => other !== entry && isWide(other))) return [];
    const message = `spec.rules[${i}]: nothing is set for this rule; add a setting such as mode, or remove the entry`;
    return [{ at: ["spec", "rules", i], message }];
  });
}

/** A rule that one document names twice, so that it would be unclear which entry applies. */
function duplicates(raw: unknown): readonly SchemaProblem[] {
  const first = new Map<string, number>();
  const problems: SchemaProblem[] = [];
  for (const [i, rule] of entriesIn(raw).entries()) {
    const [id, tag] = [member(rule, "id"), member(rule, "tag")];
    const [field, name] = tag === undefined ? (["id", id] as const) : (["tag", tag] as const);
    if (typeof name !== "string") continue;
    const other = first.get(`${field} ${name}`);
    if (other === undefined) first.set(`${field} ${name}`, i);
    else
      problems.push({
        at: ["spec", "rules", i, field],
        message: `spec.rules[${i}].${field}: ${name} is in spec.rules[${other}] already; merge the two entries`,
      });
  }
  return problems;
}

/** Two rules of one document with the same id. */
function duplicatesOfCustomRules(raw: unknown): readonly SchemaProblem[] {
  const rules = member(member(raw, "spec"), "customRules");
  const first = new Map<unknown, number>();
  return (Array.isArray(rules) ? rules : []).flatMap((rule, i) => {
    const id = member(rule, "id");
    const other = first.get(id);
    if (other === undefined) first.set(id, i);
    if (other === undefined || typeof id !== "string") return [];
    const message = `spec.customRules[${i}].id: ${id} is in spec.customRules[${other}] already; rename one of the two`;
    return [{ at: ["spec", "customRules", i, "id"], message }];
  });
}

/** An id with `*` that matches none of the rules; ids of rules that policies define are known later. */
function namesNoRule(raw: unknown, rules: readonly RuleMetadata[]): readonly SchemaProblem[] {
  return entriesIn(raw).flatMap((rule, i) => {
    const id = member(rule, "id");
    if (typeof id !== "string" || id.includes("/")) return [];
    if (selectorOf({ id }) !== "glob" || rules.some(compileSelector({ id }))) return [];
    const hint =
      suggestion(
        id.replaceAll("*", ""),
        rules.map((one) => one.id),
      ) || "; `meshward rules` lists them";
    return [{ at: ["spec", "rules", i, "id"], message: `spec.rules[${i}].id: no rule matches ${describe(id)}${hint}` }];
  });
}

/** A limit of exceptions that names no rule, so that it would forbid those of every rule. */
function limitsToNoRule(raw: unknown, rules: readonly RuleMetadata[]): readonly SchemaProblem[] {
  const limits = member(member(member(raw, "spec"), "exceptions"), "rules");
  return (Array.isArray(limits) ? limits : []).flatMap((id: unknown, i) => {
    // Ids of rules that policies define are known later.
    if (typeof id !== "string" || id.includes("/") || rules.some(compileSelector({ id }))) return [];
    const ids = rules.map((rule) => rule.id);
    const hint = suggestion(id.replaceAll("*", ""), ids) || "; `meshward rules` lists them";
    const message = `spec.exceptions.rules[${i}]: no rule matches ${describe(id)}${hint}`;
    return [{ at: ["spec", "exceptions", "rules", i], message }];
  });
}

/** Limits for exceptions depend on the namespace only. */
function limitsOfMore(raw: unknown): readonly SchemaProblem[] {
  const spec = member(raw, "spec");
  const match = member(spec, "match");
  if (member(spec, "exceptions") === undefined || !isObject(match)) return [];
  return Object.keys(match)
    .filter((condition) => condition !== "namespaces")
    .map((condition) => ({
      at: ["spec", "match", condition],
      message: `spec.match.${condition}: spec.exceptions applies to whole namespaces; move it to a document without this condition`,
    }));
}

/** A text that has the form of a time, and is none: February 30. */
export function exceptionProblems(raw: unknown): readonly SchemaProblem[] {
  const expiresAt = member(member(raw, "spec"), "expiresAt");
  if (typeof expiresAt !== "string" || !/^\d{4}-\d{2}-\d{2}(T|$)/.test(expiresAt) || isExpiry(expiresAt)) return [];
  return [{ at: ["spec", "expiresAt"], message: `spec.expiresAt: ${wrongExpiry(expiresAt)}` }];
}

/** A document that says that it sets nothing, and sets something. */
function withdrawnAndMore(raw: unknown): readonly SchemaProblem[] {
  const spec = member(raw, "spec");
  const others =
    isObject(spec) && spec.withdrawn === true ? Object.keys(spec).filter((key) => key !== "withdrawn") : [];
  if (others.length === 0) return [];
  const message = `spec.withdrawn: a withdrawn policy cannot set ${others.join(", ")}; remove either spec.withdrawn or the other fields`;
  return [{ at: ["spec", "withdrawn"], message }];
}
