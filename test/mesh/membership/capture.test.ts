import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, impliedNamespace, readObject } from "../../../src/kube/object.ts";
import { captureOf, enrollmentOf, staysOut } from "../../../src/mesh/membership/capture.ts";
import { isNamedAfter } from "../../../src/mesh/membership/owners.ts";
import { isOwned, isProxy } from "../../../src/mesh/membership/workloads.ts";
import { type AllMeshSettings, defaultMeshSettings, meshSettingsOf } from "../../../src/view/settings.ts";

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
const status = { "sidecar.istio.io/status": "{}" };
const templates = (names: string) => ({ "inject.istio.io/templates": names });
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
    test(what, () => assert.equal(enrollmentOf(namespace(labels), defaultMeshSettings), expected));

  test("kube-system is never enrolled", () => {
    assert.equal(enrollmentOf(namespace({ ...ambient, ...injected }, "kube-system"), defaultMeshSettings), "opted-out");
  });
  test("a namespace that was not seen", () => {
    assert.equal(enrollmentOf(impliedNamespace("payments"), defaultMeshSettings), "unknown");
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
    ["ambient namespace, the template claims a sidecar", ambient, { annotations: status }, "none"],
    ["ambient pod, the template claims a sidecar", {}, { labels: ambient, annotations: status }, "none"],
    ["injected namespace, the template claims a sidecar", injected, { annotations: status }, "sidecar"],
    [
      "injected namespace, the template refuses a sidecar and claims one",
      injected,
      { labels: notInjected, annotations: status },
      "none",
    ],
    ["injected as a gateway", injected, { annotations: templates("gateway") }, "none"],
    ["injected as both", injected, { annotations: templates("sidecar, gateway") }, "none"],
    ["injected without a proxy that captures", injected, { annotations: templates("grpc-agent") }, "none"],
    ["injected as a sidecar and more", injected, { annotations: templates("sidecar,custom") }, "sidecar"],
    ["injected with templates that are not known", injected, { annotations: templates("custom") }, "sidecar"],
    [
      "ambient namespace, the injector makes it a gateway",
      ambient,
      { labels: wishesInjection, annotations: templates("gateway") },
      "none",
    ],
    ["ambient namespace, templates for the injector", ambient, { annotations: templates("gateway") }, "ambient"],
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
    ["unseen namespace, the template claims a sidecar", undefined, { annotations: status }, "unknown"],
  ];
  for (const [what, labels, pod, expected] of cases)
    test(what, () => {
      const where = labels === undefined ? impliedNamespace("payments") : namespace(labels);
      assert.equal(captureOf(deployment(pod), where, defaultMeshSettings), expected);
      if (labels === undefined) assert.equal(captureOf(deployment(pod), undefined, defaultMeshSettings), expected);
    });

  test("kube-system is left out even where nothing else is known of it", () => {
    assert.equal(
      captureOf(deployment({ labels: wishesInjection }, "kube-system"), undefined, defaultMeshSettings),
      "none",
    );
  });
});

