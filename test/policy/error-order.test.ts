import assert from "node:assert/strict";
import { test } from "node:test";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { inDocumentOrder } from "../../src/policy/schema-problems.ts";
import { rules } from "../../src/rules/index.ts";

// Errors are in the order of the documents and of their fields, whatever finds them first.

const source = (raw: unknown, file = "a.yaml") => ({ raw, file, locate: () => ({ line: 0, column: 0 }) });
const policy = (name: string, spec: unknown) => ({
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardPolicy",
  metadata: { name },
  spec,
});
const problemsOf = (...documents: readonly unknown[]) =>
  loadPolicies(
    documents.map((raw) => source(raw)),
    rules,
    "baseline",
    { define: defineCustomRules },
  ).errors.map(({ problem }) => problem.replace(/: .*/, ""));

test("fields of one document", () => {
  const spec = {
    mutations: 3,
    rules: [{ id: "gateway-tls-weak" }, { id: "gateway-tls-weak" }, { id: "no-such", mode: "block" }],
    nowhere: {},
    match: { namespaces: { names: 3 } },
  };
  const expected = [
    "spec.mutations",
    "spec.rules[1].id",
    "spec.rules[2].id",
    "spec.rules[2].mode",
    "spec.nowhere",
    "spec.match.namespaces.names",
  ];
  assert.deepEqual(problemsOf(policy("a", spec)), expected);
  const { match, nowhere, ...rest } = spec;
  assert.deepEqual(problemsOf(policy("a", { match, nowhere, ...rest })), [
    ...expected.slice(5),
    expected[4],
    ...expected.slice(0, 4),
  ]);
});

test("rules of a policy, and places in one expression", () => {
  const rule = (id: string, kinds: readonly string[], expression: string) => ({
    id,
    kinds,
    expression,
    message: "It is wrong",
  });
  const problems = loadPolicies(
    [
      source(
        policy("a", {
          customRules: [
            rule(
              "one",
              ["Gateway.networking.istio.io", "VirtualService"],
              "object.spec.b ==\n object.spec.hots && object.spec.c == 1",
            ),
            rule("two", ["Service"], "object.spec.d == 1"),
          ],
        }),
      ),
    ],
    rules,
    "baseline",
    { define: defineCustomRules },
  ).errors.map(({ problem }) => /customRules\[(\d)\].*line (\d+), column (\d+)/.exec(problem)?.slice(1).map(Number));
  assert.ok(problems.length >= 5);
  const sorted = problems.toSorted((a = [], b = []) => {
    const i = a.findIndex((one, at) => one !== b[at]);
    return i === -1 ? 0 : (a[i] ?? 0) - (b[i] ?? 0);
  });
  assert.deepEqual(problems, sorted);
});

test("documents", () => {
  const late = policy("late", { rules: [{ id: "other/none" }] });
  const early = policy("early", { rules: [{ id: "no-such" }] });
  assert.deepEqual(
    loadPolicies(
      [late, early].map((raw) => source(raw)),
      rules,
    ).errors.map(({ message }) => message.split(" ")[1]),
    ["late", "early"],
  );
  assert.deepEqual(
    loadPolicies(
      [early, late].map((raw) => source(raw)),
      rules,
    ).errors.map(({ message }) => message.split(" ")[1]),
    ["early", "late"],
  );
});

test("what is missing is at its parent", () => {
  const at = (...path: readonly (string | number)[]) => ({ at: path, message: path.join(".") });
  const raw = { b: { x: 1 }, a: [{}, {}] };
  assert.deepEqual(
    inDocumentOrder(raw, [at("a", 1, "n"), at("a", 0), at("b", "x"), at("b", "y"), at("zero")]).map(
      ({ message }) => message,
    ),
    ["zero", "b.y", "b.x", "a.0", "a.1.n"],
  );
});
