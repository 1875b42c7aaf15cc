import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { type TestContext, test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { rotateAnnotation } from "../../src/controllers/authority-secret.ts";
import { newAuthority } from "../../src/tls/authority.ts";
import { configurationKeys, day, hour, isWrite, secretKey, settleMs, start, World } from "./authority-world.ts";
import { eventually } from "../sources/cluster/manual-pace.ts";
import { forbidden, type Raw } from "./memory-cluster.ts";

const issuerOf = (world: World) => world.state()?.issuer.cert ?? "";
const subjectOf = (pem: string) => new X509Certificate(pem).subject;
const said = (world: World, text: RegExp) =>
  world.replicas.flatMap(({ lines }) => lines).filter((line) => text.test(JSON.stringify(line)));

/** An installation with three replicas that serve and are trusted. */
async function installed(context: TestContext, options: { readonly settleMs?: number } = {}): Promise<World> {
  const world = Object.assign(new World(context), options);
  world.install();
  for (const name of ["a", "b", "c"]) await world.join(name);
  world.lead("a");
  await world.settle();
  await world.pass(1_000);
  for (const replica of world.replicas) assert.equal(replica.source.problem(), undefined, replica.name);
  assert.ok(world.replicas.every(({ isServing }) => isServing));
  return world;
}

/** Until caBundle has one authority, which is not this one. */
async function rotated(world: World, before: string): Promise<void> {
  await world.live(settleMs + 60_000, 30_000);
  assert.notEqual(issuerOf(world), before, "the issuer has not changed");
  await world.live(9 * day, 6 * hour);
  assert.equal(world.phase, "steady");
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
  for (const { name, source } of world.alive)
    assert.equal(new X509Certificate(source.current().cert).issuer, subjectOf(issuerOf(world)), name);
}

test("the first replica that leads creates the authority; all serve certificates of it, and caBundle has it", async (context) => {
  const world = await installed(context);
  assert.equal(world.phase, "steady");
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
  const leaves = world.replicas.map(({ source }) => new X509Certificate(source.current().cert));
  assert.equal(new Set(leaves.map(({ fingerprint256 }) => fingerprint256)).size, 3, "each has its own key");
  for (const leaf of leaves)
    assert.equal(leaf.checkHost("meshward.meshward-system.svc"), "meshward.meshward-system.svc");
  const secret = world.cluster.get(secretKey) as Raw;
  assert.deepEqual(Object.keys(secret["data"]).sort(), ["ca.crt", "issuer.crt", "issuer.key", "rotation.json"]);
});

test("no field but caBundle is written, and no webhook that is not Meshward's", async (context) => {
  const world = new World(context);
  world.install();
  const before = configurationKeys.map((key) => world.cluster.get(key));
  await world.join("a");
  world.lead("a");
  await world.settle();
  const without = (configuration: Raw = {}) =>
    (configuration["webhooks"] as Raw[]).map(({ clientConfig: { caBundle, ...config }, name, ...rest }) => ({
      ...rest,
      name,
      config,
      theirs: String(name).endsWith(".meshward.io") ? undefined : caBundle,
    }));
  assert.deepEqual(
    configurationKeys.map((key) => without(world.cluster.get(key))),
    before.map(without),
  );
  const patches = world.cluster.requests.filter(({ verb }) => verb === "patch");
  for (const { body } of patches)
    for (const { op, path } of body as unknown as { op: string; path: string }[])
      assert.match(`${op} ${path}`, /^test \/metadata\/resourceVersion$|^add \/webhooks\/\d\/clientConfig\/caBundle$/);
});

test("before the webhooks are registered, replicas are ready; afterwards caBundle is written at once", async (context) => {
  const world = new World(context);
  const replica = await world.join("a");
  assert.match(replica.source.problem() ?? "", /no certificate authority yet/);
  world.lead("a");
  await world.settle();
  assert.equal(replica.source.problem(), undefined);
  world.install();
  await world.settle();
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
});

test("after two thirds of its life the authority is replaced in three phases, and no review fails", async (context) => {
  const world = await installed(context);
  world.lagMs = 5_000;
  const before = issuerOf(world);
  await world.live(243 * day, 2 * day);
  assert.equal(issuerOf(world), before);
  await world.live(2 * day, hour);
  await rotated(world, before);
  assert.deepEqual(world.failures, []);
  assert.ok(world.verifications > 1_000, String(world.verifications));
});

test("each phase waits: what is published is not used, and what is used stays trusted", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  await world.pass(1_000);
  annotate(world, "now");
  await world.settle();
  assert.equal(world.phase, "publishing");
  assert.equal(world.trusted().length, 2);
  await world.live(settleMs - 60_000, 30_000);
  assert.equal(issuerOf(world), before, "it was used before API servers had time to notice");
  await world.live(120_000, 30_000);
  assert.equal(world.phase, "retiring");
  assert.notEqual(issuerOf(world), before);
  assert.ok(world.trusted().includes(subjectOf(before)));
  await world.live(7 * day - hour, 6 * hour);
  assert.equal(world.phase, "retiring", "a certificate of the former authority may still be served");
  await world.live(day, 6 * hour);
  assert.equal(world.phase, "steady");
  assert.deepEqual(world.failures, []);
});

