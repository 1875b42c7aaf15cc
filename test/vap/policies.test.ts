import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CelInput, celMap } from "@bufbuild/cel";
import { createGate } from "../../src/admission/gate.ts";
import { metered } from "../../src/cel/cost.ts";
import { CelLanguage, parseExpression } from "../../src/cel/program.ts";
import { celValueOf } from "../../src/cel/values.ts";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { keptFieldsOf, rulesInForce } from "../../src/custom-rules/in-force.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { admissionPolicies } from "../../src/vap/policies.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, review, reviewed } from "../admission/requests.ts";

// What policies and exceptions set is translated: an exported policy, evaluated here as the API server does, decides what
// Meshward decides about the same request.

// oxlint-disable-next-line no-explicit-any -- objects of the API server, read field by field
type Loose = Record<string, any>;
const language = new CelLanguage();
const now = new Date("2026-11-26T12:00:00Z");
const namespaces: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  shop: { "meshward.io/protected": "true", tier: "gold" },
  "team-a": { tier: "silver" },
  plain: {},
};

/** The API server compiles an expression once as well, and evaluates it for each request. */
const programs = new Map<string, ReturnType<CelLanguage["program"]>>();
function programOf(expression: string): ReturnType<CelLanguage["program"]> {
  const known = programs.get(expression);
  if (known !== undefined) return known;
  const parsed = parseExpression(expression);
  if ("message" in parsed) throw new Error(`${parsed.message}\n${expression}`);
  const program = language.program(parsed);
  programs.set(expression, program);
  return program;
}

const evaluated = (expression: string, values: Readonly<Record<string, CelInput>>): CelInput =>
  metered(1_000_000, () => programOf(expression)(values)).value;

/** What a ValidatingAdmissionPolicy does to a request: its variables one after the other, then its validations. */
function refuses({ spec }: Loose, request: Loose): boolean {
  const given = {
    object: celValueOf(request["object"]),
    oldObject: celValueOf(request["oldObject"] ?? null),
    request: celValueOf(request),
    namespaceObject: celValueOf({ metadata: { labels: namespaces[String(request["namespace"])] ?? {} } }),
  };
  if (spec.matchConditions.some(({ expression }: Loose) => evaluated(expression, given) === false)) return false;
  const variables: Record<string, CelInput> = {};
  const all = () => ({ ...given, variables: celMap(new Map(Object.entries(variables))) });
  for (const { name, expression } of spec.variables) variables[name] = evaluated(expression, all());
  return spec.validations.some(({ expression }: Loose) => evaluated(expression, all()) !== true);
}
const document = (kind: string, metadata: Raw, spec: Raw): Raw => ({
  apiVersion: "meshward.io/v1alpha1",
  kind,
  metadata,
  spec,
});
const policy = (spec: Raw, name = "ours"): Raw => document("MeshwardPolicy", { name }, spec);
const exception = (spec: Raw): Raw =>
  document(
    "MeshwardException",
    { name: "accepted", namespace: "shop" },
    { reason: "because", owner: "team", expiresAt: "2027-01-31", rules: [], ...spec },
  );

function loaded(documents: readonly Raw[]) {
  const sources = documents.map((raw) => ({ raw, file: "a.yaml", locate: () => ({ line: 1, column: 1 }) }));
  const { policies, errors } = loadPolicies(sources, rules, "baseline", { define: defineCustomRules });
  assert.deepEqual(errors, []);
  const all = rulesInForce(rules, policies);
  return { policies, all, keep: keptFieldsOf(all) };
}
const exportOf = ({ policies, all }: ReturnType<typeof loaded>) =>
  admissionPolicies({
    ...{ rules: all, policies, rootNamespace: "istio-system", now },
    revisions: defaultMeshSettings.revisions,
    domain: defaultMeshSettings.domain,
  });

interface Sent {
  readonly object: Raw;
  readonly oldObject?: Raw;
  readonly user?: string;
  readonly groups?: readonly string[];
}

const weights = (second: number, metadata: Raw = {}): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "cart", namespace: "shop", ...metadata },
  spec: {
    hosts: ["cart"],
    http: [
      {
        route: [
          { destination: { host: "cart", subset: "v1" }, weight: 90 },
          { destination: { host: "cart", subset: "v2" }, weight: second },
        ],
      },
    ],
  },
});
const permissive = (namespace: string, metadata: Raw = {}): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name: "default", namespace, ...metadata },
  spec: { mtls: { mode: "PERMISSIVE" } },
});
const annotated = (reason: string) => ({ annotations: { "meshward.io/break-glass": reason } });

const id = "virtual-service-weights-not-100";
const admins = ["system:authenticated", "mesh-admins"];

