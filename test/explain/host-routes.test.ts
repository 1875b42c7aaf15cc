import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);

/** The lines with a key of an explanation of a host, for clients of a namespace; a `-` is in front of what has no effect. */
function explained(host: string, from: string, objects: readonly AnyObject[], ...keys: string[]): readonly string[] {
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  const input = { mesh, policies, selection: selectionOf(policies), rules };
  const flat = (lines: readonly ExplanationLine[]): readonly ExplanationLine[] =>
    lines.flatMap((line) => [line, ...flat(line.lines ?? [])]);
  return flat(explanationOf({ kind: "host", host, from }, input).lines)
    .filter(({ key }) => keys.includes(key))
    .map(({ text, counts }) => `${counts === false ? "- " : ""}${text}`);
}

const service = (name: string) =>
  readObject("Service", { kind: "Service", metadata: { name, namespace: "shop" }, spec: { ports: [{ port: 80 }] } });
const virtualService = (name: string, createdAt: string, spec: object) =>
  readObject("VirtualService", { metadata: { name, namespace: "shop", creationTimestamp: createdAt }, spec });
const to = (host: string) => [{ destination: { host } }];
const host = "cart.shop.svc.cluster.local";

test("routes say what else they do to requests", () => {
  const routes = virtualService("cart", "2026-01-01T00:00:00Z", {
    hosts: ["cart"],
    http: [
      {
        match: [{ uri: { prefix: "/api" } }],
        fault: {
          delay: { percentage: { value: 10 }, fixedDelay: "2s" },
          abort: { percentage: { value: 0.5 }, httpStatus: 503 },
        },
        rewrite: { uri: "/v2", authority: "cart.example.com" },
        headers: { request: { set: { "x-user": "secret" }, remove: ["x-a", "x-b"] } },
        mirror: { host: "cart", subset: "next" },
        mirrors: [
          { destination: { host: "audit" }, percentage: { value: 5 } },
          { destination: { host: "off" }, percentage: { value: 0 } },
        ],
        route: to("cart"),
      },
      {
        match: [{ uri: { prefix: "/old" } }],
        redirect: { scheme: "https", authority: "new.example.com", port: 8443, uri: "/", redirectCode: 308 },
      },
      {
        match: [{ uri: { prefix: "/none" } }],
        // Neither has a share of the requests, and the second one has no status.
        fault: { delay: { fixedDelay: "2s" }, abort: { percentage: { value: 100 } } },
        rewrite: { uriRegexRewrite: { match: "/none/(.*)", rewrite: "/\\1" } },
        mirror: { host: "audit" },
        mirrorPercentage: { value: 0 },
        route: to("cart"),
      },
      { redirect: { derivePort: "FROM_REQUEST_PORT" } },
    ],
  });
  assert.deepEqual(explained(host, "shop", [service("cart"), service("audit"), routes], "virtualService.route"), [
    'http[0] for URI prefix "/api": 100% to cart; delays 10% by 2 s; aborts 0.5% with 503; rewrites the path to /v2 and the host to cart.example.com; sets header x-user; removes headers x-a, x-b; mirrors 100% to cart subset next; mirrors 5% to audit',
    'http[1] for URI prefix "/old": redirects with 308 to scheme https, host new.example.com, port 8443, path /',
    'http[2] for URI prefix "/none": 100% to cart; rewrites the path to /\\1, where it matches /none/(.*)',
    "http[3]: redirects with 301 to the port of the request",
  ]);
});

test("routes have their timeouts and retries, and say what never gets a request and what does not exist", () => {
  const routes = virtualService("cart", "2026-01-01T00:00:00Z", {
    hosts: ["cart"],
    http: [
      {
        match: [{ uri: { prefix: "/api" } }],
        route: to("cart"),
        timeout: "10s",
        retries: { attempts: 3, perTryTimeout: "2s", retryOn: "5xx" },
      },
      { match: [{ uri: { exact: "/api/x" } }], route: to("cart"), retries: { attempts: 0 } },
      { route: to("carts") },
    ],
  });
  assert.deepEqual(explained(host, "shop", [service("cart"), routes], "virtualService.route"), [
    'http[0] for URI prefix "/api": 100% to cart; timeout 10 s; 3 retries on 5xx, each up to 2 s',
    '- http[1] for URI exact "/api/x": 100% to cart; no retries; no request reaches it, because the route for URI prefix "/api" takes them',
    "http[2]: 100% to carts (no such host: 503)",
  ]);
});

