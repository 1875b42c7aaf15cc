import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { keptFieldsOf, rulesInForce } from "../custom-rules/in-force.ts";
import { selectionOf } from "../engine/setting.ts";
import type { Kind } from "../kube/kinds.ts";
import type { Policies } from "../policy/policies.ts";
import { showsChanges } from "../report/formats.ts";
import { type Report, type ReportedError, reportOf } from "../report/report.ts";
import { reportedRulings } from "../report/reported-finding.ts";
import { rules } from "../rules/index.ts";
import {
  type FileMesh,
  fileMeshOf,
  type FileObject,
  knowledgeOfMesh,
  knowledgeOfSet,
} from "../sources/manifests/file-mesh.ts";
import { type Manifest, type ReadOptions, readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Knowledge } from "../view/view.ts";
import { baselineNotes, baselineOf, baselineOptions, type BaselineOptions } from "./check/baseline.ts";
import { type ClusterOptions, clusterWord, contextOption, kubeconfigOption } from "./cluster-options.ts";
import { namespaceName } from "./namespace-option.ts";
import { assertDeletable, type DeletionOptions, deletionsOf } from "./deletions.ts";
import { notesOf } from "./check/notes.ts";
import { type CountedFindings, onceAFile, unknownValues } from "./check/once-a-file.ts";
import { UnknownValues } from "./check/unknown-values.ts";
import { giveIntents } from "./given-intents.ts";
import { intentRemarks, type IntentRemarks } from "./check/intents-of-policies.ts";
import { assertConnections, assertKindsOnce } from "./check/contradicting-options.ts";
import { judgeChanges } from "./check/judge-changes.ts";
import { judgeSet } from "./judge-files.ts";
import { kindList } from "./kind-list.ts";
import { connectionsIn, effectsIn } from "./check/environment-changes.ts";
import {
  clusterDomainOption,
  meshAtRevision,
  meshOption,
  readMesh,
  type ReadMeshOptions,
  settingsIn,
} from "./mesh-option.ts";
import { policiesFor } from "./cluster-policies.ts";
import { Placeholders } from "./placeholders.ts";
import { outputsOf } from "./outputs.ts";
import { tellAbsentNamespaces, tellExceptions } from "./policy-notes.ts";
import {
  docsUrlOption,
  isDocument,
  policiesFromClusterOption,
  policiesOf,
  policiesOption,
  type PolicyOptions,
  profileOption,
} from "./policy-options.ts";
import { basisOf, countedByKind, unaskedRules } from "./report-basis.ts";
import {
  exitCode,
  failedRule,
  failOnOption,
  guessed,
  passingNotes,
  placesOf,
  reportOutputOptions,
  type ReportOptions,
  skips,
  writeReport,
} from "./report-output.ts";
import { type CheckedFiles, withFaults } from "./check/file-faults.ts";
import {
  appliedAsDeleted,
  requestContext,
  requesterFrom,
  requesterOptions,
  type RequesterOptions,
} from "./check/requester-options.ts";
import { fileProgress } from "./progress.ts";
import type { ProjectOptions } from "./project-options.ts";
import { type RenderOptions, rendererOf, renderOption } from "./render-option.ts";
import { crdsOption, ReceivedDefinitions, schemasFrom } from "./check/schema-options.ts";
import { shownError } from "./source-errors.ts";
import {
  substituteFromOption,
  substituteOption,
  type SubstitutionOptions,
  substitutionFrom,
} from "./check/substitution-options.ts";
import { type ExitCode, tellNote, tellProblem, type Terminal } from "./terminal.ts";

import { assertTestable, writeTest, writeTestOption, type WriteTestOptions } from "./check/write-test.ts";

export interface CheckOptions
  extends PolicyOptions,
    ClusterOptions,
    ReportOptions,
    DeletionOptions,
    RequesterOptions,
    SubstitutionOptions,
    BaselineOptions,
    ProjectOptions,
    RenderOptions,
    Pick<WriteTestOptions, "writeTest"> {
  readonly since?: string;
  readonly allowEmpty?: boolean;
  readonly skipUnknown?: boolean;
  readonly verbose?: boolean;
  readonly connections?: boolean;
  readonly crds?: string;
  readonly partial: readonly Kind[];
  readonly complete: readonly Kind[];
}

