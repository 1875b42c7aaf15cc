import { dirname, sep } from "node:path";
import { judge } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { idOf, identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

/**
 * Several manifests for one object in one place, such as `rules-all.yaml` and `rules-v1.yaml` beside each other: one of them
 * is applied, and the files do not say which. A finding that another of them resolves is uncertain.
 */
export class Alternatives {
  readonly #mesh: Mesh;
  readonly #selection: PolicySelection;
  readonly #byIdentity: ReadonlyMap<string, readonly FileObject[]>;
  readonly #files = new Map<AnyObject, string>();
  readonly #changes = new WeakMap<Finding, readonly Change[]>();

  constructor(files: FileMesh, selection: PolicySelection) {
    this.#mesh = files.mesh;
    this.#selection = selection;
    this.#byIdentity = alternativesOf(files);
    if (this.#byIdentity.size > 0)
      for (const { object, manifest } of definitionsOf(files)) this.#files.set(object, manifest.file);
  }

  /** Remembers that a finding was made with these changes to the mesh. */
  foundWith(finding: Finding, changes: readonly Change[]): void {
    if (this.#byIdentity.size > 0) this.#changes.set(finding, changes);
  }

  /** The rest of a sentence that begins with "because"; undefined if no alternative resolves the finding. */
  reasonFor(finding: Finding): string | undefined {
    for (const one of finding.evidence ?? []) {
      if ("absent" in one) continue;
      const alternatives = this.#byIdentity
        .get(identityOf(one))
        ?.filter(({ object, manifest }) => object !== one && this.#isBeside(dirname(manifest.file), one, finding));
      const resolving = alternatives?.find(({ object }) => !this.#remains(finding, { object }));
      if (resolving !== undefined)
        return `${idOf(resolving.object)} in ${resolving.manifest.file}, which defines it differently, resolves it`;
    }
    return undefined;
  }

  /** Whether a folder is that of the object which the finding rests on, or has the subject in it. */
  #isBeside(folder: string, one: AnyObject, { subject }: Finding): boolean {
    const file = this.#files.get(one);
    return (
      (file !== undefined && dirname(file) === folder) || this.#files.get(subject)?.startsWith(folder + sep) === true
    );
  }

  #remains(finding: Finding, { object }: Pick<FileObject, "object">): boolean {
    const others = (this.#changes.get(finding) ?? []).filter(
      (change) => identityOf(subjectOf(change)) !== identityOf(object),
    );
    const old = this.#mesh.find(object.kind, keyOf(object));
    const changes = [...others, { old: old?.implied ? undefined : old, object }];
    const { findings } = judge([finding.rule], this.#mesh, changes, { selection: this.#selection });
    return findings.some(
      ({ subject, key, message }) =>
        identityOf(subject) === identityOf(finding.subject) && (key ?? message) === (finding.key ?? finding.message),
    );
  }
}

/** Those that are alone in their folder belong to environments, which are checked one by one. */
function alternativesOf(files: FileMesh): ReadonlyMap<string, readonly FileObject[]> {
  const repeated = new Set(files.replaced.map(({ by }) => identityOf(by.object)));
  if (repeated.size === 0) return new Map();
  const definitions = [...definitionsOf(files)].filter(({ object }) => repeated.has(identityOf(object)));
  const places = Map.groupBy(definitions, ({ object, manifest }) => `${identityOf(object)}\n${dirname(manifest.file)}`);
  const alternatives = [...places.values()].filter((entries) => entries.length > 1).flat();
  return Map.groupBy(alternatives, ({ object }) => identityOf(object));
}

const definitionsOf = ({ objects, replaced }: FileMesh): ReadonlySet<FileObject> =>
  new Set([...objects, ...replaced.flatMap(({ by, earlier }) => [by, earlier])]);
