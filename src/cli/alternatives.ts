import { dirname, resolve, sep } from "node:path";
import { judge } from "../engine/evaluate.ts";
import { type Finding, uncertainEvidence } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { idOf, identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Environment } from "../sources/manifests/environments.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

/**
 * Several manifests for one object in one place, such as `rules-all.yaml` and `rules-v1.yaml` beside each other: one of them
 * is applied, and the files do not say which. A finding that another of them resolves is uncertain. So is one about an
 * environment that rests on an object which several other environments define, and this one does not.
 */
export class Alternatives {
  readonly #mesh: Mesh;
  readonly #selection: PolicySelection;
  readonly #byIdentity: ReadonlyMap<string, readonly FileObject[]>;
  readonly #repeated: ReadonlySet<string>;
  readonly #files = new Map<AnyObject, string>();
  /** By the identity of an object: where environments define it. */
  readonly #ofEnvironments: ReadonlyMap<string, readonly InEnvironment[]>;
  readonly #environmentsOf = new Map<string, Set<Environment>>();
  readonly #changes = new WeakMap<Finding, readonly Change[]>();

  constructor(files: FileMesh, selection: PolicySelection, environments: readonly Environment[]) {
    this.#mesh = files.mesh;
    this.#selection = selection;
    this.#repeated = new Set(files.replaced.map(({ by }) => identityOf(by.object)));
    this.#byIdentity = alternativesOf(files, this.#repeated);
    const all = this.#repeated.size === 0 ? [] : environments.flatMap(definitionsIn);
    this.#ofEnvironments = Map.groupBy(all, ({ identity }) => identity);
    for (const { environment, file } of all)
      this.#environmentsOf.set(file, (this.#environmentsOf.get(file) ?? new Set()).add(environment));
    if (this.#repeated.size > 0)
      for (const { object, manifest } of definitionsOf(files)) this.#files.set(object, manifest.file);
  }

  /** Remembers that a finding was made with these changes to the mesh. */
  foundWith(finding: Finding, changes: readonly Change[]): void {
    if (this.#repeated.size > 0) this.#changes.set(finding, changes);
  }

  /** The rest of a sentence that begins with "because"; undefined if no alternative resolves the finding. */
  reasonFor(finding: Finding): string | undefined {
    for (const one of finding.evidence ?? []) {
      if ("absent" in one) continue;
      const alternatives = this.#byIdentity
        .get(identityOf(one))
        ?.filter(({ object, manifest }) => object !== one && this.#isBeside(dirname(manifest.file), one, finding));
      const resolving = alternatives?.find(({ object }) => this.#with(finding, [{ one, object }]) === undefined);
      if (resolving !== undefined)
        return `${idOf(resolving.object)} in ${resolving.manifest.file}, which defines it differently, resolves it`;
    }
    return this.#reasonOfEnvironments(finding);
  }

  #reasonOfEnvironments(finding: Finding): string | undefined {
    const reasonOf = ([first]: readonly AnyObject[]) =>
      first &&
      `${idOf(first)} is defined in other environments, such as ${this.#files.get(first)}, and not in this one`;
    const without: AnyObject[] = [];
    for (let now: Finding | undefined = finding; without.length < mostObjectsOfOthers; ) {
      const [next] = this.#ofOtherEnvironments(now).filter((one) => !without.includes(one));
      // Without them it is a problem of what is missing, and that may be in other files.
      if (next === undefined) {
        const mayBeElsewhere = uncertainEvidence(now, this.#mesh, false).length > 0;
        return mayBeElsewhere && !without.some((one) => this.#isDefinedFor(one, finding))
          ? reasonOf(without)
          : undefined;
      }
      without.push(next);
      now = this.#with(
        finding,
        without.map((one) => ({ one })),
      );
      if (now === undefined) return reasonOf(without);
    }
    return undefined;
  }

  /** Whether a folder is that of the object which the finding rests on, or has the subject in it. */
  #isBeside(folder: string, one: AnyObject, { subject }: Finding): boolean {
    const file = this.#files.get(one);
    return (file !== undefined && dirname(file) === folder) || isWithin(folder, this.#files.get(subject));
  }

  /** Whether an environment defines an object in the folder of the subject or above it: one of these definitions applies there. */
  #isDefinedFor(one: AnyObject, { subject }: Finding): boolean {
    const file = this.#files.get(subject);
    return this.#ofEnvironments.get(identityOf(one))?.some((other) => isWithin(dirname(other.file), file)) === true;
  }

  /** What a finding rests on, and several other environments than that of its subject define. */
  #ofOtherEnvironments({ subject, evidence = [] }: Finding): readonly AnyObject[] {
    const own = this.#environmentsOf.get(this.#files.get(subject) ?? "");
    if (own === undefined) return [];
    return evidence.flatMap((one) => {
      if ("absent" in one || !this.#repeated.has(identityOf(one))) return [];
      const others = this.#ofEnvironments.get(identityOf(one)) ?? [];
      return others.length > 0 && !others.some(({ environment }) => own.has(environment)) ? [one] : [];
    });
  }

  /** The same finding, if there still is one when these objects are defined like this, or not at all. */
  #with(finding: Finding, others: readonly Definition[]): Finding | undefined {
    const changed = new Set(others.map(({ one }) => identityOf(one)));
    const changes = (this.#changes.get(finding) ?? []).filter((change) => !changed.has(identityOf(subjectOf(change))));
    const definitions = others.map(({ one, object }) => {
      const there = this.#mesh.find(one.kind, keyOf(one));
      return { old: there?.implied ? undefined : there, object };
    });
    const { findings } = judge([finding.rule], this.#mesh, [...changes, ...definitions], {
      selection: this.#selection,
    });
    return findings.find(
      ({ subject, key, message }) =>
        identityOf(subject) === identityOf(finding.subject) && (key ?? message) === (finding.key ?? finding.message),
    );
  }
}

interface InEnvironment {
  readonly environment: Environment;
  readonly identity: string;
  readonly file: string;
}

const definitionsIn = (environment: Environment): readonly InEnvironment[] =>
  environment.objects.map(({ object, manifest }) => ({
    environment,
    identity: identityOf(object),
    file: manifest.file,
  }));

const isWithin = (folder: string, file: string | undefined): boolean =>
  file !== undefined && resolve(file).startsWith(resolve(folder) + sep);

/** Another definition of an object; undefined: none. */
interface Definition {
  readonly one: AnyObject;
  readonly object?: AnyObject;
}

/** How many objects of other environments a finding may rest on, one after the other. */
const mostObjectsOfOthers = 8;

/** Those that are alone in their folder belong to environments, which are checked one by one. */
function alternativesOf(files: FileMesh, repeated: ReadonlySet<string>): ReadonlyMap<string, readonly FileObject[]> {
  if (repeated.size === 0) return new Map();
  const definitions = [...definitionsOf(files)].filter(({ object }) => repeated.has(identityOf(object)));
  const places = Map.groupBy(definitions, ({ object, manifest }) => `${identityOf(object)}\n${dirname(manifest.file)}`);
  const alternatives = [...places.values()].filter((entries) => entries.length > 1).flat();
  return Map.groupBy(alternatives, ({ object }) => identityOf(object));
}

const definitionsOf = ({ objects, replaced }: FileMesh): ReadonlySet<FileObject> =>
  new Set([...objects, ...replaced.flatMap(({ by, earlier }) => [by, earlier])]);
