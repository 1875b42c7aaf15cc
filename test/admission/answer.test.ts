import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { answer, notJudged } from "../../src/admission/answer.ts";
import type { Decision, PatchOperation } from "../../src/admission/review.ts";
import { verifyResponse, WarningRecorder } from "../../src/demo/api-server-response.ts";
import { allow, deny } from "../contract/api-server.ts";

const patch: PatchOperation[] = [{ op: "add", path: "/metadata/labels", value: { a: "b" } }];

function responseTo(decision: Decision, path: "/validate" | "/mutate" = "/validate") {
  return answer("u", decision, path).response;
}

test("allowed: the uid and nothing else", () => {
  assert.deepEqual(answer("u", allow, "/validate"), {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: { uid: "u", allowed: true },
  });
});

test("denied: 403 Forbidden with the message", () => {
  assert.deepEqual(responseTo(deny("no")).status, { code: 403, reason: "Forbidden", message: "no" });
  assert.equal(
    responseTo({ ...deny(""), warnings: [] }).status?.message,
    "Meshward denied the request without a message",
  );
});

test("only an allowed mutation that changes something carries a patch", () => {
  const patched = responseTo({ ...allow, patch }, "/mutate");
  assert.equal(patched.patchType, "JSONPatch");
  assert.deepEqual(JSON.parse(Buffer.from(patched.patch ?? "", "base64").toString()), patch);
  for (const response of [
    responseTo({ ...allow, patch: [] }, "/mutate"),
    responseTo({ ...allow, patch }, "/validate"),
    responseTo({ ...deny("no"), patch }, "/mutate"),
  ]) {
    assert.equal("patch" in response, false);
    assert.equal("patchType" in response, false);
  }
});

test("a message is cut at a line's end below 4 KiB and says so", () => {
  const lines = Array.from({ length: 200 }, (_, index) => `${index} ${"ä".repeat(40)}`);
  const message = responseTo(deny(lines.join("\n"))).status?.message ?? "";
  assert.ok(Buffer.byteLength(message) <= 4_096);
  const last = message.split("\n").at(-1);
  assert.equal(last, `…and ${200 - message.split("\n").length + 1} more lines`);
  const long = responseTo(deny("€".repeat(5_000))).status?.message ?? "";
  assert.ok(Buffer.byteLength(long) <= 4_096 && /^€+…$/.test(long));
});

test("control characters leave a message, its lines stay", () => {
  const message = responseTo(deny("a\u001b[31mb\u0007\u202ec\r\nd\u2028e")).status?.message;
  assert.equal(message, "abc\nd\ne");
});

test("at most ten warnings, of one line each, without repetition, the rest counted", () => {
  const warnings = ["Warning: first\nline", "first line", "", ...Array.from({ length: 20 }, (_, index) => `w${index}`)];
  const shown = responseTo({ ...allow, warnings }).warnings ?? [];
  assert.equal(shown.length, 10);
  assert.deepEqual([shown[0], shown[1], shown[9]], ["first line", "w0", "12 more warnings"]);
  assert.equal("warnings" in responseTo({ ...allow, warnings: ["\u0007"] }), false);
});

test("a long warning is whole as long as all together leave room for other webhooks'", () => {
  const long = "x".repeat(500);
  assert.deepEqual(responseTo({ ...allow, warnings: [long, "short"] }).warnings, [long, "short"]);
  const many = Array.from({ length: 6 }, (_, index) => `${index}${long}`);
  assert.deepEqual(
    responseTo({ ...allow, warnings: many }).warnings?.map(({ length }) => length),
    [256, 256, 256, 256, 256, 256],
  );
});

test("audit annotations whose key the API server would refuse are left out", () => {
  const auditAnnotations = { decision: "deny\n", rules: "a,b", "a/b": "x", "": "x", "-a": "x", ["k".repeat(64)]: "x" };
  assert.deepEqual(responseTo({ ...allow, auditAnnotations }).auditAnnotations, { decision: "deny ", rules: "a,b" });
});

test("what was not judged is not allowed, and says so", () => {
  const response = responseTo(notJudged("it is broken"));
  assert.equal(response.allowed, false);
  assert.match(
    response.status?.message ?? "",
    /^Meshward could not evaluate this request and denies it: it is broken$/,
  );
});

test("the API server takes every answer, and loses no warning of it", () => {
  const text = fc.string({ unit: "binary", maxLength: 600 });
  const decision = fc.record({
    allowed: fc.boolean(),
    message: text,
    warnings: fc.array(text, { maxLength: 30 }),
    patch: fc.constantFrom<PatchOperation[]>([], patch),
    auditAnnotations: fc.dictionary(fc.string(), text),
    rules: fc.constant([]),
    outcome: fc.constant<Decision["outcome"]>("warn"),
  });
  const property = fc.property(decision, fc.constantFrom("/validate", "/mutate"), (made, path) => {
    const sent = JSON.parse(JSON.stringify(answer("u", made, path)));
    const verified = verifyResponse("u", path === "/mutate", sent);
    const recorder = new WarningRecorder();
    for (const warning of verified.warnings) recorder.add(warning);
    assert.deepEqual(recorder.shown, verified.warnings);
    assert.deepEqual(verified.auditAnnotations, sent.response.auditAnnotations ?? {});
    assert.ok(Buffer.byteLength(sent.response.status?.message ?? "") <= 4_096);
  });
  fc.assert(property, { numRuns: 300 });
});
