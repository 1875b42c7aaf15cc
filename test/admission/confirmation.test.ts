import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import type { Evidence } from "../../src/engine/evidence.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import type { Change } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, reviewed } from "./requests.ts";

// The watch may lag behind the apply, in both directions: what a relational denial rests on is read again.

const destinationRule = (...subsets: string[]) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { name: "shop", namespace: "shop" },
  spec: { host: "shop", subsets: subsets.map((name) => ({ name })) },
});
const virtualService = (subset: string, weights?: readonly number[]) => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "shop", namespace: "shop" },
  spec: {
    hosts: ["shop"],
    http: [
      {
        route: (weights ?? [100]).map((weight) => ({ destination: { host: "shop", subset }, weight })),
      },
    ],
  },
});
const service: Raw = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "shop", namespace: "shop" },
  spec: { ports: [{ port: 80 }] },
};
const read = (raw: Raw): AnyObject => readObject(raw["kind"] as "VirtualService", raw);

function gateOver(stored: readonly Raw[], live: (evidence: readonly Evidence[]) => readonly Change[] | undefined) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const raw of [service, ...stored]) mesh.set(read(raw));
  const asked: (readonly Evidence[])[] = [];
  const { policies } = loadPolicies([], rules);
  const gate = createGate({
    mesh: () => mesh,
    policies: () => policies,
    rules,
    async readAgain(evidence) {
      asked.push(evidence);
      return live(evidence);
    },
  });
  return { asked, mesh, gate };
}
const shown = (one: Evidence) =>
  "absent" in one ? `no ${one.absent} in ${one.namespace}` : `${one.kind} ${one.metadata.name}`;

describe("before a relational denial", () => {
  test("what was missing and has arrived lets the change through, and never enters the store", async () => {
    const { gate, asked, mesh } = gateOver([], () => [{ object: read(destinationRule("v1")) }]);
    const decision = await gate.validate(reviewed({ object: virtualService("v1") }));
    assert.equal(decision.allowed, true, decision.message);
    assert.deepEqual(decision.warnings, []);
    assert.ok(asked[0]?.map(shown).includes("no DestinationRule in shop"));
    assert.equal(mesh.count("DestinationRule"), 0);
  });

  test("what still used it and has moved on lets the change through", async () => {
    const stored = [destinationRule("v1", "v2"), virtualService("v2")];
    const { gate, asked } = gateOver(stored, () => [{ object: read(virtualService("v1")) }]);
    const decision = await gate.validate(
      reviewed({ object: destinationRule("v1"), oldObject: destinationRule("v1", "v2") }),
    );
    assert.equal(decision.allowed, true, decision.message);
    assert.ok(asked[0]?.map(shown).includes("VirtualService shop"));
  });

  test("what is confirmed denies", async () => {
    const { gate } = gateOver([destinationRule("v1")], () => [{ object: read(destinationRule("v1")) }]);
    const decision = await gate.validate(reviewed({ object: virtualService("v9") }));
    assert.equal(decision.allowed, false);
    assert.match(decision.message ?? "", /"v9"/);
  });

  test("no answer in time warns, and says why", async () => {
    const { gate } = gateOver([destinationRule("v1")], () => undefined);
    const decision = await gate.validate(reviewed({ object: virtualService("v9") }));
    assert.equal(decision.allowed, true);
    assert.match(decision.warnings.join("\n"), /only a warning because the API server did not confirm it in time/);
    assert.match(decision.warnings.join("\n"), /"v9"/);
  });

  test("a read that fails is no answer", async () => {
    const { gate } = gateOver([], () => {
      throw new Error("connection refused");
    });
    const decision = await gate.validate(reviewed({ object: virtualService("v1") }));
    assert.deepEqual([decision.allowed, decision.outcome], [true, "warn"]);
  });

  test("a denial that needs no other object asks nobody", async () => {
    const { gate, asked } = gateOver([destinationRule("v1")], () => undefined);
    const decision = await gate.validate(reviewed({ object: virtualService("v9", [90, 20]) }));
    assert.equal(decision.allowed, false);
    assert.equal(asked.length, 0);
  });

  test("an allowed change asks nobody", async () => {
    const { gate, asked } = gateOver([destinationRule("v1")], () => undefined);
    assert.equal((await gate.validate(reviewed({ object: virtualService("v1") }))).allowed, true);
    assert.equal(asked.length, 0);
  });
});
