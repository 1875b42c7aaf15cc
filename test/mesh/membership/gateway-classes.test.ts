import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import {
  gatewayControllerOf,
  isForIngress,
  isIstiosWaypoint,
  isOfAnotherController,
  isOfUnknownController,
  labelsOfGatewayPods,
  serviceAccountOf,
} from "../../../src/mesh/membership/gateways.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../../src/view/settings.ts";

const gatewayClass = (name: string, controllerName: string) =>
  readObject("GatewayClass", { kind: "GatewayClass", metadata: { name }, spec: { controllerName } });
const settings = meshSettingsOf([
  gatewayClass("internal", "istio.io/gateway-controller"),
  gatewayClass("larger", "istio.io/mesh-controller"),
  gatewayClass("far", "istio.io/unmanaged-gateway"),
  gatewayClass("between", "istio.io/eastwest-controller"),
  gatewayClass("vendors", "example.com/gateway"),
  gatewayClass("agents", "istio.io/agentgateway-controller"),
  gatewayClass("istio-remote", "istio.io/gateway-controller"),
  gatewayClass("istio", "example.com/gateway"),
]);
const of = (gatewayClassName: string) =>
  readObject("KubernetesGateway", {
    kind: "Gateway",
    metadata: { name: "g", namespace: "infra" },
    spec: { gatewayClassName },
  });

test("a GatewayClass says which of istiod's controllers has a class", () => {
  const controllers = ["internal", "larger", "far", "between", "vendors", "agents", "nowhere", "constructor"].map(
    (name) => gatewayControllerOf(of(name), settings),
  );
  assert.deepEqual(controllers, [
    "istio.io/gateway-controller",
    "istio.io/mesh-controller",
    "istio.io/unmanaged-gateway",
    "istio.io/eastwest-controller",
    ...[undefined, undefined, undefined, undefined],
  ]);
});

test("istiod's own names count without a GatewayClass, and against one of another controller", () => {
  for (const known of [settings, defaultMeshSettings]) {
    assert.equal(gatewayControllerOf(of("istio"), known), "istio.io/gateway-controller");
    assert.equal(gatewayControllerOf(of("istio-waypoint"), known), "istio.io/mesh-controller");
    assert.equal(gatewayControllerOf(of("istio-east-west"), known), "istio.io/eastwest-controller");
  }
  assert.equal(gatewayControllerOf(of("istio-remote"), defaultMeshSettings), "istio.io/unmanaged-gateway");
  assert.equal(gatewayControllerOf(of("istio-remote"), settings), "istio.io/gateway-controller");
});

test("a class is another controller's only if its GatewayClass is known", () => {
  const others = ["istio", "internal", "vendors", "agents", "nowhere"].filter((name) =>
    isOfAnotherController(of(name), settings),
  );
  assert.deepEqual(others, ["vendors"]);
  const unknown = ["istio", "internal", "vendors", "agents", "nowhere"].filter((name) =>
    isOfUnknownController(of(name), settings),
  );
  assert.deepEqual(unknown, ["agents", "nowhere"]);
});

test("account, label and kind of proxy follow the controller", () => {
  assert.equal(serviceAccountOf(of("internal"), settings), "g-internal");
  assert.equal(serviceAccountOf(of("larger"), settings), "g");
  assert.equal(labelsOfGatewayPods(of("larger"), settings)["gateway.istio.io/managed"], "istio.io-mesh-controller");
  assert.equal(labelsOfGatewayPods(of("larger"), settings)["gateway.networking.k8s.io/gateway-class-name"], "larger");
  assert.ok(isIstiosWaypoint(of("larger"), settings) && !isForIngress(of("larger"), settings));
  assert.ok(isForIngress(of("internal"), settings) && !isForIngress(of("internal"), defaultMeshSettings));
});
