import assert from "node:assert/strict";
import { test } from "node:test";
import { hasAnyField } from "../../src/engine/fields-set.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";

function virtualService(spec: object): AnyObject {
  const metadata = { name: "cart", namespace: "shop" };
  const object = readAny({ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata, spec });
  assert.ok(object !== undefined);
  return object;
}

const mirrors = ["spec.http.mirror", "spec.http.mirrors"];
const route = [{ destination: { host: "cart" } }];

test("a field is set if it is in one of the items on the way", () => {
  const mirrored = { route, mirrors: [{ destination: { host: "copy" } }] };
  assert.ok(hasAnyField(virtualService({ hosts: ["cart"], http: [{ route }, mirrored] }), mirrors));
  assert.ok(hasAnyField(virtualService({ hosts: ["cart"], http: [{ route, mirror: { host: "copy" } }] }), mirrors));
});

test("an absent field, an empty list and a field of another kind are not set", () => {
  const plain = virtualService({ hosts: ["cart"], http: [{ route, mirrors: [] }] });
  assert.ok(!hasAnyField(plain, mirrors));
  assert.ok(!hasAnyField(plain, ["spec.rules.filters", "spec.hosts.name", "spec.http.route.weight.more"]));
});

// The laws of narrowing and of audits find a field that is missing: neither a scan nor an audit looks at the fields.
test("only rules that check states alone name fields", () => {
  const naming = rules.filter(({ onlyWithFields }) => onlyWithFields !== undefined);
  assert.ok(naming.length > 0);
  for (const { id, compare } of naming) assert.equal(compare, undefined, id);
});
