import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { service, shop, virtualService } from "./meshes.ts";

// Compared with istiod's own routes in random meshes of ExternalName Services (route.go separateVSHostsAndServices, GetDestinationCluster).

const alias = (port: string) => `---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: shop, annotations: { networking.istio.io/exportTo: "." } }
spec: { type: ExternalName, externalName: x.shop.svc.cluster.local, ports: [{ name: ${port}, port: 80 }] }
`;
const resultsOf = (to: string, text: string): readonly string[] => [
  ...new Set(asked(meshOf(shop + service("shop", "y") + text), "web", to).map(({ result }) => result)),
];

test("a VirtualService for an alias that the client does not know routes its name at port 80, whatever the alias declares", () => {
  const routed = virtualService("shop/v", "hosts: [alias]\nhttp: [{ route: [{ destination: { host: y } }] }]");
  assert.ok(!resultsOf("shop/alias:80", alias("http")).includes("undecided"));
  const routeTo = (text: string) => [
    ...new Set(
      asked(meshOf(shop + service("shop", "y") + text), "web", "shop/alias:80").map(
        ({ route }) => route.virtualService?.metadata.name ?? "-",
      ),
    ),
  ];
  for (const port of ["http", "tcp"]) assert.deepEqual(routeTo(alias(port) + routed), ["v"]);
  // Its name is one of the Service, so that what routes the Service routes it.
  const whole = virtualService("shop/w", "hosts: [x]\nhttp: [{ route: [{ destination: { host: y } }] }]");
  assert.deepEqual(routeTo(alias("http") + whole), ["w"]);
  assert.deepEqual(resultsOf("shop/alias:80", alias("http") + routed + whole), ["undecided"]);
});

test("a route to an alias that the client does not know leads nowhere", () => {
  const routed = virtualService("shop/v", "hosts: [y]\nhttp: [{ route: [{ destination: { host: alias } }] }]");
  assert.deepEqual(resultsOf("shop/y:80", alias("http") + routed), ["nowhere"]);
  const known = alias("http").replace('exportTo: "."', 'exportTo: "*"');
  assert.ok(!resultsOf("shop/y:80", known + routed).includes("nowhere"));
});
