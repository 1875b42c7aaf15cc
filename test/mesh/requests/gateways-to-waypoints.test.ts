import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { everyRequest } from "../../../src/mesh/authorization/requests/boxes.ts";
import { outcomesOfEntry } from "../../../src/mesh/requests/entry.ts";
import { frontOf } from "../../../src/mesh/requests/front.ts";
import { type Outcome, reasonOfWay } from "../../../src/mesh/requests/outcome.ts";
import { asked, meshOf, texts } from "./asked.ts";
import {
  authorizationPolicy,
  deployment,
  destinationRule,
  gateway,
  gatewayProxy,
  httpRoute,
  namespace,
  service,
  serviceEntry,
  virtualService,
  waypoint,
} from "./meshes.ts";

// Gateways send requests for a Service to its waypoint only if a label says so (Istio pilot/pkg/xds/endpoints/endpoint_builder.go
// findServiceWaypoint, pilot/pkg/serviceregistry/ambient/services.go ingressUseWaypointFromLabels).

const isUsed = "istio.io/ingress-use-waypoint: 'true'";
const server = "x.shop.svc.cluster.local";
const host = "shop.example.com";
const denied = "{ targetRefs: [{ group: '', kind: Service, name: x }], action: DENY, rules: [{}] }";

interface World {
  readonly ofNamespace?: string;
  readonly ofService?: string;
  readonly port?: string;
  readonly route?: string;
  readonly more?: string;
}
const to = (destination: string, more = ""): string =>
  `http: [{ ${more}route: [{ destination: { ${destination} } }] }]`;

function world({
  ofNamespace = isUsed,
  ofService = "",
  port,
  route = to(`host: ${server}`),
  more = "",
}: World): string {
  return [
    namespace("shop", "ambient", `istio.io/use-waypoint: w${ofNamespace === "" ? "" : `, ${ofNamespace}`}`),
    deployment("shop", "x"),
    service("shop", "x", { labels: ofService, ...(port === undefined ? {} : { port }) }),
    waypoint("shop", "w"),
    `---\n${namespace("edge", "sidecar")}`,
    gatewayProxy("edge", "main"),
    gateway("edge/main", [`{ port: { number: 80, name: h, protocol: HTTP }, hosts: [${host}] }`]),
    virtualService("edge/in", `hosts: [${host}]\ngateways: [main]\n${route}`),
    more,
  ].join("");
}

function entering(text: string): readonly Outcome[] {
  const mesh = meshOf(text);
  const of = { to: { kind: "entry", host, port: 80, scheme: "http" }, front: frontOf(host, mesh) } as const;
  return [...outcomesOfEntry(of, everyRequest, mesh)];
}
/** The result of each outcome, and what it connects to. */
const found = (text: string): readonly string[] =>
  entering(text).map(({ result, transport }) => [result, ...transport.map((one) => one.to)].join(" "));

describe("a gateway sends requests to the waypoint of a Service", () => {
  const [through, past] = ["accepted waypoint workload", "accepted workload"];
  for (const [name, ofNamespace, ofService, is] of [
    ["without a label", "", "", past],
    ["with the label on the namespace", isUsed, "", through],
    ["with the label on the Service", "", isUsed, through],
    ["with another form of true, as Go reads it", "", "istio.io/ingress-use-waypoint: T", through],
    ["with a value that Go does not read", "", "istio.io/ingress-use-waypoint: 'yes'", past],
    ["with false on the Service and true on the namespace", isUsed, "istio.io/ingress-use-waypoint: 'false'", past],
    ["with a wrong value on the Service and true on the namespace", isUsed, "istio.io/ingress-use-waypoint: ''", past],
    ["with the label, but no waypoint", isUsed, "istio.io/use-waypoint: none", past],
    ["with the label, but a waypoint that is not there", isUsed, "istio.io/use-waypoint: other", past],
  ] as const)
    test(name, () => assert.deepEqual(found(world({ ofNamespace, ofService })), [is]));

  test("unless it is headless", () => {
    const headless = world({}).replace("spec: { selector: { app: x }", "spec: { clusterIP: None, selector: { app: x }");
    assert.deepEqual(found(headless), [past]);
  });

  test("unless the waypoint is for workloads", () => {
    const forWorkloads = "name: w, namespace: shop, labels: { istio.io/waypoint-for: workload }";
    assert.deepEqual(found(world({}).replace("name: w, namespace: shop", forWorkloads)), [past]);
  });

  test("whatever the subset is, which the gateway knows but has no endpoints of", () => {
    const rule = destinationRule("shop/x", `host: ${server}\nsubsets: [{ name: v9, labels: { version: v9 } }]`);
    const route = to(`host: ${server}, subset: v9`);
    assert.deepEqual(found(world({ route, more: rule })), [through]);
    assert.deepEqual(found(world({ route, more: rule, ofNamespace: "" })), ["nowhere"]);
    assert.deepEqual(found(world({ route })), ["nowhere"]);
  });
});

