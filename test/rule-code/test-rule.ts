import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { generated, root } from "../../src/generate/files.ts";
import { findRules } from "../../src/generate/rule-files.ts";
import { rules } from "../../src/rules/index.ts";
import { suggestion } from "../../src/text/nearest.ts";

// npm run test:rule -- <id>: the fixtures of one rule, the tests that are about it alone, and what is wrong with its
// metadata, which generate refuses.

const ids = process.argv.slice(2);
const { found } = await findRules(root);
const [id = ""] = ids;
const known = found.map(({ rule }) => rule.id);

if (ids.length !== 1 || !known.includes(id)) {
  const said = ids.length === 1 ? `there is no rule "${id}"${suggestion(id, known)}` : "give the id of one rule";
  process.stderr.write(`test:rule: ${said}\n`);
  process.exitCode = 2;
} else if (!rules.some((rule) => rule.id === id)) {
  process.stderr.write(`test:rule: "${id}" is not in the list of rules yet: run npm run generate\n`);
  process.exitCode = 2;
} else process.exitCode = (await isGreen(id)) ? 0 : 1;

async function isGreen(id: string): Promise<boolean> {
  const passed = runTests(["--test-name-pattern", `^${id}$`, "test/rules.test.ts"]);
  const own = `test/rule-code/${id}.test.ts`;
  const alsoPassed = !existsSync(join(root, own)) || runTests([own]);
  const { faults } = await generated();
  const file = found.find(({ rule }) => rule.id === id)?.file ?? id;
  const here = faults.filter((fault) => fault.startsWith(`${file}: `));
  if (here.length > 0) process.stdout.write(`What npm run generate asks for:\n${here.join("\n")}\n`);
  return passed && alsoPassed;
}

function runTests(args: readonly string[]): boolean {
  const { status } = spawnSync(process.execPath, ["--test", "--test-isolation=none", ...args], {
    cwd: root,
    stdio: "inherit",
  });
  return status === 0;
}
