import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, test } from "node:test";
import { type PolicyObjectState, PolicyStatusWriter } from "../../src/controllers/policy-status.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { rules } from "../../src/rules/index.ts";
import { statusError } from "../../src/sources/cluster/cluster-error.ts";
import type { PolicyObject } from "../../src/sources/cluster/policy-objects.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { ManualPace } from "../sources/cluster/manual-pace.ts";
import { MemoryCluster, type Raw } from "./memory-cluster.ts";

// Statuses of policy documents: what they say, and that nothing is written without need.

const rule = "virtual-service-weights-not-100";
const policy = (name: string, spec: Raw): Raw => ({
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardPolicy",
  metadata: { name, generation: 1 },
  spec,
});
const exception = (name: string, spec: Raw = {}): Raw => ({
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardException",
  metadata: { name, namespace: "shop", generation: 1 },
  spec: { rules: [rule], reason: "because", owner: "team", expiresAt: "2027-06-30", ...spec },
});

const writers: PolicyStatusWriter[] = [];
afterEach(async () => {
  await Promise.all(writers.splice(0).map((writer) => writer.close()));
});

/** A cluster with these documents, and a replica that writes their statuses. */
class World {
  readonly cluster = new MemoryCluster();
  readonly pace = new ManualPace();
  readonly mesh = new MeshStore(defaultMeshSettings);
  readonly lines: string[] = [];
  readonly writer: PolicyStatusWriter;
  startMs = Date.parse("2026-11-26T12:00:00Z");
  /** Documents of which an earlier generation is in force, or none. */
  readonly broken = new Map<string, { readonly problem: string; readonly inForce: number | undefined }>();

  constructor(documents: readonly Raw[]) {
    for (const raw of documents) this.put(raw);
    for (const [name, host] of [
      ["shop", "cart"],
      ["web", "page"],
    ]) {
      const metadata = { name: host, namespace: name };
      const namespace = readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
      const route = readAny({ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata, spec: {} });
      for (const object of [namespace, route]) if (object !== undefined) this.mesh.set(object);
    }
    this.writer = new PolicyStatusWriter({
      connection: this.cluster.connect(),
      objects: () => this.states(),
      policies: () => this.policies(),
      mesh: () => this.mesh,
      log: createLog("info", (line) => void this.lines.push(line)),
      pace: this.pace,
      now: () => this.now(),
    });
    writers.push(this.writer);
  }

  now(): Date {
    return new Date(this.startMs + this.pace.now());
  }
  static keyOf({ kind, metadata }: Raw): string {
    return kind === "MeshwardPolicy"
      ? `meshwardpolicies//${metadata.name}`
      : `meshwardexceptions/${metadata.namespace}/${metadata.name}`;
  }
  readonly #keys = new Set<string>();
  put(raw: Raw): void {
    this.#keys.add(World.keyOf(raw));
    this.cluster.put(World.keyOf(raw), raw);
  }
  raws(): readonly Raw[] {
    return [...this.#keys].map((key) => this.cluster.get(key) as Raw);
  }
  states(): readonly PolicyObjectState[] {
    return this.raws().map((raw) => {
      const { name, namespace = "", uid, generation, resourceVersion } = raw["metadata"];
      const object = {
        ...{ raw, file: name, locate: () => ({ line: 0, column: 0 }), status: raw["status"] },
        ...{ kind: raw["kind"], name, namespace, uid, generation, resourceVersion },
      } as PolicyObject;
      const { problem, inForce } = this.broken.get(name) ?? { problem: undefined, inForce: generation as number };
      return { object, problem, inForce };
    });
  }
  policies(): Policies {
    const valid = this.raws().filter(({ metadata }) => !this.broken.has(metadata.name));
    const { policies, errors } = loadPolicies(
      valid.map((raw) => ({ raw, file: "a", locate: () => ({ line: 0, column: 0 }) })),
      rules,
    );
    assert.deepEqual(errors, []);
    return policies;
  }
  async settle(ms = 1_000): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      this.pace.advance(1_000);
      for (let i = 0; i < 20; i++) await nextTurn();
    }
  }
  patches(): number {
    return this.cluster.requests.filter(({ verb }) => verb === "patch").length;
  }
  status(key: string): Raw {
    return this.cluster.get(key)?.["status"] as Raw;
  }
  condition(key: string, type: string): Raw {
    return this.status(key)["conditions"].find((one: Raw) => one["type"] === type);
  }
  said(key: string): readonly string[] {
    return this.status(key)["conditions"].map(({ type, status, reason }: Raw) => `${type} ${status} ${reason}`);
  }
}

