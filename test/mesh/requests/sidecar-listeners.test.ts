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

const toOther = `---
apiVersion: v1
kind: Service
metadata: { name: other, namespace: shop }
spec: { selector: { app: x }, ports: [{ name: http, port: 80, targetPort: 8080 }, { name: http-alt, port: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: v, namespace: shop }
spec:
  hosts: [two.shop.svc.cluster.local]
  http: [{ route: [{ destination: { host: other.shop.svc.cluster.local, port: { number: 8080 } } }] }]
`;
const [justService] = two.split("---\napiVersion: networking") as [string];
const [own, target] = ['"shop/two.shop.svc.cluster.local"', '"shop/other.shop.svc.cluster.local"'];
const routed = (egress: string) => {
  const outcomes = asked(meshOf(shop + justService + toOther + sidecar(egress)), "web/client", "shop/two:80");
  const [first] = outcomes;
  return [first?.route.result, first?.route.destinations[0]?.because ?? first?.route.because];
};

test("what a VirtualService routes to at another port is there only if a listener imports it there", () => {
  const missing =
    "Sidecar web/s imports port 8080 of other.shop.svc.cluster.local neither itself nor with VirtualService shop/v";
  assert.deepEqual(routed(at(80, own)), ["nowhere", missing]);
  assert.deepEqual(routed(`${at(80, own)}, ${at(8080, target)}`), ["arrives", undefined]);
  assert.deepEqual(routed(`${at(80, own)}, ${at(8080, own)}`), ["arrives", undefined]);
  assert.deepEqual(routed(`${at(80, own)}, ${rest(own)}`), ["arrives", undefined]);
  assert.deepEqual(routed(rest(own)), ["arrives", undefined]);
});

// protocol.Parse of Istio reads names in any case.
test("a listener for an HTTP proxy imports all ports, however its protocol is written", () => {
  for (const protocol of ["HTTP_PROXY", "http_proxy"]) {
    const proxy = `{ port: { number: 3128, protocol: ${protocol}, name: proxy }, hosts: [${target}] }`;
    assert.deepEqual(routed(`${at(80, own)}, ${proxy}`), ["arrives", undefined], protocol);
  }
});

test("it is not decided where a listener could import it with another VirtualService", () => {
  const [result, because] = routed(`${at(80, own)}, ${rest('"web/*"')}`);
  assert.equal(result, "undecided");
  assert.match(String(because), /, and whether it does with another VirtualService is not examined$/);
});
