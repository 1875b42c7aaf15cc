import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { impliedNamespace, readObject } from "../../../src/kube/object.ts";
import { captureOf, enrollmentOf, staysOut } from "../../../src/mesh/membership/capture.ts";
import { isOwned, isProxy } from "../../../src/mesh/membership/workloads.ts";

type Labels = Record<string, string>;
const namespace = (labels: Labels, name = "payments") =>
  readObject("Namespace", { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
interface Pod {
  labels?: Labels;
  annotations?: Labels;
  hostNetwork?: boolean;
}
const deployment = ({ labels, annotations, hostNetwork }: Pod, where = "payments") =>
  readObject("Workload", {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "api", namespace: where },
    spec: { template: { metadata: { labels, annotations }, spec: { hostNetwork } } },
  });

const ambient = { "istio.io/dataplane-mode": "ambient" };
const injected = { "istio-injection": "enabled" };
const notInjected = { "sidecar.istio.io/inject": "false" };
const wishesInjection = { "sidecar.istio.io/inject": "true" };

describe("enrollmentOf", () => {
  const cases: [string, Labels, string][] = [
    ["no label", {}, "none"],
    ["ambient", ambient, "ambient"],
    ["injection", injected, "sidecar"],
    ["a revision", { "istio.io/rev": "1-30" }, "sidecar"],
    ["both", { ...ambient, ...injected }, "ambient-and-sidecar"],
    ["dataplane-mode none", { "istio.io/dataplane-mode": "none" }, "opted-out"],
    ["a misspelt mode enrolls nothing", { "istio.io/dataplane-mode": "Ambient" }, "opted-out"],
    ["injection disabled", { "istio-injection": "disabled" }, "opted-out"],
    ["injection disabled beats a revision", { "istio-injection": "disabled", "istio.io/rev": "1-30" }, "opted-out"],
    ["ambient, injection disabled", { ...ambient, "istio-injection": "disabled" }, "ambient"],
  ];
  for (const [what, labels, expected] of cases)
    test(what, () => assert.equal(enrollmentOf(namespace(labels)), expected));

  test("kube-system is never enrolled", () => {
    assert.equal(enrollmentOf(namespace({ ...ambient, ...injected }, "kube-system")), "opted-out");
  });
  test("a namespace that was not seen", () => {
    assert.equal(enrollmentOf(impliedNamespace("payments")), "unknown");
  });
});

describe("captureOf", () => {
  const cases: [string, Labels | undefined, Pod, string][] = [
    ["nothing enrolls it", {}, {}, "none"],
    ["ambient namespace", ambient, {}, "ambient"],
    ["ambient namespace, host network", ambient, { hostNetwork: true }, "none"],
    ["ambient namespace, pod says none", ambient, { labels: { "istio.io/dataplane-mode": "none" } }, "none"],
    ["ambient namespace, pod misspells it", ambient, { labels: { "istio.io/dataplane-mode": "of" } }, "ambient"],
    ["ambient pod alone", {}, { labels: ambient }, "ambient"],
    [
      "ambient pod with a sidecar",
      {},
      { labels: ambient, annotations: { "sidecar.istio.io/status": "{}" } },
      "sidecar",
    ],
    ["ambient namespace, pod asks for a sidecar", ambient, { labels: wishesInjection }, "sidecar"],
    ["ambient namespace, pod names a revision", ambient, { labels: { "istio.io/rev": "1-30" } }, "sidecar"],
    ["injected namespace", injected, {}, "sidecar"],
    ["injected namespace, pod refuses by label", injected, { labels: notInjected }, "none"],
    ["injected namespace, pod refuses by annotation", injected, { annotations: notInjected }, "none"],
    ["the label beats the annotation", injected, { labels: wishesInjection, annotations: notInjected }, "sidecar"],
    ["an unknown value is no value", injected, { labels: { "sidecar.istio.io/inject": "no" } }, "sidecar"],
    ["injected namespace, host network", injected, { hostNetwork: true }, "none"],
    ["namespace with a revision", { "istio.io/rev": "1-30" }, {}, "sidecar"],
    ["namespace without labels, pod asks", {}, { labels: wishesInjection }, "sidecar"],
    ["namespace without labels, pod asks by annotation only", {}, { annotations: wishesInjection }, "none"],
    ["injection disabled, pod asks", { "istio-injection": "disabled" }, { labels: wishesInjection }, "none"],
    ["both labels", { ...ambient, ...injected }, {}, "sidecar"],
    ["both labels, pod refuses the sidecar", { ...ambient, ...injected }, { labels: notInjected }, "ambient"],
    ["unseen namespace", undefined, {}, "unknown"],
    ["unseen namespace, host network", undefined, { hostNetwork: true }, "none"],
    ["unseen namespace, pod refuses the sidecar", undefined, { labels: notInjected }, "unknown"],
    ["unseen namespace, ambient pod without sidecar", undefined, { labels: { ...ambient, ...notInjected } }, "ambient"],
    ["unseen namespace, ambient pod", undefined, { labels: ambient }, "unknown"],
    ["unseen namespace, pod has a sidecar", undefined, { annotations: { "sidecar.istio.io/status": "{}" } }, "sidecar"],
  ];
  for (const [what, labels, pod, expected] of cases)
    test(what, () => {
      const where = labels === undefined ? impliedNamespace("payments") : namespace(labels);
      assert.equal(captureOf(deployment(pod), where), expected);
      if (labels === undefined) assert.equal(captureOf(deployment(pod), undefined), expected);
    });

  test("kube-system is left out even where nothing else is known of it", () => {
    assert.equal(captureOf(deployment({ labels: wishesInjection }, "kube-system"), undefined), "none");
  });
});

test("staysOut: a workload's own word", () => {
  assert.equal(staysOut(deployment({})), false);
  assert.equal(staysOut(deployment({ hostNetwork: true })), true);
  assert.equal(staysOut(deployment({ labels: notInjected })), true);
  assert.equal(staysOut(deployment({ labels: { ...notInjected, ...ambient } })), false);
  assert.equal(staysOut(deployment({ labels: { "istio.io/dataplane-mode": "none" } })), true);
});

test("isOwned: by another workload that controls it, of whatever kind", () => {
  const pod = (reference: object) =>
    readObject("Workload", { kind: "Pod", metadata: { name: "x", ownerReferences: [reference] } });
  assert.equal(isOwned(pod({ apiVersion: "apps/v1", kind: "ReplicaSet", name: "x", controller: true })), true);
  assert.equal(
    isOwned(pod({ apiVersion: "argoproj.io/v1alpha1", kind: "Rollout", name: "x", controller: true })),
    true,
  );
  assert.equal(isOwned(pod({ apiVersion: "apps/v1", kind: "ReplicaSet", name: "x" })), false);
  assert.equal(isOwned(pod({ apiVersion: "apps.kruise.io/v1", kind: "CloneSet", name: "x", controller: true })), false);
});

test("isProxy: what istiod or the injector makes a gateway", () => {
  assert.equal(isProxy(deployment({ labels: { "gateway.istio.io/managed": "istio.io-mesh-controller" } })), true);
  assert.equal(isProxy(deployment({ annotations: { "inject.istio.io/templates": "sidecar, gateway" } })), true);
  assert.equal(isProxy(deployment({ annotations: { "inject.istio.io/templates": "sidecar" } })), false);
});
