import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { indexesOfRules, kindsOfRules } from "../../src/cli/cluster-options.ts";
import { startWebhook } from "../../src/cli/webhook.ts";
import { createApiServerClient, type Submission } from "../../src/demo/api-server-client.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import { policiesOf } from "../admission/wishing-rules.ts";
import { testCertificate } from "../contract/api-server.ts";
import type { ListWatchServer } from "../sources/cluster/list-watch-server.ts";
import { liveCluster } from "../sources/cluster/live-cluster.ts";
import { eventually } from "../sources/cluster/manual-pace.ts";

// Reviews over TLS, judged against a cluster that is used, whose watch has fallen behind.

const resources = [
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
  ["gateway.networking.k8s.io/v1", "Gateway", "gateways"],
  ["events.k8s.io/v1", "Event", "events"],
] as const;

const destinationRule = (...subsets: string[]) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { name: "shop", namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { host: "shop", subsets: subsets.map((name) => ({ name, labels: { version: name } })) },
});
const virtualService = (subset: string, annotations: object = {}) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop", uid: "u-1", annotations },
  spec: { hosts: ["shop"], http: [{ route: [{ destination: { host: "shop", subset } }] }] },
});
const flux = { username: "system:serviceaccount:flux-system:kustomize-controller", groups: [] };

/** The watch has seen subset v1 of shop and hears nothing more. */
async function lagging(context: TestContext) {
  const prepare = (server: ListWatchServer) => {
    for (const [version, kind, plural] of resources) server.serve(version, kind, plural);
    server.apply("namespaces", { metadata: { name: "shop" } });
    server.apply("services", { metadata: { name: "shop", namespace: "shop" }, spec: { ports: [{ port: 80 }] } });
    server.apply("destinationrules", destinationRule("v1"));
  };
  const live = await liveCluster(context, prepare, { kinds: kindsOfRules, indexes: indexesOfRules });
  await live.watched();
  live.server.muteWatches();
  const policies = policiesOf({ reconcilers: { users: [flux.username] }, breakGlass: { groups: ["sre"] } });
  const certificate = await testCertificate();
  const webhook = await startWebhook({
    mesh: () => live.cluster.mesh(),
    readAgain: (evidence) => live.cluster.liveRead(evidence, 300),
    freshness: () => live.cluster.freshness(),
    connection: live.connection,
    policies: () => policies,
    certificates: fixedCertificate(certificate),
    log: createLog("silent", () => undefined),
    host: "127.0.0.1",
    port: 0,
    opsPort: 0,
  });
  const client = createApiServerClient({ url: `https://127.0.0.1:${webhook.port}`, ca: certificate.ca ?? "" });
  context.after(async () => {
    client.close();
    await webhook.close();
  });
  const metric = async (name: string) => {
    const page = await (await fetch(`http://127.0.0.1:${webhook.opsPort}/metrics`)).text();
    // Known label values start at 0.
    return page.split("\n").filter((line) => line.startsWith(name) && !line.endsWith(" 0"));
  };
  const create = (object: ReturnType<typeof virtualService>, more: Partial<Submission> = {}) =>
    client.admit({ operation: "CREATE", object, ...more });
  const written = () => live.server.requests.filter(({ method }) => method !== "GET");
  return { ...live, create, metric, written };
}

test("what has arrived at the API server, and not yet here, is found by a live read", async (context) => {
  const { server, cluster, create, metric } = await lagging(context);
  server.apply("destinationrules", destinationRule("v1", "v2"));
  const admission = await create(virtualService("v2"));
  assert.deepEqual([admission.allowed, admission.warnings], [true, []], admission.error?.message);
  const held = cluster.mesh().find("DestinationRule", "shop/shop");
  assert.deepEqual(held?.kind === "DestinationRule" && held.spec.subsets.map(({ name }) => name), ["v1"]);
  assert.deepEqual(await metric("meshward_live_reads_total"), ['meshward_live_reads_total{result="changed"} 1']);
});

test("what is not there either is denied", async (context) => {
  const { create, metric } = await lagging(context);
  const admission = await create(virtualService("v9"));
  assert.equal(admission.allowed, false);
  assert.match(admission.error?.message ?? "", /"v9"/);
  assert.deepEqual(await metric("meshward_live_reads_total"), ['meshward_live_reads_total{result="confirmed"} 1']);
});

test("an API server that does not answer within 300 ms makes it a warning", async (context) => {
  const { server, create, metric } = await lagging(context);
  for (let i = 0; i < 20; i++) server.faults.push(() => true);
  // The server never answers: that there is an answer at all shows that the wait is bounded.
  const admission = await create(virtualService("v9"));
  assert.equal(admission.allowed, true);
  assert.match(admission.warnings.join("\n"), /only a warning because the API server did not confirm it in time/);
  assert.match(admission.warnings.join("\n"), /"v9"/);
  assert.deepEqual(await metric("meshward_live_reads_total"), ['meshward_live_reads_total{result="late"} 1']);
});

test("what only warned a reconciler becomes an Event; a dry run does not", async (context) => {
  const { create, metric, written } = await lagging(context);
  assert.equal((await create(virtualService("v9"), { user: flux, dryRun: true })).allowed, true);
  const admission = await create(virtualService("v9"), { user: flux });
  assert.equal(admission.allowed, true);
  assert.match(admission.warnings.join("\n"), /"v9"/);
  await eventually("written", () => written().length > 0);
  const [event, ...others] = written();
  assert.deepEqual(
    [event?.method, event?.path, others.length],
    ["POST", "/apis/events.k8s.io/v1/namespaces/shop/events", 0],
  );
  const { reason, note, regarding } = JSON.parse(event?.body ?? "{}") as Record<string, unknown>;
  assert.equal(reason, "ReconcilerWarned");
  assert.match(String(note), /^virtual-service-subset-not-found: .*"v9".*it would be denied for a person\. Fix: /);
  const { apiVersion, kind } = virtualService("v9");
  assert.deepEqual(regarding, { apiVersion, kind, name: "shop", namespace: "shop", uid: "u-1" });
  const counted = 'meshward_events_total{reason="ReconcilerWarned",result="sent"} 1';
  // The answer to the write may still be on its way.
  await eventually("counted", async () => (await metric("meshward_events_total")).length > 0);
  assert.deepEqual(await metric("meshward_events_total"), [counted]);
});

test("a use of break glass becomes an Event and a count", async (context) => {
  const { create, metric, written } = await lagging(context);
  const object = virtualService("v9", { "meshward.io/break-glass": "incident 7" });
  const admission = await create(object, { user: { username: "ann", groups: ["sre"] } });
  assert.equal(admission.allowed, true);
  await eventually("written", () => written().length === 1);
  const { reason, note } = JSON.parse(written()[0]?.body ?? "{}") as Record<string, unknown>;
  assert.equal(reason, "BreakGlassUsed");
  assert.match(
    String(note),
    /^"ann" used break glass \("incident 7"\): CREATE was admitted despite 1 problem \(virtual-service/,
  );
  assert.deepEqual(await metric("meshward_break_glass_total"), ['meshward_break_glass_total{kind="VirtualService"} 1']);
});
