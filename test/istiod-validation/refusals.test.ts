import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
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
};
const written = (kind: string, spec: unknown, metadata: object = { name: "x", namespace: "ns" }) => ({
  apiVersion: groups[kind] ?? "networking.istio.io/v1",
  kind,
  metadata,
  spec,
});
const shown = (raw: Record<string, unknown>) =>
  refusedByIstiod(raw).map(({ at, message }) => `${at.join(".")}: ${message}`);

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

test("a namespace that exportTo names twice, with and without its name", () => {
  const rule = { host: "a", exportTo: [".", "ns"] };
  assert.deepEqual(shown(written("DestinationRule", rule)), ['spec.exportTo.1: exportTo names "ns" twice']);
  assert.deepEqual(shown(written("DestinationRule", rule, { name: "x" })), []);
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
