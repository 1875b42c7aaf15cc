import { Command } from "commander";
import { defaultNames } from "../controllers/permissions.ts";
import { unregister } from "../controllers/unregister.ts";
import { type ClusterOptions, contextOption, kubeconfigOption, withCluster } from "./cluster-options.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export function unregisterCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("unregister")
    .description("delete the webhook configurations, so that the API server no longer calls Meshward")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .action(async (options: ClusterOptions) => finish(await unregisterFrom(options, terminal)));
}

/** Throws a UsageError if the cluster cannot be reached or does not allow it. */
async function unregisterFrom(options: ClusterOptions, terminal: Terminal): Promise<ExitCode> {
  return withCluster<ExitCode>(options, terminal, async (connection) => {
    const deleted = await unregister(connection, defaultNames.webhookConfiguration);
    for (const object of deleted) terminal.out(`${object} deleted\n`);
    if (deleted.length === 0) terminal.out("there was no webhook configuration of Meshward\n");
    return 0;
  });
}
