import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { bothSides, type LiveCluster, liveCluster, virtualService } from "./live-cluster.ts";
import { type Fault, type ListWatchServer, type RawObject, refuse } from "./list-watch-server.ts";
import { eventually } from "./manual-pace.ts";

const virtualServices = (server: ListWatchServer) =>
  server.serve("networking.istio.io/v1", "VirtualService", "virtualservices");

const configMap = (name: string, mesh: string, labels: Record<string, string> = {}): RawObject => ({
  metadata: { name, namespace: "istio-system", labels },
  data: { mesh },
});

/** A cluster with the VirtualServices a and b, loaded and watched. */
async function shop(context: TestContext, faults: readonly Fault[] = []): Promise<LiveCluster> {
  const live = await liveCluster(context, (server) => {
    virtualServices(server);
    server.apply("virtualservices", virtualService("a"));
    server.apply("virtualservices", virtualService("b"));
    server.faults.push(...faults);
  });
  return live;
}

async function watched(context: TestContext): Promise<LiveCluster> {
  const live = await shop(context);
  await live.watched();
  live.server.requests.length = 0;
  live.pace.delays.length = 0;
  return live;
}

/** The mesh follows again: a change that is made now arrives. */
async function follows(live: LiveCluster): Promise<void> {
  await live.until("watched again", () => live.server.watchersOf("virtualservices") === 1);
  live.server.apply("virtualservices", virtualService("last"));
  await eventually("the last change", () => live.cluster.mesh().find("VirtualService", "shop/last") !== undefined);
  sameAsServer(live);
}

function sameAsServer(live: LiveCluster): void {
  const [here, there] = bothSides(live, "virtualservices", "VirtualService");
  assert.deepEqual(here, there);
}

const answering =
  (short: string, status: number, headers: Record<string, string> = {}): Fault =>
  (request, response) => {
    if (request.short !== short) return false;
    refuse(response, status, `scripted ${status}`, headers);
    return true;
  };

const virtualServiceRequests = ({ server }: LiveCluster) =>
  server.short.filter((short) => short.endsWith(" virtualservices"));

