import { rulesInForce } from "../custom-rules/in-force.ts";
import { type AuditPass, type AuditResults, StandingAudit } from "../engine/audit.ts";
import { Budget } from "../engine/budget.ts";
import { type Finding, withoutGuesses } from "../engine/finding.ts";
import type { Rule } from "../engine/rule.ts";
import { type Ruling, ruled } from "../engine/ruling.ts";
import { selectionOf } from "../engine/setting.ts";
import { allKinds } from "../kube/kinds.ts";
import { mentionsAmbient } from "../mesh/membership/captured.ts";
import type { Policies } from "../policy/policies.ts";
import { backoffMs, type Pace, pause, systemPace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import { FrozenMesh } from "../view/frozen.ts";
import type { MeshStore } from "../view/store.ts";

/**
 * Why an audit ran.
 * - `start`: this replica has begun to audit.
 * - `change`: objects have changed; only what they touch was evaluated.
 * - `policies`, `settings`, `knowledge`: the policies, the mesh settings, or how far a kind is known have changed.
 * - `interval`: the time of `--audit-interval` is over, or an exception has ended.
 */
export type AuditTrigger = "start" | "change" | "policies" | "settings" | "knowledge" | "interval";

/** What an audit found. */
export interface AuditOutcome extends Pick<AuditResults, "skipped" | "errors"> {
  readonly trigger: AuditTrigger;
  /** Of all findings, also of those that exceptions accept. */
  readonly rulings: readonly Ruling[];
  /** Findings that rest on what is not known. They are not published; the log names their rules. */
  readonly guesses: readonly Finding[];
  /** The mesh as the audit saw it. It stays like this until `publish` is done. */
  readonly mesh: FrozenMesh["mesh"];
  readonly policies: Policies;
  /** The number of evaluations of a rule for one object. */
  readonly evaluations: number;
  /** When the audit ended, in milliseconds since 1970. */
  readonly atMs: number;
  /** From its beginning to its end, with all pauses. */
  readonly durationMs: number;
}

export interface BackgroundAuditOptions {
  readonly mesh: () => MeshStore;
  /** Whether the mesh is complete. */
  readonly isReady: () => boolean;
  readonly policies: () => Policies;
  /** The built-in rules. */
  readonly rules: readonly Rule[];
  /** How often everything is audited again, in milliseconds. */
  readonly intervalMs: number;
  /** Called after each audit; the next one waits for it. */
  readonly publish: (outcome: AuditOutcome, turn: Turn) => Promise<void>;
  readonly log: Log;
  /** Yields to other tasks of this thread. */
  readonly pause: () => Promise<void>;
  readonly pace?: Pace;
  /** Wall clock in milliseconds since 1970. */
  readonly wallMs?: () => number;
}

/**
 * Lets reviews run. Whoever handles many findings calls it after some of them. Rejects when the audit is over, because
 * this replica no longer leads or stops.
 */
export type Turn = () => Promise<void>;

/** The time after which an audit lets reviews run, in milliseconds: short compared with what a client waits. */
const sliceMs = 1;
/**
 * One rule for one object may take this long, in milliseconds: many times the budget of a review, which would have denied
 * such an object.
 */
const evaluationMs = 5_000;
/** How often the loop looks for something to do, in milliseconds. Changes within this time are audited together. */
export const lookMs = 1_000;
/** Changes are audited when no more arrive, but after this time at the latest. */
const longestWaitMs = 10_000;

/** Audits the mesh until the signal is aborted. Never rejects: what fails is logged and tried again. */
export async function auditInBackground(options: BackgroundAuditOptions, signal: AbortSignal): Promise<void> {
  const { pace = systemPace, log } = options;
  const audits = new Audits({ wallMs: () => Date.now(), ...options, pace }, signal);
  let failures = 0;
  while (!signal.aborted) {
    try {
      await audits.look();
      failures = 0;
    } catch (error) {
      audits.forget();
      if (!(error instanceof Interrupted))
        log.error(described(error), "the background audit failed; it starts again from the beginning");
      failures++;
    }
    await pause(pace, failures === 0 ? lookMs : backoffMs(failures, pace.random()), signal);
  }
  audits.forget();
}

/** What an audit was made with. If one of them is different, everything is audited again. */
interface Base {
  readonly store: MeshStore;
  readonly policies: Policies;
  readonly knowledge: string;
  /** When an exception ends. */
  readonly untilMs: number;
}

class Interrupted extends Error {}

class Audits {
  readonly #options: Required<BackgroundAuditOptions>;
  readonly #signal: AbortSignal;
  /** The results, for the rules that were in force. */
  #standing: StandingAudit;
  readonly #budget: Budget;
  /** The mesh that the results are about; undefined: there are no results. */
  #audited: FrozenMesh | undefined;
  #base: Base | undefined;
  #completeAtMs = 0;
  /** When a change was first seen that was not audited yet, and how many there were at the last look. */
  #waiting: { readonly sinceMs: number; readonly changes: number } | undefined;

  constructor(options: Required<BackgroundAuditOptions>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#standing = new StandingAudit(options.rules);
    // Not the CPU time of the thread, which some kernels count in steps of four milliseconds.
    this.#budget = new Budget({ limitMs: evaluationMs, sliceMs, cpuMs: () => performance.now() });
  }

  /** Audits what is due. */
  async look(): Promise<void> {
    if (!this.#options.isReady()) return;
    const trigger = this.#due();
    if (trigger === undefined) return;
    this.#waiting = undefined;
    await this.#audit(trigger);
  }

  /** The next audit starts from the beginning. */
  forget(): void {
    this.#audited?.release();
    this.#audited = undefined;
    this.#base = undefined;
  }

  #due(): AuditTrigger | undefined {
    const { pace, mesh, policies, intervalMs, wallMs } = this.#options;
    const base = this.#base;
    const audited = this.#audited;
    if (base === undefined || audited === undefined) return "start";
    if (mesh() !== base.store) return "settings";
    if (policies() !== base.policies) return "policies";
    if (knowledgeIn(base.store) !== base.knowledge) return "knowledge";
    if (pace.now() - this.#completeAtMs >= intervalMs || wallMs() >= base.untilMs) return "interval";
    return this.#isQuiet(audited) ? "change" : undefined;
  }

  /** Whether there are changes, and no more of them arrive at present. */
  #isQuiet({ changeCount }: FrozenMesh): boolean {
    if (changeCount === 0) return false;
    const nowMs = this.#options.pace.now();
    const before = this.#waiting;
    this.#waiting = { sinceMs: before?.sinceMs ?? nowMs, changes: changeCount };
    return before !== undefined && (before.changes === changeCount || nowMs - before.sinceMs >= longestWaitMs);
  }

  async #audit(trigger: AuditTrigger): Promise<void> {
    const { pace, wallMs, policies: inForce, mesh } = this.#options;
    const startMs = pace.now();
    const now = new Date(wallMs());
    const policies = inForce();
    const store = mesh();
    const base = { store, policies, knowledge: knowledgeIn(store), untilMs: endOfNextException(policies, now) };
    const selection = selectionOf(policies, undefined, now);
    const frozen = new FrozenMesh(store);
    const standing = this.#standingFor(policies);
    let evaluations: number;
    try {
      evaluations = await this.#run(
        this.#steps(standing, trigger, { mesh: frozen.mesh, selection, budget: this.#budget }),
      );
    } catch (error) {
      frozen.release();
      throw error;
    }
    this.#audited?.release();
    this.#audited = frozen;
    this.#base = base;
    this.#standing = standing;
    if (trigger !== "change") this.#completeAtMs = startMs;
    else if (evaluations === 0) return;
    await this.#publish({ trigger, evaluations, policies, selection, startMs });
  }

  /** Other policies may define other rules; a change of policies audits everything. */
  #standingFor(policies: Policies): StandingAudit {
    const rules = rulesInForce(this.#options.rules, policies);
    return rules === this.#standing.rules ? this.#standing : new StandingAudit(rules);
  }

  *#steps(standing: StandingAudit, trigger: AuditTrigger, pass: AuditPass): Generator<void, number> {
    const before = this.#audited;
    if (trigger !== "change" || before === undefined) return yield* standing.everything(pass);
    const changes = yield* before.changesTo(pass.mesh);
    return yield* standing.changed(changes, before.mesh, pass);
  }

  async #publish(about: {
    readonly trigger: AuditTrigger;
    readonly evaluations: number;
    readonly policies: Policies;
    readonly selection: ReturnType<typeof selectionOf>;
    readonly startMs: number;
  }): Promise<void> {
    const { pace, wallMs, publish } = this.#options;
    const { trigger, evaluations, policies, selection, startMs } = about;
    const { mesh } = this.#audited as FrozenMesh;
    const { findings, skipped, errors } = await this.#run(this.#standing.results());
    const { sure, guesses } = withoutGuesses(findings, () => mentionsAmbient(mesh));
    const rulings = await this.#run(ruled(sure, { after: mesh, exceptionFor: selection.exceptionFor }));
    const durationMs = pace.now() - startMs;
    const found = { rulings, guesses, skipped, errors };
    const outcome = { trigger, evaluations, policies, mesh, ...found, atMs: wallMs(), durationMs };
    await publish(outcome, () => this.#turn());
  }

  async #run<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      this.#budget.resume();
      const step = steps.next();
      this.#budget.suspend();
      if (step.done) return step.value;
      await this.#turn();
    }
  }

  async #turn(): Promise<void> {
    if (this.#signal.aborted) throw new Interrupted();
    await this.#options.pause();
    if (this.#signal.aborted) throw new Interrupted();
  }
}

const knowledgeIn = (mesh: MeshStore): string => allKinds.map((kind) => mesh.knowledge(kind)).join();

/** In milliseconds since 1970. */
function endOfNextException({ exceptions }: Policies, now: Date): number {
  const ends = exceptions.map(({ expiresAt }) => Date.parse(expiresAt)).filter((endMs) => endMs > now.getTime());
  return ends.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

const described = (error: unknown): { error: string; stack?: string | undefined } =>
  error instanceof Error ? { error: error.message, stack: error.stack } : { error: String(error) };
