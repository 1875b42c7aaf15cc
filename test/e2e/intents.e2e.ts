import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { changes, intents, witness, world } from "../intents/story.ts";
import { first, intents as ofSteps, later, pairs, start } from "../intents/steps.ts";
import type { ControlPlane, Output } from "./control-plane.ts";
import { isDenied, isFree, isWarned, type Raw, send, skip, stored, succeeds } from "./environment.ts";
import type { Meshward } from "./meshward.ts";
import { until } from "./program.ts";
import { startWithIntents, type WithIntents } from "./with-intents.ts";

// Intents as objects of the real API server and in files of --policies: each kind of object can end one, and is denied.

const [ofPayments, ofLedger, ofPlatform] = intents as readonly [Raw, Raw, Raw];
const delay = { everyMs: 250 };

/** Each message about a broken intent is a line of kubectl's. */
function haveWitnesses({ stderr }: Output): void {
  const messages = stderr.split("\n").filter((line) => line.includes("intent-broken") && line.includes(" must be "));
  assert.notEqual(messages.length, 0, stderr);
  for (const message of messages) assert.match(message, witness);
}

describe("intents of the cluster", { skip }, () => {
  let started: WithIntents | undefined;
  let plane: ControlPlane;
  let meshward: Meshward;
  before(async () => {
    // The platform's intent is in a file, and no object of the cluster.
    started = await startWithIntents(world, { policies: [ofPlatform], args: ["--namespace", "meshward-system"] });
    ({ plane, meshward } = started);
  });
  after(() => started?.close());

  const apply = (object: Raw) => send(plane, ["apply", "-f", "-"], { objects: [object] });

  test("the definition completes and refuses", async () => {
    const typo = structuredClone(ofPayments);
    typo["spec"].requests[1].expct = "denied";
    assert.match((await apply(typo)).stderr, /unknown field "spec\.requests\[1\]\.expct"/);
    const wrong = structuredClone(ofPayments);
    wrong["spec"].requests[1].expect = "forbidden";
    assert.match((await apply(wrong)).stderr, /spec\.requests\[1\]\.expect: Unsupported value: "forbidden"/);
    const contradiction = structuredClone(ofPayments);
    contradiction["spec"].requests[1].from = ["mesh"];
    isDenied(await apply(contradiction), /intent-invalid.*contradicts another one.*both claim POST \/payments\//s);
  });

  test("an intent that never held warns when it is written, and one that holds does not", async () => {
    const never = structuredClone(ofPayments);
    never["metadata"].name = "never";
    never["spec"].requests = [{ from: ["namespace/web"], expect: "allowed" }];
    isWarned(await apply(never), /intent-not-held.*namespace\/web must be allowed: GET \/ from .* is denied/s);
    isWarned(await send(plane, ["delete", "mwi", "never", "-n", "payments"]), /namespace-intent-weakened/);
    for (const intent of [ofPayments, ofLedger]) {
      const { stderr } = await apply(intent);
      assert.doesNotMatch(stderr, /Warning|Error/, stderr);
    }
    const { stdout } = await succeeds(plane, ["get", "mwi", "-A"]);
    // The first audit may have written the status already.
    assert.match(stdout, /payments +payments-are-posted-by-orders +(True +Held +)?payments-api/);
  });

  test("the status says whether an intent holds, as kubectl shows it", async () => {
    const isHeld = (name: string, wanted: RegExp) =>
      until(
        `${name} to be ${wanted.source}`,
        async () => {
          const { stdout } = await send(plane, ["get", "mwi", name, "-n", "payments"]);
          return wanted.test(stdout) ? stdout : undefined;
        },
        delay,
      );
    const shown = await isHeld("payments-are-posted-by-orders", /True +Held +payments-api/);
    assert.match(shown, /^NAME +HELD +REASON +SERVICE +AGE\n/);
    const never = structuredClone(ofPayments);
    never["metadata"].name = "web-reads-refunds";
    never["spec"] = {
      to: { service: "refunds" },
      // Another service account than that of the storefront, which no policy lets in.
      requests: [{ from: ["serviceaccount/web/reader"], methods: ["GET"], expect: "allowed" }],
    };
    isWarned(await apply(never), /intent-not-held/);
    await isHeld("web-reads-refunds", /False +NotHeld/);
    const { status, metadata } = (await stored(plane, "mwi", "web-reads-refunds", "payments")) as Raw;
    const [condition] = status.conditions as readonly [Raw];
    assert.match(condition["message"], /GET \/ from service account web\/reader is denied, because no rule/);
    assert.deepEqual([status.observedGeneration, condition["observedGeneration"]], [1, metadata.generation]);
    // The harmless one of the AuthorizationPolicies lets the whole namespace in, at refunds.
    await succeeds(plane, ["apply", "-f", "-"], [changes[0]?.harmless as Raw]);
    await isHeld("web-reads-refunds", /True +Held/);
    // Nothing is written while nothing changes.
    const before = await stored(plane, "mwi", "web-reads-refunds", "payments");
    const audits = async () =>
      /^meshward_audit_duration_seconds_count\{trigger="change"\} (\d+)$/m.exec(
        (await meshward.ops("/metrics"))?.body ?? "",
      )?.[1];
    const earlier = await audits();
    await succeeds(plane, ["label", "namespace", "web", "team=web"], []);
    await until("another audit", async () => ((await audits()) === earlier ? undefined : true), delay);
    const after = await stored(plane, "mwi", "web-reads-refunds", "payments");
    assert.equal(after?.["metadata"].resourceVersion, before?.["metadata"].resourceVersion);
    await succeeds(plane, ["delete", "mwi", "web-reads-refunds", "-n", "payments"], []);
    await succeeds(plane, ["delete", "authorizationpolicy", "allow-web", "-n", "payments"], []);
  });

  for (const { kind, breaking, isDeletion, harmless, message } of changes)
    test(`${kind}: what ends an intent is denied, and its twin is not`, async () => {
      const { name, namespace: where } = breaking["metadata"];
      const change = () =>
        isDeletion ? send(plane, ["delete", breaking["kind"], name, "-n", where]) : apply(breaking);
      // The watch may not show the intents yet.
      const output = await until(
        "the change to be denied",
        async () => {
          const tried = await send(plane, ["apply", "--dry-run=server", "-f", "-"], { objects: [breaking] });
          return isDeletion || /intent-broken/.test(tried.stderr) ? change() : undefined;
        },
        delay,
      );
      isDenied(output, /intent-broken/);
      assert.match(output.stderr, message);
      haveWitnesses(output);
      await succeeds(plane, ["apply", "-f", "-"], [harmless]);
    });
});

describe("the steps of payments", { skip }, () => {
  let started: WithIntents;
  let plane: ControlPlane;
  before(async () => {
    started = await startWithIntents(start);
    ({ plane } = started);
  });
  after(() => started?.close());

  const apply = (objects: readonly Raw[]) => send(plane, ["apply", "-f", "-"], { objects });
  const isQuietAboutIntents = (output: Output) => isFree(output, /\[intent-/);

  test("are applied, and the intents as soon as they hold", async () => {
    for (const { objects } of first) isQuietAboutIntents(await apply(objects));
    await started.hold(ofSteps);
    isQuietAboutIntents(await apply(ofSteps));
    for (const { objects } of later) isQuietAboutIntents(await apply(objects));
  });

  for (const { kind, breaking, isDeletion, harmless, message } of pairs)
    test(`${kind}: ends an intent and is denied, and its twin is not`, async () => {
      const { name, namespace: where = "" } = breaking["metadata"];
      const change = () =>
        isDeletion ? send(plane, ["delete", breaking["kind"], name, "-n", where]) : apply([breaking]);
      const output = await change();
      isDenied(output, /intent-broken/);
      assert.match(output.stderr, message);
      haveWitnesses(output);
      isQuietAboutIntents(await apply([harmless]));
    });
});
