import { globs } from "../text/globs.ts";
import type { Exception, ExceptionLimits, ExceptionSpec } from "./documents.ts";
import { daysLeft } from "./expiry.ts";
import { compileWriters, type NamespacePlace, type Requester } from "./match.ts";
import type { ScopeIndex } from "./scopes.ts";

/** A limit with the document that sets it. */
interface SetBy<T> {
  readonly value: T;
  readonly policy: string;
}

/** What the policies say of the exceptions of one namespace. Each limit is from the strongest document that sets it. */
export type LimitsInForce = {
  readonly [limit in keyof ExceptionLimits]?: SetBy<NonNullable<ExceptionLimits[limit]>>;
};

/** Why an exception is not allowed: a path in its document, and a sentence without its end. */
export interface Refusal {
  readonly at: readonly (string | number)[];
  readonly message: string;
  readonly fix: string;
}

export function limitsIn(place: NamespacePlace, index: ScopeIndex): LimitsInForce {
  const found: { -readonly [limit in keyof ExceptionLimits]?: SetBy<unknown> } = {};
  // Limits have no condition but the namespace, so the requester does not matter.
  for (const { policy } of index.inNamespace(place, undefined).certain)
    for (const [limit, value] of Object.entries(policy.spec.exceptions ?? {}))
      found[limit as keyof ExceptionLimits] ??= { value, policy: policy.title };
  return found as LimitsInForce;
}

/** Why an exception has no effect, whoever wrote it: in the webhook, in `check` and in `audit` alike. */
export function refusalsOf(
  { rules, expiresAt }: Pick<ExceptionSpec, "rules" | "expiresAt">,
  { mode, rules: allowed, maxDays }: LimitsInForce,
  now: Date,
): readonly Refusal[] {
  if (mode?.value === "deny") {
    const message = `${mode.policy} allows no exceptions in this namespace`;
    return [{ at: [], message, fix: "Correct what the exception accepts, or change that policy." }];
  }
  const refusals: Refusal[] = [];
  if (allowed !== undefined) {
    const ids = globs(allowed.value);
    for (const [i, rule] of rules.entries())
      if (!ids.matches(rule))
        refusals.push({
          at: ["spec", "rules", i],
          message: `${allowed.policy} allows no exception for ${rule} in this namespace, only for ${allowed.value.join(", ")}`,
          fix: "Remove the rule from the exception, or add it to that policy.",
        });
  }
  const days = daysLeft(expiresAt, now);
  if (maxDays !== undefined && days > maxDays.value)
    refusals.push({
      at: ["spec", "expiresAt"],
      message: `the exception ends in ${days} days, and ${maxDays.policy} allows at most ${maxDays.value}`,
      fix: `Set expiresAt to a time within ${maxDays.value} days.`,
    });
  return refusals;
}

/** Whether these limits let an exception accept findings of one rule now. */
export function isAllowed(exception: Exception, rule: string, limits: LimitsInForce, now: Date): boolean {
  return refusalsOf({ rules: [rule], expiresAt: exception.expiresAt }, limits, now).length === 0;
}

/** Why this user may not write exceptions in the namespace. */
export function writerRefusal(
  requester: Pick<Requester, "user" | "groups">,
  { writers }: LimitsInForce,
): Refusal | undefined {
  if (writers === undefined || compileWriters(writers.value).matches(requester)) return undefined;
  const { users = [], groups = [], serviceAccounts = [] } = writers.value;
  const named = [
    ...users,
    ...groups.map((group) => `group ${group}`),
    ...serviceAccounts.map((account) => `service account ${account}`),
  ];
  return {
    at: [],
    message: `${writers.policy} does not let ${JSON.stringify(requester.user)} write exceptions in this namespace`,
    fix: `Ask one of those who may: ${named.join(", ")}.`,
  };
}
