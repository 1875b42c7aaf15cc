import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, test } from "node:test";
import { run } from "../../src/cli/program.ts";

// What policies/custom-rules.md shows is what happens.

const page = readFileSync(new URL("../../policies/custom-rules.md", import.meta.url), "utf8");
const blocks = (language: string): readonly string[] =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map(([, text = ""]) => text);
const [policies = "", mesh = "", settings = ""] = blocks("yaml");
const [shown = "", error = ""] = blocks("text");

const folder = mkdtempSync(join(tmpdir(), "custom-rules-"));
after(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

async function printedBy(...argv: string[]): Promise<{ readonly code: number; readonly out: string }> {
  let out = "";
  const code = await run(argv, {
    input: Readable.from([]),
    out: (text) => (out += text),
    error: (text) => (out += text),
    colour: false,
    env: {},
    stop: new AbortController().signal,
  });
  return { code, out };
}

test("check prints what the page shows", async () => {
  const [command = ""] = blocks("sh");
  assert.equal(command.trim(), "meshward check mesh.yaml --policies policies.yaml");
  const { code, out } = await printedBy(
    "check",
    write("mesh.yaml", mesh),
    "--policies",
    write("policies.yaml", policies),
  );
  assert.equal(code, 1);
  for (const line of shown.split("\n")) assert.ok(out.includes(line), `check does not print:\n${line}\nbut\n${out}`);
});

test("the settings of the page change mode and parameters in one namespace", async () => {
  const both = write("both.yaml", `${policies}---\n${settings}`);
  const checkout = mesh.replaceAll("shop-web", "shop-checkout");
  const { code, out } = await printedBy("check", write("checkout.yaml", checkout), "--policies", both);
  assert.equal(code, 0);
  assert.match(out, /warn {2}VirtualService shop-checkout\/reviews: a route has no timeout of at most 2s/);
});

test("a wrong field is the error that the page shows", async () => {
  const wrong = policies
    .split("\n")
    .filter((line) => !line.includes("match:") && !line.includes("namespaces:") && !line.includes("names:"))
    .slice(0, 6)
    .join("\n");
  const rule = `\n    - {id: a, kinds: [VirtualService], message: x,\n      expression: "object.spec.hots.size() > 0"}\n`;
  const { out } = await printedBy("rules", "--policies", write("policies.yaml", `${wrong}${rule}`));
  const text = error.trim();
  assert.ok(out.includes(text.slice(text.indexOf("MeshwardPolicy shop"))), out.slice(0, 500));
});

test("rules lists them, and describes one", async () => {
  const file = write("policies.yaml", policies);
  const { out } = await printedBy("rules", "--policies", file);
  assert.match(out, /shop\/route-without-timeout +deny +Every route needs a timeout\./);
  const one = await printedBy("rules", "shop/route-without-timeout", "--policies", file);
  assert.match(one.out, /MeshwardPolicy shop requires this of every VirtualService/);
  assert.match(one.out, /`longest`, default "30s"|longest, default "30s"/);
});

test("an audit finds them, and what only compares is said to need a change", async () => {
  const { out } = await printedBy(
    "audit",
    "--mesh",
    write("mesh.yaml", mesh),
    "--policies",
    write("policies.yaml", policies),
  );
  assert.match(out, /deny {2}VirtualService shop-web\/reviews: a route has no timeout/);
  assert.match(out, /skipped: [^\n]*shop\/replicas-fall-to-one[^\n]*compares a change/);
});
