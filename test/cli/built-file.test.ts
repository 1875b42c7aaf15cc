import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { request } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, pipeline } from "node:stream";
import { after, before, describe, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import packageJson from "../../package.json" with { type: "json" };
import { root } from "../../src/generate/files.ts";
import { noticesFile, thirdPartyNotices } from "../../src/generate/third-party-notices.ts";
import { reviewBody, testCertificate } from "../contract/api-server.ts";
import { ListWatchServer } from "../sources/cluster/list-watch-server.ts";
import { kubeconfigFor } from "../sources/cluster/live-cluster.ts";
import { oldNode } from "./old-node.ts";
import { builtFolder } from "./program.ts";
import { serveWith } from "./server-process.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-built-"));
after(() => rmSync(folder, { recursive: true }));
const old = oldNode();
const needsOldNode = { skip: old === undefined ? "NOT TESTED: there is no old Node on this machine" : false };

function ran(node: string, ...argv: string[]) {
  const { status, stdout, stderr } = spawnSync(node, argv, { encoding: "utf8", env: {} });
  return { status, stdout, stderr };
}

const plugin = {
  apiVersion: "client.authentication.k8s.io/v1",
  command: process.execPath,
  args: ["--print", 'JSON.stringify({ kind: "ExecCredential", status: { token: "good" } })'],
};
const users = { "a token": { token: "good" }, "a plugin": { exec: plugin } };

