import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import packageJson from "../../package.json" with { type: "json" };
import { installedNode, writeExecutable } from "../../src/generate/executable.ts";
import { rules } from "../../src/rules/index.ts";
import { builtFolder } from "../cli/program.ts";

const platform = `${process.platform}-${process.arch}`;
const node = installedNode(platform);
const skip = node === undefined ? `NOT TESTED: npm has no Node for ${platform}` : false;
if (skip && process.platform === "linux" && process.env["CI"]) throw new Error(skip);

describe("the single executable", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "meshward-executable-"));
  after(() => rmSync(folder, { recursive: true }));
  let path = "";
  before(async () => {
    cpSync(await builtFolder(), folder, { recursive: true });
    path = writeExecutable(folder, platform, node ?? "");
  });
  /** Without any Node in PATH, in a folder with nothing in it. */
  const run = (args: readonly string[], input = "") =>
    spawnSync(path, args, { encoding: "utf8", input, env: {}, cwd: folder, timeout: 60_000 });

  test("is the program, with its rules and its schemas", () => {
    assert.equal(run(["--version"]).stdout, `${packageJson.version}\n`);
    const listed = run(["rules"]).stdout;
    for (const { id } of rules) assert.ok(listed.includes(id), id);
    const typo = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec: {mtsl: {}}\n";
    const { status, stdout, stderr } = run(["check", "-"], typo);
    assert.equal(status, 1);
    assert.match(stdout, /did you mean "mtls"\?/);
    assert.equal(stderr, "");
  });

  test("takes its options from the command line, as Node's are not", () => {
    assert.match(run(["--inspect"]).stderr, /unknown option '--inspect'/);
    assert.equal(run(["--inspect"]).status, 2);
  });

  test("serves, does not open a debugger, and ends when it is asked to", async () => {
    const mesh = join(import.meta.dirname, "../../policies/tour/1-enrolment/03-workloads.yaml");
    const ports = ["--port", "0", "--ops-port", "0", "--drain-seconds", "0"];
    const child = spawn(path, ["serve", "--mesh", mesh, "--self-signed", ...ports], { env: {}, cwd: folder });
    let errors = "";
    child.stderr.on("data", (chunk) => (errors += String(chunk)));
    const ended = once(child, "exit");
    for await (const line of createInterface({ input: child.stdout })) if (line.includes('"msg":"serving"')) break;
    child.kill("SIGUSR1");
    child.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], errors);
    assert.doesNotMatch(errors, /[Dd]ebugger/);
  });
});
