import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { kubernetesServiceRoutesTakenOver } from "../../src/rules/kubernetes-service/routes-taken-over.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const service = readAny({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "api", namespace: "payments" },
  spec: { selector: { app: "api" }, ports: [{ name: "http", port: 80 }] },
}) as AnyObject;
const routes = (namespace: string, host: string, created: number) =>
  readAny({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "routes", namespace, creationTimestamp: `2026-01-0${created}T00:00:00Z` },
    spec: { hosts: [host], http: [{ route: [{ destination: { host: "cache.shop.svc.cluster.local" } }] }] },
  }) as AnyObject;

/** What the deletion of the first object shows. */
function shownWithout(deleted: AnyObject, ...others: AnyObject[]): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [service, deleted, ...others]) mesh.set(one);
  const { findings, errors } = judge([kubernetesServiceRoutesTakenOver], mesh, [{ old: deleted, object: undefined }]);
  assert.deepEqual(errors, []);
  return findings.filter(({ introduced }) => introduced).map(({ message }) => message);
}

const exact = "api.payments.svc.cluster.local";
const shown = [
  "VirtualService shop/routes routes the requests that clients of other namespaces send to Service payments/api",
];

test("the VirtualService of another namespace that shows when the owner's own one is deleted", () => {
  assert.deepEqual(shownWithout(routes("payments", exact, 1), routes("shop", exact, 2)), shown);
  for (const wildcard of ["*.payments.svc.cluster.local", "*.local", "*"])
    assert.deepEqual(shownWithout(routes("payments", exact, 2), routes("shop", wildcard, 1)), shown);
  const wide = "*.payments.svc.cluster.local";
  assert.deepEqual(shownWithout(routes("payments", wide, 2), routes("shop", "*.local", 1)), shown);
});

test("nothing shows behind a more specific one", () => {
  assert.deepEqual(shownWithout(routes("payments", "*.local", 1), routes("shop", "*", 2)), shown);
  const other = routes("edge", "*.payments.svc.cluster.local", 2);
  assert.deepEqual(shownWithout(routes("payments", "*.local", 1), other, routes("shop", "*", 1)), []);
});
