import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { asked, meshOf, texts } from "./asked.ts";
import {
  ambientShop,
  deployment,
  httpRoute,
  namespace,
  service,
  serviceEntry,
  shop,
  sidecar,
  virtualService,
  waypoint,
} from "./meshes.ts";

// Each table was compared with what Istio's own code generates for sidecars and waypoints.

const backend = (name: string) => `${deployment("shop", name)}${service("shop", name)}`;
const backends = ["a", "b"].map(backend).join("");
/** A route of the Gateway API of any kind. */
const route = (kind: string, path: string, { metadata = "", parents = parent(), spec = "" }) => {
  const [namespace = "", name = ""] = path.split("/");
  return `---
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace}${metadata} }
spec:
  parentRefs: [${parents}]
${spec.replaceAll(/^/gm, "  ")}
`;
};
const parent = (more = "") => `{ group: "", kind: Service, namespace: shop, name: x${more}}`;
const ofEntry = `{ group: networking.istio.io, kind: ServiceEntry, namespace: shop, name: e }`;
const to = (...names: readonly string[]) =>
  `rules: [{ backendRefs: [${names.map((name) => `{ name: ${name}, namespace: shop, port: 80 }`).join(", ")}] }]`;
const created = (day: number) => `, creationTimestamp: "2026-01-0${day}T00:00:00Z"`;
const host = "x.shop.svc.cluster.local";
const vs = (path: string, spec: string, day = 5) =>
  virtualService(path, spec).replace(/(metadata: \{[^}]*?) \}/, `$1${created(day)} }`);

const declared = (text: string, port: string) => text.replaceAll("name: http, port: 80", `name: ${port}, port: 80`);
const withWaypoint = (labels = "") =>
  ambientShop.replace("name: shop, labels: { ", `name: shop, labels: { istio.io/use-waypoint: w${labels}, `) +
  waypoint("shop", "w");

/** Where requests arrive: the names of the hosts with their shares, or the result. */
function reached(text: string, to = "shop/x:80", sni?: string): readonly string[] {
  const conditions = sni === undefined ? [] : [texts("sni", sni)];
  const all = asked(meshOf(text), "web/client", to, ...conditions).map(({ result, destination }) => {
    if (result !== "accepted") return result;
    const share = destination?.share ?? 1;
    return `${destination?.host.split(".")[0]}${share === 1 ? "" : ` ${share}`}`;
  });
  return [...new Set(all)];
}

describe("several routes for one Service", () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    [
      "the VirtualService is older than the HTTPRoute",
      httpRoute("shop/r", to("a")) + vs("shop/v", `hosts: [x]\nhttp: [{ route: [{ destination: { host: b } }] }]`),
      ["b"],
    ],
    [
      "the HTTPRoute is older than the VirtualService",
      route("HTTPRoute", "shop/r", { metadata: created(1), spec: to("a") }) +
        vs("shop/v", `hosts: [x]\nhttp: [{ route: [{ destination: { host: b } }] }]`),
      ["a"],
    ],
    [
      "a route in the namespace of the clients comes before older ones of others",
      route("HTTPRoute", "shop/r", { metadata: created(1), spec: to("a") }) +
        route("HTTPRoute", "web/r", { metadata: created(3), spec: to("b") }),
      ["b"],
    ],
    [
      "of one for the port and one for all ports, the older one counts alone",
      route("HTTPRoute", "shop/all", { metadata: created(1), spec: to("a") }) +
        route("HTTPRoute", "shop/port", { metadata: created(3), parents: parent(", port: 80"), spec: to("b") }),
      ["a"],
    ],
    [
      "one for another port leaves the port to the next one",
      route("HTTPRoute", "shop/port", { metadata: created(1), parents: parent(", port: 81"), spec: to("b") }) +
        route("HTTPRoute", "shop/all", { metadata: created(3), spec: to("a") }),
      ["a"],
    ],
    [
      "one for another port keeps a wildcard away nevertheless",
      route("HTTPRoute", "shop/port", { parents: parent(", port: 81"), spec: to("b") }) +
        vs("shop/wide", `hosts: ["*.shop.svc.cluster.local"]\nhttp: [{ route: [{ destination: { host: a } }] }]`),
      ["x"],
    ],
    [
      "so does a route for connections",
      route("TCPRoute", "shop/r", { spec: to("b") }) +
        vs("shop/wide", `hosts: ["*.shop.svc.cluster.local"]\nhttp: [{ route: [{ destination: { host: a } }] }]`),
      ["x"],
    ],
    [
      "a route with a filter that Istio does not support is not used",
      httpRoute("shop/r", `rules: [{ filters: [{ type: ExtensionRef }], backendRefs: [{ name: a, port: 80 }] }]`),
      ["x"],
    ],
    [
      "a GRPCRoute loses all its rules by a mirror to a Service that does not exist",
      route("GRPCRoute", "shop/r", {
        spec: `rules:\n- filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: gone, port: 80 } } }]\n  backendRefs: [{ name: a, port: 80 }]\n- matches: [{ method: { service: s } }]\n  backendRefs: [{ name: b, port: 80 }]`,
      }),
      ["x"],
    ],
    [
      "for a single port, a rule of a GRPCRoute without matches comes before a later one with an empty match",
      route("GRPCRoute", "shop/r", {
        parents: parent(", port: 80"),
        spec: `rules:\n- backendRefs: [{ name: a, port: 80 }]\n- matches: [{}]\n  backendRefs: [{ name: b, port: 80 }]`,
      }),
      ["a"],
    ],
    [
      "and behind it for all ports",
      route("GRPCRoute", "shop/r", {
        spec: `rules:\n- backendRefs: [{ name: a, port: 80 }]\n- matches: [{}]\n  backendRefs: [{ name: b, port: 80 }]`,
      }),
      ["b"],
    ],
    [
      "a Sidecar that does not import the Service imports no route for it",
      httpRoute("shop/r", to("a")) + sidecar("web/s", 'egress: [{ hosts: ["shop/a.shop.svc.cluster.local"] }]'),
      ["x"],
    ],
  ];
  for (const [name, text, expected] of cases)
    test(name, () => assert.deepEqual(reached(shop + backends + text), expected));
});

