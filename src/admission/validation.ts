import { keptFieldsOf, rulesInForce } from "../custom-rules/in-force.ts";
import type { BudgetLimits } from "../engine/budget.ts";
import type { Evaluation } from "../engine/evaluate.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Rule } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import { selectionOf } from "../engine/setting.ts";
import { withoutPauses } from "../engine/steps.ts";
import { idOf, identityOf } from "../kube/identity.ts";
import type { Policies } from "../policy/policies.ts";
import { errorFields } from "../text/error-fields.ts";
import { type Change, overlay, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { notJudged } from "./answer.ts";
import { readChange } from "./change.ts";
import { decide, evidenceToConfirm } from "./decide.ts";
import { type Judgement, judgementOf, rulingsFor, type Unconfirmed } from "./judgement.ts";
import { isShownBy, type PendingChange, type PendingChanges } from "./pending-changes.ts";
import type { AdmissionRequest, Decision } from "./review.ts";
import { type Pauses, Reviews } from "./reviews.ts";
import { requesterOf } from "./writer.ts";

export interface ValidationParts {
  /** Returns the current mesh; called for each request. The same applies to `policies`. */
  readonly mesh: () => Mesh;
  readonly policies: () => Policies;
  readonly rules: readonly Rule[];
  readonly now?: () => Date;
  /**
   * Reads the evidence of a denial again from the API server, as changes to apply to the mesh; undefined: it did not answer
   * in time. Without this function, the cached data is used.
   */
  readonly readAgain?: ((evidence: readonly Evidence[]) => Promise<readonly Change[] | undefined>) | undefined;
  /** The admitted changes that the mesh does not show yet. Used only together with `readAgain`, which confirms them. */
  readonly pending?: PendingChanges | undefined;
  /** The budget of CPU time for a review, and how it yields. Default: no limit, without yielding. */
  readonly pacing?: (BudgetLimits & Pauses) | undefined;
  /** Receives the rulings of each evaluation, for policy tests. */
  readonly observe?: ((rulings: readonly Ruling[]) => void) | undefined;
  /** Returns the URL of a rule's page, for messages. */
  readonly pageOf?: ((ruleId: string) => string) | undefined;
  /** Begins a span in the trace of the review; the returned function ends it. Default: no traces. */
  readonly beginSpan?: ((name: "evaluate" | "live read") => () => void) | undefined;
  /** The log for errors that a response cannot contain. */
  readonly log?: { error(fields: object, message: string): void };
}

/**
 * The pauses before the evidence is read again while a pending change is not stored yet, in milliseconds: half a second,
 * because the API server stores a change within milliseconds unless another webhook delays it.
 */
const pausesMs: readonly number[] = [0, 5, 10, 20, 40, 80, 160, 185];
/** So many pending changes are read at most; a change that depends on more is rare. */
const mostReadPending = 16;

interface Review {
  readonly request: AdmissionRequest;
  readonly change: Change;
  /** What was read from the API server, to apply to the mesh. */
  readonly live: readonly Change[];
}

/** A judgement with its rulings and the decision that they make. */
interface Outcome {
  readonly judgement: Judgement;
  readonly rulings: readonly Ruling[];
  readonly decision: Decision;
}

/** The outcomes for one change. They are the same one if no pending change affects it. */
interface Outcomes {
  /** With the pending changes. */
  readonly expected: Outcome;
  /** Without them. */
  readonly stored: Outcome;
  /** The pending changes that `expected` has read. */
  readonly pending: readonly PendingChange[];
}

/**
 * Decides about changes. The view may lag behind the API server, and other changes may be pending. So before a denial that
 * depends on other objects, and if pending changes make a difference, these objects are read again from the API server, and
 * the change is evaluated again.
 */
export class Validation {
  readonly #parts: ValidationParts;
  readonly #reviews: Reviews;

  constructor(parts: ValidationParts) {
    this.#parts = parts;
    this.#reviews = new Reviews(parts);
  }

  validate(request: AdmissionRequest): Decision | Promise<Decision> {
    const { mesh, readAgain, policies, rules } = this.#parts;
    const reading = readChange(request, mesh(), keptFieldsOf(rulesInForce(rules, policies())));
    if ("problem" in reading) return notJudged(reading.problem);
    if ("unjudged" in reading) return unjudged(reading.unjudged, reading.warning);
    this.#pending?.forget(mesh());
    const review = { request, change: reading.change, live: [] };
    return goOn(this.#outcomes(review), (first) => {
      const evidence = readAgain === undefined ? [] : evidenceOf(first);
      const final = evidence.length === 0 ? decisionOf(first) : this.#confirmed(first, evidence, review);
      return goOn(final, (decision) => this.#recorded(decision, review));
    });
  }

  /** Without an API server that confirms them, pending changes are not used. */
  get #pending(): PendingChanges | undefined {
    return this.#parts.readAgain && this.#parts.pending;
  }

  #recorded(decision: Decision, { request, change }: Review): Decision {
    if (decision.allowed && !request.dryRun) this.#pending?.add(change, this.#parts.mesh());
    return decision;
  }

  /** `isRepeated`: the evaluation was repeated because other changes were admitted meanwhile. */
  #outcomes(review: Review, isRepeated = false): Outcomes | Promise<Outcomes> {
    const base = (): Mesh => withLive(this.#parts.mesh(), review.live);
    const pending = this.#pending;
    if (pending === undefined) return goOn(this.#outcome(review, base), alone);
    const own = identityOf(subjectOf(review.change));
    let read: ReadonlySet<PendingChange> = new Set();
    let { mark } = pending;
    const withPending = (): Mesh => {
      const view = pending.over(base(), own);
      ({ read } = view);
      ({ mark } = pending);
      return view.mesh;
    };
    return goOn(this.#outcome(review, withPending), (expected) => {
      // Only once, because in a busy cluster there may always be new changes during a long evaluation.
      if (pending.mark !== mark && !isRepeated) return this.#outcomes(review, true);
      if (read.size === 0) return alone(expected);
      const changes = [...read];
      return goOn(this.#outcome(review, base), (stored) => ({ expected, stored, pending: changes }));
    });
  }

  #outcome({ request, change }: Review, mesh: () => Mesh): Outcome | Promise<Outcome> {
    const { policies, now, beginSpan, rules: builtIn } = this.#parts;
    const end = beginSpan?.("evaluate");
    const inForce = policies();
    const rules = rulesInForce(builtIn, inForce);
    const selection = selectionOf(inForce, requesterOf(request), now?.() ?? new Date());
    const conclude = (evaluation: Evaluation) => {
      end?.();
      return this.#concluded({ request, change, evaluation, selection, policies: inForce });
    };
    return this.#reviews.judge({ rules, change, mesh, selection, user: request.user.name, conclude });
  }

  /**
   * Not a generator function of each review: V8 keeps for each one that is called a map, and with it what its closure refers to,
   * until the next full garbage collection.
   */
  *#concluded(parts: Parameters<typeof judgementOf>[0]): Generator<void, Outcome> {
    const { log, pageOf, observe } = this.#parts;
    const { request, evaluation } = parts;
    for (const { rule, subject, error } of evaluation.errors)
      log?.error({ uid: request.uid, rule: rule.id, subject: idOf(subject), ...errorFields(error) }, "rule failed");
    const outcome = yield* outcomeOf(judgementOf(parts), pageOf);
    observe?.(outcome.rulings);
    return outcome;
  }

  /**
   * Evaluates the change again with the objects that the API server has now. They are never written to the store, where an
   * older watch event would overwrite them. If pending changes still make a difference, it waits until they are stored.
   */
  async #confirmed(first: Outcomes, evidence: readonly Evidence[], review: Review): Promise<Decision> {
    const wanted = new Map(evidence.map((one) => [nameOf(one), one]));
    const isConcurrent = differ(first);
    let outcomes = first;
    for (const pauseMs of pausesMs) {
      if (pauseMs > 0) await this.#pending?.wait(pauseMs);
      const live = await this.#read([...wanted.values()], review);
      if (live === undefined) return this.#undecided(outcomes, "late");
      const mesh = withLive(this.#parts.mesh(), live);
      if (pauseMs > 0 && !outcomes.pending.some((pending) => isShownBy(pending, mesh))) continue;
      outcomes = await this.#outcomes({ ...review, live });
      if (!differ(outcomes)) return withLiveRead(decisionOf(outcomes), isConcurrent);
      for (const one of evidenceOf(outcomes)) wanted.set(nameOf(one), one);
    }
    return this.#undecided(outcomes, "pending");
  }

  /** The decision if something could not be confirmed in time. What is known to be stored decides. */
  #undecided(outcomes: Outcomes, unconfirmed: Unconfirmed): Decision {
    const { expected, stored } = outcomes;
    const concurrent: Pick<Decision, "concurrent"> = differ(outcomes) ? { concurrent: "undecided" } : {};
    if (differ(outcomes) && stored.decision.allowed)
      return { ...this.#lowered(expected.judgement, "pending"), liveRead: "late", ...concurrent };
    return unconfirmed === "late"
      ? { ...this.#lowered(stored.judgement, "late"), liveRead: "late", ...concurrent }
      : { ...stored.decision, liveRead: "confirmed", ...concurrent };
  }

  #lowered(judgement: Judgement, unconfirmed: Unconfirmed): Decision {
    return withoutPauses(outcomeOf({ ...judgement, unconfirmed }, this.#parts.pageOf)).decision;
  }

  async #read(evidence: readonly Evidence[], { request }: Review): Promise<readonly Change[] | undefined> {
    const { readAgain, log, beginSpan } = this.#parts;
    const end = beginSpan?.("live read");
    try {
      return await readAgain?.(evidence);
    } catch (error) {
      log?.error({ uid: request.uid, ...errorFields(error) }, "the evidence of a denial could not be read again");
      return undefined;
    } finally {
      end?.();
    }
  }
}

