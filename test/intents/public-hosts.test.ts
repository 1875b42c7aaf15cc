import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parse as parseYaml } from "yaml";
import { judge } from "../../src/engine/evaluate.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { intentBroken } from "../../src/rules/intent/broken.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Intents about callers outside that name hosts: requests come in by gateways, so that a change of a gateway or of its routes can
// end what an intent expects.

function objectOf(text: string): AnyObject {
  const object = readAny(parseYaml(text), "default");
  assert.ok(object !== undefined, text);
  return object;
}
const networking = "apiVersion: networking.istio.io/v1";
const gatewayApi = "apiVersion: gateway.networking.k8s.io/v1";
const namespaceOf = (name: string, plane = "") =>
  objectOf(`{ apiVersion: v1, kind: Namespace, metadata: { name: ${name}, labels: { team: ${name}${plane} } } }`);
const app = "containers: [{ name: c, image: i, ports: [{ containerPort: 80 }] }]";
const workload = (namespace: string, name: string, labels: string, { pod = app, annotations = "" } = {}) =>
  objectOf(
    `{ apiVersion: apps/v1, kind: Deployment, metadata: { namespace: ${namespace}, name: ${name} }, spec: { template: { metadata: { labels: { ${labels} }, annotations: { ${annotations} } }, spec: { ${pod} } } } }`,
  );
const service = (namespace: string, name: string, selector: string, ports: string) =>
  objectOf(
    `{ apiVersion: v1, kind: Service, metadata: { namespace: ${namespace}, name: ${name} }, spec: { selector: { ${selector} }, ports: [${ports}] } }`,
  );
const policy = (namespace: string, name: string, spec: string) =>
  objectOf(
    `{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { namespace: ${namespace}, name: ${name} }, spec: { ${spec} } }`,
  );

const istioGateway = (hosts = '["*.example.com"]', more = "") =>
  objectOf(
    `{ ${networking}, kind: Gateway, metadata: { namespace: edge, name: main }, spec: { selector: { istio: edge }, servers: [{ port: { number: 443, name: s, protocol: HTTPS }, hosts: ${hosts}, tls: { mode: SIMPLE, credentialName: c } }${more}] } }`,
  );
const virtualService = (spec: string) =>
  objectOf(
    `{ ${networking}, kind: VirtualService, metadata: { namespace: shop, name: web }, spec: { hosts: [shop.example.com], gateways: [edge/main], ${spec} } }`,
  );
const toWeb = "http: [{ route: [{ destination: { host: web } }] }]";
const kubernetesGateway = (listener = 'hostname: "*.api.org"', more = "") =>
  objectOf(
    `{ ${gatewayApi}, kind: Gateway, metadata: { namespace: edge, name: api }, spec: { gatewayClassName: istio, listeners: [{ name: web, port: 80, protocol: HTTP, ${listener}, allowedRoutes: { namespaces: { from: All } } }]${more} } }`,
  );
const httpRoute = (spec: string, namespace = "shop") =>
  objectOf(
    `{ ${gatewayApi}, kind: HTTPRoute, metadata: { namespace: ${namespace}, name: web }, spec: { parentRefs: [{ name: api, namespace: edge }], ${spec} } }`,
  );
const backends = "rules: [{ backendRefs: [{ name: web, namespace: shop, port: 80 }] }]";
const grant = objectOf(
  `{ apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: { namespace: shop, name: g }, spec: { from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge }], to: [{ group: "", kind: Service }] } }`,
);
const intent = (request: string, name = "i") =>
  objectOf(
    `{ apiVersion: meshward.io/v1alpha1, kind: MeshwardIntent, metadata: { namespace: shop, name: ${name} }, spec: { to: { service: web }, requests: [{ ${request} }] } }`,
  );

const proxy = workload("edge", "proxy", "istio: edge", {
  pod: "serviceAccountName: proxy, containers: [{ name: istio-proxy, image: auto }]",
  annotations: "inject.istio.io/templates: gateway",
});
const base = [
  namespaceOf("shop", ", istio-injection: enabled"),
  namespaceOf("edge"),
  proxy,
  service("edge", "proxy", "istio: edge", "{ name: s, port: 443 }, { name: h, port: 80 }"),
  workload("shop", "web", "app: web"),
  service("shop", "web", "app: web", "{ name: http, port: 80 }"),
];
const byIstio = [istioGateway(), virtualService(toWeb)];
const byRoute = [kubernetesGateway(), httpRoute(backends)];

