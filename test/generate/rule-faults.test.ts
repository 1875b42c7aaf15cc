import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, test } from "node:test";
import { defineRule } from "../../src/engine/rule.ts";
import { ruleFaults } from "../../src/generate/rule-faults.ts";
import { gatewaysOfNamespace } from "../../src/mesh/membership/gateways.ts";
import { workloadsOfGateway } from "../../src/mesh/traffic/virtual-service-clients.ts";

// Each mistake is one sentence that says where it is and what to write instead.

const fixtures = mkdtempSync(join(tmpdir(), "meshward-faults-"));
after(() => rmSync(fixtures, { recursive: true }));

const wrong = "kind: Gateway\nmetadata: { name: wrong } # expect: The name is wrong\n";
const right = "kind: Gateway\nmetadata: { name: right }\n";
const fixture = (...documents: readonly string[]) => {
  mkdirSync(join(fixtures, "gateway-closed"), { recursive: true });
  writeFileSync(join(fixtures, "gateway-closed/example.yaml"), documents.join("---\n"));
};
beforeEach(() => fixture(wrong, right));

const rule = defineRule({
  id: "gateway-closed",
  subject: "Gateway",
  reads: [workloadsOfGateway],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary: "A Gateway has no server.",
  why: "Nothing listens.",
  fix: "Add a server.",
  check: () => [],
});
const file = "src/rules/gateway/closed.ts";
/** As if the author had written so; much of it would not compile, and `generate` runs before the compiler does. */
const faults = (changed: object = {}, place = {}) =>
  ruleFaults([{ rule: { ...rule, ...changed }, file, name: "gatewayClosed", ...place }], fixtures);

test("a rule without faults has none", () => {
  assert.deepEqual(faults(), []);
});

describe("each fault is said", () => {
  const cases: Readonly<Record<string, readonly [changed: object, said: string]>> = {
    "a small letter": [
      { why: "istiod refuses it." },
      'why must start with a capital letter, and starts with "istiod refuses it."',
    ],
    "no full stop": [{ fix: "Add a server" }, 'fix must end with a full stop, and ends with "Add a server"'],
    "no text": [{ summary: "" }, 'summary must start with a capital letter, and starts with ""'],
    "a draft's text": [{ fix: "What to do." }, "fix is still the text that new-rule wrote"],
    "a kind that is none": [
      { subject: ["Gatewy"], reads: [] },
      '"Gatewy" is not a kind of src/kube/kinds.ts; did you mean "Gateway"?',
    ],
    "a kind that it could do without": [
      { worksWithout: ["Servce"] },
      '"Servce" is not a kind of src/kube/kinds.ts; did you mean "Service"?',
    ],
    "a relation out of reach": [
      { reads: [gatewaysOfNamespace] },
      "reads gatewaysOfNamespace, which no declared relation leads to from Gateway",
    ],
    "a mode": [{ mode: "dney" }, 'the mode "dney" is not one of deny, warn, audit, off; did you mean "deny"?'],
    "a mode of two": [
      { mode: { protected: "deny", elsewhere: "none" } },
      'the mode "none" is not one of deny, warn, audit, off',
    ],
    "a version": [{ since: "next" }, 'since is "next", and must be a version such as "0.1.0"'],
    "a stage": [{ stage: "stable" }, 'the stage "stable" is not "trial", the only stage'],
    "a tag": [
      { tags: ["canari"] },
      'the tag "canari" is not one of ambient, authorization, canary, deny-all-gap, gateway, mtls, revisions; did you mean "canary"?',
    ],
  };
  for (const [name, [changed, said]] of Object.entries(cases))
    test(name, () => {
      assert.equal(faults(changed)[0], `${file}: ${said}${said.endsWith("?") ? "" : "."}`);
    });
});

describe("ids, files and names belong together", () => {
  test("an id that is no words", () => {
    const [first] = faults({ id: "Gateway_closed" });
    assert.match(
      first ?? "",
      /^src\/rules\/gateway\/closed\.ts: the id "Gateway_closed" must be lower-case words joined by "-"/,
    );
  });
  test("a file elsewhere", () => {
    assert.deepEqual(faults({}, { file: "src/rules/gateway/shut.ts" }), [
      'src/rules/gateway/shut.ts: the id "gateway-closed" does not match the file, whose rule is "gateway-shut".',
    ]);
  });
  test("an export of another name", () => {
    assert.deepEqual(faults({}, { name: "closed" }), [
      `${file}: the rule "gateway-closed" is exported as closed, and must be exported as gatewayClosed.`,
    ]);
  });
  test("an id twice", () => {
    const one = { rule, file, name: "gatewayClosed" };
    assert.deepEqual(ruleFaults([one, one], fixtures), [`${file} and ${file} have the same id, "gateway-closed".`]);
  });
});

describe("fixtures", () => {
  test("none", () => {
    rmSync(join(fixtures, "gateway-closed"), { recursive: true });
    assert.deepEqual(faults(), [`${file}: there is no fixture test/rules/gateway-closed/example.yaml.`]);
  });
  test("nothing marked", () => {
    fixture(right);
    assert.deepEqual(faults(), [`${file}: no line in test/rules/gateway-closed is marked with "# expect: <message>".`]);
  });
  test("nothing right", () => {
    fixture(wrong, "# a comment is no object\n");
    assert.deepEqual(faults(), [`${file}: every object in test/rules/gateway-closed is marked; add a correct one.`]);
  });
  test("of no rule", () => {
    assert.deepEqual(ruleFaults([], fixtures), ["test/rules/gateway-closed belongs to no rule."]);
  });
});
