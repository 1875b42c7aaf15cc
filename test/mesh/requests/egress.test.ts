import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { asked, meshOf, texts, told } from "./asked.ts";
import {
  authorizationPolicy,
  deployment,
  destinationRule,
  gateway,
  gatewayProxy,
  namespace,
  serviceEntry,
  shop,
  virtualService,
} from "./meshes.ts";

const host = "api.stripe.com";
const egress = "egress.infra.svc.cluster.local";
const client = "service account web/client";
const allowed = "is allowed, because no ALLOW policy applies";
/** A request as it is told where the host counts. */
const get = `GET / to host ${host}`;
/** A connection of which nothing but the name in TLS is read. */
const connection = `A connection with SNI ${host}`;
const infra = `---\n${namespace("infra", "sidecar")}${gatewayProxy("infra", "egress")}`;
const stripe = serviceEntry(
  "web/stripe",
  `hosts: [${host}]\nresolution: DNS\nports: [{ number: 80, name: http, protocol: HTTP }, { number: 443, name: tls, protocol: TLS }]`,
);
const base = shop + infra + stripe;

const server = (number: number, protocol: string, mode = "", hosts = host) =>
  `{ port: { number: ${number}, name: p${number}, protocol: ${protocol} }, hosts: ["${hosts}"]${mode === "" ? "" : `, tls: { mode: ${mode} }`} }`;
const at = (...servers: readonly string[]) => gateway("infra/egress", servers);
/** Clients send requests at port 80 to a port of the egress gateway. */
const httpTo = (port: number) =>
  virtualService(
    "web/out",
    `hosts: [${host}]\nhttp: [{ route: [{ destination: { host: ${egress}, port: { number: ${port} } } }] }]`,
  );
/** Clients send TLS at port 443 to the egress gateway. */
const tlsTo = virtualService(
  "web/out",
  `hosts: [${host}]\ntls: [{ match: [{ sniHosts: [${host}] }], route: [{ destination: { host: ${egress}, port: { number: 443 } } }] }]`,
);
/** The routes at the gateway. */
const beyond = (routes: string) => virtualService("infra/beyond", `hosts: [${host}]\ngateways: [egress]\n${routes}`);
const toStripe = (port: number) => `route: [{ destination: { host: ${host}, port: { number: ${port} } } }]`;
const http = beyond(`http: [{ ${toStripe(80)} }]`);
const tls = (mode: string, rest = "") =>
  destinationRule("infra/egress", `host: ${egress}\ntrafficPolicy: { tls: { mode: ${mode}${rest} } }`);
const sni = `, sni: ${host}`;
const onlyClient = authorizationPolicy(
  "infra/only-client",
  "selector: { matchLabels: { app: egress } }\nrules: [{ from: [{ source: { principals: [cluster.local/ns/web/sa/client] } }] }]",
);

const hops = (...question: Parameters<typeof asked>) =>
  asked(...question).flatMap(({ transport }) => transport.map(({ to, result }) => `${to} ${result}`));

const results = (...question: Parameters<typeof asked>) => [...new Set(asked(...question).map(({ result }) => result))];

