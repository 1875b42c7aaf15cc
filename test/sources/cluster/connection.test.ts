import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { TLSSocket } from "node:tls";
import { after, describe, type TestContext, test } from "node:test";
import { ClusterError } from "../../../src/sources/cluster/cluster-error.ts";
import { type ConnectionOptions, connectToCluster } from "../../../src/sources/cluster/connection.ts";
import { readJson } from "../../../src/sources/cluster/list.ts";
import { selfSigned } from "../../../src/tls/self-signed.ts";
import { type Fault, ListWatchServer, refuse } from "./list-watch-server.ts";
import { kubeconfigFor } from "./live-cluster.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-kubeconfig-"));
after(() => rmSync(root, { recursive: true }));

let files = 0;
function file(content: string | object): string {
  const path = join(root, `file-${files++}`);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const config = (name: string, server: string, user: object = {}) => ({
  "current-context": name,
  clusters: [{ name, cluster: { server } }],
  users: [{ name, user }],
  contexts: [{ name, context: { cluster: name, user: name } }],
});

async function started(context: TestContext, tls?: { cert: string; key: string }): Promise<ListWatchServer> {
  const server = new ListWatchServer(tls);
  server.serve("v1", "Namespace", "namespaces");
  await server.listen();
  context.after(() => server.close());
  return server;
}

/** Lists namespaces with these options; the server's name for messages comes back. */
async function ask(options: ConnectionOptions): Promise<string> {
  const connection = await connectToCluster(options);
  try {
    await readJson(connection, "/api/v1/namespaces");
    return connection.server;
  } finally {
    connection.close();
  }
}

const fails = (fault: string, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ClusterError, String(error));
  assert.match(error.message, says);
  assert.doesNotMatch(error.message, /\n/);
  assert.equal(error.fault, fault);
  return true;
};

describe("which cluster", () => {
  test("the current context, or the one that is named", async () => {
    const kubeconfig = file({
      "current-context": "a",
      clusters: [
        { name: "one", cluster: { server: "https://one:6443/" } },
        { name: "two", cluster: { server: "https://two:6443/k8s" } },
      ],
      users: [{ name: "u", user: {} }],
      contexts: [
        { name: "a", context: { cluster: "one", user: "u" } },
        { name: "b", context: { cluster: "two" } },
      ],
    });
    const server = async (context?: string) => (await connectToCluster({ kubeconfig, context, env: {} })).server;
    assert.equal(await server(), "https://one:6443 (context a)");
    assert.equal(await server("b"), "https://two:6443/k8s (context b)");
    await assert.rejects(
      server("c"),
      fails("configuration", /^the kubeconfig has no context "c"; its contexts are a, b$/),
    );
  });

  test("YAML with anchors and merge keys", async () => {
    const kubeconfig = file(`
current-context: b
clusters:
  - name: one
    cluster: &cluster {server: "https://one:6443", tls-server-name: api}
  - name: two
    cluster: {<<: *cluster, server: "https://two:6443"}
users: [{name: u, user: {}}]
contexts:
  - {name: b, context: {cluster: two, user: u}}
`);
    assert.equal((await connectToCluster({ kubeconfig, env: {} })).server, "https://two:6443 (context b)");
  });

  test("KUBECONFIG names several files: what comes first counts, what is not there is passed over", async () => {
    const [one, two] = [file(config("one", "https://one")), file({ ...config("two", "https://two"), ...{} })];
    const again = file(config("two", "https://again"));
    const env = { KUBECONFIG: [join(root, "missing"), one, two, again].join(delimiter) };
    assert.equal((await connectToCluster({ env })).server, "https://one (context one)");
    assert.equal((await connectToCluster({ env, context: "two" })).server, "https://two (context two)");
    assert.equal((await connectToCluster({ env, kubeconfig: again })).server, "https://again (context two)");
  });

  test("~/.kube/config, before the pod's own account", async () => {
    const { mkdirSync } = await import("node:fs");
    const home = join(root, "home");
    mkdirSync(join(home, ".kube"), { recursive: true });
    writeFileSync(join(home, ".kube", "config"), JSON.stringify(config("home", "https://home")));
    const env = { HOME: home, KUBERNETES_SERVICE_HOST: "10.0.0.1" };
    assert.equal((await connectToCluster({ env })).server, "https://home (context home)");
  });

  test("in a pod: its service account", async (context) => {
    const certs = join(root, "pod");
    const { certificates } = await selfSigned({ folder: certs, hosts: ["127.0.0.1"], now: Date.now() });
    const server = await started(context, certificates.current());
    server.token = "of-the-pod";
    writeFileSync(join(certs, "token"), "of-the-pod\n");
    const { port } = new URL(server.url);
    const env = { HOME: root, KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: port };
    assert.match(await ask({ env, serviceAccountFolder: certs }), /context in-cluster/);
    const ipv6 = await connectToCluster({
      env: { ...env, KUBERNETES_SERVICE_HOST: "fd00::1" },
      serviceAccountFolder: certs,
    });
    assert.equal(ipv6.server, `https://[fd00::1]:${port} (context in-cluster)`);
  });

  const wrong = (name: string, options: () => ConnectionOptions, says: RegExp) =>
    test(`${name}: one line that says what to do`, async () => {
      await assert.rejects(connectToCluster(options()), fails("configuration", says));
    });
  const contexts = [{ name: "a", context: { cluster: "one", user: "u" } }];
  void wrong(
    "nothing at all",
    () => ({ env: { HOME: root } }),
    /^there is no kubeconfig: give --kubeconfig or set KUBECONFIG/,
  );
  void wrong(
    "a file that is not there",
    () => ({ kubeconfig: join(root, "no"), env: {} }),
    /--kubeconfig .*no: there is no such file: correct the path/,
  );
  void wrong(
    "a list of files that are not there",
    () => ({ env: { KUBECONFIG: "/no/a" } }),
    /KUBECONFIG names no file that exists: \/no\/a/,
  );
  void wrong(
    "a file that is no YAML",
    () => ({ kubeconfig: file("a: [\n"), env: {} }),
    /cannot be read: .*kubectl config view/,
  );
  void wrong("a file that is something else", () => ({ kubeconfig: file("- 1\n"), env: {} }), /it is not a kubeconfig/);
  void wrong(
    "no current context",
    () => ({ kubeconfig: file({ contexts }), env: {} }),
    /no current-context: give --context \(its contexts are a\)/,
  );
  void wrong(
    "a context without its cluster",
    () => ({ kubeconfig: file({ contexts, "current-context": "a" }), env: {} }),
    /context "a" .* names the cluster one, which is missing/,
  );
  void wrong(
    "a context without its user",
    () => ({ kubeconfig: file({ ...config("one", "https://one"), contexts, "current-context": "a" }), env: {} }),
    /context "a" .* names the user u, who is missing/,
  );
});

