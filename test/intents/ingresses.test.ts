import assert from "node:assert/strict";
import { test } from "node:test";
import { parse as parseYaml } from "yaml";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Requests are not followed by Ingresses, so that what an intent expects of a host is not known as soon as istiod serves one for it.

function objectOf(text: string): AnyObject {
  const object = readAny(parseYaml(text), "default");
  assert.ok(object !== undefined, text);
  return object;
}
const networking = "apiVersion: networking.k8s.io/v1";
const service = (port = "http") =>
  objectOf(
    `{ apiVersion: v1, kind: Service, metadata: { namespace: shop, name: web }, spec: { selector: { app: web }, ports: [{ name: ${port}, port: 80 }] } }`,
  );
const ingressClass = (controller: string) =>
  objectOf(`{ ${networking}, kind: IngressClass, metadata: { name: istio }, spec: { controller: ${controller} } }`);
const ingress = (host: string, port = "number: 80") =>
  objectOf(
    `{ ${networking}, kind: Ingress, metadata: { namespace: shop, name: web }, spec: { ingressClassName: istio, rules: [{ host: "${host}", http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { ${port} } } } }] } }] } }`,
  );
const served = ingressClass("istio.io/ingress-controller");
const intent = (expect: string, host = "shop.example.com") =>
  objectOf(
    `{ apiVersion: meshward.io/v1alpha1, kind: MeshwardIntent, metadata: { namespace: shop, name: i }, spec: { to: { service: web }, requests: [{ from: [outside], hosts: [${host}], expect: ${expect} }] } }`,
  );
const refusing = objectOf(
  "{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { namespace: shop, name: w }, spec: { rules: [{ from: [{ source: { namespaces: [edge] } }] }] } }",
);
const base = [
  objectOf("{ apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { istio-injection: enabled } } }"),
  objectOf(
    "{ apiVersion: apps/v1, kind: Deployment, metadata: { namespace: shop, name: web }, spec: { template: { metadata: { labels: { app: web } }, spec: { containers: [{ name: c, image: i }] } } } }",
  ),
  refusing,
];

/** How the intent ends by a change of a mesh, which is found by relations as by a scan. */
function ends(objects: readonly AnyObject[], object: AnyObject, isDeleted = false): readonly string[] {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  for (const one of [...base, ...objects]) mesh.set(one);
  const old = mesh.find(object.kind, keyOf(object));
  const told = (isScan: boolean) =>
    judge([intentBroken], mesh, [isDeleted ? { old } : { old, object }], { isScan }).findings.map(
      ({ message, onlyWarns }) => `${onlyWarns === undefined ? "deny" : "warn"} ${message}`,
    );
  assert.deepEqual(told(false), told(true));
  return told(false);
}
const mayRoute = "Ingress shop/web routes the host at the ingress gateway, and requests are not followed by Ingresses";

test("an Ingress that istiod serves may let in what must be denied", () => {
  const denied = [service(), intent("denied")];
  const isOpen = (found: readonly string[]) =>
    found.length === 1 && found[0]?.startsWith("warn ") === true && found[0].includes(mayRoute);
  assert.ok(isOpen(ends([...denied, served], ingress("shop.example.com"))));
  assert.ok(isOpen(ends([...denied, served], ingress("*.example.com"))));
  assert.ok(isOpen(ends([...denied, ingress("shop.example.com")], served)));
  assert.ok(
    isOpen(ends([service("web"), intent("denied"), served, ingress("shop.example.com", "name: http")], service())),
  );
  assert.deepEqual(ends([...denied, served], ingress("other.example.com")), []);
  assert.deepEqual(ends([...denied, ingressClass("k8s.io/ingress-nginx")], ingress("shop.example.com")), []);
  assert.deepEqual(
    ends([service(), intent("denied", "shop.example.com:8443"), served], ingress("shop.example.com")),
    [],
  );
});

test("without the Ingress, what must be allowed does not come in", () => {
  const allowed = [service(), intent("allowed"), served, ingress("shop.example.com")];
  const [found = "", ...others] = ends(allowed, ingress("shop.example.com"), true);
  assert.deepEqual(others, []);
  assert.match(found, /^warn .*would reach nothing: no Gateway offers host shop.example.com/u);
});
