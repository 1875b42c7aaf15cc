import assert from "node:assert/strict";
import test from "node:test";
import { createLog } from "../../src/telemetry/log.ts";

test("a line is one JSON object with a time, a level and the fields, whatever they hold", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  log.debug({}, "not shown");
  log.warn({ name: "a\nb\u001b[31m", nothing: undefined }, "said");
  assert.equal(lines.length, 1);
  const line = lines[0] ?? "";
  assert.equal(line.indexOf("\n"), line.length - 1);
  assert.equal(line.includes("\u001b"), false);
  const { time, ...rest } = JSON.parse(line);
  assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(rest, { level: "warn", name: "a\nb\u001b[31m", msg: "said" });
});

test("silent is silent", () => {
  const lines: string[] = [];
  createLog("silent", (line) => lines.push(line)).error({}, "unheard");
  assert.deepEqual(lines, []);
});
