import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "node:test";
import packageJson from "../package.json" with { type: "json" };
import { filesOf, type GroupName, groups } from "./groups/groups.ts";

const lock = readFileSync(new URL("../package-lock.json", import.meta.url), "utf8");

test("every dependency has one exact version", () => {
  const { dependencies, devDependencies, optionalDependencies } = packageJson;
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+(?:-[a-z]+\.\d+)?$/, name);
  }
});

test("the lock file installs from whichever registry is configured", () => {
  assert.doesNotMatch(lock, /"resolved"/);
});

test("the npm scripts' own Node is optional on every platform, and of one major version", () => {
  const runtimes = Object.entries(packageJson.optionalDependencies);
  assert.notEqual(runtimes.length, 0);
  for (const [name, version] of runtimes) {
    assert.match(name, /^node-(linux|darwin|win)-(x64|arm64)$/);
    assert.match(version, /^24\./);
  }
});

const cwd = fileURLToPath(new URL("../", import.meta.url));
const filesOfScript = (name: "test" | "test:quick"): readonly string[] =>
  globSync(
    [...packageJson.scripts[name].matchAll(/"(test\/[^"]+)"/g)].map(([, pattern = ""]) => pattern),
    { cwd },
  ).flatMap((path) => {
    const group = /^test\/groups\/(.+)\.group\.ts$/.exec(path)?.[1];
    return group === undefined ? [path] : filesOf(group as GroupName);
  });

test("the tests are all test files, each once", () => {
  assert.deepEqual(filesOfScript("test").toSorted(), globSync("test/**/*.test.ts", { cwd }).toSorted());
});

test("each group is a file that runs it, and no pattern of it is without files", () => {
  const written = globSync("test/groups/*.group.ts", { cwd });
  assert.deepEqual(
    written.toSorted(),
    Object.keys(groups)
      .map((name) => `test/groups/${name}.group.ts`)
      .toSorted(),
  );
  for (const [name, patterns] of Object.entries(groups)) {
    const text = readFileSync(new URL(`groups/${name}.group.ts`, import.meta.url), "utf8");
    assert.match(text, new RegExp(`^await runGroup\\("${name}"\\);$`, "m"));
    for (const pattern of patterns) assert.notEqual(globSync(`test/${pattern}.test.ts`, { cwd }).length, 0, pattern);
  }
});

/** The environment variable with which a law is tried more often. In two parts, because this file is among the quick tests. */
const runsOfLaws = ["MESHWARD", "LAW_RUNS"].join("_");

test("the quick tests are most of the files, without the slow property tests", () => {
  const quick = filesOfScript("test:quick");
  assert.ok(quick.length > globSync("test/**/*.test.ts", { cwd }).length / 2);
  assert.deepEqual(
    quick.filter((path) => /laws|one-truth/.test(path) || readFileSync(`${cwd}/${path}`, "utf8").includes(runsOfLaws)),
    [],
  );
});
