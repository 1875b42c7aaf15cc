import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { breakGlassOf } from "../../src/admission/break-glass.ts";
import type { Decision } from "../../src/admission/review.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { Policies } from "../../src/policy/policies.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { RequestParts } from "./requests.ts";
import { policiesOf, type Scene, validate, wishing } from "./wishing-rules.ts";

const reconcilers = { users: ["system:serviceaccount:flux-system:*"], fieldManagers: ["helm"] };
const flux = { user: "system:serviceaccount:flux-system:kustomize-controller" };
const collector = { user: "system:serviceaccount:kube-system:namespace-controller" };
const garbage = { user: "system:serviceaccount:kube-system:generic-garbage-collector" };
const istiod = { user: "system:serviceaccount:istio-system:istiod" };
const dryRun = { dryRun: true };

const lenient: Scene = { spec: { reconcilers } };
const strict: Scene = { spec: { reconcilers: { ...reconcilers, mode: "deny" } } };
const wrong = { object: wishing({ wrong: "a" }) };
const needs = { object: wishing({ needs: "edge" }) };
const opens = { oldObject: wishing({ guard: "yes" }), object: wishing({}) };
const deletes = { oldObject: wishing({ guard: "yes" }) };

type Outcome = Decision["outcome"];
const cases: readonly [string, RequestParts, Scene, Outcome][] = [
  ["intrinsic, a person", wrong, lenient, "deny"],
  ["intrinsic, a reconciler", { ...wrong, ...flux }, lenient, "deny"],
  ["intrinsic, the control plane", { ...wrong, ...istiod }, lenient, "deny"],
  ["intrinsic, a collector", { ...wrong, ...collector }, lenient, "deny"],
  ["intrinsic, dry run", { ...wrong, ...dryRun }, lenient, "deny"],
  ["weakening, a person", opens, lenient, "deny"],
  ["weakening, a reconciler", { ...opens, ...flux }, lenient, "deny"],
  ["weakening, the control plane", { ...opens, ...istiod }, lenient, "deny"],
  ["weakening, dry run", { ...opens, ...dryRun }, lenient, "deny"],
  ["weakening by deletion, a person", deletes, lenient, "deny"],
  ["weakening by deletion, a reconciler", { ...deletes, ...flux }, lenient, "deny"],
  ["weakening by deletion, the namespace controller", { ...deletes, ...collector }, lenient, "allow"],
  ["weakening by deletion, the garbage collector", { ...deletes, ...garbage }, lenient, "allow"],
  ["weakening by update, the garbage collector", { ...opens, ...garbage }, lenient, "allow"],
  ["relational, a person", needs, lenient, "deny"],
  ["relational, a reconciler by service account", { ...needs, ...flux }, lenient, "warn"],
  ["relational, a reconciler by field manager", { ...needs, fieldManager: "helm" }, lenient, "warn"],
  ["relational, the control plane", { ...needs, ...istiod }, lenient, "allow"],
  ["relational, a collector", { ...needs, ...collector }, lenient, "allow"],
  ["relational, dry run", { ...needs, ...dryRun }, lenient, "warn"],
  ["relational, a reconciler under mode deny", { ...needs, ...flux }, strict, "deny"],
  ["relational, a reconciler under mode deny, dry run", { ...needs, ...flux, ...dryRun }, strict, "warn"],
  ["relational, dry run of a collector", { ...needs, ...collector, ...dryRun }, lenient, "allow"],
  ["the user names of Kubernetes are whole names", { ...deletes, user: `${collector.user}-2` }, lenient, "deny"],
  ["istiod of another namespace is nobody", { ...needs, user: "system:serviceaccount:shop:istiod" }, lenient, "deny"],
  ["istiod of a revision", { ...needs, user: `${istiod.user}-canary` }, lenient, "allow"],
  ["nothing", { object: wishing({}) }, lenient, "allow"],
];

describe("who is denied what", () => {
  for (const [name, parts, scene, expected] of cases)
    test(name, () => {
      const decision = validate(parts, {
        ...scene,
        spec: { ...scene.spec, rules: [{ id: "test-advice", mode: "off" }] },
      });
      assert.equal(decision.outcome, expected);
      assert.equal(decision.allowed, expected !== "deny");
      assert.equal(decision.message !== undefined, expected === "deny");
      assert.equal(decision.auditAnnotations.decision, expected);
    });
});

