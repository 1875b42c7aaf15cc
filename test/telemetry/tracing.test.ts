import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Context, context, propagation, ROOT_CONTEXT, type Span, trace, type Tracer } from "@opentelemetry/api";
import { begin, beginRequest } from "../../src/telemetry/tracing.ts";
import { deny, fakeGate, reviewBody, startShell } from "../contract/api-server.ts";

interface Seen {
  readonly name: string;
  readonly parent: string | undefined;
  readonly remote: unknown;
  attributes: Record<string, unknown>;
  ends: number;
}

test("without an SDK nothing is recorded", () => {
  const span = beginRequest("review", {});
  assert.equal(span.isRecorded, false);
  assert.equal(begin("evaluate"), span);
  assert.equal(
    span.run(() => 5),
    5,
  );
  span.end();
});

test("with an SDK there is one span for each step of a review, below that of the request", async (test) => {
  const seen = register();
  const secret = "canary-91ab";
  const gate = fakeGate({
    async validate() {
      const first = begin("evaluate");
      await turn();
      first.end();
      begin("live read").end();
      return { ...deny(secret), rules: ["rule-a"] };
    },
  });
  const shell = await startShell(test, { gate });
  const object = { ...reviewBody(), secret };
  await shell.post("/validate", JSON.stringify(object), { headers: { traceparent: "00-trace-parent-01" } });
  assert.deepEqual(
    seen.map(({ name, parent, ends }) => [name, parent, ends]),
    [
      ["review /validate", undefined, 1],
      ["evaluate", "review /validate", 1],
      ["live read", "review /validate", 1],
      ["answer", "review /validate", 1],
    ],
  );
  assert.equal(seen[0]?.remote, "00-trace-parent-01");
  assert.equal(seen[0]?.attributes["meshward.decision"], "deny");
  assert.equal(seen[0]?.attributes["meshward.rules"], "rule-a");
  assert.ok(!JSON.stringify(seen.map(({ attributes }) => attributes)).includes(secret));
  assert.ok(!JSON.stringify(seen.map(({ attributes }) => attributes)).includes("jane"), "the requester");
});

/** The parts of an SDK that matter here. */
function register(): readonly Seen[] {
  const seen: Seen[] = [];
  const names = new Map<Span, string>();
  const remoteKey = Symbol("remote");
  const storage = new AsyncLocalStorage<Context>();
  const tracer = {
    startSpan(name: string, _options: object, from: Context = context.active()) {
      const parent = trace.getSpan(from);
      const one: Seen = {
        name,
        parent: parent && names.get(parent),
        remote: from.getValue(remoteKey),
        attributes: {},
        ends: 0,
      };
      seen.push(one);
      const span = {
        isRecording: () => true,
        setAttributes: (attributes: object) => void Object.assign(one.attributes, attributes),
        end: () => void one.ends++,
      } as unknown as Span;
      names.set(span, name);
      return span;
    },
  } as unknown as Tracer;
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  context.setGlobalContextManager({
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, task, self, ...args) => storage.run(active, () => task.call(self as never, ...args)),
    bind: (_active, target) => target,
    enable() {
      return this;
    },
    disable() {
      return this;
    },
  });
  propagation.setGlobalPropagator({
    inject: () => undefined,
    extract: (from, carrier) => from.setValue(remoteKey, (carrier as Record<string, unknown>)["traceparent"]),
    fields: () => ["traceparent"],
  });
  return seen;
}
