import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { PendingChanges } from "../../src/admission/pending-changes.ts";
import type { Evidence } from "../../src/engine/evidence.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import type { Change } from "../../src/view/overlay.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { policy, sourcesOf } from "../policy/sources.ts";
import { type Raw, reviewed } from "./requests.ts";

// Two changes at the same moment are each right alone and wrong together. The watch has shown neither.

function read(raw: Raw): AnyObject {
  const object = readAny(raw);
  assert.ok(object);
  return object;
}
const metadata = (name: string, resourceVersion?: string) => ({
  name,
  namespace: "shop",
  uid: `uid of ${name}`,
  ...(resourceVersion === undefined ? {} : { resourceVersion }),
});
const rule = (subsets: readonly string[], version?: string): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: metadata("shop", version),
  spec: { host: "shop", subsets: subsets.map((name) => ({ name })) },
});
const routes = (subset: string, version?: string): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: metadata("routes", version),
  spec: { hosts: ["shop"], http: [{ route: [{ destination: { host: "shop", subset } }] }] },
});
const service: Raw = {
  apiVersion: "v1",
  kind: "Service",
  metadata: metadata("shop", "1"),
  spec: { ports: [{ port: 80 }] },
};
const strict = (name: string, version?: string): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { ...metadata(name, version), creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { mtls: { mode: "STRICT" } },
});
const unused = (version?: string): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "DestinationRule",
  metadata: { ...metadata("unused", version), namespace: "elsewhere" },
  spec: { host: "unused.example.com" },
});
const protectedShop: Raw = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "shop", labels: { "meshward.io/protected": "true", "istio-injection": "enabled" } },
};
const workload: Raw = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: metadata("web", "1"),
  spec: { selector: { matchLabels: { app: "web" } }, template: { metadata: { labels: { app: "web" } } } },
};

interface Scene {
  readonly stored?: readonly Raw[];
  /** Milliseconds that the API server takes to store a change; undefined: it never does. */
  readonly storesAfterMs?: number | undefined;
  /** The spec of a policy, as YAML. */
  readonly spec?: string;
  /** Called when a long evaluation yields. */
  readonly onPause?: () => void;
}

/** A replica, whose watch shows nothing new, and an API server that answers reads of what it has stored. */
function scene({ stored = [], storesAfterMs, spec, onPause }: Scene) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const raw of [service, ...stored]) mesh.set(read(raw));
  const server = new MeshStore(defaultMeshSettings);
  for (const raw of [service, ...stored]) server.set(read(raw));
  const reads: (readonly string[])[] = [];
  let waited = 0;
  const later: (() => void)[] = [];
  const { policies, errors } = loadPolicies(spec === undefined ? [] : sourcesOf(policy("p", spec)), rules);
  assert.deepEqual(errors, []);
  const pending = new PendingChanges({
    async wait(milliseconds) {
      waited += milliseconds;
      if (storesAfterMs !== undefined && waited >= storesAfterMs) for (const store of later.splice(0)) store();
    },
  });
  const gate = createGate({
    mesh: () => mesh,
    policies: () => policies,
    rules,
    pending,
    ...(onPause === undefined ? {} : { pacing: alwaysPausing(onPause) }),
    async readAgain(evidence: readonly Evidence[]) {
      reads.push(evidence.map((one) => ("absent" in one ? `no ${one.absent}` : identityOf(one))));
      return evidence.flatMap((one): readonly Change[] => {
        if ("absent" in one) return [...server.all(one.absent)].map((object) => ({ object: object as AnyObject }));
        const object = server.find(one.kind, keyOf(one));
        return object === undefined ? [{ old: one }] : [{ object }];
      });
    },
  });
  const store = (object: Raw | undefined, old: Raw | undefined): void => {
    if (object !== undefined) server.set(read(object));
    else if (old !== undefined) server.delete(read(old).kind, keyOf(read(old)));
  };
  /** Sends a change. `now` is what the API server stores if it is admitted, with the next resource version. */
  const send = async (change: { object?: Raw; oldObject?: Raw; dryRun?: boolean; now?: Raw; fails?: true }) => {
    const { now, fails, ...parts } = change;
    const decision = await gate.validate(reviewed(parts));
    if (!decision.allowed || parts.dryRun === true || fails) return decision;
    if (storesAfterMs === 0) store(now, parts.oldObject);
    else later.push(() => store(now, parts.oldObject));
    return decision;
  };
  return { send, reads, pending, mesh, store, waited: () => waited };
}

