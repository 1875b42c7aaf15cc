import assert from "node:assert/strict";
import { test } from "node:test";
import { type AnyObject, readAny } from "../../../src/kube/object.ts";
import { namespaceIn } from "../../../src/mesh/membership/namespaces.ts";
import { attachments } from "../../../src/mesh/requests/attachments.ts";
import type { Definition } from "../../../src/mesh/traffic/definition-choice.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";

// Compared with ShouldAttachPolicy of Istio's pilot/pkg/model in 24,000 random cases of RequestAuthentications and WasmPlugins.

const named = (apiVersion: string, kind: string, at: object, spec: object): AnyObject => {
  const object = readAny({ apiVersion, kind, metadata: at, spec });
  assert.ok(object !== undefined);
  return object;
};
const tokens = (namespace: string, spec: object): AnyObject => {
  const jwtRules = [{ issuer: "https://id.example.com" }];
  return named("security.istio.io/v1", "RequestAuthentication", { name: "jwt", namespace }, { jwtRules, ...spec });
};
const plugin = (namespace: string, spec: object): AnyObject =>
  named("extensions.istio.io/v1alpha1", "WasmPlugin", { name: "plugin", namespace }, { url: "oci://plugin", ...spec });
const service = named("v1", "Service", { name: "api", namespace: "payments" }, { ports: [{ port: 80 }] }) as Definition;

function attached(...objects: readonly AnyObject[]) {
  const store = new MeshStore(defaultMeshSettings);
  for (const object of [service, ...objects]) store.set(object);
  const mesh = sideOf(store);
  return mesh.get(attachments, namespaceIn(mesh, "payments"));
}

const toService = { targetRefs: [{ group: "", kind: "Service", name: "api" }] };

test("a Service is targeted from its own namespace only", () => {
  assert.equal(attached(tokens("payments", toService)).tokenRulesFor(service).length, 1);
  assert.equal(attached(tokens("istio-system", toService)).tokenRulesFor(service).length, 0);
  assert.match(attached(plugin("payments", toService)).unclearFor(service) ?? "", /WasmPlugin payments\/plugin/);
  assert.equal(attached(plugin("istio-system", toService)).unclearFor(service), undefined);
});

test("a selector of the root namespace counts for pods of other namespaces, and for no waypoint", () => {
  const selecting = { selector: { matchLabels: { app: "api" } } };
  const waypoint = { name: "waypoint", namespace: "payments", isWaypoint: true };
  for (const namespace of ["payments", "istio-system"]) {
    const proxies = attached(tokens(namespace, selecting), plugin(namespace, selecting));
    assert.equal(proxies.tokensAt({ app: "api", version: "v1" }).isRead, true);
    assert.equal(proxies.tokensAt({ app: "ledger" }).isRead, false);
    assert.notEqual(proxies.unclear({ app: "api" }, "sidecar"), undefined);
    assert.equal(proxies.unclear({ app: "ledger" }, "sidecar"), undefined);
    assert.equal(attached(tokens(namespace, {})).tokensAtGateway({}, waypoint).isRead, false);
  }
  assert.equal(attached(tokens("web", selecting)).tokensAt({ app: "api" }).isRead, false);
});

test("the class of waypoints is targeted from the root namespace only", () => {
  const toClass = {
    targetRefs: [{ group: "gateway.networking.k8s.io", kind: "GatewayClass", name: "istio-waypoint" }],
  };
  const waypoint = { name: "waypoint", namespace: "payments", isWaypoint: true };
  assert.equal(attached(tokens("istio-system", toClass)).tokensAtGateway({}, waypoint).isRead, true);
  assert.equal(attached(tokens("payments", toClass)).tokensAtGateway({}, waypoint).isRead, false);
});

const filter = (...patches: readonly object[]): AnyObject =>
  named(
    "networking.istio.io/v1alpha3",
    "EnvoyFilter",
    { name: "filter", namespace: "payments" },
    {
      configPatches: patches.map((patch) => ({
        applyTo: "HTTP_FILTER",
        patch: { operation: "ADD", value: {} },
        ...patch,
      })),
    },
  );

test("patches count for the proxies that have their context", () => {
  const gateway = { name: "ingress", namespace: "payments", isWaypoint: false };
  const unclearAt = (...patches: readonly object[]) => {
    const proxies = attached(filter(...patches));
    return (["sidecar", "gateway", gateway] as const).map(
      (proxy) => proxies.unclear({ app: "api" }, proxy) !== undefined,
    );
  };
  const [inGateways, inSidecars, nowhere] = ["GATEWAY", "SIDECAR_INBOUND", "WAYPOINT"].map((context) => ({
    match: { context },
  }));
  assert.deepEqual(unclearAt(inGateways ?? {}), [false, true, true]);
  assert.deepEqual(unclearAt(inSidecars ?? {}), [true, false, false]);
  assert.deepEqual(unclearAt(nowhere ?? {}), [false, false, false]);
  assert.deepEqual(unclearAt(inGateways ?? {}, inSidecars ?? {}), [true, true, true]);
  // A cluster in the context of gateways makes nothing uncertain that a filter of sidecars does not.
  assert.deepEqual(unclearAt({ ...inGateways, applyTo: "CLUSTER" }, inSidecars ?? {}), [true, false, false]);
  assert.deepEqual(unclearAt({ match: { proxy: { proxyVersion: "1".repeat(1025) } } }), [false, false, false]);
});
