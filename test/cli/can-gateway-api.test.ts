import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { authorizationPolicy, peerAuthentication, requestAuthentication, shop } from "../mesh/requests/meshes.ts";
import { meshward } from "./terminal.ts";
import { fileWith } from "./written-files.ts";

const answer = (text: string, url: string, argv: readonly string[]) =>
  meshward(["can", "--mesh", fileWith(text), "--from", "outside", "--to", url, ...argv]);

/** The exit code and the verdict for requests from outside to a URL, with more options. */
async function enter(text: string, url: string, ...argv: readonly string[]) {
  const { code, out, error } = await answer(text, url, argv);
  const [first = ""] = (out || error).split("\n");
  return [code, first.slice(first.indexOf(url) + url.length).replace(/^:\d+: /, "")];
}
/** The whole answer. */
async function told(text: string, url: string, ...argv: readonly string[]): Promise<string> {
  return (await answer(text, url, argv)).out;
}

const edge = "---\napiVersion: v1\nkind: Namespace\nmetadata: { name: edge, labels: { team: edge } }\n";
const gateway = (listeners: string, more = "", name = "public") => `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: edge }
spec: { gatewayClassName: istio${more}, listeners: [${listeners}] }
`;
const open = "allowedRoutes: { namespaces: { from: All } }";
const http = `{ name: web, port: 80, protocol: HTTP, hostname: "*.example.com", ${open} }`;
const tls = "tls: { certificateRefs: [{ name: c }] }";
const https = `{ name: secure, port: 443, protocol: HTTPS, hostname: "*.example.com", ${tls}, ${open} }`;
const route = (
  spec: string,
  { kind = "HTTPRoute", name = "r", namespace = "shop", created = "2026-01-01" } = {},
) => `---
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace}, creationTimestamp: "${created}T00:00:00Z" }
spec:
  ${spec.includes("parentRefs") ? "" : "parentRefs: [{ name: public, namespace: edge }]"}
  ${spec.replaceAll("\n", "\n  ")}
`;
const toX = "backendRefs: [{ name: x, port: 80 }]";
const everything = route(`rules: [{ ${toX} }]`);
const url = "http://shop.example.com";