function alwaysPausing(onPause: () => void) {
  let ms = 0;
  return { limitMs: 1_000_000, sliceMs: 0, cpuMs: () => ms++, pause: async () => onPause() };
}

const both = [rule(["v1", "v2"], "5"), routes("v1", "6")];
const uses = { oldObject: routes("v1", "6"), object: routes("v2", "6"), now: routes("v2", "8") };
const removes = { oldObject: rule(["v1", "v2"], "5"), object: rule(["v1"], "5"), now: rule(["v1"], "9") };

describe("a change that another one makes wrong, which was admitted a moment before", () => {
  test("is denied if the other one is stored", async () => {
    const { send, reads } = scene({ stored: both, storesAfterMs: 0 });
    assert.equal((await send(uses)).allowed, true);
    const decision = await send(removes);
    assert.deepEqual([decision.allowed, decision.liveRead, decision.concurrent], [false, "confirmed", "denied"]);
    assert.match(decision.message ?? "", /virtual-service-subset-not-found.*"v2"/s);
    assert.ok(reads[0]?.includes("VirtualService shop/routes"));
  });

  test("is denied whichever of them comes first", async () => {
    const { send } = scene({ stored: both, storesAfterMs: 0 });
    assert.equal((await send(removes)).allowed, true);
    assert.equal((await send(uses)).allowed, false);
  });

  test("waits until the other one is stored", async () => {
    const { send, waited } = scene({ stored: both, storesAfterMs: 30 });
    await send(uses);
    const decision = await send(removes);
    assert.deepEqual([decision.allowed, decision.concurrent], [false, "denied"]);
    assert.equal(waited(), 35);
  });

  test("is admitted with a warning if the other one is not stored, which something else may have refused", async () => {
    const { send, waited } = scene({ stored: both });
    await send(uses);
    const decision = await send(removes);
    assert.deepEqual([decision.allowed, decision.liveRead, decision.concurrent], [true, "late", "undecided"]);
    assert.match(decision.warnings.join("\n"), /virtual-service-subset-not-found/);
    assert.match(decision.warnings.join("\n"), /another change that was admitted a moment ago and is not stored yet/);
    assert.equal(waited(), 500);
    assert.match(decision.auditAnnotations["lowered"] ?? "", /pending/);
  });

  test("is admitted without a wait after a dry run of the other one", async () => {
    const { send, reads, pending } = scene({ stored: both });
    await send({ ...uses, dryRun: true });
    assert.equal(pending.size, 0);
    assert.deepEqual([(await send(removes)).allowed, reads], [true, []]);
  });

  test("is admitted if the other one was denied", async () => {
    const { send, pending } = scene({ stored: both });
    assert.equal((await send({ oldObject: routes("v1", "6"), object: routes("v9", "6") })).allowed, false);
    assert.equal(pending.size, 0);
    assert.deepEqual((await send(removes)).warnings, []);
  });

  test("is admitted if the other one was taken back", async () => {
    const { send } = scene({ stored: both, storesAfterMs: 0 });
    await send(uses);
    await send({ oldObject: routes("v2", "8"), object: routes("v1", "8"), now: routes("v1", "10") });
    const decision = await send(removes);
    assert.deepEqual([decision.allowed, decision.warnings], [true, []]);
  });

  test("is denied if both take away what the other one leaves: two policies, of which each is enough", async () => {
    const [a, b] = [strict("a", "3"), strict("b", "4")];
    const stored = [protectedShop, workload, a, b];
    const { send } = scene({ stored, storesAfterMs: 10 });
    assert.equal((await send({ oldObject: a })).allowed, true);
    const decision = await send({ oldObject: b });
    assert.deepEqual([decision.allowed, decision.concurrent], [false, "denied"]);
    assert.match(decision.message ?? "", /namespace-mtls-weakened/);
  });

  test("a weakening that is not confirmed warns, or is denied if the policy says so of what is not known", async () => {
    const [a, b] = [strict("a", "3"), strict("b", "4")];
    for (const onUnknown of ["warn", "deny"] as const) {
      const spec = `{rules: [{id: namespace-mtls-weakened, onUnknown: ${onUnknown}}]}`;
      const { send } = scene({ stored: [protectedShop, workload, a, b], spec });
      await send({ oldObject: a });
      const decision = await send({ oldObject: b });
      assert.deepEqual([decision.allowed, decision.concurrent], [onUnknown === "warn", "undecided"]);
    }
  });
});

