import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { defineRule, type Mode, type Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import type { Requester } from "../../src/policy/match.ts";
import { overlay } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import type { Pin } from "../../src/policy/documents.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rulingsOf } from "../../src/engine/ruling.ts";
import { hostOwnersParameter, ownershipOf } from "../../src/mesh/traffic/host-ownership.ts";
import { policiesOf, policy, ruleList, sourcesOf } from "../policy/sources.ts";

const canaryStep = defineRule({
  id: "virtual-service-canary-step",
  subject: "VirtualService",
  reads: [],
  mode: "off",
  since: "0.1.0",
  parameters: { maxStep: { summary: "Points.", default: 20 }, stable: { summary: "Where.", default: "" } },
  summary: "",
  why: "",
  fix: "",
  *check(object, _mesh, { maxStep }) {
    yield { at: [], message: `${object.metadata.name} ${maxStep}` };
  },
});
const onlyProtected: Rule = {
  ...canaryStep,
  id: "peer-authentication-permissive",
  mode: { protected: "deny", elsewhere: "off" },
};
const protectionRemoved = defineRule({
  id: "namespace-protection-removed",
  subject: "Namespace",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  parameters: { protectedLabels: { summary: "Labels.", default: ["none"] } },
  summary: "",
  why: "",
  fix: "",
  *compare() {},
});

const person: Requester = { operation: "UPDATE", user: "ann", groups: ["dev", "team-a"], fieldManager: "kubectl" };

const read = (raw: object): AnyObject => {
  const object = readAny(raw);
  assert.ok(object);
  return object;
};
const namespaceObject = (name: string, labels = {}) =>
  read({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
const virtualService = (namespace: string, name = "shop", labels = {}) =>
  read({ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name, namespace, labels } });
function meshOf(...objects: readonly AnyObject[]): Mesh {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}

/** What two documents say of the one rule; the subject is VirtualService payments/shop, labelled tier: gold, in a namespace labelled env: prod. */
const rankings: readonly [stronger: string, weaker: string][] = [
  ["users: [ann]", "objects: {names: [shop], labels: {tier: gold}}, namespaces: {names: [payments]}"],
  ["groups: [team-*]", "objects: {names: [shop]}"],
  [
    "objects: {names: ['sh*']}",
    "objects: {labels: {tier: gold}}, namespaces: {names: [payments]}, operations: [UPDATE]",
  ],
  ["objects: {labels: {tier: gold}}", "namespaces: {names: [payments], labels: {env: prod}}"],
  ["namespaces: {names: [payments]}", "namespaces: {names: ['pay*'], labels: {env: prod}}, operations: [UPDATE]"],
  ["namespaces: {names: ['pay*', payments]}", "namespaces: {names: ['pay*']}"],
  ["namespaces: {names: ['pay*']}", "namespaces: {labels: {env: prod}}, operations: [UPDATE]"],
  ["namespaces: {labels: {env: prod}}", "operations: [UPDATE]"],
  ["operations: [UPDATE]", ""],
  ["users: [ann], namespaces: {labels: {env: prod}}", "users: [ann]"],
];

const ranked = (name: string, match: string, mode: Mode) =>
  policy(
    name,
    `{${match === "" ? "" : `match: {${match}}, `}rules: [{id: virtual-service-canary-step, mode: '${mode}'}]}`,
  );

for (const [stronger, weaker] of rankings) {
  test(`{${stronger}} is more specific than {${weaker}}`, () => {
    const mesh = meshOf(namespaceObject("payments", { env: "prod" }));
    const subject = virtualService("payments", "shop", { tier: "gold" });
    for (const [a, b] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      const policies = policiesOf(ranked(a, stronger, "warn") + ranked(b, weaker, "audit"));
      const { mode, policy: from } = selectionOf(policies, person).between(mesh, mesh).of(canaryStep, subject);
      assert.deepEqual([mode, from], ["warn", `MeshwardPolicy ${a}`]);
    }
  });
}

test("equally specific: the name that sorts first; a rule's own id before every rule; users before profiles", () => {
  const mesh = meshOf();
  const modeOf = (text: string, rule = canaryStep) =>
    selectionOf(policiesOf(text, "observe"), person).between(mesh, mesh).of(rule, virtualService("payments"));
  assert.equal(modeOf(ranked("b", "", "deny") + ranked("a", "", "warn")).mode, "warn");
  assert.equal(modeOf(policy("a", "{rules: [{id: '*', mode: warn}]}") + ranked("b", "", "deny")).mode, "deny");
  assert.equal(modeOf(policy("zz", "{rules: [{id: '*', mode: warn}]}")).policy, "MeshwardPolicy zz");
  assert.deepEqual([modeOf("").mode, modeOf("").policy], ["audit", "profile observe"]);
});

test("without a document a rule counts as it says itself", () => {
  const mesh = meshOf();
  const setting = selectionOf(policiesOf(""), person).between(mesh, mesh).of(canaryStep, virtualService("payments"));
  assert.deepEqual(setting, {
    mode: "off",
    policy: "the rule's default",
    existing: "warn",
    onError: "deny",
    onUnknown: "warn",
    parameters: { maxStep: 20, stable: "" },
  });
});

test("each field is from the strongest document that has it, each parameter too", () => {
  const policies = policiesOf(
    policy(
      "all",
      "{rules: [{id: virtual-service-canary-step, mode: deny, onError: warn, parameters: {maxStep: 5, stable: v1}}]}",
    ) +
      policy(
        "here",
        "{match: {namespaces: {names: [payments]}}, rules: [{id: virtual-service-canary-step, existing: deny, parameters: {maxStep: 50}}]}",
      ) +
      policy("every", "{rules: [{id: '*', onUnknown: deny}]}"),
  );
  const mesh = meshOf();
  const selection = selectionOf(policies, person);
  assert.deepEqual(selection.between(mesh, mesh).of(canaryStep, virtualService("payments")), {
    mode: "deny",
    policy: "MeshwardPolicy all",
    existing: "deny",
    onError: "warn",
    onUnknown: "deny",
    parameters: { maxStep: 50, stable: "v1" },
  });
  assert.deepEqual(selection.between(mesh, mesh).of(canaryStep, virtualService("orders")).parameters, {
    maxStep: 5,
    stable: "v1",
  });
});

test("all conditions of a match must hold; users and groups are one", () => {
  const mesh = meshOf(namespaceObject("payments", { env: "prod" }));
  const modeOf = (
    match: string,
    subject = virtualService("payments", "shop", { tier: "gold" }),
    requester: Requester | undefined = person,
  ) =>
    selectionOf(policiesOf(ranked("a", match, "deny")), requester)
      .between(mesh, mesh)
      .of(canaryStep, subject).mode;
  assert.equal(modeOf("users: [bob], groups: [dev]"), "deny");
  assert.equal(modeOf("users: [bob], groups: [ops]"), "off");
  assert.equal(modeOf("namespaces: {names: [payments], labels: {env: dev}}"), "off");
  assert.equal(modeOf("objects: {names: [shop], labels: {tier: lead}}"), "off");
  assert.equal(modeOf("namespaces: {names: [payments]}, objects: {names: [other]}"), "off");
  assert.equal(modeOf("operations: [CREATE, DELETE]"), "off");
  assert.equal(modeOf("namespaces: {names: ['*']}", virtualService("orders")), "deny");
});

test("where nobody asks, users' and groups' documents do not count, and what is there counts as created", () => {
  const mesh = meshOf();
  const modeOf = (match: string) =>
    selectionOf(policiesOf(ranked("a", match, "deny")))
      .between(mesh, mesh)
      .of(canaryStep, virtualService("payments")).mode;
  assert.deepEqual(
    [modeOf("users: ['*']"), modeOf("groups: ['*']"), modeOf("operations: [DELETE]")],
    ["off", "off", "off"],
  );
  assert.deepEqual([modeOf("operations: [CREATE]"), modeOf("operations: [UPDATE]")], ["deny", "deny"]);
});

test("a Namespace is in itself", () => {
  const mesh = meshOf();
  const policies = policiesOf(
    policy("a", "{match: {namespaces: {names: [payments]}}, rules: [{id: namespace-protection-removed, mode: warn}]}"),
  );
  const selection = selectionOf(policies, person);
  assert.equal(selection.between(mesh, mesh).of(protectionRemoved, namespaceObject("payments")).mode, "warn");
  assert.equal(selection.between(mesh, mesh).of(protectionRemoved, namespaceObject("orders")).mode, "deny");
});

test("a rule for protected namespaces applies where one is protected before or after, by name or label", () => {
  const label = { "meshward.io/protected": "true" };
  const selection = selectionOf(policiesOf(policy("a", "{protectedNamespaces: {names: [bank]}}")), person);
  const bare = meshOf(namespaceObject("payments"));
  const labelled = meshOf(namespaceObject("payments", label));
  const subject = virtualService("payments");
  assert.equal(selection.between(bare, bare).of(onlyProtected, subject).mode !== "off", false);
  assert.equal(selection.between(labelled, bare).of(onlyProtected, subject).mode !== "off", true);
  assert.equal(selection.between(bare, labelled).of(onlyProtected, subject).mode !== "off", true);
  assert.equal(selection.between(bare, bare).of(onlyProtected, virtualService("bank")).mode !== "off", true);
  assert.equal(selection.between(labelled, labelled).of(onlyProtected, virtualService("orders")).mode !== "off", false);
  // What other objects imply is protected by name only: its labels are unknown.
  const implied = meshOf(virtualService("payments"), virtualService("bank"));
  const inImplied = (subject: AnyObject) => selection.between(implied, implied).of(onlyProtected, subject);
  assert.deepEqual([inImplied(subject).mode, inImplied(subject).ifProtected], ["off", "deny"]);
  assert.deepEqual(
    [inImplied(virtualService("bank")).mode, inImplied(virtualService("bank")).ifProtected],
    ["deny", undefined],
  );
  assert.equal(
    inImplied(read({ apiVersion: "apiregistration.k8s.io/v1", kind: "APIService", metadata: { name: "a" } })).mode,
    "off",
  );
});

test("a rule with another mode for protected namespaces has it there, unless a document gives one", () => {
  const rule: Rule = { ...onlyProtected, mode: { protected: "deny", elsewhere: "warn" } };
  const bare = meshOf(namespaceObject("payments"));
  const labelled = meshOf(namespaceObject("payments", { "meshward.io/protected": "true" }));
  const modes = (selection: ReturnType<typeof selectionOf>) => [
    selection.between(bare, bare).of(rule, virtualService("payments")).mode,
    selection.between(labelled, bare).of(rule, virtualService("payments")).mode,
    selection.between(bare, labelled).of(rule, virtualService("payments")).mode,
  ];
  assert.deepEqual(modes(selectionOf(policiesOf(policy("a", "{protectedNamespaces: {names: [bank]}}")), person)), [
    "warn",
    "deny",
    "deny",
  ]);
  const said = policiesOf(policy("a", "{rules: [{id: peer-authentication-permissive, mode: audit}]}"));
  assert.deepEqual(modes(selectionOf(said, person)), ["audit", "audit", "audit"]);
});

test("a rule that is off in protected namespaces only has its mode elsewhere, unless a document turns it off", () => {
  const rule: Rule = { ...onlyProtected, mode: { protected: "off", elsewhere: "warn" } };
  const mesh = meshOf(namespaceObject("payments"), namespaceObject("bank", { "meshward.io/protected": "true" }));
  const modes = (spec: string) => {
    const settings = selectionOf(policiesOf(policy("a", spec)), person).between(mesh, mesh);
    return ["payments", "bank"].map((namespace) => settings.of(rule, virtualService(namespace)).mode);
  };
  assert.deepEqual(modes("{protectedNamespaces: {labels: {meshward.io/protected: 'true'}}}"), ["warn", "off"]);
  assert.deepEqual(modes("{rules: [{id: peer-authentication-permissive, mode: 'off'}]}"), ["off", "off"]);
});

test("no document turns on, where nothing is protected, a rule that is off there", () => {
  const mesh = meshOf(namespaceObject("payments"));
  const policies = policiesOf(policy("a", "{rules: [{id: peer-authentication-permissive, mode: warn}]}"));
  const { mode, ifProtected } = selectionOf(policies, person)
    .between(mesh, mesh)
    .of(onlyProtected, virtualService("payments"));
  assert.deepEqual([mode, ifProtected], ["off", "warn"]);
});

test("a rule that is off applies nowhere, also where a namespace is protected", () => {
  const mesh = meshOf(namespaceObject("payments", { "meshward.io/protected": "true" }));
  const policies = policiesOf(policy("a", "{rules: [{id: peer-authentication-permissive, mode: 'off'}]}"));
  assert.equal(
    selectionOf(policies, person).between(mesh, mesh).of(onlyProtected, virtualService("payments")).mode !== "off",
    false,
  );
});

test("labels that a change takes off or puts on open nothing: the stricter side counts", () => {
  const strict = "{match: {namespaces: {labels: {env: prod}}}, rules: [{id: virtual-service-canary-step, mode: deny}]}";
  const lax = "{match: {objects: {labels: {lax: 'yes'}}}, rules: [{id: virtual-service-canary-step, mode: audit}]}";
  const selection = selectionOf(policiesOf(policy("strict", strict) + policy("lax", lax)), person);
  const subject = virtualService("payments");
  const prod = meshOf(namespaceObject("payments", { env: "prod" }), subject);
  const bare = meshOf(namespaceObject("payments"), subject);
  const laxSubject = virtualService("payments", "shop", { lax: "yes" });
  assert.equal(selection.between(prod, bare).of(canaryStep, subject).mode, "deny");
  assert.equal(selection.between(bare, prod).of(canaryStep, subject).mode, "deny");
  assert.equal(selection.between(bare, bare).of(canaryStep, subject).mode, "off");
  const relabelled = overlay(prod, [{ old: subject, object: laxSubject }]);
  assert.equal(selection.between(prod, relabelled).of(canaryStep, laxSubject).mode, "deny");
  assert.equal(selection.between(relabelled, relabelled).of(canaryStep, laxSubject).mode, "audit");
});

test("protectedLabels are the selectors of all policies in force", () => {
  const mesh = meshOf();
  const policies = policiesOf(policy("a", "{protectedNamespaces: {labels: {tier: gold, eu: 'yes'}}}"));
  const { parameters } = selectionOf(policies, person)
    .between(mesh, mesh)
    .of(protectionRemoved, namespaceObject("payments"));
  assert.deepEqual(parameters, { protectedLabels: ["tier=gold,eu=yes", "meshward.io/protected=true"] });
});

test("hostOwners are the entries of all policies in force, as one list for all evaluations", () => {
  const rule = defineRule({
    ...protectionRemoved,
    id: "peer-authentication-permissive",
    subject: "VirtualService",
    parameters: { hostOwners: hostOwnersParameter },
    *check(_object, _mesh, { hostOwners }) {
      for (const { host } of ownershipOf(hostOwners).against("web", "shop.example.com"))
        yield { at: [], message: host };
    },
  });
  const spec = "{hostOwners: [{hosts: [shop.example.com], namespaces: [shop]}]}";
  const policies = policiesOf(policy("a", spec));
  const mesh = meshOf();
  const subject = virtualService("web");
  const ask = () => selectionOf(policies, person).between(mesh, mesh).of(rule, subject).parameters.hostOwners;
  assert.deepEqual(ask(), [{ hosts: ["shop.example.com"], namespaces: ["shop"] }]);
  assert.equal(ask(), ask());
  assert.deepEqual(
    judge([rule], mesh, [{ object: subject }], { selection: selectionOf(policies, person) }).findings.map(
      ({ message }) => message,
    ),
    ["shop.example.com"],
  );
  const { parameters } = selectionOf(policiesOf(""), person).between(mesh, mesh).of(rule, subject);
  assert.deepEqual(parameters, { hostOwners: [] });
});

test("the engine judges both sides with the parameters of the subject as it will be", () => {
  const policies = policiesOf(
    policy("all", "{rules: [{id: virtual-service-canary-step, mode: deny}]}") +
      policy(
        "gold",
        "{match: {objects: {labels: {tier: gold}}}, rules: [{id: virtual-service-canary-step, parameters: {maxStep: 5}}]}",
      ),
  );
  const old = virtualService("payments");
  const object = virtualService("payments", "shop", { tier: "gold" });
  const { findings } = judge([canaryStep], meshOf(old), [{ old, object }], {
    selection: selectionOf(policies, person),
  });
  // The stricter of two settings with one mode is the one after the change.
  assert.deepEqual(
    findings.map(({ message, introduced }) => [message, introduced]),
    [["shop 5", false]],
  );
});

test("one selection serves several looks at a change, each with the labels of its own meshes", () => {
  const selection = selectionOf(policiesOf(""), person);
  const bare = meshOf(namespaceObject("payments"));
  const labelled = meshOf(namespaceObject("payments", { "meshward.io/protected": "true" }));
  const applies = (mesh: Mesh) =>
    selection.between(mesh, mesh).of(onlyProtected, virtualService("payments")).mode !== "off";
  assert.deepEqual([applies(bare), applies(labelled), applies(bare)], [false, true, false]);
});

const newRule: Rule = { ...canaryStep, mode: "deny", since: "0.2.0" };

test("an entry by id is stronger than one by glob, a longer glob than a shorter, a glob than a tag, a tag than every rule", () => {
  const mesh = meshOf();
  const modeOf = (...entries: readonly string[]) => {
    const text = entries.map((entry, i) => policy(`p${i}`, `{rules: [${entry}]}`)).join("");
    const tagged: Rule = { ...canaryStep, id: "peer-authentication-permissive", tags: ["mtls"] };
    return selectionOf(policiesOf(text), person).between(mesh, mesh).of(tagged, virtualService("payments")).mode;
  };
  const every = '{id: "*", mode: deny}';
  assert.equal(modeOf(every, "{tag: mtls, mode: warn}"), "warn");
  assert.equal(modeOf(every, "{tag: mtls, mode: deny}", '{id: "peer-*", mode: warn}'), "warn");
  assert.equal(modeOf('{id: "peer-*", mode: deny}', '{id: "peer-authentication-*", mode: warn}'), "warn");
  assert.equal(modeOf('{id: "peer-*", mode: deny}', "{id: peer-authentication-permissive, mode: warn}"), "warn");
});

test("service accounts and kinds select as names do", () => {
  const mesh = meshOf();
  const modeOf = (match: string, user: string) =>
    selectionOf(policiesOf(ranked("a", match, "deny")), { ...person, user })
      .between(mesh, mesh)
      .of(canaryStep, virtualService("payments")).mode;
  assert.equal(modeOf("serviceAccounts: ['ci/*']", "system:serviceaccount:ci:deployer"), "deny");
  assert.equal(modeOf("serviceAccounts: [ci/deployer]", "system:serviceaccount:other:deployer"), "off");
  assert.equal(modeOf("objects: {kinds: [VirtualService]}", "ann"), "deny");
  assert.equal(modeOf("objects: {kinds: [Service]}", "ann"), "off");
});

test("a document takes over from those that it extends, where it applies itself", () => {
  const mesh = meshOf();
  const text =
    policy(
      "base",
      "{match: {namespaces: {names: [nowhere]}}, rules: [{id: virtual-service-canary-step, mode: deny, message: m, parameters: {maxStep: 7}}]}",
    ) +
    policy("middle", "{match: {users: [nobody]}, extends: [base], rules: [{id: '*', existing: deny}]}") +
    policy("here", "{match: {namespaces: {names: [payments]}}, extends: [middle], rules: [{id: '*', mode: warn}]}");
  const selection = selectionOf(policiesOf(text), person);
  const here = selection.between(mesh, mesh).of(canaryStep, virtualService("payments"));
  assert.deepEqual(
    [here.mode, here.policy, here.existing, here.message, here.parameters.maxStep],
    ["warn", "MeshwardPolicy here", "deny", "m", 7],
  );
  assert.equal(selection.between(mesh, mesh).of(canaryStep, virtualService("orders")).mode, "off");
});

test("extending a profile brings its rules to a namespace", () => {
  const mesh = meshOf();
  const text = policy("shadow", "{match: {namespaces: {names: [payments]}}, extends: [observe]}");
  const selection = selectionOf(policiesOf(text), person);
  const { mode, policy: from } = selection.between(mesh, mesh).of(newRule, virtualService("payments"));
  assert.deepEqual([mode, from], ["audit", "MeshwardPolicy shadow, which extends profile observe,"]);
  assert.equal(selection.between(mesh, mesh).of(newRule, virtualService("orders")).mode, "deny");
});

test("a rule that is newer than a pinned profile warns at most, unless a document of the user names it", () => {
  const mesh = meshOf();
  const settingOf = (text: string, rule = newRule, pin?: Pin) => {
    const { policies, errors } = loadPolicies(text === "" ? [] : sourcesOf(text), ruleList, "baseline", { pin });
    assert.deepEqual(errors, []);
    return selectionOf(policies, person).between(mesh, mesh).of(rule, virtualService("payments"));
  };
  const pin: Pin = { title: "baseline@0.1", version: [0, 1] };
  const named = ranked("a", "", "deny");
  const every = policy("a", "{rules: [{id: '*', mode: deny}]}");
  assert.equal(settingOf("", newRule).newerThan, undefined);
  assert.equal(settingOf("", newRule, pin).newerThan, "baseline@0.1");
  assert.equal(settingOf("", { ...newRule, since: "0.1.9" }, pin).newerThan, undefined);
  assert.equal(settingOf(every, newRule, pin).newerThan, "baseline@0.1");
  assert.equal(settingOf(named, newRule, pin).newerThan, undefined);
  assert.equal(settingOf(policy("a", "{rules: [{id: '*', mode: warn}]}"), newRule, pin).newerThan, undefined);
  const found = judge([newRule], mesh, [{ object: virtualService("payments") }], {
    selection: selectionOf(loadPolicies([], ruleList, "baseline", { pin }).policies, person),
  }).findings;
  const rulings = rulingsOf(found, { after: mesh, exceptionFor: () => undefined });
  assert.deepEqual(
    rulings.map(({ mode, lowered }) => [mode, lowered.map(({ step }) => step)]),
    [["warn", ["newRule"]]],
  );
});