describe("a Gateway of the Gateway API lets requests in", () => {
  test("with the identity of the Deployment that istiod creates", async () => {
    const byGateway = (account: string) =>
      authorizationPolicy(
        "shop/p",
        `rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/${account}] } }] }]`,
      );
    const strict = peerAuthentication("shop/strict", "STRICT");
    const all = shop + edge + gateway(http) + everything + strict;
    assert.deepEqual(await enter(all + byGateway("public-istio"), url), [0, "yes"]);
    assert.equal((await enter(all + byGateway("other"), url))[0], 1);
    const named = gateway(http).replace(
      "name: public,",
      "name: public, annotations: { gateway.istio.io/service-account: other },",
    );
    assert.deepEqual(await enter(shop + edge + named + everything + strict + byGateway("other"), url), [0, "yes"]);
    const way = await told(all + byGateway("public-istio"), url);
    assert.match(way, /Comes in by Gateway edge\/public\n/);
    assert.match(way, /Route: HTTPRoute shop\/r shop\.r\.0/);
    assert.match(way, /TLS: mTLS/);
  });

  test("if a listener offers the host at the port, for the scheme", async () => {
    const all = shop + edge + gateway(http) + everything;
    for (const other of ["http://shop.example.org", "http://shop.example.com:8080", "https://shop.example.com"])
      assert.match(String((await enter(all, other))[1]), /no: reach nothing: no Gateway offers host/);
    assert.deepEqual(await enter(shop + edge + gateway(`${http}, ${https}`) + everything, "https://shop.example.com"), [
      0,
      "yes",
    ]);
  });

  test("if the hostnames of the route and of the listener have names in common", async () => {
    const of = async (hostnames: string, listener = http) =>
      (await enter(shop + edge + gateway(listener) + route(`hostnames: [${hostnames}]\nrules: [{ ${toX} }]`), url))[0];
    assert.equal(await of("shop.example.com"), 0);
    assert.equal(await of('"*.com"'), 0);
    assert.equal(await of("other.example.com"), 1);
    assert.equal(await of("shop.example.com", http.replace("*.example.com", "*.org")), 1);
    assert.equal(await of("shop.example.com", http.replace('hostname: "*.example.com", ', "")), 0);
  });

  test("if the listener allows the namespace and the kind of the route", async () => {
    const of = async (allowed: string, namespaces = "") =>
      (
        await enter(
          shop + edge + namespaces + gateway(http.replace(open, `allowedRoutes: { ${allowed} }`)) + everything,
          url,
        )
      ).slice(0, 2);
    assert.equal((await of("namespaces: { from: Same }"))[0], 1);
    assert.equal(
      (await of("namespaces: { from: Selector, selector: { matchLabels: { kubernetes.io/metadata.name: shop } } }"))[0],
      0,
    );
    assert.equal((await of("namespaces: { from: Selector, selector: { matchLabels: { team: edge } } }"))[0], 1);
    assert.equal((await of("namespaces: { from: All }, kinds: [{ kind: GRPCRoute }]"))[0], 1);
    assert.equal((await of("namespaces: { from: All }, kinds: [{ kind: HTTPRoute }]"))[0], 0);
  });

  test("if the reference names the listener by its name and port", async () => {
    const of = async (ref: string) =>
      (
        await enter(
          shop +
            edge +
            gateway(http) +
            route(`parentRefs: [{ name: public, namespace: edge, ${ref} }]\nrules: [{ ${toX} }]`),
          url,
        )
      )[0];
    assert.equal(await of("sectionName: web"), 0);
    assert.equal(await of("sectionName: other"), 1);
    assert.equal(await of("port: 80"), 0);
    assert.equal(await of("port: 81"), 1);
  });

  test("the more specific listener has the host for itself", async () => {
    const narrow = `{ name: narrow, port: 80, protocol: HTTP, hostname: shop.example.com, ${open} }`;
    const of = async (section: string) =>
      (
        await enter(
          shop +
            edge +
            gateway(`${http}, ${narrow}`) +
            route(
              `parentRefs: [{ name: public, namespace: edge, sectionName: ${section} }]\nhostnames: [shop.example.com]\nrules: [{ ${toX} }]`,
            ),
          url,
        )
      )[0];
    assert.equal(await of("web"), 1);
    assert.equal(await of("narrow"), 0);
  });

  test("of two listeners for one port and host the first counts, and TCP leaves no room for HTTP", async () => {
    const second = http.replace("name: web", "name: again");
    const toSecond = route(`parentRefs: [{ name: public, namespace: edge, sectionName: again }]\nrules: [{ ${toX} }]`);
    const [code, why] = await enter(shop + edge + gateway(`${http}, ${second}`) + toSecond, url);
    assert.equal(code, 1);
    assert.match(String(why), /no route that is attached to Gateway edge\/public has a route for the host/);
    const tcp = "{ name: tcp, port: 80, protocol: TCP }";
    assert.match(
      String((await enter(shop + edge + gateway(`${tcp}, ${http}`) + everything, url))[1]),
      /Gateway edge\/public reads port 80 as TCP, and has no route for its connections/,
    );
  });
});

describe("routes of connections", () => {
  const secure = "https://shop.example.com";
  const tcpShop = shop.replace("name: http", "name: tcp");
  const passing = `{ name: secure, port: 443, protocol: TLS, hostname: "*.example.com", tls: { mode: Passthrough }, ${open} }`;
  const named = (hostname: string, backend = toX) =>
    route(`hostnames: [${hostname}]\nrules: [{ ${backend} }]`, { kind: "TLSRoute" });

  test("a TLSRoute takes TLS that its listener passes on, by name", async () => {
    const at = tcpShop + edge + gateway(passing);
    assert.deepEqual(await enter(at + named("shop.example.com"), secure), [0, "yes"]);
    assert.equal((await enter(at + named("other.example.com"), secure))[0], 1);
    assert.equal((await enter(at + named("shop.example.com", "backendRefs: []"), secure))[0], 1);
    assert.match(await told(at + named("shop.example.com"), secure), /Route: TLSRoute shop\/r\n/);
  });

  test("a backend in another namespace needs a grant", async () => {
    const elsewhere = named("shop.example.com").replace("namespace: shop, creation", "namespace: web, creation");
    const toShop = elsewhere.replace("{ name: x,", "{ name: x, namespace: shop,");
    const grant = `---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: g, namespace: shop }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: TLSRoute, namespace: web }]
  to: [{ group: "", kind: Service }]
`;
    const at = tcpShop + edge + gateway(passing) + toShop;
    assert.match(String((await enter(at, secure))[1]), /no ReferenceGrant in namespace shop lets TLSRoute web\/r use/);
    assert.equal((await enter(at + grant, secure))[0], 0);
  });

  test("where a listener terminates TLS, TLSRoutes and TCPRoutes take what is within", async () => {
    const terminating = passing.replace("tls: { mode: Passthrough }", tls);
    const at = tcpShop + edge + gateway(terminating);
    assert.equal((await enter(at + named("shop.example.com"), secure))[0], 0);
    const tcp = route(`rules: [{ ${toX} }]`, { kind: "TCPRoute" });
    const expected = (await enter(at + tcp, secure))[0];
    assert.equal(expected, 1, "a listener of TLS accepts TLSRoutes only");
  });
});

