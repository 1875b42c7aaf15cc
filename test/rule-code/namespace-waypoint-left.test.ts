import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceWaypointLeft } from "../../src/rules/namespace/waypoint-left.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge } from "../../src/view/view.ts";

// What ztunnel itself refuses decides whether a Service that leaves its waypoint is denied or only warned of.

const inBank = (apiVersion: string, kind: string, metadata: object, body: object): AnyObject =>
  readAny({ apiVersion, kind, metadata: { namespace: "bank", ...metadata }, ...body }) as AnyObject;
const policy = (name: string, spec: object) =>
  inBank("security.istio.io/v1", "AuthorizationPolicy", { name }, { spec });
const service = (labels = {}) =>
  inBank("v1", "Service", { name: "ledger", labels }, { spec: { selector: { app: "ledger" }, ports: [{ port: 80 }] } });
const callers = (...principals: string[]) => ({ rules: [{ from: [{ source: { principals } }] }] });
const ambient = { "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint" };
const mesh = [
  readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name: "bank", labels: ambient } }) as AnyObject,
  inBank(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { name: "waypoint" },
    { spec: { gatewayClassName: "istio-waypoint" } },
  ),
  inBank(
    "apps/v1",
    "Deployment",
    { name: "ledger" },
    { spec: { template: { metadata: { labels: { app: "ledger" } } } } },
  ),
  policy("ledger", { targetRefs: [{ kind: "Service", name: "ledger" }], ...callers("cluster.local/ns/web/sa/web") }),
];

function judged(atZtunnel: readonly AnyObject[]): readonly string[] {
  const store = new MeshStore(defaultMeshSettings);
  for (const object of [...mesh, service(), ...atZtunnel]) store.set(object);
  const change = { old: service(), object: service({ "istio.io/use-waypoint": "none" }) };
  const { findings, errors } = judge([namespaceWaypointLeft], store, [change]);
  assert.deepEqual(errors, []);
  return findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn"));
}

const waypoint = "cluster.local/ns/bank/sa/waypoint";

test("nothing at ztunnel keeps callers away: denied", () => {
  assert.deepEqual(judged([]), ["deny"]);
});

test("ztunnel admits nobody, or only the waypoint, or denies everybody: a warning", () => {
  assert.deepEqual(judged([policy("nobody", {})]), ["warn"]);
  assert.deepEqual(judged([policy("nobody", {}), policy("waypoint", callers(waypoint))]), ["warn"]);
  assert.deepEqual(judged([policy("deny", { action: "DENY", rules: [{}] })]), ["warn"]);
  const others = (...notPrincipals: string[]) =>
    policy("others", { action: "DENY", rules: [{ from: [{ source: { notPrincipals } }] }] });
  assert.deepEqual(judged([others(waypoint)]), ["warn"]);
  assert.deepEqual(judged([others(waypoint, "cluster.local/ns/web/sa/other")]), ["deny"]);
});

test("ztunnel admits somebody else as well, whom the policies at the waypoint may refuse: denied", () => {
  assert.deepEqual(judged([policy("others", callers(waypoint, "cluster.local/ns/web/sa/other"))]), ["deny"]);
  assert.deepEqual(judged([policy("waypoint", callers(waypoint)), policy("all", callers("*"))]), ["deny"]);
  assert.deepEqual(judged([policy("elsewhere", { selector: { matchLabels: { app: "web" } } })]), ["deny"]);
});

test("ztunnel is not in front of a machine outside the cluster: denied", () => {
  const machine = (name: string, labels: object) =>
    inBank("networking.istio.io/v1", "WorkloadEntry", { name }, { spec: { address: "192.0.2.1", labels } });
  assert.deepEqual(judged([policy("nobody", {}), machine("ledger", { app: "ledger" })]), ["deny"]);
  assert.deepEqual(judged([policy("nobody", {}), machine("web", { app: "web" })]), ["warn"]);
});

test("a Gateway whose class becomes one of somebody else may be a waypoint still, but its writer alone says so: denied", () => {
  const gatewayOf = (gatewayClassName: string) =>
    inBank("gateway.networking.k8s.io/v1", "Gateway", { name: "waypoint" }, { spec: { gatewayClassName } });
  const modes = (gatewayClassName: string) => {
    const store = new MeshStore(defaultMeshSettings);
    for (const object of [...mesh, service()]) store.set(object);
    const change = { old: gatewayOf("istio-waypoint"), object: gatewayOf(gatewayClassName) };
    const { findings } = judge([namespaceWaypointLeft], store, [change]);
    return findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn"));
  };
  assert.deepEqual(modes("waypoints-of-bank"), ["deny"]);
  assert.deepEqual(modes("istio"), ["deny"]);
});

test("a class that no GatewayClass of the mesh explains may be one of Istio's, if not all are known: a warning", () => {
  const gatewayOf = (gatewayClassName: string) =>
    inBank("gateway.networking.k8s.io/v1", "Gateway", { name: "waypoint" }, { spec: { gatewayClassName } });
  const classOf = (controllerName: string) =>
    readAny({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "GatewayClass",
      metadata: { name: "waypoints-of-bank" },
      spec: { controllerName },
    }) as AnyObject;
  const modes = (classes: readonly AnyObject[], knowledge: Knowledge) => {
    const store = new MeshStore(meshSettingsOf(classes), new Map([["GatewayClass", knowledge]]));
    for (const object of [...mesh, service(), ...classes]) store.set(object);
    const change = { old: gatewayOf("istio-waypoint"), object: gatewayOf("waypoints-of-bank") };
    const { findings } = judge([namespaceWaypointLeft], store, [change]);
    return findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn"));
  };
  assert.deepEqual(modes([], "unknown"), ["warn"]);
  assert.deepEqual(modes([], "complete"), ["deny"]);
  assert.deepEqual(modes([classOf("example.com/waypoint")], "assumed"), ["deny"]);
  assert.deepEqual(modes([classOf("istio.io/mesh-controller")], "assumed"), []);
});

test("a GatewayClass that comes or goes is judged like a change of the Gateways of its class", () => {
  const gateway = inBank(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { name: "waypoint" },
    { spec: { gatewayClassName: "waypoints-of-bank" } },
  );
  const own = readAny({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GatewayClass",
    metadata: { name: "waypoints-of-bank" },
    spec: { controllerName: "istio.io/mesh-controller" },
  }) as AnyObject;
  const store = new MeshStore(meshSettingsOf([own]), new Map([["GatewayClass", "assumed"]]));
  for (const object of [...mesh, gateway, service(), own]) store.set(object);
  const { findings } = judge([namespaceWaypointLeft], store, [{ old: own }]);
  assert.deepEqual(
    findings.map((finding) => (finding.onlyWarns === undefined ? "deny" : "warn")),
    ["warn"],
  );
});
