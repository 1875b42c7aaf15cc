import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { leases } from "../../src/controllers/election.ts";
import { FollowedObjects } from "../../src/controllers/followed-objects.ts";
import { ObjectClient, type Resource } from "../../src/controllers/objects.ts";
import { ClusterError } from "../../src/sources/cluster/cluster-error.ts";
import { connectToCluster } from "../../src/sources/cluster/connection.ts";
import { temporaryFolder } from "../contract/api-server.ts";
import { eventually } from "../sources/cluster/manual-pace.ts";
import { forbidden, MemoryCluster } from "./memory-cluster.ts";

const secrets: Resource = { group: "", version: "v1", kind: "Secret", plural: "secrets", namespaced: true };
const at = { namespace: "here", name: "one" } as const;
const fault = (fault: string) => (error: unknown) => error instanceof ClusterError && error.fault === fault;

function client() {
  const cluster = new MemoryCluster();
  return { cluster, secrets: new ObjectClient(cluster.connect(), secrets) };
}

test("an object is created, read, replaced, patched, listed and deleted", async () => {
  const { secrets } = client();
  const created = await secrets.create({ metadata: { ...at }, data: { a: "1" } });
  assert.equal(created.kind, "Secret");
  assert.equal(created.apiVersion, "v1");
  const replaced = await secrets.replace({ ...created, data: { a: "2" } });
  assert.deepEqual(replaced["data"], { a: "2" });
  await secrets.patch(at, "merge", { data: { b: "3" } });
  await secrets.patch(at, "json", [{ op: "remove", path: "/data/a" }]);
  const { items, resourceVersion } = await secrets.list({ namespace: "here" });
  assert.deepEqual(
    items.map((item) => item["data"]),
    [{ b: "3" }],
  ); // prettier-ignore
  assert.match(resourceVersion, /^\d+$/);
  assert.deepEqual((await secrets.list({ namespace: "elsewhere" })).items, []);
  await secrets.delete(at);
  await assert.rejects(secrets.get(at), fault("absent"));
});

test("what another client did meanwhile is never overwritten", async () => {
  const { cluster, secrets } = client();
  const read = await secrets.create({ metadata: { ...at }, data: {} });
  await assert.rejects(secrets.create({ metadata: { ...at } }), fault("exists"));
  cluster.put("secrets/here/one", { data: { theirs: "1" } });
  await assert.rejects(secrets.replace({ ...read, data: { ours: "1" } }), fault("conflict"));
  const guard = { op: "test", path: "/metadata/resourceVersion", value: read.metadata.resourceVersion };
  await assert.rejects(secrets.patch(at, "json", [guard, { op: "remove", path: "/data" }]), fault("invalid"));
  await assert.rejects(secrets.delete(at, { resourceVersion: read.metadata.resourceVersion ?? "" }), fault("conflict"));
  assert.deepEqual(cluster.get("secrets/here/one")?.["data"], { theirs: "1" });
});

test("a dry run stores nothing", async () => {
  const { cluster, secrets } = client();
  await secrets.create({ metadata: { ...at } }, { dryRun: true });
  assert.equal(cluster.get("secrets/here/one"), undefined);
});

test("a missing permission is named", async () => {
  const { cluster, secrets } = client();
  cluster.hook = (request) => {
    throw forbidden(request);
  };
  await assert.rejects(secrets.replace({ metadata: { ...at } }), (error) => {
    assert.ok(error instanceof ClusterError && error.fault === "forbidden");
    assert.match(error.message, /cannot update resource "secrets"; grant it this verb$/);
    return true;
  });
});