describe("where the webhooks of the injectors are known", () => {
  const expression = (key: string, operator: string, ...values: readonly string[]) => ({ key, operator, values });
  const where = (...matchExpressions: readonly object[]) => ({ matchExpressions });
  const notLabelled = [expression("istio-injection", "DoesNotExist"), expression("istio.io/rev", "DoesNotExist")];
  const notRefused = where(expression("sidecar.istio.io/inject", "NotIn", "false"));
  const webhooks = (name: string) => [
    { namespaceSelector: where(expression("istio.io/rev", "In", name)), objectSelector: notRefused },
    {
      namespaceSelector: where(...notLabelled),
      objectSelector: where(...notRefused.matchExpressions, expression("istio.io/rev", "In", name)),
    },
  ];
  const auto = {
    namespaceSelector: where(...notLabelled, expression("kubernetes.io/metadata.name", "NotIn", "excepted")),
    objectSelector: where(
      expression("sidecar.istio.io/inject", "DoesNotExist"),
      expression("istio.io/rev", "DoesNotExist"),
    ),
  };
  const injector = (revision: string, all: readonly object[]) =>
    readObject("AdmissionWebhook", {
      kind: "MutatingWebhookConfiguration",
      metadata: { name: `istio-sidecar-injector-${revision}`, labels: { "istio.io/rev": revision } },
      webhooks: all,
    });
  const known = meshSettingsOf([injector("default", [...webhooks("default"), auto])]);
  const canary = meshSettingsOf([injector("canary", webhooks("canary"))]);
  const never = { matchLabels: { "istio.io/deactivated": "never-match" } };
  const deactivated = meshSettingsOf([injector("default", [{ namespaceSelector: never, objectSelector: never }])]);

  const matchConditions = [{ name: "not-batch", expression: "!('batch' in object.metadata.labels)" }];
  const [ofRevision, ofPods] = webhooks("default");
  const conditional = meshSettingsOf([injector("default", [{ ...ofRevision, matchConditions }, { ...ofPods }])]);

  const cases: [string, AllMeshSettings, Labels, Labels, string, string][] = [
    ["conditions that are not evaluated", conditional, { "istio.io/rev": "default" }, {}, "payments", "unknown"],
    [
      "conditions for a pod that refuses",
      conditional,
      { "istio.io/rev": "default" },
      { "sidecar.istio.io/inject": "false" },
      "payments",
      "none",
    ],
    [
      "conditions of a webhook that is not asked",
      conditional,
      {},
      { "istio.io/rev": "default" },
      "payments",
      "sidecar",
    ],
    ["all namespaces", known, {}, {}, "payments", "sidecar"],
    ["all namespaces but one", known, {}, {}, "excepted", "none"],
    ["all namespaces but those of Kubernetes", known, {}, {}, "kube-public", "none"],
    ["a namespace that is left out", known, { "istio-injection": "disabled" }, {}, "payments", "none"],
    ["a namespace of a revision", known, { "istio.io/rev": "default" }, {}, "payments", "sidecar"],
    ["a pod that refuses", known, {}, { "sidecar.istio.io/inject": "false" }, "payments", "none"],
    [
      "a pod that asks, which only another webhook is for",
      known,
      {},
      { "sidecar.istio.io/inject": "true" },
      "payments",
      "none",
    ],
    ["a pod of its revision", known, {}, { "istio.io/rev": "default" }, "payments", "sidecar"],
    ["a pod of another revision, whose injector is assumed", known, {}, { "istio.io/rev": "x" }, "payments", "sidecar"],
    ["an ambient namespace", known, ambient, {}, "payments", "sidecar"],
    ["only another injector is known", canary, injected, {}, "payments", "sidecar"],
    ["only another injector is known, and nothing asks", canary, {}, {}, "payments", "none"],
    ["no webhook selects anything", deactivated, injected, {}, "payments", "none"],
    [
      "no webhook of the default revision selects anything",
      deactivated,
      { "istio.io/rev": "x" },
      {},
      "payments",
      "sidecar",
    ],
  ];
  for (const [what, settings, labels, own, name, expected] of cases)
    test(what, () => {
      const there = namespace(labels, name);
      assert.equal(captureOf(deployment({ labels: own }, name), there, settings), expected);
    });

  test("a namespace without labels is enrolled by a webhook, and one whose labels are not known is not", () => {
    assert.equal(enrollmentOf(namespace({}), known), "sidecar");
    assert.equal(enrollmentOf(namespace(ambient), known), "ambient-and-sidecar");
    assert.equal(enrollmentOf(namespace({ "istio-injection": "disabled" }), known), "opted-out");
    assert.equal(enrollmentOf(impliedNamespace("payments"), known), "unknown");
  });
});

