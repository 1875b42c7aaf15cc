import assert from "node:assert/strict";
import { test } from "node:test";
import { parse as parseYaml } from "yaml";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge } from "../../src/view/view.ts";

// A Gateway lets in requests from outside if its GatewayClass names istiod's controller, whatever the name of the class is.

function objectOf(text: string): AnyObject {
  const object = readAny(parseYaml(text), "default");
  assert.ok(object !== undefined, text);
  return object;
}
const gatewayApi = "apiVersion: gateway.networking.k8s.io/v1";
const classOf = (controller: string) =>
  objectOf(
    `{ ${gatewayApi}, kind: GatewayClass, metadata: { name: internal }, spec: { controllerName: ${controller} } }`,
  );
const gateway = (gatewayClassName: string) =>
  objectOf(
    `{ ${gatewayApi}, kind: Gateway, metadata: { namespace: edge, name: g }, spec: { gatewayClassName: ${gatewayClassName}, listeners: [{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: c }] }, allowedRoutes: { namespaces: { from: All } } }] } }`,
  );
const route = objectOf(
  `{ ${gatewayApi}, kind: HTTPRoute, metadata: { namespace: shop, name: web }, spec: { parentRefs: [{ name: g, namespace: edge }], hostnames: [shop.example.com], rules: [{ backendRefs: [{ name: web, port: 80 }] }] } }`,
);
const intent = (expect: string) =>
  objectOf(
    `{ apiVersion: meshward.io/v1alpha1, kind: MeshwardIntent, metadata: { namespace: shop, name: i }, spec: { to: { service: web }, requests: [{ from: [outside], hosts: [shop.example.com], expect: ${expect} }] } }`,
  );
const base = [
  objectOf("{ apiVersion: v1, kind: Namespace, metadata: { name: edge } }"),
  objectOf("{ apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { istio-injection: enabled } } }"),
  objectOf(
    "{ apiVersion: v1, kind: Service, metadata: { namespace: shop, name: web }, spec: { selector: { app: web }, ports: [{ name: http, port: 80 }] } }",
  ),
  objectOf(
    "{ apiVersion: apps/v1, kind: Deployment, metadata: { namespace: shop, name: web }, spec: { template: { metadata: { labels: { app: web } }, spec: { containers: [{ name: c, image: i }] } } } }",
  ),
  objectOf(
    "{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { namespace: shop, name: w }, spec: { rules: [{ from: [{ source: { namespaces: [edge] } }] }] } }",
  ),
];

/** How the intent ends by a change, which is found by relations as by a scan. */
function ends(objects: readonly AnyObject[], object: AnyObject, knowledge: Knowledge = "unknown"): readonly string[] {
  const all = [...base, ...objects];
  const mesh = new MeshStore(
    { ...meshSettingsOf(all, defaultMeshSettings), seen: true },
    new Map([["GatewayClass", knowledge]]),
  );
  for (const one of all) mesh.set(one);
  const old = mesh.find(object.kind, keyOf(object));
  const told = (isScan: boolean) =>
    judge([intentBroken], mesh, [{ old, object }], { isScan }).findings.map(({ onlyWarns }) =>
      onlyWarns === undefined ? "deny" : "warn",
    );
  assert.deepEqual(told(false), told(true));
  return told(false);
}
const istios = classOf("istio.io/gateway-controller");
const others = classOf("example.com/gateway");

test("a route at a Gateway of istiod's controller lets in what must be denied", () => {
  assert.deepEqual(ends([intent("denied"), istios, gateway("internal")], route), ["deny"]);
  assert.deepEqual(ends([intent("denied"), others, gateway("internal")], route), []);
});

test("a GatewayClass of istiod's controller makes Gateways of its class istiod's", () => {
  assert.deepEqual(ends([intent("denied"), gateway("internal"), route], istios, "complete"), ["deny"]);
  // Before it, nobody knew whose the Gateway is.
  assert.deepEqual(ends([intent("denied"), gateway("internal"), route], istios), ["warn"]);
  assert.deepEqual(ends([intent("denied"), gateway("internal"), route], others), []);
});

test("a Gateway that moves to another class lets in what must be allowed, if that is istiod's", () => {
  const allowed = [intent("allowed"), gateway("istio"), route];
  assert.deepEqual(ends([...allowed, istios], gateway("internal")), []);
  assert.deepEqual(ends([...allowed, others], gateway("internal")), ["deny"]);
  assert.deepEqual(ends(allowed, gateway("internal")), ["warn"]);
  assert.deepEqual(ends(allowed, gateway("internal"), "complete"), ["deny"]);
});
