import { keptFieldsOf } from "../custom-rules/in-force.ts";
import { Command } from "commander";
import { selectionOf } from "../engine/setting.ts";
import { allKinds } from "../kube/kinds.ts";
import { unusedExceptions } from "../policy/exceptions.ts";
import { reportOf } from "../report/report.ts";
import { reportedRulings } from "../report/reported-finding.ts";
import { knowledgeOfMesh } from "../sources/manifests/file-mesh.ts";
import { UsageError } from "../text/usage-error.ts";
import { type ClusterOptions, contextOption, kubeconfigOption } from "./cluster-options.ts";
import { docsUrlOption } from "./docs-option.ts";
import { judgeSet } from "./judge-files.ts";
import { clusterDomainOption, meshOption, readMesh } from "./mesh-option.ts";
import { outputsOf } from "./outputs.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { basisOf, countedByKind, stepRules } from "./report-basis.ts";
import {
  exitCode,
  failedRule,
  failOnOption,
  guessed,
  placesOf,
  reportOutputOptions,
  type ReportOptions,
  skips,
  writeReport,
} from "./report-output.ts";
import { shownErrors } from "./source-errors.ts";
import { type ExitCode, tellNote, type Terminal } from "./terminal.ts";

export interface AuditOptions extends PolicyOptions, ClusterOptions, ReportOptions {
  readonly mesh: string;
  readonly clusterDomain: string;
}

export function auditCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("audit")
    .description("check every object of a mesh as it is stored now, as an admission review would")
    .addOption(meshOption("the mesh to check").makeOptionMandatory())
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(policiesOption())
    .addOption(profileOption())
    .addOption(failOnOption())
    .addOption(clusterDomainOption())
    .addOption(docsUrlOption())
    .action(async (options: AuditOptions) => finish(await audit(options, terminal)));
  for (const option of reportOutputOptions()) command.addOption(option);
  return command;
}

/**
 * Prints a report on the objects that a mesh holds now; no finding in it counts as introduced.
 * Throws a UsageError if the mesh or the policies cannot be read completely.
 */
export async function audit(options: AuditOptions, terminal: Terminal): Promise<ExitCode> {
  const outputs = outputsOf(options);
  const { policies, rules, errors } = await policiesOf(options);
  if (errors.length > 0)
    throw new UsageError(`--policies ${options.policies} has errors, correct them first:\n${shownErrors(errors)}`);
  const selection = selectionOf(policies);
  const files = await readMesh(options, terminal, {
    defaultNamespace: "default",
    knowledge: knowledgeOfMesh,
    keep: keptFieldsOf(rules),
  });
  const { rulings, skipped, guesses, errors: failed } = judgeSet(files, { rules, selection });
  const places = placesOf(files.objects);
  const left = [
    ...skips(skipped),
    ...guessed(guesses),
    ...stepRules(
      { rules, selection, mesh: files.mesh },
      "an audit has no change: the webhook, or check with --mesh, asks it",
    ),
  ];
  const asStored = rulings.map((ruling) => ({ ...ruling, finding: { ...ruling.finding, introduced: false } }));
  const report = reportOf({
    basis: basisOf({
      ...{ rules, profile: options.profile, policies, selection, mesh: files.mesh },
      objects: countedByKind(...allKinds.map((kind) => files.mesh.all(kind))),
      skipped: new Set(left.map(({ rule }) => rule)),
    }),
    ...reportedRulings(asStored, places, options.docsUrl),
    skipped: left,
    errors: failed.map((error) => failedRule(error, places)),
    objects: allKinds.reduce((sum, kind) => sum + files.mesh.count(kind), 0),
  });
  writeReport(report, outputs, terminal);
  const used = new Set(rulings.flatMap(({ exception }) => exception ?? []));
  for (const { title } of unusedExceptions(policies.exceptions, used, new Date()))
    tellNote(`${title} accepts no finding of this mesh; delete it if it is no longer needed`, terminal);
  return exitCode(report, options);
}