test("at a gateway, routes are in the order in which Envoy tries them", () => {
  const bound = { hosts: [host], gateways: ["ingress/public"] };
  const objects = [
    service("cart"),
    virtualService("older", "2026-01-01T00:00:00Z", {
      ...bound,
      http: [{ match: [{ uri: { prefix: "/a" } }], route: to("cart") }, { route: to("cart") }],
    }),
    virtualService("younger", "2026-01-02T00:00:00Z", {
      ...bound,
      http: [
        { match: [{ uri: { prefix: "/a/b" } }, { uri: { prefix: "/c" } }], route: to("cart") },
        { route: to("cart") },
      ],
    }),
  ];
  assert.deepEqual(explained(host, "shop", objects, "gateway", "gateway.route"), [
    "At gateway ingress/public: VirtualService shop/older, VirtualService shop/younger, merged, the oldest first, and routes without a match last",
    'VirtualService shop/older http[0] for URI prefix "/a": 100% to cart',
    'VirtualService shop/younger http[0] for URI prefix "/a/b" or URI prefix "/c": 100% to cart',
    "VirtualService shop/older http[1]: 100% to cart",
    "- VirtualService shop/younger http[1]: 100% to cart; no request reaches it, because the route without match of VirtualService shop/older takes them",
  ]);
});

test("what the Sidecars of the clients hide is said", () => {
  const sidecar = (name: string, spec: object) => readObject("Sidecar", { metadata: { name, namespace: "web" }, spec });
  const routes = virtualService("cart", "2026-01-01T00:00:00Z", { hosts: ["cart"], http: [{ route: to("cart") }] });
  const objects = [
    service("cart"),
    routes,
    sidecar("default", { egress: [{ hosts: ["./*"] }], outboundTrafficPolicy: { mode: "REGISTRY_ONLY" } }),
    sidecar("front", { workloadSelector: { labels: { app: "front" } }, egress: [{ hosts: ["shop/*"] }] }),
  ];
  assert.deepEqual(explained(host, "web", objects, "sidecar"), [
    "Sidecar web/front imports the host for clients with app=front",
    "Sidecar web/default does not import the host: requests for it are refused, unless an imported VirtualService routes to it",
  ]);
  assert.deepEqual(explained(host, "other", objects, "sidecar"), []);
});

test("Sidecars with selectors have one order, in whichever they are read", () => {
  const sidecar = (name: string) =>
    readObject("Sidecar", {
      metadata: { name, namespace: "web" },
      spec: { workloadSelector: { labels: { app: name } }, egress: [{ hosts: ["./*"] }] },
    });
  const sidecars = [sidecar("b"), sidecar("a")];
  for (const objects of [sidecars, sidecars.toReversed()]) {
    const lines = explained(host, "web", [service("cart"), ...objects], "sidecar");
    assert.deepEqual(
      lines.map((line) => line.split(" ")[1]),
      ["web/a", "web/b"],
    );
  }
});

