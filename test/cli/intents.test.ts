import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { changes, intents, type Raw, world } from "../intents/story.ts";
import { meshward } from "./terminal.ts";

// Intents as documents of --policies and as manifests, for the commands that read files.

const root = mkdtempSync(join(tmpdir(), "meshward-intents-"));
after(() => rmSync(root, { recursive: true }));

function written(name: string, objects: readonly unknown[]): string {
  const path = join(root, name);
  writeFileSync(path, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
  return path;
}
const mesh = written("mesh.json", world);
const policies = written("intents.json", intents);
const [change] = changes;
const breaking = written("breaking.json", [change?.breaking]);
const harmless = written("harmless.json", [change?.harmless]);
const [first] = intents;
const never = structuredClone(first) as Raw;
never["spec"].requests = [{ from: ["namespace/web"], expect: "allowed" }];

const reported = async (...argv: readonly string[]) => {
  const { code, out, error } = await meshward([...argv, "--format", "json"]);
  const found = out === "" ? [] : (JSON.parse(out) as Report).findings;
  return { code, error, found: found.filter(({ rule }) => rule.includes("intent")) };
};

describe("intents in files", () => {
  test("a change that ends one in --policies is denied, and its twin is not", async () => {
    const { code, found } = await reported("check", breaking, "--mesh", mesh, "--policies", policies);
    assert.equal(code, 1);
    assert.deepEqual(
      found.map(({ rule, mode, message }) => [rule, mode, change?.message.test(message)]),
      [["intent-broken", "deny", true]],
    );
    const twin = await reported("check", harmless, "--mesh", mesh, "--policies", policies);
    assert.deepEqual(twin.found, []);
  });

  test("one in --policies that is wrong is an error, as a policy is; one that holds nothing is a note", async () => {
    const [entry] = (first as Raw)["spec"].requests;
    const wrong = structuredClone(first) as Raw;
    wrong["spec"].requests = [{ ...entry, methods: ["get"] }];
    const inLowerCase = written("lower-case.json", [wrong]);
    const { code, error } = await reported("check", harmless, "--mesh", mesh, "--policies", inLowerCase);
    assert.equal(code, 2);
    assert.match(error, /lower-case\.json:\d+:\d+: MeshwardIntent \S+ keeps less than it says: The method "get"/);
    // Also where it is among the checked files, in which it counts as one that was there before.
    const both = await reported("check", harmless, inLowerCase, "--mesh", mesh, "--policies", inLowerCase);
    assert.deepEqual([both.code, both.found.map(({ rule }) => rule)], [2, ["intent-invalid"]]);

    const misspelt = structuredClone(first) as Raw;
    misspelt["spec"].to = { service: "nothing-like-it" };
    const unheld = written("unheld.json", [
      never,
      { ...misspelt, metadata: { ...misspelt["metadata"], name: "misspelt" } },
    ]);
    const noted = await reported("check", harmless, "--mesh", mesh, "--policies", unheld);
    assert.equal(noted.code, 0);
    assert.match(
      noted.error,
      /note: \S+unheld\.json:\d+: MeshwardIntent \S+ keeps less than it says: Requests from namespace\/web must be allowed/,
    );
    assert.match(noted.error, /There is no Service "nothing-like-it"/);
    assert.doesNotMatch(noted.error, /cannot be decided/);
    // What the change ends is its own finding, and no note besides.
    const ended = await reported("check", breaking, "--mesh", mesh, "--policies", policies);
    assert.doesNotMatch(ended.error, /keeps less/);
  });

  test("one among the manifests of the mesh counts, too", async () => {
    const whole = written("whole.json", [...world, ...intents]);
    const { found } = await reported("check", breaking, "--mesh", whole);
    assert.deepEqual(
      found.map(({ rule }) => rule),
      ["intent-broken"],
    );
  });

  test("an audit reports one that does not hold, with its file", async () => {
    const folder = join(root, "never");
    mkdirSync(folder);
    writeFileSync(join(folder, "intent.json"), JSON.stringify(never));
    const { found } = await reported("audit", "--mesh", mesh, "--policies", folder);
    assert.deepEqual(
      found.map(({ rule, mode, file }) => [rule, mode, file]),
      [["intent-not-held", "warn", join(folder, "intent.json")]],
    );
    const { found: held } = await reported("audit", "--mesh", mesh, "--policies", policies);
    assert.deepEqual(held, []);
  });

  test("check without a mesh warns of one that does not hold in the same files", async () => {
    const { found } = await reported("check", mesh, written("never.json", [never]));
    assert.deepEqual(
      found.map(({ rule, mode }) => [rule, mode]),
      [["intent-not-held", "warn"]],
    );
  });

  test("of two with the same name, the one of the mesh counts", async () => {
    const whole = written("with-never.json", [...world, never]);
    const { found } = await reported("audit", "--mesh", whole, "--policies", written("one.json", [first]));
    assert.deepEqual(
      found.map(({ rule }) => rule),
      ["intent-not-held"],
    );
  });

  test("one that is no intent is an error with its place", async () => {
    const typo = structuredClone(first) as Raw;
    typo["spec"].requests[0].expct = "allowed";
    const path = written("typo.json", [typo]);
    const { code, error } = await reported("audit", "--mesh", mesh, "--policies", path);
    assert.equal(code, 2);
    assert.match(
      error,
      /typo\.json:1:\d+: MeshwardIntent payments\/.*requests\[0\]\.expct: there is no such field; did you mean "expect"\?/,
    );
    const checked = await meshward(["check", path]);
    assert.equal(checked.code, 2);
    assert.match(checked.error, /requests\[0\]\.expct: there is no such field/);
  });
});
