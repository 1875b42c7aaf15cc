import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { definitionFor } from "../../src/cli/rule-definition.ts";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { exception, policy, sourcesOf } from "../policy/sources.ts";
import { type RequestParts, reviewed } from "./requests.ts";

const now = new Date("2027-01-01T00:00:00Z");
const apiVersion = "meshward.io/v1alpha1";
const weights = "virtual-service-weights-not-100";
const policyObject = (spec: object, name = "a") => ({ apiVersion, kind: "MeshwardPolicy", metadata: { name }, spec });
const exceptionObject = (spec: object = {}) => ({
  ...{ apiVersion, kind: "MeshwardException", metadata: { name: "e", namespace: "shop" } },
  spec: {
    rules: [weights],
    reason: "r",
    owner: "o",
    expiresAt: "2027-01-10",
    match: { objects: { names: ["x"] } },
    ...spec,
  },
});

function ask(parts: RequestParts, documents = "") {
  const mesh = new MeshStore(defaultMeshSettings);
  const namespace = readAny({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "shop", labels: { tier: "gold" } },
  });
  assert.ok(namespace);
  mesh.set(namespace);
  const { policies, errors } = loadPolicies(documents === "" ? [] : sourcesOf(documents), rules);
  assert.deepEqual(errors, []);
  const page = "https://docs.example/policies.md";
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules, now: () => now, policiesPage: page });
  return gate.validate(reviewed(parts));
}

