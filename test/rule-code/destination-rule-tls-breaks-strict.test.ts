import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { destinationRuleTlsBreaksStrict } from "../../src/rules/destination-rule/tls-breaks-strict.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// A workload that begins to refuse the connections of a DestinationRule is a finding of its own, although others refuse them already.

const read = (apiVersion: string, kind: string, metadata: object, spec: object = {}): AnyObject =>
  readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
const namespace = (name: string) => read("v1", "Namespace", { name, labels: { "istio-injection": "enabled" } });
const app = (name: string): readonly AnyObject[] => [
  read("v1", "Service", { name, namespace: "shop" }, { selector: { app: name }, ports: [{ name: "http", port: 80 }] }),
  pods(name, { app: name }),
];
const pods = (name: string, labels: object) =>
  read("apps/v1", "Deployment", { name, namespace: "shop" }, { template: { metadata: { labels } } });
const mtls = (name: string, spec: object) =>
  read("security.istio.io/v1", "PeerAuthentication", { name, namespace: "shop" }, spec);
const exempt = (labels: object) => mtls("old", { selector: { matchLabels: labels }, mtls: { mode: "PERMISSIVE" } });
const rule = (mode: string, host = "*.shop.svc.cluster.local") =>
  read(
    "networking.istio.io/v1",
    "DestinationRule",
    { name: "d", namespace: "clients" },
    { host, trafficPolicy: { tls: { mode } } },
  );

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): number {
  const mesh = new MeshStore(defaultMeshSettings);
  const strict = mtls("default", { mtls: { mode: "STRICT" } });
  for (const one of [namespace("shop"), namespace("clients"), strict, ...view]) mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const change = { old, object: isDeleted ? undefined : changed };
  const { findings, errors } = judge([destinationRuleTlsBreaksStrict], mesh, [change]);
  assert.deepEqual(errors, []);
  return findings.filter(({ introduced: isNew }) => isNew).length;
}

for (const mode of ["DISABLE", "SIMPLE"]) {
  test(`${mode}: the exemption of one workload goes`, () => {
    const cart = exempt({ app: "cart" });
    assert.equal(introduced([...app("api"), ...app("cart"), cart, rule(mode)], cart, true), 1);
    assert.equal(introduced([...app("api"), ...app("cart"), rule(mode)], cart), 0);
  });

  test(`${mode}: the exemption of one of two versions of a workload goes`, () => {
    const [service, v1] = app("cart") as [AnyObject, AnyObject];
    const v2 = pods("cart-v2", { app: "cart", version: "v2" });
    const old = exempt({ version: "v2" });
    const host = "cart.shop.svc.cluster.local";
    assert.equal(introduced([service, v1, v2, old, rule(mode, host)], old, true), 1);
    assert.equal(introduced([service, v1, v2, rule(mode, host)], v2, true), 0);
  });

  test(`${mode}: what is refused already is no new finding`, () => {
    const [service, v1] = app("cart") as [AnyObject, AnyObject];
    assert.equal(introduced([service, v1, rule(mode)], pods("cart", { app: "cart", version: "v2" })), 0);
    const again = mtls("again", { selector: { matchLabels: { app: "cart" } }, mtls: { mode: "STRICT" } });
    assert.equal(introduced([service, v1, rule(mode)], again), 0);
  });
}

test("of many workloads, fewer are no new finding", () => {
  const apps = Array.from({ length: 40 }, (_, i) => app(`app-${i}`)).flat();
  const labelled = apps.map((one) =>
    one.kind === "Workload" && one.metadata.name >= "app-2"
      ? pods(one.metadata.name, { app: one.metadata.name, old: "" })
      : one,
  );
  assert.equal(introduced([...labelled, rule("DISABLE")], exempt({ old: "" })), 0);
  assert.equal(introduced([...labelled, exempt({ old: "" }), rule("DISABLE")], exempt({ old: "" }), true), 1);
});
