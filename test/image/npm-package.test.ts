import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import packageJson from "../../package.json" with { type: "json" };
import { writeNpmPackage } from "../../src/generate/npm-package.ts";
import { builtFolder } from "../cli/program.ts";

describe("the npm package", () => {
  const folder = mkdtempSync(join(tmpdir(), "meshward-npm-"));
  after(() => rmSync(folder, { recursive: true }));
  const ran = (command: string, args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  before(async () => {
    writeNpmPackage(await builtFolder(), join(folder, "npm"));
    ran("npm", ["pack", "./npm", "--silent"]);
    ran("tar", ["--extract", "--file", `meshward-${packageJson.version}.tgz`]);
  });

  test("contains the built file and its papers, and nothing else", () => {
    const listed = ran("tar", ["--list", "--file", `meshward-${packageJson.version}.tgz`])
      .trim()
      .split("\n");
    assert.deepEqual(
      new Set(listed),
      new Set(
        [
          ...["CHANGELOG.md", "LICENSE", "README.md", "THIRD-PARTY-NOTICES.txt"],
          ...["meshward.cdx.json", "meshward.js", "package.json"],
        ].map((name) => `package/${name}`),
      ),
    );
  });

  test("runs where nothing else is installed, and installs nothing", () => {
    assert.equal(ran(process.execPath, ["package/meshward.js", "--version"]), `${packageJson.version}\n`);
    const published = JSON.parse(ran("cat", ["package/package.json"])) as Record<string, unknown>;
    for (const field of ["dependencies", "optionalDependencies", "scripts", "private"])
      assert.equal(published[field], undefined, field);
    assert.deepEqual(published["engines"], packageJson.engines);
  });
});
