import { identityOf } from "../kube/identity.ts";
import type { Evaluation } from "./evaluate.ts";
import { type Finding, isCertain } from "./finding.ts";
import type { Mode } from "./rule.ts";
import { type Exception, isAsStrict, namespaceOf, type PolicySelection, type RuleSetting } from "./select.ts";

/** A finding with what it does in the end. */
export interface Weighed {
  readonly finding: Finding;
  /** `off`: it counts for nothing; where there is an exception, it is reported as skipped. */
  readonly mode: Mode;
  /** Where the rule's mode is from. */
  readonly policy: string;
  /** What accepts it. */
  readonly exception?: Exception;
  /** Why it does less than the rule's mode. */
  readonly because?: Leniency;
}

/**
 * - `lesser`: the rule itself says that this one is worth a warning.
 * - `uncertain`: it rests on something that the view does not know whole.
 * - `existing`: it was there before the change.
 */
export type Leniency = "lesser" | "uncertain" | "existing";

/**
 * What one finding does: the same in admission, check and audit. `changed` holds the identities (identityOf) of the objects that the
 * change is about; without it nothing changes, and what is there is judged as it is.
 */
export function weigh(
  finding: Finding,
  selection: PolicySelection,
  { before, after }: Pick<Evaluation, "before" | "after">,
  changed?: ReadonlySet<string>,
): Weighed {
  const setting = selection.setting(finding.rule, finding.subject, before, after);
  const { policy } = setting;
  const isOld = changed !== undefined && !finding.introduced;
  const isElsewhere = changed !== undefined && !changed.has(identityOf(finding.subject));
  // Nobody is lectured on other people's mistakes, and no exception is used up for them.
  if (setting.mode === "off" || (isElsewhere && (isOld || finding.rule.onlyOwnChanges)))
    return { finding, mode: "off", policy };
  const exception = selection.exceptionFor(finding);
  if (exception !== undefined) return { finding, mode: "off", policy, exception };
  const because = setting.mode === "deny" ? leniencyOf(finding, setting, isOld, after) : undefined;
  return because === undefined ? { finding, mode: setting.mode, policy } : { finding, mode: "warn", policy, because };
}

/** Without what another finding in the same namespace says already. */
export function uncovered(weighed: readonly Weighed[]): readonly Weighed[] {
  const covering = weighed.filter(({ finding }) => finding.rule.covers !== undefined);
  if (covering.length === 0) return weighed;
  return weighed.filter((one) => !covering.some((other) => covers(other, one)));
}

const covers = (covering: Weighed, { finding, mode }: Weighed): boolean =>
  covering.finding.rule.covers?.includes(finding.rule.id) === true &&
  namespaceOf(covering.finding.subject) === namespaceOf(finding.subject) &&
  isAsStrict(covering.mode, mode);

function leniencyOf(
  finding: Finding,
  { existing }: RuleSetting,
  isOld: boolean,
  after: Evaluation["after"],
): Leniency | undefined {
  if (finding.atMost === "warn") return "lesser";
  if (!isCertain(finding, after)) return "uncertain";
  return isOld && existing !== "deny" ? "existing" : undefined;
}
