import { identityOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Mesh } from "../view/view.ts";
import { BudgetExceeded } from "./budget.ts";
import type { Evaluation, RuleError, Skip } from "./evaluate.ts";
import { type Finding, type FindingClass, uncertainEvidence } from "./finding.ts";
import type { Mode } from "./rule.ts";
import { type Exception, isAsStrict, namespaceOf, type PolicySelection } from "./setting.ts";

/** What one finding does in the end, and each step that lowered its mode, in order. */
export interface Ruling {
  readonly finding: Finding;
  /** `off`: it counts for nothing; where there is an exception, it is reported as skipped. */
  readonly mode: Mode;
  readonly lowered: readonly Lowered[];
  /** What accepts it. */
  readonly exception?: Exception;
}

export interface Lowered {
  readonly step: StepName;
  readonly from: Mode;
  readonly to: Mode;
  /** Why, as the rest of a sentence that begins with "because". */
  readonly reason: string;
}

/**
 * Who asks for a change, as far as it makes a difference.
 * - `garbage collector`: Kubernetes deleting what belongs to something deleted; a denial would block a namespace for ever.
 * - `control plane`: istiod, which makes the proxies that Gateways ask for.
 * - `reconciler`: applies a set in its own order, and would wait for ever for what it sends later.
 */
export type Writer = "person" | "reconciler" | "control plane" | "garbage collector";

/** What a ruling takes into account besides the finding and its setting. */
export interface RulingContext {
  readonly after: Mesh;
  readonly exceptionFor: PolicySelection["exceptionFor"];
  /** Identities (identityOf) of the objects that the change is about; undefined: nothing changes, as in an audit. */
  readonly changed?: ReadonlySet<string>;
  /** Undefined where nobody asks: files and what already runs. */
  readonly request?: RequestContext;
}
export interface RequestContext {
  readonly writer: Writer;
  readonly isDeletion: boolean;
  readonly isDryRun: boolean;
  /** The evidence of relational findings could not be read again in time. */
  readonly isUnconfirmed: boolean;
  /** What the policies do with a reconciler's relational findings. */
  readonly reconcilers: "warn" | "deny";
  /** The reason for which somebody who may do so uses break glass. */
  readonly breakGlass: string | undefined;
  /** Whether the subject is a proxy that istiod makes for a Gateway. */
  isGatewayProxy(subject: AnyObject): boolean;
  /** Kinds of which the data is too old or incomplete to say that this weakens anything. */
  incompleteKinds(finding: Finding): readonly Kind[];
}

interface Step {
  readonly name: string;
  /** The mode that is left and why; undefined where the step does not apply. It never raises a mode. */
  lower(
    finding: Finding,
    mode: Mode,
    context: RulingContext,
  ): { readonly to: Mode; readonly reason: string } | undefined;
}

const lowers = (name: string, lower: Step["lower"]): Step => ({ name, lower });
const when = (isSo: boolean | undefined, to: Mode, reason: string) => (isSo === true ? { to, reason } : undefined);

/** What each class of finding is at most for each writer. istiod reads no warnings. */
const most: Readonly<Record<FindingClass, Readonly<Record<Writer, Mode>>>> = {
  intrinsic: { person: "deny", reconciler: "deny", "control plane": "deny", "garbage collector": "deny" },
  weakening: { person: "deny", reconciler: "deny", "control plane": "deny", "garbage collector": "audit" },
  relational: { person: "deny", reconciler: "warn", "control plane": "audit", "garbage collector": "audit" },
};

/**
 * Everything that lowers the mode that the policies give a rule for a subject, in the order in which it is asked. The
 * mode itself is from the rule, the profile and the documents, and from whether the namespace is protected before or
 * after the change (setting.ts).
 */
export const ladder = {
  gatewayProxy: lowers("gatewayProxy", ({ subject }, _mode, { request }) =>
    when(request?.isGatewayProxy(subject), "off", "istiod runs this workload for a Gateway"),
  ),
  otherObject: lowers("otherObject", ({ subject, introduced }, _mode, { changed }) =>
    when(
      changed !== undefined && !introduced && !changed.has(identityOf(subject)),
      "off",
      "the problem is older than this change and on another object",
    ),
  ),
  exception: lowers("exception", ({ rule, subject }, _mode, { exceptionFor }) => {
    const exception = exceptionFor(rule, subject);
    return when(exception !== undefined, "off", `${exception?.title} accepts it until ${exception?.expiresAt}`);
  }),
  trial: lowers("trial", ({ rule }) => when(rule.stage === "trial", "warn", "the rule is on trial")),
  limitedEffect: lowers("limitedEffect", ({ atMost }) =>
    when(atMost === "warn", "warn", "the effect is uncertain or limited in this case"),
  ),
  incompleteEvidence: lowers("incompleteEvidence", (finding, mode, { after }) => {
    const kinds = mode === "deny" ? uncertainEvidence(finding, after) : [];
    return when(kinds.length > 0, "warn", `other objects of kind ${kinds.join(", ")} may exist elsewhere`);
  }),
  existing: lowers("existing", ({ introduced, setting }, _mode, { changed }) =>
    when(
      changed !== undefined && !introduced && setting.existing !== "deny",
      "warn",
      "the problem existed before this change",
    ),
  ),
  onError: lowers("onError", ({ undecided, setting }) =>
    when(undecided === "error" && setting.onError === "warn", "warn", "a policy sets onError: warn for this rule"),
  ),
  incompleteData: lowers("incompleteData", (finding, mode, { request }) => {
    const isAsked = mode === "deny" && finding.setting.onUnknown !== "deny" && finding.undecided === undefined;
    const kinds = isAsked ? (request?.incompleteKinds(finding) ?? []) : [];
    return when(kinds.length > 0, "warn", `the data on ${kinds.join(", ")} is old or incomplete`);
  }),
  garbageCollection: lowers("garbageCollection", (_finding, _mode, { request }) =>
    when(
      request?.writer === "garbage collector" && request.isDeletion,
      "audit",
      "Kubernetes deletes what belongs to a deleted object",
    ),
  ),
  writer: lowers("writer", (finding, _mode, { request }) => {
    const writer = request?.writer ?? "person";
    if (writer === "reconciler") return undefined;
    return when(writer !== "person", most[finding.class][writer], `the change is from the ${writer}`);
  }),
  reconciler: lowers("reconciler", (finding, _mode, { request }) =>
    when(
      request?.writer === "reconciler" && request.reconcilers !== "deny",
      most[finding.class].reconciler,
      "a GitOps controller may still apply the missing objects",
    ),
  ),
  dryRun: lowers("dryRun", (finding, _mode, { request }) =>
    when(
      request?.isDryRun === true && finding.class === "relational",
      "warn",
      "this is a dry run, and the change itself would be denied",
    ),
  ),
  unconfirmed: lowers("unconfirmed", (finding, _mode, { request }) =>
    when(
      request?.isUnconfirmed === true && finding.class === "relational",
      "warn",
      "the API server did not confirm it in time",
    ),
  ),
  breakGlass: lowers("breakGlass", (_finding, mode, { request }) =>
    when(mode === "deny" && request?.breakGlass !== undefined, "warn", "break glass is used"),
  ),
} as const satisfies Readonly<Record<string, Step>>;

