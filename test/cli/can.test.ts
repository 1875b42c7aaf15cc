import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ReportedAnswer } from "../../src/report/answer.ts";
import {
  ambientShop,
  authorizationPolicy,
  deployment,
  destinationRule,
  namespace,
  peerAuthentication,
  requestAuthentication,
  service,
  shop,
  virtualService,
  waypoint,
} from "../mesh/requests/meshes.ts";
import { meshward } from "./terminal.ts";
import { fileWith } from "./written-files.ts";

const getOnly = authorizationPolicy(
  "shop/get",
  "rules: [{ from: [{ source: { namespaces: [web] } }], to: [{ operation: { methods: [GET] } }] }]",
);
const canary = [
  deployment("shop", "x2", { app: "x", labels: "version: v2" }),
  destinationRule("shop/x", "host: x\nsubsets: [{ name: v2, labels: { version: v2 } }]"),
  virtualService(
    "shop/x",
    "hosts: [x]\nhttp:\n- name: canary\n  route: [{ destination: { host: x, subset: v2 }, weight: 10 }, { destination: { host: x }, weight: 90 }]",
  ),
].join("");
const mesh = fileWith(shop + getOnly);
const asMesh = (text: string) => ["--mesh", fileWith(text)];
const ask = (...argv: readonly string[]) =>
  meshward(["can", ...(argv.includes("--mesh") ? [] : ["--mesh", mesh]), ...argv]);
const fromClient = ["--from", "deployment/web/client", "--to", "x.shop:80"];

describe("a Service", () => {
  test("has the names that DNS of the cluster resolves, in any case, with or without a dot at the end", async () => {
    const full = "x.shop.svc.cluster.local";
    for (const to of ["x.shop", "x.shop.svc", full, `${full}.`, "x.shop.", "X.Shop", full.toUpperCase()]) {
      const { out } = await ask("--from", "deployment/web/client", "--to", `${to}:80`, "--method", "GET");
      assert.equal(out.split("\n")[0], "GET from Deployment web/client to x.shop:80: yes", to);
    }
  });

  test("without a namespace is one of the namespace of the caller, if the default one has none", async () => {
    const { out } = await ask("--from", "serviceaccount/shop/x", "--to", "x:80", "--method", "GET");
    assert.match(out, /^GET from service account shop\/x to x\.shop:80: no/);
    const { error } = await ask("--from", "deployment/web/client", "--to", "x:80");
    assert.match(error, /there is no Service default\/x in this mesh; did you mean x\.shop\?/);
  });
});

describe("what an answer does not say about its callers is noted", () => {
  test("no known workload runs with the service account", async () => {
    const note = /No known workload runs with service account web\/stranger: the answer is for pods that may come/;
    const { out } = await ask("--from", "serviceaccount/web/stranger", "--to", "x.shop:80");
    assert.match(out, note);
    assert.doesNotMatch((await ask("--from", "deployment/web/client", "--to", "x.shop:80")).out, /No known workload/);
    const shown = await meshward(["connections", "--mesh", mesh, "--from", "serviceaccount/web/stranger"]);
    assert.match(shown.out + shown.error, note);
  });

  test("a Sidecar of another namespace keeps its workloads from the host", async () => {
    const sidecar = (hosts: string) =>
      `---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: { name: default, namespace: web }\nspec: { egress: [{ hosts: [${hosts}] }] }\n`;
    const about = async (hosts: string, from = "mesh") =>
      (await ask("--from", from, "--to", "x.shop:80", ...asMesh(shop + sidecar(hosts)))).out;
    const note =
      /Sidecars of other namespaces are not counted: Sidecar web\/default does not import the host; ask with --from namespace\/web/;
    assert.match(await about("./*"), note);
    assert.doesNotMatch(await about("shop/*"), /Sidecars of other/);
    assert.doesNotMatch(await about("./*", "namespace/web"), /Sidecars of other/);
  });
});

