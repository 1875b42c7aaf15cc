import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, meshOf } from "./asked.ts";
import { shop } from "./meshes.ts";

// What clients get is what istiod builds for the same Sidecar.

const sidecar = (egress: string) => `
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: s, namespace: web }
spec: { egress: [${egress}] }
`;
const two = `---
apiVersion: v1
kind: Service
metadata: { name: two, namespace: shop }
spec: { selector: { app: x }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: http-alt, port: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: v, namespace: web }
spec: { hosts: [two.shop.svc.cluster.local], http: [{ directResponse: { status: 503 } }] }
`;
const at = (port: number, hosts: string) =>
  `{ port: { number: ${port}, protocol: HTTP, name: http }, hosts: [${hosts}] }`;
const rest = (hosts: string) => `{ hosts: [${hosts}] }`;
const results = (egress: string, port: number) => [
  ...new Set(asked(meshOf(shop + two + sidecar(egress)), "web/client", `shop/two:${port}`).map(({ result }) => result)),
];

test("a VirtualService counts at a port if the listener of the port imports it, or else that for all ports", () => {
  const byPort = [at(8080, '"shop/*"'), rest('"shop/*", "web/*"')].join(", ");
  assert.deepEqual(results(byPort, 80), ["nowhere"]);
  assert.deepEqual(results(byPort, 8080), ["accepted"]);
  assert.deepEqual(results(rest('"*/*"'), 8080), ["nowhere"]);
});

test("a listener of a port imports this port alone of a service", () => {
  const only = `${at(8080, '"*/*"')}, ${rest('"ext/*"')}`;
  const routed = (port: number) =>
    asked(meshOf(shop + two + sidecar(only)), "web/client", `shop/two:${port}`)[0]?.route.virtualService?.metadata.name;
  assert.equal(routed(8080), "v");
  assert.equal(routed(80), undefined);
});
