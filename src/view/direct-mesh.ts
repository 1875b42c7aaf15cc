import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { AnyFact, Index, Knowledge, Mesh, Relation } from "./view.ts";

/** A mesh that computes each answer anew, from its indexes. A side of a change remembers answers, and counts work. */
export abstract class DirectMesh implements Mesh {
  abstract readonly settings: AllMeshSettings;
  abstract readonly kindsPresent: ReadonlySet<Kind>;
  abstract knowledge(kind: Kind): Knowledge;
  abstract unknownKinds(): readonly Kind[];
  abstract find(kind: Kind, key: string): AnyObject | undefined;
  abstract all<K extends Kind>(kind: K): Iterable<ObjectOf<K>>;
  abstract at(index: Index, key: string): readonly AnyObject[];
  abstract isEmpty(index: Index): boolean;
  abstract lookup(index: Index, keys: Iterable<string>): readonly AnyObject[];
  abstract population(namespace: string): number;

  knows(kind: Kind): boolean {
    return this.knowledge(kind) !== "unknown";
  }
  knowsAll(kind: Kind): boolean {
    return this.knowledge(kind) === "complete";
  }
  related(relation: Relation, object: AnyObject): readonly never[] {
    return this.lookup(relation.to, relation.from.keys(object, this.settings)) as readonly never[];
  }
  under(relation: Relation, keys: Iterable<string>): readonly never[] {
    return this.lookup(relation.to, keys) as readonly never[];
  }
  hasUnder(relation: Relation, key: string): boolean {
    return this.at(relation.to, key).length > 0;
  }
  hasAny(relation: Relation): boolean {
    return !this.isEmpty(relation.to);
  }
  visited(): void {}
  get(fact: AnyFact, subject: AnyObject | string): never {
    return fact.compute(subject as never, this) as never;
  }
}