/** Whether Meshward and the exported rule do the same, and what that is. */
function outcomeOf(documents: readonly Raw[], rule: string, sent: Sent): string {
  const set = loaded(documents);
  const some = set.all.filter((one) => one.id === rule);
  const mesh = new MeshStore(defaultMeshSettings);
  for (const [name, labels] of Object.entries(namespaces)) {
    const there = readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }, "", set.keep);
    if (there !== undefined) mesh.set(there);
  }
  const old = sent.oldObject && readAny(sent.oldObject, "", set.keep);
  if (old !== undefined) mesh.set(old);
  const gate = createGate({ mesh: () => mesh, rules: some, policies: () => set.policies, now: () => now });
  const { allowed, outcome } = gate.validate(reviewed(sent));
  const decided = allowed ? outcome : "deny";
  const named = `meshward.${rule.replace("/", ".")}`;
  const exported = exportOf(set).objects.filter(
    ({ kind, metadata }) => kind === "ValidatingAdmissionPolicy" && metadata.name.startsWith(`${named}.`),
  ) as readonly Loose[];
  assert.ok(exported.length > 0, "the rule is exported");
  const { request } = review(sent) as Loose;
  const refusing = exported.filter((one) => refuses(one, request)).map(({ metadata }) => metadata.name as string);
  const modes = ["deny", "warn"].filter((mode) => refusing.includes(`${named}.${mode}`));
  assert.equal(modes[0] ?? "allow", decided, JSON.stringify({ refusing, decided }));
  return decided;
}

const cases: Readonly<
  Record<string, readonly (readonly [documents: readonly Raw[], sent: Sent, outcome: string, rule?: string])[]>
> = {
  "exceptions accept in their namespace, by kind, name and label": [
    [[exception({ rules: [id] })], { object: weights(20) }, "allow"],
    [[exception({ rules: [id] })], { object: weights(20, { namespace: "plain" }) }, "deny"],
    [[exception({ rules: ["peer-authentication-permissive"] })], { object: weights(20) }, "deny"],
    [[exception({ rules: [id], match: { objects: { names: ["cart"] } } })], { object: weights(20) }, "allow"],
    [[exception({ rules: [id], match: { objects: { names: ["c*t", "x"] } } })], { object: weights(20) }, "allow"],
    [[exception({ rules: [id], match: { objects: { names: ["other-*"] } } })], { object: weights(20) }, "deny"],
    [[exception({ rules: [id], match: { objects: { kinds: ["VirtualService"] } } })], { object: weights(20) }, "allow"],
    [[exception({ rules: [id], match: { objects: { kinds: ["Gateway"] } } })], { object: weights(20) }, "deny"],
    [[exception({ rules: [id], match: { objects: { labels: { a: "b" } } } })], { object: weights(20) }, "deny"],
    [
      [exception({ rules: [id], match: { objects: { labels: { a: "b" } } } })],
      { object: weights(20, { labels: { a: "b" } }) },
      "allow",
    ],
    [[exception({ rules: [id], expiresAt: "2026-11-25" })], { object: weights(20) }, "deny"],
    // A date is a whole day.
    [[exception({ rules: [id], expiresAt: "2026-11-26" })], { object: weights(20) }, "allow"],
    [[exception({ rules: [id], expiresAt: "2026-11-26T12:00:00Z" })], { object: weights(20) }, "deny"],
  ],
  "break glass": [
    [
      [policy({ breakGlass: { groups: ["mesh-*"] } })],
      { object: weights(20, annotated("out")), groups: admins },
      "warn",
    ],
    [[policy({ breakGlass: { groups: ["mesh-*"] } })], { object: weights(20, annotated(" ")), groups: admins }, "deny"],
    [[policy({ breakGlass: { groups: ["mesh-*"] } })], { object: weights(20), groups: admins }, "deny"],
    [
      [policy({ breakGlass: { groups: ["other"] } })],
      { object: weights(20, annotated("out")), groups: admins },
      "deny",
    ],
    [[], { object: weights(20, annotated("out")), groups: admins }, "deny"],
  ],
  "modes, by precedence": [
    [[policy({ rules: [{ id, mode: "warn" }] })], { object: weights(20) }, "warn"],
    [[policy({ rules: [{ id, mode: "off" }] })], { object: weights(20) }, "allow"],
    [[policy({ rules: [{ id: "virtual-service-*", mode: "warn" }] })], { object: weights(20) }, "warn"],
    [[policy({ rules: [{ tag: "canary", mode: "warn" }] })], { object: weights(20) }, "warn"],
    [
      [
        policy({ rules: [{ id, mode: "off" }] }, "a"),
        policy({ match: { namespaces: { names: ["sh*"] } }, rules: [{ id, mode: "warn" }] }, "b"),
      ],
      { object: weights(20) },
      "warn",
    ],
    [
      [policy({ match: { namespaces: { labels: { tier: "gold" } } }, rules: [{ id, mode: "warn" }] })],
      { object: weights(20) },
      "warn",
    ],
    [
      [policy({ match: { namespaces: { labels: { tier: "gold" } } }, rules: [{ id, mode: "warn" }] })],
      { object: weights(20, { namespace: "team-a" }) },
      "deny",
    ],
    [
      [policy({ match: { objects: { names: ["cart"], kinds: ["VirtualService"] } }, rules: [{ id, mode: "warn" }] })],
      { object: weights(20) },
      "warn",
    ],
  ],
  "whoever sends it": [
    [[policy({ match: { users: ["ali*"] }, rules: [{ id, mode: "warn" }] })], { object: weights(20) }, "warn"],
    [[policy({ match: { users: ["bob"] }, rules: [{ id, mode: "warn" }] })], { object: weights(20) }, "deny"],
    [
      [policy({ match: { groups: ["mesh-admins"] }, rules: [{ id, mode: "warn" }] })],
      { object: weights(20), groups: admins },
      "warn",
    ],
    [
      [policy({ match: { serviceAccounts: ["ci/deployer"] }, rules: [{ id, mode: "off" }] })],
      { object: weights(20), user: "system:serviceaccount:ci:deployer", groups: ["system:serviceaccounts"] },
      "allow",
    ],
    [[policy({ match: { operations: ["UPDATE"] }, rules: [{ id, mode: "off" }] })], { object: weights(20) }, "deny"],
    [[policy({ match: { operations: ["CREATE"] }, rules: [{ id, mode: "off" }] })], { object: weights(20) }, "allow"],
  ],
  "what was there before": [
    [[], { object: weights(20, { labels: { a: "b" } }), oldObject: weights(20) }, "warn"],
    [[], { object: weights(30), oldObject: weights(20) }, "deny"],
    [
      [policy({ rules: [{ id, existing: "deny" }] })],
      { object: weights(20, { labels: { a: "b" } }), oldObject: weights(20) },
      "deny",
    ],
  ],
  "protected namespaces": [
    [[], { object: permissive("shop") }, "deny", "peer-authentication-permissive"],
    [[], { object: permissive("plain") }, "allow", "peer-authentication-permissive"],
    [
      [policy({ protectedNamespaces: { names: ["pl*n"] } })],
      { object: permissive("plain") },
      "deny",
      "peer-authentication-permissive",
    ],
    [
      [policy({ protectedNamespaces: { labels: { tier: "silver" } } })],
      { object: permissive("team-a") },
      "deny",
      "peer-authentication-permissive",
    ],
    // A mode outside protected namespaces has no effect for a rule that is for them alone.
    [
      [policy({ rules: [{ id: "peer-authentication-permissive", mode: "deny" }] })],
      { object: permissive("plain") },
      "allow",
      "peer-authentication-permissive",
    ],
  ],
  "rules of a policy": [
    [
      [
        policy({
          match: { namespaces: { names: ["shop"] } },
          customRules: [
            {
              id: "names",
              kinds: ["VirtualService"],
              mode: "deny",
              message: "Names begin with the prefix",
              expression: "object.metadata.name.startsWith(params.prefix)",
              parameters: { prefix: "shop-" },
            },
          ],
        }),
      ],
      { object: weights(10) },
      "deny",
      "ours/names",
    ],
  ],
};

