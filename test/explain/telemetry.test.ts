import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import type { Target } from "../../src/explain/target.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);

const read = (apiVersion: string, kind: string, [namespace, name]: readonly [string, string], more: object) => {
  const object = readAny({ apiVersion, kind, metadata: { namespace, name }, ...more }, "default");
  assert.ok(object !== undefined);
  return object;
};
const namespace = (name: string, labels: object) => read("v1", "Namespace", ["", name], { metadata: { name, labels } });
const telemetry = (at: string, name: string, spec: object) =>
  read("telemetry.istio.io/v1", "Telemetry", [at, name], { spec });

const meshConfig = read("v1", "ConfigMap", ["istio-system", "istio"], {
  data: { mesh: "{ accessLogFile: /dev/stdout, defaultProviders: { metrics: [prometheus] } }" },
});
const off = { accessLogging: [{ providers: [{ name: "envoy" }], disabled: true }] };
const world: readonly AnyObject[] = [
  namespace("istio-system", {}),
  namespace("infra", {}),
  namespace("shop", {
    "istio.io/dataplane-mode": "ambient",
    "istio.io/use-waypoint": "shared",
    "istio.io/use-waypoint-namespace": "infra",
  }),
  namespace("books", { "istio-injection": "enabled" }),
  read("gateway.networking.k8s.io/v1", "Gateway", ["infra", "shared"], {
    spec: {
      gatewayClassName: "istio-waypoint",
      listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
    },
  }),
  read("v1", "Service", ["shop", "web"], { spec: { ports: [{ port: 80 }] } }),
  read("apps/v1", "Deployment", ["books", "api"], { spec: { template: { metadata: { labels: { app: "api" } } } } }),
  telemetry("istio-system", "mesh", { accessLogging: [{ providers: [{ name: "envoy" }] }] }),
  telemetry("infra", "quiet", off),
  telemetry("shop", "of-web", {
    targetRefs: [{ group: "", kind: "Service", name: "web" }],
    metrics: [{ providers: [{ name: "prometheus" }], overrides: [{ disabled: true }] }],
  }),
  telemetry("books", "of-api", { selector: { matchLabels: { app: "api" } }, ...off }),
];

function explained(target: Target, objects: readonly AnyObject[]): readonly string[] {
  const settings = meshSettingsOf(objects, defaultMeshSettings);
  const mesh = new MeshStore(settings, new Map(allKinds.map((kind) => [kind, "complete" as const])));
  for (const object of objects) mesh.set(object);
  const { lines } = explanationOf(target, { mesh, policies, selection: selectionOf(policies), rules }, "now");
  return lines.filter(({ key }) => key === "telemetry").map(({ text }) => text);
}
const workload: Target = { kind: "workload", originKind: "Deployment", namespace: "books", name: "api" };
const host: Target = { kind: "host", host: "web.shop.svc.cluster.local", from: "shop" };

test("what proxies and waypoints log and count is said with the Telemetries that decide it", () => {
  const objects = [...world, meshConfig];
  assert.deepEqual(explained({ kind: "namespace", name: "books" }, objects), [
    "Telemetry of sidecars that none selects: access log on, metrics on, by Telemetry istio-system/mesh",
  ]);
  assert.deepEqual(explained(workload, objects), [
    "Telemetry of its proxy: access log off, metrics on, by Telemetry istio-system/mesh, Telemetry books/of-api, of which later ones win",
  ]);
  assert.deepEqual(explained(host, objects), [
    "Telemetry of the waypoint: access log off, metrics off, by Telemetry istio-system/mesh, Telemetry infra/quiet, Telemetry shop/of-web, of which later ones win",
  ]);
  assert.deepEqual(explained({ kind: "namespace", name: "shop" }, [...objects, telemetry("shop", "other", off)]), []);
  const more = read("v1", "Service", ["shop", "more"], { spec: { ports: [{ port: 80 }] } });
  assert.deepEqual(explained({ kind: "namespace", name: "shop" }, [...objects, more]), [
    "Telemetry of the waypoint of its Services: access log off, metrics on, by Telemetry istio-system/mesh, Telemetry infra/quiet, of which later ones win",
  ]);
});

test("what an unknown mesh config decides is not known, and without a Telemetry nothing is said", () => {
  assert.deepEqual(explained({ kind: "namespace", name: "books" }, world), [
    "Telemetry of sidecars that none selects: access log on, metrics not known, by Telemetry istio-system/mesh",
  ]);
  assert.deepEqual(
    explained(
      workload,
      world.filter(({ kind }) => kind !== "Telemetry"),
    ),
    [],
  );
});
