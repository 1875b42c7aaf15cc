import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { createLog, reviewFields } from "../../src/telemetry/log.ts";

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

test("the line of a review is as any other with the same fields", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  const review = {
    uid: 'u"1',
    path: "/validate",
    operation: "UPDATE",
    group: "networking.istio.io",
    version: "v1",
    kind: "VirtualService",
    namespace: "shop",
    name: "a\nb\ud800",
    user: "ada\u2028\\ \u001b[31m😀",
    userGroups: ["system:authenticated", 'a"b'],
    dryRun: true,
    decision: "deny",
    rules: ["rule-a", "rule-b"],
    addedLabels: ["istio.io/dataplane-mode"],
    liveRead: "confirmed",
    concurrent: "denied",
    milliseconds: 0.125,
  } as const;
  for (const one of [
    review,
    {
      ...review,
      userGroups: [],
      rules: [],
      addedLabels: undefined,
      liveRead: undefined,
      concurrent: undefined,
      milliseconds: 3,
    },
  ]) {
    log.admission(one);
    log.info(one, "admission");
  }
  assert.deepEqual(Object.keys(JSON.parse(lines[0] ?? "")), ["level", "time", ...Object.keys(reviewFields), "msg"]);
  const withoutTime = lines.map((line) => line.replace(/"time":"[^"]*"/, '"time":""'));
  assert.deepEqual([withoutTime[0], withoutTime[2]], [withoutTime[1], withoutTime[3]]);
  for (const line of lines) assert.match(JSON.parse(line).time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("a review is not logged where its level is not", () => {
  const lines: string[] = [];
  createLog("warn", (line) => lines.push(line)).admission({
    uid: "u",
    path: "/mutate",
    operation: "CREATE",
    group: "",
    version: "v1",
    kind: "Namespace",
    namespace: "",
    name: "shop",
    user: "ada",
    userGroups: [],
    dryRun: false,
    decision: "allow",
    rules: [],
    addedLabels: undefined,
    liveRead: undefined,
    concurrent: undefined,
    milliseconds: 1,
  });
  assert.deepEqual(lines, []);
});

const logModule = JSON.stringify(new URL("../../src/telemetry/log.ts", import.meta.url).href);
const review =
  '{ uid: "u", path: "/validate", operation: "UPDATE", group: "", version: "v1", kind: "Service", namespace: "", name: "", user: "", userGroups: [], dryRun: false, decision: "allow", rules: [], milliseconds: 1 }';
for (const [how, end] of [
  ["the end of its work", ""],
  ["process.exit", "process.exit(0);"],
  ["an error that nobody catches", 'throw new Error("the end");'],
] as const)
  test(`lines are written, in their order, when the process ends by ${how}`, () => {
    const program = `
      const { createLog } = await import(${logModule});
      const log = createLog("info", "stdout");
      log.info({}, "first");
      log.admission(${review});
      log.error({}, "last");
      ${end}`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" });
    const said = stdout.trimEnd().split("\n");
    assert.deepEqual(
      said.map((line) => JSON.parse(line).msg),
      ["first", "admission", "last"],
    );
  });
