import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type TestContext, test } from "node:test";
import { AuditPublisher } from "../../src/controllers/audit-publisher.ts";
import { auditInBackground, type AuditOutcome } from "../../src/controllers/background-audit.ts";
import type { ReportChoice } from "../../src/controllers/report-groups.ts";
import type { ObjectEvent } from "../../src/kube/object-event.ts";
import { readAny } from "../../src/kube/object.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { reportedRulings } from "../../src/report/reported-finding.ts";
import { rules } from "../../src/rules/index.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics, type Metrics } from "../../src/telemetry/metrics.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { ManualPace } from "../sources/cluster/manual-pace.ts";
import { forbidden, MemoryCluster, type Raw, refusal, type SeenRequest } from "./memory-cluster.ts";

const startMs = Date.parse("2026-11-26T10:00:00Z");
const owner = "validatingwebhookconfigurations//meshward";

/** The groups of reports that the cluster serves, with their versions. */
type Served = Readonly<Record<string, readonly string[]>>;
const both: Served = { "openreports.io": ["v1alpha1"], "wgpolicyk8s.io": ["v1alpha2"] };

const object = (raw: Raw) => readAny(raw) ?? assert.fail("unknown kind");
const namespace = (name: string, more: Raw = {}) =>
  object({ apiVersion: "v1", kind: "Namespace", metadata: { name, ...more } });
const route = (name: string, weights: readonly number[], at = "shop") =>
  object({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name, namespace: at, uid: `uid-of-${name}` },
    spec: {
      hosts: [name],
      http: [{ route: weights.map((weight, i) => ({ destination: { host: `${name}-${i}` }, weight })) }],
    },
  });

interface Replica {
  readonly outcomes: AuditOutcome[];
  readonly events: ObjectEvent[];
  readonly lines: Raw[];
  readonly metrics: Metrics;
  firstSeen: (fingerprint: string) => string | undefined;
  /** Of its clock, in milliseconds. */
  offsetMs: number;
  fail: ((request: SeenRequest) => void) | undefined;
  stop(): Promise<void>;
}

function world(context: TestContext, served: Served = both) {
  const cluster = new MemoryCluster();
  cluster.put(owner, { metadata: { name: "meshward" } });
  const pace = new ManualPace();
  const store = new MeshStore(defaultMeshSettings);
  store.set(namespace("shop"));
  let mesh = store;
  let policies: Policies = loadPolicies([], rules, "baseline").policies;
  const replicas: Replica[] = [];
  /** Of all audits. */
  let steps = 0;

  const join = (choice: ReportChoice = "auto"): Replica => {
    const abort = new AbortController();
    const lines: Raw[] = [];
    const log = createLog("debug", (line) => void lines.push(JSON.parse(line) as Raw));
    const metrics = createMetrics({ processMetrics: false });
    const replica: Replica = {
      outcomes: [],
      events: [],
      lines,
      metrics,
      firstSeen: () => undefined,
      offsetMs: 0,
      fail: undefined,
      stop: () => Promise.resolve(),
    };
    const connection = cluster.connect((request) => {
      const version = served[request.plural];
      replica.fail?.(request);
      if (request.verb === "list" && request.plural === "" && version === undefined) throw refusal(404, "NotFound", "");
    });
    // Discovery of a group is a list of no resource: the path has only the group.
    const discovering = {
      ...connection,
      async request(asked: Parameters<typeof connection.request>[0]) {
        const group = /^\/apis\/([^/]+)$/.exec(asked.path)?.[1];
        if (group === undefined) return connection.request(asked);
        const versions = served[group];
        if (versions === undefined) throw refusal(404, "NotFound", group);
        return answer({ versions: versions.map((version) => ({ version })) });
      },
    };
    const publisher = new AuditPublisher(
      {
        reports: { connection: discovering, choice, owner: "meshward", pace },
        tell: (events) => void replica.events.push(...events),
        pageOf: (id) => `https://docs/${id}`,
        metrics,
        log,
        wallMs: () => startMs + pace.now() + replica.offsetMs,
      },
      abort.signal,
    );
    replica.firstSeen = publisher.firstSeen;
    const running = auditInBackground(
      {
        mesh: () => mesh,
        isReady: () => true,
        policies: () => policies,
        rules,
        intervalMs: 3_600_000,
        pace,
        pause: () => {
          steps++;
          return nextTurn();
        },
        wallMs: () => startMs + pace.now() + replica.offsetMs,
        log,
        publish(outcome, turn) {
          replica.outcomes.push(outcome);
          return publisher.publish(outcome, turn);
        },
      },
      abort.signal,
    );
    replica.stop = async () => {
      abort.abort();
      pace.advance(1);
      await running;
      await publisher.idle();
    };
    replicas.push(replica);
    return replica;
  };
  /**
   * Until nothing happens any more: no request and no step of an audit in many turns. Without a promise for each turn: the test runner's
   * hooks for promises would cost more than what is tested.
   */
  const turns = () =>
    new Promise<void>((resolve) => {
      let [left, quiet, before] = [400, 0, -1];
      const turn = () => {
        const now = steps + cluster.requests.length;
        quiet = now === before ? quiet + 1 : 0;
        before = now;
        if (quiet === 50 || --left === 0) resolve();
        else setImmediate(turn);
      };
      setImmediate(turn);
    });
  /** Lets time pass, a second at a time, and what it sets off happen. */
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      pace.advance(1_000);
      await turns();
    }
  };
  context.after(() => Promise.all(replicas.map((replica) => replica.stop())));
  return {
    cluster,
    store,
    join,
    pass,
    turns,
    setPolicies: (next: Policies) => (policies = next),
    setMesh: (next: MeshStore) => (mesh = next),
    remove: (of: ReturnType<typeof object>) => store.delete(of.kind, keyOf(of)),
  };
}

