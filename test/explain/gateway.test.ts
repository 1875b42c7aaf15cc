import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import { findTarget } from "../../src/explain/target.ts";
import { readTargetName } from "../../src/explain/target-name.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);

function meshOf(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(meshSettingsOf(objects, { ...defaultMeshSettings, seen: true }));
  for (const object of objects) mesh.set(object);
  return mesh;
}

/** The lines of an explanation of Gateway ingress/public, indented; a `-` is in front of what has no effect. */
function explained(...objects: readonly AnyObject[]): readonly string[] {
  const input = { mesh: meshOf(objects), policies, selection: selectionOf(policies), rules };
  const flat = (lines: readonly ExplanationLine[], indent: string): readonly string[] =>
    lines.flatMap((line) => [
      `${indent}${line.counts === false ? "- " : ""}${line.text}`,
      ...flat(line.lines ?? [], `${indent}  `),
    ]);
  return flat(explanationOf({ kind: "gateway", namespace: "ingress", name: "public" }, input).lines, "");
}

const proxy = readObject("Workload", {
  kind: "Deployment",
  metadata: { name: "edge", namespace: "ingress" },
  spec: { template: { metadata: { labels: { istio: "edge" } } } },
});
const gateway = (name: string, createdAt: string, servers: readonly object[]) =>
  readObject("Gateway", {
    metadata: { name, namespace: "ingress", creationTimestamp: createdAt },
    spec: { selector: { istio: "edge" }, servers },
  });
const https = (host: string, name: string) => ({
  hosts: [host],
  port: { number: 443, name, protocol: "HTTPS" },
  tls: { mode: "SIMPLE", credentialName: "shop-cert" },
});
const plain = (...hosts: string[]) => ({ hosts, port: { number: 80, name: "http", protocol: "HTTP" } });
const virtualService = (name: string, spec: object) =>
  readObject("VirtualService", {
    metadata: { name, namespace: "shop" },
    spec: { gateways: ["ingress/public"], http: [{ route: [{ destination: { host: "cart" } }] }], ...spec },
  });

test("Gateways of the same proxies and port have one list of routes, in the order of their age", () => {
  const dated = (name: string, createdAt: string, gateways: readonly string[]) =>
    readObject("VirtualService", {
      metadata: { name, namespace: "shop", creationTimestamp: createdAt },
      spec: { hosts: ["shop.example.com"], gateways, http: [{ route: [{ destination: { host: "cart" } }] }] },
    });
  const lines = explained(
    proxy,
    gateway("public", "2026-01-02T00:00:00Z", [plain("shop.example.com")]),
    gateway("older", "2026-01-01T00:00:00Z", [plain("shop.example.com")]),
    gateway("younger", "2026-01-03T00:00:00Z", [plain("*")]),
    gateway("other-port", "2026-01-01T00:00:00Z", [https("shop.example.com", "a")]),
    dated("cart", "2026-01-05T00:00:00Z", ["ingress/public"]),
    dated("first", "2026-01-06T00:00:00Z", ["ingress/older"]),
  );
  assert.deepEqual(
    lines.filter((line) => /one list of routes|no request for/.test(line)),
    [
      "  has one list of routes with Gateway ingress/older, whose routes for the same hosts come first",
      "  has one list of routes with Gateway ingress/younger, whose routes for the same hosts come behind",
      '    - http[0]: no request for "shop.example.com" reaches it, because VirtualService shop/first at Gateway ingress/older takes them',
    ],
  );
});

test("VirtualServices at one Gateway show what an older one takes", () => {
  const lines = explained(
    proxy,
    gateway("public", "2026-01-02T00:00:00Z", [plain("shop.example.com")]),
    virtualService("a", { hosts: ["shop.example.com"] }),
    virtualService("b", { hosts: ["shop.example.com"] }),
  );
  assert.deepEqual(
    lines.filter((line) => line.includes("no request for")),
    ['    - http[0]: no request for "shop.example.com" reaches it, because VirtualService shop/a takes them'],
  );
});