function meshOf(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore({ ...defaultMeshSettings, seen: true });
  for (const object of objects) mesh.set(object);
  return mesh;
}
interface Step {
  readonly old?: AnyObject | undefined;
  readonly object?: AnyObject;
}
const told = (mesh: MeshStore, change: Step, isScan = false): readonly string[] =>
  judge([intentBroken], mesh, [change], { isScan })
    .findings.map(({ subject, message }) => `${identityOf(subject)} ${message}`)
    .sort();
/** Changes an object of a mesh to another version; undefined: deletes it. */
function afterChange(objects: readonly AnyObject[], object: AnyObject, isDeleted = false): readonly string[] {
  const mesh = meshOf(objects);
  const old = mesh.find(object.kind, keyOf(object));
  return told(mesh, isDeleted ? { old } : { old, object });
}

describe("an intent about a Service whose waypoint the gateway sends requests to", () => {
  const labelled = (label: string) => namespaceOf("shop", `, istio.io/dataplane-mode: ambient, ${label}`);
  const named = "istio.io/use-waypoint: w";
  const used = labelled(`${named}, istio.io/ingress-use-waypoint: "true"`);
  const waypoint = objectOf(
    `{ ${gatewayApi}, kind: Gateway, metadata: { namespace: shop, name: w }, spec: { gatewayClassName: istio-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] } }`,
  );
  const atWaypoint = (spec: string) =>
    policy("shop", "w", `targetRefs: [{ group: "", kind: Service, name: web }], ${spec}`);
  const ofService = (rules: string) =>
    objectOf(
      `{ ${gatewayApi}, kind: HTTPRoute, metadata: { namespace: shop, name: of-web }, spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [${rules}] } }`,
    );
  const toPods = "backendRefs: [{ name: web, port: 80 }]";
  const admin = "from: [outside], hosts: [shop.example.com], paths: [/admin], expect:";
  const all = [...base.slice(1), ...byIstio, used, waypoint];

  test("that requests arrive is ended by policies and routes at the waypoint", () => {
    const arrives = [...all, intent("from: [outside], hosts: [shop.example.com], expect: allowed")];
    const ends: readonly AnyObject[] = [
      atWaypoint("action: DENY, rules: [{ to: [{ operation: { paths: [/x] } }] }]"),
      policy("shop", "w", "targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: w }], rules: []"),
      ofService(`{ matches: [{ path: { value: /only } }], ${toPods} }`),
    ];
    for (const end of ends) {
      assert.equal(afterChange(arrives, end).length, 1, JSON.stringify(end));
      // Without the label on the namespace, no requests of the gateway get there.
      const past = arrives.map((one) => (one === used ? labelled(named) : one));
      assert.deepEqual(afterChange(past, end), [], JSON.stringify(end));
    }
  });

  test("that requests are denied is ended without the label, and without the waypoint", () => {
    const denies = atWaypoint("action: DENY, rules: [{ to: [{ operation: { paths: [/admin] } }] }]");
    const proxies = 'principals: ["*/ns/shop/sa/w", "*/ns/edge/sa/proxy"]';
    const ofPods = policy("shop", "pods", `rules: [{ from: [{ source: { ${proxies} } }] }]`);
    const denied = [...all, denies, ofPods, intent(`${admin} denied`)];
    assert.equal(afterChange(denied, labelled(named)).length, 1);
    assert.equal(afterChange(denied, labelled(`${named}, istio.io/ingress-use-waypoint: "false"`)).length, 1);
    assert.equal(afterChange(denied, waypoint, true).length, 1);
    assert.equal(afterChange(denied, denies, true).length, 1);
    assert.deepEqual(afterChange(denied, ofService(`{ ${toPods} }`)), []);
  });
});

