import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { followPolicies } from "../../src/cli/followed-policies.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { createLog } from "../../src/telemetry/log.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-policies-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "policy.yaml");
const protect = (name: string) =>
  writeFileSync(
    file,
    `apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nmetadata: { name: a }\nspec: { protectedNamespaces: { names: [${name}] } }\n`,
  );

test("policies follow their files; broken ones leave the last good ones in force and are reported once", {
  timeout: 60_000,
}, async () => {
  protect("shop");
  const options = { policies: folder, profile: "baseline" };
  const lines: string[] = [];
  let tick = () => {};
  const clock = {
    now: () => 0,
    every(_: number, task: () => void) {
      tick = task;
      return () => {
        tick = () => {};
      };
    },
  };
  const log = createLog("info", (line) => lines.push(line));
  const followed = followPolicies(options, await policiesOf(options), { log, clock });
  /** The files are small and local, but how soon they are read is the machine's affair: the test's own time is the limit. */
  const look = async (isDone: () => boolean) => {
    tick();
    while (!isDone()) await turn();
  };
  const isProtected = (name: string) => followed.current().protectsByName(name);
  assert.ok(isProtected("shop"));

  protect("bank");
  await look(() => isProtected("bank"));
  assert.equal(isProtected("shop"), false);
  const replaced = lines.length;
  assert.match(lines.at(-1) ?? "", /policies were reloaded/);

  writeFileSync(file, "apiVersion: meshward.io/v1alpha1\nkind: MeshwardPolicy\nspec: [\n");
  await look(() => lines.length > replaced);
  assert.match(lines.at(-1) ?? "", /the previous ones stay in force/);
  assert.match(lines.at(-1) ?? "", /policy\.yaml:/);
  assert.ok(isProtected("bank"));

  protect("vault");
  await look(() => isProtected("vault"));
  followed.close();
  protect("none");
  tick();
  assert.ok(isProtected("vault"));
});
