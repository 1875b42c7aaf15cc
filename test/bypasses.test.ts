import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { rules } from "../src/rules/index.ts";

// policies/bypasses.md says what is closed and by what: it may name nothing that is not there.

const root = join(import.meta.dirname, "..");
const text = readFileSync(join(root, "policies/bypasses.md"), "utf8");
const rows = text
  .split("\n")
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => line.split("|").map((cell) => cell.trim()));
const quoted = (cell: string): readonly string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
const ids = new Set(rules.map(({ id }) => id));
/** A name that begins as the ids of rules do, with a subject. */
const subjects = new Set([...ids].map((id) => id.split("-")[0]));
const looksLikeRule = (name: string): boolean =>
  /^[a-z]+(?:-[a-z0-9]+)+$/.test(name) && subjects.has(name.split("-")[0]);

test("every way has its number, once, and a state that the page explains", () => {
  assert.deepEqual(
    rows.map(([, number]) => Number(number)),
    rows.map((_, i) => i + 1),
  );
  for (const [, number, , state] of rows) assert.match(text, new RegExp(`^- \\*\\*${state}\\*\\*: `, "m"), number);
});

test("every rule and every test that it names is there", () => {
  const names = rows.flatMap((cells) => quoted(cells.join(" ")));
  for (const name of names) {
    if (name.startsWith("test/")) assert.ok(existsSync(join(root, name)), name);
    if (looksLikeRule(name)) assert.ok(ids.has(name), name);
  }
});

test("what is closed or warned of names a test or a rule", () => {
  for (const [, number, , state, how = ""] of rows) {
    if (state !== "closed" && state !== "warned") continue;
    const proofs = quoted(how).filter((name) => name.startsWith("test/") || ids.has(name));
    assert.ok(proofs.length > 0, `row ${number}`);
  }
});
