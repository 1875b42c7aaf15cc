import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { generated, root } from "../../src/generate/files.ts";

const { faults, files: writable } = await generated();

test("nothing is wrong with what the files are generated from", () => {
  assert.deepEqual(faults, []);
});

const files = faults.length > 0 ? [] : writable();
for (const { path, content } of files)
  test(`${path} is what would be generated`, () => {
    const committed = readFileSync(join(root, path), "utf8");
    assert.equal(committed, content, "run npm run generate");
  });

test("no page is left of a rule that is no more", { skip: faults.length > 0 && "there are faults" }, () => {
  const wanted = new Set(files.map(({ path }) => path));
  const pages = readdirSync(join(root, "policies/rules")).map((name) => `policies/rules/${name}`);
  assert.deepEqual(
    pages.filter((path) => !wanted.has(path)),
    [],
  );
});