function annotate(world: World, value: string): void {
  const secret = world.cluster.get(secretKey) as Raw;
  const annotations = { ...secret["metadata"].annotations, [rotateAnnotation]: value };
  world.cluster.put(secretKey, { ...secret, metadata: { ...secret["metadata"], annotations } });
}

test("a rotation is asked for once by an annotation; asking again later rotates again", async (context) => {
  const world = await installed(context);
  const first = issuerOf(world);
  annotate(world, "2026-11-26T10:00:00Z");
  await rotated(world, first);
  const second = issuerOf(world);
  await world.live(20 * day, day);
  assert.equal(issuerOf(world), second);
  annotate(world, "2026-12-24T10:00:00Z");
  await rotated(world, second);
  assert.deepEqual(world.failures, []);
});

test("an authority whose key may be known is dropped as soon as the servers have had time to leave it", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  annotate(world, "2026-11-26T10:00:00Z distrust");
  await world.live(2 * settleMs + 120_000, 30_000);
  assert.equal(world.phase, "steady");
  assert.ok(!world.trusted().includes(subjectOf(before)));
  assert.deepEqual(world.failures, []);
});

test("however short --rotation-wait is, it is dropped only when the servers have left it", async (context) => {
  const world = await installed(context, { settleMs: 1_000 });
  const before = issuerOf(world);
  annotate(world, "2026-11-26T10:00:00Z distrust");
  await world.live(30_000, 500);
  assert.equal(world.phase, "steady");
  assert.ok(!world.trusted().includes(subjectOf(before)));
  assert.deepEqual(world.failures, []);
});

/** What the leader writes for a rotation: the Secret four times, and each configuration twice. */
const writesOfRotation = 8;

test("a rotation is this many writes, between which a leader can die", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  const from = world.cluster.requests.length;
  annotate(world, "now");
  await rotated(world, before);
  assert.equal(world.cluster.requests.slice(from).filter(isWrite).length, writesOfRotation);
});

for (const moment of ["before", "after"] as const)
  for (let nth = 1; nth <= writesOfRotation; nth++)
    test(`a leader that dies ${moment} write ${nth} of a rotation: the next one finishes it, and no review fails`, async (context) => {
      const world = new World(context);
      world.install();
      let isArmed = false;
      let writes = 0;
      const die = (request: Parameters<typeof isWrite>[0]) => {
        if (!isArmed || !isWrite(request) || ++writes < nth) return;
        world.kill("a");
        throw new Error("a died");
      };
      await world.join("a", moment === "before" ? { fail: die } : { failAfter: die });
      await world.join("b");
      await world.join("c");
      world.lead("a");
      await world.settle();
      await world.pass(1_000);
      isArmed = true;
      const before = issuerOf(world);
      annotate(world, "now");
      const goOn = async (ms: number, stepMs: number) => {
        for (let passed = 0; passed < ms; passed += stepMs) {
          await world.pass(stepMs);
          world.leader ??= "b";
        }
      };
      await goOn(settleMs + 120_000, 60_000);
      await goOn(9 * day, 36 * hour);
      await goOn(60_000, 30_000);
      assert.equal(world.alive.length, 2, "the leader did not die");
      assert.equal(world.phase, "steady");
      assert.notEqual(issuerOf(world), before);
      assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
      assert.deepEqual(world.failures, []);
    });

