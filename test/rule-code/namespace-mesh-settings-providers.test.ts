import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceMeshSettingsWeakened } from "../../src/rules/namespace/mesh-settings-weakened.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// What an extension provider loses decides whether a change of the mesh config is denied or only warned of.

const meshConfig = (called: string): AnyObject =>
  readAny({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "istio", namespace: "istio-system" },
    data: { mesh: `extensionProviders: [{ name: opa, envoyExtAuthzGrpc: { ${called} } }]` },
  }) as AnyObject;
const mesh = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "payments", labels: { "istio-injection": "enabled" } } },
  {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "ask", namespace: "payments" },
    spec: { action: "CUSTOM", provider: { name: "opa" }, rules: [{}] },
  },
].map((object) => readAny(object) as AnyObject);

function judged(called: string): readonly string[] {
  const store = new MeshStore(defaultMeshSettings);
  const old = meshConfig("service: opa.authz.svc.cluster.local, port: 9191");
  for (const object of [...mesh, old]) store.set(object);
  const { findings, errors } = judge([namespaceMeshSettingsWeakened], store, [{ old, object: meshConfig(called) }]);
  assert.deepEqual(errors, []);
  return findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn"));
}

test("the same service, with its namespace: nothing", () => {
  assert.deepEqual(judged('service: authz/opa.authz.svc.cluster.local, port: "9191"'), []);
});

test("another service or port: a warning, as for a policy that names another provider", () => {
  assert.deepEqual(judged("service: opa2.authz.svc.cluster.local, port: 9191"), ["warn"]);
  assert.deepEqual(judged("service: opa.authz.svc.cluster.local, port: 9192"), ["warn"]);
});

test("requests pass when the service does not answer, whichever it is: denied", () => {
  assert.deepEqual(judged("service: opa.authz.svc.cluster.local, port: 9191, failOpen: true"), ["deny"]);
  assert.deepEqual(judged("service: opa2.authz.svc.cluster.local, port: 9191, failOpen: true"), ["deny"]);
});
