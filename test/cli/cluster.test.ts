import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, type TestContext, test } from "node:test";
import { createApiServerClient } from "../../src/demo/api-server-client.ts";
import { ListWatchServer } from "../sources/cluster/list-watch-server.ts";
import { kubeconfigFor } from "../sources/cluster/live-cluster.ts";
import { eventually } from "../sources/cluster/manual-pace.ts";
import { meshward } from "./terminal.ts";
import { program } from "./program.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-cluster-cli-"));
after(() => rmSync(root, { recursive: true }));

/** A namespace shop with a DestinationRule that defines v1. */
async function cluster(context: TestContext): Promise<{ server: ListWatchServer; kubeconfig: string }> {
  const server = new ListWatchServer();
  for (const [version, kind, plural] of [
    ["v1", "ConfigMap", "configmaps"],
    ["v1", "Namespace", "namespaces"],
    ["v1", "Service", "services"],
    ["v1", "Pod", "pods"],
    ["apps/v1", "Deployment", "deployments"],
    ["networking.istio.io/v1", "VirtualService", "virtualservices"],
    ["networking.istio.io/v1", "DestinationRule", "destinationrules"],
    ["networking.istio.io/v1", "ServiceEntry", "serviceentries"],
    ["networking.istio.io/v1", "Gateway", "gateways"],
    ["security.istio.io/v1", "PeerAuthentication", "peerauthentications"],
    ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"],
  ] as const)
    server.serve(version, kind, plural);
  server.apply("namespaces", { metadata: { name: "shop" } });
  server.apply("services", { metadata: { name: "shop", namespace: "shop" }, spec: { ports: [{ port: 80 }] } });
  server.apply("destinationrules", {
    metadata: { name: "shop", namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { host: "shop", subsets: [{ name: "v1", labels: { version: "v1" } }] },
  });
  const kubeconfig = kubeconfigFor(context, await server.listen());
  context.after(() => server.close());
  return { server, kubeconfig };
}

const virtualService = (subset: string) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop" },
  spec: { hosts: ["shop"], http: [{ route: [{ destination: { host: "shop", subset } }] }] },
});

function fileWith(object: object): string {
  const file = join(root, "virtual-service.json");
  writeFileSync(file, JSON.stringify(object));
  return file;
}

describe("check and capture", () => {
  test("files are judged as changes of the live cluster, and of its capture", async (context) => {
    const { kubeconfig } = await cluster(context);
    const capture = join(root, "capture.json");
    const captured = await meshward(["capture", "-o", capture, "--kubeconfig", kubeconfig]);
    assert.equal(captured.code, 0, captured.error);
    assert.match(captured.error, /^meshward: note: not read from the cluster: .*rollouts\.argoproj\.io absent/);
    assert.match(captured.error, /3 objects of http:\/\/127\.0\.0\.1:\d+ \(context test\) to .*capture\.json\n$/);
    assert.equal(captured.out, "");
    for (const mesh of [
      ["--mesh", "cluster", "--kubeconfig", kubeconfig],
      ["--mesh", capture],
    ]) {
      const right = await meshward(["check", fileWith(virtualService("v1")), ...mesh]);
      assert.equal(right.code, 0, right.error + right.out);
      const wrong = await meshward(["check", fileWith(virtualService("v9")), ...mesh]);
      assert.equal(wrong.code, 1, wrong.error);
      assert.match(wrong.out, /Subset "v9" of "shop\.shop\.svc\.cluster\.local" does not exist/);
    }
  });

  test("what a cluster refuses is one line and exit 2", async (context) => {
    const { server, kubeconfig } = await cluster(context);
    const output = join(root, "none.json");
    const commands = [
      ["check", fileWith(virtualService("v1")), "--mesh", "cluster"],
      ["capture", "-o", output],
    ];
    const refused = async (flags: readonly string[], says: RegExp) => {
      for (const command of commands) {
        const { code, error, out } = await meshward([...command, ...flags]);
        assert.deepEqual([code, out], [2, ""]);
        assert.match(error, says);
        assert.equal(error.trim().split("\n").length, 1, error);
      }
      assert.ok(!existsSync(output));
    };
    await refused([], /^meshward: there is no kubeconfig: give --kubeconfig or set KUBECONFIG/);
    await refused(
      ["--kubeconfig", kubeconfig, "--context", "prod"],
      /^meshward: the kubeconfig has no context "prod"; its contexts are test$/m,
    );
    server.token = "new";
    await refused(
      ["--kubeconfig", kubeconfig],
      /^meshward: http:.* answered 401: Unauthorized; the credentials have expired/,
    );
    await server.close();
    await refused(["--kubeconfig", kubeconfig], /^meshward: http:.* cannot be reached: connection refused; check/);
  });

  test("a capture that cannot be written, and one that cannot be read", async (context) => {
    const { kubeconfig } = await cluster(context);
    const unwritten = await meshward(["capture", "-o", join(root, "no", "capture.json"), "--kubeconfig", kubeconfig]);
    assert.equal(unwritten.code, 2);
    assert.match(unwritten.error, /^meshward: --output .* cannot be written: its folder does not exist: create it/);
    const cut = join(root, "cut.json");
    writeFileSync(cut, '{"apiVersion":"meshward.io/v1alpha1","kind":"Capture","version":1,"items":[\n{"a":1},\n');
    const unread = await meshward(["check", fileWith(virtualService("v1")), "--mesh", cut]);
    assert.equal(unread.code, 2);
    assert.match(
      unread.error,
      /^meshward: --mesh: the capture .*cut\.json is incomplete after 1 objects; run meshward capture again\n$/,
    );
  });
});

