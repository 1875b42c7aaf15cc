import assert from "node:assert/strict";
import test from "node:test";
import { limitsIn, refusalsOf, writerRefusal } from "../../src/policy/exception-limits.ts";
import { exception, policiesOf, policy } from "./sources.ts";

const now = new Date("2027-01-01T12:00:00Z");
const step = "virtual-service-canary-step";
const weights = "virtual-service-weights-not-100";
const limits = (text: string, namespace = "shop", namespaceLabels = {}) =>
  limitsIn({ namespace, namespaceLabels }, policiesOf(text).index);
const refused = (text: string, rules: readonly string[], expiresAt: string) =>
  refusalsOf({ rules, expiresAt }, limits(text), now).map(({ message }) => message);

test("without limits every exception is allowed", () => {
  assert.deepEqual(refused("", [step], "2099-01-01"), []);
  assert.equal(writerRefusal({ user: "ann", groups: [] }, limits("")), undefined);
});

test("rules and duration are limited; a date counts until its end", () => {
  const text = policy("platform", "{exceptions: {rules: ['virtual-service-canary-*'], maxDays: 30}}");
  assert.deepEqual(refused(text, [step], "2027-01-30"), []);
  assert.deepEqual(refused(text, [step], "2027-01-31T12:00:00Z"), []);
  assert.deepEqual(refused(text, [step, weights], "2027-01-31"), [
    `MeshwardPolicy platform allows no exception for ${weights} in this namespace, only for virtual-service-canary-*`,
    "the exception ends in 31 days, and MeshwardPolicy platform allows at most 30",
  ]);
});

test("each limit is from the most specific document that sets it", () => {
  const text =
    policy("all", "{exceptions: {maxDays: 90, mode: deny}}") +
    policy("shop", "{match: {namespaces: {names: [shop]}}, exceptions: {mode: allow}}") +
    policy("eu", "{match: {namespaces: {labels: {region: eu}}}, exceptions: {maxDays: 7}}");
  assert.deepEqual(limits(text), {
    mode: { value: "allow", policy: "MeshwardPolicy shop" },
    maxDays: { value: 90, policy: "MeshwardPolicy all" },
  });
  assert.equal(limits(text, "shop", { region: "eu" }).maxDays?.value, 7);
  const [refusal] = refusalsOf({ rules: [step], expiresAt: "2027-01-02" }, limits(text, "bank"), now);
  assert.equal(refusal?.message, "MeshwardPolicy all allows no exceptions in this namespace");
});

test("writers are users, groups and service accounts", () => {
  const writers = "{users: [ann], groups: ['sec-*'], serviceAccounts: [flux-system/kustomize-controller]}";
  const text = policy("platform", `{exceptions: {writers: ${writers}}}`);
  const refusal = (user: string, ...groups: readonly string[]) =>
    writerRefusal({ user, groups }, limits(text))?.message;
  assert.equal(refusal("ann"), undefined);
  assert.equal(refusal("bob", "sec-eu"), undefined);
  assert.equal(refusal("system:serviceaccount:flux-system:kustomize-controller"), undefined);
  assert.equal(refusal("bob", "dev"), 'MeshwardPolicy platform does not let "bob" write exceptions in this namespace');
});

test("an exception that the policies do not allow accepts nothing, and another one may", () => {
  const spec = (more: string) => `{rules: [${step}], reason: why, owner: who, ${more}}`;
  const text =
    policy("platform", "{exceptions: {maxDays: 30}}") +
    exception("long", "shop", spec("expiresAt: '2027-12-31'")) +
    exception("short", "shop", spec("expiresAt: '2027-01-15'"));
  const policies = policiesOf(text);
  const object = { kind: "VirtualService", name: "a", labels: {} };
  const at = (time: string) =>
    policies.exceptionFor({ rule: step, namespace: "shop", object, fingerprint: () => undefined }, {}, new Date(time))
      ?.name;
  assert.equal(at("2027-01-01T00:00:00Z"), "short");
  assert.equal(at("2027-01-15T23:59:59Z"), "short");
  assert.equal(at("2027-01-16T00:00:00Z"), undefined);
  assert.equal(at("2027-12-20T00:00:00Z"), "long");
});

test("an exception can select kinds and fingerprints", () => {
  const spec = (match: string) =>
    `{rules: [${step}], match: ${match}, reason: why, owner: who, expiresAt: '2027-12-31'}`;
  const one = "1".repeat(32);
  const policies = policiesOf(
    exception("kinds", "a", spec("{objects: {kinds: [VirtualService], names: [x]}}")) +
      exception("findings", "b", spec(`{fingerprints: ['${one}', '${"2".repeat(32)}']}`)),
  );
  const of = (namespace: string, kind: string, fingerprint: string | undefined) =>
    policies.exceptionFor(
      { rule: step, namespace, object: { kind, name: "x", labels: {} }, fingerprint: () => fingerprint },
      {},
      now,
    )?.name;
  assert.equal(of("a", "VirtualService", "any"), "kinds");
  assert.equal(of("a", "Service", "any"), undefined);
  assert.equal(of("b", "Service", one), "findings");
  assert.equal(of("b", "Service", "3".repeat(32)), undefined);
  assert.equal(of("b", "Service", undefined), undefined);
});
