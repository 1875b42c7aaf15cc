import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { metered } from "../../src/cel/cost.ts";
import { CelLanguage, parseExpression } from "../../src/cel/program.ts";
import { celValueOf } from "../../src/cel/values.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { defaultsOf, type Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { renamed } from "../../src/vap/cel-text.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// A rule in CEL decides what the same rule in TypeScript decides, about every change of an object.

type Raw = Record<string, unknown>;
const language = new CelLanguage();
const { policies } = loadPolicies([], rules);

function evaluated(expression: string, variables: Record<string, unknown>): unknown {
  const parsed = parseExpression(expression);
  if ("message" in parsed) throw new Error(`${parsed.message}\n${expression}`);
  const bound = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, celValueOf(value)]));
  return metered(1_000_000, () => language.program(parsed)(bound)).value;
}

/** Whether the rule in CEL finds a problem that the change introduces, beside those of rollbacks. */
function isDeniedInCel(rule: Rule, old: Raw | undefined, object: Raw): boolean {
  const { problems = "", isRollback = "false" } = rule.cel ?? {};
  const before = rule.compare === undefined ? renamed(problems, { object: "oldObject" }) : "[]";
  const settings = { rootNamespace: "istio-system", revisions: defaultMeshSettings.revisions };
  const params = { ...defaultsOf(rule), protectedLabels: ["meshward.io/protected=true"] };
  if (rule.compare !== undefined && old === undefined) return false;
  const expression = `[${problems}].all(now, [${old === undefined ? "[]" : before}].all(was, !now.exists(problem,
    now.filter(p, p == problem).size() > was.filter(p, p == problem).size() && !(${isRollback}))))`;
  const shown = old === undefined ? renamed(expression, { oldObject: "object" }) : expression;
  const values = { object, settings, params, ...(old === undefined ? {} : { oldObject: old }) };
  return evaluated(shown, values) === false;
}

function isDeniedInTypeScript(rule: Rule, old: Raw | undefined, object: Raw): boolean {
  const mesh = new MeshStore(defaultMeshSettings);
  const [was, is] = [old, object].map((raw) => (raw === undefined ? undefined : readAny(raw)));
  if (was !== undefined) mesh.set(was);
  const { findings, errors } = judge([rule], mesh, [{ old: was, object: is }], {
    selection: { between: (before, after) => everywhere(selectionOf(policies).between(before, after)) },
  });
  for (const { error } of errors) throw error;
  return findings.some(({ introduced, atMost }) => introduced && atMost === undefined);
}
/** As if every namespace were protected. */
const everywhere = (settings: ReturnType<ReturnType<typeof selectionOf>["between"]>) => ({
  ...settings,
  of: (...args: Parameters<typeof settings.of>) => ({ ...settings.of(...args), mode: "deny" as const }),
});

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 3 });
const labels = (values: Record<string, readonly string[]>) =>
  fc
    .record(Object.fromEntries(Object.entries(values).map(([key, some]) => [key, optional(fc.constantFrom(...some))])))
    .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)));
const revision = labels({ "istio.io/rev": ["default", "other"] });
/** JSON has no undefined. */
const plain = (value: unknown): Raw => JSON.parse(JSON.stringify(value)) as Raw;

const destination = fc.record({
  destination: fc.record(
    { host: fc.constantFrom("a", "b"), subset: fc.constantFrom("v1", "v2"), port: fc.constant({ number: 80 }) },
    { requiredKeys: ["host"] },
  ),
  weight: optional(fc.constantFrom(0, 10, 50, 90, 100, -1)),
});
const routes = (named: boolean) =>
  fc.array(
    fc.record({
      ...(named ? { name: optional(fc.constantFrom("x", "y")) } : {}),
      match: optional(fc.constantFrom([{ port: 1 }], [])),
      route: optional(fc.array(destination, { maxLength: 3 })),
    }),
    { maxLength: 3 },
  );

