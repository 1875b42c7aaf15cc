import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parse } from "yaml";

// Workflows only run where the project is hosted, so a name that is wrong in one of them would be noticed late.

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly "working-directory"?: string;
}
interface Job {
  readonly "runs-on": string;
  readonly needs?: string | readonly string[];
  readonly permissions?: object;
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly name: string;
  readonly on: object;
  readonly permissions?: object;
  readonly jobs: Readonly<Record<string, Job>>;
}

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const scriptsOf = (folder: string): object =>
  (JSON.parse(read(join(folder, "package.json"))) as { scripts: object }).scripts;
/** What a step or a build writes. */
const isWritten = (path: string): boolean => /^(?:dist|\.cache|site\/\.vitepress\/dist)\b/.test(path);
const isThere = (path: string): boolean => isWritten(path) || existsSync(join(root, path));

const workflows = globSync(".github/workflows/*", { cwd: root });
assert.ok(workflows.length >= 3);

for (const path of workflows)
  describe(path, () => {
    const workflow = parse(read(path)) as Workflow;
    const jobs = Object.entries(workflow.jobs);
    const steps = jobs.flatMap(([, job]) => job.steps);

    test("has a name, a trigger, no permissions, and jobs that say which they need", () => {
      assert.equal(typeof workflow.name, "string");
      assert.ok(Object.keys(workflow.on).length > 0);
      assert.deepEqual(workflow.permissions, {});
      for (const [name, job] of jobs) {
        assert.match(job["runs-on"], /^ubuntu-\d+\.\d+$/, name);
        assert.ok(job.permissions !== undefined, name);
        for (const needed of [job.needs ?? []].flat()) assert.ok(needed in workflow.jobs, `${name} needs ${needed}`);
      }
    });

    test("has steps that use an action of a version, or run something, and keep no credentials", () => {
      for (const { uses, run, with: given } of steps) {
        assert.ok((uses === undefined) !== (run === undefined), JSON.stringify({ uses, run }));
        if (uses !== undefined) assert.match(uses, /^[\w-]+\/[\w-]+@v\d+$/);
        if (uses?.startsWith("actions/checkout@")) assert.equal(given?.["persist-credentials"], false);
      }
    });

    test("names scripts, files and folders that there are", () => {
      for (const { run = "", with: given = {}, "working-directory": folder = "." } of steps) {
        assert.ok(isThere(folder), folder);
        const scripts = scriptsOf(folder);
        for (const [, name = ""] of run.matchAll(/npm run (?:-s )?([\w:-]+)/g)) assert.ok(name in scripts, name);
        const inRun = [...run.matchAll(/(?<![\w./$"-])((?:\.ci|deploy|test|src|site|dist)\/[\w./-]*[\w/])/g)];
        const inInputs = Object.entries(given).filter(([key]) => key === "path" || key.endsWith("-file"));
        for (const named of [...inRun.map(([, name = ""]) => name), ...inInputs.map(([, value]) => String(value))])
          assert.ok(isThere(named), named);
        for (const [, pattern = ""] of JSON.stringify(given).matchAll(/'(test\/[^']+)'/g))
          assert.ok(globSync(pattern, { cwd: root }).length > 0, pattern);
      }
    });
  });
