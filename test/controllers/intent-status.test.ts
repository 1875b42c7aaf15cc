import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { AuditOutcome, AuditTrigger } from "../../src/controllers/background-audit.ts";
import { IntentStatusWriter } from "../../src/controllers/intent-status.ts";
import { audit } from "../../src/engine/audit.ts";
import type { RuleError, Skip } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { rulingsOf } from "../../src/engine/ruling.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { intentInvalid } from "../../src/rules/intent/invalid.ts";
import { intentNotHeld } from "../../src/rules/intent/not-held.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { changes, intents, type Raw, world } from "../intents/story.ts";
import { ManualPace } from "../sources/cluster/manual-pace.ts";
import { MemoryCluster, refusal, type SeenRequest } from "./memory-cluster.ts";

// Whether an intent holds, as the status of its object says it, and that nothing is written without need.

const ofIntents = rules.filter(({ id }) => id.startsWith("intent-"));
const [ofPayments, ofLedger, ofPlatform] = intents as readonly [Raw, Raw, Raw];
const allowWeb = changes[0]?.breaking as Raw;
const keyOf = ({ metadata }: Raw) => `meshwardintents/${metadata.namespace}/${metadata.name}`;

const writers: IntentStatusWriter[] = [];
afterEach(async () => {
  await Promise.all(writers.splice(0).map((writer) => writer.close()));
});

/** A cluster with the story of payments and these intents, and a replica that audits it. */
class World {
  readonly cluster = new MemoryCluster();
  readonly pace = new ManualPace();
  readonly lines: Raw[] = [];
  readonly writer: IntentStatusWriter;
  readonly #objects = new Map<string, Raw>();
  policies: readonly Raw[] = [];

  constructor(given: readonly Raw[], before: (request: SeenRequest) => void = () => undefined) {
    for (const raw of world) this.apply(raw);
    for (const raw of given) this.put(raw);
    this.writer = new IntentStatusWriter({
      connection: this.cluster.connect(before),
      rules: { invalid: intentInvalid, notHeld: intentNotHeld },
      log: createLog("info", (line) => void this.lines.push(JSON.parse(line) as Raw)),
      pace: this.pace,
      now: () => new Date(Date.parse("2026-11-26T12:00:00Z") + this.pace.now()),
    });
    writers.push(this.writer);
    this.writer.lead(true);
  }

  apply(raw: Raw): void {
    this.#objects.set(`${raw["kind"]} ${raw["metadata"].namespace}/${raw["metadata"].name}`, raw);
  }
  /** Creates an intent, or writes its next generation. */
  put(raw: Raw): void {
    const generation = (this.cluster.get(keyOf(raw))?.["metadata"].generation ?? 0) + 1;
    const status = this.cluster.get(keyOf(raw))?.["status"];
    this.cluster.put(keyOf(raw), { ...raw, metadata: { ...raw["metadata"], generation }, ...(status && { status }) });
    this.apply(this.cluster.get(keyOf(raw)) as Raw);
  }
  outcome(trigger: AuditTrigger): AuditOutcome {
    const read = [...this.#objects.values()].flatMap((raw): readonly AnyObject[] => {
      const object = readAny(raw);
      return object === undefined ? [] : [object];
    });
    const mesh = new MeshStore(meshSettingsOf(read));
    for (const object of read) mesh.set(object);
    const { policies, errors } = loadPolicies(
      this.policies.map((raw) => ({ raw, file: "a", locate: () => ({ line: 0, column: 0 }) })),
      rules,
    );
    assert.deepEqual(errors, []);
    const selection = selectionOf(policies);
    const found = [...audit(ofIntents, mesh, selection)];
    const findings = found.filter((one): one is Finding => "message" in one);
    return {
      ...{ trigger, mesh, policies, atMs: 0, evaluations: 1, durationMs: 0 },
      guesses: [],
      skipped: found.filter((one): one is Skip => "unknown" in one),
      errors: found.filter((one): one is RuleError => "error" in one),
      rulings: rulingsOf(findings, { after: mesh, exceptionFor: selection.exceptionFor }),
    };
  }
  async audit(trigger: AuditTrigger = "change"): Promise<void> {
    await this.writer.audited(this.outcome(trigger), () => nextTurn());
    await this.pass(1);
  }
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.pace.advance(1_000);
      for (let i = 0; i < 40; i++) await nextTurn();
    }
  }
  requests(verb: string): number {
    return this.cluster.requests.filter((one) => one.verb === verb).length;
  }
  held(raw: Raw): Raw {
    const [condition, ...more] = (this.cluster.get(keyOf(raw)) as Raw)["status"].conditions as readonly Raw[];
    assert.deepEqual([condition?.["type"], more], ["Held", []]);
    return condition as Raw;
  }
  said(raw: Raw): string {
    const { status, reason } = this.held(raw);
    return `${status} ${reason}`;
  }
}