test("everything in one decision: most severe first, then rule, subject and path", () => {
  const decision = validate({ object: wishing({ wrong: "b,a", needs: "edge" }) });
  assert.equal(
    decision.message,
    `VirtualService shop/web cannot be created: 3 problems
- [test-intrinsic] spec.http[0]: Wrong: b
- [test-intrinsic] spec.http[1]: Wrong: a
  Fix: Do it right.
- [test-relational] Gateway "edge" does not exist
  Fix: Do it right.
More: meshward rules <id>, for each id in brackets`,
  );
  assert.deepEqual(decision.warnings, [
    "VirtualService shop/web: [test-advice] spec.http[0]: Wrong: b. Fix: Do it right.",
    "VirtualService shop/web: [test-advice] spec.http[1]: Wrong: a. Fix: Do it right.",
  ]);
  assert.deepEqual(decision.rules, ["test-advice", "test-intrinsic", "test-recorded", "test-relational"]);
  assert.equal(decision.auditAnnotations.rules, decision.rules.join(","));
});

test("index 10 comes after index 9", () => {
  const lines = validate({ object: wishing({ wrong: "a,b,c,d,e,f,g,h,i,j,k" }) }).warnings;
  assert.deepEqual(
    lines.map((line) => /http\[(\d+)\]/.exec(line)?.[1]),
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
  );
});

test("what is found on another object names it", () => {
  assert.match(validate(opens).message ?? "", /^- \[test-weakening\] Namespace shop: A guard goes$/m);
});

test("a problem that was there before is a warning on the object that changes", () => {
  const parts = { oldObject: wishing({ wrong: "a" }), object: wishing({ wrong: "a" }, { other: "1" }) };
  const decision = validate(parts, { spec: { rules: [{ id: "test-advice", mode: "off" }] } });
  assert.equal(decision.outcome, "warn");
  assert.deepEqual(decision.warnings, [
    "VirtualService shop/web: [test-intrinsic] spec.http[0]: Wrong: a. It is only a warning because the problem existed before this change. Fix: Do it right.",
  ]);
  assert.equal(decision.auditAnnotations.lowered, "test-intrinsic: existing");
  const denied = validate(parts, { spec: { rules: [{ id: "test-intrinsic", existing: "deny" }] } });
  assert.equal(denied.outcome, "deny");
});

test("a warning that would be a denial says why it is none", () => {
  const spec = { ...lenient.spec, rules: [{ id: "test-advice", mode: "off" as const }] };
  const missing = (reason: string) =>
    `VirtualService shop/web: [test-relational] Gateway "edge" does not exist. It is only a warning because ${reason}. Fix: Do it right.`;
  assert.deepEqual(validate({ ...needs, ...dryRun }, { spec }).warnings, [
    missing("this is a dry run, and the change itself would be denied"),
  ]);
  assert.deepEqual(validate({ ...needs, ...flux, ...dryRun }, { spec }).warnings, [
    missing("a GitOps controller may still apply the missing objects"),
  ]);
  assert.deepEqual(validate({ ...needs, ...istiod }, { spec }).warnings, []);
});

test("a reconciler that is denied reads how to order its set, where order is the trouble", () => {
  assert.match(validate({ ...needs, ...flux }, strict).message ?? "", /sync-wave; Flux: dependsOn/);
  assert.doesNotMatch(validate({ ...wrong, ...flux }, strict).message ?? "", /sync-wave/);
  assert.doesNotMatch(validate(needs, strict).message ?? "", /sync-wave/);
});

