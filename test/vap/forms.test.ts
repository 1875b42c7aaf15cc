import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { CelInput, CelValue } from "@bufbuild/cel";
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
import { formOf } from "../../src/vap/forms.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// A rule in CEL decides what the same rule in TypeScript decides, about every change of an object.

type Raw = Record<string, unknown>;
const language = new CelLanguage();
const { policies } = loadPolicies([], rules);

type Values = Readonly<Record<string, CelInput>>;
/** An expression as a function of its variables. */
function programOf(expression: string): (values: Values) => CelValue {
  const parsed = parseExpression(expression);
  if ("message" in parsed) throw new Error(`${parsed.message}\n${expression}`);
  const program = language.program(parsed);
  return (values) => metered(1_000_000, () => program(values)).value;
}

/** The parts of an exported rule, as the variables of its ValidatingAdmissionPolicy. */
function partsOf(rule: Rule) {
  const form = formOf(rule, undefined);
  if (typeof form === "string") throw new Error(form);
  const isNew = programOf(
    `now.exists(problem, now.filter(p, p == problem).size() > was.filter(p, p == problem).size() && !(${form.isRollback}))`,
  );
  return {
    now: programOf(form.now),
    before: form.before === undefined ? undefined : programOf(form.before),
    isNew,
  };
}

const { revisions, domain } = defaultMeshSettings;
const settings = { rootNamespace: "istio-system", revisions, domain };

/** Whether the rule in CEL finds a problem that the change introduces, beside those of rollbacks. */
function isDeniedInCel(rule: Rule, parts: ReturnType<typeof partsOf>, old: Raw | undefined, object: Raw): boolean {
  if (rule.compare !== undefined && old === undefined) return false;
  const params = { ...defaultsOf(rule), protectedLabels: ["meshward.io/protected=true"] };
  const given = {
    object: celValueOf(object),
    variables: celValueOf({ settings, params }),
    oldObject: celValueOf(old ?? null),
  };
  const now = parts.now(given);
  const was = old === undefined || parts.before === undefined ? celValueOf([]) : parts.before(given);
  return parts.isNew({ ...given, now, was }) === true;
}

function isDeniedInTypeScript(rule: Rule, old: Raw | undefined, object: Raw): boolean {
  const mesh = new MeshStore(defaultMeshSettings);
  const [was, is] = [old, object].map((raw) => (raw === undefined ? undefined : readAny(raw)));
  if (was !== undefined) mesh.set(was);
  const { findings, errors } = judge([rule], mesh, [{ old: was, object: is }], {
    selection: { between: (before, after) => everywhere(selectionOf(policies).between(before, after)) },
  });
  for (const { error } of errors) throw error;
  return findings.some(({ introduced, onlyWarns }) => introduced && onlyWarns === undefined);
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

const backends = fc.array(
  fc.record(
    {
      name: fc.constantFrom("a", "b"),
      namespace: fc.constantFrom("x", "y"),
      port: fc.constantFrom(80, 90),
      weight: fc.constantFrom(0, 0, 1, 40, 60, 100),
    },
    { requiredKeys: ["name"] },
  ),
  { maxLength: 3 },
);
function aKubernetesRoute(filters: readonly string[]) {
  return fc.record({
    apiVersion: fc.constant("gateway.networking.k8s.io/v1"),
    kind: fc.constant("HTTPRoute"),
    metadata: fc.constant({ name: "a", namespace: "shop" }),
    spec: optional(
      fc.record({
        rules: optional(
          fc.array(
            fc.record({
              backendRefs: optional(backends),
              filters: optional(
                fc.array(fc.record({ type: fc.constantFrom(...filters, "RequestHeaderModifier") }), { maxLength: 2 }),
              ),
            }),
            { maxLength: 3 },
          ),
        ),
      }),
    ),
  });
}

const fault = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record(
    { ...fields, percentage: fc.record({ value: optional(fc.constantFrom(0, 0.5, 50)) }) },
    { requiredKeys: [] },
  );

const mirrored = fc.record({
  host: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom("copies", "copies.bank.svc.cluster.local", "a.bank.svc.cluster.local") },
    fc.constantFrom(
      ...["", "*", "bank", "bank.shop", "copies.bank", "a.bank.svc.clusterset.local", "a.b.bank.svc.cluster.local"],
      ...[".bank.svc.cluster.local", "a..svc.cluster.local", "svc.cluster.local", "*.bank.svc.cluster.local"],
      ...["a.shop.svc.cluster.local", "example.com", "::1"],
    ),
  ),
});
const nothing = Array.from({ length: 6 }, () => undefined);
const percentage = fc.record({ value: optional(fc.constantFrom(0, 0.5, 100)) });