describe("certificates of a listener", () => {
  const of = async (settings: string, more = "") =>
    (
      await enter(
        shop + edge + gateway(https.replace(tls, `tls: { ${settings} }`)) + everything + more,
        "https://shop.example.com",
      )
    )[1];
  const grant = (name = "") => `---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: g, namespace: certs }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: Gateway, namespace: edge }]
  to: [{ group: "", kind: Secret${name} }]
`;
  const elsewhere = "certificateRefs: [{ name: c, namespace: certs }]";
  test("in another namespace need a grant", async () => {
    assert.match(
      String(await of(elsewhere)),
      /listener secure of Gateway edge\/public does not work: no ReferenceGrant in namespace certs lets it use Secret c/,
    );
    assert.equal(await of(elsewhere, grant()), "yes");
    assert.equal(await of(elsewhere, grant(", name: c")), "yes");
    assert.notEqual(await of(elsewhere, grant(", name: d")), "yes");
  });
  test("are there, are Secrets, or are those of the mesh", async () => {
    assert.match(String(await of("certificateRefs: []")), /it names no certificate/);
    assert.match(String(await of("certificateRefs: [{ kind: ConfigMap, name: c }]")), /its certificate is no Secret/);
    assert.equal(await of("options: { gateway.istio.io/tls-terminate-mode: ISTIO_SIMPLE }"), "yes");
    const three = await of("certificateRefs: [{ name: a }, { name: b }, { name: c }]");
    assert.match(
      String(three),
      /listener secure of Gateway edge\/public does not work: it names more than two certificates/,
    );
    assert.match(
      String(await of("mode: Passthrough")),
      /no route that is attached to Gateway edge\/public has a route/,
    );
  });
  test("of the authorities of clients are at most one", async () => {
    const refs = ["a", "b"].map((name) => `{ name: ${name}, kind: ConfigMap, group: '' }`).join(", ");
    const [, why] = await enter(
      shop +
        edge +
        gateway(https, `, tls: { frontend: { default: { validation: { caCertificateRefs: [${refs}] } } } }`),
      "https://shop.example.com/",
    );
    assert.match(
      String(why),
      /listener secure of Gateway edge\/public does not work: it names more than one CA certificate/,
    );
  });
  test("of clients are not known, so that policies about them are undecided", async () => {
    const deny = authorizationPolicy(
      "edge/deny",
      "action: DENY\nrules: [{ from: [{ source: { principals: [cluster.local/ns/web/sa/a] } }] }]",
    );
    const asking = gateway(
      https,
      ", tls: { frontend: { default: { validation: { caCertificateRefs: [{ name: ca, kind: ConfigMap, group: '' }] } } } }",
    );
    const secure = "https://shop.example.com";
    assert.equal((await enter(shop + edge + gateway(https) + everything + deny, secure))[0], 0);
    assert.equal((await enter(shop + edge + asking + everything + deny, secure))[0], 3);
  });
});

