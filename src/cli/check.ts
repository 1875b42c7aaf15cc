import { Command } from "commander";
import type { Rule } from "../engine/rule.ts";
import { type PolicySelection, selectionOf } from "../engine/setting.ts";
import { allSubjects } from "../engine/subjects.ts";
import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { type Report, type ReportedError, reportOf } from "../report/report.ts";
import { reportedFinding } from "../report/reported-finding.ts";
import { rules } from "../rules/index.ts";
import { appliedTo } from "../sources/manifests/applied.ts";
import {
  type FileMesh,
  fileMeshOf,
  type FileObject,
  knowledgeOfMesh,
  knowledgeOfSet,
} from "../sources/manifests/file-mesh.ts";
import { type Manifest, type ManifestSet, readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import { printableLine } from "../text/printable.ts";
import type { Knowledge, Mesh } from "../view/view.ts";
import { type ClusterOptions, contextOption, kubeconfigOption } from "./cluster-options.ts";
import { docsUrlOption } from "./docs-option.ts";
import { judgeChanges, judgeSet } from "./judge-files.ts";
import { kindList } from "./kind-list.ts";
import { clusterDomainOption, meshOption, readMesh, settingsIn } from "./mesh-option.ts";
import { isPolicy, policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import {
  accepted,
  exitCode,
  failedRule,
  failOnOption,
  formatOption,
  outputOption,
  type ReportOptions,
  type Skipped,
  skips,
  writeReport,
} from "./report-output.ts";
import { shownError } from "./source-errors.ts";
import { type ExitCode, tellNote, tellProblem, type Terminal } from "./terminal.ts";

export interface CheckOptions extends PolicyOptions, ClusterOptions, ReportOptions {
  readonly mesh?: string;
  readonly partial: readonly Kind[];
  readonly complete: readonly Kind[];
  readonly namespace: string;
  readonly clusterDomain: string;
}

export function checkCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("check")
    .description("judge manifests: files, folders, or - for standard input")
    .argument("<path...>", "files or folders with .yaml, .yml and .json manifests; - reads standard input")
    .addOption(meshOption("judge the files as changes of this mesh: only what they introduce denies"))
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .option(
      "--partial <kinds>",
      "the files hold only some objects of these kinds: what rests on one warns",
      kindList,
      [],
    )
    .option(
      "--complete <kinds>",
      "the files hold all objects of these kinds: what is missing does not exist",
      kindList,
      [],
    )
    .addOption(policiesOption())
    .addOption(profileOption())
    .addOption(formatOption())
    .addOption(failOnOption())
    .option("-n, --namespace <name>", "where objects without a namespace go", "default")
    .addOption(clusterDomainOption())
    .addOption(docsUrlOption())
    .addOption(outputOption())
    .action(async (paths: string[], options: CheckOptions) => finish(await check(paths, options, terminal)));
}

/** Judges manifests and prints a report. Throws a UsageError where nothing can be judged at all. */
export async function check(paths: readonly string[], options: CheckOptions, terminal: Terminal): Promise<ExitCode> {
  const set = await readManifests(paths, terminal.input);
  const { policies, errors } = await policiesOf(options);
  // What a repository of policies says must be sound, even where it does not count here.
  const documents = await policiesOf({ profile: options.profile }, set.manifests.filter(isPolicy));
  const unread = [...set.errors, ...errors, ...documents.errors];
  const found = fileMeshOf(set.manifests, {
    defaultNamespace: options.namespace,
    settings: settingsIn(options.clusterDomain),
    knowledge: (kind, count) => asTold(kind, options) ?? knowledgeOfSet(kind, count),
  });
  const base = await baseOf(found, options, terminal);
  const report = reportFor(found, base, unread, { selection: selectionOf(policies), docsUrl: options.docsUrl });
  for (const error of unread) tellProblem(shownError(error), terminal);
  writeReport(report, options, terminal);
  for (const note of notesOf(set, options)) tellNote(printableLine(note, 2000), terminal);
  return exitCode(report, options);
}

function reportFor(
  found: FileMesh,
  base: FileMesh | undefined,
  unread: readonly SourceError[],
  { selection, docsUrl }: { readonly selection: PolicySelection; readonly docsUrl: string },
): Report {
  const files = base ? appliedTo(base.mesh, found) : found;
  const { rulings, skipped, errors } = base ? judgeChanges(files, base, selection) : judgeSet(files, selection);
  const places = new Map(
    [...(base?.objects ?? []), ...files.objects].map(({ object, manifest }) => [object, manifest]),
  );
  return reportOf({
    findings: rulings.flatMap((ruling) => reportedFinding(ruling, places.get(ruling.finding.subject), docsUrl)),
    skipped: [...skips(skipped), ...(base ? [] : stepRules(selection, files.mesh)), ...accepted(rulings)],
    errors: [...unread.map(reportedError), ...errors.map((error) => failedRule(error, places.get(error.subject)))],
    objects: files.objects.length,
  });
}

/** The mesh of `--mesh`. What it does not show at all, the files may. */
async function baseOf(
  files: FileMesh,
  { mesh, ...options }: CheckOptions,
  terminal: Terminal,
): Promise<FileMesh | undefined> {
  if (mesh === undefined) return undefined;
  const adjust = (kind: Kind, known: Knowledge) => {
    const told = asTold(kind, options) ?? known;
    return told === "unknown" ? knowledgeOfSet(kind, files.mesh.count(kind)) : told;
  };
  return readMesh({ ...options, mesh }, terminal, {
    defaultNamespace: options.namespace,
    knowledge: (kind, count) => adjust(kind, knowledgeOfMesh(kind, count)),
    adjust: (kind, known) => (known === "unknown" && files.mesh.count(kind) === 0 ? known : adjust(kind, known)),
  });
}

/** What the user says of a kind. */
function asTold(kind: Kind, { complete, partial }: Pick<CheckOptions, "complete" | "partial">): Knowledge | undefined {
  if (partial.includes(kind)) return "partial";
  return complete.includes(kind) ? "complete" : undefined;
}

/** Without a mesh there is no before, so that rules on changes have nothing to compare. */
const stepRules = (selection: PolicySelection, mesh: Mesh): Skipped[] =>
  rules
    .filter((rule) => rule.compare && isInForce(rule, selection, mesh))
    .map(({ id }) => ({ rule: id, reason: "compares a change with what was there: give --mesh" }));

function isInForce(rule: Rule, selection: PolicySelection, mesh: Mesh): boolean {
  const settings = selection.between(mesh, mesh);
  return [...allSubjects(rule, mesh)].some((subject) => settings.of(rule, subject).mode !== "off");
}

const reportedError = ({ file, line, message }: SourceError): ReportedError => ({ file, line: line ?? null, message });

/** What was left out on purpose, and what is there twice: no error, and nobody should have to guess. */
function notesOf(set: ManifestSet, { namespace }: CheckOptions): readonly string[] {
  const { replaced, others } = fileMeshOf(set.manifests, { defaultNamespace: namespace });
  const reasons = new Map<string, number>();
  for (const { reason } of set.ignored) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const unjudged = others.filter((manifest) => !isPolicy(manifest));
  return [
    ...[...reasons].map(([reason, count]) => `${counted(count, "file")} left out: ${reason}`),
    ...replaced.map(
      ({ earlier, by }) => `${idOf(earlier.object)} in ${placeOf(earlier)} is replaced by ${placeOf(by)}`,
    ),
    ...(unjudged.length > 0
      ? [`${counted(unjudged.length, "object")} of kinds that no rule reads: ${kindsOf(unjudged)}`]
      : []),
  ];
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
const kindsOf = (manifests: readonly Manifest[]): string =>
  [...new Set(manifests.map(({ kind }) => kind))].sort().join(", ");
const placeOf = ({ manifest }: FileObject): string => `${manifest.file}:${manifest.locate([]).line}`;
