import assert from "node:assert/strict";
import test from "node:test";
import { Ajv } from "ajv";
import fc from "fast-check";
import { loadPolicies, isPolicySource } from "../../src/policy/load.ts";
import { policySchema } from "../../src/policy/editor-schema.ts";
import { exception, policy, ruleList, sourcesOf } from "./sources.ts";

const messagesOf = (text: string) => loadPolicies(sourcesOf(text), ruleList).errors.map(({ message }) => message);

const brokenPolicies: readonly (readonly [spec: string, ...messages: string[]])[] = [
  [
    "{rules: [{id: virtual-service-weight-not-100}]}",
    'spec.rules[0].id: there is no rule "virtual-service-weight-not-100"; did you mean "virtual-service-weights-not-100"?',
  ],
  [
    "{rules: [{id: no-such-thing-at-all}]}",
    'spec.rules[0].id: there is no rule "no-such-thing-at-all"; `meshward rules` lists them',
  ],
  [
    "{rules: [{id: 3}]}",
    'spec.rules[0].id: expected a string, found 3; put it in quotes as it is written, such as "3"',
  ],
  [
    "{rules: [{mode: deny}]}",
    'spec.rules[0]: id is missing; The id of a rule, or "*" for every rule that this document does not name.',
  ],
  [
    "{rules: [{id: 'virtual-sevice-*'}]}",
    'spec.rules[0].id: no rule matches "virtual-sevice-*"; `meshward rules` lists them',
  ],
  [
    "{rules: [{id: 'peer-authentication-permisive*'}]}",
    'spec.rules[0].id: no rule matches "peer-authentication-permisive*"; did you mean "peer-authentication-permissive"?',
  ],
  ["{protectedNamespaces: {}}", "spec.protectedNamespaces: is empty; remove it, or add an entry"],
  [
    "{exceptions: {rules: [virtual-service-weights-not-100, 'virtualservice-*', no-such-thing-at-all, a/b]}}",
    'spec.exceptions.rules[1]: no rule matches "virtualservice-*"; `meshward rules` lists them',
    'spec.exceptions.rules[2]: no rule matches "no-such-thing-at-all"; `meshward rules` lists them',
  ],
  ["{rules: [{tag: mtsl}]}", 'spec.rules[0].tag: there is no tag "mtsl"; did you mean "mtls"?'],
  ["{rules: [{tag: mtls}, {tag: mtls}]}", "spec.rules[1].tag: mtls is in spec.rules[0] already; merge the two entries"],
  ["{rules: [{tag: mtls, id: '*'}]}", "spec.rules[0].id: either id or tag selects rules; remove one of the two"],
  [
    "{rules: [{tag: mtls, parameters: {a: 1}}]}",
    "spec.rules[0].parameters.a: there is no such parameter for several rules; there are none",
  ],
  [
    "{rules: [{id: '*-step', parameters: {maxStep: 1}}]}",
    "spec.rules[0].parameters.maxStep: there is no such parameter for several rules; there are none",
  ],
  [
    "{rules: [{id: '*', runbook: wiki}]}",
    'spec.rules[0].runbook: found "wiki"; The URL of a page with what to do, which denials, warnings and reports show.',
  ],
  [
    "{match: {objects: {kinds: [VirtualServce]}}}",
    'spec.match.objects.kinds[0]: no rule reads objects of kind "VirtualServce"; did you mean "VirtualService"?',
  ],
  [
    "{match: {serviceAccounts: [flagger]}}",
    'spec.match.serviceAccounts[0]: found "flagger"; A service account: `namespace/name`.',
  ],
  ["{exceptions: {maxDays: 0}}", "spec.exceptions.maxDays: expected at least 1, found 0"],
  ["{exceptions: {writers: {}}}", "spec.exceptions.writers: is empty; remove it, or add an entry"],
  [
    "{exceptions: {maxDays: 9}, match: {users: [a], namespaces: {names: [b]}}}",
    "spec.match.users: spec.exceptions applies to whole namespaces; move it to a document without this condition",
  ],
  [
    "{extends: [stict]}",
    'spec.extends[0]: there is no profile and no MeshwardPolicy "stict" in force; did you mean "strict"?',
  ],
  [
    "{extends: ['strict@9.0']}",
    "spec.extends[0]: this is Meshward 0.1.0, which does not know strict@9.0; use strict@0.1",
  ],
  ["{extends: ['strict@new']}", 'spec.extends[0]: expected a version such as strict@0.1, found "strict@new"'],
  ["{extends: [wrong]}", "spec.extends[0]: a circle: wrong extends wrong"],
  [
    "{match: {namespaces: {labels: {matchLabels: {a: b}}}}, rules: [{id: virtual-service-canary-step, mode: warn}]}",
    "spec.match.namespaces.labels.matchLabels: labels are written directly, each with its value; remove matchLabels, and keep what is in it",
  ],
  [
    "{protectedNamespaces: {labels: {matchExpressions: []}}}",
    "spec.protectedNamespaces.labels.matchExpressions: labels are written directly, each with its value; expressions are not supported",
  ],
  ["{rules: []}", "spec.rules: is empty; remove it, or add an entry"],
  ['{rule: [{id: "*"}]}', 'spec.rule: there is no such field; did you mean "rules"?'],
  [
    '{rules: [{id: "*", mode: dney}]}',
    'spec.rules[0].mode: expected one of deny, warn, audit, off, found "dney"; did you mean "deny"?',
  ],
  ['{rules: [{id: "*", mode: true}]}', "spec.rules[0].mode: expected one of deny, warn, audit, off, found true"],
  ['{rules: [{id: "*", mode: false}]}', 'spec.rules[0].mode: YAML reads off without quotes as false; write "off"'],
  [
    '{rules: [{id: "*", mode: block, existing: audit}]}',
    'spec.rules[0].mode: expected one of deny, warn, audit, off, found "block"',
    'spec.rules[0].existing: expected one of warn, deny, found "audit"',
  ],
  [
    "{rules: [{id: virtual-service-canary-step}, {id: virtual-service-canary-step}]}",
    "spec.rules[1].id: virtual-service-canary-step is in spec.rules[0] already; merge the two entries",
  ],
  [
    "{rules: [{id: virtual-service-canary-step, parameters: {maxStp: 3}}]}",
    'spec.rules[0].parameters.maxStp: there is no such parameter for virtual-service-canary-step; did you mean "maxStep"?',
  ],
  [
    "{rules: [{id: virtual-service-canary-step, parameters: {maxStep: fast}}]}",
    'spec.rules[0].parameters.maxStep: expected a number, found "fast"',
  ],
  [
    "{rules: [{id: namespace-protection-removed, parameters: {protectedLabels: [a=b]}}]}",
    "spec.rules[0].parameters.protectedLabels: there is no such parameter for namespace-protection-removed; there are none",
  ],
  [
    '{rules: [{id: "*", parameters: {maxStep: 3}}]}',
    'spec.rules[0].parameters.maxStep: there is no such parameter for "*"; there are none',
  ],
  [
    "{match: {users: [a]}, reconcilers: {mode: deny}}",
    "spec.reconcilers: applies to the whole cluster, so spec.match cannot limit it; move it to a document without spec.match",
  ],
  [
    "{match: {operations: [Create]}}",
    'spec.match.operations[0]: expected one of CREATE, UPDATE, DELETE, found "Create"; did you mean "CREATE"?',
  ],
  ["{match: {namespaces: {name: [a]}}}", 'spec.match.namespaces.name: there is no such field; did you mean "names"?'],
  ["{match: }", "spec.match: expected a map, found nothing"],
  [
    "{protectedNamespaces: {labels: {a: true}}}",
    'spec.protectedNamespaces.labels.a: expected a string, found true; put in quotes what is written, "true", "yes", "on" or "y": YAML reads each of them without quotes as true',
  ],
  ["{protectedNamespaces: {labels: {}}}", "spec.protectedNamespaces.labels: is empty; remove it, or add an entry"],
  [
    "{protectedNamespaces: {names: ['']}}",
    "spec.protectedNamespaces.names[0]: is empty; A name; `*` stands for any characters.",
  ],
  ["{}", "spec: is empty; remove it, or add an entry"],
  ["[]", "spec: expected a map, found a list"],
];