function* outcomeOf(judgement: Judgement, pageOf: ValidationParts["pageOf"]): Generator<void, Outcome> {
  const rulings = yield* rulingsFor(judgement);
  return { judgement, rulings, decision: yield* decide(judgement, rulings, pageOf) };
}

const alone = (only: Outcome): Outcomes => ({ expected: only, stored: only, pending: [] });

const differ = ({ expected, stored }: Outcomes): boolean => expected.decision.allowed !== stored.decision.allowed;

/** A denial is explained by what is stored. An admitted change is warned of what it will meet. */
const decisionOf = ({ expected, stored }: Outcomes): Decision =>
  stored.decision.allowed ? expected.decision : stored.decision;

/** The objects that have to be read again before there is a decision. */
function evidenceOf(outcomes: Outcomes): readonly Evidence[] {
  const { expected, stored, pending } = outcomes;
  const denied = [stored, expected].filter(({ decision }) => !decision.allowed);
  if (denied.length === 0) return [];
  const [first] = denied;
  const evidence = first === undefined ? [] : evidenceToConfirm(first.judgement, first.rulings);
  return differ(outcomes)
    ? [...evidence, ...pending.slice(0, mostReadPending).map(({ change }) => subjectOf(change))]
    : evidence;
}

const nameOf = (one: Evidence): string =>
  "absent" in one ? `no ${one.absent} ${one.namespace}/${one.name ?? ""}` : identityOf(one);

const withLive = (mesh: Mesh, live: readonly Change[]): Mesh => (live.length === 0 ? mesh : overlay(mesh, live));

const withLiveRead = (decision: Decision, isConcurrent: boolean): Decision => ({
  ...decision,
  liveRead: decision.allowed ? "changed" : "confirmed",
  ...(isConcurrent ? { concurrent: decision.allowed ? "admitted" : "denied" } : {}),
});

function unjudged(reason: string, warning: string | undefined): Decision {
  const outcome = warning === undefined ? "allow" : "warn";
  return {
    allowed: true,
    warnings: warning === undefined ? [] : [warning],
    auditAnnotations: { decision: outcome, unjudged: reason },
    rules: [],
    outcome,
  };
}

/** Continues synchronously if the value is available, because most reviews do not yield. */
function goOn<T, U>(value: T | Promise<T>, use: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then((known) => use(known)) : use(value);
}
