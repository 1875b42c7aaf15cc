import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import type { ObjectEvent } from "../../../src/kube/object-event.ts";
import type { ApiRequest, ClusterConnection } from "../../../src/sources/cluster/connection.ts";
import { statusError } from "../../../src/sources/cluster/cluster-error.ts";
import { ClusterEvents } from "../../../src/sources/cluster/events.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { eventually, ManualPace } from "./manual-pace.ts";

type Raw = Readonly<Record<string, unknown>>;

/** Writes nowhere; a request is answered as the test says, at once if it says nothing. */
function writer(context: TestContext, answer: (request: ApiRequest) => Promise<void> = () => Promise.resolve()) {
  const requests: ApiRequest[] = [];
  const connection: ClusterConnection = {
    server: "https://cluster",
    async request(request) {
      requests.push(request);
      await answer(request);
      return Readable.from(["{}"]) as IncomingMessage;
    },
    close: () => undefined,
  };
  const fates: string[] = [];
  const lines: Raw[] = [];
  const pace = new ManualPace();
  const events = new ClusterEvents({
    connection,
    pace,
    instance: "meshward-0",
    log: createLog("debug", (line) => void lines.push(JSON.parse(line) as Raw)),
    counted: (reason, fate) => void fates.push(`${reason} ${fate}`),
    now: () => new Date("2026-11-21T10:00:00.123Z"),
  });
  context.after(() => events.close());
  const count = (fate: string) => fates.filter((one) => one.endsWith(fate)).length;
  return { events, requests, fates, lines, pace, count };
}

const untilAborted = ({ signal }: ApiRequest): Promise<void> =>
  new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("cut"))));

const event = (more: Partial<ObjectEvent> = {}, name = "web"): ObjectEvent => ({
  reason: "ReconcilerWarned",
  rule: "rule-a",
  note: "something is missing",
  regarding: { apiVersion: "networking.istio.io/v1", kind: "VirtualService", namespace: "shop", name, uid: "u-1" },
  ...more,
});
const many = (count: number, prefix = "web") => Array.from({ length: count }, (_, i) => event({}, `${prefix}-${i}`));
const bodyOf = (request: ApiRequest | undefined) => (request?.body ?? {}) as Raw;

test("an Event stands in the object's namespace, as events.k8s.io/v1 wants it", async (context) => {
  const { events, requests, fates } = writer(context);
  events.send([event()]);
  await eventually("written", () => fates.length === 1);
  const [{ method, path, body } = {}] = requests;
  assert.deepEqual([method, path], ["POST", "/apis/events.k8s.io/v1/namespaces/shop/events"]);
  const { metadata, ...rest } = body as Raw & { metadata: { name: string; namespace: string } };
  assert.match(metadata.name, /^web\.[0-9a-f]{16}$/);
  assert.equal(metadata.namespace, "shop");
  assert.deepEqual(rest, {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    eventTime: "2026-11-21T10:00:00.123000Z",
    reportingController: "meshward.io",
    reportingInstance: "meshward-0",
    action: "Admit",
    reason: "ReconcilerWarned",
    type: "Warning",
    note: "something is missing",
    regarding: {
      apiVersion: "networking.istio.io/v1",
      kind: "VirtualService",
      name: "web",
      namespace: "shop",
      uid: "u-1",
    },
  });
  assert.deepEqual(fates, ["ReconcilerWarned sent"]);
});

test("what is in no namespace is told in default, and without a uid none is claimed", async (context) => {
  const { events, requests, fates } = writer(context);
  const regarding = { apiVersion: "v1", kind: "Namespace", namespace: "", name: "shop", uid: undefined };
  events.send([event({ regarding })]);
  await eventually("written", () => fates.length === 1);
  assert.equal(requests[0]?.path, "/apis/events.k8s.io/v1/namespaces/default/events");
  assert.deepEqual(bodyOf(requests[0])["regarding"], { apiVersion: "v1", kind: "Namespace", name: "shop" });
});

test("names are names, however long or odd the object's is", async (context) => {
  const { events, requests, fates } = writer(context);
  events.send(["a".repeat(253), `${"a".repeat(199)}.b`, "Wrong_Name"].map((name) => event({}, name)));
  await eventually("written", () => fates.length === 3);
  for (const request of requests) {
    const { name } = bodyOf(request)["metadata"] as { name: string };
    assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    assert.ok(name.length <= 253);
  }
});