for (const [spec, ...messages] of brokenPolicies) {
  test(`a policy with ${spec} is named, with what is wrong`, () => {
    assert.deepEqual(
      messagesOf(policy("wrong", spec)),
      messages.map((message) => `MeshwardPolicy wrong is not in force: ${message}`),
    );
  });
}

const accepted = "reason: why, owner: who, expiresAt: '2027-01-31T00:00:00Z'";
const expiry =
  "expected a date such as 2027-01-31, whose end in UTC counts, or a time with a zone such as 2027-01-31T18:00:00Z";
const brokenExceptions: readonly (readonly [spec: string, ...messages: string[]])[] = [
  [
    "{rules: [virtual-service-canary-stp], reason: why, owner: who, expiresAt: '2027-01-31T00:00:00+01:00'}",
    'spec.rules[0]: there is no rule "virtual-service-canary-stp"; did you mean "virtual-service-canary-step"?',
  ],
  [
    `{rules: ['*'], ${accepted}}`,
    'spec.rules[0]: "*" is no id: an exception names each of its rules, without *; name namespace-protection-removed, peer-authentication-permissive, virtual-service-canary-step or virtual-service-weights-not-100',
  ],
  [
    `{rules: [gateway-*], ${accepted}}`,
    'spec.rules[0]: "gateway-*" is no id: an exception names each of its rules, without *; `meshward rules` lists them',
  ],
  [
    `{rules: [virtual-service-weight*], ${accepted}}`,
    'spec.rules[0]: "virtual-service-weight*" is no id: an exception names each of its rules, without *; name virtual-service-weights-not-100',
  ],
  [
    `{rules: [virtual-service-canary-step], match: {namespaces: {names: [a]}}, ${accepted}}`,
    "spec.match.namespaces: there is no such field; known are objects, fingerprints",
  ],
  [
    "{rules: [virtual-service-canary-step], reason: ' ', expiresAt: soon}",
    "spec: owner is missing; The team or person that is responsible for the exception.",
    "spec.reason: is empty; The reason for the exception, which reports show.",
    `spec.expiresAt: ${expiry}, found "soon"`,
  ],
  ...["2027-02-30", "2027-1-31", "2027-02-30T00:00:00Z", "2027-01-31T00:00:00", "2027-01-31T25:00:00Z"].map(
    (time) =>
      [
        `{rules: [virtual-service-canary-step], reason: why, owner: who, expiresAt: '${time}'}`,
        `spec.expiresAt: ${expiry}, found "${time}"`,
      ] as const,
  ),
];

