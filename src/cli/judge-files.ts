import { audit, judge, type RuleError, type Skip } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import { type Ruling, rulingsOf } from "../engine/ruling.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { rules } from "../rules/index.ts";
import { type Environment, environmentsOf } from "../sources/manifests/environments.ts";
import type { FileMesh } from "../sources/manifests/file-mesh.ts";

export interface Judgement {
  readonly rulings: readonly Ruling[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
}

/** The files as a mesh of their own: everything that is wrong in it is theirs. */
export function judgeSet(files: FileMesh, selection: PolicySelection): Judgement {
  const { mesh } = files;
  const findings: Finding[] = [];
  const skipped: Skip[] = [];
  const errors: RuleError[] = [];
  const apart = judgedApart(files);
  const members = new Set(apart.flat().map(({ object }) => object));
  for (const result of audit(rules, mesh, selection)) {
    if (!("subject" in result)) skipped.push(result);
    else if (members.has(result.subject)) continue;
    else if ("message" in result) findings.push(result);
    else errors.push(result);
  }
  for (const entries of apart) {
    const own = ownOf(entries, files, selection);
    for (const finding of own.findings) findings.push(finding);
    errors.push(...own.errors);
  }
  const introduced = findings.map((finding) => ({ ...finding, introduced: true }));
  return { rulings: rulingsOf(introduced, { after: mesh, exceptionFor: selection.exceptionFor }), skipped, errors };
}

/** What the rules say of these, in the place of what the set has of the same names. */
function ownOf(entries: Environment, { mesh }: FileMesh, selection: PolicySelection) {
  const own = new Set(entries.map(({ object }) => object));
  const changes = entries.map(({ object }) => changeOf(object, mesh));
  const { findings, errors } = judge(rules, mesh, changes, { selection });
  const isOwn = ({ rule, subject }: Finding | RuleError) => rule.check !== undefined && own.has(subject);
  return { findings: findings.filter(isOwn), errors: errors.filter(isOwn) };
}

/**
 * What is not, or not only, judged as part of the whole: environments, each with its own objects in the place of others';
 * and, one by one, manifests that a later one beside them replaces: those are applied all the same, if only for a moment.
 */
function judgedApart(files: FileMesh): readonly Environment[] {
  const environments = environmentsOf(files);
  const members = new Set(environments.flat());
  return [...environments, ...files.replaced.flatMap(({ earlier }) => (members.has(earlier) ? [] : [[earlier]]))];
}

/** The files as changes of a mesh, all at once: only what they introduce is theirs. */
export function judgeChanges(
  { objects, replaced }: FileMesh,
  { mesh }: FileMesh,
  selection: PolicySelection,
): Judgement {
  const early = new Set(replaced.map(({ earlier }) => earlier));
  const changes = objects.filter((entry) => !early.has(entry)).map(({ object }) => changeOf(object, mesh));
  const { findings, skipped, errors, after } = judge(rules, mesh, changes, { selection });
  const changed = new Set(objects.map(({ object }) => identityOf(object)));
  const rulings = rulingsOf(findings, { after, exceptionFor: selection.exceptionFor, changed });
  return { rulings, skipped, errors };
}

function changeOf(object: AnyObject, mesh: FileMesh["mesh"]) {
  const there = mesh.find(object.kind, keyOf(object));
  return { old: there?.implied ? undefined : there, object };
}
