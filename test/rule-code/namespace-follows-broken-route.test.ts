import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceFollowsBrokenRoute } from "../../src/rules/namespace/follows-broken-route.ts";
import { virtualServiceSubsetNotFound } from "../../src/rules/virtual-service/subset-not-found.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// Requests that were answered, and follow a route without a cluster because of a Sidecar, are a loss; others may be none.

const object = (kind: string, namespace: string, spec: object, apiVersion = "networking.istio.io/v1") =>
  readAny({ apiVersion, kind, metadata: { name: "cart", namespace }, spec }) as AnyObject;
const host = "cart.shop.svc.cluster.local";
const shop = readAny({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", labels: { "istio-injection": "enabled" } },
}) as AnyObject;
const pods = object("Deployment", "shop", { template: { metadata: { labels: { app: "web" } } } }, "apps/v1");
const service = object("Service", "shop", { selector: { app: "cart" }, ports: [{ name: "http", port: 80 }] }, "v1");
const sidecar = (namespace: string, ...hosts: string[]) => object("Sidecar", namespace, { egress: [{ hosts }] });
const route = (namespace: string, destination: object, match?: object) =>
  object("VirtualService", namespace, {
    hosts: [host],
    http: [{ ...(match && { match: [match] }), route: [{ destination }] }],
  });
const broken = route("canary", { host: "cart.shop.svc.cluster.local", subset: "v2" });
const nowhere = route("canary", { host: "nothing" });

function introduced(view: readonly AnyObject[], changed: AnyObject, isDeleted = false): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of view) mesh.set(one);
  const old = mesh.find(changed.kind, keyOf(changed));
  const { findings, errors } = judge([namespaceFollowsBrokenRoute, virtualServiceSubsetNotFound], mesh, [
    { old, object: isDeleted ? undefined : changed },
  ]);
  assert.deepEqual(errors, []);
  return findings
    .filter((finding) => finding.introduced)
    .map(({ rule, onlyWarns, class: kind }) => `${onlyWarns === undefined ? "deny" : "warn"} ${kind} ${rule.id}`);
}
const lost = ["deny relational namespace-follows-broken-route"];
const warned = ["warn relational namespace-follows-broken-route"];

test("a Sidecar goes that had the service itself: a loss", () => {
  const hiding = sidecar("shop", "./*");
  assert.deepEqual(introduced([shop, pods, service, nowhere, hiding], hiding, true), lost);
  assert.deepEqual(introduced([shop, pods, service, nowhere, hiding], sidecar("shop", "*/*")), lost);
  const ofRoot = sidecar("istio-system", "./*");
  assert.deepEqual(introduced([shop, pods, service, nowhere, ofRoot], ofRoot, true), lost);
  assert.deepEqual(introduced([shop, pods, service, nowhere, ofRoot], sidecar("shop", "*/*")), lost);
});

test("the other order: the Sidecar is gone when the route comes, which other rules report", () => {
  const found = introduced([shop, pods, service], broken);
  assert.deepEqual([...new Set(found)], ["deny relational virtual-service-subset-not-found"]);
});

test("requests that no sidecar knew the service of, that no workload sends, or that may not reach the route: a warning", () => {
  const elsewhere = sidecar("shop", "./other.shop.svc.cluster.local");
  assert.deepEqual(introduced([shop, pods, service, nowhere, elsewhere], elsewhere, true), warned);
  const hiding = sidecar("shop", "./*");
  assert.deepEqual(introduced([shop, service, nowhere, hiding], hiding, true), [], "no workloads");
  const routes = [{ route: [{ destination: { host } }] }, { route: [{ destination: { host: "nothing" } }] }];
  const unreached = object("VirtualService", "canary", { hosts: [host], http: routes });
  assert.deepEqual(introduced([shop, pods, service, unreached, hiding], hiding, true), warned);
});

test("clients that another rule names are not named again", () => {
  const hiding = sidecar("shop", "./x.shop.svc.cluster.local");
  const own = route("shop", { host: "cart", subset: "v2" });
  const found = introduced([shop, pods, service, own, hiding], hiding, true);
  assert.deepEqual(found, ["deny relational virtual-service-subset-not-found"]);
});
