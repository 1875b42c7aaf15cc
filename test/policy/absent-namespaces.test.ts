import assert from "node:assert/strict";
import { test } from "node:test";
import { absentNamespaces, type NamedNamespace } from "../../src/policy/absent-namespaces.ts";
import { policiesOf, policy } from "./sources.ts";

const found = (spec: string, namespaces: readonly NamedNamespace[]) =>
  absentNamespaces(policiesOf(policy("a", spec)), namespaces).map(({ text }) => text);
const shop = { name: "shop", labels: { team: "a", tier: "1" } };
const bank = { name: "bank", labels: { team: "b", tier: "2" } };

test("names, patterns and labels are looked for, each at its place", () => {
  const where = (inner: string) => `{ protectedNamespaces: { ${inner} } }`;
  assert.deepEqual(found(where('names: [shop, "b*", "*"]'), [shop, bank]), []);
  assert.deepEqual(found(where('names: [shop, sohp, "x*"]'), [shop]), [
    'spec.protectedNamespaces.names[1]: this mesh has no namespace "sohp"; did you mean "shop"?',
    'spec.protectedNamespaces.names[2]: no namespace of this mesh matches "x*"',
  ]);
  assert.deepEqual(found(where('labels: { team: a, tier: "1" }'), [shop, bank]), []);
  // Each label is there, but no namespace has both.
  assert.deepEqual(found(where('labels: { team: a, tier: "2" }'), [shop, bank]), [
    "spec.protectedNamespaces.labels: no namespace of this mesh has team=a and tier=2",
  ]);
  assert.deepEqual(found("{ match: { namespaces: { names: [x] } }, rules: [{ tag: mtls, mode: warn }] }", [shop]), [
    'spec.match.namespaces.names[0]: this mesh has no namespace "x"',
  ]);
  assert.deepEqual(
    found(
      '{ hostOwners: [{ hosts: ["*"], namespaces: [shop] }, { hosts: [a.example], namespaces: [shop, "sohp-*"] }] }',
      [shop],
    ),
    ['spec.hostOwners[1].namespaces[1]: no namespace of this mesh matches "sohp-*"'],
  );
  assert.deepEqual(
    found("{ mutations: { namespaceAmbientEnrollment: { mode: create, except: [shop, bnak] } } }", [shop, bank]),
    ['spec.mutations.namespaceAmbientEnrollment.except[1]: this mesh has no namespace "bnak"; did you mean "bank"?'],
  );
});

test("nothing is said of labels that are not known, nor of profiles", () => {
  assert.deepEqual(
    found("{ protectedNamespaces: { labels: { team: c } } }", [shop, { name: "x", labels: undefined }]),
    [],
  );
  assert.deepEqual(absentNamespaces(policiesOf(""), [shop]), []);
});
