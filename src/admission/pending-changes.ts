import { identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject, ObjectMetadata } from "../kube/object.ts";
import { type Change, observedOverlay, subjectOf } from "../view/overlay.ts";
import { decidesSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";

/** A change that was admitted and that the mesh view does not show yet. */
export interface PendingChange {
  readonly identity: string;
  readonly change: Change;
  /** Milliseconds since 1970. */
  readonly admittedAt: number;
  /** The object of the view when the change was admitted. */
  readonly replaced: AnyObject | undefined;
}

export interface PendingChangesOptions {
  /** Waits, in milliseconds. */
  readonly wait: (milliseconds: number) => Promise<unknown>;
  /** Milliseconds since 1970. Default: the clock of the system. */
  readonly now?: () => number;
  /** How many changes are kept; of more, the oldest are forgotten. */
  readonly most?: number;
  /** How long a change is kept that never appears, because something else refused it, in milliseconds. */
  readonly keepMs?: number;
}

/** A mesh with the pending changes applied. */
export interface PendingView {
  readonly mesh: Mesh;
  /** The pending changes that were read since the view was created. If it stays empty, they had no effect. */
  readonly read: ReadonlySet<PendingChange>;
}

/** After a change is admitted, the API server stores it and sends the watch event within milliseconds. */
const defaults = { most: 128, keepMs: 10_000 };
const nothing: ReadonlySet<PendingChange> = new Set();

/**
 * The changes that this replica admitted and that the watch has not shown yet. Two changes at the same moment may each be
 * right alone and wrong together, so the second one is also evaluated as if the first one were stored.
 *
 * A change that was admitted is not always stored: another webhook or a quota may refuse it, or its object may have been
 * changed meanwhile. So nothing here may decide about another change until the API server has confirmed it.
 */
export class PendingChanges {
  readonly wait: PendingChangesOptions["wait"];
  readonly #now: () => number;
  readonly #most: number;
  readonly #keepMs: number;
  /** By identity, oldest first. */
  readonly #changes = new Map<string, PendingChange>();
  #mark = 0;

  constructor({ wait, now = Date.now, most = defaults.most, keepMs = defaults.keepMs }: PendingChangesOptions) {
    this.wait = wait;
    this.#now = now;
    this.#most = most;
    this.#keepMs = keepMs;
  }

  get size(): number {
    return this.#changes.size;
  }

  /** Grows with every added change. */
  get mark(): number {
    return this.#mark;
  }

  /** Adds a change that was admitted and that is not a dry run. `mesh` is the view that it will appear in. */
  add(change: Change, mesh: Mesh): void {
    // A change of mesh settings would need a new view with other keys, for which a review has no time.
    if ([change.old, change.object].some((one) => one !== undefined && decidesSettings(one))) return;
    const subject = subjectOf(change);
    if (subject.metadata.name === "") return;
    const identity = identityOf(subject);
    this.#changes.delete(identity);
    const replaced = mesh.find(subject.kind, keyOf(subject));
    this.#changes.set(identity, { identity, change, admittedAt: this.#now(), replaced });
    this.#mark++;
    for (const [oldest] of this.#changes) {
      if (this.#changes.size <= this.#most) break;
      this.#changes.delete(oldest);
    }
  }

  /** Forgets the changes that this view shows, and those that are too old. */
  forget(mesh: Mesh): void {
    if (this.#changes.size === 0) return;
    const oldest = this.#now() - this.#keepMs;
    for (const [identity, pending] of this.#changes)
      if (pending.admittedAt < oldest || isShownBy(pending, mesh)) this.#changes.delete(identity);
  }

  /** The changes that `mesh` does not show, applied to it. `except` is the identity of the object that is reviewed. */
  over(mesh: Mesh, except: string): PendingView {
    if (this.#changes.size === 0) return { mesh, read: nothing };
    const missing = new Map<string, PendingChange>();
    for (const [identity, pending] of this.#changes)
      if (identity !== except && !isShownBy(pending, mesh)) missing.set(identity, pending);
    if (missing.size === 0) return { mesh, read: nothing };
    const read = new Set<PendingChange>();
    const onRead = (object: AnyObject): void => {
      const pending = missing.get(identityOf(object));
      if (pending !== undefined) read.add(pending);
      if (object.implied) for (const one of missing.values()) if (isIn(object.metadata.name, one)) read.add(one);
    };
    return {
      mesh: observedOverlay(
        mesh,
        [...missing.values()].map(({ change }) => change),
        onRead,
      ),
      read,
    };
  }
}

/** A namespace is implied only because of the objects in it. */
const isIn = (namespace: string, { change }: PendingChange): boolean =>
  subjectOf(change).metadata.namespace === namespace;

/** Whether a mesh shows this change or a later one of the same object. */
export function isShownBy({ change, replaced }: PendingChange, mesh: Mesh): boolean {
  const subject = subjectOf(change);
  const there = known(mesh.find(subject.kind, keyOf(subject)))?.metadata;
  if (change.old === undefined) return there !== undefined && there.uid !== replaced?.metadata.uid;
  // An object that the view has never shown may not have arrived yet.
  if (there === undefined) return known(replaced) !== undefined;
  const isLater = isLaterVersion(there.resourceVersion, change.old.metadata.resourceVersion);
  return isLater && (change.object !== undefined || isDeleted(change.old.metadata, there));
}

const known = (found: AnyObject | undefined): AnyObject | undefined => (found?.implied ? undefined : found);

/** With finalizers, a deleted object stays until they are removed. Until it is being deleted, it may show any update. */
const isDeleted = (old: ObjectMetadata, there: ObjectMetadata): boolean =>
  there.uid !== old.uid || there.deletionTimestamp !== undefined;

/**
 * Resource versions of one resource are decimal numbers of any length that grow (Kubernetes API concepts, "Resource
 * versions"). Other ones can only be compared for equality.
 */
function isLaterVersion(version: string | undefined, than: string | undefined): boolean {
  if (version === undefined || than === undefined || version === than) return false;
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return true;
  return version.length === than.length ? version > than : version.length > than.length;
}