describe("an egress gateway", () => {
  const cases: readonly (readonly [title: string, manifests: string, port: number, hops: readonly string[]])[] = [
    [
      "that reads plaintext sends it on",
      at(server(80, "HTTP")) + httpTo(80) + http,
      80,
      ["gateway plaintext", "outside plaintext"],
    ],
    [
      "reads what comes over mTLS by the name that a DestinationRule sets",
      at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http + tls("ISTIO_MUTUAL", sni),
      80,
      ["gateway mtls", "outside plaintext"],
    ],
    [
      "for every name needs none",
      at(server(443, "HTTPS", "ISTIO_MUTUAL", "*")) + httpTo(443) + http + tls("ISTIO_MUTUAL"),
      80,
      ["gateway mtls", "outside plaintext"],
    ],
    [
      "originates TLS",
      at(server(80, "HTTP")) +
        httpTo(80) +
        http +
        destinationRule("infra/stripe", `host: ${host}\ntrafficPolicy: { tls: { mode: SIMPLE } }`),
      80,
      ["gateway plaintext", "outside tls"],
    ],
    [
      "passes on TLS by its name",
      at(server(443, "TLS", "PASSTHROUGH")) +
        tlsTo +
        beyond(`tls: [{ match: [{ sniHosts: [${host}] }], ${toStripe(443)} }]`),
      443,
      ["gateway tls", "outside tls"],
    ],
    [
      "terminates the mTLS around TLS",
      at(server(443, "TLS", "ISTIO_MUTUAL")) +
        tlsTo +
        beyond(`tcp: [{ match: [{ port: 443 }], ${toStripe(443)} }]`) +
        tls("ISTIO_MUTUAL", sni),
      443,
      ["gateway mtls", "outside tls"],
    ],
  ];
  for (const [title, manifests, port, expected] of cases)
    test(title, () => {
      const mesh = meshOf(base + manifests);
      assert.deepEqual(told(mesh, "web/client", `${host}:${port}`), [
        `${port === 80 ? get : connection} from ${client} ${allowed}`,
      ]);
      assert.deepEqual(hops(mesh, "web/client", `${host}:${port}`), expected);
    });

  test("decides by the certificate of the client, which plaintext does not have", () => {
    const secure =
      at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http + tls("ISTIO_MUTUAL", sni) + onlyClient;
    assert.deepEqual(told(meshOf(base + secure), "web/client", `${host}:80`), [
      `${get} from ${client} is allowed, by AuthorizationPolicy infra/only-client rule 1`,
    ]);
    assert.deepEqual(told(meshOf(base + secure + deployment("web", "other")), "web/other", `${host}:80`), [
      `${get} from namespace web is denied, because no rule of the ALLOW policies at the gateway matches: AuthorizationPolicy infra/only-client`,
    ]);
    const plain = at(server(80, "HTTP")) + httpTo(80) + http + onlyClient;
    assert.deepEqual(told(meshOf(base + plain), "web/client", `${host}:80`), [
      `${get} from ${client} is denied, because no rule of the ALLOW policies at the gateway matches: AuthorizationPolicy infra/only-client`,
    ]);
  });

  test("sees the host that a route writes, and what is behind it sees the gateway", () => {
    const renamed = virtualService(
      "web/out",
      `hosts: [${host}]\nhttp: [{ rewrite: { authority: other.com }, route: [{ destination: { host: ${egress}, port: { number: 80 } } }] }]`,
    );
    const inside = virtualService(
      "infra/inside",
      "hosts: [other.com]\ngateways: [egress]\nhttp: [{ route: [{ destination: { host: x.shop.svc.cluster.local, port: { number: 80 } } }] }]",
    );
    const onlyGateway = authorizationPolicy(
      "shop/only-gateway",
      "rules: [{ from: [{ source: { principals: [cluster.local/ns/infra/sa/egress] } }] }]",
    );
    const mesh = meshOf(base + at(server(80, "HTTP", "", "other.com")) + renamed + inside + onlyGateway);
    assert.deepEqual(told(mesh, "web/client", `${host}:80`), [
      `GET / from ${client} is allowed, by AuthorizationPolicy shop/only-gateway rule 1 [x]`,
    ]);
  });

  const failures: readonly (readonly [title: string, manifests: string, port: number, reason: string])[] = [
    [
      "no name in TLS is that of the client's own configuration",
      at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http + tls("ISTIO_MUTUAL"),
      80,
      `reaches nothing: the client asks in TLS for outbound_.443_._.${egress}, because no DestinationRule sets sni: no Gateway offers outbound_.443_._.${egress} for https at port 443 of Deployment infra/egress`,
    ],
    [
      "plaintext to a server of TLS",
      at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http,
      80,
      `reaches nothing: no Gateway offers ${host} for http at port 443 of Deployment infra/egress`,
    ],
    [
      "another certificate than that of the mesh",
      at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http + tls("SIMPLE", sni),
      80,
      "is refused: the client sends TLS of its own (DestinationRule infra/egress), and Gateway infra/egress asks for a certificate of the mesh (ISTIO_MUTUAL)",
    ],
    [
      "a server with a certificate of its own",
      at(server(443, "HTTPS", "SIMPLE")) + httpTo(443) + http + tls("ISTIO_MUTUAL", sni),
      80,
      "is undecided: the client accepts only a certificate of the mesh (ISTIO_MUTUAL), and Gateway infra/egress has one of its own",
    ],
    [
      "no route at the gateway",
      at(server(80, "HTTP")) + httpTo(80),
      80,
      `reaches nothing: no VirtualService that is bound to Gateway infra/egress has a route for the host`,
    ],
    [
      "no route for the name in TLS",
      at(server(443, "TLS", "PASSTHROUGH")) + tlsTo + http,
      443,
      `reaches nothing: no VirtualService that is bound to Gateway infra/egress has a route for the host`,
    ],
    [
      "the gateway sends requests to itself",
      at(server(80, "HTTP")) +
        httpTo(80) +
        beyond(`http: [{ route: [{ destination: { host: ${egress}, port: { number: 80 } } }] }]`),
      80,
      "is undecided: the requests pass more than 4 gateways, and perhaps never arrive",
    ],
    [
      "services by the names of their clusters",
      at(server(443, "TLS", "AUTO_PASSTHROUGH")) + tlsTo,
      443,
      "is undecided: Gateway infra/egress leads TLS to services that it names by their cluster (AUTO_PASSTHROUGH), which is not examined",
    ],
  ];
  for (const [title, manifests, port, reason] of failures)
    test(`${title}: ${reason.split(":")[0]}`, () => {
      const unread = reason.includes("AUTO_PASSTHROUGH") ? `GET / with SNI ${host}` : connection;
      const example = port === 80 ? get : unread;
      assert.deepEqual(told(meshOf(base + manifests), "web/client", `${host}:${port}`), [
        `${example} from ${client} ${reason}`,
      ]);
    });

  test("takes the route with the most specific name, and of the same names the first", () => {
    const routes = (name: string, to: string) =>
      `- { match: [{ sniHosts: ["${name}"] }], route: [{ destination: { host: ${to}, port: { number: 443 } } }] }\n`;
    const named = beyond(`tls:\n${routes("*.stripe.com", "nothing")}${routes(host, host)}${routes(host, "nothing")}`);
    const mesh = meshOf(base + at(server(443, "TLS", "PASSTHROUGH", "*")) + tlsTo + named);
    const [outcome] = asked(mesh, "web/client", `${host}:443`);
    assert.deepEqual(
      outcome?.hops.map(({ proxy, route: { route, gateway: by } }) => [
        proxy,
        by?.metadata.name,
        route?.protocol,
        route?.index,
      ]),
      [["Deployment infra/egress", "egress", "tls", 1]],
    );
  });
});

