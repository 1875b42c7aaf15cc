import assert from "node:assert/strict";
import test from "node:test";
import { loadPolicies } from "../../src/policy/load.ts";
import { policiesOf, policy, ruleList, sourcesOf } from "./sources.ts";

test("hostOwners of all documents are combined", () => {
  const one = "{hostOwners: [{hosts: ['*.example.com'], namespaces: [web]}]}";
  const two = "{hostOwners: [{hosts: [shop.example.com], namespaces: [shop]}]}";
  assert.deepEqual(policiesOf(policy("a", one) + policy("b", two)).hostOwners, [
    { hosts: ["*.example.com"], namespaces: ["web"] },
    { hosts: ["shop.example.com"], namespaces: ["shop"] },
  ]);
});

const wrong: readonly (readonly [spec: string, message: RegExp])[] = [
  ["{hostOwners: []}", /spec\.hostOwners: is empty/],
  ["{hostOwners: [{hosts: [a.example.com]}]}", /spec\.hostOwners\[0\]: namespaces is missing/],
  [
    "{hostOwners: [{hosts: [a.example.com], host: [b.example.com], namespaces: [a]}]}",
    /hostOwners\[0\]\.host: there is no such field; did you mean "hosts"/,
  ],
  [
    "{hostOwners: [{hosts: [Shop.example.com], namespaces: [a]}]}",
    /hosts\[0\]: found "Shop\.example\.com"; A host in lower case/,
  ],
  [
    "{hostOwners: [{hosts: ['shop.*.com'], namespaces: [a]}]}",
    /hosts\[0\]: found "shop\.\*\.com"; A host in lower case/,
  ],
  ["{hostOwners: [{hosts: [''], namespaces: [a]}]}", /hosts\[0\]: is empty/],
  [
    `{hostOwners: [{hosts: [${"a.".repeat(150)}com], namespaces: [a]}]}`,
    /hosts\[0\]: expected at most 253 characters, found 303/,
  ],
  [
    "{match: {namespaces: {names: [a]}}, hostOwners: [{hosts: [a.com], namespaces: [a]}]}",
    /spec\.hostOwners: applies to the whole cluster/,
  ],
];
for (const [spec, message] of wrong)
  test(`${spec.slice(0, 60)} is refused`, () => {
    const { errors } = loadPolicies(sourcesOf(policy("a", spec)), ruleList);
    assert.equal(errors.length, 1);
    assert.match(errors[0]?.message ?? "", message);
  });