test("a VirtualService that the Sidecars of the clients do not import has no effect, and another one is used", () => {
  const to = [{ route: [{ destination: { host: "cart.shop.svc.cluster.local" } }] }];
  const ofWeb = readObject("VirtualService", {
    metadata: { name: "own", namespace: "web", creationTimestamp: "2026-01-02T00:00:00Z" },
    spec: { hosts: ["cart.shop.svc.cluster.local"], http: to },
  });
  const limits = readObject("Sidecar", {
    metadata: { name: "default", namespace: "istio-system" },
    spec: { egress: [{ hosts: ["./*", "shop/cart.shop.svc.cluster.local"] }] },
  });
  const older = readObject("VirtualService", {
    metadata: { name: "older", namespace: "ops", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { hosts: ["cart.shop.svc.cluster.local"], http: to },
  });
  const keys = ["virtualService", "virtualService.passedOver"];
  assert.deepEqual(explained(host, "web", [service("cart"), ofWeb, older, limits], ...keys), [
    "VirtualService web/own is used",
    "- VirtualService ops/older has no effect: the Sidecars that are for workloads in web do not import it",
  ]);
});

test("a DestinationRule for a host that the Sidecars of the clients hide has no effect", () => {
  const plain = readObject("DestinationRule", {
    metadata: { name: "plain", namespace: "web" },
    spec: { host: "cart.shop.svc.cluster.local", trafficPolicy: { tls: { mode: "DISABLE" } } },
  });
  const limits = (...hosts: readonly string[]) =>
    readObject("Sidecar", { metadata: { name: "default", namespace: "web" }, spec: { egress: [{ hosts }] } });
  const mesh = ["web", "shop"].map((name) =>
    readObject("Namespace", { metadata: { name, labels: { "istio-injection": "enabled" } } }),
  );
  const objects = [...mesh, service("cart"), plain];
  assert.deepEqual(explained(host, "web", [...objects, limits("./*")], "destinationRule"), [
    "No DestinationRule is used: the Sidecars for workloads in web do not import the host, so DestinationRule web/plain has no effect",
  ]);
  assert.deepEqual(explained(host, "web", [...objects, limits("./*", "shop/*")], "destinationRule"), [
    "DestinationRule web/plain is used",
  ]);
});

test("limits and outlier detection are those of the merged rule, and of a subset where it has its own", () => {
  const rule = readObject("DestinationRule", {
    metadata: { name: "cart", namespace: "shop" },
    spec: {
      host: "cart",
      trafficPolicy: {
        connectionPool: { tcp: { maxConnections: 100 }, http: { http1MaxPendingRequests: 10 } },
        outlierDetection: { consecutiveGatewayErrors: 3, consecutive5xxErrors: 0, maxEjectionPercent: 50 },
      },
      subsets: [
        { name: "v1", labels: { version: "v1" } },
        { name: "v2", labels: { version: "v2" }, trafficPolicy: { outlierDetection: {} } },
      ],
    },
  });
  assert.deepEqual(
    explained(host, "shop", [service("cart"), rule], "destinationRule.limits", "destinationRule.outlier"),
    [
      "at most 100 connections, 10 pending requests for each client proxy; requests beyond that wait or get 503",
      "a pod is ejected after 3 errors 502, 503 or 504 in a row; at most 50% of the pods at a time",
      "a pod is ejected after 5 errors 5xx in a row; at most 10% of the pods at a time",
    ],
  );
});

test("a subset inherits each block of the host, and nothing at a port with settings of its own", () => {
  const rule = readObject("DestinationRule", {
    metadata: { name: "cart", namespace: "shop" },
    spec: {
      host: "cart",
      trafficPolicy: {
        connectionPool: { tcp: { maxConnections: 100 } },
        portLevelSettings: [{ port: { number: 80 }, connectionPool: { tcp: { maxConnections: 80 } } }],
      },
      subsets: [
        {
          name: "v1",
          trafficPolicy: {
            connectionPool: { tcp: { maxConnections: 10 } },
            portLevelSettings: [{ port: { number: 81 }, outlierDetection: {} }],
          },
        },
        { name: "v2", trafficPolicy: { tls: { mode: "DISABLE" } } },
      ],
    },
  });
  const keys = ["limits", "outlier", "port", "subset", "subset.port"].map((key) => `destinationRule.${key}`);
  const limits = (count: number) =>
    `at most ${count} connections for each client proxy; requests beyond that wait or get 503`;
  assert.deepEqual(explained(host, "shop", [service("cart"), rule], ...keys), [
    limits(100),
    "port 80: its settings replace all settings above; tls not set",
    limits(80),
    "subset v1 (no labels): no workload has these labels",
    limits(10),
    "port 81: its settings replace all settings above",
    "a pod is ejected after 5 errors 5xx in a row; at most 10% of the pods at a time",
    "port 80: what the subset does not set is that of the port above",
    limits(10),
    "subset v2 (no labels): no workload has these labels; tls DISABLE",
  ]);
});

test("the mesh config can have other retries for routes that set none", () => {
  const config = (text: string) =>
    readObject("MeshConfig", { metadata: { name: "istio", namespace: "istio-system" }, data: { mesh: text } });
  const routes = virtualService("cart", "2026-01-01T00:00:00Z", { hosts: ["cart"], http: [{ route: to("cart") }] });
  const table: [mesh: string, said: string][] = [
    ["defaultHttpRetryPolicy: {attempts: 0}", "no retries by the mesh config"],
    ["defaultHttpRetryPolicy: {retryOn: 5xx}", "no retries by the mesh config"],
    [
      "defaultHttpRetryPolicy: {attempts: 1, retryOn: '5xx,reset', perTryTimeout: 2s}",
      "1 retry on 5xx, reset, each up to 2 s by the mesh config",
    ],
    [
      "rootNamespace: istio-system",
      "2 retries on connect-failure, refused-stream, unavailable, cancelled, retriable-status-codes",
    ],
  ];
  for (const [mesh, said] of table)
    assert.deepEqual(explained(host, "shop", [service("cart"), routes, config(mesh)], "virtualService.defaults"), [
      `Where a route sets none, there is no timeout, and ${said}`,
    ]);
});

test("limits and outlier detection that no DestinationRule sets are those of the mesh config", () => {
  const config = readObject("MeshConfig", {
    metadata: { name: "istio", namespace: "istio-system" },
    data: {
      mesh: "defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 70}}, outlierDetection: {consecutive5xxErrors: 3}}",
    },
  });
  const rule = (trafficPolicy: object) =>
    readObject("DestinationRule", {
      metadata: { name: "cart", namespace: "shop" },
      spec: { host: "cart", trafficPolicy },
    });
  const limits = (count: number) =>
    `at most ${count} connections for each client proxy; requests beyond that wait or get 503`;
  const detection = (errors: number) =>
    `a pod is ejected after ${errors} errors 5xx in a row; at most 10% of the pods at a time`;
  const by = ", by the mesh config";
  const said = (...objects: Parameters<typeof explained>[2]) =>
    explained(host, "shop", [service("cart"), ...objects], "destinationRule.limits", "destinationRule.outlier");
  assert.deepEqual(said(), []);
  assert.deepEqual(said(config), [limits(70) + by, detection(3) + by]);
  assert.deepEqual(said(config, rule({ connectionPool: { tcp: { maxConnections: 10 } } })), [
    limits(10),
    detection(3) + by,
  ]);
  assert.deepEqual(said(config, rule({ outlierDetection: {} })), [limits(70) + by, detection(5)]);
  assert.deepEqual(said(config, rule({ connectionPool: {}, outlierDetection: { consecutive5xxErrors: 0 } })), [
    "a pod is ejected never; at most 10% of the pods at a time",
  ]);
  const ofPort = { portLevelSettings: [{ port: { number: 80 }, outlierDetection: {} }] };
  assert.deepEqual(said(config, rule(ofPort)), [limits(70) + by, detection(3) + by, limits(70) + by, detection(5)]);
});

test("which localities come first is said where something decides about it", () => {
  const config = (text: string) =>
    readObject("MeshConfig", { metadata: { name: "istio", namespace: "istio-system" }, data: { mesh: text } });
  const rule = (trafficPolicy: object) =>
    readObject("DestinationRule", {
      metadata: { name: "cart", namespace: "shop" },
      spec: { host: "cart", trafficPolicy },
    });
  const close = (metadata: object, spec: object) =>
    readObject("Service", {
      metadata: { name: "cart", namespace: "shop", ...metadata },
      spec: { ports: [{ port: 80 }], ...spec },
    });
  const plain = service("cart");
  const detecting = rule({ outlierDetection: {} });
  const failover = rule({ loadBalancer: { localityLbSetting: { failover: [{ from: "a", to: "b" }] } } });
  const near = "pods in the locality of the client come first";
  const alike = "pods of all localities get requests alike";
  const table: [objects: Parameters<typeof explained>[2], said: string | undefined][] = [
    [[plain], undefined],
    [[plain, rule({ loadBalancer: { simple: "RANDOM" } })], undefined],
    [[plain, detecting], `${near}, and others get requests when those are ejected`],
    [[plain, failover], `${alike}: without outlierDetection, nothing fails over to another locality`],
    [
      [plain, config("localityLbSetting: {failover: [{from: a, to: b}]}")],
      `${alike}: without outlierDetection, nothing fails over to another locality`,
    ],
    [
      [plain, detecting, config("localityLbSetting: {enabled: false}")],
      `${alike}: localityLbSetting is switched off by the mesh config`,
    ],
    [
      [plain, config("localityLbSetting: {distribute: [{from: a, to: {b: 100}}]}")],
      "localities get the shares of localityLbSetting.distribute by the mesh config",
    ],
    [
      [plain, rule({ loadBalancer: { zoneAwareLbSetting: {} } })],
      "requests stay in the zone of the client as far as its pods suffice",
    ],
    [[close({}, { trafficDistribution: "PreferClose" })], `${near}, by trafficDistribution PreferClose`],
    [
      [close({ annotations: { "networking.istio.io/traffic-distribution": "prefersamenode" } }, {}), detecting],
      `${near}, by trafficDistribution PreferSameNode`,
    ],
  ];
  for (const [objects, said] of table)
    assert.deepEqual(explained(host, "shop", objects, "destinationRule.localities"), said === undefined ? [] : [said]);
  const hashed = rule({ loadBalancer: { consistentHash: { httpHeaderName: "x-user" } } });
  assert.deepEqual(explained(host, "shop", [plain, hashed], "destinationRule.balancing"), [
    "requests with the same header x-user go to the same pod",
  ]);
});

test("the routes of a delegate are shown under the route that delegates to it", () => {
  const objects = [
    service("cart"),
    virtualService("cart", "2026-01-01T00:00:00Z", {
      hosts: ["cart"],
      http: [
        { match: [{ uri: { prefix: "/api" } }], delegate: { name: "api" } },
        { route: to("cart"), timeout: "1s" },
      ],
    }),
    virtualService("api", "2026-01-01T00:00:00Z", { http: [{ route: to("cart"), delegate: { name: "api" } }] }),
  ];
  assert.deepEqual(explained(host, "shop", objects, "virtualService.route", "virtualService.defaults"), [
    'http[0] for URI prefix "/api": delegated to VirtualService api',
    "http[0]: 100% to cart",
    "http[1]: 100% to cart; timeout 1 s",
    "Where a route sets none, there is no timeout, and 2 retries on connect-failure, refused-stream, unavailable, cancelled, retriable-status-codes unless the mesh config has others",
  ]);
});

test("routes of a delegate have what only the route above them sets, and no effect outside of its matches", () => {
  const objects = [
    service("cart"),
    virtualService("cart", "2026-01-01T00:00:00Z", {
      hosts: ["cart"],
      http: [
        { match: [{ uri: { prefix: "/api" } }], delegate: { name: "api" }, timeout: "5s", retries: { attempts: 0 } },
      ],
    }),
    virtualService("api", "2026-01-01T00:00:00Z", {
      http: [
        { match: [{ uri: { prefix: "/api/v1" } }], route: to("cart"), timeout: "1s" },
        { match: [{ uri: { prefix: "/apis" } }, { uri: { prefix: "/other" } }], route: to("cart") },
        { route: to("cart") },
      ],
    }),
  ];
  assert.deepEqual(explained(host, "shop", objects, "virtualService.route"), [
    'http[0] for URI prefix "/api": delegated to VirtualService api; timeout 5 s; no retries',
    'http[0] for URI prefix "/api/v1": 100% to cart; timeout 1 s; no retries',
    '- http[1] for URI prefix "/apis" or URI prefix "/other": 100% to cart; it has no effect, because one of its matches is in no match of the route above',
    "http[2]: 100% to cart; timeout 5 s; no retries",
  ]);
});

test("the routes of a delegate take requests from each other as they are in effect", () => {
  const objects = [
    service("cart"),
    virtualService("cart", "2026-01-01T00:00:00Z", {
      hosts: ["cart"],
      http: [{ match: [{ uri: { prefix: "/api" } }], delegate: { name: "api" } }],
    }),
    virtualService("api", "2026-01-01T00:00:00Z", {
      http: [
        { match: [{ uri: { prefix: "/" } }], route: to("cart") },
        { match: [{ uri: { prefix: "/api/" } }], route: to("cart") },
        { match: [{ uri: { prefix: "/api/v1" } }], route: to("cart") },
      ],
    }),
  ];
  assert.deepEqual(explained(host, "shop", objects, "virtualService.route").slice(1), [
    "- http[0] for every request: 100% to cart; it has no effect, because one of its matches is in no match of the route above",
    'http[1] for URI prefix "/api/": 100% to cart',
    '- http[2] for URI prefix "/api/v1": 100% to cart; no request reaches it, because the route for URI prefix "/api/" takes them',
  ]);
});

test("routes of tcp and tls that an earlier one takes do not count", () => {
  const routes = virtualService("cart", "2026-01-01T00:00:00Z", {
    hosts: ["cart"],
    tcp: [{ route: to("cart") }, { match: [{ port: 80 }], route: to("other") }],
    tls: [
      { match: [{ sniHosts: [host] }], route: to("cart") },
      { match: [{ sniHosts: [host] }], route: to("other") },
    ],
  });
  assert.deepEqual(explained(host, "shop", [service("cart"), service("other"), routes], "virtualService.route"), [
    "tcp[0]: 100% to cart",
    "- tcp[1] for port 80: 100% to other; no request reaches it, because an earlier tcp route takes them",
    "tls[0] for server name cart.shop.svc.cluster.local: 100% to cart",
    "- tls[1] for server name cart.shop.svc.cluster.local: 100% to other; no request reaches it, because tls[0] of VirtualService shop/cart takes them",
  ]);
});

test("one VirtualService is used for requests, and routes of tcp and tls of others beside it", () => {
  const objects = [
    service("cart"),
    virtualService("database", "2026-01-01T00:00:00Z", { hosts: ["cart"], tcp: [{ route: to("cart") }] }),
    virtualService("requests", "2026-01-02T00:00:00Z", { hosts: ["cart"], http: [{ route: to("cart") }] }),
    virtualService("both", "2026-01-03T00:00:00Z", {
      hosts: ["cart"],
      http: [{ route: to("cart") }],
      tls: [{ match: [{ sniHosts: [host] }], route: to("cart") }],
    }),
  ];
  const keys = ["virtualService", "virtualService.streams", "virtualService.route", "virtualService.passedOver"];
  assert.deepEqual(explained(host, "shop", objects, ...keys), [
    "VirtualService shop/requests is used",
    "http[0]: 100% to cart",
    "VirtualService shop/database is used for connections to ports with TCP or TLS, too",
    "tcp[0]: 100% to cart",
    "VirtualService shop/both is used for connections to ports with TCP or TLS, too",
    "tls[0] for server name cart.shop.svc.cluster.local: 100% to cart",
    "- VirtualService shop/both has no effect on HTTP requests: VirtualService shop/requests is older and is used; the two are not merged",
  ]);
});

test("a wildcard that an older VirtualService has, without a route for the clients, keeps the others away", () => {
  const wild = { hosts: ["*.shop.svc.cluster.local"] };
  const objects = [
    service("cart"),
    virtualService("older", "2026-01-01T00:00:00Z", {
      ...wild,
      http: [{ match: [{ sourceNamespace: "web" }], route: to("cart") }],
    }),
    virtualService("younger", "2026-01-02T00:00:00Z", { ...wild, http: [{ route: to("cart") }] }),
  ];
  assert.deepEqual(explained(host, "shop", objects, "virtualService", "virtualService.passedOver"), [
    "No VirtualService is used: requests go to the service directly",
    "- VirtualService shop/older has no effect: none of its routes is for clients in shop",
    "- VirtualService shop/younger has no effect: VirtualService shop/older is for the same wildcard and comes first, although none of its routes is for clients in shop",
  ]);
});

const httpRoute = (name: string, spec: object) =>
  readObject("KubernetesRoute", { kind: "HTTPRoute", metadata: { name, namespace: "shop" }, spec });
const rule = (backend: string, path?: string) => ({
  ...(path === undefined ? {} : { matches: [{ path: { type: "PathPrefix", value: path } }] }),
  backendRefs: [{ name: backend, port: 80 }],
});

test("routes of the Gateway API that have the Service as their parent are its routes, for clients that import them", () => {
  const routes = httpRoute("cart", {
    parentRefs: [{ group: "", kind: "Service", name: "cart" }],
    rules: [rule("cart"), rule("cart-v2", "/next")],
  });
  const objects = [service("cart"), service("cart-v2"), routes];
  const shown = [
    "No VirtualService is used",
    "Requests to port 80 try 2 rules, in this order",
    'HTTPRoute shop/cart rules[1] for path prefix "/next": 100% to cart-v2.shop.svc.cluster.local:80',
    "HTTPRoute shop/cart rules[0]: 100% to cart.shop.svc.cluster.local:80",
  ];
  const keys = ["virtualService", "routes", "routes.rule"];
  assert.deepEqual(explained(host, "shop", objects, ...keys), shown);
  assert.deepEqual(explained(host, "blog", objects, ...keys), shown);
  const sidecar = readObject("Sidecar", {
    metadata: { name: "default", namespace: "blog" },
    spec: { egress: [{ hosts: ["./*"] }] },
  });
  assert.deepEqual(explained(host, "blog", [...objects, sidecar], ...keys), [
    "No VirtualService is used: requests go to the service directly",
  ]);
});

test("a host has the rules that Gateways of the Gateway API have for it", () => {
  const gateway = readObject("KubernetesGateway", {
    kind: "Gateway",
    metadata: { name: "edge", namespace: "shop" },
    spec: {
      gatewayClassName: "istio",
      listeners: [{ name: "http", port: 80, protocol: "HTTP", hostname: "*.example.com" }],
    },
  });
  const objects = [
    service("cart"),
    gateway,
    httpRoute("cart", { parentRefs: [{ name: "edge" }], hostnames: ["cart.example.com"], rules: [rule("cart")] }),
    httpRoute("rest", { parentRefs: [{ name: "edge" }], rules: [rule("cart", "/rest")] }),
  ];
  const keys = ["gateway", "routes", "routes.rule"];
  assert.deepEqual(explained("cart.example.com", "shop", objects, ...keys), [
    "At Gateway shop/edge of the Gateway API:",
    "Requests for cart.example.com on port 80 try one rule",
    "HTTPRoute shop/cart rules[0]: 100% to cart.shop.svc.cluster.local:80",
  ]);
  assert.deepEqual(explained("other.example.com", "shop", objects, ...keys), [
    "At Gateway shop/edge of the Gateway API:",
    "Requests for *.example.com on port 80 try one rule",
    'HTTPRoute shop/rest rules[0] for path prefix "/rest": 100% to cart.shop.svc.cluster.local:80',
  ]);
  assert.deepEqual(explained("cart.example.org", "shop", objects, ...keys), []);
});

test("to a host outside of the mesh, proxies start only the TLS that a DestinationRule asks for", () => {
  const entry = (location: string) =>
    readObject("ServiceEntry", {
      metadata: { name: "api", namespace: "shop" },
      spec: { hosts: ["api.example.com"], location, ports: [{ number: 80, protocol: "HTTP" }] },
    });
  const rule = readObject("DestinationRule", {
    metadata: { name: "api", namespace: "shop" },
    spec: { host: "api.example.com", trafficPolicy: { tls: { mode: "SIMPLE" } } },
  });
  const shown = (...objects: readonly AnyObject[]) =>
    explained("api.example.com", "shop", objects, "destinationRule", "destinationRule.tls");
  assert.deepEqual(shown(entry("MESH_EXTERNAL")), [
    "No DestinationRule is used: no TLS is added, because the host is outside of the mesh, no subsets",
  ]);
  assert.deepEqual(shown(entry(""), rule), ["DestinationRule shop/api is used", "tls SIMPLE: the proxy starts TLS"]);
  assert.deepEqual(shown(entry("MESH_INTERNAL")), [
    "No DestinationRule is used: mTLS if the server supports it, no subsets",
  ]);
});

test("without auto mTLS, clients send plaintext", () => {
  const objects = [
    readObject("Namespace", {
      kind: "Namespace",
      metadata: { name: "shop", labels: { "istio-injection": "enabled" } },
    }),
    readObject("Service", {
      kind: "Service",
      metadata: { name: "cart", namespace: "shop" },
      spec: { selector: { app: "cart" }, ports: [{ port: 80 }] },
    }),
    readObject("Workload", {
      kind: "Deployment",
      metadata: { name: "cart", namespace: "shop" },
      spec: { template: { metadata: { labels: { app: "cart" } } } },
    }),
    readObject("PeerAuthentication", {
      metadata: { name: "default", namespace: "shop" },
      spec: { mtls: { mode: "STRICT" } },
    }),
  ];
  const config = (auto: boolean) =>
    readObject("MeshConfig", {
      kind: "ConfigMap",
      metadata: { name: "istio", namespace: "istio-system" },
      data: { mesh: `enableAutoMtls: ${auto}` },
    });
  const shown = (auto: boolean) => explained(host, "shop", [...objects, config(auto)], "request");
  assert.deepEqual(shown(false), [
    "A request to port 80: refused (clients send plaintext, because auto mTLS is disabled)",
  ]);
  assert.deepEqual(shown(true), ["A request to port 80: mTLS (clients send mTLS if the server supports it)"]);
});
