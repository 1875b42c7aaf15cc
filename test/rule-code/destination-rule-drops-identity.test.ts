import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { destinationRuleDropsIdentity } from "../../src/rules/destination-rule/drops-identity.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Whichever of the objects comes last is the change that refuses the requests, and each workload counts.

const read = (apiVersion: string, kind: string, metadata: object, spec: object = {}): AnyObject =>
  readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
const namespace = (name: string) => read("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } });
const service = (name: string) =>
  read("v1", "Service", { name, namespace: "shop" }, { selector: { app: name }, ports: [{ name: "http", port: 80 }] });
const pods = (name: string) =>
  read("apps/v1", "Deployment", { name, namespace: "shop" }, { template: { metadata: { labels: { app: name } } } });
const allow = (source: object, labels?: object) =>
  read(
    "security.istio.io/v1",
    "AuthorizationPolicy",
    { name: "callers", namespace: "shop" },
    { rules: [{ from: [{ source }] }], ...(labels === undefined ? {} : { selector: { matchLabels: labels } }) },
  );
const plaintext = (mode = "DISABLE") =>
  read(
    "networking.istio.io/v1",
    "DestinationRule",
    { name: "plain", namespace: "web" },
    { host: "*.shop.svc.cluster.local", trafficPolicy: { tls: { mode } } },
  );
const strict = read(
  "security.istio.io/v1",
  "PeerAuthentication",
  { name: "default", namespace: "shop" },
  { mtls: { mode: "STRICT" } },
);
const byIdentity = { principals: ["*/ns/web/sa/web"] };

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): number {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [namespace("shop"), namespace("web"), service("api"), service("cart"), pods("api"), ...view])
    mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const change = { old, object: isDeleted ? undefined : changed };
  const { findings, errors } = judge([destinationRuleDropsIdentity], mesh, [change]);
  assert.deepEqual(errors, []);
  return findings.filter(({ introduced: isNew }) => isNew).length;
}

test("the DestinationRule, the policy or the workload comes", () => {
  assert.equal(introduced([allow(byIdentity)], plaintext()), 1);
  assert.equal(introduced([plaintext()], allow(byIdentity)), 1);
  assert.equal(introduced([allow(byIdentity, { app: "cart" }), plaintext()], pods("cart")), 1);
  assert.equal(introduced([allow(byIdentity), plaintext()], plaintext("SIMPLE")), 0);
});

test("clients that keep their identity, or need none, are not reported", () => {
  assert.equal(introduced([allow(byIdentity)], plaintext("ISTIO_MUTUAL")), 0);
  assert.equal(introduced([plaintext()], allow({ ipBlocks: ["10.0.0.0/8"] })), 0);
  assert.equal(introduced([allow(byIdentity), plaintext()], plaintext("ISTIO_MUTUAL")), 0);
});

test("the last rule that allowed callers without an identity goes", () => {
  const everybody = allow({ notPrincipals: ["*/ns/legacy/sa/*"] });
  assert.equal(introduced([everybody, plaintext()], allow(byIdentity)), 1);
});

test("STRICT goes, so that plaintext is accepted and then refused", () => {
  assert.equal(introduced([strict, allow(byIdentity), plaintext()], strict, true), 1);
});

test("a policy for one more workload refuses more requests", () => {
  const view = [allow(byIdentity, { app: "api" }), plaintext(), pods("cart")];
  assert.equal(introduced(view, allow(byIdentity)), 1);
  assert.equal(introduced([allow(byIdentity), plaintext(), pods("cart")], allow(byIdentity, { app: "api" })), 0);
});
