import assert from "node:assert/strict";
import { Agent } from "node:https";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import test from "node:test";
import { connect, type TLSSocket } from "node:tls";
import fc from "fast-check";
import type { Decision } from "../../src/admission/review.ts";
import { createAdmissionServer } from "../../src/http/server.ts";
import { everyAddress, ListenError } from "../../src/http/listen.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import {
  allow,
  deny,
  exchange,
  fakeGate,
  responseIn,
  reviewBody,
  type Shell,
  startShell,
  testCertificate,
  virtualService,
} from "../contract/api-server.ts";

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002";
const good = JSON.stringify(reviewBody());

/** A gate whose decisions wait until the test lets them go; `arrived` resolves when the first one waits. */
function gateWithLatch() {
  let release = (): void => undefined;
  let arrive = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const wait = async (): Promise<Decision> => {
    arrive();
    await released;
    return allow;
  };
  return { gate: fakeGate({ validate: wait, mutate: wait }), release, arrived };
}

/** A TLS connection for bytes that no HTTP client would send. */
async function rawConnection(shell: Shell): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: shell.port, ca: shell.ca, servername: "localhost" });
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  socket.on("error", () => undefined);
  return socket;
}

function closed(socket: TLSSocket): Promise<void> {
  socket.resume();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

function head(length: number): string {
  return `POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
}

test("both paths ask their own question and answer with the uid", async (context) => {
  const gate = fakeGate({ validate: () => deny("no"), mutate: () => Promise.resolve(allow) });
  const shell = await startShell(context, { gate });
  const denied = await shell.post("/validate?timeout=5s", good);
  assert.equal(denied.status, 200);
  assert.equal(denied.headers["content-type"], "application/json; charset=utf-8");
  assert.deepEqual(responseIn(denied), {
    uid,
    allowed: false,
    status: { code: 403, reason: "Forbidden", message: "no" },
  });
  assert.deepEqual(responseIn(await shell.post("/mutate", good)), { uid, allowed: true });
  assert.deepEqual(
    gate.asked.map(({ name }) => name),
    ["reviews", "reviews"],
  );
});

test("every decision is one log line, with what was asked and decided and nothing of the object", async (context) => {
  const gate = fakeGate({ validate: () => ({ ...deny("no"), rules: ["rule-a"] }) });
  const shell = await startShell(context, { gate });
  const secret = { ...virtualService, metadata: { ...virtualService.metadata, annotations: { note: "canary-7f3a" } } };
  await shell.post("/validate", JSON.stringify(reviewBody({ object: secret })), {
    headers: { authorization: "Bearer canary-7f3a" },
  });
  assert.equal(shell.lines.length, 1);
  const { time, milliseconds, ...rest } = shell.lines[0] ?? {};
  assert.ok(typeof time === "string" && typeof milliseconds === "number" && milliseconds > 0);
  assert.deepEqual(rest, {
    level: "info",
    uid,
    path: "/validate",
    operation: "CREATE",
    group: "networking.istio.io",
    version: "v1",
    kind: "VirtualService",
    namespace: "shop",
    name: "reviews",
    user: "jane",
    userGroups: ["developers"],
    dryRun: false,
    decision: "deny",
    rules: ["rule-a"],
    msg: "admission",
  });
  const metrics = await shell.metrics.text();
  assert.equal(JSON.stringify(shell.lines).includes("canary") || metrics.includes("canary"), false);
});

test("long names are cut in the log", async (context) => {
  const shell = await startShell(context);
  await shell.post("/validate", JSON.stringify(reviewBody({ userInfo: { username: "x".repeat(100_000) } })));
  assert.equal(String(shell.lines[0]?.user).length, 257);
});

const unreadable: readonly (readonly [string, string])[] = [
  ["an empty body", ""],
  ["what is not JSON", "kind: AdmissionReview"],
  ["null", "null"],
  ["a list", "[]"],
  ["a review without a uid", JSON.stringify(reviewBody({ uid: undefined }))],
];

for (const [what, body] of unreadable) {
  test(`without a uid the HTTP status refuses: ${what}`, async (context) => {
    const shell = await startShell(context);
    const answer = await shell.post("/validate", body);
    assert.equal(answer.status, 400);
    const { uid: none, allowed, status } = responseIn(answer);
    assert.deepEqual([none, allowed, status?.code], ["", false, 403]);
    assert.match(status?.message ?? "", /could not evaluate this request and denies it/);
    assert.equal(shell.lines[0]?.decision, "error");
  });
}

const notJudged: readonly (readonly [string, unknown])[] = [
  ["v1beta1", { ...reviewBody(), apiVersion: "admission.k8s.io/v1beta1" }],
  ["no object", reviewBody({ object: undefined })],
  ["no kind", reviewBody({ kind: undefined })],
  ["an object of another kind", reviewBody({ object: { apiVersion: "v1", kind: "Service" } })],
  ["CONNECT", reviewBody({ operation: "CONNECT" })],
];

for (const [what, review] of notJudged) {
  test(`with a uid the answer is 200, not allowed, and the gate is not asked: ${what}`, async (context) => {
    const gate = fakeGate();
    const shell = await startShell(context, { gate });
    for (const path of ["/validate", "/mutate"]) {
      const answer = await shell.post(path, JSON.stringify(review));
      assert.equal(answer.status, 200);
      assert.deepEqual([responseIn(answer).uid, responseIn(answer).allowed], [uid, false]);
    }
    assert.equal(gate.asked.length, 0);
  });
}

test("__proto__ and constructor keys reach the gate as data", async (context) => {
  const gate = fakeGate();
  const shell = await startShell(context, { gate });
  const json = good.replace('"hosts":', '"__proto__":{"a":1},"constructor":{"prototype":{"b":1}},"hosts":');
  assert.equal(responseIn(await shell.post("/validate", json)).allowed, true);
  const spec = Object(gate.asked[0]?.object?.spec);
  assert.deepEqual(Object.keys(spec).slice(0, 2), ["__proto__", "constructor"]);
  assert.deepEqual(Object.keys(Object.prototype), []);
});

test("100,000 levels are refused by uid", async (context) => {
  const shell = await startShell(context);
  const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
  const answer = await shell.post("/validate", good.replace('"hosts":', `"deep":${deep},"hosts":`));
  assert.equal(answer.status, 200);
  assert.deepEqual([responseIn(answer).uid, responseIn(answer).allowed], [uid, false]);
  assert.match(responseIn(answer).status?.message ?? "", /nested/);
});

test("a review that is too large is refused by its uid, which it starts with", async (context) => {
  const gate = fakeGate();
  const shell = await startShell(context, { gate, limits: { bodyBytes: 2_048 } });
  const large = (bytes: number) => JSON.stringify(reviewBody({ filler: "x".repeat(bytes) }));
  const answer = await shell.post("/validate", large(6_000));
  assert.equal(answer.status, 200);
  assert.deepEqual([responseIn(answer).uid, responseIn(answer).allowed], [uid, false]);
  assert.match(responseIn(answer).status?.message ?? "", /larger than 2048 bytes/);
  const chunked = await shell.post("/validate", large(6_000), { headers: { "transfer-encoding": "chunked" } });
  assert.equal(responseIn(chunked).uid, uid);
  const nameless = await shell.post("/validate", "x".repeat(6_000));
  assert.equal(nameless.status, 413);
  assert.equal(responseIn(nameless).allowed, false);
  assert.equal(gate.asked.length, 0);
});

test("more than 1 MiB is no problem", async (context) => {
  const shell = await startShell(context);
  const answer = await shell.post("/validate", JSON.stringify(reviewBody({ filler: "x".repeat(3_000_000) })));
  assert.equal(responseIn(answer).allowed, true);
});

test("any content type will do: the body decides", async (context) => {
  const shell = await startShell(context);
  for (const type of ["application/json; charset=utf-8", "text/plain", "application/yaml"]) {
    const answer = await shell.post("/validate", good, { headers: { "content-type": type } });
    assert.equal(responseIn(answer).allowed, true);
  }
});

test("other paths are 404, other methods 405", async (context) => {
  const shell = await startShell(context);
  const elsewhere = await shell.post("/elsewhere", good);
  assert.equal(elsewhere.status, 404);
  assert.match(elsewhere.text, /POST \/validate and POST \/mutate/);
  for (const method of ["GET", "PUT", "DELETE", "HEAD"]) {
    const answer = await shell.post("/validate?timeout=5s", "", { method });
    assert.equal(answer.status, 405, method);
    assert.equal(answer.headers.allow, "POST");
  }
});

test("a gate that throws or rejects denies by uid, or changes nothing, and is logged; the server lives on", async (context) => {
  const fail = (): Decision => {
    throw new Error("broken rule");
  };
  const gate = fakeGate({ validate: fail, mutate: () => Promise.reject(new RangeError("stack")) });
  const shell = await startShell(context, { gate });
  const refused = await shell.post("/validate", good);
  const { uid: echoed, allowed, status } = responseIn(refused);
  assert.deepEqual([refused.status, echoed, allowed, status?.code], [200, uid, false, 403]);
  assert.match(status?.message ?? "", /internal error.*uid 705ab4f5/);
  const unchanged = await shell.post("/mutate", good);
  const { uid: again, allowed: admitted, patch, warnings } = responseIn(unchanged);
  assert.deepEqual([unchanged.status, again, admitted, patch], [200, uid, true, undefined]);
  assert.match(warnings?.join() ?? "", /internal error.*uid 705ab4f5.*did not join the mesh/);
  assert.equal(/broken rule|stack/.test(refused.text + unchanged.text), false);
  assert.deepEqual(
    shell.lines.filter(({ level }) => level === "error").map(({ error }) => error),
    ["broken rule", "stack"],
  );
});

test("a gate that takes longer than the API server waits is cut off before", async (context) => {
  const { gate, release } = gateWithLatch();
  const shell = await startShell(context, { gate });
  const answer = await shell.post("/validate?timeout=1s", good);
  release();
  assert.equal(responseIn(answer).allowed, false);
  assert.match(responseIn(answer).status?.message ?? "", /no decision within 500 ms/);
});

test("over the limit of reviews in flight the answer is 429, which the API server repeats", async (context) => {
  const { gate, release, arrived } = gateWithLatch();
  const shell = await startShell(context, { gate, limits: { inFlight: 1 } });
  const first = shell.post("/validate", good);
  await arrived;
  const second = await shell.post("/validate", good);
  assert.equal(second.status, 429);
  assert.equal(second.headers["retry-after"], "1");
  assert.match(await shell.metrics.text(), /meshward_shed_total 1\nmesh|meshward_admission_requests_in_flight 1/);
  release();
  assert.equal(responseIn(await first).allowed, true);
  assert.equal(responseIn(await shell.post("/validate", good)).allowed, true);
});

test("connections are kept", async (context) => {
  const shell = await startShell(context);
  const agent = new Agent({ keepAlive: true, ca: shell.ca });
  const sockets = new Set<unknown>();
  agent.on("free", (socket) => sockets.add(socket));
  for (let call = 0; call < 5; call++) assert.equal((await shell.post("/validate", good, { agent })).status, 200);
  agent.destroy();
  assert.equal(sockets.size, 1);
});

test("a body that stops half way is cut off, counted out and logged; others are served meanwhile", async (context) => {
  const limits = { requestTimeoutMs: 300, headersTimeoutMs: 200, checkIntervalMs: 50, inFlight: 2 };
  const gate = fakeGate();
  const shell = await startShell(context, { gate, limits });
  const slow = await rawConnection(shell);
  slow.write(head(5_000) + good.slice(0, 500));
  assert.equal((await shell.post("/validate", good)).status, 200);
  await closed(slow);
  const gone = await rawConnection(shell);
  gone.write(head(5_000) + good.slice(0, 500));
  gone.destroy();
  assert.equal((await shell.post("/validate", good)).status, 200);
  assert.equal(gate.asked.length, 2);
  assert.ok(shell.lines.some(({ msg }) => msg === "the client closed the connection before the review was complete"));
});

test("headers that never end are cut off", async (context) => {
  const shell = await startShell(context, {
    limits: { requestTimeoutMs: 300, headersTimeoutMs: 200, checkIntervalMs: 50 },
  });
  const slow = await rawConnection(shell);
  slow.write("POST /validate HTTP/1.1\r\nHost: localhost\r\n");
  await closed(slow);
  assert.equal((await shell.post("/validate", good)).status, 200);
});

test("bytes that are no HTTP and no TLS end a connection, not the server", async (context) => {
  const shell = await startShell(context);
  const garbage = await rawConnection(shell);
  garbage.write("\u0000\u0001\u0002 nonsense\r\n\r\n");
  await closed(garbage);
  assert.equal((await shell.post("/validate", good)).status, 200);
});

test("garbage never crashes it and is never allowed", async (context) => {
  const shell = await startShell(context);
  const agent = new Agent({ keepAlive: true, ca: shell.ca });
  const field = fc.constantFrom("uid", "kind", "operation", "object", "userInfo", "options", "dryRun", "subResource");
  const mangled = fc.tuple(field, fc.jsonValue()).map(([name, value]) => JSON.stringify(reviewBody({ [name]: value })));
  const cut = fc.nat({ max: good.length - 1 }).map((length) => good.slice(0, length));
  const bytes = fc.uint8Array({ maxLength: 300 });
  const property = fc.asyncProperty(fc.oneof(mangled, cut, bytes), async (body) => {
    const answer = await shell.post("/validate", body, { agent });
    const response = responseIn(answer);
    if (answer.status !== 200) assert.deepEqual([answer.status, response.uid, response.allowed], [400, "", false]);
    // What is allowed went through the gate, which allows everything here: it must have been a whole review.
    else if (response.allowed) assert.equal(typeof JSON.parse(body.toString()).request.object, "object");
  });
  await fc.assert(property, { numRuns: 200 });
  agent.destroy();
  assert.deepEqual(Object.keys(Object.prototype), []);
});

test("close answers what is in flight, tells its connections to close, and refuses new ones", async (context) => {
  const { gate, release, arrived } = gateWithLatch();
  const shell = await startShell(context, { gate });
  const agent = new Agent({ keepAlive: true, ca: shell.ca });
  const inFlight = shell.post("/validate", good, { agent });
  await arrived;
  assert.deepEqual(
    shell.server.readiness.map(({ problem }) => problem()),
    [undefined, undefined, undefined],
  );
  const closing = shell.server.close();
  assert.equal(shell.server.readiness.find(({ name }) => name === "not-draining")?.problem(), "shutting down");
  release();
  assert.equal(responseIn(await inFlight).allowed, true);
  await closing;
  await assert.rejects(shell.post("/validate", good), { code: "ECONNREFUSED" });
  agent.destroy();
});

test("while it drains it goes on answering, and moves connections away", async (context) => {
  const shell = await startShell(context, { limits: { drainDelayMs: 60_000 } });
  const hurry = new AbortController();
  const agent = new Agent({ keepAlive: true, ca: shell.ca });
  assert.equal((await shell.post("/validate", good, { agent })).headers.connection, "keep-alive");
  const closing = shell.server.close(hurry.signal);
  const late = await shell.post("/validate", good, { agent });
  assert.equal(responseIn(late).allowed, true);
  assert.equal(late.headers.connection, "close");
  assert.equal(shell.server.close(), closing);
  hurry.abort();
  await closing;
  agent.destroy();
});

test("a taken port is one line that says what to do", async (context) => {
  const other = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  context.after(() => other.close());
  const address = other.address();
  assert.ok(typeof address === "object" && address !== null);
  const server = createAdmissionServer({
    gate: fakeGate(),
    certificates: fixedCertificate(await testCertificate()),
    log: createLog("silent", () => undefined),
    metrics: createMetrics({ processMetrics: false }),
  });
  const listening = server.listen({ host: "127.0.0.1", port: address.port, flag: "--port" });
  await assert.rejects(listening, (error: Error) => {
    assert.ok(error instanceof ListenError);
    assert.match(
      error.message,
      /^Port \d+ on 127\.0\.0\.1 is in use by another process; stop it, or choose .* --port$/,
    );
    return true;
  });
  await server.close();
});

test("what cannot be read took its time as well", async (context) => {
  const shell = await startShell(context, { limits: { bodyBytes: 1_000 } });
  for (const body of ["", "[]", "x".repeat(2_000)]) await shell.post("/validate", body);
  const page = await shell.metrics.text();
  const of = (part: string) =>
    Number(
      new RegExp(`^meshward_admission_duration_seconds_${part}\\{.*decision="error".*\\} (\\S+)$`, "m").exec(page)?.[1],
    );
  assert.equal(of("count"), 3);
  assert.ok(of("sum") > 0, String(of("sum")));
});

test("what is to be told about objects is handed on after the answer, and counted", async (context) => {
  const event = {
    reason: "BreakGlassUsed" as const,
    rule: "",
    note: "n",
    regarding: { apiVersion: "v1", kind: "Namespace", namespace: "", name: "shop", uid: undefined },
  };
  const decisions: Decision[] = [{ ...allow, events: [event], liveRead: "changed" }, allow];
  const told: unknown[] = [];
  const gate = fakeGate({ validate: () => decisions.shift() ?? allow });
  const shell = await startShell(context, { gate, tell: (events) => told.push(...events) });
  assert.deepEqual(responseIn(await shell.post("/validate", good)), { uid, allowed: true });
  await shell.post("/validate", good);
  assert.deepEqual(told, [event]);
  assert.deepEqual(
    shell.lines.map(({ liveRead }) => liveRead),
    ["changed", undefined],
  );
  const page = await shell.metrics.text();
  assert.match(page, /^meshward_break_glass_total\{kind="VirtualService"\} 1$/m);
  assert.match(page, /^meshward_live_reads_total\{result="changed"\} 1$/m);
});

test("without an address it listens on both families, where the machine has them", async (context) => {
  const server = createAdmissionServer({
    gate: fakeGate(),
    certificates: fixedCertificate(await testCertificate()),
    log: createLog("silent", () => undefined),
    metrics: createMetrics({ processMetrics: false }),
  });
  context.after(() => server.close());
  const { port } = await server.listen({ host: everyAddress(), port: 0, flag: "--port" });
  const { ca = "" } = await testCertificate();
  const hosts = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  const loopback = hosts.filter(({ internal }) => internal).map(({ address }) => address);
  assert.ok(loopback.length > 0);
  for (const address of loopback) {
    const host = address.includes(":") ? `[${address}]` : address;
    assert.equal((await exchange(`https://${host}:${port}/validate`, good, { method: "POST", ca })).status, 200);
  }
});