test("two replicas that both believe they lead do no harm", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  // One always leads, so that no chance decides whether there is a leader in time; the others do so beside it, now and then.
  world.leads = (name) => name === "a" || Math.random() < 0.5;
  annotate(world, "now");
  await rotated(world, before);
  assert.deepEqual(world.failures, []);
});

for (const [what, damage] of [
  ["deleted", (world: World) => world.cluster.remove(secretKey)],
  ["emptied", (world: World) => world.cluster.put(secretKey, { type: "Opaque" })],
  ["filled with garbage", (world: World) => fill(world, () => Buffer.from("garbage").toString("base64"))],
  ["filled with what is no base64", (world: World) => fill(world, () => "\u0000***")],
  ["given data of the wrong type", (world: World) => world.cluster.put(secretKey, { data: ["a"] })],
] as const)
  test(`a Secret that is ${what} is restored from memory within a second, and no review fails`, async (context) => {
    const world = await installed(context);
    const before = issuerOf(world);
    damage(world);
    await world.settle();
    assert.equal(issuerOf(world), before);
    await world.live(14 * day, 12 * hour);
    assert.deepEqual(world.failures, []);
    assert.ok(said(world, /restored from memory/).length > 0);
  });

function fill(world: World, value: (field: string) => string): void {
  const secret = world.cluster.get(secretKey) as Raw;
  const data = Object.fromEntries(Object.keys(secret["data"]).map((field) => [field, value(field)]));
  world.cluster.put(secretKey, { ...secret, data });
}

test("a Secret with the key of another authority is restored; the other key is used by nobody", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  const other = await newAuthority(start);
  const secret = world.cluster.get(secretKey) as Raw;
  world.cluster.put(secretKey, { ...secret, data: { ...secret["data"], "issuer.key": base64(other.key) } });
  await world.settle();
  assert.equal(issuerOf(world), before);
  assert.ok(said(world, /issuer\.key is not the key of issuer\.crt/).length > 0);
  assert.deepEqual(world.failures, []);
});

const base64 = (text: string) => Buffer.from(text).toString("base64");

test("a Secret that was lost while every replica was restarted: a new authority, and the old one stays trusted while it is served", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  // Two old replicas go on serving; the leader is a new one that knows nothing.
  world.leader = undefined;
  world.cluster.remove(secretKey);
  await world.join("new");
  world.lead("new");
  await world.settle();
  assert.notEqual(issuerOf(world), before);
  assert.deepEqual([...world.trusted()].sort(), [subjectOf(before), subjectOf(issuerOf(world))].sort());
  await world.live(60_000, 1_000);
  for (const { name, source } of world.replicas)
    assert.equal(new X509Certificate(source.current().cert).issuer, subjectOf(issuerOf(world)), name);
  await world.live(9 * day, 12 * hour);
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
  assert.deepEqual(world.failures, []);
});

test("an older Secret that is restored from a backup is used, and what was served meanwhile stays trusted", async (context) => {
  const world = await installed(context);
  const backup = world.cluster.get(secretKey) as Raw;
  const first = issuerOf(world);
  annotate(world, "now");
  await rotated(world, first);
  const second = issuerOf(world);
  world.cluster.put(secretKey, backup);
  await world.settle();
  assert.equal(issuerOf(world), first);
  assert.deepEqual([...world.trusted()].sort(), [subjectOf(first), subjectOf(second)].sort());
  await world.live(9 * day, 6 * hour);
  assert.deepEqual(world.failures, []);
});

