import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import packageJson from "../package.json" with { type: "json" };

const lock = readFileSync(new URL("../package-lock.json", import.meta.url), "utf8");

test("every dependency has one exact version", () => {
  const { dependencies, devDependencies, optionalDependencies } = packageJson;
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name);
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