/** A proxy that counts its tunnels, until the test ends. */
async function tunnels(context: TestContext): Promise<{ readonly url: string; opened: number }> {
  const proxy = createServer();
  const counted = { url: "", opened: 0 };
  const sockets = new Set<Duplex>();
  proxy.on("connect", ({ url = "" }, client: Duplex) => {
    counted.opened++;
    const server = connect(Number(url.split(":").at(-1)), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      pipeline(client, server, client, () => undefined);
    });
    sockets.add(client).add(server);
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  counted.url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return counted;
}

describe("the built file", () => {
  const file = join(folder, "meshward.js");
  const moduleFolder = join(folder, "package", "dist");
  before(async () => {
    cpSync(await builtFolder(), folder, { recursive: true });
    mkdirSync(moduleFolder, { recursive: true });
    cpSync(file, join(moduleFolder, "meshward.js"));
    writeFileSync(join(moduleFolder, "..", "package.json"), '{ "type": "module" }');
  });

  test("runs anywhere, as CommonJS and as an ES module", () => {
    for (const path of [file, join(moduleFolder, "meshward.js")])
      assert.deepEqual(ran(process.execPath, path, "--version"), {
        status: 0,
        stdout: `${packageJson.version}\n`,
        stderr: "",
      });
  });

  test("checks fields with the schemas in it, and with the rules of given definitions", () => {
    const object = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: shop }\n";
    const rule = `"x-kubernetes-validations": [{ rule: "self.mtls.mode == 'STRICT'", message: "always STRICT" }]`;
    const crds = join(folder, "crds.yaml");
    writeFileSync(
      crds,
      `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: peerauthentications.security.istio.io }
spec:
  group: security.istio.io
  names: { kind: PeerAuthentication }
  versions: [{ name: v1, schema: { openAPIV3Schema: { properties: { spec: { type: object, ${rule} } } } } }]
`,
    );
    for (const [spec, options, message] of [
      ["{ mtsl: { mode: STRICT } }", [], /Unknown field "mtsl": did you mean "mtls"\?/],
      ["{ mtls: { mode: DISABLE } }", ["--crds", crds], /does not allow this: always STRICT/],
    ] as const) {
      const manifest = join(folder, "peer-authentication.yaml");
      writeFileSync(manifest, `${object}spec: ${spec}\n`);
      const { status, stdout } = ran(
        process.execPath,
        join(moduleFolder, "meshward.js"),
        "check",
        manifest,
        ...options,
      );
      assert.equal(status, 1);
      assert.match(stdout, message);
    }
  });

  test("opens no debugger for SIGUSR1, and does not end for other signals", async () => {
    const mesh = join(folder, "mesh.yaml");
    writeFileSync(mesh, "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    const ports = ["--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"];
    const certificate = ["--self-signed", "--certs", join(folder, "certs")];
    const server = await serveWith({ file }, "--mesh", mesh, ...ports, ...certificate);
    for (const signal of ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGUSR1"] as const) server.child.kill(signal);
    await server.logged("reading policies and certificates again");
    const exit = once(server.child, "close");
    server.child.kill("SIGTERM");
    assert.deepEqual(await exit, [0, null]);
    // Every line is JSON, or this would throw; and Node says in plain text when it opens its debugger.
    assert.equal(server.log().at(-1)?.msg, "stopping");
  });

  test("gives its spans to an SDK that is loaded before it, as docs/observability.md says", async () => {
    const tracing = join(folder, "tracing.mjs");
    writeFileSync(
      tracing,
      `import { INVALID_SPAN_CONTEXT, trace } from ${JSON.stringify(import.meta.resolve("@opentelemetry/api"))};
      const startSpan = (name) => ({
        spanContext: () => INVALID_SPAN_CONTEXT,
        isRecording: () => true,
        setAttribute() { return this; },
        setAttributes() { return this; },
        setStatus() { return this; },
        recordException() {},
        end() { process.stdout.write(JSON.stringify({ msg: "span " + name }) + "\\n"); },
      });
      trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) });`,
    );
    const mesh = join(folder, "traced.yaml");
    writeFileSync(mesh, "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    const certificates = join(folder, "traced-certs");
    const server = await serveWith(
      { file, node: ["--import", tracing] },
      ...["--mesh", mesh, "--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"],
      ...["--self-signed", "--certs", certificates],
    );
    const body = JSON.stringify(reviewBody({ uid: "traced" }));
    const options = {
      method: "POST",
      port: server.port,
      path: "/validate",
      ca: readFileSync(join(certificates, "ca.crt")),
    };
    const asked = request({ host: "127.0.0.1", servername: "localhost", ...options }).end(body);
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
    for (const span of ["evaluate", "answer", "review /validate"]) await server.logged(`span ${span}`);
    server.child.kill("SIGTERM");
    await once(server.child, "close");
  });

  test("is in strict mode, as its sources are", () => {
    const [first] = readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => !/^(#!|\/\/)/.test(line));
    assert.equal(first, '"use strict";');
  });

  test("an old Node is told in one line which one is needed and which was found", needsOldNode, () => {
    for (const path of [file, join(moduleFolder, "meshward.js")])
      assert.deepEqual(ran(old?.path ?? "", path, "check", "."), {
        status: 2,
        stdout: "",
        stderr: `meshward: Node is too old: this needs Node 22.19 or newer, and found ${old?.version} (${old?.path}). Install a newer one, or use the image or an executable, which need none: https://github.com/meshward/meshward/releases\n`,
      });
  });

  test("is ASCII, so that V8 keeps it in one byte for each character", () => {
    assert.doesNotMatch(readFileSync(file, "utf8"), /[^\0-\x7f]/);
  });

  test("leaves out what Meshward does not use of client-node and fastify", () => {
    const text = readFileSync(file, "utf8");
    for (const unused of ["CoreV1Api", "llhttp", "simulate"]) assert.ok(!text.includes(unused), unused);
    const notices = readFileSync(join(folder, noticesFile), "utf8");
    for (const unused of ["light-my-request", "semver", "fast-json-stringify-compiler", "ajv-formats"])
      assert.ok(!notices.includes(unused), unused);
    assert.ok(statSync(file).size < 4_400_000, String(statSync(file).size));
  });

  for (const [credentials, user] of Object.entries(users))
    test(`reaches a cluster over TLS with ${credentials}, also through a proxy`, async (context) => {
      const { cert, key, ca = "" } = await testCertificate();
      const server = new ListWatchServer({ cert, key });
      server.serve("v1", "Namespace", "namespaces");
      server.apply("namespaces", { metadata: { name: "shop" } });
      server.token = "good";
      const url = await server.listen();
      context.after(() => server.close());
      const authority = { "certificate-authority-data": Buffer.from(ca).toString("base64") };
      const proxy = await tunnels(context);
      for (const through of [{}, { "proxy-url": proxy.url }]) {
        const server = { ...authority, ...through };
        const kubeconfig = kubeconfigFor(context, url.replace("127.0.0.1", "localhost"), user, server);
        const { stderr } = await promisify(execFile)(
          process.execPath,
          [file, "capture", "--kubeconfig", kubeconfig, "--output", join(folder, "capture.json")],
          { env: {} },
        );
        assert.match(stderr, /wrote 1 objects of https:.* to /);
        assert.equal(proxy.opened > 0, "proxy-url" in through);
      }
    });

  test("the notices name the packages in it, with their licences, and no others", () => {
    const notices = readFileSync(join(folder, noticesFile), "utf8");
    for (const name of Object.keys(packageJson.dependencies)) assert.match(notices, new RegExp(`^${name} \\d`, "m"));
    assert.doesNotMatch(notices, /^(esbuild|typescript|stream-buffers) \d/m);
    assert.match(notices, /^fastify [\d.]+ \(MIT\)\n\nMIT License\n\nCopyright \(c\) /m);
    assert.match(readFileSync(file, "utf8").slice(0, 300), new RegExp(`licences.*${noticesFile}`));
  });
});

test("a package whose licence cannot be told is not passed on", () => {
  const own = join(folder, "node_modules", "unlicensed");
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, "package.json"), '{ "name": "unlicensed", "version": "1.0.0" }');
  assert.throws(
    () => thirdPartyNotices(["node_modules/unlicensed/index.js"], folder),
    /unlicensed 1\.0\.0 has neither/,
  );
});

describe("npm's scripts", () => {
  const check = ".ci/node-version.mjs";
  /** The check in a checkout of its own, with `node_modules` or without. */
  function checked(
    node: string,
    { isInstalled, brings, text = readFileSync(join(root, "package.json"), "utf8") }: Checkout,
  ) {
    const checkout = mkdtempSync(join(folder, "checkout-"));
    cpSync(join(root, check), join(checkout, check));
    writeFileSync(join(checkout, "package.json"), text);
    if (isInstalled) mkdirSync(join(checkout, "node_modules", ".bin"), { recursive: true });
    if (brings !== undefined) mkdirSync(join(checkout, "node_modules", brings));
    return ran(node, join(checkout, check));
  }

  test("before npm ci: one sentence, on any Node", () => {
    const nothing = { status: 2, stdout: "", stderr: "meshward: Nothing is installed yet: run npm ci first.\n" };
    for (const node of [process.execPath, old?.path ?? process.execPath])
      assert.deepEqual(checked(node, { isInstalled: false }), nothing);
    assert.deepEqual(checked(process.execPath, { isInstalled: true }), { status: 0, stdout: "", stderr: "" });
  });

  test("with an old Node and without the optional one: what npm left out, or does not have", needsOldNode, () => {
    const text = readFileSync(join(root, "package.json"), "utf8");
    const others = text.replaceAll(/"node-(linux|darwin|win)-/g, '"node-elsewhere-');
    const saying = {
      isInstalled: true,
      text: text.replaceAll(/"node-(linux|darwin|win)-(x64|arm64)"/g, `"${ownName}"`),
    };
    const leftOut = checked(old?.path ?? "", saying);
    assert.equal(leftOut.status, 2);
    assert.match(
      leftOut.stderr,
      /need Node 22\.19 .* yours is v.* npm left out .* optional package node-.*--omit=optional/,
    );
    const none = checked(old?.path ?? "", { isInstalled: true, text: others });
    assert.match(
      none.stderr,
      /yours is v.*: npm has no Node 24 for .*\. Install Node 24 and put it first in PATH\.\n$/,
    );
  });

  test("with an old Node, and not through npm: npm has a newer one", needsOldNode, () => {
    const { status, stderr } = checked(old?.path ?? "", { isInstalled: true, brings: ownName });
    assert.equal(status, 2);
    assert.match(stderr, /yours is v.* only npm puts it in PATH\. Start the command with npm run, or with npm exec/);
  });

  test("each script that needs something installed asks first", () => {
    const { prepare: _, check: __, ...scripts } = packageJson.scripts;
    for (const [name, script] of Object.entries(scripts)) assert.ok(script.includes(check), name);
  });
});

interface Checkout {
  readonly isInstalled: boolean;
  /** A package beside. */
  readonly brings?: string;
  readonly text?: string;
}

const ownName = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