for (const [title, some] of Object.entries(cases))
  describe(title, () => {
    for (const [documents, sent, outcome, rule = id] of some)
      test(`${JSON.stringify(documents.map((one) => (one as Loose)["spec"])).slice(0, 150)}: ${outcome}`, () =>
        assert.equal(outcomeOf(documents, rule, sent), outcome));
  });

describe("what cannot be translated exactly", () => {
  const left = (...documents: readonly Raw[]) =>
    new Map(exportOf(loaded(documents)).left.map(({ rule, because }) => [rule, because]));

  test("every built-in rule that is left out says why", () => {
    for (const [rule, because] of left()) {
      assert.notEqual(because, "it has no form in CEL", rule);
      assert.match(because, /^(?:it|its mode is off$|the API server)\b/, rule);
    }
  });

  test("single findings, limited exceptions, and parameters for some objects", () => {
    const single = exception({ rules: [id], match: { fingerprints: ["0123456789abcdef0123456789abcdef"] } });
    assert.match(left(single).get(id) ?? "", /MeshwardException shop\/accepted accepts single findings/);
    const limits = policy({ exceptions: { maxDays: 90 } });
    assert.match(left(limits, exception({ rules: [id] })).get(id) ?? "", /MeshwardPolicy ours limits exceptions/);
    assert.equal(left(limits).get(id), undefined);
    const some = policy({ match: { namespaces: { names: ["a"] } }, rules: [{ id, parameters: { stable: "v1" } }] });
    assert.match(left(some).get(id) ?? "", /MeshwardPolicy ours sets its parameters for some objects only/);
  });

  test("the first end of an exception in it is known", () => {
    assert.equal(exportOf(loaded([])).until, undefined);
    const { until } = exportOf(loaded([exception({ rules: [id], expiresAt: "2027-01-31T18:00:00+02:00" })]));
    assert.equal(until, "2027-01-31T16:00:00.000Z");
    const ofDate = exportOf(loaded([exception({ rules: [id], expiresAt: "2027-01-31" })]));
    assert.equal(ofDate.until, "2027-02-01T00:00:00.000Z");
  });
});