async function answer(body: object) {
  const { Readable } = await import("node:stream");
  return Readable.from([Buffer.from(JSON.stringify(body))]) as unknown as Awaited<
    ReturnType<ReturnType<MemoryCluster["connect"]>["request"]>
  >;
}

const resultsOf = (report: Raw | undefined): readonly Raw[] => (report?.["results"] ?? []) as readonly Raw[];
const writes = (cluster: MemoryCluster) =>
  cluster.requests.filter(({ verb }) => ["create", "update", "delete", "patch"].includes(verb)).length;
const report = "reports/shop/meshward";

function assertFirstReport(written: Raw = {}): void {
  const [result = {}] = resultsOf(written);
  assert.equal(written["source"], "meshward");
  assert.equal(written["metadata"].ownerReferences[0].kind, "ValidatingWebhookConfiguration");
  assert.equal(written["metadata"].labels["app.kubernetes.io/managed-by"], "meshward");
  const { policy, result: kind, severity, scored, resources, properties, timestamp } = result;
  assert.deepEqual([policy, kind, severity, scored], ["virtual-service-weights-not-100", "fail", "high", true]);
  assert.deepEqual(resources, [
    { apiVersion: "networking.istio.io/v1", kind: "VirtualService", namespace: "shop", name: "web" },
  ]);
  assert.equal(properties.path, "spec.http[0].route");
  assert.equal(timestamp.seconds, Date.parse(String(properties.firstSeen)) / 1_000);
  assert.deepEqual(written["summary"], summaryOf(resultsOf(written)));
}

const summaryOf = (results: readonly Raw[]) => {
  const count = (kind: string) => results.filter(({ result }) => result === kind).length;
  return { pass: 0, fail: count("fail"), warn: count("warn"), error: 0, skip: 0 };
};

test("findings are written once, change with the mesh, and their report goes with the last one", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const { outcomes, events } = join();
  await pass(2);
  assert.deepEqual(
    outcomes.map(({ trigger }) => trigger),
    ["start"],
  );
  const written = cluster.get(report);
  assertFirstReport(written);
  assert.equal(cluster.get("policyreports/shop/meshward"), undefined, "only one group is written");

  const before = writes(cluster);
  await pass(3_700);
  assert.ok(outcomes.some(({ trigger }) => trigger === "interval"));
  assert.equal(writes(cluster), before, "nothing is written while nothing changes");
  assert.equal(events.length, 0, "what was there at the first audit is no news");

  store.set(route("other", [1, 2]));
  await pass(4);
  assert.equal(outcomes.at(-1)?.trigger, "change");
  const ids = resultsOf(cluster.get(report)).filter(({ policy }) => policy === "virtual-service-weights-not-100");
  assert.deepEqual(
    ids.map(({ resources }) => resources[0].name),
    ["other", "web"],
  );
  const weights = events.filter(({ rule }) => rule === "virtual-service-weights-not-100");
  assert.deepEqual(
    weights.map(({ reason, regarding }) => [reason, regarding.name, regarding.uid]),
    [["AuditFinding", "other", "uid-of-other"]],
  );

  store.set(route("other", [99, 1]));
  store.set(route("web", [99, 1]));
  await pass(4);
  assert.ok(!resultsOf(cluster.get(report)).some(({ policy }) => policy === "virtual-service-weights-not-100"));
  for (const name of ["other", "web"]) store.delete("VirtualService", `shop/${name}`);
  await pass(4);
  assert.equal(cluster.get(report), undefined);
});

