import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { labelsOfGatewayPods } from "../../../src/mesh/membership/gateways.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

test("the pods of a Gateway have the label of the controller of its class", () => {
  const managed = (gatewayClassName: string) => {
    const metadata = { name: "g", namespace: "infra" };
    const gateway = readObject("KubernetesGateway", { kind: "Gateway", metadata, spec: { gatewayClassName } });
    return labelsOfGatewayPods(gateway, defaultMeshSettings)["gateway.istio.io/managed"];
  };
  assert.equal(managed("istio"), "istio.io-gateway-controller");
  assert.equal(managed("istio-waypoint"), "istio.io-mesh-controller");
  assert.equal(managed("istio-east-west"), "istio.io-eastwest-controller");
});
