import { keyOf, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { type AnyObject, impliedNamespace, type ObjectOf } from "../kube/object.ts";
import { DirectMesh } from "./direct-mesh.ts";
import { sameKinds } from "./kinds-present.ts";
import { ObjectTable } from "./object-table.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { Index, Knowledge, Mesh } from "./view.ts";

/** A change of one object: create (without `old`), update, or delete (without `object`). */
export interface Change {
  readonly old?: AnyObject | undefined;
  readonly object?: AnyObject | undefined;
}

export const subjectOf = ({ old, object }: Change): AnyObject => (object ?? old) as AnyObject;

/**
 * The mesh as it would be after these changes. The cost depends on the number of changed objects only, and overlays can
 * be nested. `mentioned` are namespaces that the view contains at least as implied Namespaces, even if they are empty.
 */
export function overlay(base: Mesh, changes: readonly Change[], mentioned: Iterable<string> = []): Mesh {
  return new Overlay(base, changes, new Set(mentioned));
}

/**
 * The same, and calls `onRead` whenever an answer differs from that of `base`: with each object that only the overlay has,
 * and with each object of `base` that it replaces or removes, also for implied Namespaces. If it is never called, `base` would have given every answer.
 */
export function observedOverlay(base: Mesh, changes: readonly Change[], onRead: (object: AnyObject) => void): Mesh {
  return new Overlay(base, changes, new Set(), { onRead });
}

/** The number of objects that are entered before others get a turn. */
const enteredAtOnce = 100;

/**
 * The same objects with other settings. No key depends on a setting that is different, but for those of `entered`, which are
 * computed anew. Yields in between. An index that is not one of `indexes` is built when it is first used, in one step for all of
 * these.
 */
export function* withSettings(
  base: Mesh,
  settings: AllMeshSettings,
  { entered, indexes }: { readonly entered: readonly AnyObject[]; readonly indexes: readonly Index[] },
): Generator<void, Mesh> {
  const overlay = new Overlay(base, [], new Set(), { settings });
  if (entered.length > 0) overlay.prepare(indexes);
  for (const [i, object] of entered.entries()) {
    overlay.enter(object);
    if ((i + 1) % enteredAtOnce === 0) yield;
  }
  return overlay;
}

interface OverlayOptions {
  readonly onRead?: (object: AnyObject) => void;
  /** Default: those of the base. */
  readonly settings?: AllMeshSettings;
}

export class Overlay extends DirectMesh {
  readonly settings: AllMeshSettings;
  readonly #base: Mesh;
  readonly #layer: ObjectTable;
  readonly #gone = new Set<AnyObject>();
  readonly #touched = new Set<Kind>();
  readonly #added = new Map<string, number>();
  #onRead: ((object: AnyObject) => void) | undefined;

  constructor(
    base: Mesh,
    changes: readonly Change[],
    mentioned: ReadonlySet<string>,
    { onRead, settings = base.settings }: OverlayOptions = {},
  ) {
    super();
    this.settings = settings;
    this.#base = base;
    this.#layer = new ObjectTable(settings);
    for (const change of changes) this.#apply(change);
    for (const namespace of new Set([...this.#added.keys(), ...mentioned])) this.#imply(namespace, mentioned);
    this.#onRead = onRead;
  }

  #apply(change: Change): void {
    const { kind, metadata } = subjectOf(change);
    const key = keyOf(subjectOf(change));
    const there = this.find(kind, key);
    if (there !== undefined) this.#remove(there, key);
    if (change.object !== undefined) this.#set(change.object);
    const added = (change.object === undefined ? 0 : 1) - (there === undefined || there.implied ? 0 : 1);
    const namespace = kind === "Namespace" ? metadata.name : metadata.namespace;
    if (namespace !== "")
      this.#added.set(namespace, (this.#added.get(namespace) ?? 0) + (kind === "Namespace" ? 0 : added));
  }

  /** An index without objects costs nothing, and each object is then entered as it comes. */
  prepare(indexes: readonly Index[]): void {
    for (const index of indexes) this.#layer.lookup(index, []);
  }

  /** Computes the keys of an object of the base with the settings of the overlay. */
  enter(object: AnyObject): void {
    this.#remove(object, keyOf(object));
    this.#set(object);
  }

  /** Hides a change that the base has made since this overlay was made, so that the overlay stays as it was. */
  hide({ old, object }: Change): void {
    const { kind, metadata } = subjectOf({ old, object });
    this.#touched.add(kind);
    if (object !== undefined) this.#gone.add(object);
    // What is hidden itself came after this overlay was made.
    if (old !== undefined && (old === object || !this.#gone.has(old))) this.#layer.set(old);
    if (kind === "Namespace") return;
    const added = (object === undefined ? 0 : 1) - (old === undefined ? 0 : 1);
    this.#added.set(metadata.namespace, (this.#added.get(metadata.namespace) ?? 0) - added);
  }

  /** Adds or removes the implied Namespace of a namespace with objects, as MeshStore does. */
  #imply(namespace: string, mentioned: ReadonlySet<string>): void {
    if (namespace === "") return;
    const shown = mentioned.has(namespace) || this.population(namespace) > 0;
    const there = this.find("Namespace", namespaceKey(namespace));
    if (there === undefined && shown) this.#set(impliedNamespace(namespace));
    else if (there?.implied && !shown) this.#remove(there, namespaceKey(namespace));
  }

  #set(object: AnyObject): void {
    this.#touched.add(object.kind);
    this.#layer.set(object);
  }

  #remove(object: AnyObject, key: string): void {
    this.#touched.add(object.kind);
    if (this.#layer.delete(object.kind, key) === undefined) this.#gone.add(object);
  }

  knowledge(kind: Kind): Knowledge {
    return this.#base.knowledge(kind);
  }
  unknownKinds(): readonly Kind[] {
    return this.#base.unknownKinds();
  }
  /** Also kinds of which the overlay removes the last object. */
  get kindsPresent(): ReadonlySet<Kind> {
    let present = this.#base.kindsPresent;
    for (const kind of this.#touched)
      if (!present.has(kind) && this.#layer.count(kind) > 0) present = sameKinds([...present, kind]);
    return present;
  }
  population(namespace: string): number {
    return this.#base.population(namespace) + (this.#added.get(namespace) ?? 0);
  }
  find(kind: Kind, key: string): AnyObject | undefined {
    if (!this.#touched.has(kind)) return this.#base.find(kind, key);
    const above = this.#layer.find(kind, key);
    if (above !== undefined) {
      this.#onRead?.(above);
      return above;
    }
    const below = this.#base.find(kind, key);
    if (below === undefined || !this.#gone.has(below)) return below;
    this.#onRead?.(below);
    return undefined;
  }
  *all<K extends Kind>(kind: K): Iterable<ObjectOf<K>> {
    for (const object of this.#base.all(kind)) {
      if (!this.#gone.has(object as AnyObject)) yield object;
      else this.#onRead?.(object as AnyObject);
    }
    for (const object of this.#layer.all(kind)) {
      this.#onRead?.(object as AnyObject);
      yield object;
    }
  }
  at(index: Index, key: string): readonly AnyObject[] {
    if (!this.#touched.has(index.kind)) return this.#base.at(index, key);
    return this.#together(this.#base.at(index, key), this.#layer.at(index, key));
  }
  isEmpty(index: Index): boolean {
    return this.#base.isEmpty(index) && (!this.#touched.has(index.kind) || this.#layer.isEmpty(index));
  }
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[] {
    if (!this.#touched.has(index.kind)) return this.#base.lookup(index, keys);
    const wanted = [...keys];
    return this.#together(this.#base.lookup(index, wanted), this.#layer.lookup(index, wanted));
  }
  #together(below: readonly AnyObject[], above: readonly AnyObject[]): readonly AnyObject[] {
    // If none of its objects is gone, the list is the same one, so that values computed from it stay valid.
    const isLess = this.#gone.size > 0 && below.some((object) => this.#gone.has(object));
    const kept = isLess ? below.filter((object) => !this.#gone.has(object)) : below;
    if (this.#onRead !== undefined) this.#report(above, isLess ? below : []);
    return above.length === 0 ? kept : [...kept, ...above];
  }
  #report(above: readonly AnyObject[], below: readonly AnyObject[]): void {
    for (const object of above) this.#onRead?.(object);
    for (const object of below) if (this.#gone.has(object)) this.#onRead?.(object);
  }
}
