import { judge } from "../engine/evaluate.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Finding } from "../engine/finding.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { keyOf } from "../kube/identity.ts";
import { type AnyObject, readAny } from "../kube/object.ts";
import { isObject, type Path, valueAt } from "../kube/read.ts";
import { objectInvalid } from "../rules/object/invalid.ts";
import type { FileObject } from "../sources/manifests/file-mesh.ts";
import { placeholderBelow, placeholderIn, withValues } from "../sources/manifests/substitution.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { pathOf } from "./resolved-by-value.ts";

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
    const placeholder = this.under(finding);
    return placeholder === undefined ? undefined : unknownValue(placeholder);
  }

  /** The placeholder on which the finding rests. */
  under(finding: Finding): string | undefined {
    const { subject, at, evidence = [], related = [] } = finding;
    const inFault = placeholderOfFault(finding);
    if (inFault !== undefined) return inFault;
    const found = this.#at(subject, at) ?? firstOf(evidence, (one) => this.#inEvidence(one));
    const placeholder = found ?? firstOf(related, (one) => this.#in(one));
    return placeholder === undefined || this.#isWrongAnyway(finding) ? undefined : placeholder;
  }

  /**
   * Whether something is wrong whatever the placeholders in it stand for, as weights are that do not sum to 100: there is the
   * same problem with other values. Names are left as they are, because what belongs to them is not known.
   */
  #isWrongAnyway({ rule, class: of, subject, at, message, evidence = [] }: Finding): boolean {
    const isOfObject = at.length > 0 && at[0] !== "metadata" && of !== "weakening";
    const value = valueAt(this.#raws.get(subject), at);
    const said = typeof value === "string" ? [message, value] : [message];
    if (!isOfObject || said.some((text) => placeholderIn(text) !== undefined)) return false;
    const others = evidence.flatMap((one) => ("absent" in one ? [] : [one]));
    const named = of === "relational" ? [subject, ...others] : [];
    if (others.length < evidence.length || named.some((one) => inNameOf(one) !== undefined)) return false;
    const changes = [...new Set([subject, ...others])].flatMap((one) => this.#withOtherValues(one));
    const { findings } = judge([rule], this.#mesh, changes, { selection: this.#selection });
    return findings.some((other) => other.message === message && pathOf(other.at) === pathOf(at));
  }

  #withOtherValues(one: AnyObject): readonly Change[] {
    const raw = this.#raws.get(one);
    if (!isObject(raw)) return [];
    const { metadata, ...rest } = raw;
    const object = readAny({ ...withValues(rest), metadata }, one.metadata.namespace);
    const there = this.#mesh.find(one.kind, keyOf(one));
    return [{ old: there?.implied ? undefined : there, object }];
  }

  #at(object: AnyObject, at: Path): string | undefined {
    const inName = inNameOf(object);
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

export const unknownValue = (placeholder: string): string =>
  `${JSON.stringify(placeholder)} is a placeholder, whose value is not known here`;

/** The placeholder that may stand for a value with which the API server would not reject the object. */
export function placeholderOfFault({ rule, subject, at }: Finding): string | undefined {
  if (rule !== objectInvalid) return undefined;
  return subject.invalid?.find((fault) => pathOf(fault.at) === pathOf(at))?.placeholder;
}

const inNameOf = ({ metadata: { namespace, name } }: AnyObject): string | undefined =>
  placeholderIn(`${namespace}/${name}`);

function firstOf<T>(all: readonly T[], find: (one: T) => string | undefined): string | undefined {
  for (const one of all) {
    const found = find(one);
    if (found !== undefined) return found;
  }
  return undefined;
}