export function checkCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("check")
    .description("check manifests in files, in folders or from standard input (-)")
    .argument("[path...]", "files or folders with .yaml, .yml and .json manifests; - reads standard input")
    .addOption(meshOption("check the files as changes to this mesh; only problems that they introduce are denied"))
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .option(
      "--since <revision>",
      "check what changed in the git repository since this revision, such as origin/main; files that were removed delete their objects; without a path, in the working folder",
    )
    .option(
      "--prune",
      "with --mesh and manifests: delete the objects that the mesh defines and the checked files do not",
    )
    .option("--delete <path>", "with --mesh: delete the objects in these manifests from the mesh")
    .option(
      "--partial <kinds>",
      "the files contain only part of these kinds; findings that depend on them are warnings",
      kindList,
      [],
    )
    .option(
      "--complete <kinds>",
      "the files contain all objects of these kinds; an object that is missing does not exist",
      kindList,
      [],
    )
    .option("--connections", "with --mesh or --since: show what the change does to who can reach what")
    .addOption(policiesOption())
    .addOption(policiesFromClusterOption())
    .addOption(profileOption())
    .addOption(failOnOption())
    .option(
      "--allow-empty",
      "accept folders that contain no object to check, such as those with only kustomize patches, and --policies without documents",
    )
    .option(
      "--skip-unknown",
      "leave out files that are not manifests even if their paths are given, as a pre-commit hook does",
    )
    .addOption(crdsOption())
    .addOption(substituteOption())
    .addOption(substituteFromOption())
    .addOption(renderOption())
    .option("--verbose", "list every object that several files define, and every finding that depends on a placeholder")
    .option("-n, --namespace <name>", "namespace for objects that do not name one", namespaceName, "default")
    .addOption(clusterDomainOption())
    .addOption(docsUrlOption())
    .action(async (paths: string[], options: CheckOptions) => {
      // What changed since a revision is a question about the repository, so that it needs no path.
      const isAll = paths.length === 0 && options.since !== undefined;
      finish(await check(isAll ? ["."] : paths, options, terminal));
    });
  for (const option of [...requesterOptions(), ...baselineOptions(), writeTestOption(), ...reportOutputOptions()])
    command.addOption(option);
  return command;
}

/** Checks manifests and prints a report. Throws a UsageError if nothing can be checked at all. */
export async function check(paths: readonly string[], options: CheckOptions, terminal: Terminal): Promise<ExitCode> {
  const isOnlyDeletion = options.delete !== undefined && options.prune !== true && options.since === undefined;
  if (paths.length === 0 && !isOnlyDeletion)
    throw new UsageError("missing required argument 'path': give files or folders, or list paths in meshward.yaml");
  assertKindsOnce(options);
  if (options.since === undefined) assertDeletable(options);
  assertTestable(paths, options);
  const outputs = outputsOf(options);
  assertConnections(options, outputs);
  const baseline = baselineOf(options);
  const progress = fileProgress(terminal);
  const { change, unread, policies, notes } = await readChanges(paths, { ...options, onFile: progress.read }, terminal);
  progress.doing(`checking ${counted(change.found.files.objects.length, "object")}`);
  const isCompared = outputs.some(({ format }) => showsChanges(format));
  const { report: whole, unknown, intents } = reportFor(change, unread, { ...options, policies, isCompared });
  const report = baseline.compared(whole);
  progress.end();
  for (const error of [...unread, ...intents.errors]) tellProblem(shownError(error), terminal);
  writeReport(report, outputs, terminal);
  for (const note of [
    ...notes,
    ...intents.notes,
    ...unknownValues(unknown),
    ...appliedAsDeleted(options, change.found.files.objects.length),
    ...baselineNotes(report),
    ...passingNotes(report, options),
  ])
    tellNote(printableLine(note, 2000), terminal);
  tellPolicies(policies, change, options, terminal);
  const written = baseline.write();
  if (written !== undefined) tellNote(printableLine(written, 2000), terminal);
  if (options.writeTest !== undefined)
    await writeTest(paths, options.writeTest, options, { renderer: rendererOf(options, terminal), report, terminal });
  return exitCode(report, options);
}

/** Files are rarely all namespaces, so that only a cluster tells whether one is missing. */
function tellPolicies(policies: Policies, { found, base }: Changes, { mesh }: CheckOptions, terminal: Terminal): void {
  tellExceptions(policies, { mesh: found.files.mesh }, terminal);
  if (mesh === clusterWord && base !== undefined) tellAbsentNamespaces(policies, base.mesh, terminal);
}

