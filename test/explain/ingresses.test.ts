import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../src/kube/object.ts";
import { ingressLines } from "../../src/explain/ingresses.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";

const mesh = new MeshStore(defaultMeshSettings);
const backend = { service: { name: "cart", port: { number: 80 } } };
for (const [name, className] of [["cart", "istio"] as const, ["other", "nginx"] as const])
  mesh.set(
    readObject("Ingress", {
      kind: "Ingress",
      metadata: { name, namespace: "shop", annotations: { "kubernetes.io/ingress.class": className } },
      spec: {
        rules: [{ host: `*.${name}.example.com`, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
      },
    }),
  );
const side = sideOf(mesh);

test("explain shows the routes of Ingresses that istiod serves", () => {
  const [line, ...others] = ingressLines("a.cart.example.com", side);
  assert.deepEqual(others, []);
  assert.match(line?.text ?? "", /Ingress shop\/cart, for \*\.cart\.example\.com/);
  assert.deepEqual(
    line?.lines?.map(({ text }) => text),
    ["paths below /: to port 80 of Service shop/cart, by Ingress shop/cart"],
  );
  assert.deepEqual(ingressLines("a.other.example.com", side), []);
});
