import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { modesOf } from "../../src/engine/rule.ts";
import { rules } from "../../src/rules/index.ts";
import { meshward } from "./terminal.ts";

describe("rules", () => {
  test("lists every rule with its mode", async () => {
    const { code, out } = await meshward(["rules"]);
    assert.equal(code, 0);
    for (const { id, mode, summary } of rules)
      assert.ok(out.includes(id) && out.includes(modesOf({ mode }).protected) && out.includes(summary), id);
  });

  for (const rule of rules)
    test(`explains ${rule.id} with why, fix and an example`, async () => {
      const { code, out } = await meshward(["rules", rule.id]);
      assert.equal(code, 0);
      for (const part of [`# ${rule.id}`, rule.why, rule.fix, "```yaml", "# <-"]) assert.ok(out.includes(part), part);
    });

  test("an unknown id is one line with the nearest", async () => {
    const { code, error } = await meshward(["rules", "virtual-service-weight-not-100"]);
    assert.equal(code, 2);
    assert.match(error, /^meshward: there is no rule .*did you mean "virtual-service-weights-not-100"\?\n$/);
  });
});

test("ids are sorted, unique, and every rule says what it is", () => {
  const ids = rules.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  for (const { id, summary, why, fix } of rules) {
    assert.match(id, /^[a-z]+(-[a-z0-9]+)+$/);
    for (const text of [summary, why, fix]) assert.match(text, /^[A-Z].*\.$/s, id);
  }
});

test("commands and options that are not there are named with the nearest", async () => {
  const unknown = await meshward(["chekc"]);
  assert.deepEqual([unknown.code, /Did you mean check/.test(unknown.error)], [2, true]);
  const option = await meshward(["check", "-", "--complet", "Service"]);
  assert.deepEqual([option.code, /--complete/.test(option.error)], [2, true]);
  const help = await meshward(["--help"]);
  assert.equal(help.code, 0);
  for (const command of ["serve", "check", "rules", "demo"]) assert.match(help.out, new RegExp(`^  ${command}`, "m"));
});