describe("captureOf a Pod", () => {
  const pod = (fields: object, containers: readonly string[], init: readonly string[] = []) =>
    readObject("Workload", {
      kind: "Pod",
      metadata: { name: "api", namespace: "payments", ...fields },
      spec: { containers: containers.map((name) => ({ name })), initContainers: init.map((name) => ({ name })) },
    });
  const running = { uid: "6a1" };
  const cases: [string, Labels, ReturnType<typeof pod>, string][] = [
    ["injected", {}, pod({ ...running, annotations: status }, ["app", "istio-proxy"]), "sidecar"],
    ["injected as a native sidecar", {}, pod({ ...running, annotations: status }, ["app"], ["istio-proxy"]), "sidecar"],
    ["it only says so", injected, pod({ ...running, annotations: status }, ["app"]), "none"],
    ["it only says so, and ztunnel believes it", ambient, pod({ ...running, annotations: status }, ["app"]), "none"],
    ["running since before the namespace was labelled", injected, pod(running, ["app"]), "none"],
    ["running in a namespace that has both labels now", { ...ambient, ...injected }, pod(running, ["app"]), "ambient"],
    ["not created yet", injected, pod({}, ["app"]), "sidecar"],
    [
      "an injected gateway",
      injected,
      pod({ ...running, annotations: { ...status, ...templates("gateway") } }, ["istio-proxy"]),
      "none",
    ],
  ];
  for (const [what, labels, workload, expected] of cases)
    test(what, () => assert.equal(captureOf(workload, namespace(labels), defaultMeshSettings), expected));
});

describe("captureOf, with the configuration of the injector", () => {
  const settingsWith = (config: string, revision = "default", others: readonly AnyObject[] = []): AllMeshSettings => {
    const name = revision === "default" ? "istio-sidecar-injector" : `istio-sidecar-injector-${revision}`;
    const injector = readObject("InjectorConfig", {
      kind: "ConfigMap",
      metadata: { name, namespace: "istio-system" },
      data: { config },
    });
    return meshSettingsOf([injector, ...others]);
  };
  const never = settingsWith("{policy: enabled, neverInjectSelector: [{matchLabels: {app: legacy}}]}");
  const always = settingsWith(
    "{policy: disabled, alwaysInjectSelector: [{matchLabels: {app: api}}], neverInjectSelector: [{matchLabels: {tier: data}}]}",
  );
  const invalid = settingsWith(
    "{policy: enabled, neverInjectSelector: [{}, {matchExpressions: [{key: app, operator: NotIn}]}]}",
  );
  const misspelt = settingsWith("{policy: Enabled, alwaysInjectSelector: [{matchLabels: {app: api}}]}");
  const unreadable = settingsWith("{policy: disabled, neverInjectSelector: 1}");
  const app = (name: string, more: Labels = {}): Pod => ({ labels: { app: name, ...more } });
  const cases: [string, AllMeshSettings, Labels, Pod, string][] = [
    ["a pod that no selector selects", never, injected, app("api"), "sidecar"],
    ["neverInjectSelector", never, injected, app("legacy"), "none"],
    [
      "neverInjectSelector, and the namespace is ambient too",
      never,
      { ...ambient, ...injected },
      app("legacy"),
      "ambient",
    ],
    ["the label goes first", never, injected, app("legacy", wishesInjection), "sidecar"],
    ["the annotation goes first", never, injected, { ...app("legacy"), annotations: wishesInjection }, "sidecar"],
    [
      "another value of the label does not",
      never,
      injected,
      app("legacy", { "sidecar.istio.io/inject": "yes" }),
      "none",
    ],
    ["another revision", never, { "istio.io/rev": "canary" }, app("legacy"), "sidecar"],
    ["the policy disabled", always, injected, app("web"), "none"],
    ["the policy disabled, and the pod asks", always, injected, app("web", wishesInjection), "sidecar"],
    ["alwaysInjectSelector", always, injected, app("api"), "sidecar"],
    ["alwaysInjectSelector after neverInjectSelector", always, injected, app("api", { tier: "data" }), "none"],
    ["alwaysInjectSelector enrolls no namespace", always, {}, app("api"), "none"],
    ["empty and invalid selectors", invalid, injected, app("api"), "sidecar"],
    ["a configuration that the injector cannot read", unreadable, injected, app("api"), "sidecar"],
    ["a policy of no known name", misspelt, injected, app("web"), "none"],
    ["a policy of no known name, and alwaysInjectSelector", misspelt, injected, app("api"), "none"],
    ["a policy of no known name, and the pod asks", misspelt, injected, app("api", wishesInjection), "none"],
    ["no policy, and the pod asks", settingsWith("{templates: {}}"), injected, app("api", wishesInjection), "none"],
  ];
  for (const [what, settings, labels, pod, expected] of cases)
    test(what, () => assert.equal(captureOf(deployment(pod), namespace(labels), settings), expected));

  test("enrollmentOf is about pods without labels", () => {
    assert.equal(enrollmentOf(namespace(injected), never), "sidecar");
    assert.equal(enrollmentOf(namespace(injected), always), "opted-out");
  });
  test("a tag has the configuration of its revision, with its webhooks or without", () => {
    const tag = (webhooks: readonly object[]) =>
      readObject("AdmissionWebhook", {
        kind: "MutatingWebhookConfiguration",
        metadata: { name: "istio-revision-tag-prod", labels: { "istio.io/rev": "v2", "istio.io/tag": "prod" } },
        webhooks,
      });
    const ofTag = { namespaceSelector: { matchLabels: { "istio.io/rev": "prod" } } };
    for (const webhooks of [[], [ofTag]]) {
      const settings = settingsWith("{policy: disabled}", "v2", [tag(webhooks)]);
      assert.equal(captureOf(deployment({}), namespace({ "istio.io/rev": "prod" }), settings), "none");
      assert.equal(captureOf(deployment({}), namespace(injected), settings), "sidecar");
    }
  });
  test("a ConfigMap of another namespace says nothing", () => {
    const elsewhere = readObject("InjectorConfig", {
      kind: "ConfigMap",
      metadata: { name: "istio-sidecar-injector", namespace: "payments" },
      data: { config: "{policy: disabled}" },
    });
    assert.deepEqual(meshSettingsOf([elsewhere]).injection, {});
  });
});

