import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { followPolicies } from "../../src/cli/followed-policies.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { DocumentMemory } from "../../src/sources/manifests/document-memory.ts";
import { treeSignature } from "../../src/sources/manifests/tree-signature.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-policies-"));
after(() => rmSync(root, { recursive: true }));

const document = (name: string, spec: string) =>
  `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const exception = (name: string, expiresAt = "2027-01-01T00:00:00Z") =>
  `apiVersion: meshward.io/v1alpha1\nkind: MeshwardException\nmetadata: { name: ${name}, namespace: shop }\n` +
  `spec: { rules: [object-malformed], reason: r, owner: o, expiresAt: "${expiresAt}" }\n`;
const protecting = (...names: string[]) => `{ protectedNamespaces: { names: [${names.join(", ")}] } }`;

/** A folder of policies that is followed; the text of each of its files can be replaced, or removed. */
async function following(files: Readonly<Record<string, string>>, others: readonly string[] = []) {
  const folder = mkdtempSync(join(root, "f-"));
  const write = (file: string, text: string) => writeFileSync(join(folder, file), text);
  for (const [file, text] of Object.entries(files)) write(file, text);
  const options = { policies: [folder, ...others], profile: "baseline" };
  const lines: Record<string, unknown>[] = [];
  let tick = () => {};
  const clock = {
    now: () => Date.parse("2026-11-26T00:00:00Z"),
    every(_: number, task: () => void) {
      tick = task;
      return () => {
        tick = () => {};
      };
    },
  };
  const log = createLog("info", (line) => lines.push(JSON.parse(line)));
  const metrics = createMetrics({ processMetrics: false });
  const followed = followPolicies(options, await policiesOf(options), { log, metrics, clock });
  /** The files are small and local, but how soon they are read is the machine's affair: the test's own time is the limit. */
  const look = async (isDone: () => boolean) => {
    tick();
    while (!isDone()) await turn();
  };
  /** Reads the files again, until the log has one line more. */
  const lookAndLog = async () => {
    const { length } = lines;
    await look(() => lines.length > length);
    return lines.at(-1) ?? {};
  };
  const isProtected = (name: string) => followed.current().protectsByName(name);
  return {
    folder,
    write,
    remove: (file: string) => rmSync(join(folder, file)),
    lines,
    metrics,
    followed,
    look,
    lookAndLog,
    isProtected,
    tick: () => tick(),
  };
}

const limit = { timeout: 60_000 };

test(
  "policies follow their files; broken ones leave the last good ones in force and are reported once",
  limit,
  async () => {
    const it = await following({ "policy.yaml": document("a", protecting("shop")) });
    assert.ok(it.isProtected("shop"));

    it.write("policy.yaml", document("a", protecting("bank")));
    await it.look(() => it.isProtected("bank"));
    assert.equal(it.isProtected("shop"), false);
    const replaced = it.lines.length;
    assert.match(String(it.lines.at(-1)?.msg), /policies were reloaded/);

    it.write("policy.yaml", "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nspec: [\n");
    await it.look(() => it.lines.length > replaced);
    assert.match(String(it.lines.at(-1)?.msg), /the previous ones stay in force/);
    assert.match(String(it.lines.at(-1)?.problem), /policy\.yaml:/);
    assert.ok(it.isProtected("bank"));

    it.write("policy.yaml", document("a", protecting("vault")));
    await it.look(() => it.isProtected("vault"));
    await it.followed.close();
    it.write("policy.yaml", document("a", protecting("none")));
    it.tick();
    assert.ok(it.isProtected("vault"));
  },
);

test(
  "several folders are one set: a change of each counts, and a mistake in one leaves all as they were",
  limit,
  async () => {
    const second = mkdtempSync(join(root, "f-"));
    const inSecond = (text: string) => writeFileSync(join(second, "b.yaml"), text);
    inSecond(document("b", protecting("bank")));
    const it = await following({ "a.yaml": document("a", protecting("shop")) }, [second]);
    assert.deepEqual(["shop", "bank"].map(it.isProtected), [true, true]);

    inSecond(document("b", protecting("vault")));
    await it.look(() => it.isProtected("vault"));
    it.write("a.yaml", document("a", protecting("market")));
    await it.look(() => it.isProtected("market"));
    assert.deepEqual(["vault", "shop", "bank"].map(it.isProtected), [true, false, false]);

    inSecond("apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nspec: [\n");
    it.write("a.yaml", document("a", protecting("shop")));
    assert.match(String((await it.lookAndLog()).problem), /b\.yaml/);
    assert.deepEqual(["market", "vault", "shop"].map(it.isProtected), [true, true, false]);

    inSecond(document("b", protecting("bank")));
    await it.look(() => it.isProtected("bank"));
    assert.ok(it.isProtected("shop"));
    await it.followed.close();
  },
);

const both = { "a.yaml": document("a", protecting("shop")), "b.yaml": document("b", protecting("bank")) };
type Followed = Awaited<ReturnType<typeof following>>;
const vanishing: readonly (readonly [what: string, act: (it: Followed) => void])[] = [
  ["is emptied", (it) => it.write("a.yaml", "")],
  ["has only a comment left", (it) => it.write("a.yaml", "# nothing\n")],
  [
    "has another object instead",
    (it) => it.write("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
  ],
  ["is removed", (it) => it.remove("a.yaml")],
  ["is renamed to what is no manifest", (it) => renameSync(join(it.folder, "a.yaml"), join(it.folder, "a.yaml.bak"))],
  ["has a document of another name instead", (it) => it.write("a.yaml", document("c", protecting("mail")))],
];
for (const [what, act] of vanishing)
  test(`a file that ${what} takes no protection away, is an error once, and is counted`, limit, async () => {
    const it = await following(both);
    act(it);
    const line = await it.lookAndLog();
    assert.equal(it.lines.find(({ level }) => level === "error")?.documents?.toString(), "MeshwardPolicy a");
    assert.match(String(it.lines.find(({ level }) => level === "error")?.msg), /stay in force.*withdrawn: true/);
    assert.ok(it.isProtected("shop") && it.isProtected("bank"));
    assert.match(await it.metrics.text(), /^meshward_policies\{state="kept"\} 1$/m);
    // The same state is not reported again; another change is.
    it.write("b.yaml", document("b", protecting("bank", "more")));
    await it.look(() => it.isProtected("more"));
    assert.ok(it.isProtected("shop"));
    assert.equal(it.lines.filter(({ level }) => level === "error").length, 1, JSON.stringify(line));
  });

test("a folder without any document leaves everything in force", limit, async () => {
  const it = await following(both);
  it.remove("a.yaml");
  it.write("b.yaml", "");
  await it.lookAndLog();
  assert.ok(it.isProtected("shop") && it.isProtected("bank"));
  rmSync(it.folder, { recursive: true });
  assert.match(String((await it.lookAndLog()).msg), /the previous ones stay in force/);
  mkdirSync(it.folder);
  it.write("a.yaml", document("a", protecting("mail")));
  await it.look(() => it.isProtected("mail"));
  assert.deepEqual([it.isProtected("shop"), it.isProtected("bank")], [false, true]);
});

test("a document that says less is taken, as an error that names what is lost, and counted", limit, async () => {
  const it = await following({ "a.yaml": document("a", protecting("shop", "bank")) });
  it.write("a.yaml", document("a", protecting("bank")));
  const line = await it.lookAndLog();
  assert.deepEqual([line.level, line.lost], ["error", ["namespaces named shop are no longer protected by their name"]]);
  assert.equal(it.isProtected("shop"), false);
  assert.match(await it.metrics.text(), /^meshward_policy_reloads_total\{result="weaker"\} 1$/m);

  it.write("a.yaml", document("a", "{ withdrawn: true }"));
  assert.deepEqual((await it.lookAndLog()).lost, ["namespaces named bank are no longer protected by their name"]);
  assert.equal(it.isProtected("bank"), false);
  it.remove("a.yaml");
  it.write("b.yaml", document("b", protecting("mail")));
  await it.look(() => it.isProtected("mail"));
  assert.match(await it.metrics.text(), /^meshward_policies\{state="kept"\} 0$/m);
});

test("a document that only lowers goes with its file, and so does an exception", limit, async () => {
  const off = '{ rules: [{ id: object-malformed, mode: "off" }], breakGlass: { groups: [ops] } }';
  const it = await following({
    "a.yaml": document("a", off),
    "b.yaml": document("b", protecting("shop")),
    "e.yaml": exception("e"),
  });
  assert.ok(it.followed.current().mayBreakGlass({ groups: ["ops"] }));
  it.remove("a.yaml");
  it.remove("e.yaml");
  const line = await it.lookAndLog();
  assert.deepEqual([line.level, line.msg], ["info", "policies were reloaded"]);
  assert.equal(it.followed.current().mayBreakGlass({ groups: ["ops"] }), false);
  assert.deepEqual(it.followed.current().exceptions, []);
});

test("new exceptions are a warning; those of more than a year are one as well, also at the start", limit, async () => {
  const it = await following({ ...both, "e.yaml": exception("long", "9999-01-01T00:00:00Z") });
  assert.equal(it.lines.length, 1);
  assert.match(String(it.lines[0]?.msg), /end more than a year from now/);
  assert.deepEqual(it.lines[0]?.exceptions, ["MeshwardException shop/long until 9999-01-01T00:00:00Z"]);
  it.write("e.yaml", exception("short"));
  const line = await it.lookAndLog();
  assert.deepEqual(
    [line.level, line.accepted],
    ["warn", ["MeshwardException shop/short accepts object-malformed until 2027-01-01T00:00:00Z"]],
  );
});

test("what was read at the start is not read again before it changes", limit, async () => {
  const folder = mkdtempSync(join(root, "f-"));
  writeFileSync(join(folder, "a.yaml"), document("a", protecting("shop")));
  const options = { policies: [folder], profile: "baseline" };
  const memory = new DocumentMemory();
  const files = { signature: await treeSignature(folder), memory };
  const start = await policiesOf({ ...options, memory });
  // Files that cannot be read would be reported.
  writeFileSync(join(folder, "a.yaml"), "kind: [\n");
  const changed = await treeSignature(folder);
  const lines: unknown[] = [];
  const log = createLog("info", (line) => lines.push(line));
  let tick = () => {};
  const clock = {
    now: () => Date.parse("2026-11-26T00:00:00Z"),
    every(_: number, task: () => void) {
      tick = task;
      return () => {};
    },
  };
  const following = () => ({ log, metrics: createMetrics({ processMetrics: false }), clock });
  const same = followPolicies(options, { ...start, files: { ...files, signature: changed } }, following());
  tick();
  for (let i = 0; i < 50; i++) await turn();
  assert.deepEqual(lines, []);
  await same.close();
  const other = followPolicies(options, { ...start, files }, following());
  tick();
  while (lines.length === 0) await turn();
  assert.match(String(lines[0]), /policies were not reloaded/);
  await other.close();
});

const intent = (requests: string, name = "i") =>
  `apiVersion: meshward.io/v1alpha1\nkind: MeshwardIntent\nmetadata: { name: ${name}, namespace: pay }\n` +
  `spec: { to: { service: api }, requests: [${requests}] }\n`;
const guarded = "{ from: [outside, mesh], expect: denied, paths: [/a] }";
const shop = { "a.yaml": document("a", protecting("shop")) };
const lostEntry = "MeshwardIntent pay/i: Requests (/a) from outside, mesh must be denied: no longer expected";
for (const [what, requests] of [
  ["another expectation", guarded.replace("denied", "allowed")],
  ["fewer callers", guarded.replace(", mesh", "")],
  ["other paths", guarded.replace("/a", "/b")],
  ["a mistake", guarded.replace("paths", "methods: [get], paths")],
] as const)
  test(`an intent that gets ${what} is taken, and is an error that says what is lost`, limit, async () => {
    const it = await following({ ...shop, "i.yaml": intent(guarded) });
    it.write("i.yaml", intent(requests));
    await it.lookAndLog();
    const line = it.lines.find(({ level }) => level === "error");
    assert.equal(line?.msg, "intents were reloaded and expect less than before");
    assert.deepEqual(line.lost, [lostEntry]);
    assert.match(await it.metrics.text(), /^meshward_policy_reloads_total\{result="weaker"\} 1$/m);
  });

for (const [what, requests] of [
  ["more callers", guarded.replace("mesh", "mesh, ingress")],
  ["no conditions", guarded.replace(", paths: [/a]", "")],
  ["another entry", `${guarded}, { from: [mesh], expect: encrypted }`],
] as const)
  test(`an intent that gets ${what} is taken without an error`, limit, async () => {
    const it = await following({ ...shop, "i.yaml": intent(guarded) });
    it.write("i.yaml", intent(requests));
    const { level, msg, documents } = await it.lookAndLog();
    assert.deepEqual([level, msg, documents], ["info", "intents were reloaded", ["MeshwardIntent pay/i"]]);
  });

test(
  "an intent that is missing stays in force, and one of another name that expects the same replaces it",
  limit,
  async () => {
    const it = await following({ ...shop, "i.yaml": intent(guarded) });
    it.remove("i.yaml");
    const { level, msg } = await it.lookAndLog();
    assert.deepEqual([level, /^intents are missing .* a restart reads/.test(String(msg))], ["error", true]);
    assert.deepEqual(
      it.followed.intents().map(({ metadata }) => metadata.name),
      ["i"],
    );
    assert.match(await it.metrics.text(), /^meshward_policies\{state="kept"\} 1$/m);
    it.write("j.yaml", intent(guarded, "j"));
    await it.look(() => it.followed.intents().some(({ metadata }) => metadata.name === "j"));
    assert.deepEqual(
      it.followed.intents().map(({ metadata }) => metadata.name),
      ["j"],
    );
  },
);

test("an intent that is wrong from the start is an error of the log", limit, async () => {
  const it = await following({ ...shop, "i.yaml": intent("{ from: [mesh], expect: denied, methods: [get] }") });
  assert.match(String(it.lines.at(-1)?.problems), /MeshwardIntent pay\/i: The method "get"/);
});
