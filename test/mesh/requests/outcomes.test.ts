import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { conditionsOf } from "../../../src/mesh/requests/written-requests.ts";
import { asked, meshOf, texts, told } from "./asked.ts";
import {
  ambientShop,
  authorizationPolicy,
  deployment,
  destinationRule,
  httpRoute,
  namespace,
  peerAuthentication,
  requestAuthentication,
  service,
  shop,
  sidecar,
  virtualService,
  waypoint,
} from "./meshes.ts";

const [client, anybody] = ["service account web/client", "callers without an identity"];
const open = "is allowed, because no ALLOW policy applies [x]";
const strict = peerAuthentication("shop/strict", "STRICT");
const host = "host: x.shop.svc.cluster.local";

describe("transport", () => {
  test("a client without a certificate is refused where mTLS is required", () => {
    const mesh = meshOf(shop + strict);
    const refused = `the client sends plaintext, and the server requires mTLS (PeerAuthentication shop/strict) [x]`;
    assert.deepEqual(told(mesh, "outside", "shop/x:80"), [`GET / from ${anybody} is refused: ${refused}`]);
    assert.deepEqual(told(mesh, "web/client", "shop/x:80"), [`GET / from ${client} ${open}`]);
  });

  test("without auto mTLS, a client sends plaintext, also where mTLS is required", () => {
    const off = `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "enableAutoMtls: false" }
`;
    const because = `the client sends plaintext, because auto mTLS is disabled, and the server requires mTLS (PeerAuthentication shop/strict)`;
    assert.deepEqual(told(meshOf(shop + strict + off), "web/client", "shop/x:80"), [
      `GET / from ${client} is refused: ${because} [x]`,
    ]);
    assert.deepEqual(told(meshOf(shop + off), "web/client", "shop/x:80"), [`GET / from ${client} ${open}`]);
  });

  test("a DestinationRule that disables TLS counts for the clients that use it only", () => {
    const mesh = meshOf(
      shop + strict + destinationRule("web/off", `${host}\ntrafficPolicy: { tls: { mode: DISABLE } }`),
    );
    const because = `the client sends plaintext (DestinationRule web/off), and the server requires mTLS (PeerAuthentication shop/strict)`;
    assert.deepEqual(told(mesh, "web/client", "shop/x:80"), [`GET / from ${client} is refused: ${because} [x]`]);
    assert.deepEqual(told(mesh, "mesh", "shop/x:80"), [
      `GET / from other workloads of the mesh ${open}`,
      `GET / from namespace web is refused: ${because} [x]`,
    ]);
  });

  test("TLS that the client originates passes a permissive sidecar, which sees no HTTP and no identity, unless the port is declared as HTTP", () => {
    const tls = destinationRule("web/tls", `${host}\ntrafficPolicy: { tls: { mode: SIMPLE } }`);
    const tcpShop = shop.replace("name: http", "name: tcp");
    assert.deepEqual(told(meshOf(tcpShop + tls), "web/client", "shop/x:80"), [
      `A connection from ${client} is undecided: the application itself has to terminate the TLS of the client [x]`,
    ]);
    const named = authorizationPolicy("shop/p", "rules: [{ from: [{ source: { namespaces: [web] } }] }]");
    const [denied] = asked(meshOf(tcpShop + tls + named), "web/client", "shop/x:80");
    assert.equal(denied?.result, "denied");
    const undeclared = shop.replace("name: http", "name: any");
    assert.equal(asked(meshOf(undeclared + tls), "web/client", "shop/x:80")[0]?.result, "undecided");
    assert.deepEqual(told(meshOf(shop + tls), "web/client", "shop/x:80"), [
      `GET / from ${client} is refused: the client sends TLS of its own (DestinationRule web/tls), and the sidecar reads this port as HTTP, and terminates only mTLS [x]`,
    ]);
  });

  test("the oldest Service that leads to a port of a pod decides how its sidecar reads it, whichever Service is called", () => {
    const second = (created: string) =>
      service("shop", "y", { port: "name: tcp" })
        .replace("app: y", "app: x")
        .replace("name: y,", `name: y, creationTimestamp: "${created}",`);
    const first = shop.replace(
      "metadata: { name: x, namespace: shop, labels",
      'metadata: { name: x, creationTimestamp: "2026-01-02T00:00:00Z", namespace: shop, labels',
    );
    const gets = authorizationPolicy("shop/p", "rules: [{ to: [{ operation: { methods: [GET] } }] }]");
    const by = (created: string) => asked(meshOf(first + second(created) + gets), "web/client", "shop/x:80");
    assert.deepEqual([...new Set(by("2026-01-03T00:00:00Z").map(({ result }) => result))].sort(), [
      "accepted",
      "denied",
    ]);
    // Read as bytes, no request has a method.
    assert.deepEqual([...new Set(by("2026-01-01T00:00:00Z").map(({ result }) => result))], ["denied"]);
  });

  test("a Sidecar of the server that lists listeners decides instead of the Services", () => {
    const gets = authorizationPolicy("shop/p", "rules: [{ to: [{ operation: { methods: [GET] } }] }]");
    const listener = (protocol: string) =>
      sidecar(
        "shop/in",
        `ingress: [{ port: { number: 8080, protocol: ${protocol}, name: in }, defaultEndpoint: "127.0.0.1:8080" }]`,
      );
    const results = (protocol: string) =>
      new Set(asked(meshOf(shop + gets + listener(protocol)), "web/client", "shop/x:80").map(({ result }) => result));
    assert.deepEqual(results("HTTP"), new Set(["accepted", "denied"]));
    assert.deepEqual(results("TCP"), new Set(["denied"]));
  });

  test("plaintext has no identity, although a permissive server takes it", () => {
    const off = destinationRule("web/off", `${host}\ntrafficPolicy: { tls: { mode: DISABLE } }`);
    const named = authorizationPolicy("shop/p", "rules: [{ from: [{ source: { namespaces: [web] } }] }]");
    assert.deepEqual(told(meshOf(shop + named), "web/client", "shop/x:80"), [
      `GET / from ${client} is allowed, by AuthorizationPolicy shop/p rule 1 [x]`,
    ]);
    assert.deepEqual(told(meshOf(shop + off + named), "web/client", "shop/x:80"), [
      `GET / from ${client} is denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/p [x]`,
    ]);
  });

  test("a host that a Sidecar leaves out is refused, or reached past the mesh", () => {
    const left = "egress: [{ hosts: ['./*'] }]";
    const only = meshOf(shop + sidecar("web/default", `${left}\noutboundTrafficPolicy: { mode: REGISTRY_ONLY }`));
    assert.deepEqual(told(only, "web/client", "shop/x:80"), [
      `GET / from ${client} reaches nothing: Sidecar web/default does not import the host, and Sidecar web/default refuses requests to other hosts`,
    ]);
    const [passed] = asked(meshOf(shop + sidecar("web/default", left) + strict), "web/client", "shop/x:80");
    assert.equal(passed?.result, "refused");
    const config = `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "outboundTrafficPolicy: { mode: REGISTRY_ONLY }" }
`;
    assert.deepEqual(told(meshOf(shop + config + sidecar("web/default", left)), "web/client", "shop/x:80"), [
      `GET / from ${client} reaches nothing: Sidecar web/default does not import the host, and the mesh config refuses requests to other hosts`,
    ]);
  });

  test("a Service that is not exported to the clients is reached past the mesh, and its routes may count at port 80", () => {
    const exported = shop.replace(
      "metadata: { name: x, namespace: shop, labels",
      'metadata: { name: x, annotations: { networking.istio.io/exportTo: "." }, namespace: shop, labels',
    );
    const off = destinationRule("web/tls", `${host}\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL } }`);
    const [passed] = asked(meshOf(exported + off), "web/client", "shop/x:80");
    assert.deepEqual([passed?.result, passed?.transport[0]?.result], ["accepted", "plaintext"]);
    assert.equal(asked(meshOf(exported + strict), "web/client", "shop/x:80")[0]?.result, "refused");
    assert.equal(asked(meshOf(exported + strict), "shop/x", "shop/x:80")[0]?.result, "accepted");
    const results = asked(meshOf(exported), "mesh", "shop/x:80").map(({ source, transport }) => [
      source.namespace?.metadata.name,
      transport[0]?.result,
    ]);
    assert.deepEqual(results, [
      [undefined, "plaintext"],
      ["shop", "mtls"],
    ]);
    const routed = virtualService("shop/v", "hosts: [x]\nhttp: [{ route: [{ destination: { host: x } }] }]");
    assert.equal(asked(meshOf(exported + routed), "web/client", "shop/x:80")[0]?.result, "undecided");
  });

  test("the Sidecar of the root namespace counts for clients that have none, also for the rest of the mesh", () => {
    const root = sidecar(
      "istio-system/default",
      "egress: [{ hosts: ['./*'] }]\noutboundTrafficPolicy: { mode: REGISTRY_ONLY }",
    );
    const own = sidecar("web/default", "egress: [{ hosts: ['*/*'] }]");
    const system = `---\n${namespace("istio-system")}`;
    const results = (text: string, from: string) =>
      asked(meshOf(shop + system + text), from, "shop/x:80").map(({ result }) => result);
    assert.deepEqual([results(root, "web/client"), results(root, "mesh")], [["nowhere"], ["nowhere"]]);
    assert.deepEqual(results(root + own, "web/client"), ["accepted"]);
  });

  test("a port that bypasses the sidecar takes plaintext, and no policy is enforced there", () => {
    const bypassed = shop.replace(
      "metadata: { labels: { app: x } }",
      'metadata: { labels: { app: x }, annotations: { traffic.sidecar.istio.io/excludeInboundPorts: "8080" } }',
    );
    const nobody = authorizationPolicy("shop/p", "{}");
    assert.deepEqual(told(meshOf(bypassed + nobody + strict), "outside", "shop/x:80"), [
      `GET / from ${anybody} is allowed, because nothing enforces policies there [x]`,
    ]);
  });
});