describe("an intent that requests from outside arrive", () => {
  const arrives = intent("from: [outside], hosts: [shop.example.com], expect: allowed");
  const all = [...base, ...byIstio, arrives];
  test("is ended by a change of the Gateway, of its routes, of its pods and of its policies", () => {
    const web = "{ destination: { host: web } }";
    const ends: readonly (readonly [string, AnyObject, boolean?])[] = [
      ["another host", istioGateway('["*.example.org"]')],
      ["no Gateway", istioGateway(), true],
      ["a route that answers itself", virtualService("http: [{ directResponse: { status: 503 } }]")],
      ["a route for a part", virtualService(`http: [{ match: [{ uri: { prefix: /api } }], route: [${web}] }]`)],
      ["a route to nothing", virtualService("http: [{ route: [{ destination: { host: none } }] }]")],
      [
        "a route to another port",
        virtualService("http: [{ route: [{ destination: { host: web, port: { number: 81 } } }] }]"),
      ],
      ["no route", virtualService(toWeb), true],
      ["no pods", proxy, true],
      [
        "a denial at the gateway",
        policy("edge", "deny", "action: DENY, rules: [{ to: [{ operation: { paths: [/x] } }] }]"),
      ],
      ["a denial at the workload", policy("shop", "p", "rules: [{ from: [{ source: { namespaces: [other] } }] }]")],
    ];
    for (const [what, object, isDeleted] of ends) assert.equal(afterChange(all, object, isDeleted).length, 1, what);
  });

  test("is kept by what does not matter to it", () => {
    const kept: readonly AnyObject[] = [
      istioGateway('["*.example.com", "*.example.org"]'),
      virtualService("http: [{ name: other, route: [{ destination: { host: web } }] }]"),
      policy("edge", "deny", "action: DENY, rules: [{ to: [{ operation: { hosts: [other.example.com] } }] }]"),
      policy("shop", "p", "rules: [{ from: [{ source: { namespaces: [edge] } }] }]"),
    ];
    for (const object of kept) assert.deepEqual(afterChange(all, object), [], JSON.stringify(object));
  });

  test("by a Gateway of the Gateway API is ended and kept in the same way", () => {
    const own = [...base, ...byRoute, intent("from: [outside], hosts: [www.api.org], expect: allowed")];
    for (const object of [
      kubernetesGateway("hostname: other.api.org"),
      kubernetesGateway('hostname: "*.api.org", tls: {}').kind === "KubernetesGateway"
        ? httpRoute("hostnames: [other.api.org], " + backends)
        : proxy,
      httpRoute("rules: [{ filters: [{ type: RequestRedirect, requestRedirect: {} }] }]"),
      policy(
        "edge",
        "deny",
        "targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: api }], action: DENY, rules: [{}]",
      ),
      policy("shop", "p", "rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/other] } }] }]"),
    ])
      assert.equal(afterChange(own, object).length, 1, JSON.stringify(object));
    for (const object of [
      httpRoute("hostnames: [www.api.org], " + backends),
      policy("shop", "p", "rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/api-istio] } }] }]"),
    ])
      assert.deepEqual(afterChange(own, object), []);
  });

  test("is ended if what takes the requests is something else", () => {
    const other = [
      workload("shop", "other", "app: other"),
      service("shop", "other", "app: other", "{ name: http, port: 80 }"),
    ];
    const found = afterChange(
      [...all, ...other],
      virtualService("http: [{ route: [{ destination: { host: other } }] }]"),
    );
    assert.match(found[0] ?? "", /routed to other\.shop\.svc\.cluster\.local/);
  });

  test("uses HTTPS where it is offered, so that a redirect of HTTP does not end it", () => {
    const redirecting = istioGateway(
      undefined,
      ', { port: { number: 80, name: h, protocol: HTTP }, hosts: ["*.example.com"], tls: { httpsRedirect: true } }',
    );
    assert.deepEqual(afterChange(all, redirecting), []);
  });
});

describe("an intent that requests from outside are denied", () => {
  const closed = intent("from: [outside], hosts: [shop.example.com], expect: denied");
  const strict = objectOf(
    "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { namespace: shop, name: d }, spec: { mtls: { mode: STRICT } } }",
  );
  test("is ended by the route that lets them in, and by no other", () => {
    const before = [...base, strict, istioGateway(), closed];
    assert.match(afterChange(before, virtualService(toWeb))[0] ?? "", /to host shop\.example\.com .* would be allowed/);
    const elsewhere = virtualService(toWeb.replace("host: web", "host: none"));
    assert.deepEqual(afterChange(before, elsewhere), []);
  });
});

