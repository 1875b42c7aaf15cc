import { Command, Option } from "commander";
import { meshPictureOf } from "../explain/mesh-picture.ts";
import { UsageError } from "../text/usage-error.ts";
import { auditDifference } from "./audit/difference.ts";
import { firstSeenIn } from "./audit/remembered-findings.ts";
import {
  type AuditOptions,
  auditReport,
  limited,
  meshToAudit,
  policiesToAudit,
  requireKnown,
  requireNamespaces,
} from "./audit/report.ts";
import { auditWhatIf } from "./audit/what-if.ts";
import { contextOption, kubeconfigOption } from "./cluster-options.ts";
import { tellAbsentNamespaces, tellExceptions, tellUnselective } from "./policy-notes.ts";
import { clusterDomainOption, meshOption } from "./mesh-option.ts";
import { outputsOf } from "./outputs.ts";
import { docsUrlOption, policiesFromClusterOption, policiesOption, profileOption } from "./policy-options.ts";
import { exitCode, failOnOption, passingNotes, reportOutputOptions, writeReport } from "./report-output.ts";
import { expiresOption, writeExceptions, writeExceptionsOption } from "./audit/write-exceptions.ts";
import { type ExitCode, tellNote, type Terminal } from "./terminal.ts";

/** The labels and annotations that usually name the owner of an object. */
const ownerLabels = ["meshward.io/owner", "owner", "team", "app.kubernetes.io/part-of"];

export function auditCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("audit")
    .description("check every object of a mesh as it is stored now, as an admission review would")
    .addOption(meshOption("the mesh to check"))
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(policiesOption())
    .addOption(policiesFromClusterOption())
    .addOption(profileOption())
    .option("-n, --namespace <name...>", "show only findings in these namespaces; * stands for any characters")
    .option("--rule <id...>", "show only findings of these rules; * stands for any characters")
    .option("--tag <tag...>", "show only findings of rules with one of these tags")
    .addOption(
      new Option("--min-mode <mode>", "show only findings with at least this mode").choices(["deny", "warn", "audit"]),
    )
    .option(
      "--what-if <profile|file>",
      "show what another profile, or the policies in a file, would deny of what is there",
    )
    .option(
      "--owner-label <key...>",
      "for --what-if: the labels or annotations that name the owner of an object, or of its Namespace",
      ownerLabels,
    )
    .option(
      "--diff <paths...>",
      "compare two meshes or JSON reports, the older one first: what appeared, what was fixed",
    )
    .addOption(writeExceptionsOption())
    .addOption(expiresOption())
    .addOption(failOnOption())
    .addOption(clusterDomainOption())
    .addOption(docsUrlOption())
    .action(async (options: AuditOptions) => {
      if (options.writeExceptions === undefined && command.getOptionValueSource("expires") === "cli")
        throw new UsageError(
          "--expires is about the exceptions of --write-exceptions; give that one too, or leave it out",
        );
      finish(await audit(options, terminal));
    });
  for (const option of reportOutputOptions()) command.addOption(option);
  return command;
}

/**
 * Prints a report on the objects that a mesh holds now; no finding in it counts as introduced.
 * Throws a UsageError if the mesh or the policies cannot be read completely.
 */
export async function audit(options: AuditOptions, terminal: Terminal): Promise<ExitCode> {
  if (options.diff !== undefined) return auditDifference(options.diff, options, terminal);
  if (options.mesh === undefined)
    throw new UsageError(
      "give the mesh to check with --mesh, as a file or folder of manifests, a capture, or the word cluster; or two meshes or reports to compare with --diff",
    );
  const mesh = { ...options, mesh: options.mesh };
  if (options.whatIf !== undefined) return auditWhatIf(options.whatIf, mesh, terminal);
  const outputs = outputsOf(options);
  const policies = await policiesToAudit(options, terminal);
  requireKnown(options, policies);
  const files = await meshToAudit(mesh, terminal, [policies]);
  requireNamespaces(options, files.mesh);
  const { report: whole, rulings } = auditReport(files, policies, options, await firstSeenIn(mesh, terminal));
  const report = limited(whole, options, policies);
  writeReport(report, outputs, terminal, () => meshPictureOf(files.mesh, policies));
  const used = new Set(rulings.flatMap(({ exception }) => exception ?? []));
  tellExceptions(policies, { mesh: files.mesh, used }, terminal);
  tellAbsentNamespaces(policies, files.mesh, terminal);
  await tellUnselective(policies, files.mesh, terminal);
  for (const note of passingNotes(report, options)) tellNote(note, terminal);
  writeExceptions({ rulings, policies, mesh: files.mesh }, options, terminal);
  return exitCode(report, options);
}