describe("what is listed and watched", () => {
  test("a list, then a watch from its version with bookmarks; changes follow", async (context) => {
    const live = await shop(context);
    await live.ready();
    sameAsServer(live);
    const { server } = live;
    server.apply("virtualservices", virtualService("c"));
    server.apply("virtualservices", virtualService("a", "other"));
    server.delete("virtualservices", "shop/b");
    await eventually("the last change", () => live.cluster.mesh().find("VirtualService", "shop/b") === undefined);
    sameAsServer(live);
    const [list, watch] = server.requests.filter(({ path }) => path.endsWith("virtualservices"));
    assert.equal(list?.query.get("limit"), "100");
    assert.equal(list?.query.get("resourceVersion"), null);
    assert.equal(watch?.query.get("allowWatchBookmarks"), "true");
    assert.equal(watch?.query.get("resourceVersion"), "102");
    const seconds = Number(watch?.query.get("timeoutSeconds"));
    assert.ok(seconds >= 300 && seconds <= 450, String(seconds));
    assert.deepEqual(virtualServiceRequests(live), ["list virtualservices", "watch virtualservices"]);
    assert.equal(live.cluster.mesh().knowledge("VirtualService"), "complete");
  });

  test("pages of at most 500, and smaller ones where objects are big", async (context) => {
    const live = await liveCluster(
      context,
      (server) => {
        virtualServices(server);
        server.serve("v1", "Service", "services");
        for (let i = 0; i < 1_300; i++) server.apply("virtualservices", virtualService(`v${i}`));
        for (let i = 0; i < 200; i++)
          server.apply("services", {
            metadata: { name: `s${i}`, namespace: "shop", annotations: { big: "x".repeat(10_000) } },
          });
      },
      { kinds: ["VirtualService", "Service"] },
    );
    await live.ready();
    sameAsServer(live);
    const limits = (plural: string) =>
      live.server.requests.flatMap(({ short, query }) =>
        short === `list ${plural}` ? [Number(query.get("limit"))] : [],
      );
    assert.deepEqual(limits("virtualservices"), [100, 500, 500, 500]);
    assert.equal(limits("services")[0], 100);
    assert.ok((limits("services")[1] ?? 500) <= 104, "pages follow the size of objects");
    assert.equal(live.cluster.mesh().count("Service"), 200);
  });

  test("the newest version that is served", async (context) => {
    const live = await liveCluster(context, (server) => {
      server.serve("networking.istio.io/v1beta1", "VirtualService", "virtualservices");
      server.apply("virtualservices", virtualService("a"));
    });
    await live.ready();
    sameAsServer(live);
    await eventually("watched", () => live.server.watchersOf("virtualservices") === 1);
    const paths = live.server.requests.map(({ path }) => path).filter((path) => path.endsWith("virtualservices"));
    assert.deepEqual(
      paths.map((path) => path.split("/")[3]),
      ["v1", "v1beta1", "v1beta1"],
    );
  });

  test("all kinds of workloads; what another one made is left out; an orphan counts", async (context) => {
    const owned = (name: string) => ({
      metadata: {
        name,
        namespace: "shop",
        ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name: "shop", controller: true }],
      },
    });
    const live = await liveCluster(
      context,
      (server) => {
        for (const [version, kind, plural] of [
          ["apps/v1", "Deployment", "deployments"],
          ["apps/v1", "ReplicaSet", "replicasets"],
          ["v1", "Pod", "pods"],
        ] as const)
          server.serve(version, kind, plural);
        server.apply("deployments", { metadata: { name: "shop", namespace: "shop" } });
        server.apply("replicasets", owned("shop"));
        server.apply("pods", { metadata: { name: "shop", namespace: "shop" } });
      },
      { kinds: ["Workload"] },
    );
    await live.ready();
    const names = () => [...live.cluster.mesh().all("Workload")].map(({ originKind }) => originKind).sort();
    assert.deepEqual(names(), ["Deployment", "Pod"]);
    assert.equal(live.cluster.mesh().knowledge("Workload"), "complete");
    await eventually(
      "watched",
      () => live.server.watchersOf("replicasets") === 1 && live.server.watchersOf("pods") === 1,
    );
    live.server.apply("replicasets", { metadata: { name: "shop", namespace: "shop" } });
    await eventually("the orphan", () => names().length === 3);
    live.server.delete("pods", "shop/shop");
    await eventually("the pod is gone", () => names().length === 2);
    assert.deepEqual(names(), ["Deployment", "ReplicaSet"]);
  });

  test("requests share connections", async (context) => {
    const live = await watched(context);
    for (let i = 0; i < 20; i++)
      await live.cluster.liveRead([{ absent: "VirtualService", namespace: "shop", name: "x" }], 5_000);
    assert.equal(live.server.count("get virtualservices"), 20);
    // Three watches, and what asks besides.
    assert.ok(live.server.connections <= 6, String(live.server.connections));
  });

  test("closing ends every watch and leaves no connection", async (context) => {
    const live = await watched(context);
    await live.cluster.close();
    live.connection.close();
    await eventually("no connection", () => live.server.sockets.size === 0);
    const before = live.server.requests.length;
    live.pace.advance(600_000);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(live.server.requests.length, before);
    assert.equal(live.pace.pending, 0);
  });
});