test("a Gateway of Istio: proxies, servers with what they conflict with, and the VirtualServices bound to it", () => {
  const lines = explained(
    proxy,
    gateway("older", "2026-01-01T00:00:00Z", [https("shop.example.com", "a")]),
    gateway("public", "2026-01-02T00:00:00Z", [plain("shop.example.com", "ops/*"), https("shop.example.com", "b")]),
    virtualService("cart", { hosts: ["shop.example.com"] }),
    virtualService("elsewhere", { hosts: ["other.example.com"] }),
    virtualService("private", { hosts: ["shop.example.com"], exportTo: ["."] }),
    virtualService("tcp-only", { hosts: ["shop.example.com"], http: [], tcp: [{ route: [] }] }),
    virtualService("unbound", { hosts: ["shop.example.com"], gateways: ["other"] }),
  );
  assert.deepEqual(lines, [
    "Proxies: Deployment ingress/edge, with istio=edge",
    "Server 0, port 80 HTTP: shop.example.com, ops/*; no TLS",
    "- Server 1, port 443 HTTPS: shop.example.com; TLS SIMPLE, certificate shop-cert",
    "  istiod leaves it out: Gateway ingress/older serves shop.example.com over TLS on this port",
    "VirtualServices bound to it: 4",
    "  VirtualService shop/cart is used for shop.example.com",
    "  - VirtualService shop/elsewhere has no effect: no server offers other.example.com to shop",
    "  - VirtualService shop/private has no effect: it is not exported to the namespace of the proxies",
    "  - VirtualService shop/tcp-only has no effect: it has no routes of a protocol that the servers for its hosts use",
    "Requests for shop.example.com on port 80 try one route",
    "  http[0]: 100% to cart (no such host: 503)",
    "Where a route sets none, there is no timeout, and 2 retries on connect-failure, refused-stream, unavailable, cancelled, retriable-status-codes",
  ]);
});

test("a Gateway has a table of routes for each host and port, also of those that wildcards have in common with it", () => {
  const to = [{ destination: { host: "cart" } }];
  const lines = explained(
    gateway("public", "2026-01-01T00:00:00Z", [plain("shop.example.com"), https("*.example.com", "b")]),
    virtualService("a-wildcard", {
      hosts: ["*.example.com"],
      http: [
        { match: [{ uri: { prefix: "/old" }, port: 80 }], redirect: { uri: "/" } },
        { route: to, timeout: "3s" },
      ],
    }),
    virtualService("b-shop", {
      hosts: ["shop.example.com"],
      http: [
        {
          match: [{ uri: { prefix: "/old/cart" } }, { method: { exact: "POST" } }],
          route: to,
          retries: { attempts: 0 },
        },
        { match: [{ uri: { prefix: "/old/pay" } }], route: to },
      ],
    }),
    // Without a route at port 443, requests for the host get those of the wildcard.
    virtualService("c-nothing", {
      hosts: ["nothing.example.com"],
      http: [{ match: [{ port: 80 }], route: to }],
    }),
  );
  const start = lines.findIndex((line) => line.startsWith("Requests for"));
  assert.deepEqual(lines.slice(start, -1), [
    "Requests for shop.example.com on port 80 try 4 routes, in this order",
    '  VirtualService shop/a-wildcard http[0] for URI prefix "/old", port 80: redirects with 301 to path /',
    '  VirtualService shop/b-shop http[0] for URI prefix "/old/cart" or :method exact "POST": 100% to cart (no such host: 503); no retries',
    '  - VirtualService shop/b-shop http[1] for URI prefix "/old/pay": 100% to cart (no such host: 503); no request reaches it, because the route for URI prefix "/old", port 80 of VirtualService shop/a-wildcard takes them',
    "  VirtualService shop/a-wildcard http[1]: 100% to cart (no such host: 503); timeout 3 s",
    "Requests for *.example.com on port 443 try one route",
    "  http[1]: 100% to cart (no such host: 503); timeout 3 s",
    "Requests for shop.example.com on port 443 try 2 routes, in this order",
    '  http[0] for URI prefix "/old/cart" or :method exact "POST": 100% to cart (no such host: 503); no retries',
    '  http[1] for URI prefix "/old/pay": 100% to cart (no such host: 503)',
  ]);
});