describe("routes for connections", () => {
  const tcp = (text: string) => reached(declared(shop, "tcp") + backends + text);
  const tls = (text: string, sni?: string) => reached(declared(shop, "tls") + backends + text, "shop/x:80", sni);

  test("a TCPRoute is followed with the shares of its backends, whoever the client is", () => {
    assert.deepEqual(tcp(route("TCPRoute", "shop/r", { spec: to("a", "b") })), ["a 0.5", "b 0.5"]);
    assert.deepEqual(tcp(route("TCPRoute", "other/r", { spec: to("a") })), ["a"], "its namespace does not matter");
    assert.deepEqual(tcp(route("TCPRoute", "shop/r", { parents: parent(", port: 81"), spec: to("a") })), ["x"]);
  });

  test("its first rule takes everything, and one without a backend that has a weight leads nowhere", () => {
    const first = `rules: [{ backendRefs: [{ name: a, port: 80 }] }, { backendRefs: [{ name: b, port: 80 }] }]`;
    assert.deepEqual(tcp(route("TCPRoute", "shop/r", { spec: first })), ["a"]);
    const none = `rules: [{ backendRefs: [{ name: a, port: 80, weight: 0 }] }, { backendRefs: [{ name: b, port: 80 }] }]`;
    assert.deepEqual(tcp(route("TCPRoute", "shop/r", { spec: none })), ["nowhere"]);
  });

  test("an older VirtualService comes first, and one with conditions leaves the rest to the route", () => {
    const younger = route("TCPRoute", "shop/r", { metadata: created(9), spec: to("a") });
    const older = (match: string) =>
      vs("shop/v", `hosts: [x]\ntcp: [{ ${match}route: [{ destination: { host: b } }] }]`);
    assert.deepEqual(tcp(younger + older("")), ["b"]);
    assert.deepEqual(tcp(younger + older("match: [{ sourceLabels: { app: other } }], ")), ["a"]);
  });

  test("a TLSRoute is for the name of the Service, or for its hostnames", () => {
    const plain = route("TLSRoute", "shop/r", { spec: to("a") });
    assert.deepEqual([tls(plain, host), tls(plain, "other.org")], [["a"], ["x"]]);
    const named = route("TLSRoute", "shop/r", { spec: `hostnames: [other.org]\n${to("a")}` });
    assert.deepEqual([tls(named, host), tls(named, "other.org")], [["x"], ["a"]]);
  });

  test("of several hostnames, those count that the Service is among; without any of them it is for all names", () => {
    const both = route("TLSRoute", "shop/r", {
      spec: `hostnames: [other.org, "*.shop.svc.cluster.local"]\n${to("a")}`,
    });
    assert.deepEqual([tls(both, host), tls(both, "other.org")], [["a"], ["x"]]);
    const others = route("TLSRoute", "shop/r", { spec: `hostnames: [other.org, else.org]\n${to("a")}` });
    assert.deepEqual([tls(others, host), tls(others, "more.org")], [["a"], ["a"]]);
  });

  test("the most specific name in TLS wins, whatever the order of routes is", () => {
    const wide = 'match: [{ sniHosts: ["*.shop.svc.cluster.local"] }], route: [{ destination: { host: a } }]';
    const exact = `match: [{ sniHosts: [${host}] }], route: [{ destination: { host: b } }]`;
    const text = vs("shop/v", `hosts: ["*.shop.svc.cluster.local"]\ntls: [{ ${wide} }, { ${exact} }]`);
    assert.deepEqual([tls(text, host), tls(text, "y.shop.svc.cluster.local")], [["b"], ["a"]]);
  });

  test("a route for a ServiceEntry is for each of its hosts", () => {
    const entry = serviceEntry(
      "shop/e",
      "hosts: [one.org, two.org]\nresolution: DNS\nports: [{ number: 80, name: tls, protocol: TLS }]",
    );
    const text = shop + backends + entry + route("TLSRoute", "shop/r", { parents: ofEntry, spec: to("a") });
    assert.deepEqual([reached(text, "one.org:80"), reached(text, "two.org:80")], [["a"], ["a"]]);
  });
});