describe("faults", () => {
  test("a watch that is cut in the middle of a line goes on from the last whole event", async (context) => {
    const live = await watched(context);
    const { metadata } = live.server.apply("virtualservices", virtualService("c"));
    await eventually("c", () => live.cluster.mesh().find("VirtualService", "shop/c") !== undefined);
    live.server.send("virtualservices", '{"type":"ADDED","object":{"metadata":{"name":"half","namespa');
    live.server.endWatches();
    await follows(live);
    const watch = live.server.requests.find(({ short }) => short === "watch virtualservices");
    assert.equal(watch?.query.get("resourceVersion"), metadata.resourceVersion);
    assert.equal(live.server.count("list virtualservices"), 0);
    assert.ok(live.pace.delays.includes(500), "the first attempt waits half a second");
  });

  test("a server that dies and comes back", async (context) => {
    const live = await watched(context);
    const url = new URL(live.server.url);
    await live.server.close();
    await live.until("delays that double", () => live.pace.delays.includes(12_000));
    assert.deepEqual(
      [...new Set(live.pace.delays.filter((ms) => ms !== 5_000 && ms < 30_000))],
      [500, 750, 1_500, 3_000, 6_000, 12_000],
    );
    assert.deepEqual(
      live.cluster.checks.map(({ problem }) => problem()),
      [undefined, undefined],
      "what was loaded stays, and stays ready",
    );
    await live.server.listen(Number(url.port));
    live.server.delete("virtualservices", "shop/a");
    await follows(live);
    const told = live.log.filter(({ msg, level }) => msg === "connection interrupted; retrying" && level === "warn");
    assert.equal(told.length, 1, "one line for all resources");
  });

  for (const goneBy of ["status", "event"] as const)
    test(`410 as ${goneBy}: a new list, in which nothing vanishes that is still there`, async (context) => {
      const live = await watched(context);
      const { server } = live;
      server.goneBy = goneBy;
      let release: () => void = () => undefined;
      server.faults.push(async (request) => {
        if (request.short !== "list virtualservices") return false;
        await new Promise<void>((resolve) => (release = resolve));
        return false;
      });
      server.muteWatches();
      server.apply("virtualservices", virtualService("c"));
      server.delete("virtualservices", "shop/a");
      server.compact();
      for (const socket of server.sockets) socket.destroy();
      await live.until("listed again", () => server.count("list virtualservices") === 1);
      const there = [...live.cluster.mesh().all("VirtualService")].map(({ metadata }) => metadata.name);
      assert.deepEqual(there.sort(), ["a", "b"], "what was there stays until the list is complete");
      assert.equal(live.cluster.mesh().knowledge("VirtualService"), "complete");
      const b = live.cluster.mesh().find("VirtualService", "shop/b");
      release();
      await follows(live);
      assert.equal(live.cluster.mesh().find("VirtualService", "shop/b"), b, "what did not change is the same object");
    });

  test("410 in the middle of a list starts it again", async (context) => {
    let isForgotten = false;
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      for (let i = 0; i < 250; i++) server.apply("virtualservices", virtualService(`v${i}`));
      server.faults.push((request) => {
        if (!request.query.has("continue")) return false;
        server.delete("virtualservices", "shop/v0");
        server.compact();
        isForgotten = true;
        return false;
      });
    });
    await eventually("forgotten", () => isForgotten);
    live.server.faults.length = 0;
    await live.until("ready", () => live.cluster.checks.every(({ problem }) => problem() === undefined));
    sameAsServer(live);
    assert.equal(live.cluster.mesh().count("VirtualService"), 249);
  });

  test("429 with Retry-After is kept to", async (context) => {
    const live = await shop(context, [answering("list virtualservices", 429, { "retry-after": "7" })]);
    await eventually("refused", () => live.pace.delays.includes(7_350));
    assert.match(live.cluster.checks[1]?.problem() ?? "", /virtualservices.networking.istio.io.*429: scripted 429/);
    live.pace.advance(7_000);
    assert.equal(live.server.count("list virtualservices"), 1);
    live.pace.advance(350);
    await live.ready();
    sameAsServer(live);
  });

  for (const status of [500, 503, 504])
    test(`${status} on list and watch: tried again, longer each time`, async (context) => {
      const live = await shop(context, [
        answering("list virtualservices", status),
        answering("list virtualservices", status),
        answering("watch virtualservices", status),
      ]);
      await live.until("ready", () => live.cluster.checks.every(({ problem }) => problem() === undefined));
      await follows(live);
      const backoffs = live.pace.delays.filter((ms) => [500, 750, 1_500].includes(ms));
      assert.deepEqual(backoffs, [500, 750, 1_500]);
    });

  test("a server that never accepts a watch is not asked in a loop, and listed again in between", async (context) => {
    const live = await shop(
      context,
      Array.from({ length: 6 }, () => answering("watch virtualservices", 500)),
    );
    await live.ready();
    await follows(live);
    assert.equal(live.server.count("watch virtualservices"), 7);
    assert.equal(live.server.count("list virtualservices"), 2);
  });

  test("a watch that ends at once is a failure", async (context) => {
    const ending: Fault = (request, response) => {
      if (request.short !== "watch virtualservices") return false;
      response.writeHead(200);
      response.end();
      return true;
    };
    const live = await shop(context, [ending, ending]);
    await live.ready();
    await follows(live);
    assert.deepEqual(live.pace.delays.filter((ms) => ms === 500 || ms === 750).slice(0, 2), [500, 750]);
  });

  test("a half-open connection: after 90 s without a byte the watch starts again where it was", async (context) => {
    const live = await watched(context);
    live.server.muteWatches();
    live.server.apply("virtualservices", virtualService("unheard"));
    live.pace.advance(89_000);
    assert.equal(live.server.count("watch virtualservices"), 0);
    live.pace.advance(1_000);
    await eventually("unheard", () => live.cluster.mesh().find("VirtualService", "shop/unheard") !== undefined);
    assert.equal(live.server.count("list virtualservices"), 0);
    assert.ok(!live.pace.delays.includes(500), "silence was long enough: no further wait");
    assert.deepEqual(new Set(live.restarts), new Set(["VirtualService silent", "MeshConfig silent"]));
    sameAsServer(live);
  });

  test("a server that sends nothing, because nothing changes, is no trouble that anybody is told of", async (context) => {
    const live = await watched(context);
    const before = live.log.length;
    for (let silence = 0; silence < 3; silence++) {
      live.pace.delays.length = 0;
      live.pace.advance(90_000);
      // VirtualServices and two resources of mesh settings.
      await eventually("opened again", () => live.pace.delays.filter((ms) => ms === 90_000).length === 3);
    }
    assert.deepEqual(
      live.log.slice(before).filter(({ level }) => level !== "debug"),
      [],
    );
    assert.equal(live.server.count("list virtualservices"), 0);
    assert.equal(live.restarts.filter((line) => line === "VirtualService silent").length, 3);
  });

  test("a connection that is silent and cannot be opened again is told", async (context) => {
    const live = await watched(context);
    live.server.faults.push(answering("watch virtualservices", 503));
    live.pace.advance(90_000);
    const isTold = () =>
      live.log.some(({ msg, kind }) => msg === "connection interrupted; retrying" && kind === "VirtualService");
    await eventually("told", isTold);
    await follows(live);
    assert.ok(live.restarts.includes("VirtualService silent") && live.restarts.length > 2);
  });

  test("a list that is never answered is given up", async (context) => {
    const live = await shop(context, [(request) => request.short === "list virtualservices"]);
    await eventually("asked", () => live.server.count("list virtualservices") === 1);
    await eventually("timed", () => live.pace.delays.includes(60_000));
    live.pace.advance(59_000);
    assert.equal(live.server.count("list virtualservices"), 1);
    live.pace.advance(1_000);
    await live.ready();
    sameAsServer(live);
  });

  test("a list that takes 20 s: not ready until it is there, and no second one", async (context) => {
    let release: () => void = () => undefined;
    const slow: Fault = async (request) => {
      if (request.short !== "list virtualservices") return false;
      await new Promise<void>((resolve) => (release = resolve));
      return false;
    };
    const live = await shop(context, [slow]);
    await eventually("asked", () => live.server.count("list virtualservices") === 1);
    live.pace.advance(20_000);
    assert.match(live.cluster.checks[1]?.problem() ?? "", /^not listed yet: virtualservices\.networking\.istio\.io$/);
    assert.equal(live.cluster.mesh().knowledge("VirtualService"), "unknown");
    release();
    await live.ready();
    assert.equal(live.server.count("list virtualservices"), 1);
    sameAsServer(live);
  });

  test("bookmarks move the position and count as life", async (context) => {
    const live = await watched(context);
    for (let i = 0; i < 4; i++) {
      live.pace.advance(60_000);
      live.server.bookmark();
      await eventually("heard", () => (live.cluster.freshness().at(-1)?.[1] ?? 60) < 60);
    }
    assert.equal(live.server.count("watch virtualservices"), 0, "no watchdog");
    live.server.compact();
    live.server.endWatches();
    await follows(live);
    assert.equal(live.server.count("list virtualservices"), 0, "resumed from the bookmark");
  });

  test("duplicated events and types that nobody knows change nothing", async (context) => {
    const live = await watched(context);
    const { server, cluster } = live;
    const b = cluster.mesh().find("VirtualService", "shop/b");
    const line = (type: string, name: string) =>
      `${JSON.stringify({ type, object: server.objects("virtualservices").find(({ metadata }) => metadata.name === name) })}\n`;
    server.send("virtualservices", line("ADDED", "b") + line("MODIFIED", "b") + line("RENAMED", "a"));
    await follows(live);
    assert.equal(cluster.mesh().find("VirtualService", "shop/b"), b);
    assert.deepEqual(virtualServiceRequests(live), []);
  });

  test("a line that is no JSON breaks the watch, not the process", async (context) => {
    const live = await watched(context);
    live.server.send("virtualservices", "<html>gateway timeout</html>\n");
    await live.until("asked again", () => live.server.count("watch virtualservices") === 1);
    assert.ok(live.log.some(({ reason }) => String(reason).includes("an event that is not JSON")));
    await follows(live);
  });

  test("events that come in pieces are put together", async (context) => {
    const live = await watched(context);
    const text = `${JSON.stringify({ type: "ADDED", object: { ...virtualService("ä-in-pieces"), metadata: { name: "ä", namespace: "shop", resourceVersion: "900" } } })}\n`;
    const bytes = Buffer.from(text);
    for (const { response } of live.server.watchers)
      for (let i = 0; i < bytes.length; i += 7) response.write(bytes.subarray(i, i + 7));
    await eventually("ä", () => live.cluster.mesh().find("VirtualService", "shop/ä") !== undefined);
    assert.deepEqual(virtualServiceRequests(live), []);
  });
});