test("each match of a route, and each route of a delegate, has its own place among the routes", () => {
  const to = [{ destination: { host: "cart" } }];
  const lines = explained(
    readObject("Namespace", { metadata: { name: "ingress" } }),
    readObject("Workload", {
      kind: "Deployment",
      metadata: { name: "edge", namespace: "ingress" },
      spec: { template: { metadata: { labels: { istio: "edge" } } } },
    }),
    gateway("public", "2026-01-01T00:00:00Z", [plain("shop.example.com")]),
    virtualService("a-first", {
      hosts: ["shop.example.com"],
      http: [
        { match: [{ method: { exact: "GET" } }, { uri: { regex: ".*" } }, { uri: { exact: "/late" } }], route: to },
        { match: [{ uri: { prefix: "/behind" } }], route: to },
      ],
    }),
    virtualService("b-root", {
      hosts: ["shop.example.com"],
      http: [
        { match: [{ uri: { prefix: "/old" }, sourceNamespace: "shop" }], route: to },
        { match: [{ uri: { prefix: "/new" }, sourceNamespace: "ingress" }], route: to },
        { delegate: { name: "all", namespace: "shop" }, timeout: "3s" },
        { match: [{ uri: { prefix: "/behind" } }], route: to },
      ],
    }),
    virtualService("all", {
      hosts: undefined,
      gateways: undefined,
      http: [{ match: [{ uri: { prefix: "/api" } }], route: to }, { route: to }],
    }),
  );
  const start = lines.findIndex((line) => line.startsWith("Requests for"));
  assert.deepEqual(
    lines.slice(start, -1).map((line) => line.replace(/ \(no such host: 503\)/g, "")),
    [
      "Requests for shop.example.com on port 80 try 7 routes, in this order",
      '  VirtualService shop/a-first http[0] for :method exact "GET": 100% to cart',
      '  VirtualService shop/b-root http[1] for URI prefix "/new", namespace ingress: 100% to cart',
      '  VirtualService shop/b-root http[2], VirtualService shop/all http[0] for URI prefix "/api": 100% to cart; timeout 3 s',
      "  VirtualService shop/a-first http[0] for every request: 100% to cart",
      "  - VirtualService shop/b-root http[2], VirtualService shop/all http[1]: 100% to cart; timeout 3 s; no request reaches it, because the route that matches every URI of VirtualService shop/a-first takes them",
      '  - VirtualService shop/a-first http[1] for URI prefix "/behind": 100% to cart; no request reaches it, because the route that matches every URI of VirtualService shop/a-first takes them',
      '  - VirtualService shop/b-root http[3] for URI prefix "/behind": 100% to cart; no request reaches it, because the route without match of VirtualService shop/all takes them',
    ],
  );
});

test("a Gateway that istiod rejects, without proxies", () => {
  const wrong = gateway("public", "2026-01-01T00:00:00Z", [{ hosts: [], port: { number: 80, protocol: "HTTP" } }]);
  const [proxies, ...lines] = explained(wrong);
  assert.equal(proxies, "Proxies: none: no workload with istio=edge is there, so nothing serves it");
  assert.ok(
    lines.some((line) => line.startsWith("istiod rejects it: ")),
    lines.join("\n"),
  );
});

