import { Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { kindsNeeded, relationsOf } from "../engine/subjects.ts";
import type { Kind } from "../kube/kinds.ts";
import { rules } from "../rules/index.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import { type ClusterConnection, connectToCluster } from "../sources/cluster/connection.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Index } from "../view/view.ts";
import { tellNote, type Terminal } from "./terminal.ts";

/** `--kubeconfig` and `--context`, as kubectl has them. */
export interface ClusterOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export const kubeconfigOption = () =>
  new Option("--kubeconfig <file>", "how to reach the cluster; default: KUBECONFIG, ~/.kube/config, the pod's account");
export const contextOption = () => new Option("--context <name>", "of the kubeconfig; default: its current-context");

/** What the rules read, and the Namespaces by which policies select. */
export const kindsOfRules: readonly Kind[] = [
  ...new Set<Kind>(["MeshConfig", "Namespace", ...rules.flatMap((rule) => [...kindsNeeded(rule)])]),
];

/** What the rules look objects up by. */
export const indexesOfRules: readonly Index[] = [
  ...new Set(rules.flatMap(({ reads }) => relationsOf(reads).flatMap(({ from, to }) => [from, to]))),
];

/** Connects, runs the task, and ends every connection. What the cluster refuses is one line. */
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

/** Says what a cluster did not show, so that nobody takes it for empty. */
export function noteMissing(missing: readonly string[], terminal: Pick<Terminal, "error">): void {
  if (missing.length > 0) tellNote(`not read from the cluster: ${missing.join(", ")}`, terminal);
}