describe("break glass", () => {
  const spec = { breakGlass: { groups: ["sre"] }, rules: [{ id: "test-advice", mode: "off" as const }] };
  const glass = { "meshward.io/break-glass": "incident 7" };
  const sre = { groups: ["sre"] };
  const broken = { object: wishing({ wrong: "a" }, glass) };

  test("a group that a policy names: denials are warnings, and the audit log is told", () => {
    const decision = validate({ ...broken, ...sre }, { spec });
    assert.equal(decision.outcome, "warn");
    assert.deepEqual(decision.warnings, [
      'VirtualService shop/web: "alice" uses break glass ("incident 7"): 1 of these warnings would deny the change',
      "VirtualService shop/web: [test-intrinsic] spec.http[0]: Wrong: a. It is only a warning because break glass is used. Fix: Do it right.",
    ]);
    assert.equal(decision.auditAnnotations["break-glass"], "incident 7");
  });

  test("anybody else: denied, and told why", () => {
    const decision = validate(broken, { spec });
    assert.equal(decision.outcome, "deny");
    assert.deepEqual(decision.warnings, [
      'VirtualService shop/web: meshward.io/break-glass has no effect: "alice" is in no group that a policy allows to use break glass',
    ]);
    assert.equal(decision.auditAnnotations["break-glass"], undefined);
  });

  test("who sets it in vain is told even where nothing is wrong; who meets it is not", () => {
    assert.equal(validate({ object: wishing({}, glass) }, { spec }).warnings.length, 1);
    const met = { oldObject: wishing({}, glass), object: wishing({}, { ...glass, other: "1" }) };
    assert.deepEqual(validate(met, { spec }).warnings, []);
  });

  test("on an object that is deleted it has no effect, which a denial says", () => {
    const of = (old: AnyObject) =>
      breakGlassOf(
        { object: undefined, old },
        new MeshStore(defaultMeshSettings),
        { operation: "DELETE", user: "alice", groups: ["sre"], fieldManager: "" },
        { mayBreakGlass: () => true },
      );
    const service = (annotations: object) =>
      readObject("Service", { metadata: { name: "web", namespace: "shop", annotations } });
    assert.deepEqual(of(service(glass)), {
      refused: "meshward.io/break-glass has no effect on an object that is deleted: set it on its Namespace",
      isNew: false,
    });
    assert.equal(of(service({})), undefined);
  });

  test("without a reason it does not count", () => {
    const parts = { ...sre, object: wishing({ wrong: "a" }, { "meshward.io/break-glass": " " }) };
    const decision = validate(parts, { spec });
    assert.equal(decision.outcome, "deny");
    assert.deepEqual(decision.warnings, [
      "VirtualService shop/web: meshward.io/break-glass has no effect: its value must be the reason",
    ]);
  });

  test("where nothing would be denied, nothing is broken", () => {
    const decision = validate({ ...sre, object: wishing({}, glass) }, { spec });
    assert.equal(decision.outcome, "allow");
    assert.deepEqual(decision.warnings, []);
  });

  test("for a deletion the annotation stands on the Namespace", () => {
    const namespace = (annotations: object) => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "shop", annotations },
    });
    assert.equal(validate({ ...deletes, ...sre }, { spec, there: [namespace(glass)] }).outcome, "warn");
    assert.equal(validate({ ...deletes, ...sre }, { spec, there: [namespace({})] }).outcome, "deny");
    assert.equal(validate({ oldObject: wishing({ guard: "yes" }, glass), ...sre }, { spec }).outcome, "deny");
  });
});