test("staysOut: a workload's own word", () => {
  assert.equal(staysOut(deployment({})), false);
  assert.equal(staysOut(deployment({ hostNetwork: true })), true);
  assert.equal(staysOut(deployment({ labels: notInjected })), true);
  assert.equal(staysOut(deployment({ labels: { ...notInjected, ...ambient } })), false);
  assert.equal(staysOut(deployment({ labels: { "istio.io/dataplane-mode": "none" } })), true);
});

describe("isOwned: by the workload whose controller creates it", () => {
  const owner = (apiVersion: string, kind: string, name = "x", controller = true) => ({
    apiVersion,
    kind,
    name,
    uid: "1",
    controller,
  });
  const of = (kind: string, name: string, ...ownerReferences: object[]) =>
    readObject("Workload", { kind, metadata: { name, ownerReferences } });
  const replicaSet = owner("apps/v1", "ReplicaSet");
  const cases: [string, ReturnType<typeof of>, boolean][] = [
    ["a pod of a ReplicaSet", of("Pod", "x-7d4f9", replicaSet), true],
    ["a ReplicaSet of a Rollout", of("ReplicaSet", "x-7d4f9", owner("argoproj.io/v1alpha1", "Rollout")), true],
    ["a ReplicaSet of a Deployment", of("ReplicaSet", "x-7d4f9", owner("apps/v1", "Deployment")), true],
    ["a pod of a StatefulSet", of("Pod", "x-0", owner("apps/v1", "StatefulSet")), true],
    ["a pod of a ReplicationController", of("Pod", "x-abcde", owner("v1", "ReplicationController")), true],
    ["a Job that kubectl made from a CronJob", of("Job", "by-hand", owner("batch/v1", "CronJob")), true],
    ["another owner that does not control it", of("Pod", "x-7d4f9", replicaSet, owner("v1", "Node", "n", false)), true],
    ["not as its controller", of("Pod", "x-7d4f9", owner("apps/v1", "ReplicaSet", "x", false)), false],
    ["two controllers", of("Pod", "x-7d4f9", replicaSet, owner("batch/v1", "Job")), false],
    ["a kind that is no workload here", of("Pod", "x-7d4f9", owner("apps.kruise.io/v1", "CloneSet")), false],
    ["a kind of another group", of("Pod", "x-7d4f9", owner("example.com/v1", "ReplicaSet")), false],
    ["a Deployment, which no workload owns", of("Deployment", "x-api", owner("apps/v1", "Deployment")), false],
    ["a Deployment of a ReplicaSet", of("Deployment", "x-api", replicaSet), false],
    ["a StatefulSet", of("StatefulSet", "x-api", owner("apps/v1", "Deployment")), false],
    ["a pod of a Deployment, without a ReplicaSet", of("Pod", "x-7d4f9", owner("apps/v1", "Deployment")), false],
    ["itself", of("ReplicaSet", "x", replicaSet), false],
  ];
  for (const [what, workload, expected] of cases) test(what, () => assert.equal(isOwned(workload), expected));
});