test("hosts of ServiceEntries are sent to their waypoint if the gateway gets their endpoints from istiod, and they have an address", () => {
  const through = "accepted waypoint outside";
  for (const [more, is] of [
    ["resolution: STATIC\nendpoints: [{ address: 10.1.1.1 }]", through],
    ["resolution: STATIC\nendpoints: [{ address: 10.1.1.1 }]\naddresses: [10.9.9.9]", through],
    ["resolution: NONE\naddresses: [10.9.9.9]", through],
    ["resolution: NONE", "nowhere"],
    ["resolution: DNS\naddresses: [10.9.9.9]", "accepted outside"],
  ] as const) {
    const entry = serviceEntry(
      "shop/out",
      `hosts: [out.example]\nports: [{ number: 80, name: h, protocol: HTTP }]\n${more}`,
    );
    const text = world({ route: to("host: out.example, port: { number: 80 }"), more: entry });
    assert.deepEqual(found(text), [is], more);
  }
  const opted = serviceEntry(
    "shop/out",
    "hosts: [out.example]\nports: [{ number: 80, name: h, protocol: HTTP }]\nresolution: STATIC\nendpoints: [{ address: 10.1.1.1 }]",
    "labels: { networking.istio.io/enable-autoallocate-ip: 'False' }",
  );
  assert.deepEqual(found(world({ route: to("host: out.example, port: { number: 80 }"), more: opted })), [
    "accepted outside",
  ]);
});

describe("at the waypoint", () => {
  test("its policies decide, with the identity of the gateway", () => {
    const policy = (spec: string) => world({ more: authorizationPolicy("shop/p", spec) });
    assert.deepEqual(found(policy(denied)), ["denied waypoint"]);
    assert.deepEqual(found(world({ ofNamespace: "", more: authorizationPolicy("shop/p", denied) })), [
      "accepted workload",
    ]);
    const only = (account: string) =>
      `{ targetRefs: [{ group: '', kind: Service, name: x }], rules: [{ from: [{ source: { principals: [cluster.local/ns/${account}] } }] }] }`;
    assert.deepEqual(found(policy(only("edge/sa/main"))), ["accepted waypoint workload"]);
    assert.deepEqual(found(policy(only("edge/sa/other"))), ["denied waypoint"]);
  });

  test("the pods see the identity of the waypoint", () => {
    const only = (account: string) =>
      authorizationPolicy("shop/p", `rules: [{ from: [{ source: { principals: [cluster.local/ns/${account}] } }] }]`);
    assert.deepEqual(found(world({ more: only("shop/sa/w") })), ["accepted waypoint workload"]);
    assert.deepEqual(found(world({ more: only("edge/sa/main") })), ["denied waypoint workload"]);
  });

  test("routes for the Service are tried, with the path that the gateway made", () => {
    const route = to(`host: ${server}`, "match: [{ uri: { prefix: /api/ } }], rewrite: { uri: /v1/ }, ");
    const nothing = httpRoute(
      "shop/r",
      "rules: [{ matches: [{ path: { type: PathPrefix, value: /v1/admin } }], backendRefs: [{ name: none, port: 80 }] }, { backendRefs: [{ name: x, port: 80 }] }]",
    );
    const [of, other] = [world({ route, more: nothing }), world({ route, more: nothing, ofNamespace: "" })];
    const reaching = (text: string) =>
      entering(text)
        .filter(({ result }) => result !== "nowhere")
        .map(({ result, example, hops }) => [result, example.get("path"), hops.map(({ proxy }) => proxy).join()]);
    assert.deepEqual(reaching(of), [["accepted", ["/api/"], "waypoint shop/w"]]);
    assert.deepEqual(reaching(other), [["accepted", ["/api/"], ""]]);
    const lost = entering(of)
      .filter(({ hops }) => hops.length > 0)
      .find(({ result }) => result === "nowhere");
    assert.deepEqual(lost?.example.get("path"), ["/api/admin"]);
    assert.equal(lost.hops[0]?.route.httpRoute?.metadata.name, "r");
  });

  test("TLS that a DestinationRule asks of the gateway is not read as HTTP", () => {
    const rule = destinationRule("shop/x", `host: ${server}\ntrafficPolicy: { tls: { mode: SIMPLE } }`);
    const [only, more] = entering(world({ more: rule }));
    assert.equal(more, undefined);
    assert.equal(only?.result, "undecided");
    assert.match(only === undefined ? "" : String(reasonOfWay(only)), /sends TLS to the waypoint/);
    const port = "name: tcp-x";
    const read = (text: string) => found(text).filter((one) => !one.startsWith("nowhere"));
    assert.deepEqual(read(world({ more: rule, port })), ["accepted waypoint workload"]);
  });
});

test("requests of the mesh that pass a gateway are sent to the waypoint, too", () => {
  const more = [
    `---\n${namespace("web", "sidecar")}`,
    deployment("web", "client"),
    virtualService(
      "web/out",
      `hosts: [${host}]\nhttp: [{ route: [{ destination: { host: main.edge.svc.cluster.local, port: { number: 80 } } }] }]`,
    ),
    serviceEntry("web/h", `hosts: [${host}]\nresolution: DNS\nports: [{ number: 80, name: h, protocol: HTTP }]`),
  ].join("");
  const ways = (text: string) =>
    asked(meshOf(text), "web/client", `${host}:80`, texts("host", host)).map(({ result, hops, transport }) => [
      result,
      hops.map(({ proxy }) => proxy),
      transport.map((one) => one.to),
    ]);
  assert.deepEqual(ways(world({ more })), [
    ["accepted", ["Deployment edge/main", "waypoint shop/w"], ["gateway", "waypoint", "workload"]],
  ]);
  const policy = authorizationPolicy("shop/p", denied);
  assert.deepEqual(ways(world({ more: more + policy })), [
    ["denied", ["Deployment edge/main", "waypoint shop/w"], ["gateway", "waypoint"]],
  ]);
});
