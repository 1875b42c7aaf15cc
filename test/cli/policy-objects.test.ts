import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { followPolicies } from "../../src/cli/followed-policies.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { connectToCluster } from "../../src/sources/cluster/connection.ts";
import { type Pace, systemPace } from "../../src/sources/cluster/pace.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { systemClock } from "../../src/tls/clock.ts";
import { ListWatchServer, type RawObject } from "../sources/cluster/list-watch-server.ts";
import { kubeconfigFor } from "../sources/cluster/live-cluster.ts";
import { eventually } from "../sources/cluster/manual-pace.ts";

const apiVersion = "meshward.io/v1alpha1";
let generation = 0;
const policy = (name: string, spec: object): RawObject => ({
  metadata: { name, uid: `uid-${name}`, generation: ++generation },
  spec,
});
const protecting = (...names: readonly string[]) => ({ protectedNamespaces: { names } });
const exception = (name: string, spec: object = {}): RawObject => ({
  metadata: { name, namespace: "shop", uid: `uid-${name}`, generation: ++generation },
  spec: { rules: ["object-malformed"], reason: "r", owner: "o", expiresAt: "2099-01-01", ...spec },
});

/** Waits of seconds before a server is asked again, in a twentieth of the time. */
const faster: Pace = {
  ...systemPace,
  now: () => systemPace.now() * 20,
  after: (delayMs, task) => systemPace.after(delayMs / 20, task),
};

/** Policies that follow a cluster, in which both kinds are served. */
async function following(context: TestContext, isServed = true) {
  const server = new ListWatchServer();
  const url = await server.listen();
  context.after(() => server.close());
  const define = () => {
    server.serve(apiVersion, "MeshwardPolicy", "meshwardpolicies");
    server.serve(apiVersion, "MeshwardException", "meshwardexceptions");
  };
  if (isServed) define();
  const connection = await connectToCluster({ kubeconfig: kubeconfigFor(context, url), env: {} });
  context.after(() => connection.close());
  const lines: Record<string, unknown>[] = [];
  const log = createLog("info", (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  const metrics = createMetrics({ processMetrics: false });
  const options = { profile: "baseline" };
  const cluster = { connection, pace: faster };
  const start = await policiesOf(options);
  const followed = followPolicies(options, start, { log, metrics, clock: systemClock, cluster });
  context.after(() => followed.close());
  const check = () => followed.checks.find(({ name }) => name === "policies of the cluster");
  const said = (text: RegExp) => lines.filter(({ msg }) => text.test(String(msg)));
  const isProtected = (name: string) => followed.current().protectsByName(name);
  return { server, followed, lines, metrics, define, check, said, isProtected };
}

const limit = { timeout: 60_000 };

test(
  "objects of the cluster take effect, change and end; the server is ready when they were listed",
  limit,
  async (context) => {
    const it = await following(context);
    assert.match(it.check()?.problem() ?? "", /not listed yet: meshwardpolicies\.meshward\.io/);
    await eventually("ready", () => it.check()?.problem() === undefined);
    it.server.apply("meshwardpolicies", policy("a", protecting("shop")));
    await eventually("in force", () => it.isProtected("shop"));
    it.server.apply("meshwardpolicies", policy("a", protecting("bank")));
    await eventually("changed", () => it.isProtected("bank") && !it.isProtected("shop"));
    it.server.apply("meshwardexceptions", exception("e"));
    await eventually("exception", () => it.followed.current().exceptions.length === 1);
    it.server.delete("meshwardpolicies", "/a");
    await eventually("deleted", () => !it.isProtected("bank"));
    assert.match(String(it.said(/protect less/).at(-1)?.["lost"]), /namespaces named bank are no longer protected/);
    assert.equal(it.check()?.note?.(), undefined);
  },
);

test(
  "an invalid object stays in its last valid generation, others change, and its mending is said",
  limit,
  async (context) => {
    const it = await following(context);
    it.server.apply("meshwardpolicies", policy("a", protecting("shop")));
    await eventually("in force", () => it.isProtected("shop"));
    it.server.apply("meshwardpolicies", policy("a", { protectedNamespace: { names: ["bank"] } }));
    await eventually("reported", () => it.said(/invalid; its last valid generation stays in force/).length === 1);
    it.server.apply("meshwardexceptions", exception("typo", { rules: ["object-malfromed"] }));
    await eventually("reported too", () => it.said(/invalid; it has no effect/).length === 1);
    it.server.apply("meshwardpolicies", policy("b", protecting("vault")));
    await eventually("others", () => it.isProtected("vault"));
    assert.ok(it.isProtected("shop"));
    assert.match(
      it.check()?.note?.() ?? "",
      /MeshwardPolicy a: spec\.protectedNamespace: .*did you mean "protectedNamespaces"/,
    );
    assert.match(it.check()?.note?.() ?? "", /MeshwardException shop\/typo: .*did you mean "object-malformed"/);
    assert.match(await it.metrics.text(), /^meshward_policy_objects\{state="broken"\} 2$/m);
    assert.deepEqual(
      it.followed
        .objects()
        ?.map(({ object, inForce, problem }) => [object.name, inForce !== undefined, problem !== undefined]),
      [
        ["a", true, true],
        ["b", true, false],
        ["typo", false, true],
      ],
    );

    it.server.apply("meshwardpolicies", policy("a", protecting("bank")));
    await eventually("mended", () => it.isProtected("bank") && !it.isProtected("shop"));
    assert.deepEqual(
      it.said(/is valid again/).map(({ document }) => document),
      ["MeshwardPolicy a"],
    );
    it.server.delete("meshwardexceptions", "shop/typo");
    await eventually("gone", () => it.said(/invalid policy object is gone/).length === 1);
    assert.match(await it.metrics.text(), /^meshward_policy_objects\{state="broken"\} 0$/m);
  },
);

test(
  "without definitions there are no documents, and the server is ready; they count when they come",
  limit,
  async (context) => {
    const it = await following(context, false);
    await eventually("ready", () => it.check()?.problem() === undefined);
    assert.match(it.check()?.note?.() ?? "", /meshwardpolicies\.meshward\.io absent/);
    assert.equal(it.said(/definition is not installed/).length, 2);
    it.define();
    it.server.apply("meshwardpolicies", policy("a", protecting("shop")));
    await eventually("in force", () => it.isProtected("shop"));
  },
);

test("when the definitions are removed, the last policies stay in force", limit, async (context) => {
  const it = await following(context);
  it.server.apply("meshwardpolicies", policy("a", protecting("shop")));
  await eventually("in force", () => it.isProtected("shop"));
  it.server.stopServing(apiVersion, "meshwardpolicies");
  it.server.endWatches();
  await eventually("absent", () => /absent/.test(it.check()?.note?.() ?? ""));
  await later(200);
  assert.ok(it.isProtected("shop"));
});

test("status updates change nothing", limit, async (context) => {
  const it = await following(context);
  const object = policy("a", protecting("shop"));
  it.server.apply("meshwardpolicies", object);
  await eventually("in force", () => it.isProtected("shop"));
  const before = it.followed.current();
  it.server.apply("meshwardpolicies", { ...object, status: { observedGeneration: 1 } });
  await eventually("seen", () => it.followed.objects()?.[0]?.object.status !== undefined);
  assert.equal(it.followed.current(), before);
});
