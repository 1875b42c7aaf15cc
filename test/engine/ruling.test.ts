import assert from "node:assert/strict";
import test from "node:test";
import { absent, absentHere } from "../../src/engine/evidence.ts";
import { type Finding, findingOf } from "../../src/engine/finding.ts";
import { defineRule, type Mode, type Problem, type Rule } from "../../src/engine/rule.ts";
import {
  type FilesContext,
  ladder,
  type RequestContext,
  type RulingContext,
  rulingsOf,
} from "../../src/engine/ruling.ts";
import { type Exception, type PolicySelection, type RuleSetting, selectionOf } from "../../src/engine/setting.ts";
import { idOf } from "../../src/kube/identity.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge } from "../../src/view/view.ts";
import { exception, policiesOf, policy } from "../policy/sources.ts";

const rule = defineRule({
  id: "virtual-service-weights-not-100",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "",
  why: "",
  fix: "",
  *check() {},
});

const read = (raw: object): AnyObject => {
  const object = readAny(raw);
  assert.ok(object);
  return object;
};
const subject = read({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "payments" },
});
const destinationRule = read({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { name: "shop", namespace: "payments" },
});
const missing = absent("DestinationRule", "payments");
const service = absentHere("Service", "payments", "ledger");

interface Case {
  readonly says: string;
  readonly expected: string;
  readonly problem?: Partial<Problem>;
  readonly rule?: Rule;
  readonly introduced?: boolean;
  /** Ids; undefined where nothing changes. */
  readonly changed?: readonly string[] | undefined;
  readonly knowledge?: Knowledge;
  /** Undefined: the subject is new. */
  readonly before?: MeshStore;
  /** The namespace of the subject; undefined: it is not known. */
  readonly namespace?: AnyObject;
  readonly files?: FilesContext;
  readonly policies?: string;
  readonly hasOtherClusters?: boolean;
}

const namespaceIn = (phase: string): AnyObject =>
  read({ apiVersion: "v1", kind: "Namespace", metadata: { name: "payments" }, status: { phase } });
const itself = [idOf(subject)];
const empty = new MeshStore(defaultMeshSettings);
const withSubject = new MeshStore(defaultMeshSettings);
withSubject.set(subject);
const existingDenies = policy("a", "{rules: [{id: virtual-service-weights-not-100, existing: deny}]}");
const until = (year: number) =>
  exception(
    "legacy",
    "payments",
    `{rules: [virtual-service-weights-not-100], reason: why, owner: who, expiresAt: '${year}-01-01T00:00:00Z'}`,
  );

