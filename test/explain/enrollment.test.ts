import assert from "node:assert/strict";
import { test } from "node:test";
import { captureLine, enrollmentLine } from "../../src/explain/enrollment.ts";
import { readObject } from "../../src/kube/object.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

test("a namespace without labels, whose pods a webhook of an injector selects", () => {
  const injector = readObject("AdmissionWebhook", {
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "istio-sidecar-injector", labels: { "istio.io/rev": "default" } },
    webhooks: [{ namespaceSelector: { matchExpressions: [{ key: "istio-injection", operator: "DoesNotExist" }] } }],
  });
  const namespace = readObject("Namespace", { kind: "Namespace", metadata: { name: "shop" } });
  const workload = readObject("Workload", { kind: "Deployment", metadata: { name: "api", namespace: "shop" } });
  const mesh = new MeshStore(meshSettingsOf([injector]));
  for (const object of [injector, namespace, workload]) mesh.set(object);

  const { value, text } = enrollmentLine(namespace, mesh);
  assert.equal(value, "sidecar");
  assert.equal(
    text,
    "Enrollment: sidecars are injected into its pods (a webhook of an injector selects them without any label)",
  );
  assert.equal(
    captureLine(workload, namespace, mesh).text,
    "Captured by a sidecar: a webhook of an injector selects it without any label",
  );
});
