import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Kind } from "../../../src/kube/kinds.ts";
import type { Index } from "../../../src/view/view.ts";
import { ClusterMesh } from "../../../src/sources/cluster/live-mesh.ts";
import { type ClusterConnection, connectToCluster } from "../../../src/sources/cluster/connection.ts";
import { resourcesOf } from "../../../src/sources/cluster/resources.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ListWatchServer, type RawObject } from "./list-watch-server.ts";
import { eventually, ManualPace } from "./manual-pace.ts";

export interface LiveCluster {
  readonly server: ListWatchServer;
  readonly pace: ManualPace;
  readonly connection: ClusterConnection;
  readonly cluster: ClusterMesh;
  /** `VirtualService silent`: which kinds were listed or watched again so far, and why. */
  readonly restarts: readonly string[];
  /** Lines of the log so far. */
  readonly log: readonly Record<string, unknown>[];
  /** Lets time pass until it is true, with time for answers of the server after each step, of 0.1 s by default. */
  until(what: string, isTrue: () => boolean, stepMs?: number): Promise<void>;
  /** Waits until every kind is loaded or known to be missing. */
  ready(): Promise<void>;
  /** Waits until all that is served is watched: from then on nobody asks the server for anything before time passes. */
  watched(): Promise<void>;
}

/** A kubeconfig in a folder of its own. */
export function kubeconfigFor(test: TestContext, server: string, user: object = {}, cluster: object = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "meshward-cluster-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "config");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [{ name: "c", cluster: { server, ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "test", context: { cluster: "c", user: "u" } }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** A server, whatever `prepare` puts into it, and a mesh that follows it. Everything is closed when the test ends. */
export async function liveCluster(
  test: TestContext,
  prepare: (server: ListWatchServer) => void,
  options: { kinds?: readonly Kind[]; indexes?: readonly Index[]; user?: object; maxStalenessMs?: number } = {},
): Promise<LiveCluster> {
  const { kinds = ["VirtualService"], indexes = [], user = {}, ...others } = options;
  const server = new ListWatchServer();
  server.serve("v1", "ConfigMap", "configmaps");
  prepare(server);
  const kubeconfig = kubeconfigFor(test, await server.listen(), user);
  const connection = await connectToCluster({ kubeconfig, env: {} });
  const pace = new ManualPace();
  const log: Record<string, unknown>[] = [];
  const lines = createLog("debug", (line) => void log.push(JSON.parse(line) as Record<string, unknown>));
  const restarts: string[] = [];
  const observer = {
    listed: () => undefined,
    restarted: (kind: Kind, reason: string) => void restarts.push(`${kind} ${reason}`),
  };
  const cluster = new ClusterMesh({ connection, kinds, indexes, log: lines, pace, observer, ...others });
  test.after(async () => {
    await cluster.close();
    connection.close();
    await server.close();
  });
  const until = (what: string, isTrue: () => boolean, stepMs = 100) =>
    eventually(what, () => {
      if (isTrue()) return true;
      pace.advance(stepMs);
      return isTrue();
    });
  const isReady = () => cluster.checks.every(({ problem }) => problem() === undefined);
  const ready = () => eventually("ready", isReady);
  const watched = async () => {
    await ready();
    const followed = [...new Set<Kind>(["MeshConfig", ...kinds])].flatMap((kind) => resourcesOf(kind));
    const served = followed.filter((resource) => server.serves(resource.served));
    // Only a watch whose headers have arrived is given this much silence.
    await eventually("watched", () => pace.delays.filter((ms) => ms === 90_000).length === served.length);
  };
  return { server, pace, connection, cluster, restarts, log, until, ready, watched };
}

export const virtualService = (name: string, host = name, namespace = "shop"): RawObject => ({
  metadata: { name, namespace },
  spec: { hosts: [host] },
});

/** What the server holds of a resource and what the mesh holds of the kind, each as `namespace/name@version`. */
export function bothSides({ server, cluster }: LiveCluster, plural: string, kind: Kind): [string[], string[]] {
  const there = server
    .objects(plural)
    .map(({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}@${metadata.resourceVersion}`);
  const here = [...cluster.mesh().all(kind)].map(
    ({ metadata }) => `${metadata.namespace}/${metadata.name}@${metadata.resourceVersion}`,
  );
  return [here.sort(), there.sort()];
}
