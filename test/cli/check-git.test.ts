import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { program } from "./program.ts";

// check --since in the repositories that CI has: submodules, links, folders that were empty. Each in a process of its own,
// because the working directory counts.

const root = mkdtempSync(join(tmpdir(), "meshward-git-"));
after(() => rmSync(root, { recursive: true }));
const main = await program();
const person = Object.fromEntries(
  ["AUTHOR", "COMMITTER"].flatMap((who) => [
    [`GIT_${who}_NAME`, "a"],
    [`GIT_${who}_EMAIL`, "a@example.com"],
  ]),
);
const env = { ...process.env, ...person, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
const git = (cwd: string, ...args: readonly string[]) =>
  execFileSync("git", ["-c", "protocol.file.allow=always", ...args], { cwd, env, stdio: "pipe", encoding: "utf8" });

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";
const route = (weight: number, name = "web") =>
  `apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: ${name}, namespace: shop }\nspec:\n  hosts: [${name}]\n  http:\n    - route:\n        - { destination: { host: web }, weight: 60 }\n        - { destination: { host: web }, weight: ${weight} }\n`;

function repository(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(root, name);
  mkdirSync(folder);
  git(folder, "init", "--quiet", "--initial-branch=main");
  write(folder, files);
  commit(folder);
  return folder;
}
function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}
function commit(folder: string): void {
  git(folder, "add", "--all");
  git(folder, "commit", "--quiet", "--message", "change");
}

interface Checked {
  readonly code: number;
  /** `mode object` of each finding. */
  readonly found: readonly string[];
  readonly error: string;
}
function check(cwd: string, ...args: readonly string[]): Checked {
  let [code, out, error] = [0, "", ""];
  try {
    const ran = execFileSync(process.execPath, [main, "check", ...args, "--format", "json"], {
      cwd,
      env,
      stdio: "pipe",
    });
    out = ran.toString();
  } catch (failure) {
    const { status, stdout, stderr } = failure as { status: number; stdout: Buffer; stderr: Buffer };
    [code, out, error] = [status, stdout.toString(), stderr.toString()];
  }
  const { findings } =
    out === ""
      ? { findings: [] }
      : (JSON.parse(out) as { findings: { rule: string; mode: string; object: { name: string } }[] });
  const weights = findings.filter(({ rule }) => rule === "virtual-service-weights-not-100");
  return { code, found: weights.map(({ mode, object }) => `${mode} ${object.name}`), error };
}

describe("check --since in a repository", () => {
  test("a Namespace whose file says since before that it is being deleted is weakened like any other", () => {
    const namespace = (label: string) =>
      `apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, deletionTimestamp: "2026-01-01T00:00:00Z", labels: { meshward.io/protected: "true"${label} } }\n`;
    const folder = repository("going", { "namespace.yaml": namespace(", istio-injection: enabled") });
    write(folder, { "namespace.yaml": namespace("") });
    assert.equal(check(folder, "--since", "HEAD").code, 1);
  });

  test("a folder that had no manifests yet is no mistake", () => {
    const folder = repository("empty", { "manifests/README.md": "Later." });
    write(folder, { "manifests/a.yaml": namespace + "---\n" + route(50) });
    const { code, found, error } = check(folder, "manifests", "--since", "HEAD");
    assert.deepEqual([code, found, error], [1, ["deny web"], ""]);
  });

  test("what a link leads to is compared with what it led to", () => {
    const folder = repository("links", { "real/a.yaml": namespace + "---\n" + route(50) });
    symlinkSync("real", join(folder, "linked"));
    symlinkSync("real/a.yaml", join(folder, "file.yaml"));
    commit(folder);
    for (const path of ["linked", "linked/a.yaml", "file.yaml", "."]) {
      const { code, found } = check(folder, path, "--since", "HEAD");
      assert.deepEqual([path, code, found], [path, 0, ["warn web"]], "it is no new finding");
    }
    write(folder, { "real/a.yaml": namespace + "---\n" + route(40) });
    commit(folder);
    write(folder, { "real/a.yaml": namespace + "---\n" + route(45) });
    assert.deepEqual(check(folder, "linked", "--since", "HEAD").found, ["deny web"]);
  });

  describe("with a submodule", () => {
    const inside = repository("inside", { "a.yaml": namespace + "---\n" + route(50) });
    const outside = repository("outside", { "README.md": "A submodule." });
    git(outside, "submodule", "--quiet", "add", inside, "sub");
    commit(outside);

    test("its files are compared with those of its commit", () => {
      assert.deepEqual(check(outside, ".", "--since", "HEAD").found, ["warn web"]);
      write(join(outside, "sub"), { "b.yaml": route(45, "web2") });
      const { code, found } = check(outside, ".", "--since", "HEAD");
      assert.deepEqual([code, found], [1, ["warn web", "deny web2"]]);
      assert.deepEqual(check(outside, "sub", "--since", "HEAD").found, ["warn web", "deny web2"]);
    });

    test("the variables of a hook do not hide it", () => {
      write(join(outside, "sub"), { "b.yaml": route(40, "web2") });
      const folder = join(outside, ".git");
      const script = `GIT_DIR=${folder} ${process.execPath} ${main} check . --since HEAD`;
      const out = execFileSync("sh", ["-c", script], { cwd: outside, env, encoding: "utf8", stdio: "pipe" });
      assert.match(out, /only a warning because the problem existed/);
    });

    test("one that is not checked out is an error, and can be ignored", () => {
      const clone = join(root, "clone");
      git(root, "clone", "--quiet", outside, clone);
      write(clone, { "a.yaml": namespace });
      for (const args of [["."], [".", "--since", "HEAD"]]) {
        const { code, error } = check(clone, ...args);
        assert.equal(code, 2);
        assert.match(error, /sub: this git submodule is not checked out, .*git submodule update --init/);
      }
      write(clone, { ".meshwardignore": "sub/\n" });
      assert.equal(check(clone, ".", "--since", "HEAD").code, 0);
    });

    test("one whose former commit is not there, or that is gone, is an error", () => {
      const clone = join(root, "recursive");
      git(root, "clone", "--quiet", "--recurse-submodules", outside, clone);
      git(clone, "update-index", "--cacheinfo", `160000,${"1".repeat(40)},sub`);
      git(clone, "commit", "--quiet", "--message", "lost");
      const lost = check(clone, ".", "--since", "HEAD");
      assert.equal(lost.code, 2);
      assert.match(lost.error, /the git submodule sub does not have commit 111111111111/);
      rmSync(join(clone, "sub"), { recursive: true });
      write(clone, { "a.yaml": namespace });
      const gone = check(clone, ".", "--since", "HEAD");
      assert.equal(gone.code, 2);
      assert.match(gone.error, /sub was a git submodule there, and is none any more/);
    });
  });
});
