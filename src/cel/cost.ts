/**
 * The cost of an evaluation: one for each step of a macro, and more for functions over long texts and lists, each about a
 * microsecond at most. Kubernetes bounds the cost of an expression when it is written, by the sizes that the schema of a kind
 * allows; Istio's schemas allow any size, so the real cost is counted here.
 */
export class CostExceeded extends Error {
  constructor(limit: number) {
    super(`it costs more than ${limit} steps: it visits too many items, or its texts are too long`);
  }
}

/**
 * The steps that one evaluation may take: about as long as a review may work without a pause. An object that etcd stores rarely
 * has as many values.
 */
export const mostSteps = 20_000;

interface Meter {
  readonly limit: number;
  left: number;
}

// An evaluation is synchronous, and functions of the CEL library receive nothing but their arguments.
let meter: Meter | undefined;

/** Counts cost. Throws a CostExceeded when the limit is reached, and again for whatever is spent then. */
export function spend(cost: number): void {
  if (meter === undefined) return;
  meter.left -= cost;
  if (meter.left < 0) throw new CostExceeded(meter.limit);
}

export interface Metered<T> {
  readonly value: T;
  readonly spent: number;
}

/**
 * Runs a task with a limit of its cost. Throws a CostExceeded even if the task caught it or ended in another error:
 * operators of CEL ignore errors that do not matter to their result, and this one always does.
 */
export function metered<T>(limit: number, task: () => T): Metered<T> {
  const outer = meter;
  const own: Meter = { limit, left: limit };
  meter = own;
  try {
    const value = task();
    if (own.left >= 0) return { value, spent: limit - own.left };
  } catch (error) {
    if (own.left >= 0) throw error;
  } finally {
    meter = outer;
  }
  throw new CostExceeded(limit);
}
