import { judge } from "../engine/evaluate.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Finding } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { keyOf } from "../kube/identity.ts";
import { type AnyObject, readAny } from "../kube/object.ts";
import { isObject, type Path } from "../kube/read.ts";
import type { FileObject } from "../sources/manifests/file-mesh.ts";
import { placeholderIn, withValues } from "../sources/manifests/substitution.ts";
import type { Mesh } from "../view/view.ts";

/** The values in manifests that something else replaces before they are applied, and what rests on them. */
export class Placeholders {
  readonly #raws: ReadonlyMap<AnyObject, unknown>;
  readonly #mesh: Mesh;
  readonly #selection: PolicySelection;
  readonly #ofObjects = new Map<AnyObject, string | undefined>();

  /** The mesh is the one with the objects in it. */
  constructor(objects: readonly FileObject[], mesh: Mesh, selection: PolicySelection) {
    this.#raws = new Map(objects.map(({ object, manifest }) => [object, manifest.raw]));
    this.#mesh = mesh;
    this.#selection = selection;
  }

  /** The rest of a sentence that begins with "because"; undefined if the finding rests on no placeholder. */
  reasonFor(finding: Finding): string | undefined {
    const { subject, at, evidence = [], related = [] } = finding;
    const found = this.#at(subject, at) ?? firstOf(evidence, (one) => this.#inEvidence(one));
    const placeholder = found ?? firstOf(related, (one) => this.#in(one));
    return placeholder === undefined || this.#isWrongAnyway(finding)
      ? undefined
      : `${JSON.stringify(placeholder)} is a placeholder, whose value is not known here`;
  }

  /**
   * Whether an object alone is wrong whatever its placeholders stand for, as weights are that do not sum to 100: it has the
   * same problem with other values.
   */
  #isWrongAnyway({ rule, class: of, subject, at, message }: Finding): boolean {
    const raw = this.#raws.get(subject);
    const isOfObject = of === "intrinsic" && at.length > 0 && at[0] !== "metadata" && isObject(raw);
    if (!isOfObject || placeholderIn(message) !== undefined) return false;
    const value = valueAt(raw, at);
    if (typeof value === "string" && placeholderIn(value) !== undefined) return false;
    const { metadata, ...rest } = raw;
    const object = readAny({ ...(withValues(rest) as typeof rest), metadata }, subject.metadata.namespace);
    const there = this.#mesh.find(subject.kind, keyOf(subject));
    const changes = [{ old: there?.implied ? undefined : there, object }];
    const { findings } = judge([rule], this.#mesh, changes, { selection: this.#selection });
    return findings.some((other) => other.message === message && other.at.join("\n") === at.join("\n"));
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