describe("the answer and its exit code", () => {
  test("a share of the requests of some callers is said in whole words", async () => {
    const half =
      "hosts: [x]\nhttp:\n- route: [{ destination: { host: x }, weight: 50 }, { destination: { host: none }, weight: 50 }]";
    const { out } = await ask("--from", "mesh", "--to", "x.shop:80", ...asMesh(shop + virtualService("shop/x", half)));
    assert.match(out, /: some: 50% of the requests from .* only\n/);
    assert.doesNotMatch(out.split("\n")[0] ?? "", /of from/);
  });

  test("yes, no, some and undecided", async () => {
    const yes = await ask(...fromClient, "--method", "GET");
    assert.deepEqual([yes.code, yes.out.split("\n")[0]], [0, "GET from Deployment web/client to x.shop:80: yes"]);
    const no = await ask(...fromClient, "--method", "POST", "--path", "/payments/1");
    assert.deepEqual(
      [no.code, no.out.split("\n")[0]],
      [
        1,
        "POST /payments/1 from Deployment web/client to x.shop:80: no: denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/get",
      ],
    );
    const some = await ask(...fromClient);
    assert.deepEqual(
      [some.code, some.out.split("\n")[0]],
      [3, "Requests from Deployment web/client to x.shop:80: some: GET only"],
    );
    const custom = authorizationPolicy("shop/c", "action: CUSTOM\nprovider: { name: ext }\nrules: [{}]");
    const open = await ask(...fromClient, ...asMesh(shop + custom));
    assert.deepEqual(
      [open.code, open.out.split("\n")[0]],
      [
        3,
        'Requests from Deployment web/client to x.shop:80: undecided: the provider "ext" decides, which is not known',
      ],
    );
  });

  test("the whole way is a tree: route, share, subset, TLS, policies, and those that came close", async () => {
    const { out } = await ask(
      ...fromClient,
      "--method",
      "POST",
      ...asMesh(shop + getOnly + canary + peerAuthentication("shop/strict", "STRICT")),
    );
    assert.equal(
      out,
      `POST from Deployment web/client to x.shop:80: no: denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/get
├─ 10% of all of them: denied
│  ├─ Route: VirtualService shop/x http[0] canary
│  │  ├─ 10% to x.shop.svc.cluster.local:80 subset v2
│  │  │  └─ DestinationRule shop/x (subset v2: version=v2)
│  │  └─ 90% to x.shop.svc.cluster.local:80
│  │     └─ DestinationRule shop/x
│  ├─ TLS: mTLS; the server is STRICT, by PeerAuthentication shop/strict
│  ├─ Authorization at the sidecar: denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/get
│  │  └─ AuthorizationPolicy shop/get rule 1 comes close: it allows other callers or other requests
│  └─ Workloads: Deployment shop/x2
├─ 90% of all of them: denied
│  ├─ Route: VirtualService shop/x http[0] canary
│  │  ├─ 10% to x.shop.svc.cluster.local:80 subset v2
│  │  │  └─ DestinationRule shop/x (subset v2: version=v2)
│  │  └─ 90% to x.shop.svc.cluster.local:80
│  │     └─ DestinationRule shop/x
│  ├─ TLS: mTLS; the server is STRICT, by PeerAuthentication shop/strict
│  ├─ Authorization at the sidecar: denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy shop/get
│  │  └─ AuthorizationPolicy shop/get rule 1 comes close: it allows other callers or other requests
│  └─ Workloads: Deployment shop/x, Deployment shop/x2
└─ Assumed, because there is no mesh config: root namespace istio-system, domain cluster.local, auto mTLS
`,
    );
  });

  test("a waypoint and ztunnel decide one after the other", async () => {
    const text =
      ambientShop.replace("name: shop, labels: { ", "name: shop, labels: { istio.io/use-waypoint: w, ") +
      waypoint("shop", "w") +
      authorizationPolicy(
        "shop/w",
        "targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: w }]\nrules: [{}]",
      ) +
      authorizationPolicy("shop/z", "rules: [{ from: [{ source: { serviceAccounts: [w] } }] }]");
    const { code, out } = await ask(...fromClient, ...asMesh(text));
    assert.equal(code, 0);
    assert.match(
      out,
      /Through waypoint shop\/w, over HBONE\n│ {2}│ {2}└─ Authorization at the waypoint: allowed, by AuthorizationPolicy shop\/w rule 1\n/,
    );
    assert.match(out, /Authorization by ztunnel: allowed, by AuthorizationPolicy shop\/z rule 1\n/);
  });

  test("headers, claims, tokens, hosts and addresses are conditions, and the others are left open", async () => {
    const policy = authorizationPolicy(
      "shop/p",
      `rules:
- from: [{ source: { requestPrincipals: ["i/admin"], ipBlocks: [10.0.0.0/8] } }]
  to: [{ operation: { hosts: [x.example] } }]
  when: [{ key: "request.headers[x-a]", values: [v] }, { key: "request.auth.claims[role]", values: [admin] }]`,
    );
    const here = asMesh(shop + requestAuthentication("shop/jwt") + policy);
    const all = [
      "--header",
      "X-A=v",
      "--claim",
      "role=admin",
      "--token",
      "i/admin",
      "--host",
      "x.example",
      "--source-ip",
      "10.1.0.0/16",
    ];
    const yes = await ask(...fromClient, ...here, ...all);
    assert.deepEqual(
      [yes.code, yes.out.split("\n")[0]],
      [
        0,
        "to host x.example with header x-a: v with a token i/admin with claim role: admin from address 10.1.0.0/16 from Deployment web/client to x.shop:80: yes",
      ],
    );
    for (let i = 0; i < all.length; i += 2) {
      const some = await ask(...fromClient, ...here, ...all.toSpliced(i, 2));
      assert.equal(some.code, 3, `without ${all[i]}: ${some.out}`);
      assert.match(some.out, /: some: .* only\n/);
    }
    const otherwise = await ask(...fromClient, ...here, "--header", "x-a=w");
    assert.equal(otherwise.code, 1);
  });

  test("callers of every kind", async () => {
    const answers = await Promise.all(
      ["namespace/web", "sa/web/client", "serviceaccount/web/new", "mesh", "outside", "deploy/web/client"].map(
        async (from) => {
          const { code, error } = await ask("--from", from, "--to", "service/shop/x:http", "--method", "GET");
          return [from, code, error];
        },
      ),
    );
    assert.deepEqual(answers, [
      ["namespace/web", 0, ""],
      ["sa/web/client", 0, ""],
      ["serviceaccount/web/new", 0, ""],
      ["mesh", 3, ""],
      ["outside", 1, ""],
      ["deploy/web/client", 0, ""],
    ]);
    const { out } = await ask("--from", "mesh", "--to", "x.shop", "--method", "GET");
    assert.match(out, /: some: from namespace web from the rest of the mesh through a sidecar only\n/);
  });

  test("an ingress gateway has an identity and no routes for the Service", async () => {
    const gateway = `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: gw, namespace: web }
spec:
  template:
    metadata: { labels: { istio: ingressgateway }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: gw, containers: [{ name: istio-proxy, image: auto }] }
`;
    const named = authorizationPolicy("shop/p", "rules: [{ from: [{ source: { serviceAccounts: [web/gw] } }] }]");
    for (const from of ["ingress", "ingress/web", "ingress/web/gw"]) {
      const { code, out } = await ask("--from", from, "--to", "x.shop", ...asMesh(shop + gateway + named));
      assert.equal(code, 0, out);
    }
    const { code, error } = await ask("--from", "ingress/web/other", "--to", "x.shop", ...asMesh(shop + gateway));
    assert.deepEqual(
      [code, error],
      [2, "meshward: --from: there is no ingress gateway web/other: the ingress gateways are Deployment web/gw\n"],
    );
  });

  test("pods of a Gateway with containers of their own are none, and the error names them", async () => {
    const own = `---
apiVersion: apps/v1
kind: Deployment
metadata: { name: gw, namespace: web }
spec:
  template:
    metadata: { labels: { istio: ingressgateway }, annotations: { inject.istio.io/templates: gateway } }
    spec: { containers: [{ name: istio-proxy, image: auto }, { name: own, image: own }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: main, namespace: web }
spec: { selector: { istio: ingressgateway }, servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }] }
`;
    const { code, error } = await ask("--from", "ingress", "--to", "x.shop", ...asMesh(shop + own));
    assert.deepEqual(
      [code, error],
      [
        2,
        "meshward: --from: there is no ingress gateway: the mesh contains none whose pods run a proxy alone; Deployment web/gw, which Gateway web/main selects, has containers besides the proxy: ask with --from deployment/web/gw\n",
      ],
    );
  });

  test("pods can be asked about by the name of their workload", async () => {
    const { code, out } = await ask(
      "--from",
      "deployment/web/client",
      "--to",
      "deployment/shop/x:8080",
      "--method",
      "GET",
    );
    assert.deepEqual([code, out.split("\n")[0]], [0, "GET from Deployment web/client to Deployment shop/x:8080: yes"]);
  });
});

