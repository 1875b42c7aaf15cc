import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { asked, meshOf, texts, told } from "./asked.ts";
import {
  ambientShop,
  authorizationPolicy,
  deployment,
  destinationRule,
  namespace,
  peerAuthentication,
  serviceEntry,
  service,
  shop,
  sidecar,
  virtualService,
  waypoint,
  workloadEntry,
} from "./meshes.ts";

const client = "service account web/client";
const leaves = "is allowed, because it leaves the mesh, which decides nothing about it";
const registryOnly = `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "outboundTrafficPolicy: { mode: REGISTRY_ONLY }" }
`;
const https = "ports: [{ number: 443, name: https, protocol: HTTPS }]";
const http = "ports: [{ number: 80, name: http, protocol: HTTP }]";
const stripe = (rest = "", ports = https) =>
  serviceEntry("web/stripe", `hosts: [api.stripe.com]\nresolution: DNS\n${ports}\n${rest}`);
const results = (...question: Parameters<typeof asked>) => [...new Set(asked(...question).map(({ result }) => result))];
const hops = (...question: Parameters<typeof asked>) => [
  ...new Set(asked(...question).flatMap(({ transport }) => transport.map(({ to, result }) => `${to} ${result}`))),
];

const serverAll = serviceEntry("web/all", `hosts: ["*.stripe.com"]\nresolution: NONE\n${https}`);
const tlsOf = (name: string) =>
  virtualService(
    "web/tls",
    `hosts: [${name}]\ntls: [{ match: [{ sniHosts: [${name}] }], route: [{ destination: { host: "${name}" } }] }]`,
  );

