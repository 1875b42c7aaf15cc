import assert from "node:assert/strict";
import { createServer } from "node:net";
import test, { type TestContext } from "node:test";
import { createOpsServer } from "../../src/http/ops-server.ts";
import type { ReadinessCheck } from "../../src/http/readiness.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

async function start(test: TestContext, checks: readonly ReadinessCheck[]) {
  const metrics = createMetrics({ processMetrics: false });
  const server = createOpsServer({ checks, metrics });
  const { port } = await server.listen({ host: "127.0.0.1", port: 0, flag: "--ops-port" });
  test.after(() => server.close());
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };
  return { get, metrics, port };
}

test("live whatever is the matter, ready when no check has a problem", async (context) => {
  let problem: string | undefined = "still loading";
  const checks = [
    { name: "listening", problem: () => undefined },
    { name: "mesh", problem: () => problem, note: () => (problem === undefined ? "2 kinds unknown" : undefined) },
  ];
  const { get } = await start(context, checks);
  assert.deepEqual(await get("/livez"), { status: 200, type: "text/plain; charset=utf-8", text: "ok\n" });
  assert.deepEqual(await get("/readyz"), {
    status: 503,
    type: "text/plain; charset=utf-8",
    text: "[-]mesh failed: still loading\nnot ready\n",
  });
  assert.match((await get("/readyz?verbose")).text, /^\[\+\]listening ok\n\[-\]mesh failed/);
  problem = undefined;
  assert.deepEqual(await get("/readyz"), { status: 200, type: "text/plain; charset=utf-8", text: "ok\n" });
  assert.equal((await get("/readyz?verbose")).text, "[+]listening ok\n[+]mesh ok: 2 kinds unknown\nok\n");
});

test("the page is there only if it is asked for, and only when there is one", async (context) => {
  const without = await start(context, []);
  assert.equal((await without.get("/")).status, 404);
  const made: { html?: string } = {};
  const metrics = createMetrics({ processMetrics: false });
  const server = createOpsServer({ checks: [], metrics, page: () => made.html });
  context.after(() => server.close());
  const { port } = await server.listen({ host: "127.0.0.1", port: 0, flag: "--ops-port" });
  const none = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(none.status, 503);
  assert.match(await none.text(), /the elected replica has the page/);
  made.html = "<!doctype html>";
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assert.deepEqual([page.status, await page.text()], [200, made.html]);
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.match(page.headers.get("content-security-policy") ?? "", /frame-ancestors 'none'/);
});

test("a check that throws is a check that failed", async (context) => {
  const fail = (): string => {
    throw new Error("no answer");
  };
  const { get } = await start(context, [{ name: "mesh", problem: fail }]);
  assert.deepEqual(
    [(await get("/readyz")).status, (await get("/readyz")).text],
    [503, "[-]mesh failed: no answer\nnot ready\n"],
  );
});

test("metrics in Prometheus' text format; other paths are named", async (context) => {
  const { get, metrics } = await start(context, []);
  metrics.watchView(() => [["VirtualService", 3]]);
  const page = await get("/metrics");
  assert.equal(page.type, "text/plain; version=0.0.4; charset=utf-8");
  assert.match(page.text, /^meshward_view_objects\{kind="VirtualService"\} 3$/m);
  const other = await get("/");
  assert.equal(other.status, 404);
  assert.match(other.text, /\/livez, \/readyz and \/metrics/);
});

test("a taken port names its own flag", async (context) => {
  const { port } = await start(context, []);
  const second = createOpsServer({ checks: [], metrics: createMetrics({ processMetrics: false }) });
  await assert.rejects(second.listen({ host: "127.0.0.1", port, flag: "--ops-port" }), /is in use .* --ops-port$/);
  await second.close();
  const free = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => free.once("listening", resolve));
  free.close();
});
