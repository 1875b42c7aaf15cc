import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type TestContext, test } from "node:test";
import { Election } from "../../src/controllers/election.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { ManualPace } from "../sources/cluster/manual-pace.ts";
import { forbidden, MemoryCluster, refusal, type Raw, type SeenRequest } from "./memory-cluster.ts";

const lease = { namespace: "meshward-system", name: "meshward" } as const;
const key = "leases/meshward-system/meshward";
const startMs = Date.parse("2026-11-26T10:00:00Z");

interface Candidate {
  readonly election: Election;
  readonly pace: ManualPace;
  readonly changes: boolean[];
  readonly lines: Raw[];
  /** Throws for this replica's requests. */
  fail: ((request: SeenRequest) => void) | undefined;
  wallOffsetMs: number;
}

/** Replicas, each with clocks of its own. */
function world(context: TestContext) {
  const cluster = new MemoryCluster();
  const candidates: Candidate[] = [];
  const join = (replica: string, wallOffsetMs = 0): Candidate => {
    const pace = new ManualPace();
    const lines: Raw[] = [];
    const candidate: Candidate = {
      pace,
      lines,
      changes: [],
      fail: undefined,
      wallOffsetMs,
      election: new Election({
        connection: cluster.connect((request) => candidate.fail?.(request)),
        lease,
        replica,
        pace,
        wallMs: () => startMs + pace.now() + candidate.wallOffsetMs,
        log: createLog("debug", (line) => void lines.push(JSON.parse(line) as Raw)),
      }),
    };
    candidate.election.onChange((leading) => void candidate.changes.push(leading));
    candidates.push(candidate);
    return candidate;
  };
  context.after(() => Promise.all(candidates.map(({ election }) => election.stop())));
  /** Lets time pass for everybody, a second at a time, and what it sets off happen. */
  const pass = async (seconds: number, but: readonly Candidate[] = []) => {
    for (let second = 0; second < seconds; second++) {
      for (const { pace } of candidates.filter((one) => !but.includes(one))) pace.advance(1_000);
      for (let i = 0; i < 20; i++) await nextTurn();
    }
  };
  return { cluster, join, pass, spec: () => cluster.get(key)?.["spec"] as Raw };
}

test("one of several replicas leads, and keeps leading", async (context) => {
  const { join, pass, spec } = world(context);
  const all = [join("a"), join("b"), join("c")];
  await pass(5);
  const leaders = () => all.filter(({ election }) => election.leading);
  assert.equal(leaders().length, 1);
  const [first] = leaders();
  assert.equal(spec()["holderIdentity"], first?.election.identity);
  assert.equal(spec()["leaseDurationSeconds"], 15);
  assert.match(spec()["renewTime"], /^2026-11-26T10:00:\d\d\.\d{6}Z$/);
  await pass(60);
  assert.deepEqual(leaders(), [first]);
  assert.equal(spec()["leaseTransitions"], 0);
  assert.notEqual(spec()["renewTime"], spec()["acquireTime"]);
  assert.deepEqual(
    all.flatMap(({ changes }) => changes),
    [true],
  ); // prettier-ignore
  for (const { election } of all) assert.equal(election.holder, first?.election.identity);
});

test("a dead leader is replaced after the duration of its Lease, not before", async (context) => {
  const { join, pass, spec } = world(context);
  const dead = join("dead");
  await pass(3);
  assert.ok(dead.election.leading);
  const other = join("other");
  await pass(14, [dead]);
  assert.equal(other.election.leading, false);
  await pass(5, [dead]);
  assert.equal(other.election.leading, true);
  assert.equal(spec()["leaseTransitions"], 1);
});

test("the clock of another replica does not matter", async (context) => {
  const { join, pass } = world(context);
  const early = join("early", -7_200_000);
  await pass(3);
  const late = join("late", 7_200_000);
  await pass(60);
  assert.deepEqual([early.election.leading, late.election.leading], [true, false]);
  early.fail = () => {
    throw refusal(503, "ServiceUnavailable", "down");
  };
  await pass(30);
  assert.deepEqual([early.election.leading, late.election.leading], [false, true]);
});

test("a leader that cannot renew stops leading before another may start", async (context) => {
  const { join, pass } = world(context);
  const cut = join("cut");
  await pass(3);
  const other = join("other");
  await pass(3);
  cut.fail = () => {
    throw refusal(503, "ServiceUnavailable", "down");
  };
  for (let second = 0; second < 30; second++) {
    await pass(1);
    assert.ok(!(cut.election.leading && other.election.leading), `both lead after ${second} s`);
  }
  assert.deepEqual(cut.changes, [true, false]);
  assert.ok(other.election.leading);
  assert.match(String(cut.election.problem), /answered 503: down/);
  cut.fail = undefined;
  await pass(5);
  assert.equal(cut.election.problem, undefined);
  assert.deepEqual([cut.election.leading, other.election.leading], [false, true]);
  const warnings = cut.lines.filter(({ msg }) => String(msg).startsWith("the Lease cannot be used"));
  assert.equal(warnings.length, 1, "the same problem is logged once");
});