describe("several resources", () => {
  test("one that reaches the server again calls the others back", async (context) => {
    const live = await watched(context);
    const url = new URL(live.server.url);
    await live.server.close();
    await live.until("long waits", () => live.pace.delays.filter((ms) => ms === 22_500).length === 3);
    await live.server.listen(Number(url.port));
    // The first of three waits is over; nothing else passes time.
    await live.until("one is back", () => live.server.watchers.size > 0);
    await eventually("all are back", () => live.server.watchers.size === 3);
    sameAsServer(live);
  });
});

describe("kinds that cannot be read", () => {
  test("a CRD that is absent: unknown, named, logged once, and known when it appears", async (context) => {
    const live = await liveCluster(context, () => undefined);
    await live.ready();
    const [, check] = live.cluster.checks;
    assert.equal(live.cluster.mesh().knowledge("VirtualService"), "unknown");
    assert.equal(check?.note(), "unknown, virtualservices.networking.istio.io absent");
    await live.until("looked again twice", () => live.server.count("list virtualservices") === 9);
    const told = live.log.filter(
      ({ msg, resource }) => String(msg).startsWith("resource is absent") && String(resource).startsWith("virtual"),
    );
    assert.equal(told.length, 1);
    virtualServices(live.server);
    live.server.apply("virtualservices", virtualService("a"));
    await live.until("known", () => live.cluster.mesh().knowledge("VirtualService") === "complete");
    sameAsServer(live);
    assert.equal(check?.note(), undefined);
  });

  test("403: unknown until it is granted", async (context) => {
    let isForbidden = true;
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      server.apply("virtualservices", virtualService("a"));
      const forbid: Fault = (request, response) => {
        if (!isForbidden || !request.short.endsWith("virtualservices")) return false;
        refuse(response, 403, 'virtualservices.networking.istio.io is forbidden: User "meshward" cannot list resource');
        server.faults.push(forbid);
        return true;
      };
      server.faults.push(forbid);
    });
    await live.ready();
    assert.equal(live.cluster.checks[1]?.note(), "unknown, virtualservices.networking.istio.io forbidden");
    const told = live.log.filter(
      ({ msg, resource }) => String(msg).startsWith("resource is forbidden") && String(resource).startsWith("virtual"),
    );
    assert.match(String(told[0]?.["reason"]), /cannot list resource; grant it the verbs get, list and watch/);
    isForbidden = false;
    await live.until("known", () => live.cluster.mesh().knowledge("VirtualService") === "complete");
    sameAsServer(live);
  });

  test("a CRD that is taken away while it is watched is believed only when it stays away", async (context) => {
    const live = await watched(context);
    live.server.stopServing("networking.istio.io/v1", "virtualservices");
    live.server.cutWatches();
    await live.until("asked once", () => live.server.count("list virtualservices") >= 1);
    assert.equal(live.cluster.mesh().count("VirtualService"), 2, "a server that starts says so too");
    await live.until("unknown", () => live.cluster.mesh().knowledge("VirtualService") === "unknown");
    assert.equal(live.cluster.mesh().count("VirtualService"), 0);
    virtualServices(live.server);
    await follows(live);
  });

  test("one kind of workload that may not be read makes workloads partial; one that is not served makes no difference", async (context) => {
    const live = await liveCluster(
      context,
      (server) => {
        server.serve("apps/v1", "Deployment", "deployments");
        server.faults.push(answering("list pods", 403));
      },
      { kinds: ["Workload"] },
    );
    await live.ready();
    assert.equal(live.cluster.mesh().knowledge("Workload"), "partial");
    assert.match(live.cluster.checks[1]?.note() ?? "", /^partial, .*rollouts\.argoproj\.io absent.*, pods forbidden$/);
    live.server.serve("v1", "Pod", "pods");
    await live.until("complete", () => live.cluster.mesh().knowledge("Workload") === "complete");
  });
});

