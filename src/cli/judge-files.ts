import { audit, judge, type RuleError, type Skip } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/select.ts";
import { type Weighed, weigh } from "../engine/weigh.ts";
import { identityOf, keyOf } from "../kube/kinds.ts";
import { rules } from "../rules/index.ts";
import type { FileMesh, FileObject } from "../sources/file-mesh.ts";

export interface Judgement {
  readonly weighed: readonly Weighed[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
}

/** The files as a mesh of their own: everything that is wrong in it is theirs. */
export function judgeSet({ mesh, replaced }: FileMesh, selection: PolicySelection): Judgement {
  const findings: Finding[] = [];
  const skipped: Skip[] = [];
  const errors: RuleError[] = [];
  for (const result of audit(rules, mesh, selection)) {
    if ("message" in result) findings.push(result);
    else if ("error" in result) errors.push(result);
    else skipped.push(result);
  }
  // A manifest that a later one replaces is applied all the same, if only for a moment.
  for (const { earlier, by } of replaced) {
    const evaluation = judge(rules, mesh, [{ old: by.object, object: earlier.object }], selection);
    findings.push(...evaluation.findings.filter(({ subject, rule }) => subject === earlier.object && rule.check));
    errors.push(...evaluation.errors);
  }
  const sides = { before: mesh, after: mesh };
  const weighed = findings.map((finding) => weigh({ ...finding, introduced: true }, selection, sides));
  return { weighed, skipped, errors };
}

/** The files as changes of a mesh, all at once: only what they introduce is theirs. */
export function judgeChanges(
  { objects, replaced }: FileMesh,
  { mesh }: FileMesh,
  selection: PolicySelection,
): Judgement {
  const early = new Set(replaced.map(({ earlier }) => earlier));
  const changes = objects.filter((entry) => !early.has(entry)).map((entry) => changeOf(entry, mesh));
  const { findings, skipped, errors, before, after } = judge(rules, mesh, changes, selection);
  const changed = new Set(objects.map(({ object }) => identityOf(object)));
  return { weighed: findings.map((finding) => weigh(finding, selection, { before, after }, changed)), skipped, errors };
}

function changeOf({ object }: FileObject, mesh: FileMesh["mesh"]) {
  const there = mesh.find(object.kind, keyOf(object));
  return { old: there?.implied ? undefined : there, object };
}
