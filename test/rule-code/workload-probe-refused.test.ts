import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { workloadProbeRefused } from "../../src/rules/workload/probe-refused.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const object = (raw: object) => readAny(raw) as AnyObject;
const inRoot = (name: string) => ({ name, namespace: "istio-system" });
const namespace = object({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", labels: { "istio-injection": "enabled" } },
});
const mode = (mode: string) =>
  object({
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: inRoot("default"),
    spec: { mtls: { mode } },
  });
const injector = (values: object) =>
  object({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: inRoot("istio-sidecar-injector"),
    data: { config: "policy: enabled", values: JSON.stringify(values) },
  });
const rewriting = (rewriteAppHTTPProbe: boolean) => injector({ sidecarInjectorWebhook: { rewriteAppHTTPProbe } });
const workload = (annotations: object, image = "a") =>
  object({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "shop" },
    spec: {
      template: {
        metadata: { labels: { app: "web" }, annotations },
        spec: { containers: [{ name: "main", image, readinessProbe: { httpGet: { port: 8080 } } }] },
      },
    },
  });
const off = { "sidecar.istio.io/rewriteAppHTTPProbers": "false" };

/** How many findings a change introduces. */
function introduced(mesh: readonly AnyObject[], old: AnyObject | undefined, now: AnyObject): number {
  const before = [namespace, ...mesh, ...(old === undefined ? [] : [old])];
  const store = new MeshStore(meshSettingsOf(before, defaultMeshSettings));
  for (const one of before) store.set(one);
  const { findings } = judge([workloadProbeRefused], store, [{ old, object: now }]);
  return findings.filter((one) => one.introduced).length;
}

describe("the change that has a probe refused", () => {
  const [strict, permissive] = [mode("STRICT"), mode("PERMISSIVE")];

  test("the workload turns the rewriting off", () => {
    assert.equal(introduced([strict], workload({}), workload(off)), 1);
    assert.equal(introduced([strict], workload(off), workload(off, "b")), 0, "it was so");
    assert.equal(introduced([strict], undefined, workload(off)), 1);
    assert.equal(introduced([permissive], workload({}), workload(off)), 0);
  });

  test("a policy for the whole mesh requires mTLS", () => {
    assert.equal(introduced([workload(off)], permissive, strict), 1);
    assert.equal(introduced([workload({})], permissive, strict), 0);
    assert.equal(introduced([workload({}), rewriting(false)], permissive, strict), 1);
  });

  test("the injector no longer rewrites probes", () => {
    assert.equal(introduced([strict, workload({})], rewriting(true), rewriting(false)), 1);
    assert.equal(introduced([permissive, workload({})], rewriting(true), rewriting(false)), 0);
    assert.equal(introduced([strict, workload({})], rewriting(true), injector({ sidecarInjectorWebhook: {} })), 1);
    assert.equal(introduced([strict, workload({})], rewriting(true), injector({})), 0, "it is not known");
  });

  test("the injector captures the port of the probe", () => {
    const values = (excludeInboundPorts: string) => injector({ global: { proxy: { excludeInboundPorts } } });
    assert.equal(introduced([strict, workload(off)], values("8080"), values("")), 1);
    assert.equal(introduced([strict, workload(off)], values("8080"), values("8080,9090")), 0);
  });
});
