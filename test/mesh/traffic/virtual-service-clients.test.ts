import assert from "node:assert/strict";
import test from "node:test";
import { type AnyObject, readAny, readObject } from "../../../src/kube/object.ts";
import {
  type Clients,
  clientsMatching,
  clientsOf,
  clientsThroughRoot,
  fullGatewayName,
  gatewayPodsOf,
  rootsOfDelegate,
} from "../../../src/mesh/traffic/virtual-service-clients.ts";
import { trafficOf, type VirtualService } from "../../../src/mesh/traffic/virtual-services.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

const virtualService = (spec: object, name = "cart", labels = {}): VirtualService =>
  readObject("VirtualService", { kind: "VirtualService", metadata: { name, namespace: "shop", labels }, spec });
const shown = (clients: Clients) =>
  Object.fromEntries([...clients].map(([gateway, namespaces]) => [gateway, [...namespaces].sort().join(" ")]));

test("gateways by all their names", () => {
  const table: [gateway: string, full: string][] = [
    ["mesh", "mesh"],
    ["public", "shop/public"],
    ["./public", "shop/public"],
    ["edge/public", "edge/public"],
    ["public.edge", "edge/public"],
    ["public.edge.svc.cluster.local", "edge/public"],
  ];
  for (const [gateway, full] of table) assert.equal(fullGatewayName(gateway, "shop"), full);
});

test("the clients of a VirtualService: gateways and exportTo", () => {
  const table: [spec: object, clients: Record<string, string>][] = [
    [{}, { mesh: "*" }],
    [{ exportTo: ["."] }, { mesh: "shop" }],
    [{ gateways: ["edge/public"] }, { "edge/public": "*" }],
    [
      { gateways: ["mesh", "public"], exportTo: [".", "edge"] },
      { mesh: "edge shop", "shop/public": "edge shop" },
    ],
  ];
  for (const [spec, clients] of table)
    assert.deepEqual(shown(clientsOf(virtualService(spec), defaultMeshSettings)), clients);
});

test("what a match lets through: http does not ask named gateways for a source namespace, and tcp and tls ask sidecars alone", () => {
  const clients: Clients = new Map([
    ["mesh", new Set(["*"])],
    ["edge/public", new Set(["edge", "shop"])],
  ]);
  const all = { mesh: "*", "edge/public": "edge shop" };
  const match = (gateways: string[], sourceNamespace?: string) => ({ gateways, sourceNamespace });
  const table: [matches: ReturnType<typeof match>[], protocol: "http" | "tcp", left: Record<string, string>][] = [
    [[], "http", all],
    [[match([])], "http", all],
    [[match([], "web")], "http", { mesh: "web" }],
    // Istio pilot/pkg/networking/core/gateway.go l4SingleMatch.
    [[match([], "edge")], "tcp", { mesh: "edge", "edge/public": "edge shop" }],
    [[match(["edge/public"], "web")], "tcp", { "edge/public": "edge shop" }],
    [[match(["mesh"], "web")], "http", { mesh: "*" }],
    [[match(["mesh"], "web")], "tcp", { mesh: "web" }],
    [[match(["other"])], "http", {}],
    [[match([], "web"), match(["mesh"]), match([], "shop")], "http", { mesh: "* shop web", "edge/public": "shop" }],
  ];
  for (const [matches, protocol, left] of table)
    assert.deepEqual(shown(clientsMatching(clients, matches, protocol, "shop")), left, JSON.stringify(matches));
});

test("a delegate's clients are those of its roots that can see it, as far as both matches agree", () => {
  const delegate = virtualService({ http: [{ match: [{ gateways: ["mesh"] }], route: [{ destination: {} }] }] });
  const [traffic] = trafficOf(delegate);
  assert.ok(traffic);
  const root = (http: object, exportTo?: string[]) =>
    virtualService({ hosts: ["a"], gateways: ["mesh", "edge/public"], exportTo, http: [http] }, "root");
  const through = (of: VirtualService, by: VirtualService) =>
    shown(clientsMatching(clientsThroughRoot(of, by, mesh()), traffic.route.match, "http", "shop"));
  assert.deepEqual(through(delegate, root({ delegate: { name: "cart" } })), { mesh: "*" });
  assert.deepEqual(through(delegate, root({ delegate: { name: "cart", namespace: "shop" } }, ["web"])), {
    mesh: "web",
  });
  assert.deepEqual(through(delegate, root({ delegate: { name: "cart" }, match: [{ gateways: ["edge/public"] }] })), {});
  assert.deepEqual(through(delegate, root({ delegate: { name: "another" } })), {});
  const hidden = virtualService({ exportTo: ["web"], http: delegate.spec.http });
  assert.deepEqual(through(hidden, root({ delegate: { name: "cart" } })), {}, "the root does not see it");
});