test("an authority that was copied from another cluster is replaced, because the other cluster may use its key", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  world.cluster.put("namespaces//kube-system", { metadata: { uid: "the-other-cluster" } });
  world.kill("a");
  await world.join("d");
  world.lead("d");
  await world.settle();
  assert.ok(said(world, /made in another cluster/).length > 0);
  await rotated(world, before);
  await world.live(30 * day, day);
  assert.deepEqual(world.failures, []);
});

test("a machine that slept until everything had expired: a new authority at once", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  world.isExcused = true;
  await world.pass(400 * day);
  await world.pass(1_000);
  world.isExcused = false;
  world.verify();
  assert.notEqual(issuerOf(world), before);
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
  await world.live(60_000, 1_000);
  assert.deepEqual(world.failures, []);
});

test("a machine that slept for a month renews its certificate at once, from memory", async (context) => {
  const world = await installed(context);
  world.isExcused = true;
  world.cluster.hook = () => {
    throw new Error("the API server is down");
  };
  await world.pass(30 * day);
  world.isExcused = false;
  world.verify();
  assert.deepEqual(world.failures, []);
});

test("clocks that jump neither stop a rotation nor hurry it", async (context) => {
  const world = await installed(context);
  const before = issuerOf(world);
  annotate(world, "now");
  await world.settle();
  for (const { clock } of world.replicas) clock.time -= 2 * hour;
  await world.pass(1_000);
  await world.live(settleMs - 60_000, 30_000);
  assert.equal(issuerOf(world), before);
  await world.live(180_000, 30_000);
  assert.notEqual(issuerOf(world), before);
  for (const { clock } of world.replicas) clock.time += 2 * hour;
  await world.live(9 * day, 6 * hour);
  assert.equal(world.phase, "steady");
  assert.deepEqual(world.failures, []);
});

test("a replica whose clock is two hours wrong issues certificates that the API server accepts", async (context) => {
  for (const skew of [-2 * hour, 2 * hour]) {
    const world = new World(context);
    world.install();
    const replica = await world.join("a");
    replica.clock.time += skew;
    world.lead("a");
    await world.settle();
    await world.live(hour, 60_000);
    assert.ok(replica.isServing);
    assert.deepEqual(world.failures, []);
  }
});

test("a replica that cannot read the API server for days renews its certificate, which stays trusted", async (context) => {
  const world = new World(context);
  world.install();
  let isCut = false;
  const cut = () => {
    if (isCut) throw new Error("cut off");
  };
  await world.join("a");
  await world.join("b", { fail: cut });
  world.lead("a");
  await world.settle();
  await world.pass(1_000);
  isCut = true;
  world.cluster.cutWatches();
  await later(1_500); // Reflectors wait in real time before they try again.
  const before = issuerOf(world);
  annotate(world, "now");
  await world.live(settleMs + 60_000, 30_000);
  assert.notEqual(issuerOf(world), before);
  await world.live(6 * day, 3 * hour);
  assert.deepEqual(world.failures, [], "its certificate is one of the former authority");
});

test("an emptied caBundle is repaired at once; that does not make a server unready", async (context) => {
  const world = await installed(context);
  world.isExcused = true;
  const [key] = configurationKeys;
  const configuration = world.cluster.get(key) as Raw;
  for (const { clientConfig } of configuration["webhooks"]) delete clientConfig.caBundle;
  world.cluster.put(key, configuration);
  for (const { source } of world.replicas) assert.equal(source.problem(), undefined);
  await world.settle();
  world.isExcused = false;
  assert.deepEqual(world.trusted(), [subjectOf(issuerOf(world))]);
  assert.equal(said(world, /"repaired"/).length, 1);
  world.verify();
  assert.deepEqual(world.failures, []);
});