test("a Gateway of the Gateway API: listeners, and the routes that name it", () => {
  const route = (name: string, namespace: string, spec: object) =>
    readObject("KubernetesRoute", {
      kind: "HTTPRoute",
      metadata: { name, namespace },
      spec: { parentRefs: [{ name: "public", namespace: "ingress" }], ...spec },
    });
  const lines = explained(
    readObject("KubernetesGateway", {
      metadata: { name: "public", namespace: "ingress" },
      spec: {
        gatewayClassName: "istio",
        listeners: [
          { name: "own", port: 80, protocol: "HTTP", hostname: "shop.example.com" },
          {
            name: "all",
            port: 443,
            protocol: "HTTPS",
            hostname: "*.example.com",
            tls: { mode: "Terminate" },
            allowedRoutes: { namespaces: { from: "All" } },
          },
        ],
      },
    }),
    readObject("Workload", {
      kind: "Deployment",
      metadata: {
        name: "public-istio",
        namespace: "ingress",
        labels: { "gateway.istio.io/managed": "istio.io-gateway-controller" },
        ownerReferences: [
          {
            apiVersion: "gateway.networking.k8s.io/v1",
            kind: "Gateway",
            name: "public",
            uid: "u",
            controller: true,
          },
        ],
      },
      spec: { template: { metadata: { labels: { "gateway.networking.k8s.io/gateway-name": "public" } } } },
    }),
    route("cart", "shop", { hostnames: ["cart.example.com"] }),
    route("elsewhere", "shop", { hostnames: ["cart.example.net"] }),
    route("plain", "shop", { parentRefs: [{ name: "public", namespace: "ingress", sectionName: "own" }] }),
    route("nowhere", "shop", { parentRefs: [{ name: "public", namespace: "ingress", sectionName: "none" }] }),
  );
  assert.deepEqual(lines, [
    "Class istio",
    "Proxies: Deployment ingress/public-istio, that istiod runs for it",
    "Listener own, port 80 HTTP: shop.example.com; routes of its own namespace",
    "- Listener all, port 443 HTTPS: *.example.com; TLS Terminate; routes of all namespaces",
    "  istiod leaves it out: it names no certificate",
    "Routes that name it: 4",
    "  HTTPRoute shop/cart is accepted for cart.example.com",
    "  - HTTPRoute shop/elsewhere has no effect: no listener offers cart.example.net",
    "  - HTTPRoute shop/nowhere has no effect: it names a listener that does not exist",
    "  - HTTPRoute shop/plain has no effect: no listener for its hosts accepts routes of namespace shop",
  ]);
});

test("a Gateway of the Gateway API has the listeners of the ListenerSets that it allows", () => {
  const set = (namespace: string, hostname: string) =>
    readObject("ListenerSet", {
      kind: "ListenerSet",
      metadata: { name: "more", namespace },
      spec: {
        parentRef: { name: "public", namespace: "ingress" },
        listeners: [{ name: "added", port: 80, protocol: "HTTP", hostname }],
      },
    });
  const lines = explained(
    readObject("KubernetesGateway", {
      kind: "Gateway",
      metadata: { name: "public", namespace: "ingress" },
      spec: {
        gatewayClassName: "istio",
        allowedListeners: {
          namespaces: { from: "Selector", selector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } } },
        },
        listeners: [{ name: "http", port: 80, protocol: "HTTP", hostname: "www.example.com" }],
      },
    }),
    readObject("Namespace", { kind: "Namespace", metadata: { name: "shop" } }),
    readObject("Namespace", { kind: "Namespace", metadata: { name: "other" } }),
    set("shop", "shop.example.com"),
    set("other", "other.example.com"),
    readObject("KubernetesRoute", {
      kind: "HTTPRoute",
      metadata: { name: "cart", namespace: "shop" },
      spec: {
        parentRefs: [{ kind: "ListenerSet", name: "more" }],
        rules: [{ backendRefs: [{ name: "cart", port: 80 }] }],
      },
    }),
  );
  assert.ok(lines.includes("Listener http, port 80 HTTP: www.example.com; routes of its own namespace"));
  assert.ok(
    lines.includes(
      "Listener added of ListenerSet shop/more, port 80 HTTP: shop.example.com; routes of its own namespace",
    ),
  );
  assert.ok(lines.includes("- ListenerSet other/more adds no listener: the Gateway does not allow it"));
  assert.ok(lines.includes("  HTTPRoute shop/cart is accepted for every host of its listeners"));
  const shown = lines.filter((line) => line.includes("other.example.com"));
  assert.deepEqual(shown, []);
  assert.ok(lines.some((line) => line.includes("shop.example.com") && line.includes("port 80")));
});