const policyKey = (name: string) => `meshwardpolicies//${name}`;
const exceptionKey = (name: string) => `meshwardexceptions/shop/${name}`;

describe("what a status says", () => {
  test("a policy says how many objects it selects", async () => {
    const world = new World([
      policy("everywhere", { rules: [{ id: rule, mode: "warn" }] }),
      policy("shop", { match: { namespaces: { names: ["shop"] } }, rules: [{ id: rule, mode: "warn" }] }),
      policy("routes", { match: { objects: { kinds: ["VirtualService"] } }, rules: [{ id: rule, mode: "warn" }] }),
      policy("nowhere", { match: { namespaces: { names: ["none"] } }, rules: [{ id: rule, mode: "warn" }] }),
      policy("gone", { withdrawn: true }),
    ]);
    world.writer.lead(true);
    await world.settle();
    const counts = ["everywhere", "shop", "routes", "nowhere"].map((name) => world.status(policyKey(name))["objects"]);
    assert.deepEqual(counts, [4, 2, 2, 0]);
    assert.deepEqual(world.said(policyKey("shop")), ["InForce True InForce", "Broken False Valid"]);
    assert.match(world.condition(policyKey("shop"), "InForce")["message"], /select 2 objects of the mesh/);
    assert.deepEqual(world.said(policyKey("nowhere"))[0], "InForce True SelectsNothing");
    assert.deepEqual(world.said(policyKey("gone"))[0], "InForce False Withdrawn");
  });

  test("a broken document says why, and which generation is in force", async () => {
    const world = new World([policy("new", { rules: [] }), policy("edited", { rules: [] })]);
    world.broken.set("new", { problem: "spec.rules: is empty", inForce: undefined });
    world.broken.set("edited", { problem: "spec.rules: is empty", inForce: 3 });
    world.writer.lead(true);
    await world.settle();
    assert.deepEqual(world.said(policyKey("new")), ["InForce False Invalid", "Broken True Invalid"]);
    assert.deepEqual(world.said(policyKey("edited")), ["InForce True LastValidGeneration", "Broken True Invalid"]);
    assert.equal(world.condition(policyKey("new"), "Broken")["message"], "spec.rules: is empty");
    assert.match(world.condition(policyKey("edited"), "InForce")["message"], /generation 3 stays in force/);
    const before = world.condition(policyKey("new"), "Broken")["lastTransitionTime"];
    world.broken.delete("new");
    world.put(policy("new", { rules: [{ id: rule, mode: "warn" }] }));
    world.writer.changed();
    await world.settle();
    assert.deepEqual(world.said(policyKey("new")), ["InForce True InForce", "Broken False Valid"]);
    assert.notEqual(world.condition(policyKey("new"), "Broken")["lastTransitionTime"], before);
  });

  test("exceptions: in force, unused, ending soon, expired, not allowed; and the policies of their rules name them", async () => {
    const world = new World([
      policy("all", { rules: [{ id: rule, mode: "deny" }] }),
      policy("other", { rules: [{ id: "gateway-tls-weak", mode: "deny" }] }),
      policy("limits", { exceptions: { maxDays: 400 } }),
      exception("used"),
      exception("unused"),
      exception("soon", { expiresAt: "2026-12-01" }),
      exception("over", { expiresAt: "2026-11-01" }),
      exception("long", { expiresAt: "2029-01-01" }),
    ]);
    const titles = (names: readonly string[]) => world.policies().exceptions.filter(({ name }) => names.includes(name));
    world.writer.lead(true);
    world.writer.audited([...titles(["used", "soon"]), ...titles(["used"])]);
    await world.settle();
    assert.deepEqual(
      ["used", "unused", "soon", "over", "long"].map((name) => world.said(exceptionKey(name))[0]),
      [
        "InForce True InForce",
        "InForce True Unused",
        "InForce True EndsSoon",
        "InForce False Expired",
        "InForce False NotAllowed",
      ],
    );
    assert.equal(world.status(exceptionKey("used"))["findings"], 2);
    assert.match(world.condition(exceptionKey("used"), "InForce")["message"], /^In force\. It accepts 2 findings/);
    const { message } = world.condition(policyKey("all"), "InForce");
    assert.match(message, /Exceptions for its rules without effect: shop\/unused \(unused\), shop\/over \(expired\)\./);
    assert.doesNotMatch(world.condition(policyKey("other"), "InForce")["message"], /without effect/);
  });

  test("an exception expires at its time, without any change", async () => {
    const world = new World([exception("today", { expiresAt: "2026-11-26T12:00:30Z" })]);
    world.writer.lead(true);
    await world.settle();
    assert.match(world.said(exceptionKey("today"))[0] ?? "", /^InForce True/);
    await world.settle(60_000);
    assert.deepEqual(world.said(exceptionKey("today"))[0], "InForce False Expired");
  });
});

