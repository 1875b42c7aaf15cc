import assert from "node:assert/strict";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { keyExposure } from "../../src/tls/key-exposure.ts";
import { startShell, temporaryFolder, testCertificate } from "../contract/api-server.ts";

test("a key that everybody may read is named with its mode; one of the owner or the group is not", (context) => {
  const path = join(temporaryFolder(context), "tls.key");
  writeFileSync(path, "");
  for (const mode of [0o644, 0o604, 0o444, 0o666]) {
    chmodSync(path, mode);
    assert.match(keyExposure(path) ?? "", new RegExp(`tls\\.key has mode 0${mode.toString(8)}, .*set it to 0600`));
  }
  for (const mode of [0o600, 0o400, 0o640, 0o440, 0o660]) {
    chmodSync(path, mode);
    assert.equal(keyExposure(path), undefined, mode.toString(8));
  }
});

test("a mounted Secret, which only the container can reach, is not", (context) => {
  const folder = temporaryFolder(context);
  const data = "..2026_11_26_04_16_04.123456789";
  mkdirSync(join(folder, data));
  writeFileSync(join(folder, data, "tls.key"), "");
  chmodSync(join(folder, data, "tls.key"), 0o644);
  symlinkSync(data, join(folder, "..data"));
  symlinkSync(join("..data", "tls.key"), join(folder, "tls.key"));
  assert.equal(keyExposure(join(folder, "tls.key")), undefined);
  symlinkSync(join(folder, "plain.key"), join(folder, "link.key"));
  writeFileSync(join(folder, "plain.key"), "");
  chmodSync(join(folder, "plain.key"), 0o644);
  assert.match(keyExposure(join(folder, "link.key")) ?? "", /mode 0644/);
});

test("a file that is not there is reported elsewhere", () => {
  assert.equal(keyExposure("/nowhere/tls.key"), undefined);
});

test("the server says it at the start", async (context) => {
  const certificate = await testCertificate();
  const certificates = {
    current: () => certificate,
    onChange: () => undefined,
    onProblem: () => undefined,
    exposure: () => "who may read it",
    close: () => undefined,
  };
  const shell = await startShell(context, { certificates });
  assert.deepEqual(
    shell.lines.map(({ level, problem }) => [level, problem]),
    [["warn", "who may read it"]],
  );
});