const objects: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  "virtual-service-weights-not-100": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("VirtualService"),
    metadata: fc.constant({ name: "a", namespace: "shop" }),
    spec: fc.record({ http: optional(routes(true)), tcp: optional(routes(false)), tls: optional(routes(false)) }),
  }),
  "peer-authentication-permissive": fc.record({
    apiVersion: fc.constant("security.istio.io/v1"),
    kind: fc.constant("PeerAuthentication"),
    metadata: fc.record({
      name: fc.constant("a"),
      namespace: fc.constantFrom("shop", "istio-system"),
      labels: optional(revision),
    }),
    spec: fc.record({
      selector: optional(fc.record({ matchLabels: optional(labels({ app: ["x", "y"] })) })),
      mtls: optional(fc.record({ mode: optional(fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE", "UNSET")) })),
      portLevelMtls: optional(
        fc.dictionary(
          fc.constantFrom("80", "90"),
          fc.record({ mode: optional(fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE")) }),
        ),
      ),
    }),
  }),
  "gateway-tls-weak": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("Gateway"),
    metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
    spec: fc.record({
      servers: optional(
        fc.array(
          fc.record({
            hosts: optional(fc.array(fc.constantFrom("*", "a/*", "*/*", "a.com", "a/b/*"), { maxLength: 2 })),
            tls: optional(
              fc.record({
                mode: optional(fc.constantFrom("SIMPLE", "PASSTHROUGH", "AUTO_PASSTHROUGH")),
                minProtocolVersion: optional(fc.constantFrom("TLSV1_0", "TLSV1_1", "TLSV1_2")),
              }),
            ),
          }),
          { maxLength: 3 },
        ),
      ),
    }),
  }),
  "namespace-dataplane-conflict": aNamespace({
    "istio.io/dataplane-mode": ["ambient", "none", "Ambient", ""],
    "istio-injection": ["enabled", "disabled", "true"],
    "istio.io/rev": ["default", ""],
  }),
  "namespace-protection-removed": aNamespace({
    "meshward.io/protected": ["true", "false"],
    "istio-injection": ["enabled"],
  }),
};

function aNamespace(values: Record<string, readonly string[]>) {
  return fc.record({
    apiVersion: fc.constant("v1"),
    kind: fc.constant("Namespace"),
    metadata: fc.record({
      name: fc.constantFrom("shop", "shop", "kube-system"),
      labels: labels(values),
      annotations: optional(labels(values)),
      deletionTimestamp: fc.constantFrom(undefined, undefined, undefined, undefined, "2026-01-01T00:00:00Z"),
    }),
    status: optional(fc.record({ phase: optional(fc.constantFrom("Active", "Active", "Terminating")) })),
  });
}

const withForm = rules.filter(({ cel }) => cel !== undefined);

test("every rule with a form in CEL is tried here", () => {
  assert.deepEqual(withForm.map(({ id }) => id).sort(), Object.keys(objects).sort());
});

describe("the form in CEL and the rule agree", () => {
  for (const rule of withForm)
    test(rule.id, () => {
      const counts = { denied: 0, allowed: 0 };
      fc.assert(
        fc.property(
          objects[rule.id] ?? fc.constant({}),
          objects[rule.id] ?? fc.constant({}),
          fc.boolean(),
          (a, b, isNew) => {
            const [old, object] = [plain(a), plain(b)] as [Raw & { metadata: Raw }, Raw & { metadata: Raw }];
            const same = {
              ...old,
              metadata: { ...old.metadata, name: object.metadata["name"], namespace: object.metadata["namespace"] },
            };
            const was = isNew ? undefined : plain(same);
            const inTypeScript = isDeniedInTypeScript(rule, was, object);
            counts[inTypeScript ? "denied" : "allowed"]++;
            assert.equal(isDeniedInCel(rule, was, object), inTypeScript);
          },
        ),
        { numRuns: 1_500 },
      );
      assert.ok(counts.denied > 10 && counts.allowed > 10, JSON.stringify(counts));
    });
});
