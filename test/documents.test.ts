import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../src/cli/program.ts";
import { loadPolicies } from "../src/policy/load.ts";
import { rules } from "../src/rules/index.ts";
import { readManifests } from "../src/sources/manifests/manifests.ts";

// What the documents show and promise is what there is.

const root = fileURLToPath(new URL("../", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");

async function printedBy(...argv: string[]): Promise<{ code: number; out: string }> {
  let out = "";
  const code = await run(argv, {
    input: Readable.from([]),
    out: (text) => (out += text),
    error: () => undefined,
    colour: false,
    env: {},
    stop: new AbortController().signal,
  });
  return { code, out };
}

test("what the README shows of the demo is what the demo prints", async () => {
  const sample = /```text\n([\s\S]*?)```/.exec(readme)?.[1]?.trim() ?? "";
  const { code, out } = await printedBy("demo");
  assert.equal(code, 0);
  const steps = sample.split("\n\n");
  assert.ok(steps.length > 1, "the README shows less than two steps");
  for (const step of steps) assert.ok(out.includes(`\n${step}\n`), `the demo does not print:\n${step}`);
});

test("what the README shows of explain is what explain prints", async () => {
  const section = /^## explain:[\s\S]*?(?=^## )/m.exec(readme)?.[0] ?? "";
  const samples = [...section.matchAll(/```text\n([\s\S]*?)```/g)].map(([, sample = ""]) => sample);
  const commands = [...section.matchAll(/meshward -- (explain .*)$/gm)].map(([, command = ""]) => command.split(" "));
  assert.ok(samples.length > 1);
  const printed = await Promise.all(commands.map((argv) => printedBy(...argv)));
  assert.deepEqual(
    printed.map(({ code }) => code),
    commands.map(() => 0),
  );
  for (const sample of samples)
    assert.ok(
      printed.some(({ out }) => out.startsWith(sample)),
      `explain does not print:\n${sample}`,
    );
});

test("the README's policy is one that loads", async () => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const { manifests, errors } = await readManifests(["-"], { input: Readable.from([yaml]) });
  assert.deepEqual(errors, []);
  assert.equal(manifests.length, 2);
  assert.deepEqual(loadPolicies(manifests, rules).errors, []);
});

describe("the README's tables name the options of a command, all of them and no other", () => {
  for (const command of ["check", "explain", "serve", "manifests", "audit", "capture", "rules"])
    test(command, async () => {
      const section = new RegExp(`^## ${command}:[\\s\\S]*?(?=^## )`, "m").exec(readme)?.[0] ?? "";
      const rows = section.split("\n").filter((line) => line.startsWith("| `-"));
      const documented = rows.flatMap((row) => optionsIn(row.split("|")[1] ?? ""));
      const { out } = await printedBy(command, "--help");
      const existing = optionsIn(
        out
          .split("\n")
          .filter((line) => /^ {2}-/.test(line))
          .map((line) => line.slice(0, 28))
          .join("\n"),
      );
      assert.deepEqual(documented.sort(), existing.filter((option) => option !== "--help").sort());
    });
});

const optionsIn = (text: string): string[] => text.match(/--[a-z-]+/g) ?? [];

test("links between documents lead somewhere", () => {
  const pages = globSync(["*.md", "{docs,src,policies,certs}/**/*.md"], { cwd: root });
  assert.ok(pages.length > 5);
  const broken = pages.flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  assert.deepEqual(broken, []);
});

test("every step of the tour says first what somebody tries", () => {
  const steps = globSync("policies/tour/[0-9]*.yaml", { cwd: root });
  assert.ok(steps.length > 0);
  assert.deepEqual(
    steps.filter((step) => !/^# \S.{10,}\n(?!#)/.test(readFileSync(join(root, step), "utf8"))),
    [],
  );
});

test("the tour is denied and warned where it means to be", async () => {
  const { out } = await printedBy("demo");
  const denied = new Set<string>();
  const warned = new Set<string>();
  for (const step of out.split(/^\$ kubectl /m).slice(1)) {
    const number = /-f (\d\d)-/.exec(step)?.[1] ?? "";
    if (/^Error from server/m.test(step)) denied.add(number);
    else if (/^Warning: /m.test(step)) warned.add(number);
  }
  assert.deepEqual([...denied].join(" "), "04 07 09 10 14 16 19 24 25 26 27 30 32 35");
  assert.deepEqual([...warned].join(" "), "01 03 18 23 28 33");
});
