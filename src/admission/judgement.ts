import type { Evaluation } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { Mode } from "../engine/rule.ts";
import { findingsOf, ruled, type Ruling, type RulingContext, rulingsOf } from "../engine/ruling.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { identityOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { isRunForGateway } from "../mesh/membership/gateways.ts";
import type { Policies } from "../policy/policies.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import { type BreakGlass, breakGlassOf } from "./break-glass.ts";
import { incompleteKinds } from "./incomplete-data.ts";
import type { AdmissionRequest } from "./review.ts";
import { bySeverity } from "./severity.ts";
import { requesterOf, type Writer, writerOf } from "./writer.ts";

/**
 * What could not be confirmed in time, so that it denies nothing.
 * - `late`: the API server did not answer, so the evidence of relational findings is not confirmed.
 * - `pending`: the findings depend on another change that was admitted and is not stored.
 */
export type Unconfirmed = "late" | "pending";

/** The input of a decision. To confirm a denial, the same change is evaluated again with newer data. */
export interface Judgement {
  readonly request: AdmissionRequest;
  readonly change: Change;
  readonly evaluation: Evaluation;
  readonly selection: PolicySelection;
  readonly policies: Policies;
  readonly writer: Writer;
  /** The object that the request changes: the new object, or the old one if it is deleted. */
  readonly changed: AnyObject;
  readonly breakGlass: BreakGlass | undefined;
  readonly unconfirmed?: Unconfirmed;
}

export function judgementOf(parts: Omit<Judgement, "writer" | "changed" | "breakGlass">): Judgement {
  const { request, policies, evaluation, change } = parts;
  const requester = requesterOf(request);
  return {
    ...parts,
    writer: writerOf(requester, policies, evaluation.before.settings),
    changed: subjectOf(change),
    breakGlass: breakGlassOf(change, evaluation.before, requester, policies),
  };
}

/** The rulings for this request, most severe first, see {@link bySeverity}. Yields in between. */
export function* rulingsFor(judgement: Judgement): Generator<void, readonly Ruling[]> {
  const { evaluation, changed, request } = judgement;
  const findings = findingsOf(evaluation, changed, `uid ${request.uid}`);
  return yield* bySeverity(yield* ruled(findings, contextOf(judgement)));
}

function contextOf(judgement: Judgement): RulingContext {
  const { evaluation, changed, request, writer, policies, selection, breakGlass, unconfirmed } = judgement;
  return {
    before: evaluation.before,
    after: evaluation.after,
    exceptionFor: selection.exceptionFor,
    changed: new Set([identityOf(changed)]),
    request: {
      writer,
      isDeletion: request.operation === "DELETE",
      isDryRun: request.dryRun,
      isUnconfirmed: unconfirmed === "late",
      isPending: unconfirmed === "pending",
      reconcilers: policies.reconcilerMode,
      breakGlass: breakGlass !== undefined && "reason" in breakGlass ? breakGlass.reason : undefined,
      isGatewayProxy: (subject) => isGatewayProxy(subject, judgement),
      incompleteKinds: (finding) => incompleteKinds(finding, judgement),
    },
  };
}

/** A rule that would deny the change if its mode were deny, and its mode. */
export interface WouldDeny {
  readonly rule: string;
  readonly mode: Mode;
}

/** Each rule once, whatever its mode is, so that a team sees what it would mean to turn the rule to deny. Yields in between. */
export function* wouldDeny(judgement: Judgement, rulings: readonly Ruling[]): Generator<void, readonly WouldDeny[]> {
  if (rulings.length === 0) return [];
  const context = contextOf(judgement);
  const found = new Map<string, WouldDeny>();
  for (const [i, { finding, mode }] of rulings.entries()) {
    if ((i + 1) % lookedAtAtOnce === 0) yield;
    const { rule, setting, undecided } = finding;
    if (mode === "off" || undecided !== undefined || found.has(rule.id)) continue;
    const isDenied = mode === "deny" || (setting.mode !== "deny" && isDeniedInModeDeny(finding, context));
    if (isDenied) found.set(rule.id, { rule: rule.id, mode: setting.mode });
  }
  return [...found.values()];
}
/** A ruling may have to be computed again. */
const lookedAtAtOnce = 500;

const isDeniedInModeDeny = (finding: Finding, context: RulingContext): boolean =>
  rulingsOf([{ ...finding, setting: { ...finding.setting, mode: "deny" } }], context)[0]?.mode === "deny";

/**
 * Whether a workload is a proxy that istiod runs for a Gateway, which rules do not check. Anyone may write its labels and
 * owner, so the Gateway must exist, and the changed workload must have been such a proxy before the change. Only istiod
 * creates them.
 */
function isGatewayProxy(subject: AnyObject, { writer, changed, change: { old }, evaluation }: Judgement): boolean {
  if (subject.kind !== "Workload") return false;
  if (writer === "control plane" && changed.kind === "Workload") return true;
  if (!isRunForGateway(subject, evaluation.after)) return false;
  if (identityOf(subject) !== identityOf(changed)) return true;
  return old?.kind === "Workload" && isRunForGateway(old, evaluation.before);
}
