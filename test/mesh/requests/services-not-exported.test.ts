import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { deployment, namespace, service, shop, virtualService, waypoint } from "./meshes.ts";

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

// Compared with istiod's endpoints for waypoints in random meshes (endpoint_builder.go NewEndpointBuilder).
test("a waypoint has endpoints of Services and ServiceEntries that are exported to its namespace, and looks up hosts itself", () => {
  const use = "istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: infra";
  const entry = (exportTo: string, resolution: string, endpoints: string) => `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: e, namespace: web, labels: { ${use} } }
spec: { hosts: [e.example.com], addresses: [10.9.0.1], resolution: ${resolution}, exportTo: [${exportTo}], ports: [{ name: http, number: 80, protocol: HTTP }]${endpoints} }
`;
  const world = [
    namespace("infra"),
    `---\n${namespace("web", "ambient")}`,
    waypoint("infra", "w"),
    deployment("web", "client"),
    deployment("web", "y"),
  ].join("");
  const results = (text: string, to: string) =>
    new Set(asked(meshOf(world + text), "web/client", to).map(({ result, route }) => `${result} ${route.result}`));
  const behind = (exportTo: string) =>
    hidden(exportTo).replace("namespace: shop,", `namespace: web, labels: { ${use} },`);
  assert.deepEqual(results(behind("., infra"), "web/hidden:80"), new Set(["accepted arrives"]));
  for (const exportTo of [".", "~", "web"])
    assert.deepEqual(results(behind(exportTo), "web/hidden:80"), new Set(["nowhere nowhere"]));
  const inline = ", endpoints: [{ address: 192.0.2.1 }]";
  assert.deepEqual(results(entry('"."', "STATIC", inline), "e.example.com:80"), new Set(["nowhere nowhere"]));
  assert.deepEqual(results(entry("web, infra", "STATIC", inline), "e.example.com:80"), new Set(["accepted arrives"]));
  assert.deepEqual(results(entry('"."', "DNS", ""), "e.example.com:80"), new Set(["accepted arrives"]));
});