const mesh = (...raws: object[]): MeshStore => {
  const store = new MeshStore(defaultMeshSettings);
  for (const raw of raws) store.set(readAny(raw) as AnyObject);
  return store;
};
const istio = (kind: string, name: string, spec: object, labels = {}) => ({
  apiVersion: "networking.istio.io/v1",
  kind,
  metadata: { name, namespace: "shop", labels },
  spec,
});
const deployment = (namespace: string, labels: object, ownerReferences: object[] = []) => ({
  apiVersion: "apps/v1",
  kind: ownerReferences.length > 0 ? "ReplicaSet" : "Deployment",
  metadata: { name: ownerReferences.length > 0 ? "ingress-7d4f9" : "ingress", namespace, ownerReferences },
  spec: { template: { metadata: { labels } } },
});

test("the pods that serve a gateway: all labels of its selector, in any namespace", () => {
  const selector = { istio: "ingress", app: "edge" };
  const owner = [{ apiVersion: "apps/v1", kind: "Deployment", name: "ingress", controller: true }];
  const servers = [{ hosts: ["*"] }];
  const view = mesh(
    istio("Gateway", "public", { selector, servers }),
    istio("Gateway", "open", { servers }),
    istio("Gateway", "foreign", { selector, servers }, { "istio.io/rev": "another" }),
    deployment("edge", { ...selector, version: "v1" }),
    deployment("shop", selector, owner),
    deployment("web", { istio: "ingress" }),
  );
  const pods = gatewayPodsOf(virtualService({ hosts: ["a"], gateways: ["public", "open", "foreign", "gone"] }), view);
  const namespaces = [...pods].map(([gateway, found]) => [
    gateway,
    found.map(({ workload }) => workload.metadata.namespace),
  ]);
  assert.deepEqual(Object.fromEntries(namespaces), { "shop/public": ["edge"], "shop/open": [] });
});

test("roots of a delegate: with hosts, of a revision that is served", () => {
  const hands = (name: string, spec: object, labels = {}) =>
    istio("VirtualService", name, { http: [{ delegate: { name: "cart" } }], ...spec }, labels);
  const view = mesh(
    hands("root", { hosts: ["a"] }),
    hands("no-root", {}),
    hands("foreign", { hosts: ["a"] }, { "istio.io/rev": "another" }),
  );
  const roots = view.related(rootsOfDelegate, virtualService({})) as readonly VirtualService[];
  assert.deepEqual(
    roots.map(({ metadata }) => metadata.name),
    ["root"],
  );
});

test("traffic: what has weight, and mirrors that copy something", () => {
  const to = (subset: string) => ({ destination: { host: "cart", subset } });
  const spec = {
    http: [
      { match: [{}], route: [{ ...to("one"), weight: 0 }] },
      { match: [{}], route: [{ ...to("a"), weight: 1 }, { ...to("zero"), weight: 0 }, to("unset")] },
      { match: [{}], redirect: {}, route: [to("redirected")] },
      { match: [{}], directResponse: { status: 200 }, mirror: { host: "cart", subset: "answered" } },
      { match: [{}], route: [], mirror: { host: "cart", subset: "m" }, mirrors: [{ ...to("n") }] },
      {
        match: [{}],
        mirror: { host: "cart", subset: "no" },
        mirrorPercent: 0,
        mirrors: [{ ...to("no"), percentage: {} }],
      },
      { match: [{}], mirror: { host: "cart", subset: "no" }, mirrorPercent: 50, mirrorPercentage: { value: 0 } },
      { delegate: { name: "handed-over" } },
      { route: [to("catch-all")] },
      { route: [to("behind")] },
    ],
    tcp: [{ route: [{ ...to("tcp"), weight: 3 }, to("no")] }],
    tls: [{ route: [to("tls")] }],
  };
  const traffic = [...trafficOf(virtualService(spec))];
  assert.deepEqual(
    traffic.map(({ destination, isUncertain }) => `${destination.subset}${isUncertain ? "?" : ""}`),
    ["one", "a", "m", "n", "catch-all", "behind?", "tcp", "tls"],
  );
  assert.deepEqual(traffic[3]?.at, ["spec", "http", 4, "mirrors", 0, "destination"]);
});