test("a Gateway is found by its name, of either API; both are explained if both have it", () => {
  const words = { name: undefined, namespace: "ingress", from: undefined };
  const asked = readTargetName({ ...words, what: "gw/public" });
  assert.ok("kind" in asked);
  const istio = gateway("public", "2026-01-01T00:00:00Z", [plain("*")]);
  const kubernetes = readObject("KubernetesGateway", {
    metadata: { name: "public", namespace: "ingress" },
    spec: { gatewayClassName: "istio", listeners: [] },
  });
  const target = { target: { kind: "gateway", namespace: "ingress", name: "public" } };
  assert.deepEqual(findTarget(asked, meshOf([istio])), target);
  assert.deepEqual(findTarget(asked, meshOf([kubernetes])), target);
  assert.deepEqual(findTarget(asked, meshOf([gateway("publik", "2026-01-01T00:00:00Z", [])])), {
    problem: "there is no Gateway ingress/public in this mesh; did you mean gateway/ingress/publik?",
  });
  const tops = explained(istio, kubernetes, proxy).filter((line) => !line.startsWith(" "));
  assert.deepEqual(tops, ["The Gateway of Istio (networking.istio.io)", "The Gateway of the Gateway API"]);
});

test("a Gateway of the Gateway API has a table of rules for each host and port, as istiod sorts them", () => {
  const route = (kind: string, name: string, spec: object) =>
    readObject("KubernetesRoute", {
      kind,
      metadata: { name, namespace: "shop" },
      spec: { parentRefs: [{ name: "public", namespace: "ingress" }], hostnames: ["cart.example.com"], ...spec },
    });
  const path = (type: string, value: string) => ({ path: { type, value } });
  const allowedRoutes = { namespaces: { from: "All" } };
  const lines = explained(
    readObject("KubernetesGateway", {
      metadata: { name: "public", namespace: "ingress" },
      spec: {
        gatewayClassName: "istio",
        listeners: [
          { name: "wide", port: 80, protocol: "HTTP", hostname: "*.example.com", allowedRoutes },
          { name: "every", port: 8080, protocol: "HTTP", allowedRoutes },
        ],
      },
    }),
    readObject("Service", { metadata: { name: "cart", namespace: "shop" }, spec: { ports: [{ port: 80 }] } }),
    route("HTTPRoute", "cart", {
      rules: [
        {
          backendRefs: [
            { name: "cart", port: 80, weight: 90 },
            { name: "canary", port: 80, weight: 10 },
          ],
        },
        { matches: [path("RegularExpression", "/v[0-9]+")], backendRefs: [{ name: "cart", port: 80 }] },
        {
          matches: [{ ...path("PathPrefix", "/pay/"), method: "POST", headers: [{ name: "x-user", value: "1" }] }],
          backendRefs: [{ name: "pay", namespace: "bank", port: 80 }],
          timeouts: { request: "10s", backendRequest: "2s" },
          retry: { attempts: 3, codes: [503] },
        },
        {
          matches: [path("Exact", "/old")],
          filters: [{ type: "RequestRedirect" }],
          timeouts: { backendRequest: "2s" },
        },
        { matches: [path("PathPrefix", "/none")], backendRefs: [] },
      ],
    }),
    route("HTTPRoute", "dropped", { rules: [{ filters: [{ type: "ExtensionRef" }] }] }),
    route("HTTPRoute", "too-large", {
      hostnames: Array.from({ length: 17 }, (_, i) => `h${i}.example.com`),
      rules: [{ backendRefs: [] }],
    }),
    route("GRPCRoute", "every", {
      hostnames: [],
      rules: [
        {
          matches: [{ method: { service: "shop.Cart" }, queryParams: [] }],
          backendRefs: [{ name: "cart", port: 80 }],
        },
      ],
    }),
  );
  const table = (port: number) => [
    `Requests for cart.example.com on port ${port} try 5 rules, in this order`,
    '  HTTPRoute shop/cart rules[3] for path "/old": redirects; timeout 2 s',
    '  HTTPRoute shop/cart rules[4] for path prefix "/none": no backend with a weight above 0: 500',
    '  HTTPRoute shop/cart rules[2] for path prefix "/pay", POST, header x-user=1: 100% to pay.bank.svc.cluster.local:80 (no ReferenceGrant in namespace bank lets HTTPRoute shop/cart use Service pay: 500); timeout 10 s; 3 retries on connect-failure, refused-stream, unavailable, cancelled, 503, each up to 2 s',
    "  HTTPRoute shop/cart rules[0]: 90% to cart.shop.svc.cluster.local:80, 10% to canary.shop.svc.cluster.local:80 (no such host: 500)",
    '  - HTTPRoute shop/cart rules[1] for path expression "/v[0-9]+": 100% to cart.shop.svc.cluster.local:80; no request reaches it, because HTTPRoute shop/cart rules[0] takes them',
  ];
  const grpc = (host: string, port: number) => [
    `Requests for ${host} on port ${port} try one rule`,
    '  GRPCRoute shop/every rules[0] for path prefix "/shop.Cart/": 100% to cart.shop.svc.cluster.local:80',
  ];
  const start = lines.findIndex((line) => line.includes("No rule of"));
  assert.deepEqual(lines.slice(start), [
    "- No rule of HTTPRoute shop/too-large is used: it has more than 16 hostnames, which the API server refuses",
    '- No rule of HTTPRoute shop/dropped is used: filter "ExtensionRef" is not supported',
    ...table(80),
    ...grpc("*.example.com", 80),
    ...table(8080),
    ...grpc("every other host", 8080),
    "Where a rule sets none, there is no timeout, and 2 retries on connect-failure, refused-stream, unavailable, cancelled, retriable-status-codes",
  ]);
});