describe("a change that needs another one, which was admitted a moment before", () => {
  const created = { object: rule(["v1"]), now: rule(["v1"], "9") };
  const needs = { object: routes("v1") };

  test("is admitted if the other one is stored", async () => {
    const { send } = scene({ storesAfterMs: 0 });
    assert.equal((await send(created)).allowed, true);
    const decision = await send(needs);
    assert.deepEqual([decision.allowed, decision.warnings, decision.concurrent], [true, [], "admitted"]);
  });

  test("waits until the other one is stored", async () => {
    const { send, waited } = scene({ storesAfterMs: 100 });
    await send(created);
    assert.deepEqual([(await send(needs)).allowed, waited()], [true, 155]);
  });

  test("is denied if the other one is not stored", async () => {
    const { send } = scene({});
    await send(created);
    const decision = await send(needs);
    assert.deepEqual([decision.allowed, decision.liveRead, decision.concurrent], [false, "confirmed", "undecided"]);
  });
});

test("a long evaluation is repeated, once, if another change was admitted meanwhile", async () => {
  let pauses = 0;
  const named = (i: number) => ({ ...metadata(`routes-${i}`, "7"), uid: `uid ${i}` });
  const many = Array.from({ length: 1_000 }, (_, i) => ({ ...routes("v1"), metadata: named(i) }));
  const { send, pending, mesh, store } = scene({
    stored: [...both, ...many],
    storesAfterMs: 0,
    onPause() {
      if (pauses++ > 0) return;
      pending.add({ old: read(uses.oldObject), object: read(uses.object) }, mesh);
      store(uses.now, undefined);
    },
  });
  const decision = await send(removes);
  assert.ok(pauses > 0, "it did not yield");
  assert.deepEqual([decision.allowed, decision.concurrent], [false, "denied"]);
});

test("changes that have nothing to do with each other cost no read, and end when the watch shows them", async () => {
  const { send, reads, pending, mesh } = scene({ stored: both, storesAfterMs: 0 });
  await send({ object: unused() });
  assert.equal(pending.size, 1);
  const decision = await send(uses);
  assert.deepEqual([decision.allowed, decision.concurrent, reads], [true, undefined, []]);
  assert.equal(pending.size, 2);
  mesh.set(read(unused("9")));
  mesh.set(read(routes("v2", "8")));
  await send({ oldObject: rule(["v1", "v2"], "5"), object: rule(["v1", "v2", "v3"], "5") });
  assert.equal(pending.size, 1);
});

test("an API server that does not answer denies nothing on account of a pending change", async () => {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const raw of both) mesh.set(read(raw));
  const { policies } = loadPolicies([], rules);
  const pending = new PendingChanges({ wait: async () => undefined });
  const gate = createGate({
    mesh: () => mesh,
    policies: () => policies,
    rules,
    pending,
    readAgain: async () => undefined,
  });
  await gate.validate(reviewed({ oldObject: routes("v1", "6"), object: routes("v2", "6") }));
  const decision = await gate.validate(reviewed({ oldObject: rule(["v1", "v2"], "5"), object: rule(["v1"], "5") }));
  assert.deepEqual([decision.allowed, decision.liveRead, decision.concurrent], [true, "late", "undecided"]);
});