test("a guess is no finding in an ambient mesh either, and its rule is named once", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(namespace("other", { labels: { "istio.io/dataplane-mode": "ambient" } }));
  for (const name of ["a", "b"])
    store.set(
      object({
        apiVersion: "security.istio.io/v1",
        kind: "AuthorizationPolicy",
        metadata: { name, namespace: "shop" },
        spec: { selector: { matchLabels: { app: name } }, rules: [{ to: [{ operation: { ports: ["80"] } }] }] },
      }),
    );
  const { lines, outcomes } = join();
  await pass(2);
  const ids = resultsOf(cluster.get(report)).map(({ policy }) => policy);
  assert.ok(!ids.includes("selector-matches-nothing"), "shop has no workloads yet, for all that is known");
  assert.deepEqual(
    outcomes[0]?.guesses.map(({ rule, subject }) => `${rule.id} ${subject.metadata.name}`),
    ["selector-matches-nothing a", "selector-matches-nothing b"],
  );
  const said = lines.filter(({ msg }) => msg === "the audit left out findings that rest on what it does not know");
  assert.deepEqual(
    said.map(({ rules: named }) => named),
    [["selector-matches-nothing (the workloads of namespace shop)"]],
  );

  store.set(
    object({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "shop" },
      spec: { template: { metadata: { labels: { app: "a" } } } },
    }),
  );
  await pass(12);
  assert.deepEqual(outcomes.at(-1)?.guesses, []);
  const found = outcomes.at(-1)?.rulings.filter(({ finding }) => finding.rule.id === "selector-matches-nothing");
  assert.deepEqual(
    found?.map(({ finding }) => finding.subject.metadata.name),
    ["b"],
  );
});

test("a change of the status of an object is no reason to audit", async (context) => {
  const { store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const { outcomes } = join();
  await pass(2);
  const same = route("web", [90, 20]);
  store.set({ ...same, metadata: { ...same.metadata, resourceVersion: "2" } });
  await pass(5);
  assert.equal(outcomes.length, 1);
});

test("the time at which a finding was first seen survives a restart, another leader and clocks that differ", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const first = join();
  await pass(2);
  const seen = resultsOf(cluster.get(report))[0]?.["timestamp"].seconds as number;
  await first.stop();
  await pass(600);
  const before = writes(cluster);
  const second = join();
  second.offsetMs = 7_200_000;
  await pass(2);
  assert.equal(resultsOf(cluster.get(report))[0]?.["timestamp"].seconds, seen);
  assert.equal(writes(cluster), before, "the next leader writes nothing");
  assert.deepEqual(second.events, []);
  await second.stop();

  // Its clock is behind the time that the report says.
  const third = join();
  third.offsetMs = -86_400_000;
  await pass(2);
  const corrected = resultsOf(cluster.get(report))[0]?.["timestamp"].seconds as number;
  assert.ok(corrected < seen, "no finding is first seen in the future");
  await third.stop();
  const after = writes(cluster);
  join();
  await pass(2);
  assert.equal(writes(cluster), after, "and nobody changes it back");
});

/** The fingerprints of the findings of a rule in the last audit, by the name of their object. */
function fingerprintsOf({ outcomes }: Replica, rule: string): ReadonlyMap<string, string> {
  const places = { of: () => undefined, isChangeable: () => true };
  const { findings } = reportedRulings(outcomes.at(-1)?.rulings ?? [], { places, docsUrl: "" });
  return new Map(findings.filter((one) => one.rule === rule).map((one) => [one.object.name, one.fingerprint]));
}

test("without reports nobody knows since when there is what was there at the start, and nobody says so", async (context) => {
  const { store, join, pass } = world(context, {});
  store.set(route("web", [90, 20]));
  const first = join();
  await pass(2);
  store.set(route("late", [1, 1]));
  await pass(4);
  const weights = "virtual-service-weights-not-100";
  const timesOf = (replica: Replica) =>
    Object.fromEntries([...fingerprintsOf(replica, weights)].map(([name, id]) => [name, replica.firstSeen(id)]));
  const { late, ...others } = timesOf(first);
  assert.deepEqual(others, { web: undefined });
  assert.match(String(late), /^2026-11-26T10:00:0\dZ$/);
  await first.stop();
  const second = join();
  await pass(2);
  assert.deepEqual(
    timesOf(second),
    { web: undefined, late: undefined },
    "the time of a restart is not that of a finding",
  );
  assert.deepEqual(second.events, []);
});

