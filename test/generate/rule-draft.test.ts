import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { root } from "../../src/generate/files.ts";
import { draftRule } from "../../src/generate/rule-draft.ts";
import { ruleFaults } from "../../src/generate/rule-faults.ts";
import { findRules, ruleList } from "../../src/generate/rule-files.ts";
import type { GeneratedFile } from "../../src/generate/rule-pages.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { UsageError } from "../../src/text/usage-error.ts";
import { judgeFixture, judgePair, pair } from "../rule-code/judge-fixture.ts";

// What new-rule writes: for every kind a rule and a fixture that agree, on trial, and that cannot land as they are.

const folder = mkdtempSync(join(tmpdir(), "meshward-draft-"));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, "src"));
// Links, no copies: a module that is loaded twice has two of everything.
for (const path of ["src/engine", "src/kube", "src/mesh", "src/text", "src/view", "node_modules"])
  symlinkSync(join(root, path), join(folder, path), "junction");
cpSync(join(root, "package.json"), join(folder, "package.json"));

const { found } = await findRules(root);
const place = ({ path, content }: GeneratedFile) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
};
const kebab = (kind: string) => kind.replaceAll(/(?<=[a-z])[A-Z]/g, "-$&").toLowerCase();
const draft = (id: string, ...kinds: readonly string[]) => draftRule({ id, kinds, since: "1.2.3" }, found);

const drafts = [
  ...allKinds.map((kind) => draft(`${kebab(kind)}-drafted`, kind)),
  draft("policy-drafted", "AuthorizationPolicy", "PeerAuthentication"),
];
for (const file of drafts.flat()) place(file);
const { found: drafted, faults } = await findRules(folder);

test("a draft loads, and its fixture agrees with it, whatever it judges", async () => {
  assert.deepEqual(faults, []);
  assert.equal(drafted.length, drafts.length);
  for (const { rule } of drafted) {
    await judgePair(rule, join(folder, "test/rules", rule.id));
    const { marked } = await judgeFixture(rule, join(folder, "test/rules", rule.id, pair.wrong));
    assert.equal(marked, rule.subject.length, rule.id);
  }
});

test("a draft is on trial since the version given", () => {
  for (const { rule } of drafted) assert.deepEqual([rule.stage, rule.since, rule.mode], ["trial", "1.2.3", "warn"]);
});

test("nothing but its words and its example is wrong with it", () => {
  const said = ruleFaults(drafted, join(folder, "test/rules"));
  assert.equal(said.length, drafted.length * 7);
  for (const fault of said)
    assert.match(
      fault,
      /: (summary|why|fix|incident\.(?:seen|wayOut|silentWhen)|the fixture in \S+) (is still the text that|still expects what) new-rule wrote\.$/,
    );
});

test("a draft compiles", () => {
  const project = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: { typeRoots: [join(root, "node_modules/@types")] },
    include: [join(folder, "src/rules")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(project));
  assert.equal(run("tsc", ["--noEmit", "--project", folder]).stdout, "");
});

test("drafts and their list are as the formatter writes them", () => {
  const list = { path: "src/rules/index.ts", content: ruleList(drafted) };
  for (const { path, content } of [list, ...drafts.flat()].filter(({ path }) => path.endsWith(".ts")))
    assert.equal(run("biome", ["format", `--stdin-file-path=${path}`], content).stdout, content, path);
});

const run = (tool: string, args: readonly string[], input = "") =>
  spawnSync(join(root, "node_modules/.bin", tool), args, {
    input,
    cwd: root,
    encoding: "utf8",
    shell: process.platform === "win32",
  });

describe("what cannot be drafted is said in one sentence", () => {
  const cases: Readonly<Record<string, readonly [id: string, kinds: readonly string[], said: RegExp]>> = {
    "no kind": ["gateway-closed", [], /^give the kind that the rule checks: --subject VirtualService$/],
    "a kind misspelt": ["gateway-closed", ["Gatway"], /^"Gatway" is not a kind in .*; did you mean "Gateway"\?$/],
    "a kind that nobody knows": [
      "pod-closed",
      ["Nonsense"],
      /^"Nonsense" is not a kind in .*; they are VirtualService, /,
    ],
    "an id without its subject": ["closed", ["Gateway"], /; did you mean "gateway-closed"\?$/],
    "an id of one word for several kinds": ["closed", ["Gateway", "Service"], /; did you mean "gateway-closed"\?$/],
    "an id in other letters": [
      "GatewayClosed",
      ["Gateway"],
      /^the id "GatewayClosed" .*; did you mean "gateway-closed"\?$/,
    ],
    "an id of nothing": [
      "--",
      ["Gateway"],
      /^the id "--" does not have the form <subject>-<what is wrong> in lower-case words; did you mean "gateway-"\?$/,
    ],
    "a rule that there is": [
      "virtual-service-weights-not-100",
      ["VirtualService"],
      /^the rule "virtual-service-weights-not-100" exists already, in src\/rules\/virtual-service\/weights-not-100\.ts$/,
    ],
  };
  for (const [name, [id, kinds, said]] of Object.entries(cases))
    test(name, () => {
      assert.throws(
        () => draft(id, ...kinds),
        (error) => {
          assert.ok(error instanceof UsageError);
          assert.match(error.message, said);
          return true;
        },
      );
    });
});

test("several kinds share the folder that their ids begin with", () => {
  const [, , { path } = { path: "" }] = draft("policy-drafted", "AuthorizationPolicy", "PeerAuthentication");
  assert.equal(path, "src/rules/policy/drafted.ts");
});
