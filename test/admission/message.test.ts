import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Finding } from "../../src/engine/finding.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Ruling } from "../../src/engine/ruling.ts";
import { denialMessage, warningLines } from "../../src/admission/message.ts";
import { readObject } from "../../src/kube/object.ts";

const changed = readObject("VirtualService", {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "payments" },
});
const namespace = readObject("Namespace", { apiVersion: "v1", kind: "Namespace", metadata: { name: "payments" } });
const mesh = new MeshStore(defaultMeshSettings);
const ruleNamed = (id: string) =>
  defineRule({
    id,
    subject: "VirtualService",
    reads: [],
    mode: "deny",
    since: "0.1.0",
    summary: "",
    why: "",
    fix: "The rule's own fix.",
    check: () => [],
  });
const rule = ruleNamed("virtual-service-weights-not-100");
const setting = everyRule.between(mesh, mesh).of(rule, changed);
const weights: Finding = {
  rule,
  setting,
  introduced: true,
  class: "intrinsic",
  subject: changed,
  at: ["spec", "http", 0, "route"],
  message: "Weights sum to 110, not to 100: 90 + 20 = 110",
  fix: "Make the weights of the route sum to 100.",
};

test("one problem", () => {
  assert.equal(
    denialMessage({ changed, operation: "UPDATE", findings: [weights] }),
    `VirtualService payments/shop cannot be changed: 1 problem
- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110
  Fix: Make the weights of the route sum to 100.
More: meshward rules virtual-service-weights-not-100`,
  );
});

test("several problems, one on another object, with a hint", () => {
  const other: Finding = {
    ...weights,
    rule: ruleNamed("namespace-mtls-weakened"),
    subject: namespace,
    at: [],
    message: "Port 80 opens",
    fix: "Keep it.",
  };
  assert.equal(
    denialMessage({ changed, operation: "DELETE", findings: [other, weights], hint: "Let others go first" }),
    `VirtualService payments/shop cannot be deleted: 2 problems
- [namespace-mtls-weakened] Namespace payments: Port 80 opens
  Fix: Keep it.
- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110
  Fix: Make the weights of the route sum to 100.
Let others go first
More: meshward rules <id>, for each id in brackets`,
  );
});

test("a fix that several share stands below the last of them", () => {
  const lost: Finding = { ...weights, subject: namespace, at: [], message: "The default deny is lost" };
  const text = denialMessage({ changed, operation: "CREATE", findings: [weights, { ...weights, at: [] }, lost] });
  assert.deepEqual(text.split("\n").slice(1, -1), [
    "- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110",
    "- [virtual-service-weights-not-100] Weights sum to 110, not to 100: 90 + 20 = 110",
    "- [virtual-service-weights-not-100] Namespace payments: The default deny is lost",
    "  Fix: Make the weights of the route sum to 100.",
  ]);
});

test("too many problems: within 4 KiB, counted, with the last line", () => {
  const findings = Array.from({ length: 60 }, (_, i) => ({
    ...weights,
    message: `${i} `.repeat(100),
    fix: "f".repeat(200),
  }));
  const lines = denialMessage({ changed, operation: "CREATE", findings }).split("\n");
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
    findings: [{ ...weights, message: "a\nb\u001b[31m" }],
  });
  const lines = text.split("\n");
  assert.ok((lines[0]?.length ?? 0) <= 160);
  assert.equal(lines.length, 4);
  assert.match(lines[1] ?? "", /: a b$/);
});

test("where the rules' pages have an address, the last line is one", () => {
  const pageOf = (id: string) => `https://docs.example/${id}.md`;
  const last = (findings: readonly Finding[]) =>
    denialMessage({ changed, operation: "CREATE", findings, pageOf }).split("\n").at(-1);
  assert.equal(last([weights]), "More: https://docs.example/virtual-service-weights-not-100.md");
  const other = { ...weights, rule: ruleNamed("another") };
  assert.equal(last([weights, other]), "More: https://docs.example/<id>.md, for each id in brackets");
});

describe("a warning", () => {
  const ruling = (finding: Finding, lowered: Ruling["lowered"] = []): Ruling => ({ finding, mode: "warn", lowered });

  test("begins with the object that changes, then rule, place, what and fix", () => {
    assert.deepEqual(warningLines(ruling(weights), changed), [
      "VirtualService payments/shop: [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 90 + 20 = 110. Fix: Make the weights of the route sum to 100.",
    ]);
    assert.deepEqual(warningLines(ruling({ ...weights, at: [] }), namespace), [
      "Namespace payments: [virtual-service-weights-not-100] VirtualService payments/shop: Weights sum to 110, not to 100: 90 + 20 = 110. Fix: Make the weights of the route sum to 100.",
    ]);
  });

  test("what does not fit stands on lines of their own, each with the object", () => {
    const [asking] = warningLines(ruling({ ...weights, at: [], message: 'No "a"; did you mean "b"?' }), changed);
    assert.match(asking ?? "", /did you mean "b"\? Fix: /);
    assert.deepEqual(warningLines(ruling({ ...weights, at: [], fix: "f".repeat(200) }), changed), [
      "VirtualService payments/shop: [virtual-service-weights-not-100] Weights sum to 110, not to 100: 90 + 20 = 110",
      `VirtualService payments/shop: [virtual-service-weights-not-100] Fix: ${"f".repeat(200)}`,
    ]);
  });

  test("begins with the namespace if it is the same for each of its workloads, because kubectl prints a line once", () => {
    const state = { ...weights, subject: namespace, at: [], message: "Plaintext", fix: "Mend it." };
    const workload = (name: string) =>
      readObject("Workload", { kind: "Deployment", metadata: { name, namespace: "payments" } });
    const line = "Namespace payments: [virtual-service-weights-not-100] Plaintext. Fix: Mend it.";
    assert.deepEqual(warningLines(ruling(state), workload("a")), [line]);
    assert.deepEqual(warningLines(ruling(state), workload("b")), [line]);
    const { check: _, ...stepRule } = rule;
    const weakening = { ...state, rule: stepRule };
    assert.match(
      warningLines(ruling(weakening), workload("a"))[0] ?? "",
      /^Deployment payments\/a: .*Namespace payments: /,
    );
  });

  test("says why it is no denial", () => {
    const existing = {
      step: "existing",
      from: "deny",
      to: "warn",
      reason: "the problem existed before this change",
    } as const;
    assert.deepEqual(
      warningLines(ruling({ ...weights, at: [], message: "Wrong", fix: "Mend it." }, [existing]), changed),
      [
        "VirtualService payments/shop: [virtual-service-weights-not-100] Wrong. It is only a warning because the problem existed before this change. Fix: Mend it.",
      ],
    );
  });
});