describe("others, where requests come in by gateways", () => {
  const strict = objectOf(
    "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: { namespace: shop, name: d }, spec: { mtls: { mode: STRICT } } }",
  );
  const allowed = (account: string) =>
    policy("shop", "p", `rules: [{ from: [{ source: { principals: [cluster.local/ns/${account}] } }] }]`);
  const byGateway = allowed("edge/sa/proxy");
  const withOthers = (named: string, hosts = "") =>
    objectOf(
      `{ apiVersion: meshward.io/v1alpha1, kind: MeshwardIntent, metadata: { namespace: shop, name: i }, spec: { to: { service: web }, requests: [{ ${named} }, { from: [others]${hosts}, expect: denied }] } }`,
    );
  const before = [...base, strict, istioGateway(), byGateway];

  test("are not the gateways that let in what an entry allows from outside", () => {
    const own = withOthers("from: [outside], hosts: [shop.example.com], expect: allowed");
    const all = [...before, virtualService(toWeb), own];
    // Another gateway, and a gateway that does not offer the host, are among the others.
    assert.match(
      String(afterChange(all, policy("shop", "q", "rules: [{ from: [{ source: { namespaces: [edge] } }] }]"))),
      /others must be denied: .* would be allowed, by AuthorizationPolicy shop\/q rule 1/,
    );
    assert.equal(afterChange(all, istioGateway('["shop.example.org"]')).length, 2);
  });

  test("with public hosts are judged at the gateways that no other entry names", () => {
    // What a gateway writes into requests, nobody else's sidecar does.
    const internal = policy(
      "shop",
      "p",
      "rules: [{ from: [{ source: { namespaces: [edge] } }], to: [{ operation: { paths: [/internal] } }] }]",
    );
    const rewriting = virtualService(
      "http: [{ match: [{ uri: { exact: /public } }], rewrite: { uri: /internal }, route: [{ destination: { host: web } }] }]",
    );
    const told = (named: string) => {
      const own = withOthers(`from: [${named}], expect: allowed`, ", hosts: [shop.example.com], paths: [/public]");
      return String(afterChange([...base, strict, istioGateway(), internal, own], rewriting));
    };
    assert.match(
      told("namespace/shop"),
      /others must be denied: GET \/public to host shop\.example\.com .* would be allowed/,
    );
    assert.doesNotMatch(told("ingress/edge/proxy"), /others/);
  });
});

/** Versions of objects, of which a mesh has any. */
const pool: readonly AnyObject[] = [
  istioGateway(),
  istioGateway('["shop.example.com"]'),
  istioGateway('["other/*"]'),
  virtualService(toWeb),
  virtualService("http: [{ match: [{ uri: { prefix: /api } }], route: [{ destination: { host: web } }] }]"),
  virtualService("exportTo: ['.'], " + toWeb),
  kubernetesGateway(),
  kubernetesGateway("hostname: www.api.org"),
  kubernetesGateway(undefined, ", addresses: [{ type: Hostname, value: proxy }]"),
  httpRoute(backends),
  httpRoute("hostnames: [www.api.org], " + backends),
  httpRoute("rules: [{ backendRefs: [{ name: none, port: 80 }] }]"),
  httpRoute(backends, "edge"),
  grant,
  proxy,
  workload("edge", "proxy", "istio: other"),
  service("edge", "proxy", "istio: edge", "{ name: h, port: 80 }, { name: s, port: 443, targetPort: 8443 }"),
  service("shop", "web", "app: web", "{ name: http, port: 81 }"),
  workload("shop", "web", "app: other"),
  namespaceOf("shop"),
  policy("edge", "p", "action: DENY, rules: [{ to: [{ operation: { paths: [/x], ports: ['8443'] } }] }]"),
  policy(
    "edge",
    "p",
    "selector: { matchLabels: { gateway.networking.k8s.io/gateway-name: api } }, action: DENY, rules: [{}]",
  ),
  policy("shop", "p", "rules: [{ from: [{ source: { namespaces: [edge] } }] }]"),
  policy("shop", "p", "rules: [{ from: [{ source: { principals: [cluster.local/ns/edge/sa/proxy] } }] }]"),
];

test("a change reaches every intent with public hosts that it ends", (t) => {
  let found = 0;
  const numRuns = Number(process.env["RUNS"] ?? 600);
  const hosts = fc.constantFrom("shop.example.com", "www.api.org");
  const intents = fc
    .tuple(fc.constantFrom("outside", "ingress"), hosts, fc.constantFrom("allowed", "allowed", "denied", "encrypted"))
    .map(([from, host, expect]) => intent(`from: [${from}], hosts: [${host}], expect: ${expect}`));
  const index = fc.integer({ min: 0, max: pool.length - 1 });
  fc.assert(
    fc.property(fc.array(index, { maxLength: 4 }), intents, index, fc.boolean(), (chosen, own, changed, isDeletion) => {
      const mesh = meshOf([...base, ...byIstio, ...byRoute, ...chosen.map((i) => pool[i] as AnyObject), own]);
      const object = pool[changed] as AnyObject;
      const old = mesh.find(object.kind, keyOf(object));
      const change = isDeletion && old !== undefined ? { old } : { old, object };
      const all = told(mesh, change, true);
      found += all.length;
      assert.deepEqual(told(mesh, change), all);
    }),
    { numRuns },
  );
  t.diagnostic(`${found} findings`);
  assert.ok(found > numRuns / 50, `only ${found} findings`);
});