test("reports that can be read only later still say since when there is a finding", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const weights = "virtual-service-weights-not-100";
  const timeOf = (replica: Replica, name: string) =>
    replica.firstSeen(fingerprintsOf(replica, weights).get(name) ?? assert.fail(name));
  const first = join();
  await pass(2);
  const seen = timeOf(first, "web");
  assert.ok(seen !== undefined);
  await first.stop();
  await pass(600);
  store.set(route("late", [1, 1]));
  const second = join();
  // As the API server answers shortly after the definitions were created.
  second.fail = ({ verb, plural }) => {
    if (verb === "list" && plural === "reports") throw refusal(429, "TooManyRequests", "storage is initializing");
  };
  await pass(2);
  assert.equal(timeOf(second, "web"), undefined);
  second.fail = undefined;
  await pass(30);
  assert.equal(timeOf(second, "web"), seen);
  assert.ok((timeOf(second, "late") ?? "") > seen, "what no report has was not there before");
  const times = resultsOf(cluster.get(report)).map(({ properties }) => properties.firstSeen as string | undefined);
  assert.ok(
    times.every((time) => time !== undefined),
    JSON.stringify(times),
  );
});

test("findings that reports only count are neither news nor dated after a restart", async (context) => {
  const { store, join, pass } = world(context);
  for (let i = 0; i < 2_300; i++) store.set(route(`web-${i}`, [90, 20]));
  const first = join();
  await pass(60);
  const weights = "virtual-service-weights-not-100";
  const timesOf = (replica: Replica) => [...fingerprintsOf(replica, weights).values()].map(replica.firstSeen);
  assert.equal(timesOf(first).length, 2_300);
  assert.ok(timesOf(first).every((time) => time !== undefined));
  await first.stop();
  store.set(namespace("quiet"));
  store.set(route("new", [1, 2], "quiet"));
  const second = join();
  await pass(60);
  const times = timesOf(second);
  const dated = times.filter((time) => time !== undefined).length;
  assert.ok(dated > 500 && dated < 2_300, `${dated} of ${times.length}`);
  const regarding = new Set(second.events.map((event) => event.regarding.name));
  assert.deepEqual([...regarding], ["new"], "only what is new is told");
});

test("a finding that appeared while nobody audited is news for the next leader", async (context) => {
  const { store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  await (async () => {
    const first = join();
    await pass(2);
    await first.stop();
  })();
  store.set(route("late", [1, 1]));
  const { events } = join();
  await pass(2);
  assert.deepEqual(
    events.filter(({ rule }) => rule === "virtual-service-weights-not-100").map(({ regarding }) => regarding.name),
    ["late"],
  );
});

test("two leaders for a moment agree: no finding is lost, doubled or dated anew", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const [one, other] = [join(), join()];
  other.offsetMs = 30_000;
  await pass(10);
  store.set(route("more", [1, 1]));
  await pass(20);
  const weights = resultsOf(cluster.get(report)).filter(({ policy }) => policy === "virtual-service-weights-not-100");
  assert.deepEqual(
    weights.map(({ resources }) => resources[0].name),
    ["more", "web"],
  );
  const settled = writes(cluster);
  await pass(60);
  assert.equal(writes(cluster), settled, "they do not overwrite each other");
  assert.ok(one.outcomes.length > 0 && other.outcomes.length > 0);
});

test("what someone else changes in a report is repaired at the next interval, and his labels stay", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  join();
  await pass(2);
  const written = cluster.get(report) as Raw;
  cluster.put(report, {
    ...written,
    results: [],
    metadata: { ...written["metadata"], labels: { ...written["metadata"].labels, team: "shop" } },
  });
  // A change that is based on the old version conflicts, is read again, and loses nothing.
  store.set(route("more", [1, 1]));
  await pass(10);
  const repaired = cluster.get(report);
  assert.deepEqual(
    resultsOf(repaired)
      .filter(({ policy }) => policy === "virtual-service-weights-not-100")
      .map(({ resources }) => resources[0].name),
    ["more", "web"],
  );
  assert.equal(repaired?.["metadata"].labels.team, "shop");
  cluster.remove(report);
  await pass(3_700);
  assert.equal(resultsOf(cluster.get(report)).length, resultsOf(repaired).length);
});