describe("authorization", () => {
  test("is divided by rule, and names the policies of which none matches", () => {
    const policy = authorizationPolicy(
      "shop/p",
      "rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }]",
    );
    const mesh = meshOf(shop + policy);
    const none = "because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/p [x]";
    assert.deepEqual(told(mesh, "web/client", "shop/x:80"), [
      `GET / from ${client} is allowed, by AuthorizationPolicy shop/p rule 1 [x]`,
      `POST / from ${client} is denied, ${none}`,
    ]);
    assert.deepEqual(told(mesh, "outside", "shop/x:80"), [`GET / from ${anybody} is denied, ${none}`]);
    const [, denied] = asked(mesh, "web/client", "shop/x:80");
    const close = denied?.authorization[0]?.close ?? [];
    assert.deepEqual(
      close.map(({ policy: { metadata }, index }) => [metadata.name, index]),
      [["p", 0]],
    );
  });

  test("DENY comes before ALLOW, and what a provider is asked about is undecided", () => {
    const deny = authorizationPolicy("shop/d", "action: DENY\nrules: [{ to: [{ operation: { paths: ['/d*'] } }] }]");
    const ask = authorizationPolicy(
      "shop/c",
      "action: CUSTOM\nprovider: { name: ext }\nrules: [{ to: [{ operation: { methods: [POST] } }] }]",
    );
    assert.deepEqual(told(meshOf(shop + deny + ask), "web/client", "shop/x:80"), [
      `GET /d from ${client} is denied, by AuthorizationPolicy shop/d rule 1 [x]`,
      `POST / from ${client} is undecided: the provider "ext" decides, which is not known [x]`,
      `GET / from ${client} ${open}`,
    ]);
  });

  test("Istio denies what two providers at one workload would be asked about", () => {
    const ask = (name: string) =>
      authorizationPolicy(`shop/${name}`, `action: CUSTOM\nprovider: { name: ${name} }\nrules: [{}]`);
    const [both] = asked(meshOf(shop + ask("a") + ask("b")), "web/client", "shop/x:80");
    assert.equal(both?.result, "denied");
  });

  const provider = (fields: string) => `---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data: { mesh: "extensionProviders: [{ ${fields} }]" }
`;
  const calls = "{ service: ext.auth.svc.cluster.local, port: 8000 }";
  const askExt = authorizationPolicy("shop/c", "action: CUSTOM\nprovider: { name: ext }\nrules: [{}]");

  test("a provider over HTTP is not asked about connections, which the other policies decide", () => {
    const [http, grpc] = ["Http", "Grpc"].map((sort) => provider(`name: ext, envoyExtAuthz${sort}: ${calls}`));
    const tcpShop = shop.replace("name: http", "name: tcp");
    const result = (text: string) => asked(meshOf(text + askExt), "web/client", "shop/x:80").map((one) => one.result);
    assert.deepEqual(result(tcpShop + http), ["accepted"]);
    assert.deepEqual(result(tcpShop + http + authorizationPolicy("shop/none", "{}")), ["denied"]);
    assert.deepEqual(result(shop + http), ["undecided"]);
    assert.deepEqual(result(tcpShop + grpc), ["undecided"]);
    assert.deepEqual(result(tcpShop), ["undecided"]);
    const other = authorizationPolicy("shop/o", "action: CUSTOM\nprovider: { name: other }\nrules: [{}]");
    assert.deepEqual([...new Set(result(tcpShop + http + other))], ["denied"]);
  });

  test("Istio denies what a provider would be asked about that it cannot use", () => {
    const because = (fields: string, policy = askExt) =>
      told(meshOf(shop + provider(fields) + policy), "web/client", "shop/x:80");
    const denied = (reason: string) => [
      `GET / from ${client} is denied, because ${reason}, so Istio denies what CUSTOM policies for it match [x]`,
    ];
    assert.deepEqual(
      because(`name: ext2, envoyExtAuthzHttp: ${calls}`),
      denied('the mesh config has no extension provider "ext"'),
    );
    assert.deepEqual(because("name: ext, prometheus: {}"), denied('extension provider "ext" is not for authorization'));
    assert.deepEqual(
      because(`name: Ext, envoyExtAuthzHttp: ${calls}`, askExt.replace("name: ext", "name: Ext")),
      denied(
        'extension provider "Ext" has a name with something other than lowercase letters, digits, and hyphens between them',
      ),
    );
  });

  test("a dry run, AUDIT and a policy for other workloads do not count", () => {
    const dry = authorizationPolicy("shop/p", "{}").replace(
      "name: p",
      'annotations: { istio.io/dry-run: "true" }, name: p',
    );
    const audit = authorizationPolicy("shop/a", "action: AUDIT\nrules: [{}]");
    const other = authorizationPolicy("shop/o", "selector: { matchLabels: { app: other } }");
    assert.deepEqual(told(meshOf(shop + dry + audit + other), "web/client", "shop/x:80"), [
      `GET / from ${client} ${open}`,
    ]);
  });

  test("a policy of the root namespace counts everywhere", () => {
    const [denied] = asked(meshOf(shop + authorizationPolicy("istio-system/p", "{}")), "web/client", "shop/x:80");
    assert.equal(denied?.result, "denied");
  });

  test("the workloads of one Service can have different outcomes", () => {
    const one = authorizationPolicy("shop/p", "selector: { matchLabels: { version: v2 } }");
    const mesh = meshOf(shop + deployment("shop", "x2", { app: "x", labels: "version: v2" }) + one);
    assert.deepEqual(told(mesh, "web/client", "shop/x:80"), [
      `GET / from ${client} ${open}`,
      `GET / from ${client} is denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/p [x2]`,
    ]);
  });

  test("without a RequestAuthentication, no request has a principal", () => {
    const policy = authorizationPolicy("shop/p", "rules: [{ from: [{ source: { requestPrincipals: ['i/*'] } }] }]");
    const results = (text: string) => asked(meshOf(text), "web/client", "shop/x:80").map(({ result }) => result);
    assert.deepEqual(results(shop + policy), ["denied"]);
    assert.deepEqual(results(shop + policy + requestAuthentication("shop/jwt")), ["accepted", "denied"]);
  });

  test("an EnvoyFilter that patches the filters of a proxy leaves its decisions open, one for clusters does not", () => {
    const filter = (applyTo: string, context: string, namespace = "shop") => `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: f, namespace: ${namespace} }
spec: { configPatches: [{ applyTo: ${applyTo}, match: { context: ${context} } }] }
`;
    const result = (text: string) => asked(meshOf(shop + text), "web/client", "shop/x:80")[0]?.result;
    assert.equal(result(filter("HTTP_FILTER", "SIDECAR_INBOUND")), "undecided");
    assert.equal(result(filter("HTTP_FILTER", "ANY", "istio-system")), "undecided");
    assert.equal(result(filter("HTTP_FILTER", "SIDECAR_OUTBOUND")), "accepted");
    assert.equal(result(filter("CLUSTER", "ANY")), "accepted");
  });

  test("a port that is declared as TCP has no HTTP attributes", () => {
    const tcp = shop.replace("name: http, port: 80", "name: tcp, port: 80");
    const allow = authorizationPolicy("shop/p", "rules: [{ to: [{ operation: { methods: [GET] } }] }]");
    const deny = authorizationPolicy("shop/p", "action: DENY\nrules: [{ to: [{ operation: { methods: [GET] } }] }]");
    for (const policy of [allow, deny]) {
      const [outcome, ...more] = asked(meshOf(tcp + policy), "web/client", "shop/x:80");
      assert.deepEqual([outcome?.result, more], ["denied", []]);
    }
  });

  test("a policy asks for the port of the pod, not for that of the Service", () => {
    const of = (port: number) =>
      authorizationPolicy("shop/p", `rules: [{ to: [{ operation: { ports: ["${port}"] } }] }]`);
    const result = (port: number) => asked(meshOf(shop + of(port)), "web/client", "shop/x:80")[0]?.result;
    assert.deepEqual([result(8080), result(80)], ["accepted", "denied"]);
  });
});