for (const [spec, ...messages] of brokenExceptions) {
  test(`an exception with ${spec} is named, with what is wrong`, () => {
    assert.deepEqual(
      messagesOf(exception("wrong", "payments", spec)),
      messages.map((message) => `MeshwardException payments/wrong is not in force: ${message}`),
    );
  });
}

test("what is no document at all says so", () => {
  assert.deepEqual(messagesOf("kind: MeshwardPolcy"), [
    'A document is not in force: kind: expected MeshwardPolicy, MeshwardException or MeshwardIntent, found "MeshwardPolcy"; did you mean "MeshwardPolicy"?',
  ]);
  assert.deepEqual(messagesOf("3"), [
    "A document is not in force: expected MeshwardPolicy, MeshwardException or MeshwardIntent, found 3",
  ]);
  assert.deepEqual(
    messagesOf("{apiVersion: meshward.io/v1, kind: MeshwardPolicy, metadata: {name: a}, spec: {rules: [{id: '*'}]}}"),
    ['MeshwardPolicy a is not in force: apiVersion: expected meshward.io/v1alpha1, found "meshward.io/v1"'],
  );
});

test("a broken document is left out, the others count, and its place is asked of the source", () => {
  const text =
    policy("a", "{rules: [{id: '*', mode: dney}]}") + policy("b", "{protectedNamespaces: {names: [payments]}}");
  const { policies, errors } = loadPolicies(sourcesOf(text, "team/a.yaml"), ruleList);
  assert.deepEqual(
    errors.map(({ file, line, column }) => ({ file, line, column })),
    [{ file: "team/a.yaml", line: 7, column: ["spec", "rules", 0, "mode"].length }],
  );
  assert.equal(policies.protectsByName("payments"), true);
});

test("of two documents with one name the first counts; the other names it", () => {
  const spec = (name: string) => `{protectedNamespaces: {names: [${name}]}}`;
  const { policies, errors } = loadPolicies(
    [...sourcesOf(policy("a", spec("one")), "one.yaml"), ...sourcesOf(policy("a", spec("two")), "two.yaml")],
    ruleList,
  );
  assert.deepEqual(
    errors.map(({ file, message }) => `${file} ${message}`),
    ["two.yaml MeshwardPolicy a is not in force: another document has this name, in one.yaml:7; rename one of the two"],
  );
  assert.deepEqual([policies.protectsByName("one"), policies.protectsByName("two")], [true, false]);
});

