import { Command } from "commander";
import { type CaptureOptions as FileOptions, writeCapture } from "../sources/cluster/capture.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import { isSystemError, unwritable } from "../text/file-errors.ts";
import { UsageError } from "../text/usage-error.ts";
import { type ClusterOptions, contextOption, kubeconfigOption, noteMissing, withCluster } from "./cluster-options.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export interface CaptureOptions extends ClusterOptions {
  readonly output: string;
}

export function captureCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("capture")
    .description("save the mesh of a cluster to a file for --mesh; never Secrets, and only Istio's own ConfigMaps")
    .requiredOption("-o, --output <file>", "the file to write; it appears when the capture is complete")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .action(async (options: CaptureOptions) => finish(await capture(options, terminal)));
}

/** Writes the capture. Throws a UsageError if the cluster cannot be read or the file cannot be written. */
export async function capture({ output, ...access }: CaptureOptions, terminal: Terminal): Promise<ExitCode> {
  return withCluster<ExitCode>(access, terminal, async (connection) => {
    const { count, missing } = await written(connection, { file: output, now: new Date() });
    noteMissing(missing, terminal);
    terminal.error(`wrote ${count} objects of ${connection.server} to ${output}\n`);
    return 0;
  });
}

async function written(connection: Parameters<typeof writeCapture>[0], options: FileOptions) {
  try {
    return await writeCapture(connection, options);
  } catch (error) {
    if (error instanceof ClusterError || !isSystemError(error)) throw error;
    throw new UsageError(`--output ${options.file} cannot be written: ${unwritable(error)}`);
  }
}
