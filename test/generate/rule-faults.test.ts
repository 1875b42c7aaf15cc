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
const fixture = (ofWrong: string, ofRight: string) => {
  mkdirSync(join(fixtures, "gateway-closed"), { recursive: true });
  writeFileSync(join(fixtures, "gateway-closed/wrong.yaml"), ofWrong);
  writeFileSync(join(fixtures, "gateway-closed/right.yaml"), ofRight);
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
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Connections are refused.",
    wayOut: "Apply the previous version.",
    silentWhen: "Another Gateway has a server.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },
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
    "a source to which no link leads": [
      { why: "It listens nowhere (Istio model/model.go New)." },
      'why names "model/model.go", to which no link can lead; write the path from the root of istio/istio, or "ztunnel src/..." or "kubernetes pkg/..."',
    ],
    "nothing for those who are paged": [
      { incident: undefined },
      "incident is missing: what somebody sees who is paged because of the problem, and the way out",
    ],
    "a way out without a full stop": [
      { incident: { ...rule.incident, wayOut: "Wait" } },
      'incident.wayOut must end with a full stop, and ends with "Wait"',
    ],
    "a page elsewhere": [
      { incident: { ...rule.incident, page: "https://example.com/" } },
      'incident.page is "https://example.com/", and must be a page of https://istio.io/latest/docs/, gateway-api.sigs.k8s.io or kubernetes.io, with "/" at the end',
    ],
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
    "a symptom": [
      { incident: { ...rule.incident, symptoms: ["no-routes"] } },
      'the symptom "no-routes" is not one of src/engine/incident.ts; did you mean "no-route"?',
    ],
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
    const meaning = "wrong.yaml is a mesh with the mistake, right.yaml the same without it";
    assert.deepEqual(
      faults(),
      ["wrong.yaml", "right.yaml"].map(
        (name) => `${file}: there is no fixture test/rules/gateway-closed/${name}: ${meaning}.`,
      ),
    );
  });
  test("nothing marked", () => {
    fixture(right, right);
    assert.deepEqual(faults(), [
      `${file}: no line in test/rules/gateway-closed/wrong.yaml is marked with "# expect: <message>".`,
    ]);
  });
  test("a mark in what is right", () => {
    fixture(wrong, wrong);
    assert.deepEqual(faults(), [
      `${file}: test/rules/gateway-closed/right.yaml has a mark; it is the mesh without the mistake.`,
    ]);
  });
  test("of no rule", () => {
    assert.deepEqual(ruleFaults([], fixtures), ["test/rules/gateway-closed belongs to no rule."]);
  });
});
