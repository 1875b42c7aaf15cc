import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, reviewed } from "./requests.ts";

// Objects as no documentation shows them, in a protected namespace: no rule fails, and what weakens nothing is let in.

const { policies } = loadPolicies([], rules);
const store = new MeshStore(defaultMeshSettings);
const there: readonly Raw[] = [
  {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "a", labels: { "meshward.io/protected": "true", "istio-injection": "enabled" } },
  },
  { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "deny-all", namespace: "a" } },
  {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "api", namespace: "a" },
    spec: { template: { metadata: { labels: { app: "api" } } } },
  },
  { apiVersion: "v1", kind: "Service", metadata: { name: "api", namespace: "a" }, spec: { selector: { app: "api" } } },
];
for (const raw of there) {
  const object = readAny(raw);
  assert.ok(object);
  store.set(object);
}

function judged(apiVersion: string, kind: string, spec: unknown, metadata: Raw = {}) {
  const object = { apiVersion, kind, metadata: { name: "odd", namespace: "a", ...metadata }, spec };
  return createGate({ mesh: () => store, rules, policies: () => policies }).validate(reviewed({ object }));
}
const from = (source: unknown) => ({ rules: [{ from: [{ source }] }] });
const many = (count: number, of: (i: number) => unknown) => Array.from({ length: count }, (_, i) => of(i));

const harmless: readonly [name: string, kind: string, spec: unknown, metadata?: Raw][] = [
  ["no spec", "AuthorizationPolicy", undefined],
  ["rules that are null", "AuthorizationPolicy", { rules: null }],
  [
    "fields that there are not",
    "AuthorizationPolicy",
    { future: { x: 1 }, ...from({ principals: ["td/ns/a/sa/b"], x: 1 }) },
  ],
  ["a rule of DENY that is empty of everything", "AuthorizationPolicy", { action: "DENY", rules: [] }],
  ["an action that there is not", "AuthorizationPolicy", { action: "REFUSE", rules: [{}] }],
  ["stars in odd places", "AuthorizationPolicy", from({ principals: ["a*b", "**", "*/ns/*/sa/*", "td/*/x"] })],
  ["a namespace of stars", "AuthorizationPolicy", from({ namespaces: ["a*b*"] })],
  ["a selector that contradicts all", "AuthorizationPolicy", { selector: { matchLabels: { app: "x" } }, rules: null }],
  ["ports as text", "AuthorizationPolicy", { rules: [{ to: [{ operation: { ports: ["eighty", "80-90", ""] } }] }] }],
  [
    "10,000 rules",
    "AuthorizationPolicy",
    { rules: many(10_000, (i) => ({ from: [{ source: { namespaces: [`n${i}`] } }] })) },
  ],
  ["10,000 principals", "AuthorizationPolicy", from({ principals: many(10_000, (i) => `td/ns/a/sa/s${i}`) })],
  ["10,000 targets", "AuthorizationPolicy", { targetRefs: many(10_000, (i) => ({ kind: "Service", name: `s${i}` })) }],
  ["a dry run that is neither", "AuthorizationPolicy", {}, { annotations: { "istio.io/dry-run": "maybe" } }],
  ["a mode that there is not", "PeerAuthentication", { mtls: { mode: "strict" } }],
  ["no rules of tokens", "RequestAuthentication", { jwtRules: null }],
  ["tokens of nobody", "RequestAuthentication", { jwtRules: [{}, null] }],
];

describe("policies as no documentation shows them", () => {
  for (const [name, kind, spec, metadata] of harmless)
    test(`${name}: let in`, () => {
      const { allowed, message, outcome } = judged("security.istio.io/v1", kind, spec, metadata);
      assert.equal(message, undefined);
      assert.equal(allowed, true);
      assert.notEqual(outcome, "error");
    });

  const wrong: readonly [name: string, kind: string, spec: unknown][] = [
    ["sources that are no object", "AuthorizationPolicy", from("everyone")],
    ["rules that are no list", "AuthorizationPolicy", { rules: { from: [] } }],
    ["ports as numbers", "AuthorizationPolicy", { rules: [{ to: [{ operation: { ports: [80] } }] }] }],
    // istiod cannot read the keys of such an object.
    ["ports that are no numbers", "PeerAuthentication", { selector: {}, portLevelMtls: { http: { mode: "STRICT" } } }],
  ];
  for (const [name, kind, spec] of wrong)
    test(`${name}: object-malformed, and nothing else`, () => {
      const { allowed, rules: found } = judged("security.istio.io/v1", kind, spec);
      assert.equal(allowed, false);
      assert.deepEqual(found, ["object-malformed"]);
    });

  test("thousands of subsets, ports and exports that turn mTLS off cost seconds together, not each", () => {
    const tls = { mode: "DISABLE" };
    const ports = many(3000, (i) => ({ port: i + 1, name: `p${i}` }));
    const service = { apiVersion: "v1", kind: "Service", metadata: { name: "wide", namespace: "a" } };
    const object = readAny({ ...service, spec: { selector: { app: "api" }, ports } });
    assert.ok(object);
    store.set(object);
    const started = process.cpuUsage();
    const { allowed, rules: found } = judged("networking.istio.io/v1", "DestinationRule", {
      host: "wide",
      exportTo: many(3000, (i) => `n${i}`),
      trafficPolicy: { tls, portLevelSettings: many(3000, (i) => ({ port: { number: i + 1 }, tls })) },
      subsets: many(3000, (i) => ({ name: `v${i}`, trafficPolicy: { tls } })),
    });
    const { user, system } = process.cpuUsage(started);
    store.delete("Service", "a/wide");
    assert.equal(allowed, false);
    assert.ok(found.includes("destination-rule-plaintext"));
    // One by one, subsets times ports would take minutes.
    assert.ok(user + system < 20_000_000, `${(user + system) / 1e6} s of CPU`);
  });

  const traffic: readonly [name: string, kind: string, spec: unknown][] = [
    ["entries without a port", "DestinationRule", { host: "api", trafficPolicy: { portLevelSettings: [{}, null] } }],
    [
      "a port of nobody",
      "DestinationRule",
      { host: "api", trafficPolicy: { portLevelSettings: [{ port: { number: -1 } }] } },
    ],
    ["tls that is null", "DestinationRule", { host: "api", trafficPolicy: { tls: null } }],
    ["no host", "DestinationRule", { trafficPolicy: { tls: {} } }],
    ["1,000 subsets", "DestinationRule", { host: "api", subsets: many(1000, (i) => ({ name: `v${i}` })) }],
    ["patches of nothing", "EnvoyFilter", { configPatches: [null, {}, { patch: null }] }],
  ];
  for (const [name, kind, spec] of traffic)
    test(`${kind}, ${name}: let in`, () => {
      const { allowed, message } = judged("networking.istio.io/v1", kind, spec);
      assert.equal(message, undefined);
      assert.equal(allowed, true);
    });

  test("EnvoyFilter, patches that are no objects: object-malformed", () => {
    const spec = { configPatches: [1, "x", []] };
    const { allowed, rules: found } = judged("networking.istio.io/v1", "EnvoyFilter", spec);
    assert.equal(allowed, false);
    assert.ok(found.includes("object-malformed"));
  });

  test("Gateway, servers of nothing: refused, as Istio does", () => {
    const { allowed, rules: found } = judged("networking.istio.io/v1", "Gateway", { servers: [null, {}, { tls: {} }] });
    assert.equal(allowed, false);
    assert.deepEqual([...new Set(found)], ["gateway-server-invalid"]);
  });
});