describe("credentials", () => {
  test("a client certificate is shown, and the server's checked against the kubeconfig's authority", async (context) => {
    const certs = join(root, "mutual");
    const { certificates, caPath } = await selfSigned({ folder: certs, hosts: ["127.0.0.1"], now: Date.now() });
    const tls = { ...certificates.current(), ca: readFileSync(caPath), requestCert: true, rejectUnauthorized: false };
    const server = await started(context, tls);
    const client = { "client-certificate": "tls.crt", "client-key": "tls.key" };
    const kubeconfig = join(certs, "config");
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        ...config("c", server.url, client),
        clusters: [{ name: "c", cluster: { server: server.url, "certificate-authority": "ca.crt" } }],
      }),
    );
    const shown: unknown[] = [];
    const look: Fault = (_request, response) => {
      shown.push((response.socket as TLSSocket).getPeerX509Certificate()?.subject ?? null);
      return false;
    };
    server.faults.push(look);
    assert.match(await ask({ kubeconfig, env: {} }), /context c/);
    await ask({ kubeconfig: kubeconfigFor(context, server.url, {}, { "certificate-authority": caPath }), env: {} });
    assert.equal(shown.length, 2);
    assert.ok(shown[0] !== null && shown[1] === null, `shown: ${JSON.stringify(shown)}`);
  });

  test("a plugin is started, told what for, and asked again when its token is refused", async (context) => {
    const server = await started(context);
    server.token = "token-1";
    const counter = join(root, "counter");
    writeFileSync(counter, "0");
    const plugin = join(root, "plugin.mjs");
    writeFileSync(
      plugin,
      `#!${process.execPath}
import fs from "node:fs";
const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
if (info.kind !== "ExecCredential" || process.argv[2] !== "get-token") process.exit(1);
const count = Number(fs.readFileSync(process.env.COUNTER, "utf8")) + 1;
fs.writeFileSync(process.env.COUNTER, String(count));
console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: "ExecCredential", status: { token: "token-" + count } }));
`,
    );
    chmodSync(plugin, 0o755);
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "./plugin.mjs",
      args: ["get-token"],
      env: [{ name: "COUNTER", value: counter }],
    };
    const kubeconfig = file(config("c", server.url, { exec }));
    const connection = await connectToCluster({ kubeconfig, env: {} });
    context.after(() => connection.close());
    await readJson(connection, "/api/v1/namespaces");
    await readJson(connection, "/api/v1/namespaces");
    assert.equal(readFileSync(counter, "utf8"), "1", "asked once");
    server.token = "token-2";
    await Promise.all([1, 2, 3].map(() => readJson(connection, "/api/v1/namespaces")));
    assert.equal(readFileSync(counter, "utf8"), "2", "asked once more, for all who were refused");
  });

  test("a plugin that fails", async (context) => {
    const server = await started(context);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: join(root, "no-such-plugin") };
    const kubeconfig = file(config("c", server.url, { exec }));
    await assert.rejects(
      ask({ kubeconfig, env: {} }),
      fails("unauthorized", /cannot get credentials for .*: .*no-such-plugin/),
    );
  });
});