describe("rules of attached routes", () => {
  const answer = async (routes: string, ...argv: readonly string[]) =>
    enter(shop + edge + gateway(http) + routes, url, ...argv);

  test("are tried by path, method, headers and parameters, over all routes of a hostname", async () => {
    const broad = route(`rules: [{ matches: [{ path: { value: / } }], backendRefs: [] }]`, {
      name: "broad",
      created: "2025-01-01",
    });
    const paths = route(
      `rules:
- matches: [{ path: { type: PathPrefix, value: /a } }]
  ${toX}
- matches: [{ path: { type: Exact, value: /a/none } }]
  backendRefs: [{ name: none, port: 80 }]
- matches: [{ path: { value: /m }, method: POST }, { path: { value: /h }, headers: [{ name: x-a, value: "1" }] }]
  ${toX}`,
      { name: "paths" },
    );
    const of = async (...argv: readonly string[]) => (await answer(broad + paths, ...argv))[0];
    assert.equal(await of("--path", "/a"), 0);
    assert.equal(await of("--path", "/a/b"), 0);
    assert.equal(await of("--path", "/ab"), 1);
    assert.equal(await of("--path", "/a/none"), 1);
    assert.equal(await of("--path", "/m", "--method", "POST"), 0);
    assert.equal(await of("--path", "/m", "--method", "GET"), 1);
    assert.equal(await of("--path", "/h"), 3);
  });

  test("of a GRPCRoute match methods", async () => {
    const grpc = (method: string) =>
      route(`rules: [{ matches: [{ method: ${method} }], ${toX} }]`, { kind: "GRPCRoute" });
    const of = async (method: string, path: string) => (await answer(grpc(method), "--path", path))[0];
    assert.equal(await of("{ service: shop.Cart, method: Add }", "/shop.Cart/Add"), 0);
    assert.equal(await of("{ service: shop.Cart, method: Add }", "/shop.Cart/Remove"), 1);
    assert.equal(await of("{ service: shop.Cart }", "/shop.Cart/Remove"), 0);
    assert.equal(await of("{ service: shop.Cart }", "/shop.Cars/Remove"), 1);
    assert.equal(await of("{ method: Add }", "/other/Add"), 0);
    assert.equal(await of("{ type: RegularExpression, service: 'shop[.].*', method: Add }", "/shop.Cart/Add"), 3);
  });

  test("redirect, answer with 500 without a backend, and are dropped with what istiod does not support", async () => {
    assert.match(
      String(
        (
          await answer(route("rules: [{ filters: [{ type: RequestRedirect, requestRedirect: { scheme: https } }] }]"))
        )[1],
      ),
      /the route redirects the client/,
    );
    assert.match(
      String((await answer(route("rules: [{ backendRefs: [{ name: x, port: 80, weight: 0 }] }]")))[1]),
      /status 500/,
    );
    const [code, why] = await answer(route(`rules: [{ ${toX} }, { filters: [{ type: ExtensionRef }], ${toX} }]`));
    assert.equal(code, 1);
    assert.match(String(why), /istiod drops all rules of HTTPRoute shop\/r: filter "ExtensionRef" is not supported/);
    assert.match(
      String((await answer(route("rules: [{ backendRefs: [{ name: x }] }]")))[1]),
      /backend "x" has no port/,
    );
    const mirror = `filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: none, port: 80 } } }]`;
    assert.equal((await answer(route(`rules: [{ ${mirror}, ${toX} }]`)))[0], 0);
  });

  test("lose the share of a backend that is missing, of no supported kind, or not granted", async () => {
    const half = (backend: string) =>
      route(`rules: [{ backendRefs: [{ name: x, port: 80, weight: 3 }, { ${backend}, port: 80, weight: 1 }] }]`);
    assert.deepEqual(await answer(half("name: none")), [3, "some: 75% of all of them only"]);
    assert.deepEqual(await answer(half("kind: Bucket, group: x.org, name: b")), [3, "some: 75% of all of them only"]);
    const grant = `---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: g, namespace: shop }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge }]
  to: [{ group: "", kind: Service }]
`;
    assert.equal((await answer(half("name: x, namespace: edge")))[0], 3);
    const crossing = route("rules: [{ backendRefs: [{ name: x, namespace: shop, port: 80 }] }]", { namespace: "edge" });
    const local = crossing.replace("parentRefs: [{ name: public, namespace: edge }]", "parentRefs: [{ name: public }]");
    assert.match(
      String((await answer(local))[1]),
      /no ReferenceGrant in namespace shop lets HTTPRoute edge\/r use Service x/,
    );
    assert.deepEqual(await answer(local + grant), [0, "yes"]);
  });

  test("rewrite the path and the host that policies of the workload see", async () => {
    const rewrite = (filter: string) =>
      route(
        `rules: [{ matches: [{ path: { value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { ${filter} } }], ${toX} }]`,
      );
    const only = (operation: string) =>
      authorizationPolicy("shop/p", `rules: [{ to: [{ operation: { ${operation} } }] }]`);
    const of = async (filter: string, operation: string, path: string) =>
      (await answer(rewrite(filter) + only(operation), "--path", path))[0];
    const prefix = "path: { type: ReplacePrefixMatch, replacePrefixMatch: /x }";
    assert.equal(await of(prefix, "paths: [/x/b]", "/a/b"), 0);
    assert.equal(await of(prefix, "paths: [/x]", "/a"), 0);
    assert.equal(await of(prefix, "paths: [/a*]", "/a/b"), 1);
    const away = "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }";
    assert.equal(await of(away, "paths: [/b]", "/a/b"), 0);
    assert.equal(await of(away, "paths: [/]", "/a"), 0);
    const whole = "path: { type: ReplaceFullPath, replaceFullPath: /all }";
    assert.equal(await of(whole, "paths: [/all]", "/a/b"), 0);
    assert.equal(await of("hostname: inner", "hosts: [inner]", "/a/b"), 0);
    assert.equal(await of("hostname: inner", "hosts: [shop.example.com]", "/a/b"), 1);
  });
});

