import { Command } from "commander";
import { findCaller } from "../explain/asked.ts";
import { formatCaller } from "../explain/can.ts";
import { connectionChangesOf } from "../explain/connection-changes.ts";
import type { OnlyFrom } from "../explain/connection-words.ts";
import { connectionsOf } from "../explain/connections.ts";
import type { ConnectionChanges, Connections } from "../report/connections.ts";
import { connectionChangeFormats, connectionFormats } from "../report/connections-formats.ts";
import { knowledgeOfMesh } from "../sources/manifests/file-mesh.ts";
import { UsageError } from "../text/usage-error.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { meshAfterChange } from "./changed-mesh.ts";
import { contextOption, kubeconfigOption } from "./cluster-options.ts";
import { assertDeletable } from "./deletions.ts";
import { scopeOf } from "./connection-scope.ts";
import { clusterDomainOption, meshAtRevision, type MeshOptions, readMesh, settingsIn } from "./mesh-option.ts";
import { type OutputOptions, outputOptions, outputsOf, writeOutputs } from "./outputs.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

export interface ConnectionsOptions extends MeshOptions, OutputOptions {
  readonly namespace?: string;
  readonly service?: string;
  readonly from?: string;
  readonly change?: string;
  readonly delete?: string;
  readonly prune?: boolean;
  readonly since?: string;
}

export function connectionsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("connections")
    .description("show who can reach what in a mesh, and what a change does to it")
    .requiredOption("--mesh <path>", "the mesh; a file or folder of manifests, a capture, or the word cluster")
    .option("-n, --namespace <name>", "show only what can be reached in this namespace")
    .option("--service <name>", "show only this Service: payments-api.payments")
    .option("--from <caller>", "show only what this caller can reach: namespace/orders, deployment/orders/api, outside")
    .option("--change <file>", "show only what changes when these manifests are applied; - reads standard input")
    .option("--delete <file>", "show only what changes when the objects in these manifests are deleted")
    .option("--prune", "with --change: delete also what the files of --mesh define and the changed ones do not")
    .option("--since <revision>", "show only what changed in the files of --mesh since this revision of git")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(clusterDomainOption())
    .action(async (options: ConnectionsOptions) => finish(await connections(options, terminal)));
  for (const option of outputOptions(connectionFormats)) command.addOption(option);
  return command;
}

/** Prints who can reach what. Throws a UsageError if the mesh or the change cannot be read, or what is asked for does not exist. */
export async function connections(options: ConnectionsOptions, terminal: Terminal): Promise<ExitCode> {
  const outputs = outputsOf(options);
  assertPrunable(options);
  const [before, after] = await sidesOf(options, terminal);
  const scope = scopeOf(options, after === undefined ? [before] : [after, before]);
  const from = onlyFrom(options, after === undefined ? [before] : [after, before]);
  if (after === undefined) writeConnections(connectionsOf(before, scope, from), outputs, terminal);
  else writeChanges(connectionChangesOf(before, after, scope, from), outputs, terminal);
  return 0;
}

/** Throws a UsageError if `--prune` has nothing to compare, or would delete what other files define. */
function assertPrunable(options: ConnectionsOptions): void {
  if (options.prune !== true) return;
  if (options.change === undefined)
    throw new UsageError("--prune deletes what the files of --change do not define; give --change");
  assertDeletable({ ...options, namespace: "default" });
}

/** Throws a UsageError if none of the meshes has the caller. */
function onlyFrom({ from, namespace = "default" }: ConnectionsOptions, meshes: readonly Mesh[]): OnlyFrom | undefined {
  if (from === undefined) return undefined;
  const found = meshes.map((mesh) => findCaller(from, namespace, sideOf(mesh)));
  const [first] = found;
  if (first !== undefined && "problem" in first && found.every((one) => "problem" in one))
    throw new UsageError(first.problem);
  const named = found.flatMap((one) => ("caller" in one ? one.caller : []))[0];
  return {
    name: named === undefined ? from : formatCaller(named),
    in(mesh) {
      const caller = findCaller(from, namespace, mesh);
      return "caller" in caller ? caller.caller : undefined;
    },
  };
}

type Outputs = ReturnType<typeof outputsOf>;
const writeConnections = (report: Connections, outputs: Outputs, terminal: Terminal): void =>
  writeOutputs(report, { formats: connectionFormats, outputs }, terminal);
const writeChanges = (report: ConnectionChanges, outputs: Outputs, terminal: Terminal): void =>
  writeOutputs(report, { formats: connectionChangeFormats, outputs }, terminal);

/** The mesh, and the mesh after the change; undefined without a change. */
async function sidesOf(
  options: ConnectionsOptions,
  terminal: Terminal,
): Promise<readonly [before: Mesh, after: Mesh | undefined]> {
  const reading = { defaultNamespace: "default", knowledge: knowledgeOfMesh };
  const { mesh } = await readMesh(options, terminal, reading);
  const { since, clusterDomain } = options;
  if (since === undefined) return [mesh, await meshAfterChange(mesh, { ...options, namespace: "default" }, terminal)];
  if (options.change !== undefined || options.delete !== undefined)
    throw new UsageError("--since compares --mesh with an earlier revision of it; leave out --change and --delete");
  const settings = settingsIn(clusterDomain);
  const old = await meshAtRevision(since, [options.mesh], { ...reading, reading: {}, settings }, terminal);
  return [old.mesh, mesh];
}