describe("the Service of a gateway", () => {
  const ingress = at(server(80, "HTTP")) + http;

  test("is decided for the host that the requests name", () => {
    const mesh = meshOf(base + ingress);
    assert.deepEqual(told(mesh, "outside", "infra/egress:80", texts("host", host)), [
      `${get} from callers without an identity ${allowed}`,
    ]);
    assert.deepEqual(told(mesh, "outside", "infra/egress:80", texts("host", "other.com")), [
      "GET / to host other.com from callers without an identity reaches nothing: no Gateway offers other.com for http at port 80 of Deployment infra/egress",
    ]);
  });

  test("is not known for hosts that are not named, and for those that proxies of clients route", () => {
    const mesh = meshOf(base + ingress);
    const results = (from: string, ...clauses: Parameters<typeof asked>[3][]) =>
      asked(mesh, from, "infra/egress:80", ...clauses).map(({ result }) => result);
    assert.deepEqual(results("outside"), ["undecided"]);
    assert.deepEqual(results("web/client", texts("host", host)), ["undecided"]);
    assert.deepEqual(results("web/client", texts("host", egress)), ["nowhere"]);
  });
});

describe("a connection at an egress gateway", () => {
  /** Its host has something in common with the one of the server. */
  const anyName = virtualService("infra/beyond", `hosts: ["*.com"]\ngateways: [egress]\ntcp: [{ ${toStripe(443)} }]`);
  const deny = authorizationPolicy(
    "infra/deny",
    "selector: { matchLabels: { app: egress } }\naction: DENY\nrules: [{}]",
  );
  const bySni = authorizationPolicy(
    "infra/by-sni",
    `selector: { matchLabels: { app: egress } }\nrules: [{ when: [{ key: connection.sni, values: ["${host}"] }] }]`,
  );

  test("of TLS is taken by a server of TCP, too, for whatever host it is", () => {
    const mesh = meshOf(base + at(server(443, "TCP", "", "other.example.com")) + tlsTo + anyName);
    assert.deepEqual(hops(mesh, "web/client", `${host}:443`), ["gateway tls", "outside tls"]);
  });

  test("is denied by nothing where the server has no route", () => {
    const passing = base + at(server(443, "TLS", "PASSTHROUGH")) + tlsTo + deny;
    assert.deepEqual(results(meshOf(passing), "web/client", `${host}:443`), ["nowhere"]);
    assert.deepEqual(
      results(
        meshOf(passing + beyond(`tls: [{ match: [{ sniHosts: [${host}] }], ${toStripe(443)} }]`)),
        "web/client",
        `${host}:443`,
      ),
      ["denied"],
    );
  });

  test("in plaintext asks for no name", () => {
    const plain = base + at(server(80, "HTTP")) + httpTo(80) + http + bySni;
    assert.deepEqual(results(meshOf(plain), "web/client", `${host}:80`), ["denied"]);
    const mutual =
      base + at(server(443, "HTTPS", "ISTIO_MUTUAL")) + httpTo(443) + http + tls("ISTIO_MUTUAL", sni) + bySni;
    assert.deepEqual(results(meshOf(mutual), "web/client", `${host}:80`), ["accepted"]);
  });
});

describe("the name that TLS asks for at a sidecar", () => {
  const asking = (...names: readonly string[]) =>
    authorizationPolicy("shop/by-sni", `rules: [{ when: [{ key: connection.sni, values: [${names.join(", ")}] }] }]`);
  const fixed = destinationRule(
    "web/x",
    "host: x.shop.svc.cluster.local\ntrafficPolicy: { tls: { mode: ISTIO_MUTUAL, sni: a.example } }",
  );

  test("is that of the cluster, or the one that a DestinationRule sets, whatever the application wants", () => {
    const cluster = "outbound_.80_._.x.shop.svc.cluster.local";
    assert.deepEqual(results(meshOf(shop + asking(cluster)), "web/client", "shop/x:80"), ["accepted"]);
    assert.deepEqual(results(meshOf(shop + asking("a.example")), "web/client", "shop/x:80"), ["denied"]);
    assert.deepEqual(results(meshOf(shop + asking("a.example") + fixed), "web/client", "shop/x:80"), ["accepted"]);
    assert.deepEqual(results(meshOf(shop + asking('"*"')), "outside", "shop/x:80"), ["denied"]);
  });
});
