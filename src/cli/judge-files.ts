import { audit, judge, type RuleError, type Skip } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import { type FilesContext, type RequestContext, type Ruling, rulingsOf } from "../engine/ruling.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { mentionsAmbient } from "../mesh/membership/captured.ts";
import { rules } from "../rules/index.ts";
import { type Environment, environmentsOf } from "../sources/manifests/environments.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { Alternatives } from "./alternatives.ts";
import { Placeholders } from "./placeholders.ts";

export interface Judgement {
  readonly rulings: readonly Ruling[];
  readonly skipped: readonly Skip[];
  /** Findings that rest on what the files do not show, in files without any trace of it. */
  readonly guesses: readonly Finding[];
  readonly errors: readonly RuleError[];
  /** The mesh with the files in it. */
  readonly after: Mesh;
}

interface By {
  readonly selection: PolicySelection;
  /** Undefined: nobody in particular sends the objects. */
  readonly request?: RequestContext | undefined;
}

/** Checks the files as a mesh of their own; every problem in it counts as introduced by them. */
export function judgeSet(files: FileMesh, { selection, request }: By): Judgement {
  const { mesh } = files;
  const findings: Finding[] = [];
  const skipped: Skip[] = [];
  const errors: RuleError[] = [];
  const separate = separateGroups(files);
  const members = new Set(separate.flat().map(({ object }) => object));
  const alternatives = new Alternatives(files, selection);
  const guesses: Finding[] = [];
  const isAmbient = mentionsAmbient(mesh);
  for (const result of audit(rules, mesh, selection)) {
    if (!("subject" in result)) skipped.push(result);
    else if (members.has(result.subject)) continue;
    else if ("message" in result) add(result, []);
    else errors.push(result);
  }
  for (const entries of separate) {
    const changes = entries.map(({ object }) => changeOf(object, mesh));
    const own = ownOf(entries, changes, { files, selection });
    for (const finding of own.findings) add(finding, changes);
    errors.push(...own.errors);
  }
  const { exceptionFor } = selection;
  const context = { after: mesh, exceptionFor, files: filesContext(files, alternatives), ...by(request) };
  const rulings = rulingsOf(findings, context);
  return { rulings, skipped, guesses, errors, after: mesh };

  function add(finding: Finding, changes: readonly Change[]): void {
    const introduced = { ...finding, introduced: true };
    if (finding.guess !== undefined && !isAmbient) guesses.push(introduced);
    else findings.push(introduced);
    alternatives.foundWith(introduced, changes);
  }
}

const by = (request: RequestContext | undefined) => (request === undefined ? {} : { request });

function filesContext(files: FileMesh, alternatives: Alternatives): FilesContext {
  const placeholders = new Placeholders(files.objects);
  return {
    alternativeFor: (finding) => alternatives.reasonFor(finding),
    placeholderFor: (finding) => placeholders.reasonFor(finding),
  };
}

/** Findings for one environment, whose objects replace those of the same names in the set. */
function ownOf(
  entries: Environment,
  changes: readonly Change[],
  { files, selection }: { readonly files: FileMesh; readonly selection: PolicySelection },
) {
  const own = new Set(entries.map(({ object }) => object));
  const { findings, errors } = judge(rules, files.mesh, changes, { selection });
  const isOwn = ({ rule, subject }: Finding | RuleError) => rule.check !== undefined && own.has(subject);
  return { findings: findings.filter(isOwn), errors: errors.filter(isOwn) };
}

/**
 * The objects that are checked separately from the set. Each environment is checked with its own objects instead of
 * those of the other environments. A manifest that a later one in the same place replaces is checked by itself, because
 * kubectl apply stores it too, if only for a moment.
 */
function separateGroups(files: FileMesh): readonly Environment[] {
  const environments = environmentsOf(files);
  const members = new Set(environments.flat());
  return [...environments, ...files.replaced.flatMap(({ earlier }) => (members.has(earlier) ? [] : [[earlier]]))];
}

/**
 * Checks the files, and the deletion of objects, as one set of changes to a mesh; only problems that they introduce count as
 * theirs.
 */
export function judgeChanges(
  files: FileMesh,
  { base: { mesh }, deleted }: { readonly base: FileMesh; readonly deleted: readonly FileObject[] },
  { selection, request }: By,
): Judgement {
  const { objects, replaced } = files;
  const early = new Set(replaced.map(({ earlier }) => earlier));
  const applied = objects.filter((entry) => !early.has(entry)).map(({ object }) => changeOf(object, mesh));
  const changes = [...applied, ...deleted.map(({ object }) => ({ old: object }))];
  const { findings, skipped, errors, before, after } = judge(rules, mesh, changes, { selection });
  const changed = new Set([...objects, ...deleted].map(({ object }) => identityOf(object)));
  const alternatives = new Alternatives(files, selection);
  for (const finding of findings) alternatives.foundWith(finding, changes);
  const { exceptionFor } = selection;
  const context = { before, after, exceptionFor, changed, files: filesContext(files, alternatives), ...by(request) };
  const rulings = rulingsOf(findings, context);
  return { rulings, skipped, guesses: [], errors, after };
}

function changeOf(object: AnyObject, mesh: Mesh): Change {
  const there = mesh.find(object.kind, keyOf(object));
  return { old: there?.implied ? undefined : there, object };
}
