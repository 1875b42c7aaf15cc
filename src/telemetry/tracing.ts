import { context, propagation, type Span, SpanKind, trace } from "@opentelemetry/api";

/** The attributes of a span: identities and decisions, and nothing of the contents of objects. */
export type Attributes = Readonly<Record<string, string | boolean | number>>;

/**
 * Spans through the API of OpenTelemetry. Without an SDK, which whoever runs Meshward loads (`node --import`), nothing is
 * recorded. The API finds the SDK through a global, so that one in another bundle is found, too.
 */
const tracer = trace.getTracer("meshward");

/** One step of a review, which ends once. */
export interface Step {
  /** Whether anybody records it. */
  readonly isRecorded: boolean;
  /** Runs a task with this step as the parent of the steps that it begins, also after it awaits. */
  run<T>(task: () => T): T;
  end(attributes?: Attributes): void;
}

const unrecorded: Step = { isRecorded: false, run: (task) => task(), end: () => undefined };

/**
 * Begins the span of a request. `headers` may contain `traceparent` (W3C), which the API server sends with its feature
 * APIServerTracing.
 */
export function beginRequest(name: string, headers: Readonly<Record<string, unknown>>): Step {
  const parent = propagation.extract(context.active(), headers);
  return stepOf(tracer.startSpan(name, { kind: SpanKind.SERVER }, parent), parent);
}

/** Begins a span in the current one. */
export const begin = (name: string): Step => stepOf(tracer.startSpan(name), context.active());

function stepOf(span: Span, parent: ReturnType<typeof context.active>): Step {
  if (!span.isRecording()) return unrecorded;
  return {
    isRecorded: true,
    run: (task) => context.with(trace.setSpan(parent, span), task),
    end(attributes = {}) {
      span.setAttributes(attributes);
      span.end();
    },
  };
}