describe("policies of a Gateway of the Gateway API", () => {
  const all = shop + edge + gateway(http) + everything;
  const deny = (scope: string) =>
    authorizationPolicy("edge/deny", `${scope}\naction: DENY\nrules: [{ to: [{ operation: { paths: [/admin*] } }] }]`);
  const of = async (scope: string) => (await enter(all + deny(scope), url, "--path", "/admin/x"))[0];
  test("target it, select its pods, or are those of the namespace", async () => {
    const target = (name: string) => `targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: ${name} }]`;
    assert.equal(await of(target("public")), 1);
    assert.equal(await of(target("other")), 0);
    assert.equal(await of("selector: { matchLabels: { gateway.networking.k8s.io/gateway-name: public } }"), 1);
    assert.equal(await of("selector: { matchLabels: { app: other } }"), 0);
    assert.equal((await enter(all + deny("").replace("edge/deny", "edge/deny"), url, "--path", "/admin/x"))[0], 1);
  });
  test("about tokens need a RequestAuthentication there", async () => {
    const allow = authorizationPolicy("edge/allow", "rules: [{ from: [{ source: { requestPrincipals: ['*'] } }] }]");
    assert.equal((await enter(all + allow, url))[0], 1);
    const tokens = requestAuthentication("edge/t", "jwtRules: [{ issuer: https://issuer.example }]");
    assert.equal((await enter(all + allow + tokens, url))[0], 3);
  });
});

describe("a Gateway that somebody else deploys", () => {
  const proxy = `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: proxy, namespace: edge }
spec:
  template:
    metadata: { labels: { istio: edge }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: by-hand, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: v1
kind: Service
metadata: { name: entry, namespace: edge }
spec: { selector: { istio: edge }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
`;
  const named = (value: string, listener = http) =>
    gateway(listener, `, addresses: [{ type: Hostname, value: ${value} }]`);
  const byHand = authorizationPolicy(
    "shop/p",
    "rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/by-hand] } }] }]",
  );
  test("has the pods of the Service that its addresses name", async () => {
    for (const value of ["entry", "entry.edge.svc.cluster.local"])
      assert.deepEqual(await enter(shop + edge + proxy + named(value) + everything + byHand, url), [0, "yes"]);
  });
  test("lets nothing in without that Service, at a port that it does not have, and without pods", async () => {
    const of = async (text: string, to = url) => (await enter(shop + edge + text + everything, to))[1];
    assert.match(
      String(await of(proxy + named("other"))),
      /no Service of its namespace has a name in spec.addresses of Gateway edge\/public/,
    );
    assert.match(
      String(await of(proxy + named("entry", http.replace("port: 80", "port: 81")), `${url}:81`)),
      /Service edge\/entry of Gateway edge\/public has no port 81/,
    );
    assert.match(
      String(await of(proxy.replaceAll("istio: edge }, annot", "istio: none }, annot") + named("entry"))),
      /Service edge\/entry of Gateway edge\/public selects no workload/,
    );
  });
});