describe("a host outside the mesh", () => {
  test("for whose name in TLS no route is, while others have one, is passed on or refused", () => {
    const all = serverAll + tlsOf("api.stripe.com");
    assert.deepEqual(told(meshOf(shop + all), "web/client", "files.stripe.com:443"), [
      `GET / with SNI files.stripe.com from ${client} ${leaves}`,
    ]);
    assert.deepEqual(told(meshOf(shop + registryOnly + all), "web/client", "files.stripe.com:443"), [
      `GET / with SNI files.stripe.com from ${client} reaches nothing: the routes of TLS are for other names than the client asks for, and the mesh config refuses requests to other hosts`,
    ]);
  });

  test("that nothing defines is reached by all, unless other hosts are refused", () => {
    assert.deepEqual(told(meshOf(shop), "web/client", "api.stripe.com:443"), [`GET / from ${client} ${leaves}`]);
    assert.deepEqual(hops(meshOf(shop), "web/client", "api.stripe.com:443"), ["outside passed"]);
    assert.deepEqual(told(meshOf(shop + registryOnly), "web/client", "api.stripe.com:443"), [
      `GET / from ${client} reaches nothing: no ServiceEntry defines host api.stripe.com, and the mesh config refuses requests to other hosts`,
    ]);
    assert.deepEqual(results(meshOf(shop + registryOnly), "outside", "api.stripe.com:443"), ["accepted"]);
  });

  test("that nothing defines goes to the egressProxy of the Sidecar, whether that exists or not", () => {
    const through = (host: string, rest = "") =>
      sidecar(
        "web/default",
        `outboundTrafficPolicy: { mode: ALLOW_ANY, egressProxy: { host: ${host}, port: { number: 80 }${rest} } }`,
      );
    const sent = `${client} reaches nothing: no ServiceEntry defines host api.stripe.com, and Sidecar web/default sends requests to other hosts to`;
    assert.deepEqual(told(meshOf(shop + through("no.web.svc.cluster.local")), "web/client", "api.stripe.com:443"), [
      `GET / from ${sent} no.web.svc.cluster.local:80: there is no Service and no ServiceEntry for host no.web.svc.cluster.local`,
    ]);
    const there = "x.shop.svc.cluster.local";
    assert.deepEqual(told(meshOf(shop + through(there, ", subset: no")), "web/client", "api.stripe.com:443"), [
      `GET / from ${sent} ${there}:80: subset "no" is not defined: no DestinationRule applies to these clients`,
    ]);
    assert.deepEqual(results(meshOf(shop + through(there)), "web/client", "api.stripe.com:443"), ["undecided"]);
    assert.deepEqual(results(meshOf(shop + through(there)), "shop/x", "api.stripe.com:443"), ["accepted"]);
  });

  test("that a ServiceEntry defines is reached by those who know it, where other hosts are refused", () => {
    const mesh = meshOf(shop + registryOnly + stripe("exportTo: ['.']"));
    assert.deepEqual(told(mesh, "web/client", "api.stripe.com:443"), [`GET / from ${client} ${leaves}`]);
    assert.deepEqual(told(mesh, "shop/x", "api.stripe.com:443"), [
      "GET / from service account shop/x reaches nothing: ServiceEntry web/stripe is not exported to the namespace of these clients, and the mesh config refuses requests to other hosts",
    ]);
    assert.deepEqual(told(mesh, "mesh", "api.stripe.com:443"), [
      "GET / from other workloads of the mesh reaches nothing: ServiceEntry web/stripe is not exported to the namespace of these clients, and the mesh config refuses requests to other hosts",
      `GET / from namespace web ${leaves}`,
    ]);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:80"), ["nowhere"]);
  });

  test("that a Sidecar does not import is refused or passed on, as the Sidecar says", () => {
    const only = sidecar("web/default", "egress: [{ hosts: ['./x'] }]\noutboundTrafficPolicy: { mode: REGISTRY_ONLY }");
    assert.deepEqual(told(meshOf(shop + stripe() + only), "web/client", "api.stripe.com:443"), [
      `GET / from ${client} reaches nothing: Sidecar web/default does not import the host, and Sidecar web/default refuses requests to other hosts`,
    ]);
    // The first value of the enum is REGISTRY_ONLY, so a policy without a mode refuses as well.
    const withoutMode = only.replace("{ mode: REGISTRY_ONLY }", "{}");
    assert.deepEqual(
      told(meshOf(shop + stripe() + withoutMode), "web/client", "api.stripe.com:443"),
      told(meshOf(shop + stripe() + only), "web/client", "api.stripe.com:443"),
    );
    const named = only.replace("./x", "./api.stripe.com");
    assert.deepEqual(results(meshOf(shop + stripe() + named), "web/client", "api.stripe.com:443"), ["accepted"]);
  });

  const origination = (mode: string) =>
    destinationRule("web/tls", `host: api.stripe.com\ntrafficPolicy: { tls: { mode: ${mode} } }`);
  const cases: readonly (readonly [title: string, manifests: string, port: number, hop: string])[] = [
    ["the application sends TLS to a port of HTTPS", stripe(), 443, "outside tls"],
    ["a port of HTTP is plaintext", stripe("", http), 80, "outside plaintext"],
    ["a DestinationRule originates TLS", stripe("", http) + origination("SIMPLE"), 80, "outside tls"],
    ["a DestinationRule disables TLS", stripe("", http) + origination("DISABLE"), 80, "outside plaintext"],
    [
      "the certificates of the mesh mean nothing there",
      stripe("", http) + origination("ISTIO_MUTUAL"),
      80,
      "outside undecided",
    ],
    [
      "bytes are what the application sends",
      stripe("", "ports: [{ number: 80, name: db, protocol: TCP }]"),
      80,
      "outside passed",
    ],
  ];
  for (const [title, manifests, port, hop] of cases)
    test(title, () => {
      assert.deepEqual(hops(meshOf(shop + manifests), "web/client", `api.stripe.com:${port}`), [hop]);
    });

  test("a VirtualService routes requests to it, and its routes count for sidecars only", () => {
    const canary = virtualService(
      "web/to-shop",
      "hosts: [api.stripe.com]\nhttp: [{ match: [{ uri: { prefix: /test } }], route: [{ destination: { host: x.shop.svc.cluster.local } }] }, { directResponse: { status: 403 } }]",
    );
    const mesh = meshOf(shop + stripe("", http) + canary);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:80", texts("path", "/test")), ["accepted"]);
    assert.deepEqual(told(mesh, "web/client", "api.stripe.com:80", texts("path", "/v1")), [
      `GET /v1 from ${client} reaches nothing: the route itself answers with status 403`,
    ]);
    assert.deepEqual(results(mesh, "outside", "api.stripe.com:80", texts("path", "/v1")), ["accepted"]);
  });

  test("routes of TLS are told apart by the name that the client asks for", () => {
    const routes = virtualService(
      "web/sni",
      "hosts: [api.stripe.com]\ntls: [{ match: [{ port: 443, sniHosts: [api.stripe.com] }], route: [{ destination: { host: gone.shop.svc.cluster.local, port: { number: 443 } } }] }]",
    );
    const [only, ...others] = asked(meshOf(shop + stripe() + routes), "web/client", "api.stripe.com:443");
    assert.equal(others.length, 0);
    assert.equal(only?.result, "nowhere");
    assert.equal(only?.route.route?.protocol, "tls");
  });

  test("a wildcard covers it, at the ports of the wildcard", () => {
    const wild = serviceEntry("web/all", `hosts: ["*.stripe.com"]\n${https}`);
    const mesh = meshOf(shop + registryOnly + wild);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:443"), ["accepted"]);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:80"), ["nowhere"]);
    assert.deepEqual(results(mesh, "web/client", "stripe.com:443"), ["nowhere"]);
    const both = meshOf(shop + wild + stripe("", http));
    assert.equal(asked(both, "web/client", "api.stripe.com:443")[0]?.destination?.object?.metadata.name, "all");
    assert.equal(asked(both, "web/client", "api.stripe.com:80")[0]?.destination?.object?.metadata.name, "stripe");
  });

  test("STATIC without endpoints, and DNS without those of a subset, lead nowhere", () => {
    const entry = serviceEntry("web/stripe", `hosts: [api.stripe.com]\nresolution: STATIC\n${http}`);
    assert.deepEqual(told(meshOf(shop + entry), "web/client", "api.stripe.com:80"), [
      `GET / from ${client} reaches nothing: ServiceEntry web/stripe has resolution STATIC and no endpoints`,
    ]);
  });

  test("ServiceEntries of one namespace are merged only if they agree", () => {
    const [one, other] = ["hosts: [api.stripe.com]\nresolution: DNS\n", "hosts: [api.stripe.com]\nresolution: NONE\n"];
    const pair = (second: string) =>
      meshOf(shop + serviceEntry("web/a", one + http) + serviceEntry("web/b", second + https));
    assert.deepEqual(results(pair(one), "web/client", "api.stripe.com:443"), ["accepted"]);
    assert.deepEqual(told(pair(other), "web/client", "api.stripe.com:443"), [
      `GET / from ${client} reaches nothing: ServiceEntry web/a defines api.stripe.com first, and ServiceEntry web/b differs from it, so that its port 443 is left out`,
    ]);
    // What is exported to the client by name comes before what is exported to everybody, whatever its age is.
    const named = serviceEntry("shop/a", one + http) + serviceEntry("shop/b", `${other}exportTo: [web]\n${https}`);
    assert.deepEqual(results(meshOf(shop + named), "web/client", "api.stripe.com:443"), ["accepted"]);
    assert.deepEqual(results(meshOf(shop + named), "web/client", "api.stripe.com:80"), ["nowhere"]);
    assert.deepEqual(
      results(
        meshOf(shop + serviceEntry("web/a", one + http) + serviceEntry("web/b", one + http)),
        "web/client",
        "api.stripe.com:80",
      ),
      ["undecided"],
    );
  });
});

