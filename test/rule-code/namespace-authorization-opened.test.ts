import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceAuthorizationOpened } from "../../src/rules/namespace/authorization-opened.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// What begins to go through a waypoint is denied if the pods are behind ztunnel, and only warned of if they have sidecars.

const read = (apiVersion: string, kind: string, metadata: object, body: object = {}): AnyObject =>
  readAny({ apiVersion, kind, metadata, ...body }) as AnyObject;
const inBank = (apiVersion: string, kind: string, name: string, spec: object) =>
  read(apiVersion, kind, { name, namespace: "bank" }, { spec });
const policy = (name: string, source: object) =>
  inBank("security.istio.io/v1", "AuthorizationPolicy", name, { rules: [{ from: [{ source }] }] });

function modesOf(labels: object): readonly string[] {
  const store = new MeshStore(defaultMeshSettings);
  const namespaceOf = (more: object) => read("v1", "Namespace", { name: "bank", labels: { ...labels, ...more } });
  for (const object of [
    namespaceOf({}),
    inBank("apps/v1", "Deployment", "ledger", { template: { metadata: { labels: { app: "ledger" } } } }),
    inBank("v1", "Service", "ledger", { selector: { app: "ledger" }, ports: [{ port: 80 }] }),
    inBank("gateway.networking.k8s.io/v1", "Gateway", "waypoint", { gatewayClassName: "istio-waypoint" }),
    policy("clerks", { namespaces: ["clerks"] }),
    policy("waypoint", { serviceAccounts: ["waypoint"] }),
  ])
    store.set(object);
  const change = { old: namespaceOf({}), object: namespaceOf({ "istio.io/use-waypoint": "waypoint" }) };
  const { findings, errors } = judge([namespaceAuthorizationOpened], store, [change]);
  assert.deepEqual(errors, []);
  return findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn"));
}

test("a waypoint without policies in front of pods that ztunnel protected: denied", () => {
  assert.deepEqual(modesOf({ "istio.io/dataplane-mode": "ambient" }), ["deny"]);
});

test("a waypoint in front of sidecars: a warning", () => {
  assert.deepEqual(modesOf({ "istio-injection": "enabled" }), ["warn"]);
});
