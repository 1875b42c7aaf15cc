import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../src/kube/object.ts";
import { everyRequest } from "../../src/mesh/authorization/requests/boxes.ts";
import { ingressLines, outcomeByIngress } from "../../src/explain/ingresses.ts";
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
const to = (host: string, port = 80) => ({ kind: "entry", host, port, scheme: "http" }) as const;

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

test("requests that an Ingress may route are undecided", () => {
  assert.equal(outcomeByIngress(to("a.cart.example.com"), everyRequest, side)?.result, "undecided");
  assert.equal(outcomeByIngress(to("a.cart.example.com", 8080), everyRequest, side), undefined);
  assert.equal(outcomeByIngress(to("a.other.example.com"), everyRequest, side), undefined);
  assert.equal(outcomeByIngress(to("cart.example.com"), everyRequest, side), undefined);
});