describe("what goes wrong is one line that says what to do", () => {
  test("nothing listens there", async (context) => {
    const free = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => free.once("listening", resolve));
    const { port } = free.address() as { port: number };
    await new Promise((resolve) => free.close(resolve));
    const kubeconfig = kubeconfigFor(context, `https://127.0.0.1:${port}`);
    await assert.rejects(
      ask({ kubeconfig, env: {} }),
      fails("unreachable", /^https:\/\/127\.0\.0\.1:\d+ \(context test\) cannot be reached: connection refused; check/),
    );
  });

  test("a wrong authority, and none", async (context) => {
    const mine = await selfSigned({ folder: join(root, "mine"), hosts: ["127.0.0.1"], now: Date.now() });
    const other = await selfSigned({ folder: join(root, "other"), hosts: ["127.0.0.1"], now: Date.now() });
    const server = await started(context, mine.certificates.current());
    const trusting = (cluster: object) => ask({ kubeconfig: kubeconfigFor(context, server.url, {}, cluster), env: {} });
    await trusting({ "certificate-authority": mine.caPath });
    await trusting({ "insecure-skip-tls-verify": true });
    const says = /not trusted: its certificate is not signed by a CA of the kubeconfig .*certificate-authority-data/;
    await assert.rejects(trusting({ "certificate-authority": other.caPath }), fails("untrusted", says));
    await assert.rejects(trusting({}), fails("untrusted", says));
  });

  test("a server that speaks no TLS", async (context) => {
    const server = await started(context);
    const kubeconfig = kubeconfigFor(context, server.url.replace("http:", "https:"));
    await assert.rejects(ask({ kubeconfig, env: {} }), fails("untrusted", /does not speak TLS.*scheme/));
  });

  for (const [status, fault, says] of [
    [401, "unauthorized", /answered 401: no; the credentials have expired .*log in again/],
    [403, "forbidden", /answered 403: no; grant it the verbs get, list and watch/],
    [429, "busy", /answered 429: no; try again later/],
    [500, "failed", /answered 500: no$/],
  ] as const)
    test(`status ${status}`, async (context) => {
      const server = await started(context);
      const answer = () => {
        server.faults.push((_request, response) => {
          answer();
          refuse(response, status, "no");
          return true;
        });
      };
      answer();
      await assert.rejects(ask({ kubeconfig: kubeconfigFor(context, server.url), env: {} }), fails(fault, says));
    });

  test("what a server says is shown as one line without control characters", async (context) => {
    const server = await started(context);
    server.faults.push((_request, response) => {
      refuse(response, 500, `a\nb\u001b[31m${"x".repeat(2_000)}`);
      return true;
    });
    await assert.rejects(ask({ kubeconfig: kubeconfigFor(context, server.url), env: {} }), (error: Error) => {
      assert.match(error.message, /a b \[31mxxx/);
      assert.ok(error.message.length < 600);
      return true;
    });
  });

  test("an answer that is no JSON", async (context) => {
    const server = await started(context);
    server.faults.push((_request, response) => {
      response.end("<html>");
      return true;
    });
    await assert.rejects(
      ask({ kubeconfig: kubeconfigFor(context, server.url), env: {} }),
      fails("failed", /not JSON; check/),
    );
  });
});
