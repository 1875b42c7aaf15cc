import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { allKinds } from "../../src/kube/kinds.ts";
import { resourcesOf } from "../../src/sources/cluster/resources.ts";
import { type AuditEvent, type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import {
  binaries,
  isDenied,
  manifest,
  namespace,
  policies,
  type Raw,
  skip,
  stored,
  virtualService,
} from "./environment.ts";
import { type Meshward, register, startMeshward, wayOut } from "./meshward.ts";
import { until } from "./program.ts";
import { canary, deployment, service, subsets } from "./workloads.ts";

// What breaks, and how long until it is right again. A control plane of its own: nobody else's tests survive this.

const here = "outages";

describe("outages", { skip }, () => {
  let plane: ControlPlane;
  let meshward: Meshward;
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), controllers: true });
    meshward = await startMeshward({ plane, policies });
  });
  after(async () => {
    await meshward?.stop();
    await plane?.close();
  });

  const send = (args: readonly string[], ...objects: readonly Raw[]): Promise<Output> =>
    plane.kubectl(args, { as: "tenant", ...(objects.length > 0 ? { input: manifest(...objects) } : {}) });
  const apply = (...objects: readonly Raw[]) => send(["apply", "-f", "-"], ...objects);
  const isSaid = ({ stderr }: Output, text: RegExp) => assert.match(stderr, text);
  async function passes(doing: Promise<Output>): Promise<void> {
    const { code, stderr } = await doing;
    assert.equal(code, 0, stderr);
  }

  let count = 0;
  /** A pair that Meshward knows by its watch alone: the subset of a new rule cannot be taken away while it is used. */
  async function isRight(): Promise<void> {
    const host = `shop-${++count}`;
    await passes(apply(subsets(here, host, "v1", "v2")));
    await passes(apply(canary(here, host, { v1: 90, v2: 10 })));
    await until("the subset to be kept", async () => {
      const output = await send(["apply", "--dry-run=server", "-f", "-"], subsets(here, host, "v1"));
      return /virtual-service-subset-not-found/.test(output.stderr) ? true : undefined;
    });
    isDenied(await apply(subsets(here, host, "v1")), /virtual-service-subset-not-found.*"v2"/);
  }
  /** Milliseconds until what is written is judged with what was written before. */
  async function untilRight(): Promise<number> {
    const start = performance.now();
    await until("writes to pass and be judged", async () => {
      const output = await send(["apply", "--dry-run=server", "-f", "-"], virtualService(here, "probe", [90, 20]));
      return output.stderr.includes("virtual-service-weights-not-100") ? true : undefined;
    });
    await isRight();
    return Math.round(performance.now() - start);
  }
  /** Watches that were begun since then and have not ended, by what they watch. */
  function openWatches(since: number): ReadonlyMap<string, number> {
    const events = plane
      .auditLog()
      .filter(
        ({ verb, requestReceivedTimestamp }) => verb === "watch" && Date.parse(requestReceivedTimestamp) >= since,
      );
    const ended = new Set(events.filter(({ stage }) => stage === "ResponseComplete").map(({ auditID }) => auditID));
    const open = events.filter(({ stage, auditID }) => stage === "RequestReceived" && !ended.has(auditID));
    const counts = new Map<string, number>();
    for (const { requestURI } of open) {
      const { pathname, searchParams } = new URL(requestURI, plane.url);
      const what = `${pathname}?${searchParams.get("fieldSelector") ?? searchParams.get("labelSelector") ?? ""}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    return counts;
  }
  /** How many resources are read with this path and selector: Istio's labelled ConfigMaps are of two kinds. */
  const readersOf = (what: string): number =>
    allKinds
      .flatMap((kind) => resourcesOf(kind))
      .filter(({ served: { group, plural }, selector }) => {
        const [text = ""] = Object.values(selector);
        return what.startsWith(group === "" ? "/api/" : `/apis/${group}/`) && what.endsWith(`/${plural}?${text}`);
      }).length;
  /** Each resource is watched as often as there are replicas, soon. */
  async function isWatchedBy(replicas: number, since: number): Promise<void> {
    await until("one watch for each resource and replica", () => {
      const counts = openWatches(since);
      if (![...counts.keys()].some((what) => what.includes("/virtualservices?"))) return undefined;
      const wrong = [...counts].filter(([what, open]) => open !== replicas * readersOf(what));
      if (wrong.length > 0) throw new Error(wrong.map(([what, open]) => `${what}: ${open}`).join(", "));
      return true;
    });
  }

  test("definitions that come after Meshward: ready without them, known soon, without a restart", async (t) => {
    await meshward.ready();
    assert.match((await meshward.ops("/readyz?verbose"))?.body ?? "", /virtualservices\.networking\.istio\.io absent/);
    await plane.define();
    const start = performance.now();
    await until(
      "the new kinds to be known",
      async () => {
        const answer = await meshward.ops("/readyz?verbose");
        return answer?.status === 200 && !/(?:istio|k8s)\.io absent/.test(answer.body) ? true : undefined;
      },
      { timeoutMs: 60_000 },
    );
    t.diagnostic(`known after ${Math.round(performance.now() - start)} ms`);
    await register(plane, meshward);
    await passes(apply(namespace(here), service(here, "shop"), deployment(here, "shop")));
    await isRight();
  });

  test("an allowed review asks nothing of the API server", async () => {
    // Every half a minute, Meshward looks whether the kinds that this API server does not serve have come.
    const isLookedFor = /^\/apis\/(?:argoproj|meshward)\.io\//;
    const isForReview = ({ verb, stage, requestURI }: AuditEvent) =>
      verb !== "watch" && stage === "RequestReceived" && !isLookedFor.test(requestURI);
    const asked = () => plane.auditLog().filter(isForReview);
    await passes(apply(virtualService(here, "quiet", [90, 10])));
    const before = asked().length;
    for (const weight of [20, 30, 40, 50]) await passes(apply(virtualService(here, "quiet", [100 - weight, weight])));
    assert.ok(before > 0, "the audit log holds nothing of Meshward");
    assert.deepEqual(
      asked()
        .slice(before)
        .map(({ verb, requestURI }) => `${verb} ${requestURI}`),
      [],
    );
  });

  test("an API server that restarts", async (t) => {
    const since = Date.now();
    await plane.restartApiServer();
    t.diagnostic(`right ${await untilRight()} ms after the API server was ready again`);
    await isWatchedBy(1, since);
    assert.equal((await meshward.ops("/readyz"))?.status, 200);
  });

  test("etcd that stops for ten seconds", async (t) => {
    plane.etcd.signal("SIGSTOP");
    const end = performance.now() + 10_000;
    await until("ten seconds to pass", () => (performance.now() > end ? true : undefined));
    assert.equal((await meshward.ops("/readyz"))?.status, 200, "an outage of others must not make it unready");
    plane.etcd.signal("SIGCONT");
    t.diagnostic(`right ${await untilRight()} ms after etcd went on`);
  });

  test("Meshward killed and started again", async (t) => {
    await meshward.kill();
    isSaid(
      await apply(virtualService(here, "unseen", [90, 20])),
      /failed calling webhook "mesh\.validate\.meshward\.io"/,
    );
    assert.equal(await stored(plane, "virtualservice", "unseen", here), undefined);
    const since = Date.now();
    const start = performance.now();
    await meshward.restart();
    await untilRight();
    t.diagnostic(`right ${Math.round(performance.now() - start)} ms after it was started`);
    await isWatchedBy(1, since);
  });

  test("two replicas deny and let pass alike, and either goes on alone", async () => {
    const other = await startMeshward({ plane, policies, name: "replica" });
    try {
      await other.ready();
      await register(plane, other);
      await isRight();
      await meshward.stop();
      await isRight();
      await meshward.restart();
      await register(plane, meshward);
      await isRight();
    } finally {
      await other.stop();
    }
    await isRight();
  });

  describe("Meshward down, where it fails closed", () => {
    before(async () => {
      await passes(apply(namespace("meshward-system"), namespace("outages-ended")));
      await meshward.stop();
    });
    const refused = /failed calling webhook "(mesh|namespace-labels)\.validate\.meshward\.io"/;

    test("what it guards is refused", async () => {
      isSaid(await apply(virtualService(here, "unseen", [90, 10])), refused);
      isSaid(await send(["label", "namespace", here, "meshward.io/protected=false"]), refused);
    });
    test("kube-system works", async () => {
      await passes(apply(deployment("kube-system", "dns"), service("kube-system", "dns")));
    });
    test("workloads and services work", async () => {
      await passes(apply(deployment(here, "more"), service(here, "more")));
      await passes(send(["--namespace", here, "delete", "deployment,service", "more"]));
    });
    test("namespaces are made, annotated and deleted", async () => {
      await passes(apply(namespace("outages-made")));
      await passes(send(["annotate", "namespace", "outages-made", "note=seen"]));
      await passes(send(["delete", "namespace", "outages-made", "outages-ended", "--timeout=120s"]));
    });
    test("Meshward's own namespace works, policies and labels too", async () => {
      await passes(send(["label", "namespace", "meshward-system", "team=platform"]));
      await passes(apply(deployment("meshward-system", "meshward"), service("meshward-system", "meshward")));
      await passes(apply(virtualService("meshward-system", "own", [90, 10])));
    });
    test("one command leads out, and the README has it", async () => {
      const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
      assert.ok(readme.includes(`kubectl ${wayOut.join(" ")}`), "the README does not say it");
      await passes(send(wayOut));
      await until("the API server to ask no more", async () =>
        (await apply(virtualService(here, "unseen", [90, 10]))).code === 0 ? true : undefined,
      );
    });
  });
});