const cases: readonly Case[] = [
  { says: "what a change introduces denies", expected: "deny" },
  {
    says: "at most a warning, says the rule",
    problem: { onlyWarns: "it is uncertain" },
    expected: "warn limitedEffect",
  },
  {
    says: "a problem that concerns nobody is no finding",
    problem: { onlyWarns: "it is uncertain", harmsNobody: "nobody is there" },
    expected: "off limitedEffect nobodyThere",
  },
  {
    says: "what is milder stays so",
    problem: { onlyWarns: "it is uncertain" },
    rule: { ...rule, mode: "audit" },
    expected: "audit",
  },
  { says: "what was there warns on the object that is changed", introduced: false, expected: "warn existing" },
  {
    says: "what was there elsewhere is not said",
    introduced: false,
    changed: ["Namespace payments"],
    expected: "off otherObject",
  },
  {
    says: "what was there denies where the policy says so",
    introduced: false,
    policies: existingDenies,
    expected: "deny",
  },
  { says: "but not elsewhere", introduced: false, changed: [], policies: existingDenies, expected: "off otherObject" },
  {
    says: "what rests on a placeholder in a file warns",
    files: { placeholderFor: () => '"${NS}" is a placeholder', alternativeFor: () => undefined },
    expected: "warn placeholder",
  },
  {
    says: "what another definition in the files resolves warns",
    files: { placeholderFor: () => undefined, alternativeFor: () => "another file resolves it" },
    expected: "warn alternative",
  },
  {
    says: "what the files leave no doubt about denies",
    files: { placeholderFor: () => undefined, alternativeFor: () => undefined },
    expected: "deny",
  },
  { says: "what is introduced elsewhere denies", changed: ["DestinationRule payments/shop"], expected: "deny" },
  {
    says: "what is introduced on an object that goes with its namespace is not said",
    changed: ["DestinationRule payments/shop"],
    namespace: namespaceIn("Terminating"),
    expected: "off terminatingNamespace",
  },
  {
    says: "but in a namespace that stays",
    changed: ["DestinationRule payments/shop"],
    namespace: namespaceIn("Active"),
    expected: "deny",
  },
  {
    says: "and of a weakening, whose rule knows what counts there",
    rule: { ...rule, *compare() {} },
    changed: ["DestinationRule payments/shop"],
    namespace: namespaceIn("Terminating"),
    expected: "deny",
  },
  {
    says: "and on an object that is written while its namespace goes",
    namespace: namespaceIn("Terminating"),
    expected: "deny",
  },
  {
    says: "and of an audit, because a namespace may wait for ever",
    changed: undefined,
    namespace: namespaceIn("Terminating"),
    expected: "deny",
  },
  {
    says: "where nothing changes, what is there counts in full",
    introduced: false,
    changed: undefined,
    expected: "deny",
  },
  { says: "a missing object of a kind known whole denies", problem: { evidence: [missing] }, expected: "deny" },
  {
    says: "of a kind assumed whole, warns",
    problem: { evidence: [missing] },
    knowledge: "assumed",
    expected: "warn incompleteEvidence",
  },
  {
    says: "of a kind assumed whole, which the change took from an object that stays as it is, denies",
    problem: { evidence: [missing] },
    knowledge: "assumed",
    before: withSubject,
    expected: "deny",
  },
  {
    says: "of a kind known in part, which the change took, warns",
    problem: { evidence: [missing] },
    knowledge: "partial",
    before: withSubject,
    expected: "warn incompleteEvidence",
  },
  {
    says: "a present one of a kind assumed whole denies",
    problem: { evidence: [destinationRule] },
    knowledge: "assumed",
    expected: "deny",
  },
  {
    says: "a present one of a kind known in part warns",
    problem: { evidence: [destinationRule] },
    knowledge: "partial",
    expected: "warn incompleteEvidence",
  },
  { says: "a missing Service denies in a mesh of one cluster", problem: { evidence: [service] }, expected: "deny" },
  {
    says: "a missing Service, which another cluster may have, warns",
    problem: { evidence: [service] },
    hasOtherClusters: true,
    expected: "warn otherClusters",
  },
  {
    says: "a warning because of one is nothing",
    problem: { evidence: [service] },
    rule: { ...rule, mode: "warn" },
    hasOtherClusters: true,
    expected: "off otherClusters",
  },
  {
    says: "one that the change took from an object that stays as it is denies",
    problem: { evidence: [service] },
    hasOtherClusters: true,
    before: withSubject,
    expected: "deny",
  },
  {
    says: "what each cluster has for itself denies",
    problem: { evidence: [missing] },
    hasOtherClusters: true,
    expected: "deny",
  },
  {
    says: "a rule on trial warns at most, whatever the policy says",
    rule: { ...rule, stage: "trial" },
    policies: policy("a", "{rules: [{id: virtual-service-weights-not-100, mode: deny}]}"),
    expected: "warn trial",
  },
  { says: "off stays off", rule: { ...rule, mode: "off" }, expected: "off" },
  {
    says: "an exception accepts it",
    policies: until(2027),
    expected: "off exception MeshwardException payments/legacy",
  },
  { says: "an expired one does not", policies: until(2026), expected: "deny" },
  { says: "audit, says the policy", policies: policy("a", "{rules: [{id: '*', mode: audit}]}"), expected: "audit" },
];