describe("an error inside a rule", () => {
  const fails = { object: wishing({ fails: "yes" }) };

  test("denies, names the rule, and shows nothing of the error", () => {
    const logged: string[] = [];
    const log = { error: (fields: object) => logged.push(JSON.stringify(fields)) };
    const decision = validate(fails, { parts: { log } });
    assert.equal(decision.allowed, false);
    assert.equal(decision.outcome, "error");
    assert.match(decision.message ?? "", /^- \[test-failing\] The rule failed with an error/m);
    assert.match(decision.message ?? "", /Meshward's log has for uid 9c1a/);
    assert.doesNotMatch(JSON.stringify(decision), /secret of the rule/);
    assert.deepEqual(decision.ruleErrors, [{ rule: "test-failing", reason: "error" }]);
    assert.deepEqual(decision.rules, []);
    assert.match(logged.join("\n"), /"rule":"test-failing","subject":"VirtualService shop\/web".*secret of the rule/);
  });

  test("warns where the policy says so, or where the rule only warns", () => {
    for (const options of [{ onError: "warn" as const }, { mode: "warn" as const }])
      assert.equal(validate(fails, { spec: { rules: [{ id: "test-failing", ...options }] } }).outcome, "warn");
    assert.equal(validate(fails, { spec: { rules: [{ id: "test-failing", mode: "off" }] } }).outcome, "allow");
  });

  test("does not hide what other rules find", () => {
    const decision = validate({ object: wishing({ fails: "yes", wrong: "a" }) });
    assert.equal(decision.outcome, "deny");
    assert.match(decision.message ?? "", /2 problems[^]*test-failing[^]*test-intrinsic/);
  });
});

describe("unknown is not absent", () => {
  const plain = { object: wishing({}) };

  test("a rule that would deny and could not judge is named", () => {
    const decision = validate(plain, { unknown: ["Service"] });
    assert.equal(decision.outcome, "warn");
    assert.deepEqual(decision.warnings, [
      "VirtualService shop/web: Not checked by test-needs-services: Meshward does not know any Service yet",
    ]);
    assert.equal(decision.auditAnnotations.skipped, "test-needs-services (Service)");
  });

  test("one that would only warn is told to the audit log alone", () => {
    const spec = { rules: [{ id: "test-needs-services", mode: "warn" as const }] };
    const decision = validate(plain, { unknown: ["Service"], spec });
    assert.deepEqual(decision.warnings, []);
    assert.equal(decision.auditAnnotations.skipped, "test-needs-services (Service)");
  });

  test("a policy may have a step that nobody can judge denied", () => {
    const spec = { rules: [{ id: "test-needs-services", onUnknown: "deny" as const }] };
    const decision = validate(plain, { unknown: ["Service"], spec });
    assert.equal(decision.outcome, "error");
    assert.match(decision.message ?? "", /\[test-needs-services\] It is not known .* has not read any Service yet/);
    assert.match(decision.message ?? "", /Fix: Try again .* onUnknown: warn for this rule in a policy/);
    assert.deepEqual(decision.warnings, []);
  });
});

describe("proxies of the control plane", () => {
  const deployment = (metadata: object) => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "gateway-istio", namespace: "shop", annotations: { "test/wrong": "a" }, ...metadata },
    spec: {},
  });
  const labelled = { labels: { "gateway.istio.io/managed": "istio.io-gateway-controller" } };
  const api = "gateway.networking.k8s.io/v1";
  const ownedBy = (name: string, uid = "1") => ({
    ...labelled,
    ownerReferences: [{ apiVersion: api, kind: "Gateway", name, uid }],
  });
  const managed = ownedBy("gateway");
  const gateway = {
    apiVersion: api,
    kind: "Gateway",
    metadata: { name: "gateway", namespace: "shop", uid: "1" },
    spec: { gatewayClassName: "istio" },
  };
  const old = (metadata: object) => deployment({ annotations: {}, ...metadata });
  const both = (metadata: object) => ({ oldObject: old(metadata), object: deployment(metadata) });
  const table: readonly [string, RequestParts, Outcome][] = [
    ["written by istiod", { object: deployment({}), ...istiod }, "allow"],
    ["created by istiod", { object: deployment(managed), ...istiod }, "allow"],
    ["created by somebody else", { object: deployment(managed) }, "deny"],
    ["managed before and after", { oldObject: old(managed), object: deployment(managed) }, "allow"],
    ["labelled before and after", { oldObject: old(labelled), object: deployment(labelled) }, "deny"],
    ["a label that comes with the change", { oldObject: old({}), object: deployment(labelled) }, "deny"],
    ["a Gateway that comes with the change", { oldObject: old(labelled), object: deployment(managed) }, "deny"],
    ["a Gateway that does not exist", both(ownedBy("gone")), "deny"],
    ["another Gateway of this name", both(ownedBy("gateway", "2")), "deny"],
    ["a Gateway whose proxy has another name", both({ ...managed, name: "api" }), "deny"],
    ["any other workload", { object: deployment({}) }, "deny"],
  ];
  for (const [name, parts, expected] of table)
    test(name, () => assert.equal(validate(parts, { there: [gateway] }).outcome, expected));
});

test("an exception lets through and is recorded", () => {
  const exception = {
    title: "MeshwardException shop/legacy",
    name: "legacy",
    namespace: "shop",
    reason: "r",
    owner: "o",
    expiresAt: "2030-01-01T00:00:00Z",
    spec: {
      rules: ["test-intrinsic", "test-advice", "test-recorded"],
      reason: "r",
      owner: "o",
      expiresAt: "2030-01-01T00:00:00Z",
    },
  };
  const policies = new Policies(policiesOf(undefined).documents, [exception]);
  const at = (now: string) => validate(wrong, { parts: { policies: () => policies, now: () => new Date(now) } });
  const accepted = at("2029-12-31T00:00:00Z");
  assert.equal(accepted.outcome, "allow");
  assert.equal(accepted.auditAnnotations.exceptions, "MeshwardException shop/legacy");
  assert.equal(at("2030-01-01T00:00:00Z").outcome, "deny");
});
