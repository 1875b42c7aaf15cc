import { namespaceKey } from "../kube/identity.ts";
import { allKinds, type Kind } from "../kube/kinds.ts";
import { type AnyObject, impliedNamespace, type ObjectOf } from "../kube/object.ts";
import { DirectMesh } from "./direct-mesh.ts";
import { ObjectTable } from "./object-table.ts";
import type { Change } from "./overlay.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { Index, Knowledge, Mesh } from "./view.ts";

/** The current objects of a mesh. A source writes it; all other code only reads it. */
export class MeshStore extends DirectMesh {
  readonly settings: AllMeshSettings;
  readonly #table: ObjectTable;
  readonly #knowledge: ReadonlyMap<Kind, Knowledge>;
  readonly #population = new Map<string, number>();
  readonly #watchers = new Set<(change: Change) => void>();

  /** Kinds that `knowledge` does not contain are complete. */
  constructor(settings: AllMeshSettings, knowledge: ReadonlyMap<Kind, Knowledge> = new Map()) {
    super();
    this.settings = settings;
    this.#table = new ObjectTable(settings);
    this.#knowledge = knowledge;
  }

  knowledge(kind: Kind): Knowledge {
    return this.#knowledge.get(kind) ?? "complete";
  }
  unknownKinds(): readonly Kind[] {
    const found: Kind[] = [];
    for (const [kind, knowledge] of this.#knowledge) if (knowledge === "unknown") found.push(kind);
    return found;
  }
  find(kind: Kind, key: string): AnyObject | undefined {
    return this.#table.find(kind, key);
  }
  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>> {
    return this.#table.all(kind);
  }
  at(index: Index, key: string): readonly AnyObject[] {
    return this.#table.at(index, key);
  }
  isEmpty(index: Index): boolean {
    return this.#table.isEmpty(index);
  }
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[] {
    return this.#table.lookup(index, keys);
  }
  get kindsPresent(): ReadonlySet<Kind> {
    return this.#table.kindsPresent;
  }
  population(namespace: string): number {
    return this.#population.get(namespace) ?? 0;
  }
  count(kind: Kind): number {
    return this.#table.count(kind);
  }

  /** Calls `changed` after each change, also of implied Namespaces, until the returned function is called. */
  watch(changed: (change: Change) => void): () => void {
    this.#watchers.add(changed);
    return () => void this.#watchers.delete(changed);
  }

  set(object: AnyObject): void {
    const old = this.#replace(object);
    if (old === undefined) this.#settle(object.metadata.namespace, 1);
  }

  /** `key` is a result of keyOf. */
  delete(kind: Kind, key: string): void {
    const old = this.#remove(kind, key);
    if (old === undefined) return;
    if (kind === "Namespace") this.#settle(old.metadata.name, 0);
    else this.#settle(old.metadata.namespace, -1);
  }

  #replace(object: AnyObject): AnyObject | undefined {
    const old = this.#table.set(object);
    for (const changed of this.#watchers) changed({ old, object });
    return old;
  }

  #remove(kind: Kind, key: string): AnyObject | undefined {
    const old = this.#table.delete(kind, key);
    if (old !== undefined) for (const changed of this.#watchers) changed({ old });
    return old;
  }

  /** Adds an implied Namespace for a namespace with objects, as long as the source has not provided the Namespace. */
  #settle(namespace: string, added: number): void {
    if (namespace === "") return;
    const population = this.population(namespace) + added;
    if (population === 0) this.#population.delete(namespace);
    else this.#population.set(namespace, population);
    const there = this.#table.find("Namespace", namespaceKey(namespace));
    if (there === undefined && population > 0) this.#replace(impliedNamespace(namespace));
    else if (there?.implied && population === 0) this.#remove("Namespace", namespaceKey(namespace));
  }
}

/** A copy with other settings. `knowledge` is shared with the new store, not copied. */
export function rebuilt(mesh: Mesh, settings: AllMeshSettings, knowledge = knowledgeOf(mesh)): MeshStore {
  const store = new MeshStore(settings, knowledge);
  for (const kind of allKinds) for (const object of mesh.all(kind)) if (!object.implied) store.set(object);
  return store;
}

/** How well each kind is known. */
export const knowledgeOf = (mesh: Mesh): ReadonlyMap<Kind, Knowledge> =>
  new Map(allKinds.map((kind) => [kind, mesh.knowledge(kind)]));
