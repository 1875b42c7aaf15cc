import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { defineRule } from "../../src/engine/rule.ts";
import { kindsConcerned, type WebhookOptions, webhookConfigurations } from "../../src/generate/webhooks.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { index, relation } from "../../src/view/view.ts";
import { rules } from "../../src/rules/index.ts";

const url = "https://127.0.0.1:9443";
const words = { summary: "", why: "", fix: "", mode: "warn" as const, since: "0.1.0" };
const judges = (subject: "VirtualService" | "Workload" | "MeshConfig") =>
  defineRule({ ...words, id: `${subject}-judged`, subject, reads: [], check: () => [] });
const judgesAnything = defineRule({
  ...words,
  id: "anything-judged",
  subject: allKinds,
  judgesMalformed: true,
  reads: [],
  check: () => [],
});

const configurations = (given: typeof rules = rules, options: Partial<WebhookOptions> = {}) => {
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

  test("outside of protected namespaces only the mesh and the guard of namespace labels can fail closed", () => {
    const outside = { protectedFailurePolicy: "Ignore" } as const;
    assert.deepEqual(failing({ ...outside, failurePolicy: "Fail" }), [
      "mesh.validate.meshward.io",
      "namespace-labels.validate.meshward.io",
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
      "workloads-protected.validate.meshward.io",
    ]);
    assert.deepEqual(failing({ protectedNamespaces: {} }), []);
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
