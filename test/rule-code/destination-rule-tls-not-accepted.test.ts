import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { destinationRuleTlsNotAccepted } from "../../src/rules/destination-rule/tls-not-accepted.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Whoever makes clients start TLS that a workload does not accept gets the finding, whatever object he changes.

const read = (apiVersion: string, kind: string, metadata: object, spec: object = {}): AnyObject =>
  readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
const namespace = (name: string) => read("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } });
const cart = read(
  "v1",
  "Service",
  { name: "cart", namespace: "shop" },
  { selector: { app: "cart" }, ports: [{ name: "http", port: 80 }] },
);
const pods = (name: string, labels: object = {}) =>
  read(
    "apps/v1",
    "Deployment",
    { name, namespace: "shop" },
    { template: { metadata: { labels: { app: "cart", ...labels } } } },
  );
const without = { "sidecar.istio.io/inject": "false" };
const rule = (name: string, host: string, mode: string | undefined) =>
  read(
    "networking.istio.io/v1",
    "DestinationRule",
    { name, namespace: "clients" },
    { host, ...(mode === undefined ? {} : { trafficPolicy: { tls: { mode } } }) },
  );
const hosts = ["cart.shop.svc.cluster.local", "*.shop.svc.cluster.local", "*.local"];

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [namespace("shop"), namespace("clients"), cart, ...view]) mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const change = { old, object: isDeleted ? undefined : changed };
  const { findings, errors } = judge([destinationRuleTlsNotAccepted], mesh, [change]);
  assert.deepEqual(errors, []);
  return findings.flatMap(({ introduced: isNew, message }) => (isNew ? (/which (.*)$/.exec(message)?.[1] ?? []) : []));
}

for (const host of hosts) {
  const mutual = rule("wide", host, "ISTIO_MUTUAL");

  test(`${host}: the rule, the workload or a further workload comes`, () => {
    const outside = pods("cart-b", without);
    const said = ["Deployment shop/cart-b does not accept: it has no sidecar"];
    assert.deepEqual(introduced([pods("cart"), outside], mutual), said);
    assert.deepEqual(introduced([pods("cart"), mutual], outside), said);
    const both = ["Deployment shop/cart-a and 1 more do not accept: they have no sidecar"];
    assert.deepEqual(introduced([pods("cart-b"), pods("cart-a", without), mutual], outside), both);
    assert.deepEqual(introduced([pods("cart-a", without), outside, mutual], pods("cart")), []);
    assert.deepEqual(introduced([pods("cart-a", without), outside, mutual], outside, true), []);
  });

  test(`${host}: a PeerAuthentication switches mTLS off`, () => {
    const off = read(
      "security.istio.io/v1",
      "PeerAuthentication",
      { name: "off", namespace: "shop" },
      { mtls: { mode: "DISABLE" } },
    );
    const said = ["Deployment shop/cart does not accept: PeerAuthentication shop/off sets mode DISABLE"];
    assert.deepEqual(introduced([pods("cart"), mutual], off), said);
    assert.deepEqual(introduced([pods("cart"), off], mutual), said);
  });
}

test("a more specific rule that goes shows the wildcard", () => {
  const own = rule("own", "cart.shop.svc.cluster.local", "DISABLE");
  const view = [pods("cart", without), rule("wide", "*.local", "ISTIO_MUTUAL"), own];
  assert.deepEqual(introduced(view, own, true), ["Deployment shop/cart does not accept: it has no sidecar"]);
  assert.deepEqual(introduced(view, rule("own", "cart.shop.svc.cluster.local", undefined)), []);
});
