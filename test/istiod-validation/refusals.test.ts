import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { expressionProblem } from "../../src/istiod-validation/expressions.ts";
import { refusedByIstiod } from "../../src/istiod-validation/refusals.ts";

interface Case {
  readonly kind: string;
  readonly spec: object;
  /** `path: message`; none: istiod accepts the object. */
  readonly refused: readonly string[];
}

/** Objects that the validation of Istio's own packages accepts and refuses (pkg/config/validation, Istio 1.32). */
const cases = readFileSync(join(import.meta.dirname, "cases.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

const groups: Readonly<Record<string, string>> = {
  AuthorizationPolicy: "security.istio.io/v1",
  PeerAuthentication: "security.istio.io/v1",
  RequestAuthentication: "security.istio.io/v1",
  Telemetry: "telemetry.istio.io/v1",
  WasmPlugin: "extensions.istio.io/v1alpha1",
  TrafficExtension: "extensions.istio.io/v1alpha1",
  ProxyConfig: "networking.istio.io/v1beta1",
};
const written = (kind: string, spec: unknown, metadata: object = { name: "x", namespace: "ns" }) => ({
  apiVersion: groups[kind] ?? "networking.istio.io/v1",
  kind,
  metadata,
  spec,
});
const shown = (raw: Record<string, unknown>) =>
  refusedByIstiod(raw, expressionProblem).map(({ at, message }) => `${at.join(".")}: ${message}`);

describe("what istiod's webhook refuses", () => {
  const kinds = Map.groupBy(cases, ({ kind }) => kind);
  for (const [kind, some] of kinds)
    test(kind, () => {
      for (const { spec, refused } of some) assert.deepEqual(shown(written(kind, spec)), refused, JSON.stringify(spec));
      assert.ok(some.some(({ refused }) => refused.length > 0));
    });

  test("each kind has accepted objects, too", () => {
    const accepted = new Set(cases.filter(({ refused }) => refused.length === 0).map(({ kind }) => kind));
    assert.deepEqual(
      [...kinds.keys()].filter((kind) => !accepted.has(kind)),
      [],
    );
  });
});

test("a wildcard within the mesh that DNS resolves for each request has no waypoint", () => {
  const of = (location: string, labels: object) =>
    shown(
      written(
        "ServiceEntry",
        {
          hosts: ["*.int.example"],
          location,
          ports: [{ number: 80, name: "http", protocol: "HTTP" }],
          resolution: "DYNAMIC_DNS",
        },
        { name: "x", namespace: "ns", labels },
      ),
    );
  assert.deepEqual(of("MESH_INTERNAL", { "istio.io/use-waypoint": "w" }), [
    "spec.location: With resolution DYNAMIC_DNS and a waypoint, the location is MESH_EXTERNAL",
  ]);
  for (const name of ["", "none", "None"]) assert.deepEqual(of("MESH_INTERNAL", { "istio.io/use-waypoint": name }), []);
  assert.deepEqual(of("MESH_INTERNAL", {}), []);
  assert.deepEqual(of("MESH_EXTERNAL", { "istio.io/use-waypoint": "w" }), []);
});

test("a namespace that exportTo names twice, with and without its name", () => {
  const rule = { host: "a", exportTo: [".", "ns"] };
  assert.deepEqual(shown(written("DestinationRule", rule)), ['spec.exportTo.1: exportTo names "ns" twice']);
  assert.deepEqual(shown(written("DestinationRule", rule, { name: "x" })), []);
});

test("annotations that only istiod sets, and those of a dry run", () => {
  const policy = (annotations: object, spec: object = {}) =>
    shown(written("AuthorizationPolicy", spec, { name: "x", namespace: "ns", annotations }));
  assert.deepEqual(policy({ "istio.io/dry-run": "true", "example.com/a": "b" }), []);
  assert.deepEqual(policy({ "istio.io/dry-run": "yes" }), [
    'metadata.annotations.istio.io/dry-run: The annotation istio.io/dry-run is "true" or "false", not "yes"',
  ]);
  const custom = { action: "CUSTOM", provider: { name: "a" }, rules: [{}] };
  assert.deepEqual(policy({ "istio.io/dry-run": "true" }, custom), [
    "metadata.annotations.istio.io/dry-run: Only actions ALLOW and DENY can have the annotation istio.io/dry-run",
  ]);
  assert.deepEqual(policy({ "internal.istio.io/parents": "a" }), [
    "metadata.annotations.internal.istio.io/parents: Only istiod sets the annotation internal.istio.io/parents",
  ]);
  const gateway = { name: "x", annotations: { "istio.io/dry-run": "true" } };
  assert.deepEqual(shown(written("Gateway", {}, gateway)), [
    "metadata.annotations.istio.io/dry-run: Only an AuthorizationPolicy can have the annotation istio.io/dry-run",
  ]);
});

test("bodies, scripts and modules have sizes", () => {
  const body = (size: number) => ({ http: [{ directResponse: { status: 200, body: { string: "x".repeat(size) } } }] });
  assert.deepEqual(shown(written("VirtualService", body(1024 * 1024))), []);
  assert.deepEqual(shown(written("VirtualService", body(1024 * 1024 + 1))), [
    "spec.http.0.directResponse.body: A direct response has a body of 1 MB at most",
  ]);
  const script = (size: number) => ({ lua: { inlineCode: "x".repeat(size) } });
  assert.deepEqual(shown(written("TrafficExtension", script(65_536))), []);
  assert.deepEqual(shown(written("TrafficExtension", script(65_537))), [
    "spec.lua.inlineCode: A script in Lua has 64 KB at most",
  ]);
});

test("expressions are not checked without a parser for them", () => {
  const telemetry = written("Telemetry", { accessLogging: [{ filter: { expression: ")" } }] });
  assert.deepEqual(refusedByIstiod(telemetry), []);
  assert.equal(shown(telemetry).length, 1);
});

test("other kinds and groups are not validated", () => {
  assert.deepEqual(shown({ apiVersion: "v1", kind: "Service", spec: {} }), []);
  assert.deepEqual(shown({ ...written("DestinationRule", {}), apiVersion: "example.com/v1" }), []);
  assert.deepEqual(shown({}), []);
});

test("no JSON causes an exception, and every message is one sentence", () => {
  const kinds = fc.constantFrom(...new Set(cases.map(({ kind }) => kind)));
  const specs = fc.oneof(fc.jsonValue(), fc.constantFrom(...cases.map(({ spec }) => spec)));
  const anywhere = fc.tuple(kinds, specs, fc.jsonValue()).map(([kind, spec, value]) => {
    const at = Object.keys(spec ?? {})[0];
    return written(
      kind,
      typeof spec === "object" && !Array.isArray(spec) && at !== undefined ? { ...spec, [at]: value } : spec,
    );
  });
  fc.assert(
    fc.property(anywhere, (raw) => {
      for (const { at, message } of refusedByIstiod(raw)) {
        assert.equal(at[0], "spec");
        assert.match(message, /^["A-Za-z].*[^.]$/s);
      }
    }),
    { numRuns: 500 },
  );
});