export type StepName = keyof typeof ladder | "sameTopic";
const steps = Object.values(ladder) as readonly Step[];

/** What each finding does: the same in admission, check and audit. */
export function rulingsOf(findings: readonly Finding[], context: RulingContext): readonly Ruling[] {
  return withoutSameTopic(findings.map((finding) => rulingOf(finding, context)));
}

function rulingOf(finding: Finding, context: RulingContext): Ruling {
  let mode = finding.setting.mode;
  const lowered: Lowered[] = [];
  for (const { name, lower } of steps) {
    if (mode === "off") break;
    const found = lower(finding, mode, context);
    if (found === undefined || isAsStrict(found.to, mode)) continue;
    lowered.push({ step: name as StepName, from: mode, ...found });
    mode = found.to;
  }
  const isAccepted = lowered.at(-1)?.step === "exception";
  const exception = isAccepted ? context.exceptionFor(finding.rule, finding.subject) : undefined;
  return { finding, mode, lowered, ...(exception === undefined ? {} : { exception }) };
}

/** Of the findings about one topic in a namespace the most severe, and among equals those of a change before those of a state. */
function withoutSameTopic(rulings: readonly Ruling[]): readonly Ruling[] {
  const topics = rulings.filter(({ finding, mode }) => finding.topic !== undefined && mode !== "off");
  if (topics.length < 2) return rulings;
  return rulings.map((ruling) => {
    const { finding, mode, lowered } = ruling;
    if (finding.topic === undefined || mode === "off" || !topics.some((other) => saysMore(other, ruling)))
      return ruling;
    const last: Lowered = { step: "sameTopic", from: mode, to: "off", reason: "another finding includes it" };
    return { ...ruling, mode: "off", lowered: [...lowered, last] };
  });
}

function saysMore(other: Ruling, { finding, mode }: Ruling): boolean {
  if (other.finding.topic !== finding.topic) return false;
  if (namespaceOf(other.finding.subject) !== namespaceOf(finding.subject)) return false;
  return other.finding.class === "weakening" && finding.class !== "weakening" && isAsStrict(other.mode, mode);
}

/**
 * Everything that a decision has to rule on: what was found, what failed, and what could not be looked for. `review` is how
 * the log names the review.
 */
export function findingsOf(
  { findings, errors, skipped }: Pick<Evaluation, "findings" | "errors" | "skipped">,
  changed: AnyObject,
  review: string,
): readonly Finding[] {
  return [
    ...findings,
    ...errors.map((error) => ofError(error, review)),
    ...skipped.flatMap((skip) => ofUnknown(skip, changed)),
  ];
}

/** An error inside a rule is an error of that rule, and does at most what its findings would do. */
function ofError({ rule, subject, setting, error }: RuleError, review: string): Finding {
  const isBudget = error instanceof BudgetExceeded;
  return {
    rule,
    subject,
    setting,
    at: [],
    message: isBudget
      ? `Not judged: ${error.message}`
      : "The rule failed with an error, so it is not known whether the change is right",
    fix: isBudget
      ? "Split the change, or the objects that depend on it, into smaller ones. onError: warn for this rule in a policy allows such changes."
      : `Report the error that Meshward's log has for ${review} as a bug. Until it is fixed, onError: warn for this rule in a policy allows changes.`,
    introduced: true,
    class: "intrinsic",
    undecided: "error",
  };
}

/**
 * Only a weakening may be denied because a kind is unknown, and only where the policy says so. What the request itself
 * shows is not lost: a rule that works without the kind has run.
 */
function ofUnknown({ rule, unknown, setting }: Skip, changed: AnyObject): readonly Finding[] {
  if (setting === undefined || rule.compare === undefined) return [];
  if (setting.mode !== "deny" || setting.onUnknown !== "deny") return [];
  const finding: Finding = {
    rule,
    subject: changed,
    setting,
    at: [],
    message: `It is not known whether this weakens anything, because Meshward has not read any ${unknown} yet`,
    fix: "Try again when Meshward has read them. onUnknown: warn for this rule in a policy allows changes.",
    introduced: true,
    class: "weakening",
    undecided: "unknown",
  };
  return [finding];
}