/** A server that keeps what it is sent and answers `status` with `body`. */
async function server(context: TestContext, status: number, body: object) {
  const seen: { method: string | undefined; url: string | undefined; type: string | undefined; body: string }[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { method, url, headers } = request;
    seen.push({ method, url, type: headers["content-type"], body: await text(request) });
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const http = createServer((request, response) => void answer(request, response));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const kubeconfig = join(temporaryFolder(context), "config");
  const clusters = [{ name: "c", cluster: { server: url } }];
  const contexts = [{ name: "c", context: { cluster: "c", user: "u" } }];
  const config = { apiVersion: "v1", kind: "Config", clusters, contexts, users: [{ name: "u", user: {} }] };
  writeFileSync(kubeconfig, JSON.stringify({ ...config, "current-context": "c" }));
  const connection = await connectToCluster({ kubeconfig, env: {} });
  context.after(() => {
    connection.close();
    http.closeAllConnections();
    http.close();
  });
  return { seen, client: (resource: Resource) => new ObjectClient(connection, resource) };
}

test("requests have the path, the method and the content type that the API server expects", async (context) => {
  const { seen, client } = await server(context, 200, { metadata: { name: "one", namespace: "here" } });
  const some = client(leases);
  const object = { metadata: { ...at } };
  await some.create(object, { dryRun: true, fieldManager: "meshward" });
  await some.replace(object);
  await some.replace(object, { subresource: "status" });
  await some.patch(at, "merge", {});
  await some.patch(at, "json", []);
  await some.patch(at, "apply", {}, { fieldManager: "meshward", force: true, subresource: "status" });
  await some.delete(at, { uid: "u" });
  const root = "/apis/coordination.k8s.io/v1/namespaces/here/leases";
  assert.deepEqual(
    seen.map(({ method, url, type }) => [method, url, type]),
    [
      ["POST", `${root}?dryRun=All&fieldManager=meshward`, "application/json"],
      ["PUT", `${root}/one`, "application/json"],
      ["PUT", `${root}/one/status`, "application/json"],
      ["PATCH", `${root}/one`, "application/merge-patch+json"],
      ["PATCH", `${root}/one`, "application/json-patch+json"],
      ["PATCH", `${root}/one/status?fieldManager=meshward&force=true`, "application/apply-patch+yaml"],
      ["DELETE", `${root}/one`, "application/json"],
    ],
  );
  assert.deepEqual(JSON.parse(seen[0]?.body ?? ""), {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: at,
  });
  assert.deepEqual(JSON.parse(seen.at(-1)?.body ?? "").preconditions, { uid: "u" });
});

test("the reason of a refusal decides, not the status alone", async (context) => {
  const refusals = [
    [409, "AlreadyExists", "exists"],
    [409, "Conflict", "conflict"],
    [404, "NotFound", "absent"],
    [403, "Forbidden", "forbidden"],
    [422, "Invalid", "invalid"],
    [429, "TooManyRequests", "busy"],
    [500, "InternalError", "failed"],
  ] as const;
  for (const [status, reason, expected] of refusals) {
    const { client } = await server(context, status, { kind: "Status", reason, message: "no" });
    await assert.rejects(client(leases).create({ metadata: { ...at } }), fault(expected));
  }
});

test("a webhook that denies a write is not taken for a missing permission", async (context) => {
  const message = 'admission webhook "a.b.c" denied the request: no. Fix: yes';
  const { client } = await server(context, 403, { kind: "Status", reason: "Forbidden", message });
  await assert.rejects(client(leases).create({ metadata: { ...at } }), /denied the request: no\. Fix: yes$/);
});

test("a response that is no object is an error", async (context) => {
  const { client } = await server(context, 200, { hello: 1 });
  await assert.rejects(client(leases).get(at), fault("failed"));
});

test("one object is followed through changes, broken watches and deletion", async (context) => {
  const { cluster } = client();
  cluster.put("secrets/here/one", { data: { a: "1" } });
  cluster.put("secrets/here/other", { data: {} });
  let changes = 0;
  const followed = new FollowedObjects({
    connection: cluster.connect(),
    resource: secrets,
    ...at,
    changed: () => void changes++,
  });
  context.after(() => followed.close());
  await eventually("listed", () => followed.state.status === "synced");
  assert.deepEqual(
    followed.all().map(({ metadata: { name } }) => name),
    ["one"],
  ); // prettier-ignore
  cluster.put("secrets/here/one", { data: { a: "2" } });
  await eventually("changed", () => JSON.stringify(followed.get(at)?.["data"]) === '{"a":"2"}');
  cluster.cutWatches();
  cluster.put("secrets/here/one", { data: { a: "3" } });
  await eventually("seen after the watch broke", () => JSON.stringify(followed.get(at)?.["data"]) === '{"a":"3"}');
  const before = changes;
  cluster.put("secrets/here/other", { data: { b: "1" } });
  cluster.remove("secrets/here/one");
  await eventually("deleted", () => followed.get(at) === undefined);
  assert.equal(changes, before + 1);
});

test("a list that may not be read says so, and recovers", async (context) => {
  const { cluster } = client();
  cluster.put("secrets/here/one", {});
  let isAllowed = false;
  cluster.hook = (request) => {
    if (!isAllowed) throw forbidden(request);
  };
  const followed = new FollowedObjects({
    connection: cluster.connect(),
    resource: secrets,
    namespace: "here",
    changed: () => undefined,
  });
  context.after(() => followed.close());
  await eventually("refused", () => followed.state.status === "forbidden");
  assert.match(followed.state.problem ?? "", /cannot list resource "secrets"/);
  isAllowed = true;
  await eventually("allowed", () => followed.get(at) !== undefined);
});
