import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { defineRule, type Rule } from "../../src/engine/rule.ts";
import { kindsConcerned, type WebhookOptions, webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { index, relation } from "../../src/view/view.ts";
import { rules } from "../../src/rules/index.ts";
import { evaluateCel } from "./cel.ts";

const url = "https://127.0.0.1:9443";
const words = { summary: "", why: "", fix: "", mode: "warn" as const, since: "0.1.0" };
const judges = (subject: "VirtualService" | "Workload" | "MeshConfig" | "AdmissionWebhook") =>
  defineRule({ ...words, id: `${subject}-judged`, subject, reads: [], check: () => [] });
const judgesAnything = defineRule({
  ...words,
  id: "anything-judged",
  subject: allKinds,
  judgesMalformed: true,
  reads: [],
  check: () => [],
});

const configurations = (given: readonly Rule[] = rules, options: Partial<WebhookOptions> = {}) => {
  const [validating, mutating] = webhookConfigurations(given, { url, ...options });
  const named = new Map([...validating.webhooks, ...mutating.webhooks].map((webhook) => [webhook.name, webhook]));
  const get = (name: string) => named.get(`${name}.meshward.io`);
  return { validating, mutating, all: [...named.values()], get };
};
const resources = (webhook: ReturnType<ReturnType<typeof configurations>["get"]>) =>
  webhook?.rules.flatMap(({ apiGroups, resources }) => resources.map((resource) => `${apiGroups[0]}/${resource}`));

describe("which kinds concern the rules", () => {
  test("subjects, and both ends of every relation", () => {
    const services = relation(
      "services",
      index("VirtualService", () => []),
      index("Service", () => []),
    );
    const rule = defineRule({
      ...words,
      id: "one",
      subject: "Gateway",
      reads: [services],
      check: () => [],
    });
    assert.deepEqual([...kindsConcerned([rule])].sort(), ["Gateway", "Service", "VirtualService"]);
  });

  test("a rule that judges whatever comes asks for nothing by itself", () => {
    assert.deepEqual([...kindsConcerned([judgesAnything])], []);
  });

  test("every kind that a rule of Meshward judges or reads is matched by a webhook", () => {
    const matched = configurations().validating.webhooks.flatMap((webhook) => resources(webhook) ?? []);
    const expected = [
      "networking.istio.io/virtualservices",
      "networking.istio.io/destinationrules",
      "security.istio.io/peerauthentications",
      "security.istio.io/authorizationpolicies",
      "apps/deployments",
      "/pods",
      "/services",
      "/namespaces",
    ];
    assert.deepEqual(
      expected.filter((resource) => !matched.includes(resource)),
      [],
    );
  });
});

describe("webhook configurations", () => {
  test("every webhook: all versions, equivalent ones too; no side effects; five seconds", () => {
    for (const webhook of configurations().all) {
      assert.equal(webhook.matchPolicy, "Equivalent");
      assert.equal(webhook.sideEffects, "None");
      assert.equal(webhook.timeoutSeconds, 5);
      assert.deepEqual(webhook.admissionReviewVersions, ["v1"]);
      for (const { apiVersions } of webhook.rules) assert.deepEqual(apiVersions, ["*"]);
    }
  });

  test("Istio and Gateway API kinds are matched everywhere but in Meshward's own namespace", () => {
    const { get } = configurations(rules, { namespace: "gate", protectedFailurePolicy: "Ignore" });
    assert.deepEqual(get("mesh.validate")?.namespaceSelector, {
      matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["gate"] }],
    });
    const groups = new Set(get("mesh.validate")?.rules.flatMap(({ apiGroups }) => apiGroups));
    assert.ok([...groups].every((group) => group.endsWith("istio.io") || group === "gateway.networking.k8s.io"));
  });

  test("workloads and the mutation leave out kube-system and Istio's namespace as well", () => {
    const { get } = configurations(rules, { rootNamespace: "mesh-root" });
    for (const name of ["workloads.validate", "enrollment.mutate"])
      assert.deepEqual(get(name)?.namespaceSelector.matchExpressions?.[0]?.values, [
        "kube-system",
        "meshward-system",
        "mesh-root",
      ]);
  });

  test("namespaces are guarded by no selector, and through their subresources", () => {
    const guard = configurations().get("namespace-labels.validate");
    assert.deepEqual(guard?.namespaceSelector, {});
    assert.deepEqual(resources(guard), ["/namespaces", "/namespaces/status", "/namespaces/finalize"]);
  });

  const failing = (options: Partial<WebhookOptions>) =>
    configurations(rules, options)
      .all.filter((webhook) => webhook.failurePolicy === "Fail")
      .map(({ name }) => name);

  test("outside of protected namespaces only the mesh, the guard of namespace labels and policy documents can fail closed", () => {
    const outside = { protectedFailurePolicy: "Ignore" } as const;
    assert.deepEqual(failing({ ...outside, failurePolicy: "Fail" }), [
      "mesh.validate.meshward.io",
      "namespace-labels.validate.meshward.io",
      "policies.validate.meshward.io",
    ]);
    assert.deepEqual(failing({ ...outside, failurePolicy: "Ignore" }), []);
    assert.deepEqual(failing(outside), []);
  });

  test("in protected namespaces the mesh, updates of workloads, and labels of the namespace fail closed", () => {
    assert.deepEqual(failing({}), [
      "mesh-protected.validate.meshward.io",
      "namespace-labels-protected.validate.meshward.io",
      "workloads-protected.validate.meshward.io",
    ]);
    assert.deepEqual(failing({ failurePolicy: "Fail" }), [
      "mesh.validate.meshward.io",
      "namespace-labels.validate.meshward.io",
      "policies.validate.meshward.io",
      "workloads-protected.validate.meshward.io",
    ]);
    assert.deepEqual(failing({ protectedNamespaces: {} }), []);
  });

  test("Ingresses, most of which other controllers serve, never fail closed, and are reviewed in Istio's namespace as well", () => {
    for (const options of [{}, { failurePolicy: "Fail" }] as const) {
      const { all, get } = configurations(rules, options);
      const seeing = all.filter((webhook) => resources(webhook)?.includes("networking.k8s.io/ingresses"));
      assert.deepEqual(seeing, [get("ingresses.validate")]);
      assert.equal(seeing[0]?.failurePolicy, "Ignore");
      assert.deepEqual(seeing[0]?.namespaceSelector.matchExpressions?.[0]?.values, ["meshward-system"]);
    }
  });

  test("the mutation sees namespaces only, and no validation is registered where no rule needs it", () => {
    const { mutating, get } = configurations([judges("VirtualService")]);
    assert.deepEqual(
      mutating.webhooks.map(({ name }) => name),
      ["enrollment.mutate.meshward.io"],
    );
    assert.deepEqual(resources(mutating.webhooks[0]), ["/namespaces"]);
    assert.deepEqual(resources(get("mesh.validate")), ["networking.istio.io/virtualservices"]);
    assert.equal(get("workloads.validate"), undefined);
    assert.equal(get("ingresses.validate"), undefined);
    assert.equal(get("mesh-config.validate"), undefined);
  });

  test("mesh configs are asked for where a rule needs them, only in Istio's namespace", () => {
    const webhook = configurations([judges("MeshConfig")]).get("mesh-config.validate");
    assert.deepEqual(resources(webhook), ["/configmaps"]);
    assert.deepEqual(webhook?.namespaceSelector.matchExpressions?.[0], {
      key: "kubernetes.io/metadata.name",
      operator: "In",
      values: ["istio-system"],
    });
    assert.equal(webhook?.failurePolicy, "Ignore");
  });

  test("definitions of the mesh's kinds are asked for when they go or change, and never fail closed", () => {
    const { get } = configurations([judges("AdmissionWebhook")], { failurePolicy: "Fail" });
    const webhook = get("definitions.validate");
    assert.deepEqual(resources(webhook), ["apiextensions.k8s.io/customresourcedefinitions"]);
    assert.deepEqual(webhook?.rules[0]?.operations, ["UPDATE", "DELETE"]);
    assert.deepEqual(
      webhook?.matchConditions?.map(({ name }) => name),
      ["of-the-mesh"],
    );
    assert.equal(webhook?.failurePolicy, "Ignore");
    assert.equal(configurations([judges("VirtualService")]).get("definitions.validate"), undefined);
  });

  test("GatewayClasses are asked for where a rule needs Gateways, and never fail closed", () => {
    const gateways = defineRule({ ...words, id: "gateways", subject: "KubernetesGateway", reads: [], check: () => [] });
    const webhook = configurations([gateways], { failurePolicy: "Fail" }).get("gateway-classes.validate");
    assert.deepEqual(webhook?.rules, [
      {
        apiGroups: ["gateway.networking.k8s.io"],
        apiVersions: ["*"],
        operations: ["CREATE", "UPDATE", "DELETE"],
        resources: ["gatewayclasses"],
        scope: "Cluster",
      },
    ]);
    assert.equal(webhook?.failurePolicy, "Ignore");
    assert.equal(configurations([judges("VirtualService")]).get("gateway-classes.validate"), undefined);
  });

  test("an address is a URL or a Service, with the authority in base64", () => {
    const { get } = configurations(rules, { url: `${url}/`, caBundle: "PEM" });
    assert.deepEqual(get("mesh.validate")?.clientConfig, { url: `${url}/validate`, caBundle: "UEVN" });
    assert.equal(get("enrollment.mutate")?.clientConfig.url, `${url}/mutate`);
    const service = { name: "meshward", namespace: "meshward-system" };
    const [validating] = webhookConfigurations(rules, { service });
    assert.deepEqual(validating.webhooks[0]?.clientConfig, {
      service: { ...service, port: 443, path: "/validate" },
    });
  });

  test("the order of rules makes no difference", () => {
    assert.deepEqual(webhookConfigurations(rules.toReversed(), { url }), webhookConfigurations(rules, { url }));
  });
});

