import assert from "node:assert/strict";
import { test } from "node:test";
import { outcomesOfEntry } from "../../../src/mesh/requests/entry.ts";
import { frontOf } from "../../../src/mesh/requests/front.ts";
import { boxOf, meshOf, texts } from "./asked.ts";

// The expected routes are those of the virtual hosts that istiod builds for the same objects.

const edge = `
apiVersion: v1
kind: Namespace
metadata: { name: edge }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ingress, namespace: edge }
spec: { template: { metadata: { labels: { app: ingress } }, spec: { containers: [{ name: istio-proxy, args: [proxy, router] }] } } }
`;
const gateway = (name: string, day: number, server: string) => `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: edge, creationTimestamp: "2026-01-0${day}T00:00:00Z" }
spec: { selector: { app: ingress }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, ${server} }] }
`;
const virtualService = (path: string, day: number, spec: string) => {
  const [namespace, name] = path.split("/");
  return `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: ${namespace}, creationTimestamp: "2026-01-0${day}T00:00:00Z" }
spec: { hosts: [shop.example.com], ${spec} }
`;
};
const to = (host: string) => `route: [{ destination: { host: ${host}.shop.svc.cluster.local, port: { number: 80 } } }]`;

/** Where requests for a path end: the host of the destination, or why there is none. */
function ends(text: string, path: string, host = "shop.example.com"): string {
  const mesh = meshOf(edge + text);
  const entering = { to: { kind: "entry", host, port: 80, scheme: "http" }, front: frontOf(host, mesh) } as const;
  const [outcome] = outcomesOfEntry(entering, boxOf(texts("path", path)), mesh);
  return outcome?.destination?.host.split(".")[0] ?? outcome?.route.because ?? "";
}

test("by a second Gateway, the matches for it come behind all routes of the first", () => {
  const all =
    gateway("first", 1, "hosts: ['*']") +
    gateway("second", 2, "hosts: ['*']") +
    virtualService(
      "shop/both",
      1,
      `gateways: [edge/first, edge/second], http: [{ match: [{ uri: { exact: /a }, gateways: [edge/second] }, { uri: { exact: /b } }], ${to("both")} }]`,
    ) +
    virtualService(
      "shop/one",
      2,
      `gateways: [edge/first], http: [{ match: [{ uri: { prefix: /b } }], ${to("one")} }]`,
    ) +
    virtualService(
      "shop/two",
      3,
      `gateways: [edge/second], http: [{ match: [{ uri: { prefix: /a } }], ${to("two")} }]`,
    );
  assert.equal(ends(all, "/a"), "both");
  assert.equal(ends(all, "/b"), "both");
  assert.equal(ends(all, "/bb"), "one");
  assert.equal(ends(all, "/aa"), "two");
});

test("what only the namespace of the proxy sees comes first, however its exportTo says so", () => {
  const http = (name: string) => `gateways: [edge/first], http: [{ ${to(name)} }]`;
  const named = virtualService("shop/older", 1, `exportTo: [edge], ${http("older")}`);
  for (const exportTo of ['"."', "edge"]) {
    const own = virtualService("edge/younger", 2, `exportTo: [${exportTo}], ${http("younger")}`);
    assert.equal(ends(gateway("first", 1, "hosts: ['*']") + named + own, "/"), "younger");
  }
  const open = virtualService("edge/younger", 2, http("younger"));
  assert.equal(ends(gateway("first", 1, "hosts: ['*']") + named + open, "/"), "older");
});

test("a server that redirects does so for one namespace only where a route of it is for the port", () => {
  const redirecting = gateway("first", 1, "hosts: [shop/*.example.com], tls: { httpsRedirect: true }");
  const routed = (match: string) =>
    ends(redirecting + virtualService("shop/v", 1, `gateways: [edge/first], http: [{ ${match} ${to("x")} }]`), "/");
  assert.equal(routed(""), "Gateway edge/first redirects the client to HTTPS");
  assert.notEqual(routed("match: [{ port: 8080 }],"), "Gateway edge/first redirects the client to HTTPS");
});

test("the expression .* counts as every path, so that a gateway tries it last, and /.* does not", () => {
  const all = (regex: string) =>
    gateway("first", 1, "hosts: ['*']") +
    virtualService(
      "shop/older",
      1,
      `gateways: [edge/first], http: [{ match: [{ uri: { regex: "${regex}" } }], ${to("older")} }]`,
    ) +
    virtualService(
      "shop/younger",
      2,
      `gateways: [edge/first], http: [{ match: [{ uri: { prefix: /a } }], ${to("y")} }]`,
    );
  assert.equal(ends(all(".*"), "/a"), "y");
  assert.equal(ends(all(".*"), "/b"), "older");
  assert.equal(ends(all("/.*"), "/a"), "older");
});

test("without a header, a request is compared as one with an empty header, and expressions ignore ignoreUriCase", () => {
  const routed = (match: string, path = "/") =>
    ends(
      gateway("first", 1, "hosts: ['*']") +
        virtualService(
          "shop/v",
          1,
          `gateways: [edge/first], http: [{ match: [{ ${match} }], ${to("taken")} }, { ${to("left")} }]`,
        ),
      path,
    );
  assert.equal(routed("withoutHeaders: { h: { regex: '.*' } }"), "left");
  assert.equal(routed("withoutHeaders: { h: { regex: '.+' } }"), "taken");
  assert.equal(routed("withoutHeaders: { h: {} }"), "taken");
  assert.equal(routed("withoutHeaders: { h: { regex: '*' } }"), "taken");
  assert.equal(routed("ignoreUriCase: true, uri: { regex: '/A' }", "/A"), "taken");
  assert.equal(routed("ignoreUriCase: true, uri: { regex: '/A' }", "/a"), "left");
});

test("of routes that are equally old, those for a hostname that sorts first come first", () => {
  const route = (name: string, hostnames: string) => `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: edge, creationTimestamp: "2026-01-01T00:00:00Z" }
spec:
  parentRefs: [{ name: gw }]
  hostnames: [${hostnames}]
  rules: [{ matches: [{ path: { type: Exact, value: /a } }], backendRefs: [{ name: ${name}, port: 80 }] }]
`;
  const all = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: edge }
spec: { gatewayClassName: istio, listeners: [{ name: http, port: 80, protocol: HTTP, hostname: "*.example.com" }] }
`;
  assert.equal(ends(all + route("a", '"*.example.com"') + route("b", ""), "/a"), "b");
});
