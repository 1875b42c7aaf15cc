import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { authorizationPolicyNeedsMtls } from "../../src/rules/authorization-policy/needs-mtls.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// What takes the identity from callers is a change as the policy is that asks for it.

const read = (apiVersion: string, kind: string, metadata: object, spec: object = {}): AnyObject =>
  readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
const namespace = (labels: object = { "istio-injection": "enabled" }) =>
  read("v1", "Namespace", { name: "shop", labels });
const mtls = (mode: string, inNamespace = "shop") =>
  read("security.istio.io/v1", "PeerAuthentication", { name: "default", namespace: inNamespace }, { mtls: { mode } });
const policy = (action: string) =>
  read(
    "security.istio.io/v1",
    "AuthorizationPolicy",
    { name: "callers", namespace: "shop" },
    { action, rules: [{ from: [{ source: { principals: ["*/ns/web/sa/web"] } }] }] },
  );

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [namespace(), read("v1", "Namespace", { name: "istio-system" }), ...view]) mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const change = { old, object: isDeleted ? undefined : changed };
  const { findings, errors } = judge([authorizationPolicyNeedsMtls], mesh, [change]);
  assert.deepEqual(errors, []);
  return findings.filter(({ introduced: isNew }) => isNew).map(({ message }) => message);
}

const nobody = ["This rule allows nobody: mTLS is disabled, so no caller has an identity"];
const evaded = [
  "Callers in plaintext have no identity and get around this DENY rule: the effective mTLS mode is PERMISSIVE",
];

test("mTLS that is disabled leaves an ALLOW rule about identities nobody", () => {
  assert.deepEqual(introduced([policy("ALLOW")], mtls("DISABLE")), nobody);
  assert.deepEqual(introduced([policy("ALLOW"), mtls("STRICT")], mtls("DISABLE")), nobody);
  assert.deepEqual(introduced([policy("ALLOW")], mtls("DISABLE", "istio-system")), nobody);
  assert.deepEqual(introduced([policy("ALLOW"), mtls("DISABLE")], mtls("PERMISSIVE")), []);
  assert.deepEqual(introduced([policy("ALLOW"), mtls("STRICT")], mtls("PERMISSIVE")), []);
});

test("STRICT that goes lets callers in plaintext around a DENY rule", () => {
  assert.deepEqual(introduced([policy("DENY"), mtls("STRICT")], mtls("PERMISSIVE")), evaded);
  assert.deepEqual(
    introduced([policy("DENY"), mtls("STRICT", "istio-system")], mtls("STRICT", "istio-system"), true),
    evaded,
  );
  assert.deepEqual(introduced([policy("DENY")], mtls("PERMISSIVE")), []);
  assert.deepEqual(introduced([policy("DENY"), mtls("PERMISSIVE")], mtls("STRICT")), []);
});

test("a namespace that joins the mesh has such policies from then on", () => {
  assert.deepEqual(introduced([namespace({}), policy("DENY")], namespace()), evaded);
});
