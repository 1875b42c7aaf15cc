import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { selfTest } from "../../src/admission/self-test.ts";
import { SelfTest } from "../../src/controllers/self-test.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { FakeClock, start } from "./authority-world.ts";
import { forbidden, MemoryCluster, type Raw, refusal, type SeenRequest } from "./memory-cluster.ts";

const denied = () =>
  refusal(
    403,
    "Forbidden",
    `admission webhook "self-test.validate.meshward.io" denied the request: ${selfTest.answer}`,
  );
const unreachable = () =>
  refusal(
    500,
    "InternalError",
    'failed calling webhook "self-test.validate.meshward.io": x509: certificate signed by unknown authority',
  );

function tester(context: TestContext, answer: (request: SeenRequest) => void) {
  const cluster = new MemoryCluster();
  cluster.hook = (request) => answer(request);
  const clock = new FakeClock(start);
  const lines: Raw[] = [];
  const log = createLog("debug", (line) => void lines.push(JSON.parse(line) as Raw));
  const test = new SelfTest({ connection: cluster.connect(), namespace: "meshward-system", clock, log });
  context.after(() => test.close());
  const pass = async (ms: number) => {
    clock.time += ms;
    await test.run();
  };
  return { cluster, test, lines, pass };
}

test("a denial by Meshward is what has to happen; the request is a dry run and stores nothing", async (context) => {
  const { cluster, test, lines } = tester(context, () => {
    throw denied();
  });
  await test.run();
  assert.equal(test.last?.result, "passed");
  assert.equal(test.passedAtMs, start);
  const [{ verb, plural, namespace, query, body } = {} as SeenRequest] = cluster.requests;
  assert.deepEqual([verb, plural, namespace, query.get("dryRun")], ["create", "leases", "meshward-system", "All"]);
  assert.equal(body["metadata"].name, "meshward-self-test");
  assert.deepEqual(
    lines.map(({ level, result }) => [level, result]),
    [["info", "passed"]],
  ); // prettier-ignore
});

test("a request that is admitted means that Meshward protects nothing", async (context) => {
  const { cluster, test, lines } = tester(context, () => undefined);
  await test.run();
  assert.equal(test.last?.result, "admitted");
  assert.equal(test.passedAtMs, undefined);
  assert.match(test.last?.detail ?? "", /not registered, or it cannot be reached .*failurePolicy Ignore/);
  assert.equal(cluster.get("leases/meshward-system/meshward-self-test"), undefined);
  assert.equal(lines[0]?.["level"], "warn");
});

for (const [what, failure, says] of [
  ["a webhook that cannot be called", unreachable, /certificate signed by unknown authority/],
  [
    "a missing permission",
    () => forbidden({ verb: "create", plural: "leases", name: "x" } as SeenRequest),
    /cannot create resource/,
  ],
  ["an API server that is down", () => new Error("connection refused"), /connection refused/],
  [
    "another webhook that denies it",
    () => refusal(403, "Forbidden", 'admission webhook "a.b.c" denied the request: no'),
    /a\.b\.c/,
  ],
] as const)
  test(`${what} is no success, and its reason is said`, async (context) => {
    const { test } = tester(context, () => {
      throw failure();
    });
    await test.run();
    assert.equal(test.last?.result, "failed");
    assert.match(test.last?.detail ?? "", says);
  });

test("it runs each minute, more often until it passes, and logs only what changes", async (context) => {
  let answer = unreachable;
  const { cluster, test, lines, pass } = tester(context, () => {
    throw answer();
  });
  for (let i = 0; i < 5; i++) await pass(5_000);
  assert.equal(cluster.requests.length, 5);
  answer = denied;
  for (let i = 0; i < 26; i++) await pass(5_000);
  assert.equal(cluster.requests.length, 8, "after 0, 60 and 120 seconds");
  answer = unreachable;
  await pass(60_000);
  assert.equal(test.last?.result, "failed");
  assert.equal(test.passedAtMs, start + 150_000);
  assert.deepEqual(
    lines.map(({ result }) => result),
    ["failed", "passed", "failed"],
  ); // prettier-ignore
});
