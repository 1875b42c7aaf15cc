import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { meshward } from "./terminal.ts";

function folderWith(context: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "meshward-demo-test-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const namespace = "# A team\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";

test("where there is nothing to play, one line says why, and no webhook starts", async (context) => {
  for (const [path, expected] of [
    [join(folderWith(context, {}), "nowhere"), /^meshward: .*there is no such file or folder: correct the path\n$/],
    [folderWith(context, {}), /^meshward: .*this folder contains no \.yaml, \.yml or \.json file; .*\n$/],
    [
      folderWith(context, { "broken.yaml": "kind: Service\na: b: c\n" }),
      /^meshward: .*broken\.yaml:2:4: not valid YAML: .*\n$/,
    ],
  ] as const) {
    const { code, out, error } = await meshward(["demo", path]);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(error, expected);
  }
});

test("what can be read is played, and the exit code tells that not all could", async (context) => {
  const folder = folderWith(context, { "1.yaml": namespace, "2.yaml": "kind: Service\na: b: c\n" });
  const { code, out, error } = await meshward(["demo", folder]);
  assert.equal(code, 2);
  assert.match(error, /^meshward: .*2\.yaml:2:4: /);
  assert.match(out, /\nA team\n/);
  assert.match(out, /^namespace\/shop created$/m);
});
