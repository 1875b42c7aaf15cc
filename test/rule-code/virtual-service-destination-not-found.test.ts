import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { virtualServiceDestinationNotFound } from "../../src/rules/virtual-service/destination-not-found.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Only routes that had an answer lose one when a Service goes.

const object = (kind: string, name: string, spec: object, apiVersion = "networking.istio.io/v1") =>
  readAny({ apiVersion, kind, metadata: { name, namespace: "shop" }, spec }) as AnyObject;
const service = object("Service", "cart", { ports: [{ name: "http", port: 80 }] }, "v1");
const routes = (spec: object, name = "shop") => object("VirtualService", name, spec);
const to = (port?: number) => ({ route: [{ destination: { host: "cart", ...(port && { port: { number: port } }) } }] });

/** Which findings the deletion of the Service introduces, and why they only warn. */
function introduced(...view: readonly AnyObject[]): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [service, ...view]) mesh.set(one);
  const old = mesh.find("Service", keyOf(service));
  const { findings, errors } = judge([virtualServiceDestinationNotFound], mesh, [{ old, object: undefined }]);
  assert.deepEqual(errors, []);
  return findings.filter((finding) => finding.introduced).map(({ onlyWarns }) => onlyWarns ?? "deny");
}

test("a route with an answer loses it", () => {
  assert.deepEqual(introduced(routes({ hosts: ["shop"], http: [to()] })), ["deny"]);
  assert.deepEqual(introduced(routes({ hosts: ["shop"], http: [to(80)] })), ["deny"]);
});

test("a port that the host never had is no loss, and another destination beside it is one", () => {
  assert.deepEqual(introduced(routes({ hosts: ["shop"], http: [to(8080)] })), []);
  assert.deepEqual(introduced(routes({ hosts: ["shop"], tcp: [to(8080)] })), []);
  const both = [{ match: [{ uri: { prefix: "/old" } }], ...to(8080) }, to(80)];
  assert.deepEqual(introduced(routes({ hosts: ["shop"], http: both })), ["deny"]);
});

test("a delegate that nothing delegates to has no requests", () => {
  const delegate = routes({ http: [{ match: [{ uri: { prefix: "/cart" } }], ...to() }] }, "cart");
  const nobody = "no known VirtualService that delegates to it uses this route";
  assert.deepEqual(introduced(delegate), [nobody]);
  const root = (prefix: string) =>
    routes({ hosts: ["shop"], http: [{ match: [{ uri: { prefix } }], delegate: { name: "cart" } }] });
  assert.deepEqual(introduced(delegate, root("/cart")), ["deny"]);
  // istiod leaves the route out: none of its requests is among those that are delegated.
  assert.deepEqual(introduced(delegate, root("/other")), [nobody]);
});

test("of many routes that delegate, not all are followed", () => {
  const delegate = routes({ http: [{ match: [{ uri: { prefix: "/cart" } }], ...to() }] }, "cart");
  const roots = Array.from({ length: 20 }, (_, i) =>
    routes(
      { hosts: [`shop${i}`], http: [{ match: [{ uri: { prefix: "/x" } }], delegate: { name: "cart" } }] },
      `r${i}`,
    ),
  );
  assert.deepEqual(introduced(delegate, ...roots), ["deny"]);
});

test("a VirtualService whose Gateways do not exist has no requests", () => {
  const only = routes({ hosts: ["shop.example.com"], gateways: ["shop"], http: [to()] });
  const without = "none of the Gateways of the VirtualService exists, so no request comes through them";
  assert.deepEqual(introduced(only), [without]);
  const servers = [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["*"] }];
  assert.deepEqual(introduced(only, object("Gateway", "shop", { selector: {}, servers })), ["deny"]);
  const mesh = routes({ hosts: ["shop.example.com"], gateways: ["shop", "mesh"], http: [to()] });
  assert.deepEqual(introduced(mesh), ["deny"]);
});

test("a VirtualService whose hosts others have for every proxy has no requests", () => {
  const at = (name: string, spec: object, day: number, kind = "VirtualService") => {
    const metadata = { name, namespace: "shop", creationTimestamp: `2026-01-0${day}T00:00:00Z` };
    const apiVersion = `${kind === "Gateway" ? "gateway.networking.k8s.io" : "networking.istio.io"}/v1`;
    return readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
  };
  const elsewhere = { route: [{ destination: { host: "pay" } }] };
  const pay = object("Service", "pay", { ports: [{ name: "http", port: 80 }] }, "v1");
  const older = at("older", { hosts: ["shop"], http: [elsewhere] }, 1);
  const nobody = "other VirtualServices have its hosts, and nobody follows it";
  const younger = (spec: object) => at("younger", { hosts: ["shop"], http: [to()], ...spec }, 2);
  assert.deepEqual(introduced(pay, older, younger({})), [nobody]);
  // The requests of a VirtualService that comes first, has another host, or is for its own namespace alone.
  assert.deepEqual(
    introduced(
      pay,
      at("first", { hosts: ["shop"], http: [to()] }, 1),
      at("younger", { hosts: ["shop"], http: [elsewhere] }, 2),
    ),
    ["deny"],
  );
  assert.deepEqual(introduced(pay, older, younger({ hosts: ["shop", "web"] })), ["deny"]);
  assert.deepEqual(introduced(pay, older, younger({ exportTo: ["."] })), ["deny"]);
  const delegate = at("cart", { http: [to()] }, 3);
  assert.deepEqual(introduced(pay, older, younger({ http: [{ delegate: { name: "cart" } }] }), delegate), [nobody]);
  // A waypoint has the routes of both, one after the other.
  const waypoint = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "shop", labels: { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint" } },
  };
  const gateway = at(
    "waypoint",
    { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }] },
    1,
    "Gateway",
  );
  const shop = object("Service", "shop", { ports: [{ name: "http", port: 80 }] }, "v1");
  assert.deepEqual(introduced(pay, shop, older, younger({}), readAny(waypoint) as AnyObject, gateway), ["deny"]);
});

test("the own host of a VirtualService goes: routes that no port of it used lose nothing", () => {
  const tls = (sni: string) => ({
    tls: [{ match: [{ sniHosts: [sni] }], route: [{ destination: { host: "cart" } }] }],
  });
  const ofCart = (spec: object) => routes({ hosts: ["cart"], ...spec });
  const unused = "no port at which requests arrive uses this route";
  // The Service has a port for HTTP alone.
  assert.deepEqual(introduced(ofCart(tls("cart.shop.svc.cluster.local"))), [unused]);
  assert.deepEqual(introduced(ofCart({ tcp: [{ match: [{ port: 9000 }], route: to().route }] })), [unused]);
  assert.deepEqual(introduced(ofCart({ http: [to()] })), ["deny"]);
});

test("the Service was another name for a host that did not take the requests", () => {
  const pay = object("Service", "pay", { ports: [{ name: "http", port: 80 }] }, "v1");
  const alias = (externalName: string) =>
    object("Service", "cart", { type: "ExternalName", externalName, ports: [{ name: "http", port: 80 }] }, "v1");
  const routed = (port?: number) => routes({ hosts: ["shop"], http: [to(port)] });
  assert.deepEqual(introduced(alias("gone.example.com"), routed()), []);
  assert.deepEqual(introduced(pay, alias("pay.shop.svc.cluster.local"), routed(8080)), []);
  assert.deepEqual(introduced(pay, alias("pay.shop.svc.cluster.local"), routed(80)), ["deny"]);
});