describe("staleness", () => {
  test("a kind of which nothing is heard for too long only warns, and says so; hearing again mends it", async (context) => {
    const live = await watched(context);
    const url = new URL(live.server.url);
    await live.server.close();
    await live.until("stale", () => live.cluster.mesh().knowledge("VirtualService") === "partial", 1_000);
    assert.equal(live.cluster.isFresh("VirtualService"), false);
    const [kind, seconds] = live.cluster.freshness().at(-1) ?? [];
    assert.ok(kind === "VirtualService" && Number(seconds) > 300, String(seconds));
    assert.match(live.cluster.checks[1]?.note() ?? "", /stale: the API server has sent nothing for \d+ s/);
    assert.equal(live.cluster.checks[1]?.problem(), undefined);
    assert.equal(live.cluster.mesh().count("VirtualService"), 2);
    await live.server.listen(Number(url.port));
    await live.until("fresh", () => live.cluster.mesh().knowledge("VirtualService") === "complete");
    assert.ok(live.cluster.isFresh("VirtualService", 10_000));
  });
});

describe("a mesh that is held", () => {
  test("stays as it is; what happens meanwhile follows in order", async (context) => {
    const live = await watched(context);
    const release = live.cluster.hold();
    const second = live.cluster.hold();
    live.server.apply("virtualservices", virtualService("c"));
    live.server.delete("virtualservices", "shop/c");
    live.server.apply("virtualservices", virtualService("c", "again"));
    live.server.delete("virtualservices", "shop/a");
    live.server.apply("virtualservices", virtualService("last"));
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    release();
    release();
    assert.equal(live.cluster.mesh().count("VirtualService"), 2);
    second();
    await eventually("the last change", () => live.cluster.mesh().find("VirtualService", "shop/last") !== undefined);
    sameAsServer(live);
  });

  test("is not complete before the last object of a first list is in it", async (context) => {
    let release = () => {};
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      server.apply("virtualservices", virtualService("a"));
    });
    release = live.cluster.hold();
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    const [held] = [live.cluster.mesh().knowledge("VirtualService")];
    assert.equal(held === "complete", live.cluster.mesh().count("VirtualService") === 1);
    release();
    await live.ready();
    assert.deepEqual(
      [live.cluster.mesh().knowledge("VirtualService"), live.cluster.mesh().count("VirtualService")],
      ["complete", 1],
    );
  });
});