describe("isNamedAfter: the names that controllers give", () => {
  const named = (kind: string, name: string, owner: string, of: string) => {
    const reference = { apiVersion: "v1", kind: of, name: owner, uid: undefined, controller: true };
    const metadata = name.endsWith("-") ? { generateName: name } : { name };
    return isNamedAfter(readObject("Workload", { kind, metadata }), reference);
  };
  const cases: [string, boolean, boolean][] = [
    ["a pod of a ReplicaSet", named("Pod", "x-7d4f9", "x", "ReplicaSet"), true],
    ["a pod that gets its name", named("Pod", "x-", "x", "ReplicaSet"), true],
    ["a pod of a Job with a long name", named("Pod", `${"x".repeat(58)}abcde`, "x".repeat(63), "Job"), true],
    ["a pod of a StatefulSet", named("Pod", "x-10", "x", "StatefulSet"), true],
    ["a Job of a CronJob", named("Job", "by-hand", "x", "CronJob"), true],
    ["a pod of another name", named("Pod", "db", "x", "ReplicaSet"), false],
    ["a pod that a StatefulSet ignores", named("Pod", "x-db", "x", "StatefulSet"), false],
    ["a ReplicaSet of another name", named("ReplicaSet", "y-7d4f9", "x", "Deployment"), false],
  ];
  for (const [what, found, expected] of cases) test(what, () => assert.equal(found, expected));
});

describe("isProxy: what istiod or the injector makes a gateway", () => {
  const managed = { "gateway.istio.io/managed": "istio.io-mesh-controller" };
  const owner = { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", name: "waypoint", uid: "1" };
  const of = (metadata: object, { annotations, labels }: Pod = {}, containers: readonly string[] = ["istio-proxy"]) =>
    readObject("Workload", {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "waypoint", namespace: "payments", ...metadata },
      spec: {
        template: { metadata: { annotations, labels }, spec: { containers: containers.map((name) => ({ name })) } },
      },
    });
  const gateway = { annotations: templates("gateway") };
  const cases: [string, ReturnType<typeof of>, boolean][] = [
    ["created for a Gateway", of({ labels: managed, ownerReferences: [owner] }), true],
    ["the label of its pods", of({ ownerReferences: [owner] }, { labels: managed }), true],
    ["a label alone", of({ labels: managed }), false],
    ["an owner alone", of({ ownerReferences: [owner] }), false],
    [
      "an owner of another group",
      of({ labels: managed, ownerReferences: [{ ...owner, apiVersion: "networking.istio.io/v1" }] }),
      false,
    ],
    ["an injected gateway", of({}, gateway), true],
    ["an injected gateway with an application", of({}, gateway, ["istio-proxy", "app"]), false],
    ["an application that is called a gateway", of({}, gateway, ["app"]), false],
    ["a gateway that is not injected", of({}, { ...gateway, labels: notInjected }), false],
    ["a sidecar, and a gateway over it", of({}, { annotations: templates("sidecar, gateway") }, ["app"]), false],
    ["a sidecar", of({}, { annotations: templates("sidecar") }), false],
  ];
  for (const [what, workload, expected] of cases) test(what, () => assert.equal(isProxy(workload), expected));
});
