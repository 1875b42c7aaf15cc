import { dirname } from "node:path";
import { judge } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { idOf, identityOf, keyOf } from "../kube/identity.ts";
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
  readonly #changes = new WeakMap<Finding, readonly Change[]>();

  constructor(files: FileMesh, selection: PolicySelection) {
    this.#mesh = files.mesh;
    this.#selection = selection;
    this.#byIdentity = alternativesOf(files);
  }

  /** Remembers that a finding was made with these changes to the mesh. */
  foundWith(finding: Finding, changes: readonly Change[]): void {
    if (this.#byIdentity.size > 0) this.#changes.set(finding, changes);
  }

  /** The rest of a sentence that begins with "because"; undefined if no alternative resolves the finding. */
  reasonFor(finding: Finding): string | undefined {
    for (const one of finding.evidence ?? []) {
      const alternatives = "absent" in one ? undefined : this.#byIdentity.get(identityOf(one));
      const resolving = alternatives?.find(({ object }) => object !== one && !this.#remains(finding, { object }));
      if (resolving !== undefined)
        return `${idOf(resolving.object)} in ${resolving.manifest.file}, which defines it differently, resolves it`;
    }
    return undefined;
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

/** In different folders they are environments, which are checked one by one. */
function alternativesOf({ replaced }: FileMesh): ReadonlyMap<string, readonly FileObject[]> {
  const found = new Map<string, Set<FileObject>>();
  for (const { earlier, by } of replaced) {
    if (dirname(earlier.manifest.file) !== dirname(by.manifest.file)) continue;
    const identity = identityOf(earlier.object);
    found.set(identity, (found.get(identity) ?? new Set()).add(earlier).add(by));
  }
  return new Map([...found].map(([identity, entries]) => [identity, [...entries]]));
}