describe("ambient", () => {
  const policy = authorizationPolicy(
    "shop/p",
    "rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }]",
  );
  const withWaypoint =
    ambientShop.replace("name: shop, labels: { ", "name: shop, labels: { istio.io/use-waypoint: w, ") +
    waypoint("shop", "w");
  const atService = authorizationPolicy(
    "shop/at-waypoint",
    "targetRefs: [{ group: '', kind: Service, name: x }]\nrules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }]",
  );

  test("ztunnel leaves an ALLOW rule out that asks for HTTP", () => {
    assert.deepEqual(told(meshOf(ambientShop + policy), "web/client", "shop/x:80"), [
      `GET / from ${client} is denied, because no rule of the ALLOW policies at ztunnel matches: AuthorizationPolicy shop/p [x]`,
    ]);
  });

  test("requests pass the policies of the waypoint and then those of ztunnel, which sees the waypoint", () => {
    const fromWaypoint = authorizationPolicy("shop/z", "rules: [{ from: [{ source: { serviceAccounts: [w] } }] }]");
    assert.deepEqual(told(meshOf(withWaypoint + atService + fromWaypoint), "web/client", "shop/x:80"), [
      `GET / from ${client} is allowed, by AuthorizationPolicy shop/at-waypoint rule 1 at the waypoint and by AuthorizationPolicy shop/z rule 1 at ztunnel [x]`,
      `POST / from ${client} is denied, because no rule of the ALLOW policies at the waypoint matches: AuthorizationPolicy shop/at-waypoint`,
    ]);
    const fromClient = authorizationPolicy("shop/z", "rules: [{ from: [{ source: { namespaces: [web] } }] }]");
    assert.deepEqual(told(meshOf(withWaypoint + fromClient), "web/client", "shop/x:80"), [
      `GET / from ${client} is denied, because no rule of the ALLOW policies at ztunnel matches: AuthorizationPolicy shop/z [x]`,
    ]);
  });

  test("callers outside the mesh, and sidecars, bypass the waypoint", () => {
    const sidecars = withWaypoint.replace("istio.io/dataplane-mode: ambient", "istio-injection: enabled");
    for (const caller of ["outside", "web/client"])
      assert.deepEqual(
        asked(meshOf(sidecars + atService), caller, "shop/x:80").map(({ result, transport }) => [
          result,
          transport.length,
        ]),
        [["accepted", 1]],
      );
    assert.deepEqual(told(meshOf(sidecars + atService), "web/client", "shop/x:80"), [
      `GET / from ${client} through a sidecar, which does not use the waypoint, ${open}`,
    ]);
  });

  test("the identity of the waypoint is no caller of its own", () => {
    const fromWaypoint = authorizationPolicy("shop/z", "rules: [{ from: [{ source: { serviceAccounts: [w] } }] }]");
    const nobody = authorizationPolicy("shop/n", "targetRefs: [{ group: '', kind: Service, name: x }]");
    const results = asked(meshOf(withWaypoint + fromWaypoint + nobody), "mesh", "shop/x:80").map(
      ({ result }) => result,
    );
    assert.deepEqual([...new Set(results)], ["denied"]);
  });

  test("a waypoint in another namespace enforces its own policies and those that target the Service", () => {
    const elsewhere =
      ambientShop.replace(
        "name: shop, labels: { ",
        "name: shop, labels: { istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: edge, ",
      ) +
      `---\n${namespace("edge")}` +
      waypoint("edge", "w");
    const target = (kind: string, name: string, group: string) =>
      `targetRefs: [{ group: '${group}', kind: ${kind}, name: ${name} }]`;
    const gateway = target("Gateway", "w", "gateway.networking.k8s.io");
    for (const nobody of [
      authorizationPolicy("shop/p", target("Service", "x", "")),
      authorizationPolicy("edge/p", gateway),
      authorizationPolicy("istio-system/p", target("GatewayClass", "istio-waypoint", "gateway.networking.k8s.io")),
    ])
      assert.equal(
        asked(meshOf(elsewhere + nobody), "web/client", "shop/x:80")[0]?.authorization[0]?.at,
        "waypoint",
        nobody,
      );
    const wrong = asked(meshOf(elsewhere + authorizationPolicy("shop/p", gateway)), "web/client", "shop/x:80");
    assert.equal(wrong[0]?.result, "accepted");
  });
});

