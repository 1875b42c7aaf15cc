import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { meshward } from "./terminal.ts";

// The examples of docs/policies.md, as they are written.

const page = readFileSync(new URL("../../docs/policies.md", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "meshward-page-"));
after(() => rmSync(folder, { recursive: true }));

const files = [...page.matchAll(/^```yaml file=(\S+)\n(.*?)^```$/gms)].map(([, name = "", text = ""]) => ({
  name,
  text,
}));
for (const { name, text } of files) writeFileSync(join(folder, name), text);
const examples = [...page.matchAll(/^```console\n\$ meshward (.*?)\n(.*?)^```$/gms)];

test("the page has examples", () => {
  assert.ok(files.length >= 4 && examples.length >= 3);
});

for (const [, command = "", expected = ""] of examples)
  test(`meshward ${command}`, async () => {
    const words = command
      .split(" ")
      .map((word) => (files.some(({ name }) => name === word) ? join(folder, word) : word));
    const { out } = await meshward(words);
    let rest = out;
    for (const line of expected.split("\n").filter((text) => text !== "..." && text !== "")) {
      const at = rest.indexOf(line);
      assert.notEqual(at, -1, `${line}\nis not in\n${rest}`);
      rest = rest.slice(at + line.length);
    }
  });

test("explain --policy says that a parameter is empty", async () => {
  const example = fileURLToPath(new URL("../../policies/examples/online-shop/", import.meta.url));
  const { out } = await meshward([
    "explain",
    "VirtualService/shop/cart",
    "--policy",
    "--mesh",
    `${example}apps/base`,
    "--policies",
    `${example}policies`,
  ]);
  assert.match(out, /the rule's default: deny; stable empty\n/);
  assert.match(
    out,
    /documents that set something for the whole cluster\n.*MeshwardPolicy platform: protectedNamespaces,? .*breakGlass/,
  );
});

describe("explain --policy of what is not there", () => {
  const example = fileURLToPath(new URL("../../policies/examples/online-shop/apps/base", import.meta.url));
  for (const [asked, says] of [
    [
      "Foo/a/b",
      /no rule reads objects of kind "Foo"; rules read APIService, AuthorizationPolicy, .* and WorkloadGroup$/,
    ],
    ["VirtualServise/shop/cart", /did you mean "VirtualService"\?$/],
    [
      "VirtualService/shop/crat",
      /no VirtualService\/shop\/crat in this mesh; did you mean "VirtualService\/shop\/cart"\?$/,
    ],
    [
      "VirtualService/sohp/cart",
      /no VirtualService\/sohp\/cart in this mesh; did you mean "VirtualService\/shop\/cart"\?$/,
    ],
    ["VirtualService/shop/nothing-alike", /there is no VirtualService\/shop\/nothing-alike in this mesh$/],
    ["Namespace/shp", /there is no Namespace\/shp in this mesh; did you mean "Namespace\/shop"\?$/],
  ] as const)
    test(asked, async () => {
      const { code, error } = await meshward(["explain", asked, "--policy", "--mesh", example]);
      assert.equal(code, 2);
      assert.match(error.trimEnd(), says);
    });
});