describe("a change", () => {
  const post = ["--method", "POST"];

  test("is answered for as if it were applied, and the answer before is shown", async () => {
    const allow = fileWith(authorizationPolicy("shop/post", "rules: [{ to: [{ operation: { methods: [POST] } }] }]"));
    const { code, out } = await ask(...fromClient, ...post, "--change", allow);
    assert.equal(code, 0);
    const [title, before] = out.split("\n");
    assert.equal(title, "POST from Deployment web/client to x.shop:80: yes");
    assert.match(before ?? "", /^├─ Before the change: no: denied, because no rule of the ALLOW policies/);
  });

  test("can delete what decides, and bring a caller that was not there", async () => {
    const deleted = await ask(...fromClient, ...post, "--delete", fileWith(getOnly));
    assert.equal(deleted.code, 0, deleted.error);
    const added = fileWith(deployment("web", "fresh"));
    const { code, out } = await ask(
      "--from",
      "deployment/web/fresh",
      "--to",
      "x.shop",
      "--method",
      "GET",
      "--change",
      added,
      "--format",
      "json",
    );
    const answer = JSON.parse(out) as ReportedAnswer;
    assert.deepEqual([code, answer.verdict], [0, "yes"]);
    assert.match(answer.before ?? "", /--from: there is no Deployment web\/fresh in this mesh/);
  });

  test("that brings the Service: before it, the name was none of a host outside", async () => {
    const added = fileWith(
      `${namespace("news", "sidecar")}---\n${deployment("news", "paper")}${service("news", "paper")}`,
    );
    const { out, error } = await ask("--from", "mesh", "--to", "paper.news:80", "--change", added);
    assert.match(out, /Before the change: .*there is no Service news\/paper in this mesh/, error);
    const outside = await ask("--from", "mesh", "--to", "x.shpo.:80");
    assert.match(outside.out, /to x\.shpo:80: yes/, "a name that ends with a dot is whole");
  });

  test("of something that the mesh does not have is an error", async () => {
    const { code, error } = await ask(...fromClient, "--delete", fileWith(authorizationPolicy("shop/other", "{}")));
    assert.equal(code, 2);
    assert.match(error, /the mesh has no AuthorizationPolicy shop\/other/);
  });
});