const database = (rest: string) =>
  serviceEntry(
    "shop/db",
    `hosts: [db.internal]\naddresses: [10.9.0.1]\nresolution: STATIC\nports: [{ number: 5432, name: tcp, protocol: TCP, targetPort: 8080 }]\n${rest}`,
  );
/** The pods without the Service, which else says how their sidecars read the port. */
const alone = shop.replace("selector: { app: x }", "selector: { app: none }");
const strict = peerAuthentication("shop/strict", "STRICT");

describe("endpoints of a ServiceEntry", () => {
  const selecting = "location: MESH_INTERNAL\nworkloadSelector: { labels: { app: x } }";

  test("pods that it selects get mTLS, and their policies decide", () => {
    const policy = authorizationPolicy(
      "shop/p",
      "rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { ports: ['8080'] } }] }]",
    );
    const mesh = meshOf(alone + database(selecting) + strict + policy);
    assert.deepEqual(told(mesh, "web/client", "db.internal:5432"), [
      `A connection from ${client} is allowed, by AuthorizationPolicy shop/p rule 1 [x]`,
    ]);
    assert.deepEqual(results(mesh, "outside", "db.internal:5432"), ["refused"]);
    assert.deepEqual(results(mesh, "mesh", "db.internal:5432").sort(), ["accepted", "denied"]);
  });

  test("there is no auto mTLS to what is outside the mesh, whatever is there", () => {
    const mesh = meshOf(alone + database("workloadSelector: { labels: { app: x } }") + strict);
    assert.deepEqual(told(mesh, "web/client", "db.internal:5432"), [
      `GET / from ${client} is refused: the client sends plaintext, and the server requires mTLS (PeerAuthentication shop/strict) [x]`,
    ]);
    const mutual = destinationRule("web/m", "host: db.internal\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL } }");
    const other = meshOf(shop + database("workloadSelector: { labels: { app: x } }") + strict + mutual);
    assert.deepEqual(results(other, "web/client", "db.internal:5432"), ["accepted"]);
  });

  test("a machine with a service account has a proxy, whose policies decide, and others have none", () => {
    const machine = (account: string) => workloadEntry("shop/vm", `address: 192.0.2.1\nlabels: { app: x }\n${account}`);
    const only = alone.replace("labels: { app: x }", "labels: { app: other }");
    const deny = authorizationPolicy("shop/deny", "{}");
    const proxied = meshOf(only + database(selecting) + strict + deny + machine("serviceAccount: vm"));
    assert.deepEqual(told(proxied, "web/client", "db.internal:5432"), [
      `A connection from ${client} is denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/deny [vm]`,
    ]);
    const plain = meshOf(only + database(selecting) + strict + deny + machine(""));
    assert.deepEqual(told(plain, "web/client", "db.internal:5432"), [`GET / from ${client} ${leaves}`]);
    const none = meshOf(only + database(selecting));
    assert.deepEqual(told(none, "web/client", "db.internal:5432"), [
      `GET / from ${client} reaches nothing: no workload and no WorkloadEntry in namespace shop has the labels app=x`,
    ]);
  });

  test("listed endpoints have ports and proxies of their own", () => {
    const listed = database(
      "location: MESH_INTERNAL\nendpoints: [{ address: 192.0.2.1, serviceAccount: db, ports: { tcp: 9000 } }, { address: 192.0.2.2 }]",
    );
    const port = (number: number) =>
      authorizationPolicy("shop/p", `action: DENY\nrules: [{ to: [{ operation: { ports: ['${number}'] } }] }]`);
    assert.deepEqual(results(meshOf(shop + listed + port(9000)), "web/client", "db.internal:5432"), [
      "accepted",
      "denied",
    ]);
    assert.deepEqual(results(meshOf(shop + listed + port(8080)), "web/client", "db.internal:5432"), ["accepted"]);
    assert.deepEqual(hops(meshOf(shop + listed), "web/client", "db.internal:5432").sort(), [
      "outside passed",
      "workload mtls",
    ]);
  });

  test("what is not imported and has no address of its own is undecided where it is passed on", () => {
    const mesh = meshOf(shop + database(`${selecting}\nexportTo: ['.']`));
    assert.deepEqual(results(mesh, "web/client", "db.internal:5432"), ["undecided"]);
  });
});