test("a report of the same name that Meshward does not own is left alone, and said", async (context) => {
  const { cluster, store, join, pass } = world(context);
  const foreign = { metadata: { name: "meshward", namespace: "shop" }, results: [{ policy: "theirs" }] };
  cluster.put(report, foreign);
  store.set(route("web", [90, 20]));
  const { lines } = join();
  await pass(4);
  assert.deepEqual(resultsOf(cluster.get(report)), foreign.results);
  assert.ok(lines.some(({ error }) => /exists and has not the label/.test(String(error))));
});

test("forbidden writes are said once, tried again, and lose nothing", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const replica = join();
  replica.fail = (request) => {
    if (request.verb === "create") throw forbidden(request);
  };
  await pass(30);
  assert.equal(cluster.get(report), undefined);
  const told = replica.lines.filter(({ msg }) => /cannot be written/.test(String(msg)));
  assert.equal(told.length, 1);
  assert.match(String(told[0]?.["error"]), /forbidden/);
  assert.match(
    await replica.metrics.text(),
    /meshward_audit_report_writes_total\{group="openreports.io",result="failed"\} [1-9]/,
  );
  replica.fail = undefined;
  await pass(400);
  assert.ok(resultsOf(cluster.get(report)).length > 0);
});

test("without definitions of reports, or with those of another version, that is said and nothing is written", async (context) => {
  const none = world(context, {});
  none.store.set(route("web", [90, 20]));
  const { lines } = none.join();
  await none.pass(3);
  assert.equal(writes(none.cluster), 0);
  assert.ok(lines.some(({ msg }) => /has no definitions of reports/.test(String(msg))));

  const older = world(context, { "wgpolicyk8s.io": ["v1alpha1"] });
  older.store.set(route("web", [90, 20]));
  const replica = older.join("wgpolicyk8s.io");
  await older.pass(3);
  assert.equal(writes(older.cluster), 0);
  assert.ok(
    replica.lines.some((line) => /of another version/.test(String(line["msg"])) && line["needed"] === "v1alpha2"),
  );
});

test("definitions of reports that come late are used within half a minute, and those that go are missed by nobody", async (context) => {
  const served: Record<string, readonly string[]> = {};
  const { cluster, store, join, pass } = world(context, served);
  store.set(route("web", [90, 20]));
  const { lines } = join();
  await pass(3);
  assert.equal(writes(cluster), 0);
  served["openreports.io"] = ["v1alpha1"];
  await pass(31);
  assert.ok(resultsOf(cluster.get(report)).length > 0);
  delete served["openreports.io"];
  served["wgpolicyk8s.io"] = ["v1alpha2"];
  await pass(301);
  assert.ok(resultsOf(cluster.get("policyreports/shop/meshward")).length > 0);
  const trouble = lines.filter(({ level, msg }) => level === "error" || /trying again/.test(String(msg)));
  assert.deepEqual(trouble, []);
});

test("a damaged report is repaired in time however often the mesh changes", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  store.set(namespace("other"));
  join();
  await pass(2);
  const found = cluster.get(report);
  cluster.put(report, { ...found, results: [] });
  for (let minute = 0; minute < 6; minute++) {
    store.set(route(`web-${minute}`, [90, 10], "other"));
    await pass(60);
  }
  assert.ok(resultsOf(cluster.get(report)).length > 0);
});

test("the chosen group is written; with all, both are; and what the choice leaves out is deleted", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(route("web", [90, 20]));
  const first = join("all");
  await pass(2);
  const policyReport = cluster.get("policyreports/shop/meshward");
  assert.ok(resultsOf(policyReport).length > 0);
  assert.equal(policyReport?.["source"], undefined);
  assert.deepEqual(resultsOf(cluster.get(report)), resultsOf(policyReport));
  await first.stop();
  join("wgpolicyk8s.io");
  await pass(2);
  assert.equal(cluster.get(report), undefined);
  assert.ok(cluster.get("policyreports/shop/meshward") !== undefined);
});

test("findings of namespaces without a report go to the report of the cluster", async (context) => {
  const { cluster, store, join, pass } = world(context);
  store.set(namespace("gone", { deletionTimestamp: "2026-01-01T00:00:00Z" }));
  store.set(route("web", [90, 20], "gone"));
  store.set(route("web", [90, 20], "implied"));
  join();
  await pass(2);
  const of = resultsOf(cluster.get("clusterreports//meshward")).map(({ resources }) => resources[0].namespace);
  assert.ok(of.includes("gone") && of.includes("implied"));
  assert.equal(cluster.get("reports/gone/meshward"), undefined);
});