test("the same again counts up the Event that is there; another note, or ten minutes later, is a new one", async (context) => {
  const { events, requests, pace, count } = writer(context);
  const send = async (one: ObjectEvent) => {
    const before = count("sent");
    events.send([one]);
    await eventually("written", () => count("sent") === before + 1);
  };
  await send(event());
  await send(event());
  await send(event());
  const { name } = bodyOf(requests[0])["metadata"] as { name: string };
  assert.deepEqual(
    requests.slice(1).map(({ method, path }) => `${method} ${path}`),
    Array.from({ length: 2 }, () => `PATCH /apis/events.k8s.io/v1/namespaces/shop/events/${name}`),
  );
  const lastObservedTime = "2026-11-21T10:00:00.123000Z";
  assert.deepEqual(requests.slice(1).map(bodyOf), [
    { series: { count: 2, lastObservedTime } },
    { series: { count: 3, lastObservedTime } },
  ]);
  await send(event({ note: "something else" }));
  await send(event({ rule: "rule-b" }));
  pace.advance(10 * 60_000);
  await send(event());
  assert.deepEqual(
    requests.slice(3).map(({ method }) => method),
    ["POST", "POST", "POST"],
  );
});

test("an Event that the API server has forgotten is written again", async (context) => {
  const { events, requests, count } = writer(context, ({ method }) =>
    method === "PATCH"
      ? Promise.reject(statusError("https://cluster", { status: 404, said: "not found" }))
      : Promise.resolve(),
  );
  for (const sent of [1, 2]) {
    events.send([event()]);
    await eventually("written", () => count("sent") === sent);
  }
  assert.deepEqual(
    requests.map(({ method }) => method),
    ["POST", "PATCH", "POST"],
  );
});

test("what waits already counts for all that are the same", async (context) => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const { events, requests, count } = writer(context, () => held);
  events.send([event({}, "first")]);
  events.send([event(), event(), event()]);
  assert.equal(count("merged"), 2);
  release();
  await eventually("written", () => count("sent") === 2);
  assert.equal((bodyOf(requests[1])["series"] as Raw)["count"], 3);
});

test("a burst of 50, then ten a second; the rest is counted, and said once", async (context) => {
  const { events, requests, pace, lines, count } = writer(context);
  events.send(many(200));
  assert.equal(count("dropped"), 150);
  await eventually("written", () => count("sent") === 50);
  assert.equal(requests.length, 50);
  assert.equal(lines.length, 1);
  assert.match(String(lines[0]?.["msg"]), /too many Events/);
  pace.advance(1_000);
  events.send(many(20, "later"));
  await eventually("written", () => count("sent") === 60);
  assert.equal(count("dropped"), 160);
});

test("a server that does not answer holds nobody up, and no more than 200 wait for it", async (context) => {
  const { events, pace, requests, count } = writer(context, untilAborted);
  for (let i = 0; i < 10; i++) {
    events.send(many(50, `batch-${i}`));
    pace.advance(5_000);
  }
  assert.equal(requests.length, 1, "one after the other");
  assert.equal(count("dropped"), 500 - 200 - 1);
});

test("what fails is counted, said once, and not tried again; the next one is written", async (context) => {
  let isDown = true;
  const { events, lines, fates, requests } = writer(context, () =>
    isDown
      ? Promise.reject(statusError("https://cluster", { status: 403, said: "events is forbidden", isWrite: true }))
      : Promise.resolve(),
  );
  events.send(many(3));
  await eventually("failed", () => fates.length === 3);
  assert.deepEqual(new Set(fates), new Set(["ReconcilerWarned failed"]));
  assert.equal(lines.length, 1);
  assert.match(String(lines[0]?.["error"]), /answered 403.*; grant it create and patch on events\.events\.k8s\.io$/);
  isDown = false;
  events.send([event()]);
  await eventually("written", () => fates.length === 4);
  assert.equal(fates.at(-1), "ReconcilerWarned sent");
  assert.equal(requests.length, 4);
});

test("closed: what waits is lost, nothing more is taken", async (context) => {
  const { events, requests, fates } = writer(context, untilAborted);
  events.send(many(3));
  await eventually("asked", () => requests.length === 1);
  await events.close();
  events.send(many(3));
  assert.equal(requests.length, 1);
  assert.deepEqual(fates, ["ReconcilerWarned failed"]);
});
