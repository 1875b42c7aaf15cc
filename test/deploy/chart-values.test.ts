import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Ajv } from "ajv";
import { parse } from "yaml";
import { serveCommand } from "../../src/cli/serve.ts";

// The chart has a value for each option of serve that an operator needs, with the same default and the same limits.

const chart = (file: string) => readFileSync(new URL(`../../deploy/chart/meshward/${file}`, import.meta.url), "utf8");
const templates = chart("templates/deployment.yaml") + chart("templates/_pod.tpl");
const values = parse(chart("values.yaml")) as Record<string, unknown>;
const isValid = new Ajv({ strict: false }).compile(JSON.parse(chart("values.schema.json")) as object);

/** Options that an installation in a cluster decides itself. */
const ofTheInstallation: Readonly<Record<string, string>> = {
  kubeconfig: "the service account of the pod is used",
  context: "the service account of the pod is used",
  host: "a pod listens on every address",
  "self-signed": "certificates.source has the ways that replicas can share",
  certs: "it belongs to --self-signed",
  "webhook-configuration": "both configurations have a fixed name, which the command that unlocks a cluster uses",
  namespace: "it is that of the pod",
};

/** Numbers and texts: option, path of the value, and what serve and the schema refuse. */
const limits: readonly (readonly [option: string, path: string, wrong: readonly unknown[]])[] = [
  ["audit-interval", "audit.intervalSeconds", [-1, 9, 1_000_000]],
  ["audit-reports", "audit.reports", ["some", ""]],
  ["cluster-domain", "clusterDomain", ["example.org.", "Example.org", "a b", "a..b"]],
  ["drain-seconds", "drainSeconds", [-1, 10_000]],
  ["max-staleness", "maxStalenessSeconds", [-1, 10_000]],
  ["object-limit", "review.objectLimitBytes", [1_572_863, 100_000_000]],
  ["review-budget", "review.budgetMilliseconds", [9, 100_000]],
  ["rotation-wait", "certificates.rotationWaitSeconds", [-1, 10_000]],
];

const command = serveCommand({} as never, () => undefined).exitOverride();
const optionOf = (name: string) => command.options.find(({ long }) => long === `--${name}`) ?? assert.fail(name);
const valueAt = (path: string): unknown =>
  path.split(".").reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], values);
function withValue(path: string, value: unknown): Record<string, unknown> {
  const changed = structuredClone(values);
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  (keys.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], changed) as Record<string, unknown>)[last] =
    value;
  return changed;
}

test("each option of serve has a value, or a reason why it has none", () => {
  for (const { long } of command.options) {
    const name = (long ?? "").slice(2);
    if (name === "help" || name in ofTheInstallation) continue;
    assert.match(templates, new RegExp(`(--${name}\\b|^${name}: \\[)`, "m"), `--${name}`);
  }
  for (const name of Object.keys(ofTheInstallation)) assert.ok(optionOf(name));
});

test("the values have the defaults of the options", () => {
  for (const [name, path] of limits) assert.equal(valueAt(path), optionOf(name).defaultValue, name);
  assert.ok(isValid(values), JSON.stringify(isValid.errors));
});

for (const [name, path, wrong] of limits)
  test(`what --${name} refuses, the schema of ${path} refuses`, () => {
    const { parseArg, argChoices } = optionOf(name);
    for (const value of wrong) {
      const isRefused = () => {
        if (argChoices !== undefined && !argChoices.includes(String(value))) throw new Error("no choice");
        parseArg?.(String(value), undefined as never);
      };
      assert.throws(isRefused, Error, `--${name} ${String(value)}`);
      assert.equal(isValid(withValue(path, value)), false, `${path}: ${String(value)}`);
    }
  });

test("images that no kubelet can pull are refused, and a profile may have a version", () => {
  for (const repository of [
    "ghcr.io/meshward/meshward",
    "localhost/a",
    "registry:5000/a_b/c.d",
    "[2001:db8::1]:5000/a",
  ])
    assert.ok(isValid(withValue("image.repository", repository)), repository);
  for (const repository of ["", "a:b", "Gate", "ghcr.io/Team/gate", "https://ghcr.io/a", "a//b", "a/", "a b"])
    assert.equal(isValid(withValue("image.repository", repository)), false, repository);
  for (const tag of ["a:b", "-1", "a b", "x".repeat(129)])
    assert.equal(isValid(withValue("image.tag", tag)), false, tag);
  for (const profile of ["strict", "baseline@0.1"]) assert.ok(isValid(withValue("profile", profile)), profile);
  for (const profile of ["Strict", "baseline@", "baseline@latest"])
    assert.equal(isValid(withValue("profile", profile)), false, profile);
});