describe("a ServiceEntry behind a waypoint", () => {
  const ambient = [
    namespace("web", "ambient"),
    "---\n",
    namespace("egress", undefined),
    deployment("web", "client"),
    waypoint("egress", "w"),
  ].join("");
  const entry = (labels: string) =>
    serviceEntry("egress/stripe", `hosts: [api.stripe.com]\nresolution: DNS\n${http}`, `labels: { ${labels} }`);
  const bound = entry("istio.io/use-waypoint: w");
  const policy = authorizationPolicy(
    "egress/only",
    "targetRefs: [{ group: networking.istio.io, kind: ServiceEntry, name: stripe }]\nrules: [{ to: [{ operation: { methods: [GET] } }] }]",
  );

  test("policies that target it decide for clients of ztunnel", () => {
    const mesh = meshOf(ambient + bound + policy);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:80", texts("method", "POST")), ["denied"]);
    assert.deepEqual(told(mesh, "web/client", "api.stripe.com:80", texts("method", "GET")), [
      `GET / from ${client} is allowed, by AuthorizationPolicy egress/only rule 1`,
    ]);
    assert.deepEqual(results(meshOf(ambient + entry("") + policy), "web/client", "api.stripe.com:80"), ["accepted"]);
  });

  test("the waypoint applies the routes and the TLS of DestinationRules, and ztunnel does not", () => {
    const tls = destinationRule("egress/tls", "host: api.stripe.com\ntrafficPolicy: { tls: { mode: SIMPLE } }");
    assert.deepEqual(hops(meshOf(ambient + bound + tls), "web/client", "api.stripe.com:80"), [
      "waypoint mtls",
      "outside tls",
    ]);
    assert.deepEqual(hops(meshOf(ambient + entry("") + tls), "web/client", "api.stripe.com:80"), ["outside plaintext"]);
  });

  test("wildcards with DYNAMIC_DNS are reached through it, if they are outside the mesh", () => {
    const dynamic = (location: string) =>
      serviceEntry(
        "egress/stripe",
        `hosts: ["*.stripe.com"]\nresolution: DYNAMIC_DNS\nlocation: ${location}\n${http}`,
        "labels: { istio.io/use-waypoint: w }",
      );
    const at = (location: string, method: string) =>
      results(meshOf(ambient + dynamic(location) + policy), "web/client", "api.stripe.com:80", texts("method", method));
    assert.deepEqual([at("MESH_EXTERNAL", "GET"), at("MESH_EXTERNAL", "POST")], [["accepted"], ["denied"]]);
    assert.deepEqual([at("MESH_INTERNAL", "GET"), at("MESH_INTERNAL", "POST")], [["nowhere"], ["nowhere"]]);
  });

  test("a wildcard with DYNAMIC_DNS and without a waypoint is undecided for clients of ztunnel", () => {
    const dynamic = (labels: string) =>
      serviceEntry(
        "egress/stripe",
        `hosts: ["*.stripe.com"]\nresolution: DYNAMIC_DNS\n${http}`,
        `labels: { ${labels} }`,
      );
    const at = (labels: string) => results(meshOf(ambient + dynamic(labels)), "web/client", "api.stripe.com:80");
    assert.deepEqual(at(""), ["undecided"]);
    assert.deepEqual(at("istio.io/use-waypoint: w"), ["accepted"]);
    // ztunnel does not answer for a host without an address.
    assert.deepEqual(at('networking.istio.io/enable-autoallocate-ip: "false"'), ["accepted"]);
  });

  test("a host without an address passes it by", () => {
    const none = serviceEntry(
      "egress/stripe",
      `hosts: [api.stripe.com]\nresolution: NONE\n${http}`,
      "labels: { istio.io/use-waypoint: w }",
    );
    assert.deepEqual(
      results(meshOf(ambient + none + policy), "web/client", "api.stripe.com:80", texts("method", "POST")),
      ["accepted"],
    );
  });
});