test("a replica that was suspended does not believe that it still leads", async (context) => {
  const { join, pass } = world(context);
  const asleep = join("asleep");
  await pass(3);
  const other = join("other");
  await pass(25, [asleep]);
  assert.ok(other.election.leading);
  // Its monotonic clock stood still, as that of Linux does; the wall clock did not.
  asleep.wallOffsetMs += 25_000;
  assert.equal(asleep.election.leading, false);
  await pass(5);
  assert.deepEqual([asleep.election.leading, other.election.leading], [false, true]);
});

test("a wall clock that is set back ends no term, and one that is set forward ends it only until the next renewal", async (context) => {
  const { join, pass } = world(context);
  const only = join("only");
  await pass(3);
  only.wallOffsetMs -= 7_200_000;
  assert.ok(only.election.leading);
  await pass(3);
  only.wallOffsetMs += 14_400_000;
  assert.ok(!only.election.leading);
  await pass(5);
  assert.ok(only.election.leading);
});

test("stop releases the Lease, and the next replica leads at its next attempt", async (context) => {
  const { join, pass, spec } = world(context);
  const first = join("first");
  await pass(3);
  const second = join("second");
  await pass(3);
  const stopped = first.election.stop();
  assert.equal(first.election.leading, false);
  await stopped;
  assert.equal(spec()["holderIdentity"], "");
  assert.equal(spec()["leaseDurationSeconds"], 1);
  assert.deepEqual(first.changes, [true, false]);
  await pass(4);
  assert.ok(second.election.leading);
  assert.equal(spec()["leaseTransitions"], 1);
});

test("stop does not take the Lease away from the replica that took it over", async (context) => {
  const { cluster, join, pass, spec } = world(context);
  const first = join("first");
  await pass(3);
  cluster.put(key, { spec: { ...spec(), holderIdentity: "somebody" } });
  await first.election.stop();
  assert.equal(spec()["holderIdentity"], "somebody");
});

test("of two replicas that take over at the same moment, one does", async (context) => {
  const { cluster, join, pass } = world(context);
  cluster.put(key, { spec: { holderIdentity: "gone", leaseDurationSeconds: 15 } });
  const [one, other] = [join("one"), join("other")];
  // Both have read before either writes.
  let waiting: (() => void)[] = [];
  cluster.hook = async ({ verb }) => {
    if (verb !== "update") return;
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 2) for (const go of waiting) go();
    });
    waiting = [];
  };
  for (let second = 0; second < 25 && waiting.length === 0; second++) await pass(1);
  cluster.hook = () => undefined;
  for (const go of waiting) go();
  await pass(6);
  assert.equal([one, other].filter(({ election }) => election.leading).length, 1);
});

test("a deleted Lease is created again by who comes first", async (context) => {
  const { cluster, join, pass, spec } = world(context);
  const all = [join("a"), join("b")];
  await pass(5);
  cluster.remove(key);
  await pass(5);
  const leaders = all.filter(({ election }) => election.leading);
  assert.deepEqual(
    leaders.map(({ election }) => election.identity),
    [spec()["holderIdentity"]],
  ); // prettier-ignore
});

test("a Lease with nonsense in it is taken over", async (context) => {
  for (const spec of [
    { holderIdentity: "backup", leaseDurationSeconds: 2_000_000_000, leaseTransitions: 3 },
    { holderIdentity: "backup", leaseDurationSeconds: "soon", leaseTransitions: "many" },
    { holderIdentity: 7 },
    undefined,
  ]) {
    const { cluster, join, pass } = world(context);
    cluster.put(key, spec === undefined ? {} : { spec });
    const only = join("only");
    await pass(70);
    assert.ok(only.election.leading, JSON.stringify(spec));
  }
});

test("without the permission it never leads, says which one is missing, and leads once it is granted", async (context) => {
  const { join, pass } = world(context);
  const only = join("only");
  only.fail = (request) => {
    if (request.verb !== "get") throw forbidden(request);
  };
  await pass(20);
  assert.equal(only.election.leading, false);
  assert.match(
    String(only.election.problem),
    /cannot create resource "leases"; grant it get, update and create on leases\.coordination\.k8s\.io$/,
  );
  only.fail = undefined;
  await pass(5);
  assert.ok(only.election.leading);
});

test("a listener that comes late is told", async (context) => {
  const { join, pass } = world(context);
  const only = join("only");
  await pass(3);
  const told: boolean[] = [];
  only.election.onChange((leading) => void told.push(leading));
  assert.deepEqual(told, [true]);
});
