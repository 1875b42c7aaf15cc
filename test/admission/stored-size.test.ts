import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readReview } from "../../src/admission/review.ts";
import { defaultStoredBytes } from "../../src/admission/stored-size.ts";
import { responseIn, reviewBody, startShell, virtualService } from "../contract/api-server.ts";

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002";
const istio = { group: "networking.istio.io", version: "v1", kind: "VirtualService" };
const deployment = { group: "apps", version: "v1", kind: "Deployment" };

/** A VirtualService of exactly so many bytes in JSON without white space. */
function ofSize(bytes: number, filler = "x") {
  const object = (value: string) => ({
    ...virtualService,
    metadata: { ...virtualService.metadata, annotations: { value } },
  });
  const rest = bytes - Buffer.byteLength(JSON.stringify(object("")));
  return object(filler.repeat(Math.floor(rest / Buffer.byteLength(filler))));
}

const read = (request: Readonly<Record<string, unknown>>, storedBytes?: number) =>
  readReview(Buffer.from(JSON.stringify(reviewBody(request))), storedBytes);
const isRead = (reading: ReturnType<typeof readReview>) => "request" in reading;

describe("objects that the cluster cannot store", () => {
  test("are refused by their uid, with the limit and what to do", () => {
    const reading = read({ kind: istio, object: ofSize(defaultStoredBytes + 1_000) });
    assert.ok("problem" in reading);
    assert.deepEqual([reading.uid, reading.reason], [uid, "object_size"]);
    assert.match(reading.problem, /^the object needs at least 157\d{4} bytes .* accepts 1572864, .*make it smaller/);
  });

  test("at the limit an object is read, and above it one that is stored already", () => {
    assert.ok(isRead(read({ kind: istio, object: ofSize(defaultStoredBytes) })));
    const large = ofSize(defaultStoredBytes + 1_000);
    assert.ok(isRead(read({ kind: istio, operation: "UPDATE", object: virtualService, oldObject: large })));
    assert.ok(isRead(read({ kind: istio, operation: "DELETE", object: null, oldObject: large })));
  });

  test("two objects below the limit in one review, which is above it", () => {
    const object = ofSize(defaultStoredBytes - 10);
    assert.ok(isRead(read({ kind: istio, operation: "UPDATE", object, oldObject: object })));
  });

  test("bytes count, and not characters, escapes or white space of the review", () => {
    const euro = ofSize(defaultStoredBytes + 1_000, "€");
    assert.ok(JSON.stringify(euro).length < defaultStoredBytes);
    assert.equal(isRead(read({ kind: istio, object: euro })), false);
    const escaped = JSON.stringify(reviewBody({ kind: istio, object: ofSize(400_000, "&") })).replaceAll(
      "&",
      "\\u0026",
    );
    assert.ok(escaped.length > defaultStoredBytes);
    assert.ok(isRead(readReview(escaped)));
    const spaced = JSON.stringify(reviewBody({ kind: istio, object: ofSize(400_000, "a b ") }), undefined, 10);
    assert.ok(isRead(readReview(`${" ".repeat(2_000_000)}${spaced}`)));
  });

  test("kinds that are stored as protobuf: only their strings count", () => {
    const ports = Array.from({ length: 60_000 }, () => ({ containerPort: 8_080, protocol: "TCP" }));
    const object = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "a" },
      spec: { template: { spec: { containers: [{ name: "a", ports }] } } },
    };
    assert.ok(JSON.stringify(object).length > defaultStoredBytes);
    assert.ok(isRead(read({ kind: deployment, object })));
    const annotations = { value: "x".repeat(defaultStoredBytes + 1_000) };
    const large = { ...object, metadata: { name: "a", annotations } };
    assert.equal(isRead(read({ kind: deployment, object: large })), false);
  });

  test("a cluster that accepts more", () => {
    const object = ofSize(defaultStoredBytes + 1_000);
    assert.ok(isRead(read({ kind: istio, object }, 2_097_152)));
  });

  test("over HTTP: denied with status 200, nothing is evaluated, and the metric says why", async (context) => {
    const shell = await startShell(context);
    const body = JSON.stringify(reviewBody({ object: ofSize(defaultStoredBytes + 1_000) }));
    const answer = await shell.post("/validate", body);
    assert.deepEqual([answer.status, responseIn(answer).uid, responseIn(answer).allowed], [200, uid, false]);
    const page = await shell.metrics.text();
    assert.match(page, /^meshward_reviews_refused_total\{reason="object_size"\} 1$/m);
  });
});
