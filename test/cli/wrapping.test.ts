import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { meshward } from "./terminal.ts";
import { program } from "./program.ts";

const root = join(import.meta.dirname, "../..");
const typo = join(root, "policies/tour/2-canary/04-typo.yaml");
const tour = join(root, "policies/tour");

/** The commands below one, as its help lists them, and those below these. */
async function commandsBelow(above: readonly string[]): Promise<readonly (readonly string[])[]> {
  const { out } = await meshward([...above, "--help"]);
  const lists = out.replace(/^Examples:[\s\S]*/m, "").replace(/^(?:Options|Arguments):\n(?: .*\n)*/gm, "");
  const names = [...lists.matchAll(/^ {2}([a-z]+)/gm)].map(([, name = ""]) => name).filter((name) => name !== "help");
  const found = names.map((name) => [...above, name]);
  return [...found, ...(await Promise.all(found.map(commandsBelow))).flat()];
}
const names = await commandsBelow([]);
assert.ok(names.length > 15 && names.some((words) => words.join(" ") === "export vap"));

const commands = [
  ["--help"],
  ...names.map((words) => [...words, "--help"]),
  ["rules"],
  ["rules", "virtual-service-weights-not-100"],
  ["rules", "--kind", "Telemetry"],
  ["check", typo],
  ["check", typo, "--no-such-option"],
  ["explain", "namespace/shop", "--mesh", tour],
  ["explain", "namespace/shop", "--mesh", tour, "--delete", join(tour, "2-canary/02-subsets.yaml")],
];

/** A line that is broken leaves at least one space where another word would have gone; code and names are not broken. */
const tooLong = (text: string, columns: number) =>
  text.split("\n").filter((line) => line.length > columns && line.replace(/^[\s│├└─]+/, "").includes(" "));

describe("on a terminal no sentence is cut by the margin", () => {
  // The page of a rule has code, whose lines are as long as they are.
  for (const argv of commands)
    for (const columns of argv.includes("virtual-service-weights-not-100") ? [80, 132] : [40, 80, 132])
      test(`${argv.slice(0, 3).join(" ").replaceAll(root, "")} at ${columns} columns`, async () => {
        const wrapped = await meshward(argv, { columns });
        const whole = await meshward(argv);
        assert.deepEqual(tooLong(wrapped.out + wrapped.error, columns), []);
        const words = ({ out, error }: typeof whole) => (out + error).split(/[\s│]+/).sort();
        assert.deepEqual(words(wrapped), words(whole), "the same words");
      });
});

test("help has every command in a group, and examples of those that people type", async () => {
  const { out } = await meshward(["--help"]);
  assert.doesNotMatch(out, /^Commands:$/m);
  assert.match(out, /^Examples:\n {2}meshward check /m);
  for (const command of ["check", "explain", "audit", "demo"])
    assert.match(
      (await meshward([command, "--help"])).out,
      new RegExp(`^Examples:\\n(?: {2}.*\\n)* {2}meshward ${command}`, "m"),
    );
});

test("what goes into a pipe has each finding, rule and option on one line", async () => {
  const catalogue = await meshward(["rules"]);
  assert.match(catalogue.out, /^namespace-mtls-weakened +deny \(P\) +\S.+\n/m);
  const help = await meshward(["serve", "--help"]);
  assert.match(help.out, /^ {2}--mesh <path> +the mesh .* cluster$/m);
});

describe("colour follows Node's own detection", () => {
  const colours = async (env: Record<string, string>) => {
    const argv = [await program(), "check", typo, "--fail-on", "never"];
    const run = promisify(execFile)(process.execPath, argv, { env });
    return (await run).stdout.includes("\u001b[");
  };
  for (const [expected, env] of [
    [false, {}],
    [true, { FORCE_COLOR: "1" }],
    [false, { FORCE_COLOR: "0" }],
    [false, { NO_COLOR: "1" }],
  ] as const)
    test(`a pipe with ${JSON.stringify(env)}: ${expected ? "colour" : "none"}`, async () => {
      assert.equal(await colours(env), expected);
    });
});
