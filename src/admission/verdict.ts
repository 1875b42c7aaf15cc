import type { RuleError, Skip } from "../engine/evaluate.ts";
import type { Witness } from "../engine/evidence.ts";
import type { Finding, FindingClass } from "../engine/finding.ts";
import type { Mode } from "../engine/rule.ts";
import { uncovered, weigh, type Weighed } from "../engine/weigh.ts";
import { identityOf, idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Notice } from "./denial-message.ts";
import { doubtedKinds } from "./doubt.ts";
import type { Judgement } from "./judgement.ts";
import { gatewayNameLabel, managedGateway } from "../mesh/objects/labels.ts";

/** One thing that was found, or that could not be looked for, with what it does to the change. */
export interface Verdict extends Notice {
  readonly mode: Mode;
  /** What the policy makes of it, before the writer and a dry run are looked at. */
  readonly ruled: Mode;
  readonly class: FindingClass;
  readonly source: "finding" | "error" | "unknown";
  readonly restsOn: readonly Witness[];
  /** Kinds of which the view does not know enough to deny for it. */
  readonly doubted: readonly Kind[];
}

/** The most that a finding may do to a writer's change, by its class. istiod reads no warnings. */
const most: Readonly<Record<FindingClass, Readonly<Record<Judgement["writer"], Mode>>>> = {
  intrinsic: { person: "deny", reconciler: "deny", "control plane": "deny", collector: "deny" },
  weakening: { person: "deny", reconciler: "deny", "control plane": "deny", collector: "audit" },
  relational: { person: "deny", reconciler: "warn", "control plane": "audit", collector: "audit" },
};

/** The findings with their modes under the policies, those included that an exception accepts. */
export function weighedFindings(judgement: Judgement): readonly Weighed[] {
  const { evaluation, selection } = judgement;
  const changed = new Set([identityOf(judgement.changed)]);
  const findings = evaluation.findings.filter((finding) => !isOfProxy(finding, judgement));
  return uncovered(findings.map((finding) => weigh(finding, selection, evaluation, changed)));
}

/** Most severe first, in an order that depends on nothing but what they say. */
export function verdictsOf(weighed: readonly Weighed[], judgement: Judgement): readonly Verdict[] {
  const { errors, skipped } = judgement.evaluation;
  return [
    ...weighed.filter(({ mode }) => mode !== "off").map((one) => ofFinding(one, judgement)),
    ...errors.map((error) => ofError(error, judgement)),
    ...skipped.flatMap((skip) => ofUnknown(skip, judgement)),
  ].sort(bySeverity);
}

/**
 * Proxies that istiod makes for a Gateway are no workloads that somebody protects. A label counts where it stood before
 * the change: one that comes with the change takes nothing out.
 */
function isOfProxy({ subject }: Finding, { writer, changed, change: { old } }: Judgement): boolean {
  if (subject.kind !== "Workload") return false;
  if (writer === "control plane" && changed.kind === "Workload") return true;
  const isChanged = identityOf(subject) === identityOf(changed);
  return isProxy(subject) && (!isChanged || old === undefined || isProxy(old));
}

const proxyLabels = [managedGateway, gatewayNameLabel];
const isProxy = ({ metadata }: AnyObject): boolean =>
  proxyLabels.some((label) => Object.hasOwn(metadata.labels, label));

function ofFinding({ finding, mode }: Weighed, judgement: Judgement): Verdict {
  const { rule, subject, at, message } = finding;
  const { before, after } = judgement.evaluation;
  const { onUnknown } = judgement.selection.setting(rule, subject, before, after);
  const doubted = mode === "deny" && onUnknown !== "deny" ? doubtedKinds(finding, judgement) : [];
  const ruled = doubted.length === 0 ? mode : milder(mode, onUnknown);
  return {
    rule: rule.id,
    subject,
    at,
    message,
    fix: finding.fix ?? rule.fix,
    ruled,
    mode: limited(ruled, finding.class, judgement),
    class: finding.class,
    source: "finding",
    restsOn: finding.restsOn ?? [],
    doubted,
  };
}

/** An error inside a rule is an error of that rule, and weighs at most what its findings would. */
function ofError({ rule, subject }: RuleError, judgement: Judgement): Verdict {
  const { selection, evaluation, request } = judgement;
  const { mode, onError } = selection.setting(rule, subject, evaluation.before, evaluation.after);
  const ruled = milder(mode, onError);
  return {
    rule: rule.id,
    subject,
    at: [],
    message: "The rule failed with an error, so nobody knows whether this is right",
    fix: `Report it, with what Meshward's log says at uid ${request.uid}. Until it is mended, onError: warn for this rule in a policy lets changes through`,
    ruled,
    mode: limited(ruled, "intrinsic", judgement),
    class: "intrinsic",
    source: "error",
    restsOn: [],
    doubted: [],
  };
}

/**
 * Only a weakening may be denied because a kind is unknown, and only where the policy says so. What the request itself
 * shows is not lost: a rule that works without the kind has run.
 */
function ofUnknown({ rule, unknown }: Skip, judgement: Judgement): readonly Verdict[] {
  const { selection, evaluation, changed } = judgement;
  const { mode, onUnknown } = selection.setting(rule, changed, evaluation.before, evaluation.after);
  if (rule.compare === undefined || mode !== "deny" || onUnknown !== "deny") return [];
  const verdict: Verdict = {
    rule: rule.id,
    subject: changed,
    at: [],
    message: `Nobody can tell whether this weakens anything: Meshward does not know any ${unknown} yet`,
    fix: "Try again once Meshward has read them; onUnknown: warn for this rule in a policy lets changes through",
    ruled: "deny",
    mode: limited("deny", "weakening", judgement),
    class: "weakening",
    source: "unknown",
    restsOn: [],
    doubted: [],
  };
  return [verdict];
}

/** What is left of a policy's mode, given who writes and whether it is in earnest. */
function limited(ruled: Mode, findingClass: FindingClass, judgement: Judgement): Mode {
  const { writer, request, policies } = judgement;
  // Whatever Kubernetes clears away was condemned before.
  if (writer === "collector" && request.operation === "DELETE") return milder(ruled, "audit");
  const cap = most[findingClass][writer];
  if (findingClass !== "relational") return milder(ruled, cap);
  // Flux dry-runs a whole set before it applies any of it.
  if (request.dryRun || judgement.isUnconfirmed) return milder(ruled, milder("warn", cap));
  return writer === "reconciler" && policies.reconcilerMode === "deny" ? ruled : milder(ruled, cap);
}

const severity: readonly Mode[] = ["deny", "warn", "audit", "off"];
const milder = (a: Mode, b: Mode): Mode => (severity.indexOf(a) > severity.indexOf(b) ? a : b);

function bySeverity(a: Verdict, b: Verdict): number {
  return (
    severity.indexOf(a.mode) - severity.indexOf(b.mode) ||
    compare(a.rule, b.rule) ||
    compare(idOf(a.subject), idOf(b.subject)) ||
    compare(sortable(a), sortable(b)) ||
    compare(a.message, b.message)
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** `[10]` comes after `[9]`. */
const sortable = ({ at }: Notice): string =>
  at.map((step) => (typeof step === "number" ? String(step).padStart(8, "0") : step)).join(".");
