import assert from "node:assert/strict";
import { Agent } from "node:https";
import { connect as connectTcp, type Socket } from "node:net";
import test, { type TestContext } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import type { Decision } from "../../src/admission/review.ts";
import {
  allow,
  fakeGate,
  responseIn,
  reviewBody,
  type Shell,
  type ShellOptions,
  startShell,
} from "../contract/api-server.ts";

const good = JSON.stringify(reviewBody());
const unfinished = `POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n${good.slice(0, 500)}`;

/** Ends with the server, which would otherwise wait for it. */
function ending<T extends Socket>({ server }: Shell, socket: T): T {
  socket.on("error", () => undefined).resume();
  sockets.get(server)?.add(socket);
  return socket;
}

const sockets = new WeakMap<object, Set<Socket>>();

/** A server, and clients that leave before it closes: hooks run in the order in which they are added. */
async function start(context: TestContext, options?: ShellOptions): Promise<Shell> {
  const opened = new Set<Socket>();
  context.after(() => {
    for (const socket of opened) socket.destroy();
  });
  const shell = await startShell(context, options);
  sockets.set(shell.server, opened);
  return shell;
}

async function plain(shell: Shell, bytes = ""): Promise<Socket> {
  const socket = ending(shell, connectTcp(shell.port, "127.0.0.1"));
  await new Promise((resolve) => socket.once("connect", resolve));
  if (bytes !== "") socket.write(bytes);
  return socket;
}

async function secure(shell: Shell, bytes = ""): Promise<TLSSocket> {
  const socket = ending(shell, connect({ host: "127.0.0.1", port: shell.port, ca: shell.ca, servername: "localhost" }));
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  if (bytes !== "") await new Promise((resolve) => socket.write(bytes, resolve));
  return socket;
}

const many = <T>(count: number, open: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, open));

async function metric(shell: Shell, name: string, state: string): Promise<number> {
  const page = await shell.metrics.text();
  return Number(new RegExp(`^${name}\\{state="${state}"\\} (\\d+)$`, "m").exec(page)?.[1] ?? 0);
}

async function isServed(shell: Shell): Promise<void> {
  const answer = await shell.post("/validate", good);
  assert.deepEqual([answer.status, responseIn(answer).allowed], [200, true]);
}

test("300 unfinished bodies take no place in flight", async (context) => {
  const shell = await start(context);
  await many(300, () => secure(shell, unfinished));
  for (let call = 0; call < 5; call++) await isServed(shell);
  assert.match(await shell.metrics.text(), /^meshward_shed_total 0$/m);
});

const attacks: readonly (readonly [what: string, state: string, open: (shell: Shell) => Promise<Socket>])[] = [
  ["TCP connections without a handshake", "handshake", (shell) => plain(shell)],
  ["stalled handshakes", "handshake", (shell) => plain(shell, "\u0016\u0003\u0001\u0002\u0000\u0001")],
  ["connections without a request", "headers", (shell) => secure(shell)],
  ["slow headers", "headers", (shell) => secure(shell, "POST /validate HTTP/1.1\r\nHost: a\r\n")],
  ["unfinished bodies", "body", (shell) => secure(shell, unfinished)],
];

for (const [what, state, open] of attacks)
  test(`more ${what} than places: the oldest are closed, and others are served`, async (context) => {
    const shell = await start(context, { limits: { connections: 20 } });
    const [first] = await many(1, () => open(shell));
    const isClosed = new Promise((resolve) => first?.once("close", resolve));
    for (let round = 0; round < 3; round++) {
      await many(20, () => open(shell));
      await isServed(shell);
    }
    await isClosed;
    assert.ok((await metric(shell, "meshward_connections_closed_total", state)) >= 20);
    const counted = await Promise.all(
      ["handshake", "headers", "body", "answering", "idle"].map((name) => metric(shell, "meshward_connections", name)),
    );
    assert.ok(counted.reduce((sum, count) => sum + count, 0) <= 20, String(counted));
    const lines = shell.lines.filter(({ msg }) => String(msg).startsWith("connections without a complete request"));
    assert.equal(lines.filter((line) => line.state === state).length, 1);
  });

