import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { kinds, servedAs, type Kind } from "../../src/kube/kinds.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { type Raw, reviewed } from "./requests.ts";
import { policiesOf, validate, wishing } from "./wishing-rules.ts";

const widget = { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "a", namespace: "shop" } };
const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const { policies: baseline } = loadPolicies([], rules);
const real = (mesh = new MeshStore(defaultMeshSettings)) =>
  createGate({ mesh: () => mesh, rules, policies: () => baseline, neverEnrolled: ["guard"] });

test("a kind without rules is allowed, and not silently", () => {
  const decision = validate({ object: widget });
  assert.equal(decision.allowed, true);
  assert.equal(decision.outcome, "warn");
  assert.match(decision.warnings.join(), /no rule for Widget\.example\.com/);
  assert.equal(decision.auditAnnotations.unjudged, "no rule reads this kind");
});

test("what changes nothing is allowed at once, whatever is wrong with it", () => {
  const decision = validate({ oldObject: wishing({ wrong: "a" }), object: wishing({ wrong: "a" }) });
  assert.equal(decision.outcome, "allow");
  assert.deepEqual(decision.warnings, []);
});

test("an object that the request does not carry is refused, never allowed", () => {
  const gate = real();
  const decision = gate.validate({ ...reviewed({ object: wishing({}) }), object: undefined });
  assert.equal(decision.allowed, false);
  assert.equal(decision.outcome, "error");
  assert.match(
    decision.message ?? "",
    /could not evaluate this request and denies it: request\.object is missing from this CREATE/,
  );
});

test("whatever throws refuses the one request, or leaves it unchanged, and says nothing of the inside", () => {
  const logged: object[] = [];
  const gate = createGate({
    mesh: () => {
      throw new Error("secret of the view");
    },
    rules,
    policies: () => baseline,
    log: { error: (fields) => logged.push(fields) },
  });
  const refused = gate.validate(reviewed({ object: wishing({}) }));
  assert.deepEqual([refused.allowed, refused.outcome], [false, "error"]);
  assert.equal(
    refused.message,
    "Meshward could not evaluate this request and denies it: an internal error occurred; see Meshward's log for uid 9c1a",
  );
  const unchanged = gate.mutate(reviewed({ object: namespace("shop") }));
  assert.deepEqual([unchanged.allowed, unchanged.outcome, unchanged.patch], [true, "error", undefined]);
  assert.match(
    unchanged.warnings.join(),
    /did not change the object: an internal error occurred; see Meshward's log for uid 9c1a\. .*did not join the mesh/,
  );
  assert.match(JSON.stringify(logged), /"uid":"9c1a","error":"secret of the view"/);
});

test("policies and mesh are those of the moment", () => {
  let policies = policiesOf(undefined);
  const parts = { policies: () => policies };
  assert.equal(validate({ object: wishing({ wrong: "a" }) }, { parts }).outcome, "deny");
  policies = policiesOf({ rules: [{ id: "*", mode: "off" }] });
  assert.equal(validate({ object: wishing({ wrong: "a" }) }, { parts }).outcome, "allow");
});

test("the mutation: new namespaces but the mesh's root, Meshward's own and what the policy leaves out", () => {
  const patched = (object: Raw) => real().mutate(reviewed({ object })).patch !== undefined;
  assert.deepEqual(
    ["shop", "guard", "istio-system", "kube-public"].map((name) => patched(namespace(name))),
    [true, false, false, false],
  );
  assert.equal(patched(wishing({})), false);
  const root = new MeshStore({ ...defaultMeshSettings, rootNamespace: "mesh-root" });
  assert.equal(real(root).mutate(reviewed({ object: namespace("mesh-root") })).patch, undefined);
});

const names = ["metadata", "spec", "status", "data"];
const anything = fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 4 }));
const someKind = fc.constantFrom(...(Object.keys(kinds) as Kind[])).map((kind) => servedAs(kind, ""));

test("any JSON in any kind: a decision that can be answered, from every rule", () => {
  const gate = real();
  fc.assert(
    fc.property(someKind, anything, anything, ({ group, versions: [version = ""], kind }, old, now) => {
      const apiVersion = group === "" ? version : `${group}/${version}`;
      const shaped = (part: object) => ({ apiVersion, kind, metadata: { name: "istio", namespace: "shop" }, ...part });
      const request = reviewed({ object: shaped({}), oldObject: shaped({}) });
      for (const operation of ["CREATE", "UPDATE", "DELETE"] as const) {
        const decision = gate.validate({ ...request, operation, oldObject: shaped(old), object: shaped(now) });
        assert.deepEqual(decision.ruleErrors ?? [], []);
        assert.notEqual(decision.outcome, "error");
        assert.ok(answer("9c1a", decision, "/validate").response);
      }
    }),
    { numRuns: 200 },
  );
});