test("what extends a name that a profile and a policy have is ambiguous, unless it is that policy itself", () => {
  const named = (name: string) =>
    `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: { extends: [strict] }\n`;
  assert.deepEqual(messagesOf(named("strict")), []);
  assert.deepEqual(messagesOf(`${named("strict")}---\n${named("a")}`), [
    "MeshwardPolicy a is not in force: spec.extends[0]: strict is the name of a profile and of a MeshwardPolicy; rename the policy",
  ]);
});

test("exceptions of one name in two namespaces are two", () => {
  const spec = `{rules: [virtual-service-canary-step], ${accepted}}`;
  const { policies, errors } = loadPolicies(
    sourcesOf(exception("a", "one", spec) + exception("a", "two", spec)),
    ruleList,
  );
  assert.deepEqual(errors, []);
  assert.deepEqual(
    policies.exceptions.map(({ title }) => title),
    ["MeshwardException one/a", "MeshwardException two/a"],
  );
});

test("no document makes loading throw, and every error is one line", () => {
  const json = fc.jsonValue({ maxDepth: 4 });
  const shapes = fc.oneof(
    json,
    fc.record({
      apiVersion: fc.constant("meshward.io/v1alpha1"),
      kind: fc.constantFrom("MeshwardPolicy", "MeshwardException"),
      metadata: json,
      spec: json,
    }),
    fc.record({
      kind: fc.constant("MeshwardPolicy"),
      spec: fc.record({ rules: json, match: json, mutations: json, ["__proto__"]: json }),
    }),
  );
  fc.assert(
    fc.property(shapes, (raw) => {
      const source = { raw, file: "a.yaml", locate: () => ({ line: 1, column: 1 }) };
      for (const { message } of loadPolicies([source], ruleList).errors) assert.doesNotMatch(message, /[\r\n]/);
    }),
  );
});

test("the group tells what is a document for policies", () => {
  assert.equal(isPolicySource({ apiVersion: "meshward.io/v1" }), true);
  assert.equal(isPolicySource({ apiVersion: "networking.istio.io/v1" }), false);
  assert.equal(isPolicySource(null), false);
});

test("the published schema takes both kinds, and describes every field", () => {
  const schema = policySchema(ruleList);
  const validate = new Ajv({ strictTypes: true, formats: { "date-time": true } }).compile(schema);
  const [good, bad] = [
    policy("a", "{rules: [{id: virtual-service-canary-step, mode: deny, parameters: {maxStep: 5}}]}"),
    policy("a", "{rules: [{id: virtual-service-canary-stp}]}"),
  ];
  const rawOf = (text: string) => sourcesOf(text)[0]?.raw;
  assert.equal(validate(rawOf(good)), true, JSON.stringify(validate.errors));
  assert.equal(validate(rawOf(bad)), false);
  assert.equal(validate(rawOf(exception("a", "b", `{rules: [virtual-service-canary-step], ${accepted}}`))), true);
  assert.equal(validate(rawOf(exception("a", "b", "{}"))), false);
  assert.deepEqual(undescribed(schema, "schema"), []);
});

/** Paths of properties without a description. */
function undescribed(schema: unknown, path: string): readonly string[] {
  if (typeof schema !== "object" || schema === null) return [];
  return Object.entries(schema).flatMap(([keyword, value]: [string, unknown]) => {
    // Conditions only narrow what is described elsewhere, except for the documents and parameters that they bring in.
    if (keyword === "if") return [];
    const inside = undescribed(value, `${path}.${keyword}`);
    if (keyword !== "properties" || typeof value !== "object" || value === null) return inside;
    const bare = Object.entries(value).filter(([, property]: [string, unknown]) => {
      return typeof property === "object" && property !== null && !("description" in property);
    });
    return [...bare.map(([name]) => `${path}.${name}`), ...inside];
  });
}

test("a withdrawn policy sets nothing else", () => {
  const document = (spec: string) =>
    sourcesOf(`apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: a }\nspec: ${spec}\n`);
  assert.deepEqual(loadPolicies(document("{ withdrawn: true }"), ruleList).errors, []);
  const problems = (spec: string) => loadPolicies(document(spec), ruleList).errors.map(({ message }) => message);
  assert.match(
    problems("{ withdrawn: true, breakGlass: { groups: [a] } }").join(),
    /spec\.withdrawn: a withdrawn policy cannot set breakGlass; remove either/,
  );
  assert.match(problems("{ withdrawn: false }").join(), /spec\.withdrawn: expected true, found false/);
});