describe("when a status is written", () => {
  const documents = [policy("a", { rules: [{ id: rule, mode: "warn" }] }), exception("e")];

  test("only by the replica that leads, once, and again only if it says something else", async () => {
    const world = new World(documents);
    await world.settle(60_000);
    world.writer.changed();
    await world.settle(60_000);
    assert.equal(world.patches(), 0);
    world.writer.lead(true);
    await world.settle();
    assert.equal(world.patches(), 2);
    world.writer.changed();
    await world.settle(60_000);
    assert.equal(world.patches(), 2);
    world.writer.lead(false);
    world.broken.set("a", { problem: "wrong", inForce: 1 });
    world.writer.changed();
    await world.settle(60_000);
    assert.equal(world.patches(), 2);
  });

  test("numbers alone are written once a minute; the time of a condition stays", async () => {
    const world = new World(documents);
    world.writer.lead(true);
    await world.settle();
    const time = world.condition(policyKey("a"), "InForce")["lastTransitionTime"];
    const more = readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name: "more" } });
    if (more !== undefined) world.mesh.set(more);
    world.writer.changed();
    await world.settle(5_000);
    assert.equal(world.status(policyKey("a"))["objects"], 4);
    await world.settle(90_000);
    assert.equal(world.status(policyKey("a"))["objects"], 5);
    assert.equal(world.condition(policyKey("a"), "InForce")["lastTransitionTime"], time);
  });

  test("a write is based on the version that was read: a conflict is no error, and is tried again", async () => {
    const world = new World(documents);
    let isFirst = true;
    world.cluster.hook = ({ verb, name }) => {
      if (verb !== "patch" || name !== "a" || !isFirst) return;
      isFirst = false;
      world.put(policy("a", { rules: [{ id: rule, mode: "deny" }] }));
    };
    world.writer.lead(true);
    await world.settle();
    assert.equal(world.status(policyKey("a")), undefined);
    assert.ok(world.status(exceptionKey("e")), "the others are written");
    assert.deepEqual(world.lines, []);
    await world.settle(30_000);
    assert.ok(world.status(policyKey("a")));
    assert.equal(world.cluster.get(policyKey("a"))?.["spec"].rules[0].mode, "deny");
  });

  test("a refusal is said once and ends the attempts for ten minutes", async () => {
    const world = new World(documents);
    world.cluster.hook = ({ verb }) => {
      if (verb === "patch") throw statusError("https://cluster", { status: 403, said: "no" });
    };
    world.writer.lead(true);
    await world.settle();
    await world.settle(5 * 60_000);
    assert.equal(world.patches(), 1);
    assert.equal(world.lines.length, 1);
    assert.match(world.lines[0] ?? "", /the status of a policy document was not written/);
    world.cluster.hook = () => undefined;
    await world.settle(6 * 60_000);
    assert.ok(world.status(policyKey("a")));
  });

  test("a stored status that somebody else wrote is replaced", async () => {
    for (const status of [{}, { conditions: "none" }, { conditions: [null, { type: 3 }] }, { objects: "many" }]) {
      const world = new World([{ ...policy("a", { rules: [{ id: rule, mode: "warn" }] }), status }]);
      world.writer.lead(true);
      await world.settle();
      assert.deepEqual(world.said(policyKey("a")), ["InForce True InForce", "Broken False Valid"]);
      assert.deepEqual(world.lines, []);
    }
  });
});
