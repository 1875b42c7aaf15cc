import { Budget, type BudgetLimits } from "../engine/budget.ts";
import { type Evaluation, judging } from "../engine/evaluate.ts";
import type { Rule } from "../engine/rule.ts";
import type { Selection } from "../engine/setting.ts";
import { withoutPauses } from "../engine/steps.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import { decidesSettings, type MeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { Turns } from "./turns.ts";

export interface Pauses {
  /** Yields to other tasks of this thread. */
  pause(): Promise<void>;
  /** Freezes the mesh until the returned function is called. */
  hold?(): () => void;
}

export interface ReviewParts {
  readonly pacing?: (BudgetLimits & Pauses) | undefined;
}

/** The factor for the budget of changes of mesh settings, which only mesh operators make and for which every object is evaluated. */
const settingsFactor = 10;
/**
 * The same for other objects of the root namespace, which count in the whole mesh. Who may write there can change everything
 * already, and a review that yields delays others no more if it is longer. A confirmed denial is evaluated twice, and has to end
 * within the timeout of the webhooks.
 */
const rootFactor = 4;

/**
 * The number of findings of one rule for one object that are reported one by one. A message shows 20 of them, and an object
 * that is made for it has tens of thousands.
 */
const mostAlone = 100;

/**
 * Evaluates changes within a budget of CPU time. Most are evaluated without yielding. A longer review yields after each
 * slice, and the mesh is frozen meanwhile. Only one such review runs at a time, so that others are delayed by one slice.
 */
export class Reviews {
  readonly #pacing: ReviewParts["pacing"];
  readonly #turns = new Turns();

  constructor({ pacing }: ReviewParts) {
    this.#pacing = pacing;
  }

  /** `user` sends the change. Rejects with TooManyWaiting. */
  judge<T>(asked: Asked<T>): T | Promise<T> {
    const { change, mesh, user } = asked;
    const pacing = this.#pacing;
    if (pacing === undefined) return withoutPauses(judged(asked, mesh(), undefined));
    const start = () => {
      const view = mesh();
      const budget = new Budget({ ...pacing, limitMs: pacing.limitMs * factorOf(change, view.settings) });
      return { budget, steps: judged(asked, view, budget) };
    };
    // Otherwise the beginnings of many reviews of one user, of which each can be long, would follow each other.
    if (this.#turns.hasWaiting(user)) return this.#inTurn(start, user, pacing);
    const begun = start();
    const step = begun.steps.next();
    return step.done ? step.value : this.#inTurn(start, user, pacing, begun);
  }

  async #inTurn<T>(start: () => Begun<T>, user: string, pacing: Pauses, begun?: Begun<T>): Promise<T> {
    const wait = this.#turns.take(user);
    if (wait !== undefined) await wait;
    try {
      // After a wait, it starts again, because the mesh may have changed.
      return await finish(wait === undefined && begun !== undefined ? begun : start(), pacing);
    } finally {
      this.#turns.done();
    }
  }
}

function factorOf(change: Change, { rootNamespace }: MeshSettings): number {
  if ([change.old, change.object].some((one) => one && decidesSettings(one))) return settingsFactor;
  const { kind, metadata } = subjectOf(change);
  const namespace = kind === "Namespace" ? metadata.name : metadata.namespace;
  return namespace === rootNamespace ? rootFactor : 1;
}

interface Asked<T> {
  readonly rules: readonly Rule[];
  readonly change: Change;
  readonly mesh: () => Mesh;
  readonly selection: Selection;
  readonly user: string;
  /** What follows from the evaluation. It takes no part in the budget, but it yields too, because there can be many findings. */
  conclude(evaluation: Evaluation): Generator<void, T>;
}
interface Begun<T> {
  readonly budget: Budget;
  readonly steps: Generator<void, T>;
}

function* judged<T>(
  { rules, change, selection, conclude }: Asked<T>,
  view: Mesh,
  budget: Budget | undefined,
): Generator<void, T> {
  const options = { selection, mostAlone, ...(budget === undefined ? {} : { budget }) };
  return yield* conclude(yield* judging(rules, view, [change], options));
}

async function finish<T>({ budget, steps }: Begun<T>, { pause, hold }: Pauses): Promise<T> {
  const release = hold?.();
  try {
    for (;;) {
      budget.suspend();
      await pause();
      budget.resume();
      const step = steps.next();
      if (step.done) return step.value;
    }
  } finally {
    release?.();
  }
}