describe("a MeshwardPolicy with rules of its own", () => {
  const custom = (expression: string) => ({
    customRules: [{ id: "owner", kinds: ["VirtualService"], expression, message: "It needs an owner" }],
  });
  const right = custom("has(object.metadata.annotations)");

  async function review(object: Readonly<Record<string, unknown>>, existing: readonly object[] = []) {
    const sources = existing.map((raw) => ({ raw, file: "a.yaml", locate: () => ({ line: 1, column: 1 }) }));
    const { policies, errors } = loadPolicies(sources, rules, "baseline", { define: defineCustomRules });
    assert.deepEqual(errors, []);
    const mesh = new MeshStore(defaultMeshSettings);
    const gate = createGate({ mesh: () => mesh, policies: () => policies, rules, definitionFor });
    return gate.validate(reviewed({ object }));
  }

  test("is allowed if they are right, and stays so beside others", async () => {
    assert.equal((await review(policyObject(right))).allowed, true);
    assert.equal((await review(policyObject({ extends: ["a"] }, "b"), [policyObject(right)])).allowed, true);
  });
  test("warns if one of them goes", async () => {
    const { warnings } = await review(policyObject({ protectedNamespaces: { names: ["x"] } }), [policyObject(right)]);
    assert.deepEqual(warnings, ["MeshwardPolicy a: this protects less than before: a/owner: the rule is gone"]);
  });
  test("is denied if an expression is wrong, with what was meant", async () => {
    const { allowed, message } = await review(policyObject(custom("has(object.metadata.anotations)")));
    assert.equal(allowed, false);
    assert.match(message ?? "", /spec\.customRules\[0\]\.expression: .*anotations.*did you mean "?annotations/);
  });
  test("may be named by others, and nothing else may", async () => {
    const named = (id: string) => review(policyObject({ rules: [{ id, mode: "warn" }] }, "b"), [policyObject(right)]);
    assert.equal((await named("a/owner")).allowed, true);
    assert.match((await named("a/owners")).message ?? "", /there is no rule "a\/owners"; did you mean "a\/owner"/);
    const accepted = await review(exceptionObject({ rules: ["a/owner"] }), [policyObject(right)]);
    assert.doesNotMatch(accepted.message ?? "", /there is no rule/);
    assert.equal(accepted.message?.includes("policy-document-invalid") ?? false, false);
  });
});

describe("a MeshwardPolicy", () => {
  test("that is invalid is denied, with path and did you mean", () => {
    const {
      allowed,
      message,
      rules: ids,
    } = ask({ object: policyObject({ rules: [{ id: "virtual-service-weight-not-100" }] }) });
    assert.equal(allowed, false);
    assert.deepEqual(ids, ["policy-document-invalid"]);
    assert.equal(
      message,
      [
        "MeshwardPolicy a cannot be created: 1 problem",
        '- [policy-document-invalid] spec.rules[0].id: there is no rule "virtual-service-weight-not-100"; did you mean "virtual-service-weights-not-100"?',
        "  Fix: Correct the document; until then, its last valid version stays in force.",
        "More: https://docs.example/policies.md",
      ].join("\n"),
    );
  });
  test("that closes a circle is denied, also where another document names it", () => {
    const documents = policy("b", "{extends: [a]}") + policy("a", `{rules: [{id: ${weights}, mode: warn}]}`);
    const { message } = ask({ object: policyObject({ extends: ["b"] }) }, documents);
    assert.match(message ?? "", /a circle: b extends a extends b/);
  });
  test("that others extend cannot be withdrawn", () => {
    const documents = policy("b", "{extends: [a]}") + policy("a", `{rules: [{id: ${weights}, mode: warn}]}`);
    const { message } = ask({ object: policyObject({ withdrawn: true }), oldObject: policyObject({}) }, documents);
    assert.match(message ?? "", /MeshwardPolicy b would be invalid: spec\.extends\[0\]: MeshwardPolicy a is withdrawn/);
  });
  test("that protects as much as before is allowed without a word", () => {
    const decision = ask({ object: policyObject({ protectedNamespaces: { names: ["shop"] } }) });
    assert.deepEqual([decision.allowed, decision.warnings], [true, []]);
  });
  test("that protects less is a warning, whether it is new, changed or deleted", () => {
    const documents = policy("a", "{protectedNamespaces: {names: [shop]}}");
    const old = policyObject({ protectedNamespaces: { names: ["shop"] } });
    const created = ask({ object: policyObject({ rules: [{ id: weights, mode: "warn" }] }, "new") }, documents);
    assert.deepEqual(created.warnings, [
      `MeshwardPolicy new: this protects less than before: ${weights}: mode is warn, and was deny`,
    ]);
    for (const parts of [
      { oldObject: old },
      { object: policyObject({ protectedNamespaces: { names: ["x"] } }), oldObject: old },
    ]) {
      const { allowed, warnings } = ask(parts, documents);
      assert.equal(allowed, true);
      assert.deepEqual(warnings, [
        "MeshwardPolicy a: this protects less than before: namespaces named shop are no longer protected by their name",
      ]);
    }
  });
  test("whose spec stays the same is not reviewed again: only labels or the status change", () => {
    const object = policyObject({ nonsense: 1 });
    assert.equal(ask({ object, oldObject: object }).allowed, true);
    assert.equal(ask({ object, oldObject: policyObject({}), subResource: "status" }).allowed, true);
  });
});

describe("a MeshwardException", () => {
  const limits =
    policy("platform", `{exceptions: {maxDays: 30, rules: ['virtual-service-*'], writers: {groups: [mesh-team]}}}`) +
    policy("gold", "{match: {namespaces: {labels: {tier: gold}}}, exceptions: {maxDays: 7}}");
  const mayWrite = { groups: ["mesh-team"] };
  test("is allowed where no policy limits exceptions", () => {
    assert.deepEqual(
      [ask({ object: exceptionObject() }).allowed, ask({ object: exceptionObject() }).warnings],
      [true, []],
    );
  });
  test("that is invalid is denied", () => {
    assert.match(
      ask({ object: exceptionObject({ expiresAt: "soon" }) }).message ?? "",
      /spec\.expiresAt: expected a date/,
    );
  });
  test("that has ended already is denied", () => {
    const { message, rules: ids } = ask({ object: exceptionObject({ expiresAt: "2026-12-31" }) });
    assert.deepEqual(ids, ["exception-not-allowed"]);
    assert.match(message ?? "", /spec\.expiresAt: the exception has ended already: 2026-12-31/);
  });
  test("is denied to those who may not write it, and for what the policies of the namespace do not allow", () => {
    const { message } = ask({ object: exceptionObject({ rules: [weights, "object-malformed"] }) }, limits);
    assert.match(
      message ?? "",
      /MeshwardPolicy platform does not let "alice" write exceptions in this namespace\n {2}Fix: Ask one of those who may: group mesh-team\./,
    );
    assert.match(message ?? "", /spec\.rules\[1\]: MeshwardPolicy platform allows no exception for object-malformed/);
    assert.match(
      message ?? "",
      /spec\.expiresAt: the exception ends in 10 days, and MeshwardPolicy gold allows at most 7/,
    );
    assert.match(message ?? "", /^MeshwardException shop\/e cannot be created: 3 problems\n/);
  });
  test("is allowed to those who may, within the limits, and to delete always", () => {
    assert.equal(ask({ object: exceptionObject({ expiresAt: "2027-01-07" }), ...mayWrite }, limits).allowed, true);
    assert.equal(ask({ oldObject: exceptionObject(), user: "anybody" }, limits).allowed, true);
  });
  test("cannot be widened by a later change either", () => {
    const parts = {
      object: exceptionObject({ expiresAt: "2027-01-07", rules: [weights, "object-malformed"] }),
      oldObject: exceptionObject(),
    };
    assert.equal(ask({ ...parts, ...mayWrite }, limits).allowed, false);
  });
  test("that is limited to no object is a warning", () => {
    const { warnings } = ask({ object: exceptionObject({ match: undefined }) });
    assert.match(warnings.join(), /MeshwardException shop\/e: it accepts every finding of its rules in the namespace/);
  });
  test("of one namespace accepts nothing in another", () => {
    const { policies } = loadPolicies(
      sourcesOf(exception("e", "shop", `{rules: [${weights}], reason: r, owner: o, expiresAt: '2027-02-01'}`)),
      rules,
    );
    const object = { kind: "VirtualService", name: "x", labels: {} };
    const of = (namespace: string) =>
      policies.exceptionFor({ rule: weights, namespace, object, fingerprint: () => undefined }, {}, now);
    assert.deepEqual([of("shop")?.name, of("bank")], ["e", undefined]);
  });
  test("with a generated name is reviewed as well", () => {
    const object = { ...exceptionObject(), metadata: { generateName: "e-", namespace: "shop" } };
    assert.equal(ask({ object, name: "" }).allowed, true);
  });
});
