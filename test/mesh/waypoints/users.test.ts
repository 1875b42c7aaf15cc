import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { isUnusedWaypoint } from "../../../src/mesh/waypoints/users.ts";
import { meshSettingsOf } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

const named = { "istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "infra" };

/** Whether nothing uses a waypoint of infra that another namespace names, and a Service there. */
function isUnused(allowedRoutes: object | undefined, labels: Record<string, string> = {}): boolean {
  const mesh = new MeshStore(meshSettingsOf([]));
  const listeners = [{ name: "mesh", port: 15_008, protocol: "HBONE", allowedRoutes }];
  const gateway = readObject("KubernetesGateway", {
    metadata: { namespace: "infra", name: "waypoint" },
    spec: { gatewayClassName: "istio-waypoint", listeners },
  });
  mesh.set(gateway);
  mesh.set(readObject("Namespace", { metadata: { name: "shop", labels: { ...named, ...labels } } }));
  return mesh.get(isUnusedWaypoint, gateway);
}

test("a waypoint serves nothing whose listener accepts no namespace that names it", () => {
  const selecting = { namespaces: { from: "Selector", selector: { matchLabels: { shared: "yes" } } } };
  assert.equal(isUnused({ namespaces: { from: "All" } }), false);
  // By default, and for istiod also with None, only its own namespace is accepted.
  assert.equal(isUnused(undefined), true);
  assert.equal(isUnused({ namespaces: { from: "None" } }), true);
  assert.equal(isUnused(selecting), true);
  assert.equal(isUnused(selecting, { shared: "yes" }), false);
});