describe("JSON", () => {
  test("has the verdict, the parts with the objects that decide, and the lines of the tree", async () => {
    const { code, out } = await ask(...fromClient, "--path", "/a", "--format", "json");
    const answer = JSON.parse(out) as ReportedAnswer;
    assert.equal(code, 3);
    assert.deepEqual([answer.kind, answer.verdict, answer.text], ["Answer", "partly", "some: GET only"]);
    assert.deepEqual(answer.question, { from: "Deployment web/client", to: "x.shop", port: 80, requests: "/a" });
    assert.deepEqual(
      answer.parts.map(({ result, requests, example, share, sender }) => ({
        result,
        requests,
        example,
        share,
        sender,
      })),
      [
        {
          result: "accepted",
          requests: ["GET"],
          example: "GET /a from service account web/client",
          share: 1,
          sender: "proxy",
        },
        {
          result: "denied",
          requests: ["any method but GET"],
          example: "POST /a from service account web/client",
          share: 1,
          sender: "proxy",
        },
      ],
    );
    assert.deepEqual(
      answer.parts[1]?.objects.map(({ kind, name }) => [kind, name]),
      [["AuthorizationPolicy", "get"]],
    );
    assert.deepEqual(
      answer.parts[0]?.lines.map(({ key, value }) => [key, value]),
      [
        ["route", "arrives"],
        ["tls", "mtls"],
        ["authorization", "allowed"],
        ["workloads", null],
      ],
    );
  });
});

