import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { connect } from "node:tls";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { exchange, responseIn, reviewBody } from "../contract/api-server.ts";
import { type Server, type Started, serveWith } from "./server-process.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-signals-"));
after(() => rmSync(root, { recursive: true }));

const source = join(import.meta.dirname, "../../src/main.ts");

interface Running extends Server {
  readonly folder: string;
  readonly ca: string;
}

/** Serves with files of its own: tls.crt, tls.key and policies.yaml. */
async function start(started: Started): Promise<Running> {
  const folder = mkdtempSync(join(root, "s-"));
  const { caPath } = await selfSigned({ folder, now: Date.now() });
  writeFileSync(join(folder, "policies.yaml"), policy("shop"));
  const mesh = join(folder, "mesh");
  mkdirSync(mesh);
  writeFileSync(join(mesh, "n.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
  const server = await serveWith(
    // As main.ts listens to signals; built-file.test.ts has those that the built file gets before that.
    { file: source, ...started },
    ...["--mesh", mesh, "--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"],
    ...["--tls-cert", join(folder, "tls.crt"), "--tls-key", join(folder, "tls.key")],
    ...["--policies", join(folder, "policies.yaml")],
  );
  return { ...server, folder, ca: readFileSync(caPath, "utf8") };
}

const policy = (name: string) =>
  `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: a }\nspec: { protectedNamespaces: { names: [${name}] } }\n`;

const body = JSON.stringify(reviewBody());

async function stopped({ child }: Server): Promise<void> {
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  assert.deepEqual(await exit, [0, null]);
}

// The built file: see built-file.test.ts.
describe("signals do not surprise a server", () => {
  test("no debugger, no end, and a review that is under way is answered", async () => {
    const server = await start({});
    const socket = connect({ host: "127.0.0.1", port: server.port, ca: server.ca, servername: "localhost" });
    await once(socket, "secureConnect");
    const review = `POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(review.slice(0, -10));
    // Some more than once, because a listener that is used up leaves the default.
    for (const signal of ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const) server.child.kill(signal);
    await server.logged("reading policies and certificates again");
    socket.write(review.slice(-10));
    const [answer] = (await once(socket, "data")) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
    socket.destroy();
    await stopped(server);
    // Every line is JSON, or this would throw; and Node says in plain text when it opens its debugger.
    assert.ok(server.log().every(({ msg }) => !String(msg).includes("ebugger")));
  });

  test("SIGHUP reads policies and certificates again", async () => {
    const server = await start({});
    writeFileSync(join(server.folder, "policies.yaml"), policy("bank"));
    const { caPath } = await selfSigned({ folder: server.folder, now: Date.now() });
    chmodSync(join(server.folder, "tls.key"), 0o644);
    server.child.kill("SIGHUP");
    await server.logged("policies were reloaded and protect less than before");
    await server.logged("certificate was reloaded");
    const exposed = await server.logged("the private key is not private");
    assert.match(String(exposed.problem), /tls\.key has mode 0644.*set it to 0600/);
    const url = `https://127.0.0.1:${server.port}/validate`;
    const answer = await exchange(url, body, { method: "POST", ca: readFileSync(caPath, "utf8") });
    assert.equal(typeof responseIn(answer).allowed, "boolean");
    await stopped(server);
  });
});

describe("the log is JSON throughout", () => {
  const lines = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test("an error at the start, on standard error", () => {
    for (const argv of [["--mesh", root], ["--mesh", root, "--no-such-option"], []]) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [source, "serve", ...argv], { encoding: "utf8" });
      assert.deepEqual([status, stdout], [2, ""]);
      for (const line of lines(stderr)) assert.deepEqual([line.level, typeof line.time], ["error", "string"]);
      assert.match(String(lines(stderr)[0]?.msg), /^meshward: /);
    }
  });

  test("warnings of Node, and an exception that nobody catches", async () => {
    const onSignal = `process.once("SIGWINCH", () => {
      process.emitWarning("something is odd");
      process.once("SIGWINCH", () => { throw new Error("unforeseen"); });
    });`;
    const server = await start({ node: ["--import", `data:text/javascript,${encodeURIComponent(onSignal)}`] });
    server.child.kill("SIGWINCH");
    const warning = await server.logged("something is odd");
    assert.deepEqual([warning.level, warning.name], ["warn", "Warning"]);
    const exit = once(server.child, "close");
    server.child.kill("SIGWINCH");
    assert.deepEqual(await exit, [1, null]);
    const last = server.log().at(-1);
    assert.deepEqual([last?.level, last?.error], ["error", "unforeseen"]);
    assert.match(String(last?.stack), /Error: unforeseen\n +at /);
  });
});

test("Ctrl-C ends a command that is no server by the signal itself, so also one that is busy", async () => {
  const tests = join(import.meta.dirname, "../../policies/examples/online-shop");
  const child = spawn(process.execPath, [source, "test", "--watch", tests], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const exit = once(child, "exit");
  child.kill("SIGINT");
  assert.deepEqual(await exit, [null, "SIGINT"]);
});