test("a Gateway is another controller's only if its GatewayClass is known", () => {
  const gateway = readObject("KubernetesGateway", {
    metadata: { name: "public", namespace: "ingress" },
    spec: { gatewayClassName: "nginx", listeners: [{ name: "tls", port: 443, protocol: "HTTPS" }] },
  });
  const gatewayClass = readObject("GatewayClass", {
    kind: "GatewayClass",
    metadata: { name: "nginx" },
    spec: { controllerName: "example.com/nginx" },
  });
  assert.equal(
    explained(gateway, gatewayClass)[0],
    "Class nginx, which is none of Istio's: another controller decides about it",
  );
  assert.equal(
    explained(gateway)[0],
    "Class nginx, whose GatewayClass is not known: whether Istio or another controller decides about it is not known either",
  );
});

test("nothing is said of the routes of a Gateway of another controller", () => {
  const [first, ...lines] = explained(
    readObject("GatewayClass", {
      kind: "GatewayClass",
      metadata: { name: "nginx" },
      spec: { controllerName: "example.com/nginx" },
    }),
    readObject("KubernetesGateway", {
      metadata: { name: "public", namespace: "ingress" },
      spec: { gatewayClassName: "nginx", listeners: [{ name: "tls", port: 443, protocol: "HTTPS" }] },
    }),
    readObject("KubernetesRoute", {
      kind: "HTTPRoute",
      metadata: { name: "cart", namespace: "ingress" },
      spec: { parentRefs: [{ name: "public" }], rules: [{ backendRefs: [] }] },
    }),
  );
  assert.equal(first, "Class nginx, which is none of Istio's: another controller decides about it");
  assert.deepEqual(
    lines.filter((line) => line.startsWith("Requests for") || line.includes("istiod leaves it out")),
    [],
  );
});

