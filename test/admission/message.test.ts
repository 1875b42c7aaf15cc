import assert from "node:assert/strict";
import { test } from "node:test";
import { denialMessage, type Notice, warningLines } from "../../src/admission/message.ts";
import { readObject } from "../../src/kube/object.ts";

const changed = readObject("VirtualService", {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "payments" },
});
const namespace = readObject("Namespace", { apiVersion: "v1", kind: "Namespace", metadata: { name: "payments" } });
const weights: Notice = {
  rule: "virtual-service-weights-not-100",
  subject: changed,
  at: ["spec", "http", 0, "route"],
  message: "Weights sum to 110, not to 100: 90 + 20 = 110",
  fix: "Make the weights of the route sum to 100.",
};

test("one problem", () => {
  assert.equal(
    denialMessage({ changed, operation: "UPDATE", notices: [weights] }),
    `VirtualService payments/shop cannot be changed: 1 problem
- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110
  Fix: Make the weights of the route sum to 100.
More: meshward rules virtual-service-weights-not-100, or policies/rules/virtual-service-weights-not-100.md`,
  );
});

test("several problems, one on another object, with a hint", () => {
  const other: Notice = {
    rule: "namespace-mtls-weakened",
    subject: namespace,
    at: [],
    message: "Port 80 opens",
    fix: "Keep it.",
  };
  assert.equal(
    denialMessage({ changed, operation: "DELETE", notices: [other, weights], hint: "Let others go first" }),
    `VirtualService payments/shop cannot be deleted: 2 problems
- [namespace-mtls-weakened] Namespace payments: Port 80 opens
  Fix: Keep it.
- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110
  Fix: Make the weights of the route sum to 100.
Let others go first
More: meshward rules <id>, or policies/rules/<id>.md; the ids are in brackets`,
  );
});

test("a fix that several share stands below the last of them", () => {
  const lost: Notice = { ...weights, subject: namespace, at: [], message: "The default deny is lost" };
  const text = denialMessage({ changed, operation: "CREATE", notices: [weights, { ...weights, at: [] }, lost] });
  assert.deepEqual(text.split("\n").slice(1, -1), [
    "- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110",
    "- [virtual-service-weights-not-100] Weights sum to 110, not to 100: 90 + 20 = 110",
    "- [virtual-service-weights-not-100] Namespace payments: The default deny is lost",
    "  Fix: Make the weights of the route sum to 100.",
  ]);
});

test("too many problems: within 4 KiB, counted, with the last line", () => {
  const notices = Array.from({ length: 60 }, (_, i) => ({
    ...weights,
    message: `${i} `.repeat(100),
    fix: "f".repeat(200),
  }));
  const lines = denialMessage({ changed, operation: "CREATE", notices }).split("\n");
  const shown = lines.filter((line) => line.startsWith("- ")).length;
  assert.ok(shown > 3 && Buffer.byteLength(lines.join("\n")) <= 4_096);
  assert.equal(lines[0], "VirtualService payments/shop cannot be created: 60 problems");
  assert.equal(lines.at(-2), `…and ${60 - shown} more problems`);
  assert.match(lines.at(-1) ?? "", /^More: /);
});

test("names and values cannot make lines of their own, and the first line stays short", () => {
  const long = readObject("VirtualService", { metadata: { name: `${"n".repeat(250)}\nx`, namespace: "a".repeat(60) } });
  const text = denialMessage({
    changed: long,
    operation: "CREATE",
    notices: [{ ...weights, message: "a\nb\u001b[31m" }],
  });
  const lines = text.split("\n");
  assert.ok((lines[0]?.length ?? 0) <= 160);
  assert.equal(lines.length, 4);
  assert.match(lines[1] ?? "", /: a b$/);
});

test("a warning is one line: rule, place, what, fix; the fix stands on its own where both are too long", () => {
  assert.deepEqual(warningLines(weights, changed), [
    "virtual-service-weights-not-100: spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110. Fix: Make the weights of the route sum to 100.",
  ]);
  assert.deepEqual(warningLines({ ...weights, at: [] }, namespace), [
    "virtual-service-weights-not-100: VirtualService payments/shop: Weights sum to 110, not to 100: 90 + 20 = 110. Fix: Make the weights of the route sum to 100.",
  ]);
  assert.deepEqual(warningLines({ ...weights, at: [], fix: "f".repeat(200) }, changed), [
    "virtual-service-weights-not-100: Weights sum to 110, not to 100: 90 + 20 = 110",
    `Fix for virtual-service-weights-not-100: ${"f".repeat(200)}`,
  ]);
});
