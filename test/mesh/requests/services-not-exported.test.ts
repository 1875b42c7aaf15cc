import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { deployment, service, shop, virtualService } from "./meshes.ts";

const hidden = (exportTo: string) => `---
apiVersion: v1
kind: Service
metadata: { name: hidden, namespace: shop, annotations: { networking.istio.io/exportTo: ${JSON.stringify(exportTo)} } }
spec: { selector: { app: y }, ports: [{ name: http, port: 80 }] }
`;
const hostsReached = (from: string, to: string, text: string): readonly string[] =>
  asked(meshOf(shop + deployment("shop", "y") + service("shop", "y") + text), from, to).flatMap(
    ({ route, destination }) => (route.result === "arrives" ? [destination?.host ?? ""] : [route.result]),
  );

// Compared with istiod's own clusters and routes in random meshes (sidecar.go collectImportedServices).
test("a VirtualService leads to a Service of the client's own namespace that is not exported there", () => {
  const routed = virtualService("shop/v", "hosts: [y]\nhttp: [{ route: [{ destination: { host: hidden } }] }]");
  const reached = ["hidden.shop.svc.cluster.local"];
  assert.deepEqual([...new Set(hostsReached("shop", "shop/y:80", hidden("bank") + routed))], reached);
  assert.deepEqual([...new Set(hostsReached("web", "shop/y:80", hidden("bank") + routed))], ["nowhere"]);
  assert.deepEqual([...new Set(hostsReached("web", "shop/y:80", hidden("web") + routed))], reached);
});

test("of a Service with ~, endpoints may be missing, and a condition without a namespace does not count beside one for another", () => {
  const route = "route: [{ destination: { host: hidden } }]";
  const routed = virtualService("shop/v", `hosts: [y]\nhttp: [{ ${route} }]`);
  assert.deepEqual([...new Set(hostsReached("shop", "shop/y:80", hidden("~") + routed))], ["undecided"]);
  const match = "match: [{ sourceNamespace: bank }, { uri: { prefix: / } }]";
  const apart = virtualService("shop/v", `hosts: [y]\nhttp: [{ ${match}, ${route} }]`);
  assert.deepEqual([...new Set(hostsReached("shop", "shop/y:80", hidden("bank") + apart))], ["nowhere"]);
});