describe("at a waypoint", () => {
  const http = (text: string) => reached(withWaypoint() + backends + text);
  const tcp = (text: string) => reached(declared(withWaypoint(), "tcp") + backends + text);
  const tls = (text: string, sni?: string) =>
    reached(declared(withWaypoint(), "tls") + backends + text, "shop/x:80", sni);
  const tcpTo = (to: string, match = "") =>
    vs(`shop/${to}`, `hosts: [x]\ntcp: [{ ${match}route: [{ destination: { host: ${to} } }] }]`);

  test("routes of all VirtualServices are tried after those of the Gateway API in its namespace", () => {
    const older = vs("shop/v", "hosts: [x]\nhttp: [{ route: [{ destination: { host: a } }] }]", 1);
    const matches = "matches: [{ path: { value: /v } }]";
    const first = httpRoute("shop/r", `rules: [{ ${matches}, backendRefs: [{ name: b, port: 80 }] }]`);
    const mesh = meshOf(withWaypoint() + backends + older + first);
    const at = (path: string) =>
      asked(mesh, "web/client", "shop/x:80", texts("path", path)).map(({ destination }) => destination?.host[0]);
    assert.deepEqual([at("/v"), at("/w")], [["b"], ["a"]]);
    const wide = vs(
      "shop/w",
      `hosts: ["*.shop.svc.cluster.local"]\nhttp: [{ route: [{ destination: { host: b } }] }]`,
      1,
    );
    const exact = vs("shop/v", "hosts: [x]\nhttp: [{ route: [{ destination: { host: a } }] }]");
    assert.deepEqual(http(exact + wide), ["b"], "an older wildcard comes before the host");
    assert.deepEqual(http(httpRoute("web/r", to("a"))), ["x"], "not those of the namespace of the client");
  });

  test("routes of tls come before those of tcp, whatever the port is and whatever TLS asks for", () => {
    const ofTls = (match: string) =>
      vs("shop/t", `hosts: [x]\ntls: [{ match: [{ ${match} }], route: [{ destination: { host: b } }] }]`, 9);
    assert.deepEqual(tcp(tcpTo("a") + ofTls(`sniHosts: [${host}]`)), ["b"]);
    assert.deepEqual(tls(ofTls(`sniHosts: [${host}]`), "other.org"), ["b"]);
    assert.deepEqual(tcp(tcpTo("a") + ofTls('sniHosts: ["*.local"]')), ["a"], "a wildcard is not the host");
    assert.deepEqual(tcp(tcpTo("a") + ofTls(`sniHosts: [${host}, x.org]`)), ["a"], "it has to be the only name");
    assert.deepEqual(tcp(tcpTo("a") + ofTls(`sniHosts: [${host}], port: 81`)), ["a"]);
  });

  test("routes for single clients are for nobody, and subnets do not matter", () => {
    assert.deepEqual(tcp(tcpTo("a", "match: [{ sourceLabels: { app: client } }], ")), ["x"]);
    assert.deepEqual(tcp(tcpTo("a", "match: [{ sourceNamespace: shop }], ")), ["x"]);
    assert.deepEqual(tcp(tcpTo("a", "match: [{ destinationSubnets: [10.0.0.0/8] }], ")), ["a"]);
  });

  test("a rule of a TLSRoute without a backend that has a weight takes all connections", () => {
    const none = "rules: [{ backendRefs: [{ name: a, port: 80, weight: 0 }] }]";
    assert.deepEqual(tls(route("TLSRoute", "shop/r", { spec: none }), host), ["nowhere"]);
    assert.deepEqual(reached(declared(shop, "tls") + backends + route("TLSRoute", "shop/r", { spec: none })), ["x"]);
  });

  test("a service that is not behind the waypoint is reached by a VirtualService for the host, and perhaps by one for a wildcard", () => {
    const far = `${namespace("far", "ambient")}${deployment("far", "y")}${service("far", "y")}`;
    const by = (hosts: string) =>
      http(
        `---\n${far}${vs("shop/v", `hosts: ["${hosts}"]\nhttp: [{ route: [{ destination: { host: y.far.svc.cluster.local } }] }]`)}`,
      );
    assert.deepEqual([by(host), by("*.shop.svc.cluster.local")], [["y"], ["undecided"]]);
  });
});

