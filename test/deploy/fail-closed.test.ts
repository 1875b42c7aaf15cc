import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type ProtectedNamespaces, protectedNamespacesOf, type Requirement } from "../../src/deploy/fail-closed.ts";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { rules } from "../../src/rules/index.ts";
import { policiesOf, policy } from "../policy/sources.ts";

const url = "https://127.0.0.1:9443";
const webhooksFor = (protectedNamespaces: ProtectedNamespaces) =>
  webhookConfigurations(rules, { url, protectedNamespaces })[0].webhooks;
type Webhook = ReturnType<typeof webhooksFor>[number];

/** As the API server matches (k8s.io/apimachinery pkg/labels/selector.go, Requirement.Matches). */
const isMet = ({ key, operator, values }: Requirement, labels: Readonly<Record<string, string>>): boolean =>
  values.includes(labels[key] ?? "") === (operator === "In");
const selects = ({ namespaceSelector }: Webhook, name: string, labels: Readonly<Record<string, string>>): boolean =>
  (namespaceSelector.matchExpressions ?? []).every((one) =>
    isMet(one, { ...labels, "kubernetes.io/metadata.name": name }),
  );
const conditionNames = ({ matchConditions = [] }: Webhook) => matchConditions.map(({ name }) => name);
const isOf =
  (part: string) =>
  ({ name }: Webhook) =>
    new RegExp(`^${part}(-protected(-\\d)?(-rest)?)?\\.`).test(name);

function areOpposite([closed, open]: readonly Webhook[]): void {
  const last = closed?.matchConditions?.at(-1);
  assert.equal(last?.name, "fails-closed");
  assert.equal(open?.matchConditions?.at(-1)?.expression, `!(${last?.expression})`);
  assert.deepEqual(closed?.rules, open?.rules);
}

const names = fc.constantFrom<string>("shop", "bank", "kube-system", "istio-system", "meshward-system", "other");
const labels = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), { maxKeys: 2 });
const protection = fc.record({
  names: fc.uniqueArray(fc.constantFrom<string>("shop", "bank"), { maxLength: 2 }),
  labels: fc.array(fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), { minKeys: 1, maxKeys: 1 }), {
    maxLength: 3,
  }),
});

describe("webhooks that fail closed in protected namespaces", () => {
  const places: readonly (readonly [part: string, never: readonly string[]])[] = [
    ["mesh", ["meshward-system"]],
    ["workloads", ["meshward-system", "kube-system", "istio-system"]],
  ];
  for (const [part, never] of places)
    test(`${part}: a namespace has one webhook, and a protected one two with opposite conditions`, () => {
      const property = fc.property(protection, names, labels, (of, name, has) => {
        const isProtected =
          of.names.includes(name) ||
          of.labels.some((wanted) => Object.entries(wanted).every(([key, value]) => has[key] === value));
        const webhooks = webhooksFor(of).filter(isOf(part));
        const matching = webhooks.filter((webhook) => selects(webhook, name, has));
        const expected = isProtected ? ["Fail", "Ignore"] : ["Ignore"];
        assert.deepEqual(
          matching.map(({ failurePolicy }) => failurePolicy),
          never.includes(name) ? [] : expected,
        );
        if (matching.length === 2) areOpposite(matching);
      });
      fc.assert(property, { numRuns: 300 });
    });

  test("a selector of several labels is matched by its own webhooks, and twice rather than not at all", () => {
    const webhooks = webhooksFor({ labels: [{ a: "1", b: "2" }] }).filter(isOf("mesh"));
    const policies = (has: Readonly<Record<string, string>>) =>
      webhooks.filter((webhook) => selects(webhook, "shop", has)).map(({ failurePolicy }) => failurePolicy);
    assert.deepEqual(policies({ a: "1", b: "2" }), ["Ignore", "Fail", "Ignore"]);
    assert.deepEqual(policies({ a: "1" }), ["Ignore"]);
  });

  test("workloads: only updates, and neither owned ones nor what the control plane or a deletion needs", () => {
    const [closed] = webhooksFor({ names: ["shop"] }).filter(({ name }) => name.startsWith("workloads-protected."));
    assert.deepEqual(conditionNames(closed as Webhook).slice(-1), ["fails-closed"]);
    const expression = closed?.matchConditions?.at(-1)?.expression ?? "";
    assert.match(expression, /^request\.operation in \['UPDATE'\] && /);
    for (const exempt of ["kube-system", "istio-system", "system:nodes", "deletionTimestamp"])
      assert.ok(expression.includes(exempt), exempt);
    assert.ok(
      expression.includes("(!has(request.subResource) || request.subResource == '')"),
      "status never fails closed",
    );
  });

  test("labels of a namespace: by the labels that it had", () => {
    const [closed, open] = webhooksFor({ names: ["shop"], labels: [{ "meshward.io/protected": "true" }] }).filter(
      isOf("namespace-labels"),
    );
    const expression = closed?.matchConditions?.at(-1)?.expression;
    assert.equal(
      expression,
      "request.name in ['shop'] || (has(oldObject.metadata.labels) && 'meshward.io/protected' in oldObject.metadata.labels && oldObject.metadata.labels['meshward.io/protected'] == 'true')",
    );
    assert.equal(open?.matchConditions?.at(-1)?.expression, `!(${expression})`);
    assert.deepEqual([closed?.failurePolicy, open?.failurePolicy], ["Fail", "Ignore"]);
  });

  test("from policies: exact names and all labels", () => {
    const policies = policiesOf(policy("a", '{ protectedNamespaces: { names: [shop, "pay-*"], labels: { x: y } } }'));
    assert.deepEqual(protectedNamespacesOf(policies), {
      names: ["shop"],
      labels: [{ x: "y" }, { "meshward.io/protected": "true" }],
    });
  });
});
