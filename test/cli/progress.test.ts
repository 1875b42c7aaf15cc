import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileProgress } from "../../src/cli/progress.ts";
import { meshward } from "./terminal.ts";

/** What a terminal shows, with the progress at these times in milliseconds. */
function shownBy(times: readonly number[], finish: (progress: ReturnType<typeof fileProgress>) => void): string[] {
  const shown: string[] = [];
  let time = 0;
  const progress = fileProgress({ hint: (text) => void shown.push(text) }, () => time);
  for (const at of times) {
    time = at;
    progress.read();
  }
  finish(progress);
  return shown;
}

test("what is fast shows nothing", () => {
  assert.deepEqual(
    shownBy([1, 10, 100, 499], (progress) => {
      progress.doing("checking 4 objects");
      progress.end();
    }),
    [],
  );
});

test("what is slow counts a few times a second, and leaves an empty line", () => {
  const times = Array.from({ length: 1500 }, (_, i) => i);
  const shown = shownBy(times, (progress) => {
    progress.doing("checking 1 object");
    progress.end();
  });
  assert.deepEqual(shown, [
    "\r501 files read",
    "\r701 files read",
    "\r901 files read",
    "\r1,101 files read",
    "\r1,301 files read",
    "\rchecking 1 object",
    `\r${" ".repeat(17)}\r`,
  ]);
});

test("check is quiet without a terminal, and tells one that waits", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "meshward-progress-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (let i = 0; i < 3000; i++) {
    if (i % 500 === 0) mkdirSync(join(folder, String(i / 500)));
    const object = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: `s${i}`, namespace: "shop" },
      spec: { ports: [{ port: 80 }] },
    };
    writeFileSync(join(folder, String(Math.floor(i / 500)), `${i}.yaml`), JSON.stringify(object));
  }
  assert.equal((await meshward(["check", folder])).error, "");
  let told = "";
  await meshward(["check", folder], { hint: (text) => void (told += text) });
  // A fast machine has nothing to tell; whatever is told is gone in the end.
  if (told !== "") assert.match(told, /^(?:\r[\d,]+ files read *)*(?:\rchecking 3000 objects *)?\r +\r$/);
});
