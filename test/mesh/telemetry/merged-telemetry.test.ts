import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import {
  logsBy,
  metricsBy,
  type Telemetry,
  type TelemetryDefaults,
} from "../../../src/mesh/telemetry/merged-telemetry.ts";

// The results are those of mergeLogs and mergeMetrics of Istio, with the default providers `envoy` and `prometheus`.

const usual: TelemetryDefaults = { logs: ["envoy"], metrics: ["prometheus"], hasLogFile: false };
const hidesLog = (telemetries: readonly Telemetry[], logs = usual.logs): boolean =>
  logsBy(telemetries, { ...usual, logs }) === false;
const hidesMetrics = (telemetries: readonly Telemetry[]): boolean => metricsBy(telemetries, usual) === false;

const telemetry = (spec: object): Telemetry =>
  readObject("Telemetry", { metadata: { name: "t", namespace: "shop" }, spec });
const named = (name: string) => ({ providers: [{ name }] });

describe("the access log of the server side", () => {
  const off = { disabled: true };
  for (const [title, isHidden, ...logs] of [
    ["nothing is said", false, []],
    ["off", true, [off]],
    ["off at the client", false, [{ ...off, match: { mode: "CLIENT" } }]],
    ["off at both sides", true, [{ ...off, match: { mode: "CLIENT_AND_SERVER" } }]],
    ["only another provider, which is off", true, [{ ...off, ...named("other") }]],
    ["off, and on again below", false, [off], [named("envoy")]],
    ["on, and off below", true, [named("envoy")], [off]],
    ["off, and another provider below", false, [off], [named("other")]],
    ["a filter that nothing passes, for a provider", true, [{ ...named("envoy"), filter: { expression: "false" } }]],
    ["the same filter for no provider", false, [{ filter: { expression: "false" } }]],
    ["a filter that something passes", false, [{ ...named("envoy"), filter: { expression: "response.code > 399" } }]],
    ["off, and a later entry of one list", false, [off, named("envoy")]],
  ] as const)
    test(title, () => {
      assert.equal(hidesLog(logs.map((accessLogging) => telemetry({ accessLogging }))), isHidden);
    });
});

test("without a default provider in the mesh config, an entry without one changes nothing", () => {
  const off = telemetry({ accessLogging: [{ disabled: true }] });
  assert.equal(hidesLog([off], []), false);
  assert.equal(hidesLog([telemetry({ accessLogging: [{ disabled: true, ...named("envoy") }] })], []), true);
});

describe("the metrics of the server side", () => {
  const overrides = (...all: readonly object[]) => ({ overrides: all });
  const off = overrides({ disabled: true });
  for (const [title, isHidden, ...metrics] of [
    ["nothing is said", false, []],
    ["off", true, [off]],
    ["off at the client", false, [overrides({ disabled: true, match: { mode: "CLIENT" } })]],
    ["one that counts requests", true, [overrides({ disabled: true, match: { metric: "REQUEST_COUNT" } })]],
    ["one that does not", false, [overrides({ disabled: true, match: { metric: "REQUEST_SIZE" } })]],
    ["one of the user", false, [overrides({ disabled: true, match: { customMetric: "mine" } })]],
    ["off, and on again below", false, [off], [overrides({ disabled: false })]],
    ["off, and one metric off below", false, [off], [overrides({ disabled: true, match: { metric: "REQUEST_SIZE" } })]],
    ["off, and another provider below", false, [off], [named("second")]],
    ["off for another provider, which is the only one", true, [{ ...off, ...named("second") }]],
  ] as const)
    test(title, () => {
      assert.equal(hidesMetrics(metrics.map((one) => telemetry({ metrics: one }))), isHidden);
    });
});
