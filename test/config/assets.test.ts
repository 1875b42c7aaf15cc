import assert from "node:assert/strict";
import test from "node:test";
import { asset, assetFolders, assetNames } from "../../src/config/assets.ts";

for (const folder of assetFolders) {
  test(`every file of policies/${folder} is found and read`, () => {
    const names = assetNames(folder);
    assert.notEqual(names.length, 0);
    assert.deepEqual(names, [...names].sort());
    for (const name of names) {
      assert.match(name, new RegExp(`^${folder}/.+\\.(yaml|yml|json|md)$`));
      assert.notEqual(asset(name).trim(), "", name);
    }
  });
}

for (const path of ["profiles/none.yaml", "../package.json", "profiles/../../package.json", "profiles", ""]) {
  test(`"${path}" is no asset`, () => {
    assert.throws(() => asset(path), { message: `there is no policies/${path} in this installation of Meshward` });
  });
}