const objects: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  "http-route-weights-not-100": aKubernetesRoute(["RequestRedirect"]),
  "http-route-without-backend": aKubernetesRoute(["RequestRedirect", "ExtensionRef"]),
  "telemetry-sampling-too-high": fc.record({
    apiVersion: fc.constant("telemetry.istio.io/v1"),
    kind: fc.constant("Telemetry"),
    metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
    spec: optional(
      fc.record({
        tracing: optional(
          fc.array(
            fc.record(
              {
                randomSamplingPercentage: fc.constantFrom(null, 0, 5.5, 10, 10.5, 100),
                disableSpanReporting: fc.constantFrom(null, true, false),
              },
              { requiredKeys: [] },
            ),
            { maxLength: 2 },
          ),
        ),
      }),
    ),
  }),
  "gateway-without-selector": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("Gateway"),
    metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
    spec: optional(
      fc.record({
        selector: optional(fc.constantFrom({}, { istio: "ingressgateway" })),
        servers: optional(
          fc.array(fc.record({ hosts: optional(fc.array(fc.constant("*"), { maxLength: 1 })) }), { maxLength: 2 }),
        ),
      }),
    ),
  }),
  "gateway-open-to-all": fc.oneof(
    fc.record({
      apiVersion: fc.constant("networking.istio.io/v1"),
      kind: fc.constant("Gateway"),
      metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
      spec: optional(
        fc.record({
          servers: optional(
            fc.array(
              fc.record({
                hosts: optional(
                  fc.array(fc.constantFrom("*", "*/*", "./*", "shop/*", "*/*.a.com", "*/*/x"), { maxLength: 2 }),
                ),
                port: optional(
                  fc.record({
                    number: optional(fc.constantFrom(80, 443)),
                    protocol: optional(fc.constantFrom("HTTP", "grpc", "HTTPS", "TCP")),
                  }),
                ),
                tls: optional(
                  fc.record({
                    mode: optional(fc.constantFrom("", "PASSTHROUGH", "AUTO_PASSTHROUGH", "SIMPLE")),
                    httpsRedirect: optional(fc.boolean()),
                  }),
                ),
              }),
              { maxLength: 3 },
            ),
          ),
        }),
      ),
    }),
    fc.record({
      apiVersion: fc.constant("gateway.networking.k8s.io/v1"),
      kind: fc.constant("Gateway"),
      metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
      spec: optional(
        fc.record({
          gatewayClassName: optional(fc.constantFrom("istio", "istio", "istio-waypoint", "nginx")),
          listeners: optional(
            fc.array(
              fc.record({
                name: fc.constantFrom("a", "b"),
                protocol: optional(fc.constantFrom("HTTP", "HTTPS", "TLS", "TCP")),
                hostname: optional(fc.constantFrom("", "*.a.com")),
                tls: optional(fc.record({ mode: optional(fc.constantFrom("Passthrough", "Terminate")) })),
                allowedRoutes: optional(
                  fc.record({
                    namespaces: optional(
                      fc.record({
                        from: optional(fc.constantFrom("All", "All", "Same", "Selector")),
                        selector: optional(
                          fc.record({
                            matchLabels: optional(fc.constantFrom({}, { team: "a" })),
                            matchExpressions: optional(fc.constantFrom([], [{ key: "team", operator: "Exists" }])),
                          }),
                        ),
                      }),
                    ),
                  }),
                ),
              }),
              { maxLength: 3 },
            ),
          ),
        }),
      ),
    }),
  ),
  "virtual-service-fault-injected": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("VirtualService"),
    metadata: fc.constant({ name: "a", namespace: "shop" }),
    spec: optional(
      fc.record({
        http: optional(
          fc.array(
            fc.record({
              name: optional(fc.constantFrom("x", "y")),
              match: optional(fc.constantFrom([{ port: 1 }], [])),
              fault: optional(
                fc.record(
                  {
                    delay: fault({
                      fixedDelay: fc.constantFrom("", "5s"),
                      percent: fc.constantFrom(0, 10),
                      exponentialDelay: fc.constant("1s"),
                    }),
                    abort: fault({
                      httpStatus: fc.constantFrom(0, 503),
                      grpcStatus: fc.constantFrom("", "UNAVAILABLE"),
                      http2Error: fc.constant("x"),
                    }),
                  },
                  { requiredKeys: [] },
                ),
              ),
            }),
            { maxLength: 2 },
          ),
        ),
      }),
    ),
  }),
  "virtual-service-mirror-to-production": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("VirtualService"),
    metadata: fc.constant({ name: "a", namespace: "shop" }),
    spec: optional(
      fc.record({
        http: optional(
          fc.array(
            fc.record({
              name: optional(fc.constant("x")),
              match: optional(fc.constantFrom([{ port: 1 }], [])),
              redirect: fc.constantFrom(...nothing, { uri: "/" }),
              directResponse: fc.constantFrom(...nothing, { status: 404 }),
              route: optional(fc.array(fc.record({ destination: mirrored }), { maxLength: 1 })),
              mirror: optional(mirrored),
              mirrorPercent: fc.constantFrom(...nothing, 0, 10),
              mirrorPercentage: fc.option(percentage, { nil: undefined, freq: 2 }),
              mirrors: optional(
                fc.array(fc.record({ destination: mirrored, percentage: optional(percentage) }), { maxLength: 3 }),
              ),
            }),
            { maxLength: 3 },
          ),
        ),
      }),
    ),
  }),
  "virtual-service-weights-not-100": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("VirtualService"),
    metadata: fc.constant({ name: "a", namespace: "shop" }),
    spec: optional(
      fc.record({ http: optional(routes(true)), tcp: optional(routes(false)), tls: optional(routes(false)) }),
    ),
  }),
  "peer-authentication-permissive": fc.record({
    apiVersion: fc.constant("security.istio.io/v1"),
    kind: fc.constant("PeerAuthentication"),
    metadata: fc.record({
      name: fc.constant("a"),
      namespace: fc.constantFrom("shop", "istio-system"),
      labels: optional(revision),
    }),
    spec: optional(
      fc.record({
        selector: optional(fc.record({ matchLabels: optional(labels({ app: ["x", "y"] })) })),
        mtls: optional(fc.record({ mode: optional(fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE", "UNSET")) })),
        portLevelMtls: optional(
          fc.dictionary(
            fc.constantFrom("80", "90", "15020"),
            fc.record({ mode: optional(fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE")) }),
          ),
        ),
      }),
    ),
  }),
  "gateway-tls-weak": fc.record({
    apiVersion: fc.constant("networking.istio.io/v1"),
    kind: fc.constant("Gateway"),
    metadata: fc.record({ name: fc.constant("a"), namespace: fc.constant("shop"), labels: optional(revision) }),
    spec: optional(
      fc.record({
        servers: optional(
          fc.array(
            fc.record({
              hosts: optional(fc.array(fc.constantFrom("*", "a/*", "*/*", "a.com", "a/b/*"), { maxLength: 2 })),
              tls: optional(
                fc.record({
                  mode: optional(fc.constantFrom("SIMPLE", "ISTIO_MUTUAL", "PASSTHROUGH", "AUTO_PASSTHROUGH")),
                  minProtocolVersion: optional(fc.constantFrom("TLSV1_0", "TLSV1_1", "TLSV1_2")),
                }),
              ),
            }),
            { maxLength: 3 },
          ),
        ),
      }),
    ),
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
      const parts = partsOf(rule);
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
            assert.equal(isDeniedInCel(rule, parts, was, object), inTypeScript);
          },
        ),
        { numRuns: 1_500 },
      );
      assert.ok(counts.denied > 10 && counts.allowed > 10, JSON.stringify(counts));
    });
});