/** What is checked, what of it could not be read, and the policies that decide. */
async function readChanges(
  paths: readonly string[],
  options: CheckOptions & Pick<ReadOptions, "onFile">,
  terminal: Terminal,
) {
  const reading: Omit<ReadOptions, "input"> = {
    substitution: await substitutionFrom(options),
    skipUnknown: options.skipUnknown,
    mayBeEmpty: options.allowEmpty,
    onFile: options.onFile,
    renderer: rendererOf(options, terminal),
  };
  const set = await readManifests(paths, { ...reading, input: terminal.input });
  const { policies, errors } = await policiesFor(options, terminal);
  const keep = keptFieldsOf(rulesInForce(rules, policies));
  const documents = await errorsInPolicies(set.manifests, options.profile);
  const empty = options.allowEmpty === true ? [] : set.empty.map(withAdvice);
  const found = fileMeshOf(set.manifests, {
    areApplied: true,
    defaultNamespace: options.namespace,
    settings: settingsIn(options.clusterDomain),
    knowledge: (kind, count) => statedKnowledge(kind, options) ?? knowledgeOfSet(kind, count),
    keep,
  });
  const definitions = new ReceivedDefinitions();
  const stored = await baseOf(found, paths, { ...options, reading, definitions, keep }, terminal);
  const given = await giveIntents(stored ?? found, options);
  const { schemas, errors: ofSchemas, notes } = await schemasFrom(options, definitions);
  const checked = await withFaults(found, schemas, options.namespace);
  const base = stored === undefined ? undefined : (await withFaults(stored, schemas, options.namespace)).files;
  const isPruned = options.prune === true || options.since !== undefined;
  const deleted = await deletionsOf(checked.files, base, options, terminal);
  const change: Changes = { found: checked, base, deleted, isPruned, given };
  const unread = eachOnce([...set.errors, ...empty, ...errors, ...documents, ...ofSchemas]);
  return {
    change,
    unread,
    policies,
    notes: [...notes, ...notesOf(set, options, new Set(deleted.map(({ manifest }) => manifest)))],
  };
}

/** Files of `--policies` are often among those that are checked, and are then read twice. */
const eachOnce = (errors: readonly SourceError[]): readonly SourceError[] => [
  ...new Map(
    errors.map((error) => [[resolve(error.file), error.line, error.column, error.message].join("\n"), error]),
  ).values(),
];

/**
 * Documents of Meshward among the checked files must be valid too, although policies are not applied here. Documents of one name in
 * several folders are for different clusters.
 */
async function errorsInPolicies(manifests: readonly Manifest[], profile: string): Promise<readonly SourceError[]> {
  const byFolder = Map.groupBy(manifests.filter(isDocument), ({ file }) => dirname(file));
  const found = await Promise.all([...byFolder.values()].map((documents) => policiesOf({ profile }, documents)));
  return found.flatMap(({ errors }) => errors);
}

const withAdvice = (error: SourceError): SourceError => ({
  ...error,
  message: `${error.message}. Check what is applied: render charts and overlays first, or let --render always do it, or accept this with --allow-empty`,
});

interface Changes {
  readonly found: CheckedFiles;
  /** The mesh before the change; undefined: the files are a mesh of their own. */
  readonly base: FileMesh | undefined;
  readonly deleted: readonly FileObject[];
  readonly isPruned: boolean;
  /** The intents of `--policies`. */
  readonly given: readonly FileObject[];
}

type ReportedBy = Pick<CheckOptions, "profile" | "docsUrl" | "settingsFile" | "connections" | "verbose"> &
  RequesterOptions & {
    readonly policies: Policies;
    /** Whether the report has what the change does to the mesh. */
    readonly isCompared: boolean;
  };

const howToAsk = ({ base, request }: { readonly base: unknown; readonly request: unknown }) => ({
  steps: base === undefined ? "give --mesh or --since" : undefined,
  requests: request === undefined ? "give --user, --group or --operation" : undefined,
});