describe("routes", () => {
  const v2 = deployment("shop", "x2", { app: "x", labels: "version: v2" });
  const subsets = destinationRule("shop/x", "host: x\nsubsets: [{ name: v2, labels: { version: v2 } }]");

  test("the first route that matches is followed, with the shares of its destinations", () => {
    const routes = virtualService(
      "shop/x",
      `hosts: [x]
http:
- match: [{ uri: { prefix: /a }, method: { exact: GET } }]
  route: [{ destination: { host: x, subset: v2 }, weight: 90 }, { destination: { host: x }, weight: 10 }]
- match: [{ uri: { prefix: /b } }]
  route: [{ destination: { host: x, subset: v3 } }]
- match: [{ uri: { prefix: /c } }]
  route: [{ destination: { host: nothing } }]`,
    );
    const mesh = meshOf(shop + v2 + subsets + routes);
    assert.deepEqual(told(mesh, "web/client", "shop/x:80"), [
      `90% GET /a from ${client} is allowed, because no ALLOW policy applies [x2]`,
      `10% GET /a from ${client} is allowed, because no ALLOW policy applies [x x2]`,
      `GET /b from ${client} reaches nothing: subset "v3" is not defined: DestinationRule shop/x has v2`,
      `GET /c from ${client} reaches nothing: there is no Service and no ServiceEntry for host nothing.shop.svc.cluster.local`,
      `GET / from ${client} reaches nothing: no route matches`,
      `POST /a from ${client} reaches nothing: no route matches`,
    ]);
    assert.deepEqual(told(mesh, "outside", "shop/x:80"), [
      `GET / from ${anybody} is allowed, because no ALLOW policy applies [x x2]`,
    ]);
  });

  test("a regular expression of the usual wildcards is decided, and another one is not", () => {
    const of = (expression: string) =>
      meshOf(
        shop +
          virtualService(
            "shop/x",
            `hosts: [x]\nhttp:\n- match: [{ uri: { regex: '${expression}' } }]\n  route: [{ destination: { host: nothing } }]\n- route: [{ destination: { host: x } }]`,
          ),
      );
    const results = (expression: string, path: string) =>
      asked(of(expression), "web/client", "shop/x:80", texts("path", path)).map(({ result }) => result);
    assert.deepEqual(results("/a/[^/]+/b", "/a/x/b"), ["nowhere"]);
    assert.deepEqual(results("/a/[^/]+/b", "/a/x/y/b"), ["accepted"]);
    assert.deepEqual(results(".*admin.*", "/x/admin/y"), ["nowhere"]);
    assert.deepEqual(results(".*admin.*", "/x"), ["accepted"]);
    assert.deepEqual(results("/a(b|c)", "/ab"), ["nowhere"]);
    assert.deepEqual(results("/a(b|c)", "/ad"), ["accepted"]);
    assert.deepEqual(results("/a[bc]", "/ab"), ["undecided"]);
  });

  test("the name that TLS asks for is compared in lower case, however a DestinationRule writes it", () => {
    const asks = destinationRule("web/tls", `${host}\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL, sni: A.Example } }`);
    const results = (condition: string) =>
      asked(
        meshOf(
          shop + asks + authorizationPolicy("shop/p", `rules: [{ when: [{ key: connection.sni, ${condition} }] }]`),
        ),
        "web/client",
        "shop/x:80",
      ).map(({ result }) => result);
    assert.deepEqual(results("values: [a.example]"), ["accepted"]);
    assert.deepEqual(results("notValues: [a.example]"), ["denied"]);
    assert.deepEqual(results("values: [A.Example]"), ["denied"]);
  });

  test("a header that must not have a value, and is not there, counts as an empty one", () => {
    const results = (condition: string) =>
      asked(
        meshOf(
          shop +
            virtualService(
              "shop/x",
              `hosts: [x]\nhttp:\n- match: [{ withoutHeaders: { x-a: ${condition} } }]\n  route: [{ destination: { host: x } }]`,
            ),
        ),
        "web/client",
        "shop/x:80",
      ).map(({ result }) => result);
    // It matches every value, also the empty one, so that no request is left.
    assert.deepEqual(results("{ regex: '.*' }"), ["nowhere"]);
    assert.deepEqual(results("{ exact: '' }"), ["accepted", "nowhere", "nowhere"]);
    assert.deepEqual(results("{ regex: '*' }"), ["accepted", "nowhere"]);
    assert.deepEqual(results("{ regex: '.+' }"), ["accepted", "nowhere"]);
  });

  describe("policies behind a route see the path as the proxies before them resolve it", () => {
    const deny = authorizationPolicy(
      "shop/d",
      "action: DENY\nrules: [{ to: [{ operation: { paths: ['/admin*'] } }] }]",
    );
    const results = (prefix: string, to: string, path: string) => {
      const route = `match: [{ uri: { prefix: ${prefix} } }], rewrite: { uri: '${to}' }, route: [{ destination: { host: x } }]`;
      const mesh = meshOf(shop + virtualService("shop/x", `hosts: [x]\nhttp: [{ ${route} }]`) + deny);
      return new Set(asked(mesh, "web/client", "shop/x:80", texts("path", path)).map(({ result }) => result));
    };
    const cases: readonly (readonly [string, string, string, string, string])[] = [
      ["a segment of dots that a new beginning makes", "/api", "/v1/", "/api../admin", "undecided"],
      ["one at the end of the path", "/api", "/v1/", "/api..", "undecided"],
      ["dots that are no segment", "/api", "/v1/", "/api..x/admin", "accepted"],
      ["other paths of the same route", "/api", "/v1/", "/api/admin", "accepted"],
      ["dots behind the name of a segment", "/api", "/v1", "/api../admin", "accepted"],
      ["whole segments that are replaced", "/api/", "/v1/", "/api/../admin", "accepted"],
      ["a new beginning with a segment of dots", "/api/", "/v1/../", "/api/admin", "undecided"],
      ["a new beginning with an escape", "/api/", "/%61dmin/", "/api/x", "undecided"],
      ["a new beginning with a query", "/api/", "/admin?x=", "/api/x", "undecided"],
      ["a new beginning with a backslash", "/api/", "/v1/..\\admin/", "/api/x", "undecided"],
    ];
    for (const [name, prefix, to, path, expected] of cases)
      test(name, () => assert.deepEqual(results(prefix, to, path), new Set([expected])));
  });

  test("policies see the path that a route made, if it is known", () => {
    const routes = virtualService(
      "shop/x",
      "hosts: [x]\nhttp:\n- match: [{ uri: { prefix: /a/ } }]\n  rewrite: { uri: / }\n  route: [{ destination: { host: x } }]\n- route: [{ destination: { host: x } }]",
    );
    const deny = authorizationPolicy(
      "shop/d",
      "action: DENY\nrules: [{ to: [{ operation: { paths: ['/admin*'] } }] }]",
    );
    const results = (...paths: readonly string[]) =>
      asked(meshOf(shop + routes + deny), "web/client", "shop/x:80", texts("path", ...paths)).map(
        ({ result }) => result,
      );
    assert.deepEqual(results("/a/admin"), ["denied"]);
    assert.deepEqual(results("/a/x"), ["accepted"]);
    assert.deepEqual(results("/a/x", "/a/y"), ["accepted"]);
    assert.deepEqual(results("/a/x", "/a/admin/y"), ["denied", "accepted"]);
    assert.deepEqual(results("/admin"), ["denied"]);
    const denied = asked(meshOf(shop + routes + deny), "web/client", "shop/x:80").filter(
      ({ result }) => result === "denied",
    );
    assert.deepEqual(
      denied.map(({ example }) => example.get("path")),
      [["/a/admin"], ["/admin"]],
      "the paths that callers send",
    );
  });

  describe("change headers, which policies of the server see", () => {
    const needs = (when: string, action = "ALLOW") =>
      authorizationPolicy("shop/p", `action: ${action}\nrules: [{ when: [${when}] }]`);
    const team = "{ key: 'request.headers[x-team]', values: [web] }";
    const results = (headers: string, policy: string, mine: readonly string[] = []) =>
      asked(
        meshOf(
          `${shop}${policy}${virtualService("shop/x", `hosts: [x]\nhttp:\n- ${headers}\n  route: [{ destination: { host: x } }]`)}`,
        ),
        "web/client",
        "shop/x:80",
        ...conditionsOf({ headers: mine.length === 0 ? {} : { "x-team": mine }, hasOnlyTheseHeaders: mine.length > 0 }),
      ).map(({ result }) => result);

    test("a header that is set has this value alone, whatever the caller sends", () => {
      assert.deepEqual(results("headers: { request: { set: { X-Team: web } } }", needs(team)), ["accepted"]);
      assert.deepEqual(results("headers: { request: { set: { x-team: shop } } }", needs(team), ["web"]), ["denied"]);
      assert.deepEqual(results("headers: { request: { set: { x-team: web } } }", needs(team, "DENY")), ["denied"]);
      assert.deepEqual(results("headers: { request: { set: { x-other: web } } }", needs(team), ["web"]), ["accepted"]);
    });

    test("a header that is removed is absent", () => {
      assert.deepEqual(results("headers: { request: { remove: [X-Team] } }", needs(team), ["web"]), ["denied"]);
      assert.deepEqual(results("headers: { request: { remove: [x-team] } }", needs(team, "DENY"), ["web"]), [
        "accepted",
      ]);
      assert.deepEqual(
        results("headers: { request: { remove: [x-team], set: { x-team: web } } }", needs(team), ["shop"]),
        ["accepted"],
        "Envoy removes before it adds",
      );
    });

    test("what is added, filled in, or changed by route and destination is not known", () => {
      for (const headers of ["{ add: { x-team: web } }", "{ set: { x-team: '%REQ(x-other)%' } }"])
        assert.deepEqual(results(`headers: { request: ${headers} }`, needs(team), ["shop"]), [
          "undecided",
          "undecided",
        ]);
      const both = `headers: { request: { set: { x-team: web } } }
  route: [{ destination: { host: x }, headers: { request: { set: { x-team: shop } } } }]
- match: [{ uri: { exact: /never } }]`;
      assert.deepEqual(new Set(results(both, needs(team))), new Set(["undecided"]));
    });

    test("the host is that of the header, unless a rewrite names one", () => {
      const hosts = (host: string) =>
        authorizationPolicy("shop/p", `rules: [{ to: [{ operation: { hosts: [${host}] } }] }]`);
      const set = "headers: { request: { set: { Host: Inner.example.com } } }";
      assert.deepEqual(results(set, hosts("inner.example.com")), ["accepted"]);
      assert.deepEqual(results(`${set}\n  rewrite: { authority: other.example.com }`, hosts("inner.example.com")), [
        "denied",
      ]);
      assert.deepEqual(results("headers: { request: { set: { ':path': /x } } }", needs(team), ["web"]), ["accepted"]);
    });

    test("a token that a route replaces is not known", () => {
      const tokens = requestAuthentication(
        "shop/jwt",
        "jwtRules: [{ issuer: https://issuer.example.com, jwks: '{}' }]",
      );
      const policy = authorizationPolicy(
        "shop/p",
        "rules: [{ from: [{ source: { requestPrincipals: ['*'] } }], when: [{ key: 'request.auth.claims[team]', values: [web] }] }]",
      );
      const replaced = results("headers: { request: { set: { authorization: Bearer x } } }", tokens + policy);
      assert.deepEqual(new Set(replaced), new Set(["undecided"]));
    });

    test("filters of routes of the Gateway API do the same, for a rule and for one backend", () => {
      const filter = (value: string) =>
        `filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Team, value: ${value} }, { name: x-team, value: last }] } }]`;
      const of = (rule: string) =>
        asked(meshOf(shop + needs(team) + httpRoute("shop/r", `rules:\n- ${rule}`)), "web/client", "shop/x:80").map(
          ({ result }) => result,
        );
      assert.deepEqual(of(`${filter("web")}\n  backendRefs: [{ name: x, port: 80 }]`), ["accepted"]);
      assert.deepEqual(of(`${filter("shop")}\n  backendRefs: [{ name: x, port: 80 }]`), ["denied"]);
      assert.deepEqual(of(`backendRefs: [{ name: x, port: 80, ${filter("web")} }]`), ["accepted"]);
    });
  });

  test("routes for single clients are followed by these", () => {
    const routes = virtualService(
      "shop/x",
      "hosts: [x]\nhttp:\n- match: [{ sourceLabels: { app: client } }]\n  route: [{ destination: { host: nothing } }]\n- match: [{ sourceNamespace: other }]\n  directResponse: { status: 503 }\n- route: [{ destination: { host: x } }]",
    );
    const mesh = meshOf(shop + deployment("web", "second") + routes);
    assert.deepEqual(
      asked(mesh, "web", "shop/x:80").map(({ result, source }) => [
        result,
        ...source.workloads.map((one) => one.metadata.name),
      ]),
      [
        ["nowhere", "client"],
        ["accepted", "second"],
      ],
    );
  });

  test("a delegate adds its conditions to those of the route that names it", () => {
    const root = virtualService(
      "shop/x",
      "hosts: [x]\nhttp:\n- match: [{ uri: { prefix: /a } }]\n  delegate: { name: d }\n- route: [{ destination: { host: x } }]",
    );
    const delegate = virtualService(
      "shop/d",
      "http:\n- match: [{ method: { exact: GET } }]\n  route: [{ destination: { host: nothing } }]",
    );
    assert.deepEqual(told(meshOf(shop + root + delegate), "web/client", "shop/x:80", texts("path", "/a")), [
      `GET /a from ${client} reaches nothing: there is no Service and no ServiceEntry for host nothing.shop.svc.cluster.local`,
      `POST /a from ${client} is allowed, because no ALLOW policy applies [x]`,
    ]);
  });

  test("an HTTPRoute counts only where a Sidecar imports its namespace, and never at a port of TCP", () => {
    const refuse = httpRoute("web/r", "rules: [{ matches: [{ path: { type: PathPrefix, value: / } }] }]");
    const result = (manifests: string) => asked(meshOf(manifests), "web/client", "shop/x:80").map((one) => one.result);
    assert.deepEqual(result(shop + refuse), ["nowhere"]);
    assert.deepEqual(result(shop + refuse + sidecar("web/s", "egress: [{ hosts: ['shop/*'] }]")), ["accepted"]);
    assert.deepEqual(result(shop + refuse + sidecar("web/s", "egress: [{ hosts: ['shop/*', './*'] }]")), ["nowhere"]);
    assert.deepEqual(result(shop.replace("name: http", "name: tcp") + refuse), ["accepted"]);
  });

  test("a Service of a gateway leads to what its Gateways make of the host", () => {
    const gateway = deployment("shop", "gw")
      .replace("labels: { app: gw }", "labels: { app: gw }, annotations: { inject.istio.io/templates: gateway }")
      .replace("name: main", "name: istio-proxy");
    const host = "gw.shop.svc.cluster.local";
    const mesh = meshOf(shop + gateway + service("shop", "gw"));
    assert.deepEqual(told(mesh, "web/client", "shop/gw:80", texts("host", host)), [
      `GET / to host ${host} from ${client} reaches nothing: no Gateway offers ${host} for http at port 80 of Deployment shop/gw`,
    ]);
  });

  test("a Service without workloads, and one without that port, lead nowhere", () => {
    const mesh = meshOf(shop + service("shop", "empty"));
    assert.deepEqual(told(mesh, "web/client", "shop/empty:80"), [
      `GET / from ${client} reaches nothing: no workload in namespace shop has the labels app=empty`,
    ]);
    assert.deepEqual(told(mesh, "web/client", "shop/x:81"), [
      `GET / from ${client} reaches nothing: Service shop/x has no port 81`,
    ]);
  });

  test("of several VirtualServices with the name of the host, the first that has a route at this port is taken", () => {
    const to = (path: string, match: string) =>
      virtualService(path, `hosts: [x.shop.svc.cluster.local]\nhttp: [{ ${match}directResponse: { status: 500 } }]`);
    const name = (match: string) => {
      const [first] = asked(meshOf(shop + to("shop/a", match) + to("shop/b", "")), "web/client", "shop/x:80");
      return first?.route.virtualService?.metadata.name;
    };
    assert.deepEqual(
      [name(""), name("match: [{ port: 81 }], "), name("match: [{ sourceLabels: { app: z } }], ")],
      ["a", "b", "b"],
    );
  });

  test("connections follow the first TCP route of all VirtualServices that cover the host", () => {
    const tcpShop = shop.replace("name: http", "name: tcp");
    const to = (path: string, host: string, to: string) =>
      virtualService(path, `hosts: ["${host}"]\ntcp: [{ route: [{ destination: { host: ${to} } }] }]`);
    const wide = to("shop/a", "*.svc.cluster.local", "wide");
    const exact = to("shop/b", "x.shop.svc.cluster.local", "exact");
    const [first] = asked(meshOf(tcpShop + exact + wide), "web/client", "shop/x:80");
    assert.equal(first?.route.virtualService?.metadata.name, "a");
    const http = virtualService("shop/0", "hosts: [x]\nhttp: [{ route: [{ destination: { host: http } }] }]");
    const [alone] = asked(meshOf(tcpShop + http), "web/client", "shop/x:80");
    assert.equal(alone?.route.virtualService, undefined);
  });

  test("without a port, a destination of HTTP is asked for at the port of the request, and one of TCP at its only port", () => {
    const other = service("shop", "y").replace("port: 80", "port: 99");
    const ports = (protocol: "http" | "tcp") => {
      const route = virtualService("shop/v", `hosts: [x]\n${protocol}: [{ route: [{ destination: { host: y } }] }]`);
      const mesh = meshOf(shop.replace("name: http", `name: ${protocol}`) + other + deployment("shop", "y") + route);
      return asked(mesh, "web/client", "shop/x:80").map(({ result, destination }) => [result, destination?.port]);
    };
    assert.deepEqual(ports("http"), [["nowhere", 80]]);
    assert.deepEqual(ports("tcp"), [["accepted", 99]]);
  });

  test("a route that depends on the case of a host is not decided, and an empty header is not a missing one", () => {
    const when = (match: string) =>
      meshOf(
        shop +
          virtualService("shop/v", `hosts: [x]\nhttp: [{ match: [{ ${match} }], directResponse: { status: 500 } }]`),
      );
    const results = (match: string) =>
      asked(when(match), "web/client", "shop/x:80").map(({ result, example }) => [result, example.get("header x-a")]);
    assert.deepEqual(results("authority: { exact: X }")[0]?.[0], "undecided");
    assert.deepEqual(results("authority: { exact: x }")[0]?.[0], "nowhere");
    assert.deepEqual(results("scheme: { exact: https }"), [["nowhere", undefined]]);
    assert.deepEqual(results('headers: { x-a: { exact: "" } }')[0], ["nowhere", [""]]);
  });
});