test("a server that redirects to HTTPS leaves no request to the routes", () => {
  const redirecting = { ...plain("*.example.com"), tls: { httpsRedirect: true } };
  const lines = explained(
    proxy,
    gateway("public", "2026-01-01T00:00:00Z", [redirecting, https("*.example.com", "https")]),
    virtualService("cart", { hosts: ["shop.example.com"] }),
  );
  assert.deepEqual(
    lines.filter((line) => /^(Server|Requests|  http)/.test(line)),
    [
      "Server 0, port 80 HTTP: *.example.com; redirects to HTTPS",
      "Server 1, port 443 HTTPS: *.example.com; TLS SIMPLE, certificate shop-cert",
      "Requests for shop.example.com on port 80 are redirected to HTTPS, whatever the routes say",
      "Requests for shop.example.com on port 443 try one route",
      "  http[0]: 100% to cart (no such host: 503)",
    ],
  );
});

test("routes of tcp and tls are shown with the VirtualService, as far as they are for the Gateway", () => {
  const to = (host: string) => [{ destination: { host } }];
  const lines = explained(
    proxy,
    gateway("public", "2026-01-01T00:00:00Z", [
      { hosts: ["*.example.com"], port: { number: 443, name: "tls", protocol: "TLS" }, tls: { mode: "PASSTHROUGH" } },
    ]),
    virtualService("api", {
      hosts: ["api.example.com"],
      gateways: ["mesh", "ingress/public"],
      http: [],
      tls: [
        { match: [{ gateways: ["mesh"], sniHosts: ["api.example.com"] }], route: to("egress") },
        { match: [{ gateways: ["ingress/public"], sniHosts: ["api.example.com"] }], route: to("api.example.com") },
      ],
    }),
  );
  assert.deepEqual(
    lines.filter((line) => line.includes("tls[")),
    ["    tls[1] for server name api.example.com: 100% to api.example.com (no such host: 503)"],
  );
});

test("a rule that two listeners bring to one host is there once", () => {
  const parentRefs = [
    { kind: "Gateway", name: "public" },
    { kind: "ListenerSet", name: "more" },
  ];
  const lines = explained(
    readObject("KubernetesGateway", {
      kind: "Gateway",
      metadata: { name: "public", namespace: "ingress" },
      spec: {
        gatewayClassName: "istio",
        allowedListeners: { namespaces: { from: "Same" } },
        listeners: [{ name: "http", port: 80, protocol: "HTTP" }],
      },
    }),
    readObject("ListenerSet", {
      kind: "ListenerSet",
      metadata: { name: "more", namespace: "ingress" },
      spec: {
        parentRef: { name: "public" },
        listeners: [{ name: "added", port: 80, protocol: "HTTP", hostname: "*.example.com" }],
      },
    }),
    readObject("KubernetesRoute", {
      kind: "HTTPRoute",
      metadata: { name: "cart", namespace: "ingress" },
      spec: { parentRefs, hostnames: ["cart.example.com"], rules: [{ backendRefs: [{ name: "cart", port: 80 }] }] },
    }),
  );
  const listed = lines.filter((line) => line.includes("rules[0]"));
  assert.deepEqual(listed, [
    "  HTTPRoute ingress/cart rules[0]: 100% to cart.ingress.svc.cluster.local:80 (no such host: 500)",
  ]);
});

test("the listener of a waypoint is one that istiod accepts", () => {
  const listenerOf = (gatewayClassName: string) =>
    explained(
      readObject("KubernetesGateway", {
        metadata: { name: "public", namespace: "ingress" },
        spec: { gatewayClassName, listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
      }),
    ).some((line) => line.includes("istiod leaves it out"));
  assert.equal(listenerOf("istio-waypoint"), false);
  assert.equal(listenerOf("istio-east-west"), false);
  assert.equal(listenerOf("istio"), true);
});