describe("an ExternalName Service", () => {
  const alias = (name: string, target: string, ports = "ports: [{ name: http, port: 80 }]") => `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: web }
spec: { type: ExternalName, externalName: ${target}, ${ports} }
`;

  test("leads to the Service that it names, whose policies decide, over other aliases too", () => {
    const deny = authorizationPolicy("shop/deny", "{}");
    const manifests =
      shop + alias("shop", "x.shop.svc.cluster.local") + alias("again", "shop.web.svc.cluster.local") + deny;
    for (const name of ["shop", "again"])
      assert.deepEqual(told(meshOf(manifests), "web/client", `web/${name}:80`), [
        `GET / from ${client} is denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/deny [x]`,
      ]);
  });

  test("leads out of the mesh, if the mesh lets requests out", () => {
    const manifests = shop + alias("stripe", "api.stripe.com");
    assert.deepEqual(results(meshOf(manifests), "web/client", "web/stripe:80"), ["accepted"]);
    assert.deepEqual(results(meshOf(manifests + registryOnly), "web/client", "web/stripe:80"), ["nowhere"]);
    assert.deepEqual(results(meshOf(manifests + registryOnly + stripe("", http)), "web/client", "web/stripe:80"), [
      "accepted",
    ]);
  });

  test("that leads back to itself leads nowhere", () => {
    const loop = shop + alias("a", "b.web.svc.cluster.local") + alias("b", "a.web.svc.cluster.local");
    assert.deepEqual(results(meshOf(loop), "web/client", "web/a:80"), ["nowhere"]);
  });

  test("has routes of its own for HTTP, by its own name", () => {
    const own = virtualService(
      "web/v",
      "hosts: [shop.web.svc.cluster.local]\nhttp: [{ directResponse: { status: 404 } }]",
    );
    const manifests = shop + alias("shop", "x.shop.svc.cluster.local") + own;
    assert.deepEqual(results(meshOf(manifests), "web/client", "web/shop:80"), ["nowhere"]);
    assert.deepEqual(results(meshOf(manifests), "web/client", "shop/x:80"), ["accepted"]);
  });

  test("is followed by a route for one step, at a port that it has", () => {
    const to = (name: string) =>
      virtualService(
        "shop/v",
        `hosts: [x.shop.svc.cluster.local]\nhttp: [{ route: [{ destination: { host: ${name}.web.svc.cluster.local } }] }]`,
      );
    const target = deployment("shop", "y") + shopService("y") + alias("y", "y.shop.svc.cluster.local");
    const [found] = asked(meshOf(shop + target + to("y")), "web/client", "shop/x:80");
    assert.equal(found?.destination?.host, "y.shop.svc.cluster.local");
    assert.equal(found.result, "accepted");
    const without = target.replace("ports: [{ name: http, port: 80 }] }\n", "ports: [] }\n");
    assert.notEqual(without, target);
    const again = alias("again", "y.web.svc.cluster.local");
    assert.deepEqual(results(meshOf(shop + target + again + to("again")), "web/client", "shop/x:80"), ["nowhere"]);
  });
});