describe("which requests for workloads are sent", () => {
  const conditions = configurations().get("workloads.validate")?.matchConditions ?? [];
  const isSent = (request: object, object: unknown, oldObject: unknown): boolean =>
    conditions.every(({ expression }) => evaluateCel(expression, { request, object, oldObject }) === true);

  const replicaSetController = "system:serviceaccount:kube-system:replicaset-controller";
  const person = "jane";
  const of = (kind: string, apiVersion = "apps/v1", name = "api") => ({
    apiVersion,
    kind,
    name,
    uid: "1",
    controller: true,
  });
  const pod = (metadata: object = {}, spec: object = { nodeName: "n" }) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "api-1", ...metadata },
    spec,
    status: {},
  });
  const owned = { ownerReferences: [of("ReplicaSet")] };
  const out = { labels: { "sidecar.istio.io/inject": "false" } };

  interface Sent {
    readonly kind?: string;
    readonly username?: string;
    readonly subResource?: string;
    readonly object?: unknown;
    readonly oldObject?: unknown;
  }
  const sent = ({ kind = "Pod", username = person, subResource, object = null, oldObject = null }: Sent): boolean => {
    const update = oldObject === null ? "CREATE" : "UPDATE";
    const operation = object === null ? "DELETE" : update;
    const request = {
      operation,
      kind: { group: "", version: "v1", kind },
      userInfo: { username, groups: ["system:authenticated"] },
      ...(subResource === undefined ? {} : { subResource }),
    };
    return isSent(request, object, oldObject);
  };

  const cases: readonly (readonly [string, Sent, boolean])[] = [
    ["a pod that its ReplicaSet's controller creates", { username: replicaSetController, object: pod(owned) }, false],
    [
      "the same, from a control plane with one account",
      { username: "system:kube-controller-manager", object: pod(owned) },
      false,
    ],
    ["a pod that a person says is owned", { object: pod(owned) }, true],
    [
      "another account of kube-system",
      { username: "system:serviceaccount:kube-system:helm", object: pod(owned) },
      true,
    ],
    [
      "an account of that name elsewhere",
      { username: "system:serviceaccount:shop:replicaset-controller", object: pod(owned) },
      true,
    ],
    ["a pod without an owner", { username: replicaSetController, object: pod() }, true],
    [
      "a pod with two owners",
      { username: replicaSetController, object: pod({ ownerReferences: [of("ReplicaSet"), of("Job", "batch/v1")] }) },
      true,
    ],
    [
      "an owner that does not control it",
      {
        username: replicaSetController,
        object: pod({ ownerReferences: [{ ...of("ReplicaSet"), controller: false }] }),
      },
      true,
    ],
    [
      "a reference without the field",
      {
        username: replicaSetController,
        object: pod({ ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "a", uid: "1" }] }),
      },
      true,
    ],
    [
      "an owner of a kind that creates no pods",
      { username: replicaSetController, object: pod({ ownerReferences: [of("Deployment")] }) },
      true,
    ],
    [
      "a Deployment that is owned by another",
      {
        kind: "Deployment",
        object: { metadata: { ownerReferences: [of("Deployment")] }, spec: {} },
        oldObject: { metadata: {}, spec: {} },
      },
      true,
    ],
    [
      "a ReplicaSet that its Deployment's controller creates",
      {
        kind: "ReplicaSet",
        username: "system:serviceaccount:kube-system:deployment-controller",
        object: { metadata: { ownerReferences: [of("Deployment")] }, spec: {} },
      },
      false,
    ],
    [
      "a ReplicaSet's template, changed by a person",
      {
        kind: "ReplicaSet",
        object: { metadata: { ownerReferences: [of("Deployment")] }, spec: { template: {} } },
        oldObject: { metadata: { ownerReferences: [of("Deployment")] }, spec: {} },
      },
      true,
    ],
    [
      "a Job that its CronJob's controller creates",
      {
        kind: "Job",
        username: "system:serviceaccount:kube-system:cronjob-controller",
        object: { metadata: { ownerReferences: [of("CronJob", "batch/v1")] }, spec: {} },
      },
      false,
    ],
    [
      "a Job that a person creates from a CronJob",
      { kind: "Job", object: { metadata: { ownerReferences: [of("CronJob", "batch/v1")] }, spec: {} } },
      true,
    ],
    ["an owned pod is relabelled by a person", { object: pod({ ...owned, ...out }), oldObject: pod(owned) }, true],
    [
      "an owned pod is annotated through its status",
      { subResource: "status", object: pod({ ...owned, annotations: { a: "b" } }), oldObject: pod(owned) },
      true,
    ],
    ["a pod claims an owner", { object: pod(owned), oldObject: pod() }, true],
    ["a pod loses its owner", { username: replicaSetController, object: pod(), oldObject: pod(owned) }, true],
    ["a pod's image", { object: pod(owned, { image: "b" }), oldObject: pod(owned, { image: "a" }) }, true],
    [
      "the kubelet writes the status of a pod",
      {
        username: "system:node:n",
        subResource: "status",
        object: { ...pod(owned), status: { phase: "Running" } },
        oldObject: pod(owned),
      },
      false,
    ],
    [
      "the status of a pod without an owner or labels",
      {
        username: "system:node:n",
        subResource: "status",
        object: { ...pod(), status: { phase: "Running" } },
        oldObject: pod(),
      },
      false,
    ],
    ["a finalizer of a pod", { object: pod({ finalizers: ["x"] }), oldObject: pod() }, false],
    [
      "the status of a Job",
      {
        kind: "Job",
        subResource: "status",
        object: { metadata: {}, spec: {}, status: { active: 1 } },
        oldObject: { metadata: {}, spec: {} },
      },
      false,
    ],
    [
      "a Job claims an owner through its status",
      {
        kind: "Job",
        subResource: "status",
        object: { metadata: { ownerReferences: [of("CronJob", "batch/v1")] }, spec: {} },
        oldObject: { metadata: {}, spec: {} },
      },
      true,
    ],
    [
      "a Deployment that is only scaled",
      {
        kind: "Deployment",
        object: { metadata: {}, spec: { replicas: 2 } },
        oldObject: { metadata: {}, spec: { replicas: 1 } },
      },
      true,
    ],
    ["an owned pod is deleted by anyone", { oldObject: pod(owned) }, false],
    ["a pod without an owner is deleted", { oldObject: pod() }, true],
    ["a Deployment is deleted", { kind: "Deployment", oldObject: { metadata: {}, spec: {} } }, true],
    ["a Service", { kind: "Service", object: { metadata: {}, spec: {} }, oldObject: { metadata: {}, spec: {} } }, true],
  ];
  for (const [what, request, expected] of cases) test(what, () => assert.equal(sent(request), expected));

  test("no condition has a loop, whose cost would grow with what a user writes", () => {
    for (const { matchConditions = [] } of configurations().all)
      for (const { expression } of matchConditions)
        assert.doesNotMatch(expression, /\.(all|exists|exists_one|filter|map)\(/);
  });

  test("owners and controllers are compared only where there are any", () => {
    assert.equal(sent({ object: pod({ ownerReferences: [] }) }), true);
    assert.equal(sent({ username: replicaSetController, object: { kind: "Pod", metadata: {}, spec: {} } }), true);
  });

  test("containers that are added to pods are seen, and labels and owners in the status of pods, ReplicaSets and Jobs", () => {
    const registered = resources(configurations().get("workloads.validate")) ?? [];
    assert.deepEqual(
      registered.filter((resource) => /[a-z]\/[a-z]+$/.test(resource) && resource.split("/").length > 2),
      ["/pods/ephemeralcontainers", "/pods/status", "apps/replicasets/status", "batch/jobs/status"],
    );
  });
});
