import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { namespaceKey } from "../../../src/kube/identity.ts";
import { lastApplied } from "../../../src/kube/object.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { CaptureError, isCapture, readCapture, writeCapture } from "../../../src/sources/cluster/capture.ts";
import { type ClusterConnection, connectToCluster } from "../../../src/sources/cluster/connection.ts";
import { meshOfCluster } from "../../../src/sources/cluster/snapshot.ts";
import { ListWatchServer } from "./list-watch-server.ts";
import { kubeconfigFor, virtualService } from "./live-cluster.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-capture-"));
after(() => rmSync(root, { recursive: true }));
const now = new Date("2026-01-02T03:04:05Z");

async function cluster(context: TestContext): Promise<{ server: ListWatchServer; connection: ClusterConnection }> {
  const server = new ListWatchServer();
  for (const [version, kind, plural] of [
    ["v1", "ConfigMap", "configmaps"],
    ["v1", "Secret", "secrets"],
    ["v1", "Namespace", "namespaces"],
    ["v1", "Pod", "pods"],
    ["apps/v1", "Deployment", "deployments"],
    ["networking.istio.io/v1", "VirtualService", "virtualservices"],
  ] as const)
    server.serve(version, kind, plural);
  server.apply("virtualservices", { ...virtualService("a"), status: { laterRules: "may read this" } });
  server.apply("namespaces", { metadata: { name: "shop", labels: { team: "shop" } } });
  server.apply("secrets", { metadata: { name: "secret", namespace: "istio-system" }, data: { key: "hidden" } });
  const labels = { "istio.io/rev": "canary" };
  server.apply("configmaps", {
    metadata: { name: "istio", namespace: "istio-system", labels: { "istio.io/rev": "default" } },
    data: { mesh: "trustDomain: td" },
  });
  server.apply("configmaps", {
    metadata: { name: "istio-canary", namespace: "istio-system", labels },
    data: { mesh: "" },
  });
  server.apply("configmaps", {
    metadata: { name: "istio-sidecar-injector", namespace: "istio-system", labels },
    data: { config: "policy: enabled" },
  });
  server.apply("configmaps", { metadata: { name: "other", namespace: "shop" }, data: { key: "hidden" } });
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "shop", controller: true }];
  server.apply("pods", { metadata: { name: "owned", namespace: "shop", ownerReferences } });
  server.apply("deployments", { metadata: { name: "shop", namespace: "shop" } });
  const kubeconfig = kubeconfigFor(context, await server.listen());
  const connection = await connectToCluster({ kubeconfig, env: {} });
  context.after(async () => {
    connection.close();
    await server.close();
  });
  return { server, connection };
}

test("a capture holds what was sent, never Secrets, of ConfigMaps Istio's own; it gives the mesh that the cluster gives", async (context) => {
  const { server, connection } = await cluster(context);
  const file = join(root, "whole.json");
  const { count, missing } = await writeCapture(connection, { file, now });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const text = readFileSync(file, "utf8");
  const capture = JSON.parse(text) as { items: { kind: string }[]; count: number; at: string };
  assert.deepEqual([capture.items.length, capture.count, capture.at], [count, count, now.toISOString()]);
  assert.deepEqual(capture.items.map(({ kind }) => kind).sort(), [
    "ConfigMap",
    "ConfigMap",
    "ConfigMap",
    "Deployment",
    "Namespace",
    "Pod",
    "VirtualService",
  ]);
  assert.match(text, /may read this/);
  assert.doesNotMatch(text, /hidden/);
  assert.equal(server.count("list secrets"), 0);
  assert.ok(missing.includes("destinationrules.networking.istio.io absent"));

  assert.ok(isCapture(file));
  const mesh = await readCapture(file, { settings: defaultMeshSettings });
  const kinds = ["VirtualService", "Namespace", "Workload", "MeshConfig", "DestinationRule"] as const;
  const live = await meshOfCluster(connection, { kinds, settings: defaultMeshSettings });
  assert.deepEqual(mesh.settings, live.mesh.settings);
  assert.deepEqual([mesh.settings.trustDomain, mesh.settings.revisions], ["td", ["canary", "default"]]);
  for (const kind of kinds) {
    assert.deepEqual([...mesh.all(kind)], [...live.mesh.all(kind)]);
    assert.equal(mesh.knowledge(kind), live.mesh.knowledge(kind), kind);
  }
  assert.deepEqual([mesh.knowledge("VirtualService"), mesh.knowledge("DestinationRule")], ["complete", "unknown"]);
});

