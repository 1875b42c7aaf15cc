import packageJson from "../../../package.json" with { type: "json" };
import type { ReadinessCheck } from "../../http/readiness.ts";
import type { KeptFields } from "../../kube/kept-fields.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { AnyObject } from "../../kube/object.ts";
import { ClusterError } from "../../sources/cluster/cluster-error.ts";
import { type ClusterConnection, connectToCluster } from "../../sources/cluster/connection.ts";
import { ClusterMesh } from "../../sources/cluster/live-mesh.ts";
import { knowledgeOfMesh } from "../../sources/manifests/file-mesh.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import { UsageError } from "../../text/usage-error.ts";
import { GivenObjects } from "../../view/given-objects.ts";
import type { MeshStore } from "../../view/store.ts";
import { clusterWord, indexesOfRules, kindsOfRules } from "../cluster-options.ts";
import { meshFromFiles, noteSeveral, type MeshOptions, settingsIn } from "../mesh-option.ts";
import type { Terminal } from "../terminal.ts";

export interface FollowedMeshOptions extends MeshOptions {
  /** Seconds. */
  readonly maxStaleness: number;
}

/** What is told of following a cluster, and what is kept of its objects. */
interface Following {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "listed" | "watchRestarted">;
  /** The raw fields that the rules in force read, which changes with the policies. */
  readonly keep: () => KeptFields;
}

/** The current mesh that a server checks changes against. */
export interface FollowedMesh {
  current(): MeshStore;
  readonly checks: readonly ReadinessCheck[];
  /** Seconds since the API server last sent something about each kind; empty for files. */
  freshness(): Iterable<readonly [kind: Kind, seconds: number]>;
  /** Undefined if the mesh is read from files. */
  readonly cluster: ClusterMesh | undefined;
  readonly connection: ClusterConnection | undefined;
  /** Sets the objects that are in no cluster, the intents of `--policies`, instead of those that were given before. */
  give(objects: readonly AnyObject[]): void;
  close(): Promise<void>;
}

/**
 * Reads files and captures once and watches a cluster. A cluster that cannot be reached is tried again without a limit.
 * Throws a UsageError for an error that a retry cannot resolve.
 */
export async function followMesh(
  options: FollowedMeshOptions,
  terminal: Terminal,
  following: Following,
): Promise<FollowedMesh> {
  const { keep } = following;
  if (options.mesh === clusterWord) return followCluster(options, terminal, following);
  const files = await meshFromFiles(options.mesh, {
    defaultNamespace: "default",
    settings: settingsIn(options.clusterDomain),
    knowledge: knowledgeOfMesh,
    keep: keep(),
    isForReviews: true,
  });
  noteSeveral(files, options.mesh, terminal);
  const { mesh } = files;
  // Built now, so that no review has to build them.
  for (const index of indexesOfRules) mesh.lookup(index, []);
  const given = new GivenObjects(() => [mesh]);
  return {
    give: (objects) => given.replace(objects),
    current: () => mesh,
    checks: [],
    freshness: () => [],
    cluster: undefined,
    connection: undefined,
    close: async () => undefined,
  };
}

async function followCluster(
  options: FollowedMeshOptions,
  { env }: Terminal,
  { log, metrics, keep }: Following,
): Promise<FollowedMesh> {
  const { kubeconfig, context, clusterDomain, maxStaleness } = options;
  const userAgent = `meshward/${packageJson.version}`;
  const connection = await connectToCluster({ kubeconfig, context, env, userAgent }).catch((error: unknown) => {
    throw error instanceof ClusterError ? new UsageError(error.message) : error;
  });
  log.info({ server: connection.server, kinds: kindsOfRules }, "watching the cluster");
  const cluster = new ClusterMesh({
    connection,
    kinds: kindsOfRules,
    indexes: indexesOfRules,
    keep,
    log,
    maxStalenessMs: maxStaleness * 1000,
    settings: settingsIn(clusterDomain),
    observer: {
      listed: (kind, milliseconds) => metrics.listed(kind, milliseconds / 1_000),
      restarted: (kind, reason) => metrics.watchRestarted(kind, reason),
    },
  });
  return {
    current: () => cluster.mesh(),
    checks: cluster.checks,
    freshness: () => cluster.freshness(),
    cluster,
    connection,
    give: (objects) => cluster.give(objects),
    async close() {
      await cluster.close();
      connection.close();
    },
  };
}