describe("bad input says what was found and what to do", () => {
  const cases: readonly (readonly [argv: readonly string[], error: RegExp])[] = [
    [
      ["--from", "deployment/web/client", "--to", "nothing.shop"],
      /--to: there is no Service shop\/nothing in this mesh; meshward explain namespace\/shop shows what is there/,
    ],
    [["--from", "mesh", "--to", "x.shpo"], /--to: there is no Service shpo\/x in this mesh; did you mean x\.shop\?/],
    [["--from", "mesh", "--to", "x.shpo:80"], /--to: there is no Service shpo\/x in this mesh; did you mean x\.shop\?/],
    [["--from", "mesh", "--to", "x.other.svc:80"], /--to: there is no Service other\/x in this mesh/],
    [["--from", "mesh", "--to", "x.shop:81"], /--to: Service shop\/x has no port "81"; its ports are 80 \(http\)/],
    [["--from", "mesh", "--to", "a/b/c/d"], /--to: "a\/b\/c\/d" is no destination; use api\.payments:8080/],
    [["--from", "mesh", "--to", "namespace/shop"], /--to: "namespace\/shop" is neither a Service nor a workload/],
    [
      ["--from", "mesh", "--to", "deployment/shop/x:nothing"],
      /give a port of shop\/x behind a colon; its containers declare 8080 \(web\)/,
    ],
    [
      ["--from", "depoyment/web/client", "--to", "x.shop"],
      /--from: "depoyment\/web\/client" is no caller; did you mean deployment\/web\/client\?/,
    ],
    [["--from", "everybody", "--to", "x.shop"], /--from: "everybody" is no caller; use deployment\/orders\/api, /],
    [
      ["--from", "others", "--to", "x.shop"],
      /--from: "others" has a meaning only beside other callers, in a MeshwardIntent/,
    ],
    [
      ["--from", "deployment/web/cleint", "--to", "x.shop"],
      /--from: there is no Deployment web\/cleint in this mesh; did you mean deployment\/web\/client\?/,
    ],
    [
      ["--from", "namespace/wbe", "--to", "x.shop"],
      /--from: there is no namespace "wbe" in this mesh; did you mean namespace\/web\?/,
    ],
    [
      ["--from", "sa/web/cleint", "--to", "x.shop"],
      /--from: no workload of namespace web runs with service account "cleint"; did you mean serviceaccount\/web\/client\?/,
    ],
    [["--from", "mesh", "--to", "x.shop", "--path", "a"], /--path "a": a path starts with \//],
    [["--from", "mesh", "--to", "x.shop", "--path", "/a?b"], /--path "\/a\?b": a path has no query/],
    [["--from", "mesh", "--to", "x.shop", "--method", "GET /"], /--method "GET \/": a method is a word such as GET/],
    [["--from", "mesh", "--to", "x.shop", "--method", "get"], /--method "get": methods .* case: write GET/],
    [["--from", "mesh", "--to", "x.shop", "--header", "x-a"], /--header "x-a": write name=value/],
    [["--from", "mesh", "--to", "x.shop", "--source-ip", "10.0.0.256"], /--source-ip "10\.0\.0\.256": give an address/],
    [["--from", "mesh", "--to", "x.shop", "--remote-ip", "here"], /--remote-ip "here": give an address/],
    [["--from", "mesh", "--to", "x.shop", "--host", "http://x"], /--host "http:\/\/x": a host has no scheme/],
    [
      ["--from", "mesh", "--to", "x.shop", "--token", "admin"],
      /--token "admin": a token is written as issuer\/subject/,
    ],
    [["--to", "x.shop"], /required option '--from <caller>' not specified/],
  ];
  for (const [argv, error] of cases)
    test(argv.join(" "), async () => {
      const found = await ask(...argv);
      assert.deepEqual([found.code, found.out], [2, ""]);
      assert.match(found.error, error);
    });

  test("a Service with several ports wants one of them", async () => {
    const two = shop.replace("ports: [{ name: http", "ports: [{ name: grpc, port: 81 }, { name: http");
    const { code, error } = await ask("--from", "mesh", "--to", "x.shop", ...asMesh(two));
    assert.deepEqual(
      [code, error],
      [2, "meshward: --to: Service shop/x has several ports; choose one of 81 (grpc), 80 (http): --to x.shop:81\n"],
    );
  });

  test("patterns that take too much to compare end with an error, soon", async () => {
    const paths = Array.from({ length: 60 }, (_, i) => `/{*}/${"{*}/".repeat(20)}x${i}`);
    const { code, error, out } = await ask("--from", "mesh", "--to", "x.shop", "--path", ...paths);
    assert.doesNotMatch(error, /bug/);
    assert.ok(
      code === 2 ? /give fewer of them/.test(error) : / and 56 more from anybody in the mesh/.test(out),
      error + out,
    );
  });

  test("a host of a ServiceEntry needs a port that it has, if there are several", async () => {
    const entry = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ext, namespace: shop }
spec:
  hosts: [api.example.com]
  ports: [{ number: 443, name: https, protocol: HTTPS }, { number: 80, name: http, protocol: HTTP }]
`;
    const { code, error } = await ask("--from", "mesh", "--to", "api.example.com", ...asMesh(shop + entry));
    assert.equal(code, 2);
    assert.match(error, /give a port of api\.example\.com; its ServiceEntries define 443 \(https\), 80 \(http\)/);
    const named = await ask("--from", "mesh", "--to", "api.example.com:https", ...asMesh(shop + entry));
    assert.equal(named.code, 0);
  });
});

describe("requests that a gateway lets in", () => {
  const gateway = (port: string, hosts = '["*.example.com"]', tls = "") => `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: main, namespace: edge }
spec: { selector: { istio: edge }, servers: [{ port: { ${port} }, hosts: ${hosts}${tls} }] }
`;
  const https = gateway(
    "number: 443, name: s, protocol: HTTPS",
    undefined,
    ", tls: { mode: SIMPLE, credentialName: c }",
  );
  const edge = `---
apiVersion: v1
kind: Namespace
metadata: { name: edge }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: proxy, namespace: edge }
spec:
  template:
    metadata: { labels: { istio: edge }, annotations: { inject.istio.io/templates: gateway } }
    spec: { serviceAccountName: proxy, containers: [{ name: istio-proxy, image: auto }] }
---
apiVersion: v1
kind: Service
metadata: { name: proxy, namespace: edge }
spec: { selector: { istio: edge }, ports: [{ name: s, port: 443, targetPort: 8443 }] }
`;
  const bound = (spec: string) => virtualService("shop/v", `hosts: [shop.example.com]\ngateways: [edge/main]\n${spec}`);
  const toX = "http: [{ match: [{ uri: { prefix: /api } }], route: [{ destination: { host: x } }] }]";
  const strict = peerAuthentication("shop/strict", "STRICT");
  const byGateway = authorizationPolicy(
    "shop/p",
    "rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/proxy] } }] }]",
  );
  const all = shop + edge + https + bound(toX) + strict + byGateway;
  const enter = async (text: string, ...argv: readonly string[]) => {
    const { code, out, error } = await ask(
      "--from",
      "outside",
      "--to",
      "https://shop.example.com",
      ...asMesh(text),
      ...argv,
    );
    return [
      code,
      (out || error).split("\n")[0]?.replace("Requests from outside the mesh to https://shop.example.com:443: ", ""),
    ];
  };

  test("are routed, and go on with the identity of the gateway", async () => {
    assert.deepEqual(await enter(all), [3, "some: /api* only"]);
    const toNothing = "{ destination: { host: none }, weight: 25 }";
    const weighted = toX.replace(
      "{ destination: { host: x } }",
      `{ destination: { host: x }, weight: 75 }, ${toNothing}`,
    );
    const partly = shop + edge + https + bound(weighted) + strict + byGateway;
    assert.deepEqual(await enter(partly), [3, "some: 75% of /api* only"]);
    assert.deepEqual(await enter(partly, "--path", "/api/1"), [
      3,
      "/api/1 from outside the mesh to https://shop.example.com:443: some: 75% of all of them only",
    ]);
    const { code, out } = await ask(
      "--from",
      "outside",
      "--to",
      "https://shop.example.com",
      "--path",
      "/api/1",
      ...asMesh(all),
    );
    assert.equal(code, 0);
    assert.match(
      out,
      /Comes in by Gateway edge\/main\n[^\n]*Authorization at the gateway: allowed[^\n]*\n[^\n]*Route: VirtualService shop\/v http\[0\]/,
    );
    assert.match(out, /TLS: mTLS/);
    const [no, why] = await enter(all, "--path", "/other");
    assert.equal(no, 1);
    assert.match(String(why), /no: reach nothing: no route matches$/);
  });

  test("pass the waypoint of the Service if a label says so, with its policies and its routes", async () => {
    const labels = "istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w, istio.io/ingress-use-waypoint: 'true'";
    const ambient = (shop + byGateway)
      .replace(/name: shop, labels: \{[^}]*\}/, `name: shop, labels: { ${labels} }`)
      .concat(waypoint("shop", "w"), edge, https, bound(toX));
    const { out } = await ask(
      "--from",
      "outside",
      "--to",
      "https://shop.example.com",
      "--path",
      "/api/1",
      ...asMesh(ambient),
    );
    assert.match(
      out,
      /Comes in by Gateway edge\/main\n[^\n]*Authorization at the gateway: allowed[^\n]*\n[^\n]*Route: VirtualService shop\/v http\[0\]\n[^\n]*100% to x.shop[^\n]*\n[^\n]*Through waypoint shop\/w, over HBONE\n[^\n]*Authorization at the waypoint: allowed[^\n]*\n[^\n]*Route: to the Service itself\n/,
    );
    // The pods see the waypoint, and not the gateway.
    assert.match(out, /Authorization by ztunnel: denied, because no rule of the ALLOW policies/);
  });

  test("are denied by policies of the gateway, also by the port of its pods", async () => {
    const deny = (port: string) =>
      authorizationPolicy(
        "edge/deny",
        `selector: { matchLabels: { istio: edge } }\naction: DENY\nrules: [{ to: [{ operation: { paths: [/api/admin*], ports: ["${port}"] } }] }]`,
      );
    const admin = ["--path", "/api/admin/x"];
    assert.equal((await enter(all + deny("8443"), ...admin))[0], 1);
    assert.equal((await enter(all + deny("443"), ...admin))[0], 0);
    assert.equal((await enter(all + deny("8443"), "--path", "/api/x"))[0], 0);
  });

  test("a host that no server offers, one without a route, and a redirect reach nothing", async () => {
    const of = async (text: string, url: string) => {
      const { code, out } = await ask("--from", "outside", "--to", url, ...asMesh(text));
      return [code, out.split("\n")[0]?.split(": ").slice(1).join(": ")];
    };
    assert.deepEqual(await of(all, "https://shop.example.org"), [
      1,
      "no: reach nothing: no Gateway offers host shop.example.org for https at port 443",
    ]);
    assert.deepEqual(await of(all, "https://shop.example.com:8443"), [
      1,
      "no: reach nothing: no Gateway offers host shop.example.com for https at port 8443",
    ]);
    assert.deepEqual(await of(all, "https://other.example.com"), [
      1,
      "no: reach nothing: no VirtualService that is bound to Gateway edge/main has a route for the host",
    ]);
    const redirects = gateway("number: 80, name: h, protocol: HTTP", undefined, ", tls: { httpsRedirect: true }");
    assert.deepEqual(await of(shop + edge + redirects + bound(toX), "http://shop.example.com"), [
      1,
      "no: reach nothing: Gateway edge/main redirects the client to HTTPS",
    ]);
    const unselected = all.replace("selector: { istio: edge }, servers", "selector: { istio: none }, servers");
    assert.deepEqual(await of(unselected, "https://shop.example.com"), [
      1,
      "no: reach nothing: Gateway edge/main selects no workload",
    ]);
  });

  test("TLS that the gateway passes on is routed by the name that the client asks for", async () => {
    const passing = gateway("number: 443, name: s, protocol: TLS", undefined, ", tls: { mode: PASSTHROUGH }");
    const named = (name: string) =>
      bound(`tls: [{ match: [{ sniHosts: [${name}] }], route: [{ destination: { host: x, port: { number: 80 } } }] }]`);
    const tcpShop = shop.replace("name: http", "name: tcp");
    const nowhere = "no: reach nothing: no VirtualService that is bound to Gateway edge/main has a route for the host";
    assert.deepEqual(await enter(tcpShop + edge + passing + bound(toX)), [1, nowhere]);
    assert.deepEqual(await enter(tcpShop + edge + passing + named("other.example.com")), [1, nowhere]);
    assert.deepEqual(await enter(tcpShop + edge + passing + named("shop.example.com") + strict + byGateway), [
      0,
      "yes",
    ]);
    // The gateway reads neither requests nor the certificate of the client.
    const policy = (rule: string) =>
      authorizationPolicy("edge/deny", `selector: { matchLabels: { istio: edge } }\naction: DENY\nrules: [${rule}]`);
    const named443 = tcpShop + edge + passing + named("shop.example.com");
    const paths = policy("{ to: [{ operation: { paths: [/api], ports: ['8443'] } }] }");
    assert.equal((await enter(named443 + paths))[0], 1);
    const sni = policy("{ when: [{ key: connection.sni, values: [other.example.com] }] }");
    assert.equal((await enter(named443 + sni))[0], 0);
  });

  test("what a server of TLS terminates without reading HTTP follows the first route of tcp for its port", async () => {
    const terminating = gateway("number: 443, name: s, protocol: TLS", undefined, ", tls: { mode: SIMPLE }");
    const tcp = (port: number, host = "x") =>
      `{ match: [{ port: ${port} }], route: [{ destination: { host: ${host}, port: { number: 80 } } }] }`;
    const tcpShop = shop.replace("name: http", "name: tcp") + edge + terminating;
    assert.equal((await enter(tcpShop + bound(`tcp: [${tcp(443)}]`)))[0], 0);
    assert.equal((await enter(tcpShop + bound(`tcp: [${tcp(444)}, ${tcp(443)}, ${tcp(443, "none")}]`)))[0], 0);
    assert.equal((await enter(tcpShop + bound(`tcp: [${tcp(444)}]`)))[0], 1);
  });

  test("connections of TCP follow the route for their port, and nothing but a server of TCP takes them", async () => {
    const tcp = gateway("number: 5432, name: db, protocol: TCP", '["*"]');
    const route = bound(
      "tcp: [{ match: [{ port: 5432 }], route: [{ destination: { host: x, port: { number: 80 } } }] }]",
    );
    const connect = async (text: string, port: number) => {
      const argv = ["--from", "outside", "--to", `tcp://db.example.org:${port}`, ...asMesh(text)];
      const { code, out } = await ask(...argv);
      return [code, out.split("\n")[0]?.replace(/.*?: /u, "")];
    };
    const tcpShop = shop.replace("name: http", "name: tcp") + edge + tcp;
    assert.deepEqual(await connect(tcpShop + route, 5432), [0, "yes"]);
    const [code, answer] = await connect(tcpShop, 5432);
    assert.equal(code, 1);
    assert.match(String(answer), /reads port 5432 as TCP, and has no route/);
    const missing = "no: reach nothing: no Gateway offers host db.example.org for tcp at port";
    assert.deepEqual(await connect(tcpShop + https + route, 443), [1, `${missing} 443`]);
  });

  test("what is not examined is undecided: services by the names of their clusters, two Gateways, gateways between networks", async () => {
    const passing = gateway("number: 443, name: s, protocol: TLS", undefined, ", tls: { mode: AUTO_PASSTHROUGH }");
    assert.deepEqual(await enter(shop + edge + passing + bound(toX)), [
      3,
      "undecided: Gateway edge/main leads TLS to services that it names by their cluster (AUTO_PASSTHROUGH), which is not examined",
    ]);
    const second = https.replace("name: main", "name: second");
    assert.match(
      String((await enter(all + second))[1]),
      /both offer host shop.example.com at the same port and proxy$/,
    );
    const between = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: api, namespace: edge }
spec: { gatewayClassName: istio-east-west, listeners: [{ name: s, port: 443, protocol: TLS, hostname: "*.example.com" }] }
`;
    assert.match(
      String((await enter(all + between))[1]),
      /^undecided: Gateway edge\/api of class istio-east-west offers host/,
    );
  });

  test("the most specific name counts, several VirtualServices are merged, and what takes everything comes last", async () => {
    const route = (name: string, host: string, http: string, created: string) =>
      virtualService(`shop/${name}`, `hosts: ["${host}"]\ngateways: [edge/main]\nhttp: [${http}]`).replace(
        `name: ${name},`,
        `name: ${name}, creationTimestamp: "${created}",`,
      );
    const everything = "{ route: [{ destination: { host: x } }] }";
    const wide = route("wide", "*.example.com", everything, "2026-01-01T00:00:00Z");
    const old = route("old", "shop.example.com", everything, "2026-01-02T00:00:00Z");
    const closed = "{ match: [{ uri: { prefix: /closed } }], directResponse: { status: 403 } }";
    const young = route("young", "shop.example.com", closed, "2026-01-03T00:00:00Z");
    assert.equal((await enter(shop + edge + https + wide + old + young, "--path", "/closed"))[0], 1);
    assert.equal((await enter(shop + edge + https + wide + old + young, "--path", "/open"))[0], 0);
    // Without a route for the name itself, the wildcard counts.
    const empty = route("old", "shop.example.com", "{ delegate: { name: missing } }", "2026-01-02T00:00:00Z");
    assert.equal((await enter(shop + edge + https + wide + empty))[0], 0);
    assert.equal((await enter(shop + edge + https + young, "--path", "/open"))[0], 1);
  });

  test("a URL with more than a host, and another caller, are errors that say what to do", async () => {
    const told = async (...argv: readonly string[]) => {
      const { code, error } = await ask(...argv, ...asMesh(all));
      return [code, error.split("\n")[0]];
    };
    assert.deepEqual(await told("--from", "outside", "--to", "https://shop.example.com/cart"), [
      2,
      "meshward: --to: give only the host, as https://shop.example.com, and the path with --path",
    ]);
    assert.deepEqual(await told("--from", "outside", "--to", "ftp://shop.example.com"), [
      2,
      'meshward: --to: "ftp://shop.example.com" is no URL of a host; use https://shop.example.com or tcp://db.example.com:5432',
    ]);
    assert.deepEqual(await told("--from", "mesh", "--to", "https://shop.example.com"), [
      2,
      "meshward: --to: a URL is the host of an ingress gateway, to which requests come with --from outside; for callers in the mesh, use shop.example.com:443",
    ]);
    for (const [to, problem] of [
      ["tcp://db.example.com", '"tcp://db.example.com" names no port; use tcp://db.example.com:5432'],
      ["tcp://DB.example.com:1/x", "give only the host and the port, as tcp://db.example.com:1"],
    ])
      assert.deepEqual(await told("--from", "outside", "--to", to ?? ""), [2, `meshward: --to: ${problem}`]);
  });
});
