import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

// docs/reliability.md names a test for each case: it may name none that is not there.

const root = join(import.meta.dirname, "..");
const rows = readFileSync(join(root, "docs/reliability.md"), "utf8")
  .split("\n")
  .filter((line) => /^\| R\d+ \|/.test(line))
  .map((line) => line.split("|").map((cell) => cell.trim()));

test("every case has its number, once, and a test", () => {
  assert.deepEqual(
    rows.map(([, number]) => number),
    rows.map((_, i) => `R${i + 1}`),
  );
  for (const cells of rows) assert.match(cells[4] ?? "", /^`test\/.* ".+"/, cells[1]);
});

test("every test that the page names is there, by its title", () => {
  for (const [, number = "", , , tests = ""] of rows)
    for (const named of tests.split(/;\s+(?=`test)/)) {
      const [, file = ""] = /^`(test\/[^`]+)` "/.exec(named) ?? [];
      const text = readFileSync(join(root, file), "utf8");
      for (const [, title = ""] of named.matchAll(/"([^"]+)"/g))
        assert.ok(
          text.split("\n").some((line) => line.includes(title)),
          `${number}: ${file} has no test "${title}"`,
        );
    }
});
