import { Budget, type BudgetLimits } from "../engine/budget.ts";
import { type Evaluation, judge, judging } from "../engine/evaluate.ts";
import type { Rule } from "../engine/rule.ts";
import type { Selection } from "../engine/setting.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

export interface Pauses {
  /** Yields to other tasks of this thread. */
  pause(): Promise<void>;
  /** Freezes the mesh until the returned function is called. */
  hold?(): () => void;
}

export interface ReviewParts {
  readonly rules: readonly Rule[];
  readonly pacing?: (BudgetLimits & Pauses) | undefined;
}

/** The factor for the budget of mesh config changes, which only mesh operators make and for which every object is evaluated. */
const meshConfigFactor = 10;

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
  readonly #rules: readonly Rule[];
  readonly #pacing: ReviewParts["pacing"];
  #underWay: Promise<unknown> | undefined;

  constructor({ rules, pacing }: ReviewParts) {
    this.#rules = rules;
    this.#pacing = pacing;
  }

  judge(change: Change, mesh: () => Mesh, selection: Selection): Evaluation | Promise<Evaluation> {
    const pacing = this.#pacing;
    if (pacing === undefined) return judge(this.#rules, mesh(), [change], { selection, mostAlone });
    const factor = subjectOf(change).kind === "MeshConfig" ? meshConfigFactor : 1;
    const start = () => {
      const budget = new Budget({ ...pacing, limitMs: pacing.limitMs * factor });
      return { budget, steps: judging(this.#rules, mesh(), [change], { selection, budget, mostAlone }) };
    };
    const begun = start();
    const step = begun.steps.next();
    if (step.done) return step.value;
    // If another long review is running, this one starts again afterwards, because the mesh may have changed.
    return this.#underWay === undefined ? this.#take(begun, pacing) : this.#inTurn(start, pacing);
  }

  async #inTurn(start: () => Begun, pacing: Pauses): Promise<Evaluation> {
    while (this.#underWay !== undefined) await this.#underWay;
    return this.#take(start(), pacing);
  }

  #take(begun: Begun, pacing: Pauses): Promise<Evaluation> {
    const evaluation = this.#finish(begun, pacing);
    this.#underWay = evaluation.catch(() => undefined);
    return evaluation;
  }

  async #finish({ budget, steps }: Begun, { pause, hold }: Pauses): Promise<Evaluation> {
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
      this.#underWay = undefined;
    }
  }
}

interface Begun {
  readonly budget: Budget;
  readonly steps: Generator<void, Evaluation>;
}