const changed = (raw: Raw, requests: readonly Raw[]): Raw => ({ ...raw, spec: { ...raw["spec"], requests } });

describe("what the condition Held says", () => {
  test("that intents hold, those of the root namespace too", async () => {
    const cluster = new World(intents);
    await cluster.audit("start");
    for (const one of intents) assert.equal(cluster.said(one), "True Held");
    assert.deepEqual(cluster.cluster.get(keyOf(ofPayments))?.["status"], {
      observedGeneration: 1,
      conditions: [
        {
          ...{ type: "Held", status: "True", reason: "Held", message: "Every entry holds.", observedGeneration: 1 },
          lastTransitionTime: "2026-11-26T12:00:02Z",
        },
      ],
    });
  });

  test("a request that shows that one does not hold, and since when", async () => {
    const cluster = new World([ofPayments]);
    await cluster.audit("start");
    cluster.apply(allowWeb);
    await cluster.pass(10);
    await cluster.audit();
    const condition = cluster.held(ofPayments);
    assert.equal(
      condition["message"],
      "spec.requests[1]: Requests from others must be denied: GET / from namespace web is allowed, by AuthorizationPolicy payments/allow-web rule 1.",
    );
    assert.deepEqual(
      [condition["status"], condition["reason"], condition["lastTransitionTime"]],
      ["False", "NotHeld", "2026-11-26T12:00:13Z"],
    );
  });

  test("the namespace in which one of the root namespace does not hold", async () => {
    const cluster = new World([ofPlatform]);
    cluster.apply({ ...world[0], metadata: { name: "payments", labels: { tier: "restricted" } } });
    await cluster.audit("start");
    assert.equal(cluster.said(ofPlatform), "False NotHeld");
    assert.match(cluster.held(ofPlatform)["message"], /^Namespace payments: .*outside must be denied/);
  });

  test("what cannot be decided is neither", async () => {
    const cluster = new World([changed(ofPayments, [{ from: ["deployment/web/none"], expect: "denied" }])]);
    await cluster.audit("start");
    assert.equal(cluster.said(ofPayments), "Unknown Undecided");
    assert.match(cluster.held(ofPayments)["message"], /deployment\/web\/none is not known/);
  });

  test("an intent that contradicts itself", async () => {
    const cluster = new World([
      changed(ofPayments, [
        { from: ["mesh"], expect: "denied" },
        { from: ["namespace/web"], expect: "allowed" },
      ]),
    ]);
    await cluster.audit("start");
    assert.equal(cluster.said(ofPayments), "False Invalid");
    assert.match(cluster.held(ofPayments)["message"], /both claim GET \/ from namespace\/web/);
  });

  test("a field of a wrong type is never a kept intent", async () => {
    const cluster = new World([{ ...ofPayments, spec: { ...ofPayments["spec"], requests: "all" } }]);
    await cluster.audit("start");
    assert.equal(cluster.said(ofPayments), "False Invalid");
  });

  test("a rule that policies turn off says nothing", async () => {
    const off = (match: Raw) => ({
      ...{ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardPolicy", metadata: { name: "quiet" } },
      spec: { match, rules: [{ id: "intent-not-held", mode: "off" }] },
    });
    const cluster = new World(intents);
    cluster.policies = [off({ namespaces: { names: ["payments"] } })];
    await cluster.audit("start");
    assert.equal(cluster.said(ofPayments), "Unknown NotAudited");
    assert.match(cluster.held(ofPayments)["message"], /^MeshwardPolicy quiet turns the rule intent-not-held off\.$/);
    assert.equal(cluster.said(ofLedger), "True Held");
    // It is about the namespace payments among others.
    assert.equal(cluster.said(ofPlatform), "Unknown NotAudited");
    assert.match(cluster.held(ofPlatform)["message"], /^Namespace payments: MeshwardPolicy quiet/);
  });
});

describe("writes", () => {
  test("nothing while nothing changes, and nothing for intents in files", async () => {
    const cluster = new World([ofPayments]);
    cluster.apply(ofLedger);
    await cluster.audit("start");
    assert.deepEqual([cluster.requests("list"), cluster.requests("patch")], [1, 1]);
    for (let i = 0; i < 5; i++) await cluster.audit();
    assert.deepEqual([cluster.requests("list"), cluster.requests("get"), cluster.requests("patch")], [1, 0, 1]);
    await cluster.audit("interval");
    await cluster.pass(120);
    assert.deepEqual([cluster.requests("list"), cluster.requests("get"), cluster.requests("patch")], [2, 0, 1]);
    assert.equal(cluster.cluster.get(keyOf(ofLedger)), undefined);
  });

  test("no request at all in a cluster without intents", async () => {
    const cluster = new World([]);
    await cluster.audit("start");
    await cluster.pass(60);
    assert.deepEqual(cluster.cluster.requests, []);
  });

  test("the generation that was audited, and only of what was audited", async () => {
    const cluster = new World([ofPayments]);
    await cluster.audit("start");
    const earlier = cluster.outcome("change");
    cluster.put(changed(ofPayments, ofPayments["spec"].requests.slice(0, 2)));
    await cluster.writer.audited(earlier, () => nextTurn());
    await cluster.pass(2);
    assert.equal(cluster.held(ofPayments)["observedGeneration"], 1);
    await cluster.audit();
    const { observedGeneration, lastTransitionTime } = cluster.held(ofPayments);
    assert.deepEqual([observedGeneration, lastTransitionTime], [2, "2026-11-26T12:00:02Z"]);
  });

  test("another message alone at most once a minute", async () => {
    const cluster = new World([ofPayments]);
    cluster.apply(allowWeb);
    await cluster.audit("start");
    const { message } = cluster.held(ofPayments);
    const methods = (method: string) => {
      const raw = structuredClone(allowWeb);
      raw["spec"].rules[0].to[0].operation.methods = [method];
      return raw;
    };
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      cluster.apply(methods(method));
      await cluster.audit();
      assert.equal(cluster.held(ofPayments)["message"], message);
    }
    await cluster.pass(80);
    assert.match(cluster.held(ofPayments)["message"], /PATCH \/ from namespace web is allowed/);
    assert.equal(cluster.requests("patch"), 2);
  });

  test("what somebody else wrote is corrected with the next whole audit", async () => {
    const cluster = new World([ofPayments]);
    await cluster.audit("start");
    const raw = cluster.cluster.get(keyOf(ofPayments)) as Raw;
    raw["status"].conditions[0].reason = "Trust me";
    cluster.cluster.put(keyOf(ofPayments), raw);
    await cluster.audit();
    assert.equal(cluster.said(ofPayments), "True Trust me");
    await cluster.audit("interval");
    assert.equal(cluster.said(ofPayments), "True Held");
  });

  test("a conflict is tried again, with what is stored then", async () => {
    let conflicts = 1;
    const cluster = new World([ofPayments], ({ verb }) => {
      if (verb === "patch" && conflicts-- > 0) throw refusal(409, "Conflict", "modified");
    });
    await cluster.audit("start");
    assert.equal(cluster.cluster.get(keyOf(ofPayments))?.["status"], undefined);
    await cluster.pass(25);
    assert.equal(cluster.said(ofPayments), "True Held");
    assert.deepEqual(cluster.lines, []);
  });

  test("an intent that is deleted meanwhile is no error", async () => {
    const cluster = new World([ofPayments, ofLedger]);
    await cluster.audit("start");
    cluster.apply(allowWeb);
    cluster.cluster.remove(keyOf(ofPayments));
    await cluster.audit();
    await cluster.pass(60);
    assert.deepEqual(cluster.lines, []);
    assert.equal(cluster.said(ofLedger), "True Held");
  });

  for (const [what, before, says] of [
    ["forbidden", () => refusal(403, "Forbidden", "no"), /may not|forbidden|no/i],
    ["a definition without a status", () => refusal(404, "NotFound", "no status"), /apply deploy\/crds/],
  ] as const)
    test(`${what}: one line in the log, and nothing more for ten minutes`, async () => {
      let isRefusing = true;
      const cluster = new World(intents, ({ verb }) => {
        if (verb === "patch" && isRefusing) throw before();
      });
      await cluster.audit("start");
      await cluster.pass(120);
      for (let i = 0; i < 3; i++) await cluster.audit();
      assert.deepEqual([cluster.requests("patch"), cluster.lines.length], [1, 1]);
      assert.match(cluster.lines[0]?.["error"], says);
      isRefusing = false;
      await cluster.pass(650);
      for (const one of intents) assert.equal(cluster.said(one), "True Held");
    });

  test("an API server that does not answer is tried again", async () => {
    let isDown = true;
    const cluster = new World([ofPayments], () => {
      if (isDown) throw refusal(503, "ServiceUnavailable", "down");
    });
    await cluster.audit("start");
    await cluster.pass(30);
    isDown = false;
    await cluster.pass(30);
    assert.equal(cluster.said(ofPayments), "True Held");
  });

  test("only the replica that leads writes", async () => {
    const cluster = new World([ofPayments]);
    cluster.writer.lead(false);
    await cluster.audit("start");
    await cluster.pass(60);
    assert.deepEqual(cluster.cluster.requests, []);
    cluster.writer.lead(true);
    await cluster.audit("start");
    assert.equal(cluster.said(ofPayments), "True Held");
  });
});
