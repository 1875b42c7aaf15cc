import assert from "node:assert/strict";
import { test } from "node:test";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import { readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const { policies } = loadPolicies([], rules);
const named = (namespace: string, name: string) => ({ metadata: { namespace, name } });

/** What would fail if namespace `shop` were STRICT, while the Sidecar of namespace `web` imports these hosts. */
function strict(hosts: readonly string[]): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  const pods = (app: string) => ({ spec: { template: { metadata: { labels: { app } } } } });
  for (const name of ["shop", "web"]) {
    mesh.set(readObject("Namespace", { metadata: { name, labels: { "istio-injection": "enabled" } } }));
    mesh.set(readObject("Workload", { kind: "Deployment", apiVersion: "apps/v1", ...named(name, "w"), ...pods("w") }));
  }
  mesh.set(
    readObject("Service", {
      kind: "Service",
      ...named("shop", "cart"),
      spec: { selector: { app: "w" }, ports: [{ port: 80 }] },
    }),
  );
  mesh.set(readObject("Sidecar", { ...named("web", "default"), spec: { egress: [{ hosts }] } }));
  const host = "cart.shop.svc.cluster.local";
  const trafficPolicy = { tls: { mode: "DISABLE" } };
  mesh.set(readObject("DestinationRule", { ...named("web", "cart"), spec: { host, trafficPolicy } }));
  mesh.set(readObject("VirtualService", { ...named("shop", "x"), spec: { hosts: ["x"], http: [{}] } }));
  const input = { mesh, policies, selection: selectionOf(policies), rules };
  const flat = (lines: readonly ExplanationLine[]): readonly ExplanationLine[] =>
    lines.flatMap((line) => [line, ...flat(line.lines ?? [])]);
  return flat(explanationOf({ kind: "namespace", name: "shop" }, input, "strict").lines)
    .filter(({ key }) => ["strict.hidden", "strict.destinationRule"].includes(key))
    .map(({ text }) => text);
}

test("a DestinationRule whose clients import the host is refused under STRICT", () => {
  assert.deepEqual(strict(["./*", "shop/*"]), [
    "DestinationRules that make clients use other TLS settings: 1",
    "DestinationRule web/cart: clients in web send plaintext (tls DISABLE, or no mode) to cart.shop.svc.cluster.local",
  ]);
});

test("clients whose Sidecar hides the host do not use it, and would send plaintext", () => {
  assert.deepEqual(strict(["./*"]), [
    "Namespaces whose Sidecars do not import services of this namespace, so that calls to these are plaintext past the mesh: 1",
    "namespace web: Service shop/cart",
  ]);
});