test("idle connections give way to new ones, the oldest first", async (context) => {
  const shell = await start(context, { limits: { connections: 20 } });
  const agent = new Agent({ keepAlive: true, ca: shell.ca });
  context.after(() => agent.destroy());
  await many(20, () => shell.post("/elsewhere", "", { agent, method: "GET" }));
  assert.equal(await metric(shell, "meshward_connections", "idle"), 20);
  for (let call = 0; call < 3; call++) await isServed(shell);
  assert.equal((await metric(shell, "meshward_connections_closed_total", "idle")) > 0, true);
  assert.equal(await metric(shell, "meshward_connections_closed_total", "answering"), 0);
});

test("a connection that waits for its response is never closed", async (context) => {
  let release = (): void => undefined;
  const released = new Promise<Decision>((resolve) => {
    release = () => resolve(allow);
  });
  let arrive = (): void => undefined;
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const validate = () => {
    arrive();
    return released;
  };
  const shell = await start(context, { gate: fakeGate({ validate }), limits: { connections: 5 } });
  const waiting = shell.post("/validate", good);
  await arrived;
  await many(20, () => plain(shell));
  await many(20, () => secure(shell, unfinished));
  release();
  assert.equal(responseIn(await waiting).allowed, true);
});

test("the bytes of unfinished bodies are bounded: the oldest are dropped, and answered when they end", async (context) => {
  const gate = fakeGate();
  const shell = await start(context, { gate, limits: { unfinishedBytes: 4_000 } });
  const head = `POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${good.length}\r\n\r\n${good.slice(0, 500)}`;
  const clients: TLSSocket[] = [];
  for (let call = 0; call < 20; call++) clients.push(await secure(shell, head));
  await isServed(shell);
  // Each of them sent 500 bytes.
  assert.equal(await metric(shell, "meshward_connections", "body"), 20, "no connection was closed");
  const statuses: string[] = [];
  for (const client of clients) {
    const answer = new Promise<string>((resolve) => client.once("data", (data) => resolve(String(data))));
    client.write(good.slice(500));
    const text = await answer;
    statuses.push(`${text.slice(9, 12)}${text.includes("\r\nretry-after: 1\r\n") ? " retry-after: 1" : ""}`);
  }
  assert.deepEqual([...new Set(statuses)], ["429 retry-after: 1", "200"], "the oldest, then the newest");
  assert.ok(statuses.filter((one) => one === "200").length >= Math.floor(4_000 / good.length), statuses.join());
  assert.equal(gate.asked.length, statuses.filter((one) => one === "200").length + 1);
  assert.equal(await metric(shell, "meshward_connections_closed_total", "body"), 0);
});

test("a body that grows without end is dropped with all that follows", async (context) => {
  const shell = await start(context, { limits: { unfinishedBytes: 100_000, bodyBytes: 10_000_000 } });
  const text = JSON.stringify(reviewBody({ filler: "x".repeat(3_000_000) }));
  const answer = await shell.post("/validate", text);
  assert.deepEqual([answer.status, answer.headers["retry-after"]], [429, "1"]);
  await isServed(shell);
});

test("the bytes of reviews in flight are bounded, and one review is always answered", async (context) => {
  let release = (): void => undefined;
  let arrive = (): void => undefined;
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const validate = () =>
    new Promise<Decision>((resolve) => {
      release = () => resolve(allow);
      arrive();
    });
  const shell = await start(context, { gate: fakeGate({ validate }), limits: { inFlightBytes: 100 } });
  const first = shell.post("/validate", good);
  await arrived;
  const second = await shell.post("/validate", good);
  assert.deepEqual([second.status, second.headers["retry-after"]], [429, "1"]);
  release();
  assert.equal(responseIn(await first).allowed, true);
});

test("many torn connections and many refusals are few lines, with their number", async (context) => {
  const ticks: (() => void)[] = [];
  const clock = {
    now: () => 0,
    every(_: number, task: () => void) {
      ticks.push(task);
      return () => undefined;
    },
  };
  const shell = await start(context, { clock });
  for (let call = 0; call < 30; call++) {
    const answer = await shell.post("/validate", "[]");
    assert.equal(answer.status, 400);
  }
  assert.equal(shell.lines.length, 1);
  ticks[0]?.();
  assert.deepEqual([shell.lines.length, shell.lines[1]?.repeated, shell.lines[1]?.msg], [2, 29, "admission"]);
  ticks[0]?.();
  assert.equal(shell.lines.length, 2);
  await shell.post("/validate", "[]");
  assert.deepEqual([shell.lines.length, shell.lines[2]?.repeated], [3, undefined]);
});