test("a capture may hold every character, objects longer than what is read at once, and line ends of Windows", async (context) => {
  const { server, connection } = await cluster(context);
  const labels = { odd: "\u2028\u2029\u0085 \ud83d\ude00 ü", long: "ü".repeat(3_000_000) };
  const [odd, crlf] = [join(root, "odd.json"), join(root, "crlf.json")];
  server.apply("deployments", { metadata: { name: "odd", namespace: "shop", labels } });
  await writeCapture(connection, { file: odd, now });
  writeFileSync(crlf, readFileSync(odd, "utf8").replaceAll("\n", "\r\n"));
  for (const file of [odd, crlf]) {
    const mesh = await readCapture(file, { settings: defaultMeshSettings });
    const read = mesh.find("Workload", "shop/Deployment/odd");
    assert.deepEqual(read?.metadata.labels, labels);
    assert.equal(mesh.count("Workload"), 2);
  }
});

test("for reviews the mesh of a capture leaves out what kubectl applied last, and for check it keeps it", async (context) => {
  const { server, connection } = await cluster(context);
  const annotations = { [lastApplied]: "{}", "a/b": "c" };
  server.apply("namespaces", { metadata: { name: "annotated", annotations } });
  const file = join(root, "annotated.json");
  await writeCapture(connection, { file, now });
  const annotationsOf = async (isForReviews: boolean) => {
    const mesh = await readCapture(file, { settings: defaultMeshSettings, isForReviews });
    return mesh.find("Namespace", namespaceKey("annotated"))?.metadata.annotations;
  };
  assert.deepEqual(await annotationsOf(true), { "a/b": "c" });
  assert.deepEqual(await annotationsOf(false), annotations);
});

test("nothing is left behind where a capture fails", async (context) => {
  const { server, connection } = await cluster(context);
  const file = join(root, "failed.json");
  server.token = "none has it";
  await assert.rejects(writeCapture(connection, { file, now }), /answered 401/);
  await assert.rejects(writeCapture(connection, { file: join(root, "no", "folder"), now }), { code: "ENOENT" });
  assert.deepEqual([existsSync(file), existsSync(`${file}.partial`)], [false, false]);
});

test("a capture that is not whole, or not ours, is refused by name", async (context) => {
  const { connection } = await cluster(context);
  const file = join(root, "good.json");
  await writeCapture(connection, { file, now });
  const text = readFileSync(file, "utf8");
  const lines = text.trimEnd().split("\n");
  const last = lines.at(-1) ?? "";
  const wrong: readonly [string, string, RegExp][] = [
    ["cut in the first line", text.slice(0, 90), /is incomplete after 0 objects; run meshward capture again$/],
    [
      "cut in an object",
      text.slice(0, text.indexOf("\n", 400) + 40),
      /is damaged or incomplete after \d objects; run meshward capture again$/,
    ],
    [
      "cut between objects",
      `${lines.slice(0, 3).join("\n")}\n`,
      /is incomplete after 2 objects; run meshward capture again$/,
    ],
    [
      "without an object",
      [...lines.slice(0, 2), ...lines.slice(3)].join("\n"),
      /should contain 7 objects and contains 6; run meshward capture again$/,
    ],
    ["with more", `${text}{}\n`, /has data after its end; run meshward capture again$/],
    [
      "of a later version",
      text.replace('"version":1', '"version":2'),
      /has version meshward.io\/v1alpha1 2, and this Meshward reads meshward.io\/v1alpha1 1/,
    ],
    ["of a later API", text.replace("v1alpha1", "v1"), /has version meshward.io\/v1 1, and this Meshward reads/],
    [
      "reformatted",
      JSON.stringify(JSON.parse(text), null, 2),
      /was changed after Meshward wrote it \(one object for each line\); run meshward capture again$/,
    ],
  ];
  assert.match(last, /^\],"knowledge"/);
  for (const [name, content, says] of wrong) {
    const path = join(root, `${name.replaceAll(" ", "-")}.json`);
    writeFileSync(path, content);
    assert.ok(isCapture(path), name);
    await assert.rejects(readCapture(path, { settings: defaultMeshSettings }), (error: unknown) => {
      assert.ok(error instanceof CaptureError, name);
      assert.ok(error.message.includes(path), name);
      assert.match(error.message, says, name);
      return true;
    });
  }
});

test("other files are no captures", () => {
  const manifest = join(root, "manifest.json");
  writeFileSync(manifest, '{"apiVersion":"v1","kind":"Namespace"}');
  for (const path of [manifest, root, join(root, "missing")]) assert.equal(isCapture(path), false, path);
});
