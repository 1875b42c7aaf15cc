import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { meshward } from "./terminal.ts";

const scriptFor = async (shell: string): Promise<string> => (await meshward(["completion", shell])).out;
const root = mkdtempSync(join(tmpdir(), "meshward-completion-"));
after(() => rmSync(root, { recursive: true }));
async function fileFor(shell: string): Promise<string> {
  const file = join(root, `script.${shell}`);
  writeFileSync(file, await scriptFor(shell));
  return file;
}
const has = (shell: string): boolean => spawnSync(shell, ["-c", "true"]).status === 0;
/** Scripts of shells that this machine lacks are only compared. CI has bash. */
const skipped = (shell: string) => (has(shell) ? false : `${shell} is not installed here`);

describe("completion bash", () => {
  /** The words that bash offers for a command line, whose last word is being typed. */
  async function offered(...words: string[]): Promise<readonly string[]> {
    const quoted = ["meshward", ...words].map((word) => `'${word}'`).join(" ");
    const line = `${await scriptFor("bash")}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _meshward\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr, status } = spawnSync("bash", ["--norc", "-c", line], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
    return stdout.split("\n").filter((word) => word !== "");
  }

  test("bash is there, at least in CI", { skip: process.env.CI === undefined && skipped("bash") }, () => {
    assert.ok(has("bash"));
  });

  test("commands, options, values, and files where anything may follow", { skip: skipped("bash") }, async () => {
    assert.deepEqual(await offered("ch"), ["check"]);
    assert.ok((await offered("")).includes("completion"));
    assert.deepEqual(await offered("--v"), ["--version"]);
    assert.deepEqual(await offered("check", "--write-b"), ["--write-baseline"]);
    assert.deepEqual(await offered("check", "--format", "s"), ["sarif"]);
    assert.deepEqual(await offered("check", "a.yaml", "--format", "=", "g"), ["github", "gitlab"]);
    assert.deepEqual(await offered("check", "-o", "ma"), ["markdown"]);
    assert.deepEqual(await offered("connections", "-o", "m"), ["markdown", "mermaid"]);
    assert.deepEqual(await offered("connections", "--format", "d"), ["dot"]);
    assert.deepEqual(await offered("check", "--fail-on", ""), ["deny", "warn", "never"]);
    assert.deepEqual(await offered("check", "--profile", "st"), ["strict"]);
    assert.deepEqual(await offered("check", "--partial", "Destination"), ["DestinationRule"]);
    assert.deepEqual(await offered("rules", "virtual-service-weights"), ["virtual-service-weights-not-100"]);
    assert.deepEqual(await offered("completion", "z"), ["zsh"]);
    assert.deepEqual(await offered("export", ""), ["vap"]);
    assert.deepEqual(await offered("export", "vap", "--rev"), ["--revision"]);
    assert.deepEqual(await offered("export", "vap", "--profile", "st"), ["strict"]);
    assert.deepEqual(await offered("certs", "ro"), ["rotate"]);
    assert.deepEqual(await offered("help", "che"), ["check"]);
    assert.deepEqual(await offered("audit", "--what-if", "s"), ["strict"]);
    assert.deepEqual(await offered("audit", "--what-if", "policies/"), []);
    // Nothing is offered, so that bash completes the name of a file.
    assert.deepEqual(await offered("check", "--mesh", "a"), []);
    assert.deepEqual(await offered("check", "a"), []);
  });
});

for (const [shell, flag] of [
  ["zsh", "-n"],
  ["fish", "--no-execute"],
] as const)
  describe(`completion ${shell}`, () => {
    test("the shell accepts the script", { skip: skipped(shell) }, async () => {
      const { status, stderr } = spawnSync(shell, [flag, await fileFor(shell)], { encoding: "utf8" });
      assert.deepEqual([status, stderr], [0, ""]);
    });

    test("has every command and option", async () => {
      const script = await scriptFor(shell);
      const bash = await scriptFor("bash");
      for (const [, name = "", options = ""] of bash.matchAll(/^ {4}([a-z]+)\) options="([^"]*)"/gm)) {
        assert.match(
          script,
          shell === "zsh" ? new RegExp(`^    ${name}\\) _arguments `, "m") : new RegExp(` -f -a ${name} -d `),
        );
        for (const option of options.split(" ").filter((one) => one.startsWith("--"))) {
          const found = shell === "zsh" ? `*${option}` : ` -l ${option.slice(2)}`;
          assert.ok(script.includes(found), `${name} ${option}`);
        }
      }
    });
  });

test("a value that is a profile or a file is completed as both", async () => {
  assert.match(await scriptFor("zsh"), /'\*--what-if=\[[^\]]+\]:value:\{compadd -- observe baseline strict; _files\}'/);
  assert.match(await scriptFor("fish"), / -l what-if -r -F -a 'observe baseline strict' /);
  assert.match(await scriptFor("fish"), / -l profile -x -a 'observe baseline strict' /);
});

test("fish offers commands, options and values", { skip: skipped("fish") }, async () => {
  const file = await fileFor("fish");
  const offered = (line: string): readonly string[] => {
    const { stdout } = spawnSync("fish", ["--no-config", "-c", `source ${file}; complete -C '${line}'`], {
      encoding: "utf8",
    });
    return stdout.split("\n").map((one) => one.split("\t", 1)[0] ?? "");
  };
  assert.deepEqual(offered("meshward che"), ["check", ""]);
  assert.ok(offered("meshward check --write-b").includes("--write-baseline"));
  assert.deepEqual(offered("meshward check --format s"), ["sarif", ""]);
  assert.deepEqual(offered("meshward export v"), ["vap", ""]);
  assert.ok(offered("meshward audit --what-if s").includes("strict"));
});

test("zsh answers the first completion, which loads the script", { skip: skipped("zsh") }, async () => {
  const folder = mkdtempSync(join(root, "zsh-"));
  writeFileSync(join(folder, "_meshward"), await scriptFor("zsh"));
  // The functions of zsh that complete need a terminal. What they are told to offer is compared.
  const told = (words: readonly string[]): readonly string[] => {
    const line = [
      `fpath=(${folder}); autoload -Uz _meshward`,
      'compdef() { print -r -- compdef "$@" }; _describe() { print -r -- describe "$@" }; _arguments() { print -rl -- "$words" "$@" }',
      `words=(${words.map((word) => `'${word}'`).join(" ")}); CURRENT=$#words`,
      "_meshward",
    ].join("\n");
    const { stdout, stderr, status } = spawnSync("zsh", ["-f", "-c", line], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
    return stdout.trimEnd().split("\n");
  };
  assert.deepEqual(told(["meshward", "che"]), ["describe command commands"]);
  assert.deepEqual(told(["meshward", "export", ""]).at(-1), "*:argument:(vap)");
  const options = told(["meshward", "check", "--fail-on", ""]);
  assert.equal(options[0], "check --fail-on ");
  assert.ok(options.some((one) => one.startsWith("*--fail-on=[") && one.endsWith(":value:(deny warn never)")));
  // Where a script of the shell sources it, it only registers the function.
  const sourced = spawnSync("zsh", ["-f", "-c", `compdef() { print -r -- "$@" }; source ${folder}/_meshward`]);
  assert.equal(sourced.stdout.toString(), "_meshward meshward\n");
});

test("descriptions cannot end a word or run a command", async () => {
  for (const shell of ["zsh", "fish"]) {
    const script = await scriptFor(shell);
    // Outside of single quotes, only what the generator itself writes.
    // In zsh, a quote is written as '\\''; in fish, a backslash escapes it.
    const outside =
      shell === "zsh"
        ? script.replaceAll("'\\''", "").replaceAll(/'[^']*'/g, "")
        : script.replaceAll(/'(?:[^'\\]|\\.)*'/g, "");
    assert.doesNotMatch(outside, /[`']|\$\((?!\()/, shell);
  }
});

test("an unknown shell: one line, exit 2", async () => {
  const { code, error } = await meshward(["completion", "csh"]);
  assert.equal(code, 2);
  assert.match(error, /Allowed choices are bash, zsh, fish/);
});