function reportFor(
  { found, base, given, ...deletions }: Changes,
  unread: readonly SourceError[],
  { policies, profile, docsUrl, settingsFile, isCompared, connections, verbose, ...who }: ReportedBy,
): { readonly report: Report; readonly unknown: CountedFindings | undefined; readonly intents: IntentRemarks } {
  const requester = requesterFrom(who);
  const selection = selectionOf(policies, requester);
  const inForce = rulesInForce(rules, policies);
  const { files } = found;
  const { settings } = files.mesh;
  const request = requester === undefined ? undefined : requestContext(requester, policies, settings);
  const by = { rules: inForce, selection, request, unread: found.unread };
  const judged = base
    ? judgeChanges(files, { base, ...deletions }, by)
    : { ...judgeSet(files, by), sides: [], deleted: [] };
  const { skipped, guesses, errors, after, sides } = judged;
  const checked = [...files.objects, ...judged.deleted];
  const changed = [...checked, ...sides.flatMap((side) => side.changed), ...found.unread];
  const { rulings, unknown } = onceAFile(judged.rulings, {
    placeholders: new Placeholders(changed, after, selection),
    unknown: new UnknownValues({ objects: changed, mesh: after, rules: inForce, selection }),
    ...{ objects: changed, isEachListed: verbose === true },
  });
  const places = placesOf(changed, [...(base?.objects ?? []), ...given]);
  const unasked = unaskedRules({ rules: inForce, selection, mesh: after }, howToAsk({ base, request }));
  // Without a mesh, they are in the set that is judged as a whole.
  const asked = base === undefined ? [] : given;
  const intents = intentRemarks(asked, { after, selection, rulings: judged.rulings, files: files.objects });
  const left = [...skips(skipped), ...guessed(guesses), ...unasked];
  const report = reportOf({
    basis: basisOf({
      ...{ rules: inForce, profile, policies, selection, settingsFile },
      mesh: after,
      objects: countedByKind(checked.map(({ object }) => object)),
      skipped: new Set(left.map(({ rule }) => rule)),
    }),
    ...reportedRulings(rulings, { places, docsUrl }),
    skipped: left,
    errors: [...[...unread, ...intents.errors].map(reportedError), ...errors.map((error) => failedRule(error, places))],
    objects: checked.length,
    changes: base && isCompared ? effectsIn(sides, policies) : undefined,
    connections: base && connections ? connectionsIn(sides) : undefined,
  });
  return { report, unknown, intents };
}

/**
 * The mesh that `--mesh` or `--since` names. A kind that it does not contain at all is known as far as the files contain it.
 */
async function baseOf(
  files: FileMesh,
  paths: readonly string[],
  {
    mesh,
    since,
    reading: how,
    definitions,
    keep,
    ...options
  }: CheckOptions & Pick<ReadMeshOptions, "reading" | "keep"> & { readonly definitions: ReceivedDefinitions },
  terminal: Terminal,
): Promise<FileMesh | undefined> {
  const adjust = (kind: Kind, known: Knowledge) => {
    const stated = statedKnowledge(kind, options) ?? known;
    return stated === "unknown" ? knowledgeOfSet(kind, files.mesh.count(kind)) : stated;
  };
  const knowledgeOfBase = since === undefined ? knowledgeOfMesh : knowledgeOfSet;
  const reading = {
    reading: how ?? {},
    ...(keep === undefined ? {} : { keep }),
    defaultNamespace: options.namespace,
    knowledge: (kind: Kind, count: number) => adjust(kind, knowledgeOfBase(kind, count)),
  };
  if (since !== undefined) {
    if (mesh !== undefined) throw new UsageError("--since and --mesh both name the mesh before the change; give one");
    return meshAtRevision(since, paths, { ...reading, settings: settingsIn(options.clusterDomain) }, terminal);
  }
  if (mesh === undefined) return undefined;
  return readMesh({ ...options, mesh }, terminal, {
    ...reading,
    isEachChecked: true,
    received: (raw) => definitions.take(raw),
    adjust: (kind, known) => (known === "unknown" && files.mesh.count(kind) === 0 ? known : adjust(kind, known)),
  });
}

/** How far the view knows a kind, as the user stated it with `--partial` or `--complete`. */
function statedKnowledge(
  kind: Kind,
  { complete, partial }: Pick<CheckOptions, "complete" | "partial">,
): Knowledge | undefined {
  if (partial.includes(kind)) return "partial";
  return complete.includes(kind) ? "complete" : undefined;
}

const reportedError = ({ file, line, message }: SourceError): ReportedError => ({ file, line: line ?? null, message });
