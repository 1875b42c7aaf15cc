import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { audit } from "../../src/engine/audit.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { changes, intents, witness, world } from "./story.ts";

const read = (raw: Readonly<Record<string, unknown>>): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined);
  return object;
};
const mesh = (() => {
  const objects = [...world, ...intents].map(read);
  const store = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) store.set(object);
  return store;
})();
const ofIntents = rules.filter(({ id }) => id.includes("intent"));

const brokenBy = (object: AnyObject, isDeletion = false): readonly string[] => {
  const old = mesh.find(object.kind, keyOf(object));
  const change = isDeletion ? { old } : { old, object };
  const { findings, errors } = judge(ofIntents, mesh, [change]);
  assert.deepEqual(errors, []);
  return findings.filter(({ onlyWarns }) => onlyWarns === undefined).map(({ message }) => message);
};

test("the intents of the story hold", () => {
  const found = [...audit(ofIntents, mesh, everyRule)].map((one) => ("message" in one ? one.message : one));
  assert.deepEqual(found, []);
});

describe("each kind of object can end an intent", () => {
  for (const { kind, breaking, isDeletion, harmless, message } of changes)
    test(kind, () => {
      const found = brokenBy(read(breaking), isDeletion);
      assert.ok(
        found.some((one) => message.test(one)),
        JSON.stringify(found),
      );
      for (const one of found) assert.match(one, witness);
      assert.deepEqual(brokenBy(read(harmless)), []);
    });
});
