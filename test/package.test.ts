import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "node:test";
import packageJson from "../package.json" with { type: "json" };

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

test("the quick tests leave out folders that there are, and are most of the files", () => {
  const patterns = [...packageJson.scripts["test:quick"].matchAll(/"(test\/[^"]+)"/g)].map(
    ([, pattern = ""]) => pattern,
  );
  const cwd = fileURLToPath(new URL("../", import.meta.url));
  const left = /!\(([^)]+)\)\//.exec(patterns[0] ?? "")?.[1]?.split("|") ?? [];
  assert.ok(left.length > 0);
  for (const folder of left) assert.ok(existsSync(new URL(folder, import.meta.url)), folder);
  const quick = globSync(patterns, { cwd });
  assert.ok(quick.length > globSync("test/**/*.test.ts", { cwd }).length / 2);
  assert.deepEqual(
    quick.filter((path) => left.some((folder) => path.includes(`/${folder}/`)) || path.includes("laws")),
    [],
  );
});
