import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);

function read(apiVersion: string, kind: string, metadata: object, more: object): AnyObject {
  const object = readAny({ apiVersion, kind, metadata, ...more }, "default");
  assert.ok(object !== undefined);
  return object;
}
const security = (kind: string, namespace: string, name: string, spec: object) =>
  read("security.istio.io/v1", kind, { namespace, name }, { spec });
const waypoint = (namespace: string, name: string) =>
  read(
    "gateway.networking.k8s.io/v1",
    "Gateway",
    { namespace, name },
    {
      spec: {
        gatewayClassName: "istio-waypoint",
        listeners: [{ name: "mesh", port: 15008, protocol: "HBONE", allowedRoutes: { namespaces: { from: "All" } } }],
      },
    },
  );
const at = (name: string) => ({ targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name }] });
const ofWeb = { targetRefs: [{ group: "", kind: "Service", name: "web" }] };
const ofClass = {
  targetRefs: [{ group: "gateway.networking.k8s.io", kind: "GatewayClass", name: "istio-waypoint" }],
};
const patch = { configPatches: [{ applyTo: "HTTP_FILTER", patch: { operation: "INSERT_FIRST" } }] };

const namespace = (name: string, labels: object = {}, annotations: object = {}) =>
  read("v1", "Namespace", { name, labels, annotations }, {});
const shop = (more: object = {}, weight = "25") =>
  namespace(
    "shop",
    {
      "istio.io/dataplane-mode": "ambient",
      "istio.io/use-waypoint": "shared",
      "istio.io/use-waypoint-namespace": "infra",
      ...more,
    },
    { "istio.io/use-waypoint-canary-weight": weight },
  );
const canary = { "istio.io/use-waypoint-canary": "next", "istio.io/use-waypoint-canary-namespace": "infra" };

const world: readonly AnyObject[] = [
  namespace("istio-system"),
  namespace("infra"),
  waypoint("infra", "shared"),
  waypoint("infra", "next"),
  // Nothing uses it, so what is for it has nothing to do with the Service.
  waypoint("shop", "unused"),
  read("v1", "Service", { namespace: "shop", name: "web" }, { spec: { ports: [{ port: 80 }] } }),
  security("AuthorizationPolicy", "infra", "closes", at("shared")),
  security("AuthorizationPolicy", "shop", "of-unused", { ...at("unused"), action: "DENY", rules: [{}] }),
  security("AuthorizationPolicy", "shop", "of-web", {
    ...ofWeb,
    rules: [{ from: [{ source: { namespaces: ["a"] } }] }],
  }),
  security("RequestAuthentication", "infra", "tokens", { ...at("shared"), jwtRules: [{ issuer: "i" }] }),
  security("RequestAuthentication", "shop", "there", { ...at("shared"), jwtRules: [{ issuer: "j" }] }),
  read("extensions.istio.io/v1alpha1", "WasmPlugin", { namespace: "istio-system", name: "all" }, { spec: ofClass }),
  read("extensions.istio.io/v1alpha1", "WasmPlugin", { namespace: "shop", name: "web" }, { spec: ofWeb }),
  read(
    "networking.istio.io/v1alpha3",
    "EnvoyFilter",
    { namespace: "infra", name: "f" },
    { spec: { ...at("next"), ...patch } },
  ),
  read(
    "networking.istio.io/v1alpha3",
    "EnvoyFilter",
    { namespace: "shop", name: "f" },
    { spec: { ...ofWeb, ...patch } },
  ),
];

function explained(of: AnyObject, keys: readonly string[]): readonly string[] {
  const objects = [...world, of];
  const settings = meshSettingsOf(objects, defaultMeshSettings);
  const mesh = new MeshStore(settings, new Map(allKinds.map((kind) => [kind, "complete" as const])));
  for (const object of objects) mesh.set(object);
  const target = { kind: "host", host: "web.shop.svc.cluster.local", from: "shop" } as const;
  const { lines } = explanationOf(target, { mesh, policies, selection: selectionOf(policies), rules }, "now");
  const flat = (some: readonly ExplanationLine[]): readonly ExplanationLine[] =>
    some.flatMap((line) => [line, ...flat(line.lines ?? [])]);
  return flat(lines)
    .filter(({ key }) => keys.includes(key))
    .map(({ text }) => text);
}

const attached = ["authorization.waypoint", "authorization.policy", "waypoint.attached"];

test("of a Service behind a waypoint of another namespace, the policies are those of both namespaces that count there", () => {
  assert.deepEqual(explained(shop(), attached), [
    "Authorization at the waypoint (proxies enforce it): denied by default by AuthorizationPolicy infra/closes: requests that no ALLOW policy matches are denied",
    "ALLOW AuthorizationPolicy infra/closes (at Gateway shared): allows nobody: it has no rules",
    "ALLOW AuthorizationPolicy shop/of-web (at Service web): allows namespace a",
    "At the waypoint, for requests to the Service: RequestAuthentication infra/tokens, WasmPlugin istio-system/all, WasmPlugin shop/web",
  ]);
});

test("a canary is shown with its share, and with what counts there", () => {
  const keys = ["waypoint.canary", "atWaypoint", "waypoint.attached"];
  assert.deepEqual(explained(shop(canary), keys), [
    "Canary waypoint: infra/next gets 25 % of the connections, of ambient clients and, with istio.io/ingress-use-waypoint, of gateways",
    "At the waypoint infra/shared, which gets 75 % of the connections, for ambient clients (looked up from infra):",
    "At the waypoint, for requests to the Service: RequestAuthentication infra/tokens, WasmPlugin istio-system/all, WasmPlugin shop/web",
    "At the waypoint infra/next, which gets 25 % of the connections, for ambient clients (looked up from infra):",
    "At the waypoint, for requests to the Service: EnvoyFilter infra/f, WasmPlugin istio-system/all, WasmPlugin shop/web",
  ]);
  assert.deepEqual(explained(shop({ "istio.io/use-waypoint-canary": "gone" }), keys.slice(0, 1)), [
    "Canary waypoint: shop/gone is not usable, and gets nothing: there is no such Gateway",
  ]);
  assert.deepEqual(explained(shop(canary, "0"), keys.slice(0, 2)), [
    "At the waypoint, for ambient clients (looked up from infra):",
  ]);
});
