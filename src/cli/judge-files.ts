import { audit, judge, type RuleError, type Skip } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import { type Ruling, rulingsOf } from "../engine/ruling.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { rules } from "../rules/index.ts";
import { type Environment, environmentsOf } from "../sources/manifests/environments.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import type { Mesh } from "../view/view.ts";

export interface Judgement {
  readonly rulings: readonly Ruling[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
  /** The mesh with the files in it. */
  readonly after: Mesh;
}

/** Checks the files as a mesh of their own; every problem in it counts as introduced by them. */
export function judgeSet(files: FileMesh, selection: PolicySelection): Judgement {
  const { mesh } = files;
  const findings: Finding[] = [];
  const skipped: Skip[] = [];
  const errors: RuleError[] = [];
  const separate = separateGroups(files);
  const members = new Set(separate.flat().map(({ object }) => object));
  for (const result of audit(rules, mesh, selection)) {
    if (!("subject" in result)) skipped.push(result);
    else if (members.has(result.subject)) continue;
    else if ("message" in result) findings.push(result);
    else errors.push(result);
  }
  for (const entries of separate) {
    const own = ownOf(entries, files, selection);
    for (const finding of own.findings) findings.push(finding);
    errors.push(...own.errors);
  }
  const introduced = findings.map((finding) => ({ ...finding, introduced: true }));
  const rulings = rulingsOf(introduced, { after: mesh, exceptionFor: selection.exceptionFor });
  return { rulings, skipped, errors, after: mesh };
}

/** Findings for one environment, whose objects replace those of the same names in the set. */
function ownOf(entries: Environment, { mesh }: FileMesh, selection: PolicySelection) {
  const own = new Set(entries.map(({ object }) => object));
  const changes = entries.map(({ object }) => changeOf(object, mesh));
  const { findings, errors } = judge(rules, mesh, changes, { selection });
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
  { objects, replaced }: FileMesh,
  { base: { mesh }, deleted }: { readonly base: FileMesh; readonly deleted: readonly FileObject[] },
  selection: PolicySelection,
): Judgement {
  const early = new Set(replaced.map(({ earlier }) => earlier));
  const applied = objects.filter((entry) => !early.has(entry)).map(({ object }) => changeOf(object, mesh));
  const changes = [...applied, ...deleted.map(({ object }) => ({ old: object }))];
  const { findings, skipped, errors, before, after } = judge(rules, mesh, changes, { selection });
  const changed = new Set([...objects, ...deleted].map(({ object }) => identityOf(object)));
  const rulings = rulingsOf(findings, { before, after, exceptionFor: selection.exceptionFor, changed });
  return { rulings, skipped, errors, after };
}

function changeOf(object: AnyObject, mesh: FileMesh["mesh"]) {
  const there = mesh.find(object.kind, keyOf(object));
  return { old: there?.implied ? undefined : there, object };
}
