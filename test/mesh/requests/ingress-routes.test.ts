import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { everyRequest } from "../../../src/mesh/authorization/requests/boxes.ts";
import { outcomeByIngress } from "../../../src/mesh/requests/ingress-routes.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";

const mesh = new MeshStore(defaultMeshSettings);
const backend = { service: { name: "cart", port: { number: 80 } } };
const secretOf = { cart: [], other: [], tls: [{ hosts: ["a.tls.example.com"], secretName: "tls" }] };
for (const [name, className] of [["cart", "istio"] as const, ["other", "nginx"] as const, ["tls", "istio"] as const])
  mesh.set(
    readObject("Ingress", {
      kind: "Ingress",
      metadata: { name, namespace: "shop", annotations: { "kubernetes.io/ingress.class": className } },
      spec: {
        tls: secretOf[name],
        rules: [{ host: `*.${name}.example.com`, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
      },
    }),
  );
const side = sideOf(mesh);
const resultAt = (host: string, port = 80, scheme: "http" | "https" = "http") =>
  outcomeByIngress({ kind: "entry", host, port, scheme }, everyRequest, side)?.result;

test("requests that an Ingress may route are undecided", () => {
  assert.equal(resultAt("a.cart.example.com"), "undecided");
  assert.equal(resultAt("a.cart.example.com", 8080), undefined);
  assert.equal(resultAt("a.other.example.com"), undefined);
  assert.equal(resultAt("cart.example.com"), undefined);
});

test("an Ingress serves HTTPS only with a certificate for the host", () => {
  assert.equal(resultAt("a.cart.example.com", 443, "https"), undefined);
  assert.equal(resultAt("a.tls.example.com", 443, "https"), "undecided");
  assert.equal(resultAt("b.tls.example.com", 443, "https"), undefined);
  assert.equal(resultAt("b.tls.example.com"), "undecided");
});