describe("a waypoint that may be another controller's", () => {
  const ofClass = (name: string) => waypoint("shop", "w").replace("istio-waypoint", name);
  const serviceWith = (labels: string) => shop.replace(service("shop", "x"), service("shop", "x", { labels }));
  const bound = serviceWith("istio.io/use-waypoint: w");
  const toA = httpRoute("shop/r", to("a"));
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ["Istio's own class", bound + ofClass("istio-waypoint") + toA, ["a"]],
    ["Istio's class of gateways", bound + ofClass("istio") + toA, ["a"]],
    ["another class", bound + ofClass("vendor") + toA, ["undecided"]],
    ["Istio's class for remote networks, of another controller", bound + ofClass("istio-remote") + toA, ["undecided"]],
    ["without routes, sidecars ask no waypoint", bound + ofClass("vendor"), ["x"]],
    [
      "a VirtualService is not left out",
      bound + ofClass("vendor") + vs("shop/v", "hosts: [x]\nhttp: [{ route: [{ destination: { host: b } }] }]"),
      ["b"],
    ],
    [
      "the route is for another port",
      bound + ofClass("vendor") + route("HTTPRoute", "shop/r", { parents: parent(", port: 81"), spec: to("a") }),
      ["x"],
    ],
    ["there is no such Gateway", bound + toA, ["a"]],
    ["the Service itself has none", serviceWith("istio.io/use-waypoint: none") + ofClass("vendor") + toA, ["a"]],
    [
      "the namespace names it",
      shop.replace(
        namespace("shop", "sidecar"),
        namespace("shop", "sidecar").replace("labels: { ", "labels: { istio.io/use-waypoint: w, "),
      ) +
        ofClass("vendor") +
        toA,
      ["undecided"],
    ],
  ];
  for (const [name, text, expected] of cases) test(name, () => assert.deepEqual(reached(text + backends), expected));

  test("a Gateway of which nothing is known leaves it open, too", () => {
    const mesh = meshOf(bound + backends + toA, { KubernetesGateway: "unknown" });
    const [only] = asked(mesh, "web/client", "shop/x:80");
    assert.equal(only?.result, "undecided");
    assert.match(
      only.route.because ?? "",
      /HTTPRoute shop\/r counts if istiod reads it: waypoint shop\/w of Service shop\/x is not known/,
    );
  });

  test("a ServiceEntry has the same", () => {
    const entry = serviceEntry(
      "shop/e",
      "hosts: [one.org]\nresolution: DNS\nports: [{ number: 80, name: http, protocol: HTTP }]",
    );
    const named = entry.replace("namespace: shop", "namespace: shop, labels: { istio.io/use-waypoint: w }");
    const toA = route("HTTPRoute", "shop/r", { parents: ofEntry, spec: to("a") });
    const at = (text: string) => reached(shop + backends + text + toA, "one.org:80");
    assert.deepEqual([at(named + ofClass("istio-waypoint")), at(named + ofClass("vendor"))], [["a"], ["undecided"]]);
  });

  test("what it enforces is not known", () => {
    const text = withWaypoint().replace("istio-waypoint", "vendor");
    const [only] = asked(meshOf(text), "web/client", "shop/x:80");
    assert.equal(only?.result, "undecided");
    assert.match(
      only.authorization.map(({ because }) => because).join(),
      /waypoint shop\/w has class "vendor", of which it is not known/,
    );
  });
});