test("very many findings are split over several reports, and the rest is counted by rule", async (context) => {
  const { cluster, store, join, pass, turns } = world(context);
  for (let i = 0; i < 2_600; i++) store.set(route(`web-${i}`, [90, 20]));
  join();
  await pass(2);
  for (let i = 0; i < 20; i++) await turns();
  const parts = ["", "-2", "-3", "-4"].map((suffix) => cluster.get(`reports/shop/meshward${suffix}`));
  assert.equal(cluster.get("reports/shop/meshward-5"), undefined);
  for (const part of parts) assert.ok(Buffer.byteLength(JSON.stringify(part)) < 1_000_000);
  const listed = parts.flatMap((part) => resultsOf(part));
  const summary = listed.filter(({ properties }) => properties.unlisted !== undefined);
  assert.ok(summary.length > 0);
  assert.match(
    String(summary[0]?.["message"]),
    /more findings? of this rule .* meshward audit --mesh cluster --namespace shop/,
  );
  const unlisted = summary.reduce((sum, { properties }) => sum + Number(properties.unlisted), 0);
  assert.equal(parts[0]?.["metadata"].annotations["meshward.io/unlisted-findings"], String(unlisted));
  const counted = listed.length - summary.length + unlisted;
  assert.ok(counted >= 2_600);
  for (let i = 0; i < 2_600; i++) store.delete("VirtualService", `shop/web-${i}`);
  await pass(15);
  for (const suffix of ["", "-2", "-3", "-4"]) assert.equal(cluster.get(`reports/shop/meshward${suffix}`), undefined);
});

test("accepted findings are skipped, with the exception; it ends when it expires", async (context) => {
  const { cluster, store, join, pass, setPolicies } = world(context);
  store.set(route("web", [90, 20]));
  const raw = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardException",
    metadata: { name: "legacy", namespace: "shop" },
    spec: {
      rules: ["virtual-service-weights-not-100"],
      reason: "old",
      owner: "ada",
      expiresAt: "2026-11-26T10:05:00Z",
    },
  };
  const { outcomes, events } = join();
  await pass(2);
  setPolicies(loadPolicies([{ raw, file: "e.yaml", locate: () => ({ line: 1, column: 1 }) }], rules).policies);
  await pass(2);
  assert.equal(outcomes.at(-1)?.trigger, "policies");
  const accepted = resultsOf(cluster.get(report)).find(({ policy }) => policy === "virtual-service-weights-not-100");
  assert.deepEqual(
    [accepted?.["result"], accepted?.["properties"].exception, accepted?.["properties"].exceptionOwner],
    ["skip", "MeshwardException shop/legacy", "ada"],
  );
  await pass(400);
  assert.equal(
    resultsOf(cluster.get(report)).find(({ policy }) => policy === "virtual-service-weights-not-100")?.["result"],
    "fail",
  );
  assert.deepEqual(events, []);
});

test("an audit that is interrupted publishes nothing, and the next one starts again", async (context) => {
  const { cluster, store, join, pass } = world(context);
  for (let i = 0; i < 300; i++) store.set(route(`web-${i}`, [90, 20]));
  const first = join();
  await first.stop();
  assert.equal(writes(cluster), 0);
  const second = join();
  await pass(3);
  assert.equal(second.outcomes[0]?.trigger, "start");
  assert.ok(resultsOf(cluster.get(report)).length >= 300);
  assert.doesNotMatch(await first.metrics.text(), /meshward_audit_findings\{/);
  assert.match(
    await second.metrics.text(),
    /meshward_audit_findings\{rule="virtual-service-weights-not-100",mode="deny",namespace="shop"\} 300/,
  );
});

test("other mesh settings are a new store, which is audited from the beginning", async (context) => {
  const { store, join, pass, setMesh } = world(context);
  store.set(route("web", [90, 20]));
  const { outcomes } = join();
  await pass(2);
  const next = new MeshStore({ ...defaultMeshSettings, rootNamespace: "mesh-root" });
  next.set(namespace("shop"));
  setMesh(next);
  await pass(2);
  assert.equal(outcomes.at(-1)?.trigger, "settings");
  assert.equal(outcomes.at(-1)?.rulings.length, 0);
});