describe("serve --mesh cluster", () => {
  test("is ready once the cluster is there, follows it, and goes on without it", async (context) => {
    const { server, kubeconfig } = await cluster(context);
    const { port } = new URL(server.url);
    await server.close();
    const certs = join(root, "certs");
    const argv = ["--mesh", "cluster", "--kubeconfig", kubeconfig, "--self-signed", "--certs", certs];
    const ports = ["--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"];
    const child = spawn(process.execPath, [await program(), "serve", ...argv, ...ports], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    context.after(() => child.kill("SIGKILL"));
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk) => (text += String(chunk)));
    const lines = () =>
      text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Record<string, unknown>]));
    const line = (message: string) => lines().find(({ msg }) => msg === message);
    await forAWhile("serving", () => line("serving") !== undefined);
    const ops = (path: string) => fetch(`http://127.0.0.1:${Number(line("serving")?.["opsPort"])}${path}`);
    await forAWhile("interrupted", () => line("connection interrupted; retrying") !== undefined);
    const unready = await ops("/readyz");
    assert.equal(unready.status, 503);
    assert.match(
      await unready.text(),
      /\[-\]mesh VirtualService failed: not listed yet: virtualservices.* connection refused/,
    );

    await server.listen(Number(port));
    await forAWhile("ready", async () => (await ops("/readyz")).status === 200);
    const verbose = await (await ops("/readyz?verbose")).text();
    assert.match(verbose, /^\[\+\]mesh VirtualService ok$/m);
    assert.match(
      await (await ops("/metrics")).text(),
      /^meshward_view_freshness_seconds\{kind="VirtualService"\} [\d.e-]+$/m,
    );

    const client = createApiServerClient({
      url: `https://127.0.0.1:${Number(line("serving")?.["port"])}`,
      ca: readFileSync(join(certs, "ca.crt"), "utf8"),
    });
    const create = async (subset: string) =>
      (await client.admit({ operation: "CREATE", object: virtualService(subset) })).allowed;
    assert.deepEqual([await create("v1"), await create("v2")], [true, false]);
    const rule = server.objects("destinationrules")[0];
    assert.ok(rule);
    await forAWhile("watched", () => server.watchersOf("destinationrules") === 1);
    server.apply("destinationrules", { ...rule, spec: { host: "shop", subsets: [{ name: "v1" }, { name: "v2" }] } });
    await forAWhile("followed", () => create("v2"));
    // Reviews ask about namespaces and single objects; reflectors, whose watches begin and end when they like, about all.
    const asked = () => server.requests.filter(({ path }) => path.includes("/namespaces/shop")).length;
    const before = asked();
    assert.notEqual(before, 0, "the denial was confirmed");
    for (let i = 0; i < 20; i++) assert.ok(await create("v1"));
    assert.equal(asked(), before, "an allowed review asks the API server for nothing");

    await server.close();
    assert.equal(await create("v2"), true, "what is known stays known");
    const unconfirmed = await client.admit({ operation: "CREATE", object: virtualService("v3") });
    assert.equal(unconfirmed.allowed, true, "what nobody confirms denies nothing");
    assert.match(unconfirmed.warnings.join("\n"), /virtual-service-subset-not-found.*"v3"/);
    assert.equal((await ops("/readyz")).status, 200, "an API server that is away makes nobody unready");
    client.close();
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    assert.deepEqual(await exit, [0, null]);
  });

  test("a kubeconfig that cannot work is one line and exit 2", async () => {
    const { code, error } = await meshward([
      "serve",
      "--mesh",
      "cluster",
      "--self-signed",
      "--certs",
      join(root, "c"),
      "--log-level",
      "silent",
    ]);
    assert.equal(code, 2);
    assert.match(error, /meshward: there is no kubeconfig: give --kubeconfig/);
  });
});

/** As `eventually`, for what has to be asked for. */
async function forAWhile(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const until = Date.now() + 30_000;
  while (Date.now() < until) {
    if (await isTrue()) return;
    let isOver = false;
    setTimeout(() => (isOver = true), 20);
    await eventually(what, () => isOver);
  }
  assert.fail(`never happened: ${what}`);
}