for (const one of cases) {
  test(`${one.says}: ${one.expected}`, () => {
    const selection = selectionOf(policiesOf(one.policies ?? ""), undefined, new Date("2026-06-01T00:00:00Z"));
    const finding = findingIn(one, selection);
    const [ruling] = rulingsOf([finding], contextIn(one, selection));
    const said = [ruling?.mode, ...(ruling?.lowered.map(({ step }) => step) ?? []), ruling?.exception?.title];
    assert.equal(said.join(" ").trim(), one.expected);
    assert.equal(ruling?.finding, finding);
  });
}

function findingIn({ problem, introduced = true, rule: by = rule }: Case, selection: PolicySelection): Finding {
  const setting = selection.between(empty, empty).of(by, subject);
  return findingOf({ at: [], message: "wrong", ...problem }, { rule: by, subject, setting }, introduced);
}

function contextIn(one: Case, { exceptionFor }: PolicySelection): RulingContext {
  const knowledge = new Map<Kind, Knowledge>([["DestinationRule", one.knowledge ?? "complete"]]);
  const changed = "changed" in one ? one.changed : itself;
  const { hasOtherClusters = false } = one;
  const after = new MeshStore({ ...defaultMeshSettings, hasOtherClusters }, knowledge);
  if (one.namespace !== undefined) after.set(one.namespace);
  return {
    ...(one.before === undefined ? {} : { before: one.before }),
    ...(one.files === undefined ? {} : { files: one.files }),
    after,
    exceptionFor,
    ...(changed === undefined ? {} : { changed: new Set(changed) }),
  };
}

const mesh = new MeshStore(defaultMeshSettings);
const setting = (mode: Mode, more: Partial<RuleSetting> = {}): RuleSetting => ({
  mode,
  parameters: {},
  existing: "warn",
  onError: "deny",
  onUnknown: "warn",
  policy: "MeshwardPolicy a",
  ...more,
});
const calm: RequestContext = {
  writer: "person",
  isDeletion: false,
  isDryRun: false,
  isUnconfirmed: false,
  isPending: false,
  reconcilers: "warn",
  breakGlass: undefined,
  isGatewayProxy: () => false,
  incompleteKinds: () => [],
};
const contextOf = (request: Partial<RequestContext>): RulingContext => ({
  after: mesh,
  exceptionFor: () => undefined,
  changed: new Set(itself),
  request: { ...calm, ...request },
});
const findingWith = (parts: Partial<Finding>): Finding => ({
  ...findingOf({ at: [], message: "wrong" }, { rule, subject, setting: setting("deny") }, true),
  ...parts,
});

/** Each step of a request, with a finding that it lowers and the reason that users read. */
const steps: readonly [string, Partial<Finding>, Partial<RequestContext>, Mode, RegExp][] = [
  ["gatewayProxy", {}, { isGatewayProxy: () => true }, "off", /istiod runs/],
  ["onError", { undecided: "error", setting: setting("deny", { onError: "warn" }) }, {}, "warn", /onError: warn/],
  ["newRule", { setting: setting("deny", { newerThan: "baseline@0.1" }) }, {}, "warn", /newer than .* baseline@0\.1/],
  ["incompleteData", { class: "weakening" }, { incompleteKinds: () => ["Workload"] }, "warn", /Workload is old/],
  ["garbageCollection", {}, { writer: "garbage collector", isDeletion: true }, "audit", /deletes what belongs/],
  ["writer", { class: "relational" }, { writer: "control plane" }, "audit", /from the control plane/],
  ["reconciler", { class: "relational" }, { writer: "reconciler" }, "warn", /may still apply the missing/],
  ["dryRun", { class: "relational" }, { isDryRun: true }, "warn", /dry run/],
  ["unconfirmed", { class: "relational" }, { isUnconfirmed: true }, "warn", /did not confirm/],
  ["pending", { class: "relational" }, { isPending: true }, "warn", /another change .* is not stored yet/],
  ["breakGlass", {}, { breakGlass: "incident" }, "warn", /break glass/],
];
for (const [step, parts, request, expected, reason] of steps)
  test(`step ${step}: ${expected}`, () => {
    const [ruling] = rulingsOf([findingWith(parts)], contextOf(request));
    assert.equal(ruling?.mode, expected);
    assert.deepEqual(
      ruling.lowered.map((one) => [one.step, one.from, one.to]),
      [[step, "deny", expected]],
    );
    assert.match(ruling.lowered[0]?.reason ?? "", reason);
    const [without] = rulingsOf([findingWith(parts)], contextOf({}));
    const stays = step === "onError" || step === "newRule" ? expected : "deny";
    assert.equal(without?.mode, stays);
  });