const shopService = (name: string) => `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { selector: { app: ${name} }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
`;

describe("routes of the Gateway API for a ServiceEntry", () => {
  const port = http.replace("]", ", { number: 443, name: https, protocol: HTTPS }]");
  const parent = "group: networking.istio.io, kind: ServiceEntry, name: stripe, namespace: web";
  const route = (path: string, rules: string, of = parent) => {
    const [where, name] = path.split("/");
    return `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${where} }
spec: { parentRefs: [{ ${of} }], rules: [${rules}] }
`;
  };
  const other = serviceEntry("shop/other", `hosts: [api.adyen.com]\nresolution: DNS\n${port}`);
  const toHost = (host: string, number = 80) =>
    `backendRefs: [{ group: networking.istio.io, kind: Hostname, name: ${host}, port: ${number} }]`;
  const destinations = (...question: Parameters<typeof asked>) => [
    ...new Set(
      asked(...question).map(
        ({ destination, route: { result } }) => `${destination?.host}:${destination?.port} ${result}`,
      ),
    ),
  ];

  test("send requests to hosts, which Hostname names, and to Services", () => {
    const all = shop + stripe("", port) + other;
    const mesh = meshOf(all + route("web/r", `{ ${toHost("api.adyen.com", 443)} }`));
    assert.deepEqual(destinations(mesh, "web/client", "api.stripe.com:80"), ["api.adyen.com:443 arrives"]);
    assert.deepEqual(hops(mesh, "web/client", "api.stripe.com:80"), ["outside tls"]);
    const toX = route("web/r", "{ backendRefs: [{ name: x, namespace: shop, port: 80 }] }");
    assert.deepEqual(destinations(meshOf(all + toX), "web/client", "api.stripe.com:80"), [
      "x.shop.svc.cluster.local:80 arrives",
    ]);
    const missing = route("web/r", `{ ${toHost("api.missing.com")} }`);
    assert.deepEqual(told(meshOf(all + missing), "web/client", "api.stripe.com:80"), [
      `GET / from ${client} reaches nothing: there is no Service and no ServiceEntry for host api.missing.com`,
    ]);
  });

  test("count by their conditions, at their port, and where the port is of HTTP", () => {
    const closed = "{ matches: [{ path: { value: /closed } }], backendRefs: [] }";
    const open = `{ ${toHost("api.stripe.com")} }`;
    const at = (number: number) =>
      meshOf(shop + stripe("", port) + route("web/r", `${closed}, ${open}`, `${parent}, port: ${number}`));
    const results80 = (mesh: ReturnType<typeof meshOf>, path: string) =>
      results(mesh, "web/client", "api.stripe.com:80", texts("path", path));
    assert.deepEqual(results80(at(80), "/closed/x"), ["nowhere"]);
    assert.deepEqual(results80(at(80), "/open"), ["accepted"]);
    assert.deepEqual(results80(at(443), "/closed/x"), ["accepted"]);
    assert.deepEqual(results(at(443), "web/client", "api.stripe.com:443"), ["accepted"]);
  });

  test("are those of the namespace of the ServiceEntry, and of the client", () => {
    const refuse = "{ matches: [{ path: { value: / } }] }";
    const mesh = (where: string) => meshOf(shop + stripe("", port) + route(`${where}/r`, refuse));
    assert.deepEqual(results(mesh("web"), "shop/x", "api.stripe.com:80"), ["nowhere"]);
    assert.deepEqual(results(mesh("shop"), "shop/x", "api.stripe.com:80"), ["nowhere"]);
    assert.deepEqual(results(mesh("shop"), "web/client", "api.stripe.com:80"), ["accepted"]);
    assert.deepEqual(results(mesh("shop"), "mesh", "api.stripe.com:80"), ["accepted", "nowhere"]);
  });

  test("count for whatever ServiceEntry of the host a client uses", () => {
    const refuse = "{ matches: [{ path: { value: / } }] }";
    const second = serviceEntry("shop/second", `hosts: [api.stripe.com]\nresolution: DNS\n${port}`);
    const ofSecond = parent.replace("stripe, namespace: web", "second, namespace: shop");
    const mesh = (where: string) => meshOf(shop + stripe("", port) + second + route(`${where}/r`, refuse, ofSecond));
    // Clients of web use the ServiceEntry of their own namespace, which no route names.
    assert.deepEqual(results(mesh("web"), "web/client", "api.stripe.com:80"), ["nowhere"]);
    assert.deepEqual(results(mesh("shop"), "web/client", "api.stripe.com:80"), ["accepted"]);
  });

  test("are followed by the waypoint of the ServiceEntry, and by no sidecar for a wildcard", () => {
    const ambient = shop.replaceAll("istio-injection: enabled", "istio.io/dataplane-mode: ambient");
    const labelled = serviceEntry(
      "web/stripe",
      `hosts: [api.stripe.com]\nresolution: DNS\n${port}`,
      "labels: { istio.io/use-waypoint: w }",
    );
    const closed = route("web/r", "{ matches: [{ path: { value: / } }] }");
    const mesh = meshOf(ambient + labelled + waypoint("web", "w") + closed);
    assert.deepEqual(results(mesh, "web/client", "api.stripe.com:80"), ["nowhere"]);
    const wild = serviceEntry("web/stripe", `hosts: ["*.stripe.com"]\n${port}`);
    assert.deepEqual(results(meshOf(shop + wild + closed), "web/client", "api.stripe.com:80"), ["accepted"]);
  });
});

test("a WorkloadEntry with a host name as its address is an endpoint of ServiceEntries with DNS alone, and of all for ztunnel", () => {
  const machine = workloadEntry("shop/vm", "address: vm.example.com\nlabels: { app: vm }\nserviceAccount: vm");
  const entry = (resolution: string) =>
    serviceEntry(
      "shop/e",
      `hosts: [e.example.com]\naddresses: [192.0.2.9]\nports: [{ number: 80, name: http, protocol: HTTP }]\nresolution: ${resolution}\nlocation: MESH_INTERNAL\nworkloadSelector: { labels: { app: vm } }`,
    );
  const reached = (base: string, to: string, text: string): readonly string[] => [
    ...new Set(asked(meshOf(base + service("shop", "vm") + machine + text), "web", to).map(({ result }) => result)),
  ];
  assert.deepEqual(reached(shop, "shop/vm:80", ""), ["nowhere"]);
  assert.deepEqual(reached(shop, "e.example.com:80", entry("STATIC")), ["nowhere"]);
  assert.ok(!reached(shop, "e.example.com:80", entry("DNS")).includes("nowhere"));
  assert.ok(!reached(ambientShop, "shop/vm:80", "").includes("nowhere"));
});
