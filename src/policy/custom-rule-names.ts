import { formatPath } from "../kube/field-path.ts";
import { describe } from "../kube/read.ts";
import { suggestion } from "../text/nearest.ts";
import {
  type Exception,
  filledParameters,
  type PolicyDocument,
  type RuleMetadata,
  type RuleOptions,
} from "./documents.ts";
import type { SchemaProblem } from "./schema-problems.ts";
import { compileSelector, selectorOf } from "./scopes.ts";

/**
 * What is wrong with the names and parameters of rules that some policy defines: they are known only when all documents are
 * read, while those of built-in rules are in the schema.
 */
export function namesOfCustomRules(
  document: { readonly policy: PolicyDocument } | { readonly exception: Exception },
  defined: ReadonlyMap<string, RuleMetadata>,
): readonly SchemaProblem[] {
  const isPolicy = "policy" in document;
  if ("exception" in document && !document.exception.spec.rules.some((id) => id.includes("/"))) return [];
  const named: readonly Pick<RuleOptions, "id" | "parameters">[] = isPolicy
    ? (document.policy.spec.rules ?? [])
    : document.exception.spec.rules.map((id) => ({ id }));
  return named.flatMap(({ id = "", parameters = {} }, i) => {
    // The ids of built-in rules have no slash.
    if (!id.includes("/")) return [];
    const rule = defined.get(id);
    if (rule !== undefined)
      return Object.entries(parameters).flatMap(([name, value]) => wrongParameter(rule, { name, value, i }) ?? []);
    if (selectorOf({ id }) === "glob" && [...defined.values()].some(compileSelector({ id }))) return [];
    const at = ["spec", "rules", i, ...(isPolicy ? ["id"] : [])];
    const hint = suggestion(id, [...defined.keys()]) || "; no policy in force defines it";
    return [{ at, message: `${formatPath(at)}: there is no rule ${describe(id)}${hint}` }];
  });
}

interface Given {
  readonly name: string;
  readonly value: unknown;
  /** The place of the entry in spec.rules. */
  readonly i: number;
}

function wrongParameter(rule: RuleMetadata, { name, value, i }: Given): SchemaProblem | undefined {
  const at = ["spec", "rules", i, "parameters", name];
  const settable = Object.keys(rule.parameters).filter((one) => !filledParameters.has(one));
  const known = settable.includes(name) ? rule.parameters[name] : undefined;
  if (known === undefined) {
    const others = settable.length === 0 ? "there are none" : `known are ${settable.join(", ")}`;
    const hint = suggestion(name, settable) || `; ${others}`;
    return { at, message: `${formatPath(at)}: there is no such parameter for ${rule.id}${hint}` };
  }
  const [expected, found] = [known.default, value].map(typeOfParameter);
  if (expected === found) return undefined;
  return { at, message: `${formatPath(at)}: expected ${expected}, found ${describe(value)}` };
}

const typeOfParameter = (value: unknown): string => (Array.isArray(value) ? "a list" : `a ${typeof value}`);