describe("mesh settings", () => {
  const config = (trustDomain: string) =>
    configMap("istio", `trustDomain: ${trustDomain}\nrootNamespace: istio-config\n`, { "istio.io/rev": "default" });

  test("come from the ConfigMap istio; a change rebuilds the store at once, with its indexes and what is known", async (context) => {
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      server.apply("virtualservices", virtualService("a"));
      server.apply("configmaps", config("one"));
      server.apply("configmaps", configMap("istio-canary", "", { "istio.io/rev": "canary" }));
      server.apply("configmaps", configMap("unrelated", "trustDomain: no"));
    });
    await live.ready();
    const first = live.cluster.mesh();
    assert.deepEqual(
      [first.settings.rootNamespace, first.settings.trustDomain, first.settings.revisions, first.settings.seen],
      ["istio-config", "one", ["canary", "default"], true],
    );
    await eventually("watched", () => live.server.watchersOf("configmaps") === 2);
    live.server.apply("configmaps", config("two"));
    await eventually("changed", () => live.cluster.mesh().settings.trustDomain === "two");
    assert.notEqual(live.cluster.mesh(), first);
    sameAsServer(live);
    live.server.delete("configmaps", "istio-system/istio-canary");
    await eventually("revision gone", () => live.cluster.mesh().settings.revisions.length === 1);
    await follows(live);
    assert.equal(live.cluster.mesh().knowledge("VirtualService"), "complete");
  });

  test("injectors and revision tags count; other webhooks and their changes rebuild nothing", async (context) => {
    const webhook = (name: string, labels: Record<string, string>): RawObject => ({ metadata: { name, labels } });
    const webhooks = "mutatingwebhookconfigurations";
    const live = await liveCluster(
      context,
      (server) => {
        server.serve("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", webhooks);
        server.apply("configmaps", config("one"));
        server.apply(webhooks, webhook("istio-sidecar-injector-canary", { "istio.io/rev": "canary" }));
        server.apply(webhooks, webhook("other", { "istio.io/rev": "other" }));
      },
      { kinds: ["AdmissionWebhook"] },
    );
    await live.ready();
    const settings = () => live.cluster.mesh().settings;
    await eventually("injector", () => settings().revisions.join() === "canary,default");
    await eventually("watched", () => live.server.watchersOf(webhooks) === 1);
    live.server.apply(
      webhooks,
      webhook("istio-revision-tag-prod", { "istio.io/rev": "canary", "istio.io/tag": "prod" }),
    );
    await eventually("tag", () => settings().tags["prod"] === "canary");
    const before = live.cluster.mesh();
    live.server.apply(webhooks, webhook("another", {}));
    await eventually(
      "another",
      () => live.cluster.mesh().find("AdmissionWebhook", "/MutatingWebhookConfiguration/another") !== undefined,
    );
    assert.equal(live.cluster.mesh(), before);
    live.server.apply(
      webhooks,
      webhook("istio-revision-tag-prod", { "istio.io/rev": "default", "istio.io/tag": "prod" }),
    );
    await eventually("moved", () => settings().tags["prod"] === "default");
    live.server.apply(webhooks, webhook("istio-revision-tag-prod", {}));
    await eventually("no tag any more", () => settings().tags["prod"] === undefined);
    live.server.delete(webhooks, "/istio-sidecar-injector-canary");
    await eventually("injector gone", () => settings().revisions.join() === "default");
  });

  test("a rebuild gives way to others, with the old settings until it is done, and loses nothing that changes meanwhile", async (context) => {
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      for (let i = 0; i < 2_000; i++) server.apply("virtualservices", virtualService(`x${i}`));
      server.apply("configmaps", config("one"));
    });
    await live.ready();
    assert.equal(live.cluster.mesh().settings.trustDomain, "one");
    await eventually("watched", () => live.server.watchersOf("virtualservices") === 1);
    await eventually("watched", () => live.server.watchersOf("configmaps") === 2);
    const first = live.cluster.mesh();
    live.server.apply("configmaps", config("two"));
    let turns = 0;
    const seen = new Set<string>();
    for (; live.cluster.mesh() === first && turns < 100_000; turns++) {
      if (turns === 1) {
        live.server.apply("virtualservices", virtualService("late"));
        live.server.apply("virtualservices", virtualService("x1", "changed"));
        live.server.delete("virtualservices", "shop/x1999");
      }
      seen.add(live.cluster.mesh().settings.trustDomain);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual([...seen], ["one"]);
    assert.equal(live.cluster.mesh().settings.trustDomain, "two");
    await eventually("late", () => live.cluster.mesh().find("VirtualService", "shop/late") !== undefined);
    await eventually("gone", () => live.cluster.mesh().find("VirtualService", "shop/x1999") === undefined);
    sameAsServer(live);
  });

  test("no other ConfigMap is asked for", async (context) => {
    const live = await watched(context);
    live.server.cutWatches();
    await live.until("watched again", () => live.server.watchersOf("configmaps") === 2);
    const asked = live.server.requests.filter(({ path }) => path.endsWith("configmaps"));
    assert.ok(asked.length > 0);
    for (const { path, query } of asked) {
      assert.equal(path, "/api/v1/namespaces/istio-system/configmaps");
      assert.ok(query.get("fieldSelector") === "metadata.name=istio" || query.get("labelSelector") === "istio.io/rev");
    }
  });
});

