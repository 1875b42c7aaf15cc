import { judge } from "../../engine/evaluate.ts";
import type { Finding } from "../../engine/finding.ts";
import type { Rule } from "../../engine/rule.ts";
import type { PolicySelection } from "../../engine/setting.ts";
import { namespaceKey } from "../../kube/identity.ts";
import type { Kind } from "../../kube/kinds.ts";
import { type AnyObject, readAny } from "../../kube/object.ts";
import { isObject, type Path, valueAt } from "../../kube/read.ts";
import { objectInvalid } from "../../rules/object/invalid.ts";
import { placeholderBelow, valuesOfAllForms, withValues } from "../../sources/manifests/substitution.ts";
import { knowledgeOf, MeshStore } from "../../view/store.ts";
import type { Knowledge, Mesh } from "../../view/view.ts";
import { placeholderOfFault } from "../placeholders.ts";
import { isResolved, pathOf } from "../resolved-by-value.ts";
import type { FileObject } from "../../sources/manifests/file-mesh.ts";

interface Judging {
  /** The objects of the files. */
  readonly objects: readonly FileObject[];
  /** The mesh with the objects of the files in it. */
  readonly mesh: Mesh;
  readonly rules: readonly Rule[];
  readonly selection: PolicySelection;
}

/** What rules say of objects with other values than their placeholders. */
export class UnknownValues {
  readonly #raws: ReadonlyMap<AnyObject, unknown>;
  readonly #judging: Judging;
  readonly #knowledge: ReadonlyMap<Kind, Knowledge>;
  /** By the object, then by the value; undefined: as it is written. */
  readonly #known = new Map<AnyObject, Map<string | undefined, readonly Finding[]>>();

  constructor(judging: Judging) {
    this.#judging = judging;
    this.#knowledge = knowledgeOf(judging.mesh);
    this.#raws = new Map(judging.objects.map(({ object, manifest }) => [object, manifest.raw]));
  }

  /**
   * The placeholder in a value that an object alone has wrong, and that another value would make right. What the API server would
   * reject was already asked with other values.
   */
  unknownIn(finding: Finding): string | undefined {
    const { rule, class: of, subject, at } = finding;
    if (rule === objectInvalid) return placeholderOfFault(finding);
    const raw = this.#raws.get(subject);
    if (of !== "intrinsic" || at.length === 0 || !isObject(raw)) return undefined;
    const placeholder = placeholderBelow(valueAt(raw, at));
    // Where the API server would reject it whatever the value is, that is not reported beside what the rule says.
    const isRejected = subject.invalid?.some(
      (fault) => fault.placeholder === undefined && pathOf(fault.at) === pathOf(at),
    );
    if (placeholder === undefined || isRejected === true) return undefined;
    const isFoundWith = (value?: string) =>
      this.#findings(subject, value).some((other) => other.rule === rule && pathOf(other.at) === pathOf(at));
    const isRight = (value: string) =>
      !isFoundWith(value) && isResolved(at, { before: this.#faults(subject), after: this.#faults(subject, value) });
    return isFoundWith() && valuesOfAllForms.some(isRight) ? placeholder : undefined;
  }

  /** The places of what an object alone has wrong. */
  #faults(subject: AnyObject, value?: string): readonly Path[] {
    return this.#findings(subject, value).flatMap(({ class: of, at }) => (of === "intrinsic" ? [at] : []));
  }

  /** What the rules of its kind say of an object in which the value stands for its placeholders. */
  #findings(subject: AnyObject, value?: string): readonly Finding[] {
    const byValue = this.#known.get(subject) ?? new Map<string | undefined, readonly Finding[]>();
    this.#known.set(subject, byValue);
    let found = byValue.get(value);
    if (found === undefined) byValue.set(value, (found = this.#judged(subject, value)));
    return found;
  }

  /** No finding without evidence depends on other objects, of which there may be many. */
  #judged(subject: AnyObject, value: string | undefined): readonly Finding[] {
    const { mesh, rules, selection } = this.#judging;
    const raw = this.#raws.get(subject);
    const isAsWritten = value === undefined || !isObject(raw);
    const object = isAsWritten ? subject : readAny(withValues(raw, value), subject.metadata.namespace);
    // It would be no object of this kind.
    if (object === undefined) return this.#findings(subject);
    const alone = new MeshStore(mesh.settings, this.#knowledge);
    const namespace = mesh.find("Namespace", namespaceKey(subject.metadata.namespace));
    // Policies protect it as before if its name has a placeholder, too.
    if (namespace !== undefined && namespace.implied !== true)
      alone.set({ ...namespace, metadata: { ...namespace.metadata, name: object.metadata.namespace } });
    const ofKind = rules.filter((rule) => rule.subject.includes(subject.kind));
    const { findings } = judge(ofKind, alone, [{ old: undefined, object }], { selection });
    return findings.filter((finding) => finding.subject === object);
  }
}
