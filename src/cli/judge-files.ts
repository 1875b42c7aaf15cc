import { audit } from "../engine/audit.ts";
import { judge, type RuleError, type Skip } from "../engine/evaluate.ts";
import { type Finding, findingOf, isGuess } from "../engine/finding.ts";
import { type FilesContext, type RequestContext, type Ruling, rulingsOf } from "../engine/ruling.ts";
import type { Mode, Rule } from "../engine/rule.ts";
import { isAsStrict, type PolicySelection } from "../engine/setting.ts";
import { keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { mentionsAmbient } from "../mesh/membership/captured.ts";
import { objectInvalid } from "../rules/object/invalid.ts";
import { type Environment, environmentsOf } from "../sources/manifests/environments.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { Alternatives } from "./alternatives.ts";
import { Placeholders } from "./placeholders.ts";
import { placeOf, strictestOfEach } from "./same-rulings.ts";

export interface Judgement {
  readonly rulings: readonly Ruling[];
  readonly skipped: readonly Skip[];
  /** Findings that rest on what the files do not show, in files without any trace of it. */
  readonly guesses: readonly Finding[];
  readonly errors: readonly RuleError[];
  /** The mesh with the files in it. */
  readonly after: Mesh;
}

export interface By {
  /** The built-in rules and those of the policies. */
  readonly rules: readonly Rule[];
  readonly selection: PolicySelection;
  /** Undefined: nobody in particular sends the objects. */
  readonly request?: RequestContext | undefined;
  /** Objects of kinds that no rule reads, and that the API server would reject. */
  readonly unread?: readonly FileObject[];
}

/** Checks the files as a mesh of their own; every problem in it counts as introduced by them. */
export function judgeSet(files: FileMesh, { rules, selection, request, unread = [] }: By): Judgement {
  const { mesh } = files;
  const findings: Finding[] = [];
  const skipped: Skip[] = [];
  const errors: RuleError[] = [];
  const environments = environmentsOf(files);
  const separate = separateGroups(files, environments);
  const members = new Set(separate.flat().map(({ object }) => object));
  const alternatives = new Alternatives(files, selection, environments);
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
    const own = ownOf(entries, changes, { files, rules, selection }, members);
    for (const finding of own.findings) add(finding, changes);
    errors.push(...own.errors);
  }
  findings.push(...invalid(unread, mesh, selection));
  const { exceptionFor } = selection;
  const placeholders = new Placeholders([...files.objects, ...unread], mesh, selection);
  const context = { after: mesh, exceptionFor, files: filesContext(placeholders, alternatives), ...by(request) };
  const rulings = ofEnvironments(withoutRepetition(rulingsOf(findings, context)), separate);
  return { rulings, skipped, guesses, errors, after: mesh };

  function add(finding: Finding, changes: readonly Change[]): void {
    const introduced = { ...finding, introduced: true };
    if (isGuess(finding, isAmbient)) guesses.push(introduced);
    else findings.push(introduced);
    alternatives.foundWith(introduced, changes);
  }
}

/** An object in a folder above several environments is checked with each of them. */
function ofEnvironments(rulings: readonly Ruling[], separate: readonly (readonly FileObject[])[]): readonly Ruling[] {
  if (separate.length < 2) return rulings;
  const manifests = new Map(separate.flat().map(({ object, manifest }) => [object, manifest]));
  return strictestOfEach(rulings, (ruling) => {
    const manifest = manifests.get(ruling.finding.subject);
    return manifest === undefined ? ruling : placeOf(ruling, manifest);
  });
}

export const by = (request: RequestContext | undefined) => (request === undefined ? {} : { request });

export function filesContext(placeholders: Placeholders, alternatives: Alternatives): FilesContext {
  return {
    alternativeFor: (finding) => alternatives.reasonFor(finding),
    placeholderFor: (finding) => placeholders.reasonFor(finding),
  };
}

/** What the API server would reject in objects that are in no mesh, because no rule reads their kinds. */
export function invalid(unread: readonly FileObject[], mesh: Mesh, selection: PolicySelection): readonly Finding[] {
  const settings = selection.between(mesh, mesh);
  return unread.flatMap(({ object: subject }) => {
    const found = { rule: objectInvalid, subject, setting: settings.of(objectInvalid, subject) };
    const problems = found.setting.mode === "off" ? [] : (objectInvalid.check?.(subject, mesh, {}) ?? []);
    return [...problems].flatMap((problem) => (problem === undefined ? [] : [findingOf(problem, found, true)]));
  });
}

/** What the API server would reject is left out where another rule says more about the same field, and as strictly. */
export function withoutRepetition(rulings: readonly Ruling[]): readonly Ruling[] {
  const said = new Map<AnyObject, Map<string, Mode>>();
  for (const { finding, mode } of rulings) {
    if (finding.rule === objectInvalid || mode === "off") continue;
    const paths = said.get(finding.subject) ?? new Map<string, Mode>();
    const path = finding.at.join("\n");
    const known = paths.get(path);
    said.set(finding.subject, paths.set(path, known !== undefined && isAsStrict(known, mode) ? known : mode));
  }
  return rulings.filter(({ finding: { rule, subject, at }, mode }) => {
    const other = rule === objectInvalid ? said.get(subject)?.get(at.join("\n")) : undefined;
    return other === undefined || !isAsStrict(other, mode);
  });
}

/**
 * Findings for one environment, whose objects replace those of the same names in the set: about its own objects, and those
 * that they cause about objects that no environment contains.
 */
function ownOf(
  entries: readonly FileObject[],
  changes: readonly Change[],
  { files, rules, selection }: Pick<By, "rules" | "selection"> & { readonly files: FileMesh },
  members: ReadonlySet<AnyObject>,
) {
  const own = new Set(entries.map(({ object }) => object));
  const { findings, errors } = judge(rules, files.mesh, changes, { selection });
  const isState = ({ rule }: Finding | RuleError) => rule.check !== undefined;
  return {
    findings: findings.filter(
      (found) => isState(found) && (own.has(found.subject) || (found.introduced && !members.has(found.subject))),
    ),
    errors: errors.filter((error) => isState(error) && own.has(error.subject)),
  };
}

/**
 * The objects that are checked separately from the set. Each environment is checked with its own objects instead of
 * those of the other environments. A manifest that a later one in the same place replaces is checked by itself, because
 * kubectl apply stores it too, if only for a moment.
 */
function separateGroups(files: FileMesh, environments: readonly Environment[]): readonly (readonly FileObject[])[] {
  const groups = environments.map(({ objects }) => objects);
  const members = new Set(groups.flat());
  return [...groups, ...files.replaced.flatMap(({ earlier }) => (members.has(earlier) ? [] : [[earlier]]))];
}

function changeOf(object: AnyObject, mesh: Mesh): Change {
  const there = mesh.find(object.kind, keyOf(object));
  return { old: there?.implied ? undefined : there, object };
}
