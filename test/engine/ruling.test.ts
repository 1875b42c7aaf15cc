import assert from "node:assert/strict";
import test from "node:test";
import { absent } from "../../src/engine/evidence.ts";
import { type Finding, findingOf } from "../../src/engine/finding.ts";
import { defineRule, type Mode, type Problem, type Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { uncovered, weigh, type Weighed } from "../../src/engine/weigh.ts";
import { idOf } from "../../src/kube/identity.ts";
import type { Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { unusedExceptions } from "../../src/policy/exceptions.ts";
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

interface Case {
  readonly says: string;
  readonly expected: string;
  readonly problem?: Partial<Problem>;
  readonly rule?: Rule;
  readonly introduced?: boolean;
  /** Ids; undefined where nothing changes. */
  readonly changed?: readonly string[] | undefined;
  readonly knowledge?: Knowledge;
  readonly policies?: string;
}

const itself = [idOf(subject)];
const existingDenies = policy("a", "{rules: [{id: virtual-service-weights-not-100, existing: deny}]}");
const until = (year: number) =>
  exception(
    "legacy",
    "payments",
    `{rules: [virtual-service-weights-not-100], reason: why, owner: who, expiresAt: '${year}-01-01T00:00:00Z'}`,
  );

const cases: readonly Case[] = [
  { says: "what a change introduces denies", expected: "deny" },
  { says: "at most a warning, says the rule", problem: { atMost: "warn" }, expected: "warn lesser" },
  { says: "what is milder stays so", problem: { atMost: "warn" }, rule: { ...rule, mode: "audit" }, expected: "audit" },
  { says: "what was there warns on the object that is changed", introduced: false, expected: "warn existing" },
  { says: "what was there elsewhere is not said", introduced: false, changed: ["Namespace payments"], expected: "off" },
  {
    says: "what was there denies where the policy says so",
    introduced: false,
    policies: existingDenies,
    expected: "deny",
  },
  { says: "but not elsewhere", introduced: false, changed: [], policies: existingDenies, expected: "off" },
  { says: "what is introduced elsewhere denies", changed: ["DestinationRule payments/shop"], expected: "deny" },
  { says: "a rule for own changes denies them", rule: { ...rule, onlyOwnChanges: true }, expected: "deny" },
  {
    says: "and what others bring about is not for it to say",
    rule: { ...rule, onlyOwnChanges: true },
    changed: ["DestinationRule payments/shop"],
    expected: "off",
  },
  {
    says: "but where nothing changes it is",
    rule: { ...rule, onlyOwnChanges: true },
    changed: undefined,
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
    expected: "warn uncertain",
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
    expected: "warn uncertain",
  },
  { says: "off stays off", rule: { ...rule, mode: "off" }, expected: "off" },
  { says: "an exception accepts it", policies: until(2027), expected: "off MeshwardException payments/legacy" },
  { says: "an expired one does not", policies: until(2026), expected: "deny" },
  { says: "audit, says the policy", policies: policy("a", "{rules: [{id: '*', mode: audit}]}"), expected: "audit" },
];

for (const { says, expected, problem, introduced = true, knowledge = "complete", policies = "", ...given } of cases) {
  test(`${says}: ${expected}`, () => {
    const selection = selectionOf(policiesOf(policies), undefined, new Date("2026-06-01T00:00:00Z"));
    const mesh = new MeshStore(defaultMeshSettings, new Map<Kind, Knowledge>([["DestinationRule", knowledge]]));
    const finding = findingOf({ at: [], message: "wrong", ...problem }, given.rule ?? rule, subject, introduced);
    const changed = "changed" in given ? given.changed : itself;
    const weighed = weigh(finding, selection, { before: mesh, after: mesh }, changed && new Set(changed));
    assert.equal([weighed.mode, weighed.because ?? weighed.exception?.title].join(" ").trim(), expected);
    assert.equal(weighed.finding, finding);
  });
}

test("a rule covers others in the same namespace, where it is at least as severe", () => {
  const covering: Rule = { ...rule, id: "covering", covers: ["covered"] };
  const at = (namespace: string) => read({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  const weighed = (of: Rule, where: AnyObject, mode: Mode): Weighed => ({
    finding: findingOf({ at: [], message: "wrong" }, of, where, true),
    mode,
    policy: "",
  });
  const covered: Rule = { ...rule, id: "covered" };
  const left = (mode: Mode, other: Mode, where = at("payments")) =>
    uncovered([weighed(covering, subject, mode), weighed(covered, where, other)]).map(({ finding }) => finding.rule.id);
  assert.deepEqual(left("deny", "warn"), ["covering"]);
  assert.deepEqual(left("warn", "warn"), ["covering"]);
  assert.deepEqual(left("audit", "warn"), ["covering", "covered"]);
  assert.deepEqual(left("deny", "warn", at("orders")), ["covering", "covered"]);
  assert.deepEqual(uncovered([weighed(rule, subject, "deny"), weighed(covered, subject, "warn")]).length, 2);
});

test("exceptions that accepted nothing are named, expired ones are not", () => {
  const spec = (year: number) =>
    `{rules: [virtual-service-weights-not-100], match: {objects: {names: [other]}}, reason: why, owner: who, expiresAt: '${year}-01-01T00:00:00Z'}`;
  const policies = policiesOf(
    until(2027) + exception("idle", "payments", spec(2027)) + exception("expired", "payments", spec(2026)),
  );
  const now = new Date("2026-06-01T00:00:00Z");
  const selection = selectionOf(policies, undefined, now);
  const mesh = new MeshStore(defaultMeshSettings);
  const finding: Finding = findingOf({ at: [], message: "wrong" }, rule, subject, true);
  weigh(finding, selection, { before: mesh, after: mesh });
  assert.deepEqual(
    unusedExceptions(policies.exceptions, selection.usedExceptions, now).map(({ name }) => name),
    ["idle"],
  );
});

test("an exception is not used up by what is not said anyway", () => {
  const selection = selectionOf(policiesOf(until(2027)), undefined, new Date("2026-06-01T00:00:00Z"));
  const mesh = new MeshStore(defaultMeshSettings);
  const finding = findingOf({ at: [], message: "wrong" }, rule, subject, false);
  weigh(finding, selection, { before: mesh, after: mesh }, new Set(["Namespace payments"]));
  assert.equal(selection.usedExceptions.size, 0);
});
