import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceMeshSettingsWeakened } from "../../src/rules/namespace/mesh-settings-weakened.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Auto mTLS that a control plane loses concerns its clients, if it has any.

const read = (raw: object): AnyObject => readAny(raw) as AnyObject;
const namespace = (name: string, labels: object) =>
  read({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
const config = (name: string, mesh: string) =>
  read({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "istio-system" }, data: { mesh } });
const injector = (name: string, labels: object) =>
  read({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name, labels },
  });
const tag = (name: string, revision: string) =>
  injector(`istio-revision-tag-${name}`, { "istio.io/rev": revision, "istio.io/tag": name });
const injectorOfOld = injector("istio-sidecar-injector-old", { "istio.io/rev": "old" });
const deployment = (metadata: { name: string; namespace: string }, pod: object) =>
  read({ apiVersion: "apps/v1", kind: "Deployment", metadata, spec: { template: { metadata: pod } } });

const known = [
  namespace("istio-system", {}),
  namespace("bank", { "istio.io/rev": "old" }),
  config("istio-old", "{}"),
  deployment({ name: "api", namespace: "bank" }, {}),
];

/** The mode for a namespace on revision `old`, where the config of `canary` comes without auto mTLS. */
const judged = (...others: readonly AnyObject[]): string => judgedIn([...known, injectorOfOld, ...others]);

function judgedIn(objects: readonly AnyObject[]): string {
  const store = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) store.set(object);
  const change = { old: undefined, object: config("istio-canary", "enableAutoMtls: false") };
  const { findings, errors } = judge([namespaceMeshSettingsWeakened], store, [change]);
  assert.deepEqual(errors, []);
  return findings
    .filter(({ subject }) => subject.metadata.name === "bank")
    .map(({ onlyWarns }) => (onlyWarns === undefined ? "deny" : "warn"))
    .join();
}

test("nothing uses the revision: a warning", () => {
  assert.equal(judged(), "warn");
  assert.equal(judged(namespace("shop", { "istio.io/rev": "old" }), namespace("plain", {})), "warn");
  assert.equal(judged(namespace("shop", { "istio.io/rev": "stable" }), tag("stable", "old")), "warn");
  const off = { labels: { "istio.io/rev": "canary", "sidecar.istio.io/inject": "false" } };
  assert.equal(judged(namespace("plain", {}), deployment({ name: "web", namespace: "plain" }, off)), "warn");
});

test("something uses it: denied", () => {
  assert.equal(judged(namespace("shop", { "istio.io/rev": "canary" })), "deny", "a namespace");
  assert.equal(judged(namespace("shop", { "istio.io/rev": "next" }), tag("next", "canary")), "deny", "a tag");
  const byPod = { labels: { "istio.io/rev": "canary" } };
  assert.equal(
    judged(namespace("plain", {}), deployment({ name: "web", namespace: "plain" }, byPod)),
    "deny",
    "a workload",
  );
  const gateway = read({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "entrance", namespace: "plain", labels: { "istio.io/rev": "canary" } },
    spec: { gatewayClassName: "istio" },
  });
  assert.equal(judged(namespace("plain", {}), gateway), "deny", "a Gateway");
});

test("it is not known whether something uses it: denied", () => {
  assert.equal(judged(deployment({ name: "web", namespace: "not-shown" }, { labels: { app: "web" } })), "deny");
  assert.equal(judgedIn(known), "deny", "no injector is known, so that a tag may lead to the revision");
});
