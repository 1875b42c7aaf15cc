import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { assetNames } from "../../src/config/assets.ts";
import type { PolicySpec } from "../../src/policy/documents.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { findProfile, profileNames, profileSources, userLayer } from "../../src/policy/profiles.ts";
import { rules } from "../../src/rules/index.ts";
import { sourcesOf } from "./sources.ts";

const policies = fileURLToPath(new URL("../../policies/", import.meta.url));
const exampleFiles = globSync("examples/*.yaml", { cwd: policies }).sort();

test("every file of profiles belongs to a profile", () => {
  const used = new Set(profileNames.flatMap((name) => profileSources(name).map(({ file }) => file)));
  assert.deepEqual([...used].sort(), assetNames("profiles"));
});

for (const file of [...assetNames("profiles"), ...exampleFiles]) {
  test(`policies/${file} is valid, and names only rules that there are`, () => {
    const { errors } = loadPolicies(sourcesOf(readFileSync(join(policies, file), "utf8"), file), rules);
    assert.deepEqual(
      errors.map(({ message }) => message),
      [],
    );
  });
  test(`policies/${file} is read alike by YAML 1.1, which kubectl speaks, and YAML 1.2`, () => {
    const text = readFileSync(join(policies, file), "utf8");
    const rawOf = (source: string) => sourcesOf(source).map(({ raw }) => raw);
    assert.deepEqual(rawOf(`%YAML 1.1\n---\n${text}`), rawOf(text));
  });
}

test("there are examples", () => {
  assert.notEqual(exampleFiles.length, 0);
});

test("users' documents lie above every profile", () => {
  for (const name of profileNames) for (const { layer } of profileSources(name)) assert.ok(layer < userLayer);
});

test("observe takes back what baseline says of the same users", () => {
  const usersOf = (file: string) =>
    profileSources("observe")
      .filter((source) => source.file === file)
      .flatMap(({ raw }) => (raw as { spec: PolicySpec }).spec.match?.users ?? []);
  const users = usersOf("profiles/baseline.yaml");
  assert.notEqual(users.length, 0);
  assert.deepEqual(usersOf("profiles/observe.yaml"), users);
});

test("a profile is found by its name, and the nearest is named", () => {
  assert.deepEqual(findProfile("strict"), { profile: "strict" });
  assert.deepEqual(findProfile("stict"), { problem: 'there is no profile "stict"; did you mean "strict"?' });
  assert.deepEqual(findProfile("toString"), {
    problem: 'there is no profile "toString"; the profiles are observe, baseline, strict',
  });
});
