/** Takes all steps of work that may pause between them, without a pause. */
export function withoutPauses<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
