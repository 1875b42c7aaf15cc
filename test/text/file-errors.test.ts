import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isSystemError, unreadable, unusable, unwritable } from "../../src/text/file-errors.ts";

const folder = mkdtempSync(join(tmpdir(), "meshward-files-"));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "file"), "");

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

test("what is not there, or is something else, is said in words", () => {
  const reading = (path: string) => unreadable(thrownBy(() => readFileSync(join(folder, path))));
  assert.equal(reading("no"), "there is no such file or folder: correct the path");
  assert.equal(reading("file/below"), "there is no such file or folder: correct the path");
  assert.equal(reading("."), "is a folder, not a file");
  const writing = (path: string) => unwritable(thrownBy(() => writeFileSync(join(folder, path), "")));
  assert.equal(writing("no/file"), "its folder does not exist: create it, or correct the path");
  assert.equal(writing("file/below"), "a part of the path is a file, not a folder: correct the path");
  assert.equal(writing("."), "there is a folder of that name: give the path of a file");
  const making = (path: string) => unwritable(thrownBy(() => mkdirSync(join(folder, path), { recursive: true })));
  assert.equal(making("file"), "a file of that name exists: remove it, or give another path");
});

test("what has no words of its own keeps its code, never Node's message", () => {
  const error = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" });
  assert.ok(isSystemError(error) && !isSystemError(new Error("other")));
  for (const said of [unreadable(error), unwritable(error), unusable(error)]) {
    assert.match(said, /\(EIO\): check the /);
    assert.doesNotMatch(said, /i\/o error/);
  }
  const noPath = thrownBy(() => readFileSync("\u0000"));
  assert.match(unreadable(noPath), /\(ERR_INVALID_ARG_VALUE\)/);
});
