import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parse } from "yaml";
import packageJson from "../../package.json" with { type: "json" };

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Workflow {
  readonly permissions: object;
  readonly jobs: Readonly<
    Record<string, { readonly needs?: string; readonly permissions: object; readonly steps: readonly Step[] }>
  >;
}
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const { permissions, jobs } = parse(read(".github/workflows/release.yml")) as Workflow;
const steps = Object.values(jobs).flatMap(({ steps }) => steps);

describe("the release workflow", () => {
  test("publishes nothing before the checks have passed", () => {
    assert.deepEqual(permissions, {});
    for (const [name, { needs, permissions }] of Object.entries(jobs)) {
      assert.ok(permissions, name);
      if (name !== "check") assert.ok(needs === "check" || jobs[needs ?? ""]?.needs === "check", name);
    }
    assert.ok(jobs["check"]?.steps.some(({ run }) => run?.includes(".ci/run")));
  });

  test("runs scripts that exist", () => {
    const scripts = steps.flatMap(({ run = "" }) =>
      [...run.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map(([, name]) => name),
    );
    assert.ok(scripts.length > 1);
    for (const name of scripts) assert.ok(name !== undefined && name in packageJson.scripts, name);
  });

  test("gives the image the arguments that the Dockerfile declares, and signs what it publishes", () => {
    const build = steps.find(({ uses }) => uses?.startsWith("docker/build-push-action@"));
    const given = String(build?.with?.["build-args"]).match(/^\w+(?==)/gm);
    const declared = read("Dockerfile").match(/(?<=^ARG )\w+/gm);
    assert.deepEqual(given, declared);
    assert.equal(steps.filter(({ run }) => /^cosign sign|^ *cosign sign/m.test(run ?? "")).length, 3);
  });

  test("uses the Helm with which the chart is tested", () => {
    const setup = steps.find(({ uses }) => uses?.startsWith("azure/setup-helm@"));
    const required = /helm\.sh\/helm\/v4 (v[\d.]+)/.exec(read("test/e2e/helm/go.mod"))?.[1];
    assert.equal(setup?.with?.["version"], required);
  });
});
