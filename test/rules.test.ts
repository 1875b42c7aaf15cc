import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Rule } from "../src/engine/rule.ts";
import { rules } from "../src/rules/index.ts";
import { judgeFixture, judgePair, pair } from "./rule-code/judge-fixture.ts";

// Every rule's fixtures.

const folder = join(import.meta.dirname, "rules");

for (const rule of rules)
  describe(rule.id, () => {
    test("the change from right.yaml to wrong.yaml", () => judgePair(rule, join(folder, rule.id)));
    let marked = 0;
    let clean = 0;
    const others = fixturesOf(rule);
    for (const file of others)
      test(file, async () => {
        const counts = await judgeFixture(rule, join(folder, rule.id, file));
        marked += counts.marked;
        clean += counts.clean;
      });
    if (others.length > 0)
      test("the other fixtures have a wrong and a right object", () => {
        assert.ok(marked > 0, "no line is marked with # expect:");
        assert.ok(clean > 0, "no object is free of marks");
      });
  });

test("every folder of fixtures belongs to a rule", () => {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const ids = new Set(rules.map(({ id }) => id));
  assert.deepEqual(
    folders.map(({ name }) => name).filter((name) => !ids.has(name)),
    [],
  );
});

function fixturesOf(rule: Rule): readonly string[] {
  try {
    return readdirSync(join(folder, rule.id)).filter(
      (name) => name.endsWith(".yaml") && name !== pair.right && name !== pair.wrong,
    );
  } catch {
    return [];
  }
}
