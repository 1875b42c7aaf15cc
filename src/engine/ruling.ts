import { identityOf, keyOf, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { isTerminating } from "../mesh/membership/namespaces.ts";
import type { Mesh } from "../view/view.ts";
import { BudgetExceeded } from "./budget.ts";
import type { Evaluation, RuleError, Skip } from "./evaluate.ts";
import { type Finding, type FindingClass, uncertainEvidence } from "./finding.ts";
import { type Mode, modesOf } from "./rule.ts";
import { type Exception, isAsStrict, type PolicySelection } from "./setting.ts";
import { withoutPauses } from "./steps.ts";

/** A finding with its final mode, and each step that lowered the mode, in order. */
export interface Ruling {
  readonly finding: Finding;
  /** `off`: the finding has no effect; with an exception, it is reported as skipped. */
  readonly mode: Mode;
  readonly lowered: readonly Lowered[];
  /** The exception that accepts the finding. */
  readonly exception?: Exception;
}

export interface Lowered {
  readonly step: StepName;
  readonly from: Mode;
  readonly to: Mode;
  /** The reason, as the rest of a sentence that begins with "because". */
  readonly reason: string;
}

/**
 * The type of the user that sends a change.
 * - `garbage collector`: Kubernetes deletes dependents of a deleted object; a denial would block a namespace for ever.
 * - `control plane`: istiod, which creates the proxies for Gateways.
 * - `reconciler`: applies a set of objects in its own order, and would wait for ever for objects that it applies later.
 */
export type Writer = "person" | "reconciler" | "control plane" | "garbage collector";

/** The data that a ruling uses in addition to the finding and its setting. */
export interface RulingContext {
  /** The mesh before the change; undefined without a change. */
  readonly before?: Mesh;
  readonly after: Mesh;
  readonly exceptionFor: PolicySelection["exceptionFor"];
  /** Undefined unless the mesh is made of files. */
  readonly files?: FilesContext;
  /** Identities (identityOf) of the changed objects; undefined without a change, as in an audit. */
  readonly changed?: ReadonlySet<string>;
  /** Undefined without a request: in `check` and `audit`. */
  readonly request?: RequestContext;
}
/** What only files leave open. Both return the rest of a sentence that begins with "because", or undefined. */
export interface FilesContext {
  /** The files define an object that the problem rests on more than once, and another definition resolves it. */
  alternativeFor(finding: Finding): string | undefined;
  /** The problem rests on a value that something else replaces before the file is applied. */
  placeholderFor(finding: Finding): string | undefined;
}
export interface RequestContext {
  readonly writer: Writer;
  readonly isDeletion: boolean;
  readonly isDryRun: boolean;
  /** The evidence of relational findings could not be read again in time. */
  readonly isUnconfirmed: boolean;
  /** All findings that deny depend on another change that was admitted and is not stored. */
  readonly isPending: boolean;
  /** The mode that the policies set for relational findings of reconcilers. */
  readonly reconcilers: "warn" | "deny";
  /** The reason for break glass, if the requester uses it and may do so. */
  readonly breakGlass: string | undefined;
  /** Whether the subject is a proxy that istiod creates for a Gateway. */
  isGatewayProxy(subject: AnyObject): boolean;
  /** The kinds whose data is too old or incomplete to show that the change weakens anything. */
  incompleteKinds(finding: Finding): readonly Kind[];
}

interface Step {
  readonly name: string;
  /** The lower mode and the reason; undefined if the step does not apply. A step never raises a mode. */
  lower(
    finding: Finding,
    mode: Mode,
    context: RulingContext,
  ): { readonly to: Mode; readonly reason: string } | undefined;
}

const lowers = (name: string, lower: Step["lower"]): Step => ({ name, lower });
const when = (isSo: boolean | undefined, to: Mode, reason: string) => (isSo === true ? { to, reason } : undefined);

/** A change that introduces a problem on an object that it leaves as it is took away what was known to be there. */
const isTakenAway = ({ introduced, subject }: Finding, before: Mesh | undefined): boolean =>
  introduced && before?.find(subject.kind, keyOf(subject)) === subject;

const restsOnJoined = ({ evidence = [] }: Finding): boolean =>
  evidence.some((one) => "absent" in one && one.isJoined === true);

/** The most severe mode for each class of finding and writer. istiod does not read warnings. */
const most: Readonly<Record<FindingClass, Readonly<Record<Writer, Mode>>>> = {
  intrinsic: { person: "deny", reconciler: "deny", "control plane": "deny", "garbage collector": "deny" },
  weakening: { person: "deny", reconciler: "deny", "control plane": "deny", "garbage collector": "audit" },
  relational: { person: "deny", reconciler: "warn", "control plane": "audit", "garbage collector": "audit" },
};

/**
 * All steps that can lower the mode of a finding, in their order. setting.ts computes the mode before these steps from
 * the rule, the profile, the documents, and the protection of the namespace before or after the change.
 */
export const ladder = {
  gatewayProxy: lowers("gatewayProxy", ({ subject }, _mode, { request }) =>
    when(request?.isGatewayProxy(subject), "off", "istiod runs this workload for a Gateway"),
  ),
  otherObject: lowers("otherObject", ({ subject, introduced }, _mode, { changed }) =>
    when(
      changed !== undefined && !introduced && !changed.has(identityOf(subject)),
      "off",
      "the problem existed before this change and is on another object",
    ),
  ),
  terminatingNamespace: lowers("terminatingNamespace", (finding, _mode, { after, changed }) => {
    const { subject, class: of } = finding;
    // A weakening says itself whether it matters there, and an object that is written may still do harm elsewhere.
    if (of === "weakening" || changed?.has(identityOf(subject)) !== false) return undefined;
    const namespace = after.find("Namespace", namespaceKey(subject.metadata.namespace));
    return when(
      namespace?.kind === "Namespace" && isTerminating(namespace),
      "off",
      "the object is deleted with its namespace",
    );
  }),
  exception: lowers("exception", (finding, _mode, context) => {
    const exception = exceptionOf(finding, context);
    return exception && { to: "off", reason: `${exception.title} accepts it until ${exception.expiresAt}` };
  }),
  newRule: lowers("newRule", ({ setting: { newerThan } }) =>
    newerThan === undefined
      ? undefined
      : { to: "warn", reason: `the rule is newer than the profile ${newerThan} that is in use` },
  ),
  trial: lowers("trial", ({ rule }) => when(rule.stage === "trial", "warn", "the rule is in its trial stage")),
  limitedEffect: lowers("limitedEffect", ({ onlyWarns }) =>
    onlyWarns === undefined ? undefined : { to: "warn", reason: onlyWarns },
  ),
  nobodyThere: lowers("nobodyThere", ({ harmsNobody }) =>
    harmsNobody === undefined ? undefined : { to: "off", reason: harmsNobody },
  ),
  incompleteEvidence: lowers("incompleteEvidence", (finding, mode, { before, after }) => {
    const kinds = mode === "deny" ? uncertainEvidence(finding, after, isTakenAway(finding, before)) : [];
    if (kinds.length === 0) return undefined;
    return { to: "warn", reason: `other objects of kind ${kinds.join(", ")} may exist elsewhere` };
  }),
  otherClusters: lowers("otherClusters", (finding, mode, { before, after }) => {
    if (!after.settings.hasOtherClusters || !restsOnJoined(finding) || isTakenAway(finding, before)) return undefined;
    const reason = "another cluster of the mesh may have what is missing in this one";
    return { to: mode === "deny" ? "warn" : "off", reason };
  }),
  placeholder: lowers("placeholder", (finding, mode, { files }) => {
    const reason = mode === "deny" ? files?.placeholderFor(finding) : undefined;
    return reason === undefined ? undefined : { to: "warn", reason };
  }),
  alternative: lowers("alternative", (finding, mode, { files }) => {
    const reason = mode === "deny" ? files?.alternativeFor(finding) : undefined;
    return reason === undefined ? undefined : { to: "warn", reason };
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
    return kinds.length === 0
      ? undefined
      : { to: "warn", reason: `the data on ${kinds.join(", ")} is old or incomplete` };
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
    if (writer === "reconciler" || writer === "person") return undefined;
    return { to: most[finding.class][writer], reason: `the change is from the ${writer}` };
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
  pending: lowers("pending", ({ class: of, setting, undecided }, _mode, { request }) =>
    when(
      request?.isPending === true && undecided === undefined && (of === "relational" || setting.onUnknown !== "deny"),
      "warn",
      "it depends on another change that was admitted a moment ago and is not stored yet",
    ),
  ),
  breakGlass: lowers("breakGlass", (_finding, mode, { request }) =>
    when(mode === "deny" && request?.breakGlass !== undefined, "warn", "break glass is used"),
  ),
} as const satisfies Readonly<Record<string, Step>>;

export type StepName = keyof typeof ladder | "sameTopic";
const steps = Object.values(ladder) as readonly Step[];

/** Computes the ruling of each finding, in the same way in admission, `check` and `audit`. */
export const rulingsOf = (findings: readonly Finding[], context: RulingContext): readonly Ruling[] =>
  withoutPauses(ruled(findings, context));

/** The same, but yields after some findings. */
export function* ruled(findings: readonly Finding[], context: RulingContext): Generator<void, readonly Ruling[]> {
  const rulings: Ruling[] = [];
  const including = newIncluding();
  for (const finding of findings) {
    if (finding.guessOf === "partial") continue;
    const ruling = rulingOf(finding, context);
    rulings.push(ruling);
    addIncluding(ruling, including);
    if (rulings.length % ruledAtOnce === 0) yield;
  }
  for (let i = 0; i < rulings.length && !isEmpty(including); i++) {
    rulings[i] = unlessIncluded(rulings[i] as Ruling, including);
    if ((i + 1) % comparedAtOnce === 0) yield;
  }
  return rulings;
}

const ruledAtOnce = 200;
const comparedAtOnce = 2_000;

/** The exception that accepts a finding: its own, or that of a finding which includes it. */
function exceptionOf(
  { rule, subject, message, key = message, acceptedWith }: Finding,
  { exceptionFor, after }: RulingContext,
): Exception | undefined {
  let exception = exceptionFor(rule, subject, key, after);
  for (const other of acceptedWith ?? [])
    exception ??= exceptionFor({ id: other.rule }, other.object, undefined, after);
  return exception;
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
  const exception = isAccepted ? exceptionOf(finding, context) : undefined;
  return { finding, mode, lowered, ...(exception === undefined ? {} : { exception }) };
}

/**
 * Turns a finding off that another one about the same topic includes, if that one is at least as severe: a weakening of the
 * same object or of one that is evidence, and another finding about evidence that has none itself.
 */
function unlessIncluded(ruling: Ruling, including: Including): Ruling {
  const { mode, lowered } = ruling;
  const isIncluded = mode !== "off" && includedModes(ruling, including).some((other) => isAsStrict(other, mode));
  if (!isIncluded) return ruling;
  const last: Lowered = { step: "sameTopic", from: mode, to: "off", reason: "another finding includes it" };
  return { ...ruling, mode: "off", lowered: [...lowered, last] };
}

/** The strictest mode of the findings about a topic and an object. */
interface Including {
  readonly weakened: Map<string, Mode>;
  /** State rules' findings without evidence. */
  readonly own: Map<string, Mode>;
}

const newIncluding = (): Including => ({ weakened: new Map(), own: new Map() });
const isEmpty = ({ weakened, own }: Including): boolean => weakened.size === 0 && own.size === 0;

function addIncluding({ finding, mode }: Ruling, { weakened, own }: Including): void {
  if (finding.topic === undefined || mode === "off" || finding.class === "relational") return;
  const place = `${finding.topic} ${identityOf(finding.subject)}`;
  const known = finding.class === "weakening" ? weakened : own;
  known.set(place, stricterOf(known.get(place), mode));
}

const stricterOf = (a: Mode | undefined, b: Mode): Mode => (a !== undefined && isAsStrict(a, b) ? a : b);

function includedModes({ finding }: Ruling, { weakened, own }: Including): readonly Mode[] {
  const { topic, subject, evidence = [] } = finding;
  if (topic === undefined || finding.class === "weakening") return [];
  const objects = evidence.flatMap((one) => ("absent" in one ? [] : [`${topic} ${identityOf(one)}`]));
  return [
    ...[`${topic} ${identityOf(subject)}`, ...objects].flatMap((place) => weakened.get(place) ?? []),
    ...objects.flatMap((place) => own.get(place) ?? []),
  ];
}

/**
 * All findings for a decision: the findings of rules, and findings about rules that failed or could not run. `review` is
 * the name of the review in the log.
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

/** A failed rule, whose mode is at most that of the findings of the rule. */
function ofError({ rule, subject, setting, error }: RuleError, review: string): Finding {
  const isBudget = error instanceof BudgetExceeded;
  return {
    rule,
    subject,
    setting,
    at: [],
    message: isBudget
      ? `The rule was not evaluated: ${error.message}`
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
 * A rule that could not run because a kind is unknown. Only weakenings are denied for that, and only if the policy sets
 * onUnknown: deny. Rules that do not require the kind have run.
 */
function ofUnknown({ rule, unknown, setting }: Skip, changed: AnyObject): readonly Finding[] {
  // A rule that also checks states, and by itself only warns, is about what is open and not about what weakens it.
  const isOfStates = rule.check !== undefined && modesOf(rule).protected !== "deny";
  if (setting === undefined || rule.compare === undefined || isOfStates) return [];
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
