import { judge, type RuleError } from "../../engine/evaluate.ts";
import { rulingsOf, type Ruling } from "../../engine/ruling.ts";
import { identityOf, keyOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { stored } from "../../sources/manifests/applied.ts";
import {
  changedEnvironments,
  type ChangedEnvironment,
  type ChangedEnvironments,
  type Environment,
} from "../../sources/manifests/environments.ts";
import { type FileMesh, type FileObject, meshOf } from "../../sources/manifests/file-mesh.ts";
import type { Change } from "../../view/overlay.ts";
import type { Mesh } from "../../view/view.ts";
import { Alternatives } from "../alternatives.ts";
import { by, type By, filesContext, invalid, type Judgement, withoutRepetition } from "../judge-files.ts";
import { placeOf, strictestOfEach } from "../same-rulings.ts";
import { Placeholders } from "../placeholders.ts";
import { contentsOf } from "../deletions.ts";

/** What files change in a mesh. */
export interface FileChanges {
  readonly base: FileMesh;
  /** Objects of the mesh that are deleted in addition. */
  readonly deleted: readonly FileObject[];
  /** Deletes what the files of the mesh define and these files do not. */
  readonly isPruned: boolean;
}

/** What the files change in one mesh. */
export interface ChangedSides {
  /** The environment, if the files are of several. */
  readonly environment?: string;
  readonly before: Mesh;
  readonly after: Mesh;
  /** The objects that the change writes and deletes. */
  readonly changed: readonly FileObject[];
}

export interface ChangesJudgement extends Judgement {
  /** One for each environment. */
  readonly sides: readonly ChangedSides[];
  /** The objects of the mesh that are deleted, in at least one environment. */
  readonly deleted: readonly FileObject[];
}

/**
 * Checks the files, and the deletion of objects, as one set of changes to a mesh; only problems that they introduce count as
 * theirs. If one of the two sides has several environments, each is checked as a change to the same environment of the mesh.
 */
export function judgeChanges(files: FileMesh, change: FileChanges, options: By): ChangesJudgement {
  const found = changedEnvironments(files, change.base);
  const runs = runsOf(found, change).map((run) => judgeRun(run, { files, environments: found.environments }, options));
  const [first] = runs;
  const last = runs.at(-1);
  if (first === undefined || last === undefined) throw new Error("there is always at least one set of changes");
  const { selection, unread = [] } = options;
  const ofUnread = rulingsOf(invalid(unread, last.after, selection), {
    ...{ after: last.after, exceptionFor: selection.exceptionFor, ...by(options.request) },
    changed: new Set(unread.map(({ object }) => identityOf(object))),
    files: filesContext(
      new Placeholders(unread, last.after, selection),
      new Alternatives(files, selection, found.environments),
    ),
  });
  return {
    rulings: [...strictest(runs), ...ofUnread],
    skipped: first.skipped,
    guesses: [],
    errors: runs.flatMap(({ errors }) => errors),
    after: last.after,
    sides: runs,
    deleted: [...new Map(runs.flatMap(({ deleted }) => deleted).map((entry) => [entry.manifest, entry])).values()],
  };
}

/** One set of changes to one mesh. */
interface Run {
  readonly environment?: string;
  readonly mesh: Mesh;
  /** Each object once. */
  readonly applied: readonly FileObject[];
  /** The entries of the mesh that are deleted. */
  readonly deleted: readonly FileObject[];
  /** Manifests and objects of the mesh that are of this environment; undefined: there are no environments. */
  readonly own?: ReadonlySet<unknown>;
  /** Manifests and objects of the mesh that are of another environment. Their problems are found there. */
  readonly foreign: ReadonlySet<unknown>;
}

function runsOf({ environments, shared }: ChangedEnvironments, change: FileChanges): readonly Run[] {
  if (environments.length === 0) {
    const { objects: applied } = shared;
    return [{ mesh: change.base.mesh, applied, deleted: deletedBy(applied, shared.base, change), foreign: new Set() }];
  }
  return environments.map((environment) => runOf(environment, { environments, shared }, change));
}

function runOf(one: ChangedEnvironment, { environments, shared }: ChangedEnvironments, change: FileChanges): Run {
  const others = environments.filter((other) => other !== one);
  const own = byIdentity(one.objects);
  const ownBase = byIdentity(one.base);
  const common = byIdentity(shared.objects);
  const wanted = new Map([
    ...[...byIdentity(others.flatMap(({ objects }) => objects))].filter(([identity]) => !ownBase.has(identity)),
    ...common,
    ...own,
  ]);
  // What another environment defines is not what this one had before.
  const otherBase = [...byIdentity(others.flatMap(({ base }) => base))].filter(
    ([identity]) => !own.has(identity) && !common.has(identity),
  );
  const base = [...new Map([...otherBase, ...byIdentity(shared.base), ...ownBase]).values()];
  const isOneMesh = environments.every((environment) => environment.base.length === 0);
  const mesh = isOneMesh
    ? change.base.mesh
    : meshOf(
        base.map(({ object }) => object),
        change.base.mesh,
      );
  const applied = [...wanted.values()];
  const members = new Set<unknown>([...one.objects, ...one.base].flatMap(({ manifest, object }) => [manifest, object]));
  const foreign = others.flatMap((other) => [...other.objects, ...other.base]);
  return {
    environment: one.name,
    ...{ mesh, applied, deleted: deletedBy(applied, base, { ...change, base: { ...change.base, mesh } }) },
    own: members,
    foreign: new Set(foreign.flatMap(({ manifest, object }) => (members.has(manifest) ? [] : [manifest, object]))),
  };
}

const byIdentity = (entries: readonly FileObject[]): ReadonlyMap<string, FileObject> =>
  new Map(entries.map((entry) => [identityOf(entry.object), entry]));

function deletedBy(applied: readonly FileObject[], base: readonly FileObject[], change: FileChanges) {
  const defined = byIdentity(applied);
  const pruned = change.isPruned ? base.filter(({ object }) => !defined.has(identityOf(object))) : [];
  const named = change.deleted.flatMap((entry) => {
    const object = thereIn(change.base.mesh, entry.object);
    return object === undefined ? [] : [{ ...entry, object }];
  });
  const deleted = [...pruned, ...named];
  const contents = contentsOf(deleted, change.base.mesh).filter(({ object }) => !defined.has(identityOf(object)));
  return [...byIdentity([...contents, ...deleted]).values()];
}

function thereIn(mesh: Mesh, object: AnyObject): AnyObject | undefined {
  const there = mesh.find(object.kind, keyOf(object));
  return there?.implied ? undefined : there;
}

interface Judging {
  readonly files: FileMesh;
  readonly environments: readonly Environment[];
}

interface Judged extends Omit<Judgement, "guesses">, ChangedSides {
  readonly deleted: readonly FileObject[];
  /** Equal for rulings of several environments that are one finding. */
  sameAs(ruling: Ruling): unknown;
}

function judgeRun(run: Run, { files, environments }: Judging, { rules, selection, request }: By): Judged {
  const { mesh } = run;
  const known = new Map<FileObject, FileObject>();
  const applied = (entry: FileObject): FileObject => {
    const there = known.get(entry) ?? { ...entry, object: stored(entry.object, mesh) };
    known.set(entry, there);
    return there;
  };
  const objects = run.applied.map(applied);
  const isForeign = foreignIn(run, objects);
  const changeOf = (object: AnyObject): Change => ({ old: thereIn(mesh, object), object });
  const changes = [
    ...objects.map(({ object }) => changeOf(object)),
    ...run.deleted.map(({ object }) => ({ old: object })),
  ];
  const { findings, skipped, errors, before, after } = judge(rules, mesh, changes, { selection });
  const replaced = files.replaced.map(({ by: later, earlier }) => ({ by: applied(later), earlier: applied(earlier) }));
  const changed = [...objects, ...replacedIn(run, files).map(applied), ...run.deleted];
  const seen = { ...files, objects: changed, replaced };
  const alternatives = new Alternatives({ ...seen, mesh: files.mesh }, selection, environments);
  const context = {
    exceptionFor: selection.exceptionFor,
    changed: new Set(changed.map(({ object }) => identityOf(object))),
    files: filesContext(new Placeholders(changed, after, selection), alternatives),
    ...by(request),
  };
  const own = findings.filter(({ subject }) => !isForeign(subject));
  for (const finding of own) alternatives.foundWith(finding, changes);
  const rulings: Ruling[] = [...rulingsOf(own, { before, after, ...context })];
  const failed: RuleError[] = errors.filter(({ subject }) => !isForeign(subject));
  // kubectl apply stores a manifest that a later one in the same file replaces too, if only for a moment.
  for (const { object } of replacedIn(run, files).map(applied)) {
    const alone = judge(rules, after, [changeOf(object)], { selection });
    const introduced = alone.findings.filter((finding) => finding.introduced && !isForeign(finding.subject));
    for (const finding of introduced) alternatives.foundWith(finding, [changeOf(object)]);
    rulings.push(...rulingsOf(introduced, { before: alone.before, after: alone.after, ...context }));
    failed.push(...alone.errors);
  }
  return {
    ...(run.environment === undefined ? {} : { environment: run.environment }),
    ...{ rulings: withoutRepetition(rulings), skipped, errors: failed, before, after },
    ...{ changed, deleted: run.deleted, sameAs: samenessIn(run, changed) },
  };
}

/** Whether an object is of another environment only. */
function foreignIn({ foreign }: Run, objects: readonly FileObject[]): (subject: AnyObject) => boolean {
  const own = new Set<AnyObject>(objects.flatMap(({ object, manifest }) => (foreign.has(manifest) ? [] : [object])));
  const others = new Set<AnyObject>(objects.flatMap(({ object, manifest }) => (foreign.has(manifest) ? [object] : [])));
  return (subject) => !own.has(subject) && (others.has(subject) || foreign.has(subject));
}

/**
 * A ruling about an object that no environment contains is one for all of them, unless it is reported where they differ: at
 * what explains it, because no file defines the object. A manifest may be of several environments, which are below its folder.
 */
function samenessIn({ own }: Run, changed: readonly FileObject[]): Judged["sameAs"] {
  const manifests = new Map(changed.map(({ object, manifest }) => [object, manifest]));
  const isMember = (object: AnyObject) => own?.has(object) === true || own?.has(manifests.get(object)) === true;
  return (ruling) => {
    const { rule, subject, key, message, at, related = [], evidence = [] } = ruling.finding;
    const manifest = manifests.get(subject);
    if (isMember(subject)) return manifest === undefined ? ruling : placeOf(ruling, manifest);
    const isElsewhere = manifest === undefined || at.length === 0;
    const isOwn = isElsewhere && [...related, ...evidence].some((one) => !("absent" in one) && isMember(one));
    return isOwn ? ruling : JSON.stringify([rule.id, identityOf(subject), key ?? message]);
  };
}

/** Manifests in the same environment that a later one replaces. */
function replacedIn({ applied, foreign, own }: Run, files: FileMesh): readonly FileObject[] {
  if (files.replaced.length === 0) return [];
  const last = new Set(applied.map(({ manifest }) => manifest));
  const places = byIdentity(applied);
  return files.replaced.flatMap(({ earlier }) => {
    const { manifest, object } = earlier;
    const isSamePlace = own === undefined || places.get(identityOf(object))?.manifest.file === manifest.file;
    return !last.has(manifest) && !foreign.has(manifest) && isSamePlace ? [earlier] : [];
  });
}

/**
 * The rulings of all environments. What several of them find about an object that they share is one finding, with the
 * strictest mode.
 */
function strictest(runs: readonly Judged[]): readonly Ruling[] {
  if (runs.length === 1) return runs[0]?.rulings ?? [];
  const same = new Map(runs.flatMap(({ rulings, sameAs }) => rulings.map((ruling) => [ruling, sameAs(ruling)])));
  return strictestOfEach([...same.keys()], (ruling) => same.get(ruling));
}