test("every step of the ladder is tried, and no step raises a mode", () => {
  const tried = new Set([...steps.map(([step]) => step), ...cases.flatMap(({ expected }) => expected.split(" "))]);
  for (const name of Object.keys(ladder)) assert.ok(tried.has(name), name);
  const audited = findingWith({ setting: setting("audit"), class: "relational", onlyWarns: "it is uncertain" });
  const [ruling] = rulingsOf([audited], contextOf({ isDryRun: true, breakGlass: "incident" }));
  assert.deepEqual([ruling?.mode, ruling?.lowered], ["audit", []]);
});

test("of findings about one topic in a namespace a weakening that is as severe counts alone", () => {
  const at = (namespace: string) => read({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  const about = (parts: Partial<Finding>, mode: Mode, where = at("payments")) =>
    findingWith({ topic: "default deny", subject: where, setting: setting(mode), ...parts });
  const left = (mode: Mode, other: Mode, where = at("payments")) =>
    rulingsOf([about({ class: "weakening" }, mode), about({ class: "relational" }, other, where)], {
      after: mesh,
      exceptionFor: () => undefined,
    }).map((ruling) => ruling.mode);
  assert.deepEqual(left("deny", "warn"), ["deny", "off"]);
  assert.deepEqual(left("warn", "warn"), ["warn", "off"]);
  assert.deepEqual(left("audit", "warn"), ["audit", "warn"]);
  assert.deepEqual(left("deny", "warn", at("orders")), ["deny", "warn"]);
});

test("a finding about an object includes findings of the same topic whose evidence it is, in any namespace", () => {
  const object = (name: string) => read({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  const [policy, other, namespace] = [object("policy"), object("other"), object("namespace")];
  const own = (mode: Mode, subject = policy, topic = "plaintext") =>
    findingWith({ topic, subject, setting: setting(mode) });
  const about = (mode: Mode) =>
    findingWith({
      topic: "plaintext",
      subject: namespace,
      evidence: [policy],
      class: "relational",
      setting: setting(mode),
    });
  const left = (...findings: readonly Finding[]) =>
    rulingsOf(findings, { after: mesh, exceptionFor: () => undefined }).map(({ mode }) => mode);
  assert.deepEqual(left(about("warn"), own("deny")), ["off", "deny"]);
  assert.deepEqual(left(about("deny"), own("deny")), ["off", "deny"]);
  assert.deepEqual(left(about("deny"), own("warn")), ["deny", "warn"]);
  assert.deepEqual(left(about("warn"), own("deny", other)), ["warn", "deny"]);
  assert.deepEqual(left(about("warn"), own("deny", policy, "another topic")), ["warn", "deny"]);
  // Two findings with each other as evidence are both kept.
  const mutual = { topic: "plaintext", class: "relational" } as const;
  assert.deepEqual(
    left(
      findingWith({ ...mutual, subject: policy, evidence: [namespace] }),
      findingWith({ ...mutual, subject: namespace, evidence: [policy] }),
    ),
    ["deny", "deny"],
  );
});

test("an exception for a finding that includes a problem accepts the problem, too", () => {
  const subject = read({ apiVersion: "v1", kind: "Namespace", metadata: { name: "payments" } });
  const accepted = {
    title: "MeshwardException payments/legacy",
    namespace: "payments",
    expiresAt: "2027-01-01T00:00:00Z",
  } as Exception;
  const [ruling] = rulingsOf([findingWith({ acceptedWith: [{ rule: "another-rule", object: subject }] })], {
    after: mesh,
    exceptionFor: ({ id }, object) => (id === "another-rule" && object === subject ? accepted : undefined),
  });
  assert.deepEqual([ruling?.mode, ruling?.exception], ["off", accepted]);
});
