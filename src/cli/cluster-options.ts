import { Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { indexesRead, kindsFollowed } from "../engine/declared-reads.ts";
import { contentIndexes } from "../engine/same-content.ts";
import type { Kind } from "../kube/kinds.ts";
import { rules } from "../rules/index.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import { type ClusterConnection, connectToCluster } from "../sources/cluster/connection.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Index } from "../view/view.ts";
import { tellNote, type Terminal } from "./terminal.ts";

/** `--kubeconfig` and `--context`, with the same meaning as in kubectl. */
export interface ClusterOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export const kubeconfigOption = () =>
  new Option(
    "--kubeconfig <file>",
    "kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's service account",
  );
export const contextOption = () => new Option("--context <name>", "kubeconfig context; default: its current-context");

/** The options of a command that reads a cluster only if it is asked to. */
interface ClusterUse extends ClusterOptions {
  readonly mesh?: string;
  readonly diff?: readonly string[];
  readonly policiesFromCluster?: boolean;
}

/** Throws a UsageError if the command line names a cluster that the command does not read. */
export function assertClusterUsed({ kubeconfig, context, mesh, diff = [], policiesFromCluster }: ClusterUse): void {
  if (policiesFromCluster === true || [mesh, ...diff].includes(clusterWord)) return;
  const given = kubeconfig !== undefined ? "--kubeconfig" : context !== undefined ? "--context" : undefined;
  if (given !== undefined)
    throw new UsageError(
      `${given} has no effect, because no cluster is read; add --mesh ${clusterWord}, or leave it out`,
    );
}

/** `--mesh` accepts this word in addition to paths; a folder of the same name is written `./cluster`. */
export const clusterWord = "cluster";

/** The kinds that are read from a cluster. */
export const kindsOfRules: readonly Kind[] = [...kindsFollowed(rules)];

/** The indexes through which the rules, and the engine for them, look objects up. */
export const indexesOfRules: readonly Index[] = [...indexesRead(rules), ...contentIndexes];

/**
 * Connects, runs the task and closes every connection. Throws a UsageError of one line for what the cluster refuses.
 */
export async function withCluster<T>(
  options: ClusterOptions,
  { env }: Pick<Terminal, "env">,
  task: (connection: ClusterConnection) => Promise<T>,
): Promise<T> {
  let connection: ClusterConnection | undefined;
  try {
    connection = await connectToCluster({ ...options, env, userAgent: `meshward/${packageJson.version}` });
    return await task(connection);
  } catch (error) {
    if (error instanceof ClusterError) throw new UsageError(error.message);
    throw error;
  } finally {
    connection?.close();
  }
}

/** Prints which resources could not be read from a cluster, so that nobody assumes that none exist. */
export function noteMissing(missing: readonly string[], terminal: Pick<Terminal, "error">): void {
  if (missing.length > 0) tellNote(`not read from the cluster: ${missing.join(", ")}`, terminal);
}
