import assert from "node:assert/strict";
import test from "node:test";
import * as checkout from "../../src/config/assets.ts";
import { embeddedAssets } from "../../src/generate/embedded-assets.ts";

type Assets = typeof checkout;

const built: Assets = await import(`data:text/javascript,${encodeURIComponent(embeddedAssets())}`);

test("the built file has the exports of config/assets.ts, with the same names and texts", () => {
  assert.deepEqual(Object.keys(built).sort(), Object.keys(checkout).sort());
  assert.deepEqual(built.assetFolders, checkout.assetFolders);
  for (const folder of checkout.assetFolders) {
    assert.deepEqual(built.assetNames(folder), checkout.assetNames(folder));
    for (const name of checkout.assetNames(folder)) assert.equal(built.asset(name), checkout.asset(name));
  }
});

test("the built file refuses an unknown asset in the same words", () => {
  const message = "there is no policies/profiles/none.yaml in this installation of Meshward";
  assert.throws(() => built.asset("profiles/none.yaml"), { message });
  assert.throws(() => checkout.asset("profiles/none.yaml"), { message });
});