describe("credentials", () => {
  test("401: the token is read again, and tried again at once", async (context) => {
    const { mkdtempSync, rmSync, writeFileSync } = await import("node:fs");
    const { join } = await import("node:path");
    const folder = mkdtempSync(join((await import("node:os")).tmpdir(), "meshward-token-"));
    context.after(() => rmSync(folder, { recursive: true }));
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "first\n");
    const live = await liveCluster(
      context,
      (server) => {
        virtualServices(server);
        server.apply("virtualservices", virtualService("a"));
        server.token = "first";
      },
      { user: { tokenFile } },
    );
    await live.ready();
    await eventually("watched", () => live.server.watchersOf("virtualservices") === 1);
    live.server.token = "second";
    writeFileSync(tokenFile, "second\n");
    live.server.cutWatches();
    await follows(live);
    const tokens = live.server.requests
      .filter(({ path }) => path.endsWith("virtualservices"))
      .map((one) => one.authorization);
    assert.deepEqual(tokens, ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]);
    assert.ok(
      !live.log.some((line) => JSON.stringify(line).includes("Bearer") || JSON.stringify(line).includes('"second"')),
    );
  });

  test("401 that stays: not ready, with the reason, tried again", async (context) => {
    const live = await liveCluster(context, (server) => {
      virtualServices(server);
      server.token = "good";
    });
    await live.until("tried again", () => live.server.count("list virtualservices") >= 4);
    assert.match(live.cluster.checks[1]?.problem() ?? "", /answered 401: Unauthorized; the credentials have expired/);
    live.server.token = undefined;
    await live.until("ready", () => live.cluster.checks.every(({ problem }) => problem() === undefined));
  });
});