test("a sidecar never gets the ports for metrics and probes, so that no mode and no policy counts there", () => {
  const denied = authorizationPolicy("shop/p", "{}");
  const results = (labels = "") =>
    [8080, 15008, 15020, 15021, 15090].map((port) => {
      const text = shop.replace("metadata: { labels: { app: x } }", `metadata: { labels: { app: x }${labels} }`);
      return asked(meshOf(text + strict + denied), "outside", `shop/pod/x:${port}`)[0]?.result;
    });
  assert.deepEqual(results(), ["refused", "accepted", "accepted", "accepted", "accepted"]);
  const status = `, annotations: { status.sidecar.istio.io/port: "15021" }`;
  assert.deepEqual(
    results(status),
    ["refused", "accepted", "refused", "accepted", "accepted"],
    "it takes the place of 15020",
  );
  const listed = `, annotations: { traffic.sidecar.istio.io/includeInboundPorts: "8080,15020" }`;
  assert.deepEqual(
    results(listed),
    ["refused", "accepted", "refused", "accepted", "accepted"],
    "a list says which it gets",
  );
});

describe("routes of the Gateway API for a Service", () => {
  const canary = [deployment("shop", "x2"), service("shop", "x2")].join("");
  const backends = "backendRefs: [{ name: x, port: 80, weight: 9 }, { name: x2, port: 80, weight: 1 }]";

  test("are followed by sidecars, with the shares of their backends and the rewriting of prefixes", () => {
    const route = httpRoute(
      "shop/r",
      `rules:
- matches: [{ path: { type: PathPrefix, value: /a } }]
  ${backends}
- matches: [{ path: { type: Exact, value: /gone } }]
  backendRefs: [{ name: gone, port: 80 }]
- matches: [{ path: { type: Exact, value: /moved } }]
  filters: [{ type: RequestRedirect }]`,
    );
    const mesh = meshOf(shop + canary + route);
    const results = (path: string) =>
      asked(mesh, "web/client", "shop/x:80", texts("path", path)).map(
        ({ result, destination, route: { httpRoute: by } }) => [
          result,
          destination?.host.split(".")[0],
          destination?.share,
          by?.metadata.name,
        ],
      );
    assert.deepEqual(results("/a/b"), [
      ["accepted", "x", 0.9, "r"],
      ["accepted", "x2", 0.1, "r"],
    ]);
    assert.deepEqual(results("/gone"), [["nowhere", "gone", 1, "r"]]);
    assert.deepEqual(results("/moved"), [["nowhere", undefined, undefined, "r"]]);
    assert.deepEqual(results("/ab"), [["nowhere", undefined, undefined, "r"]], "a prefix ends at a slash");
  });

  test("are sorted: an exact path comes before a prefix, and a longer prefix before a shorter one", () => {
    const route = httpRoute(
      "shop/r",
      `rules:
- backendRefs: [{ name: x, port: 80 }]
  matches: [{ path: { value: /a } }, { path: { value: /a }, method: GET }]
- backendRefs: [{ name: x2, port: 80 }]
  matches: [{ path: { value: /a/b } }, { path: { type: Exact, value: /a } }, { path: { value: /c }, headers: [{ name: x-a, value: v }] }]`,
    );
    const mesh = meshOf(shop + canary + route);
    const host = (path: string) =>
      asked(mesh, "web/client", "shop/x:80", texts("path", path))[0]?.destination?.host.split(".")[0];
    assert.deepEqual([host("/a"), host("/a/x"), host("/a/b")], ["x2", "x", "x2"]);
  });

  test("count for other namespaces only where the Service is, or where the client is", () => {
    const of = (namespace: string) =>
      meshOf(
        shop +
          canary +
          httpRoute(`${namespace}/r`, "rules: [{ backendRefs: [{ name: x2, namespace: shop, port: 80 }] }]"),
      );
    const hosts = (mesh: ReturnType<typeof of>) =>
      asked(mesh, "web/client", "shop/x:80").map(({ destination }) => destination?.host.split(".")[0]);
    assert.deepEqual([hosts(of("shop")), hosts(of("web")), hosts(of("other"))], [["x2"], ["x2"], ["x"]]);
  });

  test("count for the port that they name", () => {
    const of = (parent: string) =>
      asked(
        meshOf(shop + canary + httpRoute("shop/r", "rules: [{ backendRefs: [{ name: x2, port: 80 }] }]", parent)),
        "web/client",
        "shop/x:80",
      )[0]?.destination?.host.split(".")[0];
    assert.deepEqual([of("port: 80"), of("port: 81")], ["x2", "x"]);
  });

  test("are followed by a waypoint", () => {
    const withWaypoint =
      ambientShop.replace("name: shop, labels: { ", "name: shop, labels: { istio.io/use-waypoint: w, ") +
      waypoint("shop", "w");
    const route = httpRoute("shop/r", `rules: [{ ${backends} }]`);
    const shares = (text: string) =>
      asked(meshOf(text + canary + route), "web/client", "shop/x:80").map(({ destination }) => destination?.share);
    assert.deepEqual(shares(withWaypoint), [0.9, 0.1]);
    assert.deepEqual(shares(ambientShop), [1], "ztunnel has no routes");
  });
});

describe("what is not known is undecided", () => {
  test("workloads, the labels of namespaces, and too much work", () => {
    const withoutWorkloads = meshOf(shop, { Workload: "unknown" });
    assert.deepEqual(told(withoutWorkloads, "web/sa/client", "shop/x:80"), [
      `GET / from ${client} is undecided: the workloads of the mesh are not known`,
    ]);
    const unlabelled = shop.replace(namespace("web", "sidecar"), "");
    const named = authorizationPolicy("shop/p", "rules: [{ from: [{ source: { namespaces: [web] } }] }]");
    assert.deepEqual(told(meshOf(unlabelled + named), "web/client", "shop/x:80"), [
      `GET / from ${client} is undecided: it is not known how pods of namespace web send requests, because its labels are not known`,
    ]);
    assert.deepEqual(
      asked(meshOf(unlabelled + authorizationPolicy("shop/p", "{}")), "web/client", "shop/x:80").map(
        ({ result }) => result,
      ),
      ["denied", "denied", "denied"],
      "whichever way they are sent",
    );
  });
});
