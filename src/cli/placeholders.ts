import type { Evidence } from "../engine/evidence.ts";
import type { Finding } from "../engine/finding.ts";
import type { AnyObject } from "../kube/object.ts";
import { isObject, type Path } from "../kube/read.ts";
import type { FileObject } from "../sources/manifests/file-mesh.ts";
import { placeholderIn } from "../sources/manifests/substitution.ts";

/** The values in manifests that something else replaces before they are applied, and what rests on them. */
export class Placeholders {
  readonly #raws: ReadonlyMap<AnyObject, unknown>;
  readonly #ofObjects = new Map<AnyObject, string | undefined>();

  constructor(objects: readonly FileObject[]) {
    this.#raws = new Map(objects.map(({ object, manifest }) => [object, manifest.raw]));
  }

  /** The rest of a sentence that begins with "because"; undefined if no placeholder concerns the finding. */
  reasonFor({ subject, at, evidence = [], related = [] }: Finding): string | undefined {
    const found = this.#at(subject, at) ?? firstOf(evidence, (one) => this.#inEvidence(one));
    const placeholder = found ?? firstOf(related, (one) => this.#in(one));
    return placeholder === undefined
      ? undefined
      : `${JSON.stringify(placeholder)} is a placeholder, whose value is not known here`;
  }

  #at(object: AnyObject, at: Path): string | undefined {
    const inName = placeholderIn(`${object.metadata.namespace}/${object.metadata.name}`);
    if (inName !== undefined) return inName;
    return at.length === 0 ? this.#in(object) : placeholderBelow(valueAt(this.#raws.get(object), at));
  }

  #inEvidence(one: Evidence): string | undefined {
    return "absent" in one ? placeholderIn(`${one.namespace}/${one.name ?? ""}`) : this.#in(one);
  }

  /** Annotations are left out: few rules read them, and templates of other tools are often kept there. */
  #in(object: AnyObject): string | undefined {
    if (!this.#ofObjects.has(object)) {
      const raw = this.#raws.get(object);
      const { metadata, ...rest } = isObject(raw) ? raw : {};
      const { annotations: _, ...read } = isObject(metadata) ? metadata : {};
      this.#ofObjects.set(object, placeholderBelow([read, rest]));
    }
    return this.#ofObjects.get(object);
  }
}

function firstOf<T>(all: readonly T[], find: (one: T) => string | undefined): string | undefined {
  for (const one of all) {
    const found = find(one);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The value at a path, or at the last part of it that exists. */
function valueAt(raw: unknown, at: Path): unknown {
  let value = raw;
  for (const step of at) {
    const next: unknown = Array.isArray(value) ? value[Number(step)] : isObject(value) ? value[step] : undefined;
    if (next === undefined) return value;
    value = next;
  }
  return value;
}

/** Without recursion: a document may be thousands of levels deep. */
function placeholderBelow(root: unknown): string | undefined {
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    const found = typeof value === "string" ? placeholderIn(value) : undefined;
    if (found !== undefined) return found;
    const inner: readonly unknown[] = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    for (let i = inner.length - 1; i >= 0; i--) open.push(inner[i]);
  }
  return undefined;
}