test("another owner of caBundle is not fought: ever rarer repairs, and a line that names it", async (context) => {
  const world = await installed(context);
  const other = await newAuthority(start);
  const [key] = configurationKeys;
  world.isExcused = true;
  let isActive = true;
  world.cluster.changed = (changed) => {
    const configuration = world.cluster.get(key) as Raw;
    const bundle = base64(other.cert);
    const hasOurs = (configuration["webhooks"] as Raw[]).some(({ clientConfig }) => clientConfig.caBundle !== bundle);
    if (changed !== key || !isActive || !hasOurs) return;
    for (const { clientConfig } of configuration["webhooks"]) clientConfig.caBundle = bundle;
    const annotations = { "cert-manager.io/inject-ca-from": "meshward-system/meshward" };
    queueMicrotask(() =>
      world.cluster.put(key, { ...configuration, metadata: { ...configuration["metadata"], annotations } }),
    );
  };
  world.cluster.put(key, world.cluster.get(key) as Raw);
  const repairs = () => said(world, /"repaired"/).length;
  await world.live(hour, 20_000);
  const inFirstHour = repairs();
  assert.ok(inFirstHour >= 4 && inFirstHour <= 20, `${inFirstHour} repairs in an hour`);
  const [leader] = world.replicas;
  assert.match(
    leader?.caBundle.problem ?? "",
    /the annotation cert-manager\.io\/inject-ca-from keeps changing caBundle of the ValidatingWebhookConfiguration meshward/,
  );
  assert.ok(said(world, /keeps changing caBundle/).length <= 2, "it is logged again and again");
  isActive = false;
  await world.live(900_000, 20_000);
  assert.equal(leader?.caBundle.problem, undefined);
  world.isExcused = false;
  world.verify();
  assert.deepEqual(world.failures, []);
});

for (const { what, isMissing, says } of [
  {
    what: "update Secrets",
    isMissing: (request: Raw) => request["verb"] === "update" && request["plural"] === "secrets",
    says: /cannot update resource/,
  },
  {
    what: "patch webhook configurations",
    isMissing: (request: Raw) => request["verb"] === "patch",
    says: /cannot patch resource/,
  },
  {
    what: "read webhook configurations",
    isMissing: (request: Raw) => String(request["plural"]).endsWith("configurations"),
    says: /the webhook configurations cannot be read/,
  },
  { what: "read namespaces", isMissing: (request: Raw) => request["plural"] === "namespaces", says: undefined },
])
  test(`without the permission to ${what}, the last certificate is served and renewed, and the log says what is missing`, async (context) => {
    const world = new World(context);
    world.install();
    let isTaken = false;
    const fail = (request: Parameters<typeof forbidden>[0]) => {
      if (isTaken && isMissing(request)) throw forbidden(request);
    };
    const replica = await world.join("a", { fail });
    world.lead("a");
    await world.settle();
    await world.pass(1_000);
    isTaken = true;
    world.cluster.cutWatches();
    await later(1_500); // Reflectors wait in real time before they try again.
    annotate(world, "now");
    await world.live(20 * day, 12 * hour);
    assert.deepEqual(world.failures, []);
    if (says === undefined) return;
    const told = () => replica.lines.filter((line) => says.test(JSON.stringify(line)) && line["level"] !== "info");
    await eventually("said", () => told().length > 0);
    await world.live(day, hour);
    const lines = told();
    assert.equal(lines.length, 1, "it is said once");
  });

test("without the permission to create the Secret, nothing is served as valid, and the log says why", async (context) => {
  const world = new World(context);
  world.install();
  const fail = (request: Parameters<typeof forbidden>[0]) => {
    if (request.verb === "create") throw forbidden(request);
  };
  const replica = await world.join("a", { fail });
  world.lead("a");
  await world.live(60_000, 5_000);
  assert.match(replica.source.problem() ?? "", /no certificate authority yet/);
  assert.match(replica.authority.problem ?? "", /does not exist/);
  assert.equal(said(world, /cannot create resource/).length, 1);
});

test("no key is ever logged", async (context) => {
  const world = await installed(context);
  annotate(world, "now");
  await world.live(settleMs + 60_000, 60_000);
  fill(world, () => base64("a canary that nobody may see"));
  await world.settle();
  const text = JSON.stringify(world.replicas.map(({ lines }) => lines));
  assert.doesNotMatch(text, /PRIVATE|BEGIN|canary/);
  const key = (world.state()?.issuer.key ?? "").split("\n")[1] ?? "";
  assert.ok(key.length > 40 && !text.includes(key.slice(0, 20)));
});
