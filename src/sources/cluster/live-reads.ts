import type { Evidence } from "../../engine/evidence.ts";
import { keyOf } from "../../kube/identity.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Change } from "../../view/overlay.ts";
import type { Mesh } from "../../view/view.ts";
import { ClusterError } from "./cluster-error.ts";
import type { ClusterConnection } from "./connection.ts";
import { listPages, readJson } from "./list.ts";
import { asReceived, type ClusterResource, pathOf, readReceived } from "./resources.ts";

/** A resource that the API server is known to serve. */
export interface ServedResource {
  readonly resource: ClusterResource;
  readonly version: string;
}

export interface LiveReadsOptions {
  readonly connection: ClusterConnection;
  /** The resources of a kind; undefined: it cannot be said how the API server serves it. */
  served(kind: Kind): readonly ServedResource[] | undefined;
}

/** What one read found. */
type Found = readonly AnyObject[];
interface Read {
  readonly at: ServedResource;
  readonly namespace: string;
  /** Undefined: all of the namespace. */
  readonly name: string | undefined;
}

/** Reads single objects and single namespaces of one kind from the API server, past the store. */
export class LiveReads {
  readonly #options: LiveReadsOptions;
  readonly #running = new Map<string, { readonly running: Promise<Found>; next?: Promise<Found> }>();

  constructor(options: LiveReadsOptions) {
    this.#options = options;
  }

  /**
   * What the API server holds of these evidence now, as changes to lay over `mesh`: a present one and an absent
   * one with a name are looked up, an absent one without is a list of its kind in its namespace. Undefined: not all of
   * it could be had in time. Never written into the store, where an older event of the watch would undo it.
   */
  async read(evidence: Iterable<Evidence>, mesh: Mesh, deadlineMs: number): Promise<readonly Change[] | undefined> {
    const reads = new Map<string, Read>();
    for (const one of evidence) {
      const wanted = this.#readsOf(one);
      if (wanted === undefined) return undefined;
      for (const read of wanted) reads.set(pathOfRead(read), read);
    }
    const signal = AbortSignal.timeout(deadlineMs);
    const late = new Promise<undefined>((resolve) =>
      signal.addEventListener("abort", () => resolve(undefined), { once: true }),
    );
    const all = Promise.all([...reads.values()].map(async (read) => changesOf(read, await this.#merged(read), mesh)));
    return Promise.race([all.then((changes) => changes.flat()).catch(() => undefined), late]);
  }

  #readsOf(one: Evidence): readonly Read[] | undefined {
    const isAbsent = "absent" in one;
    const served = this.#options.served(isAbsent ? one.absent : one.kind);
    if (served === undefined) return undefined;
    if (isAbsent) return served.map((at) => ({ at, namespace: one.namespace, name: one.name }));
    const at = served.find(({ resource }) => resource.owns(one));
    return at && [{ at, namespace: one.metadata.namespace, name: one.metadata.name }];
  }

  /**
   * Whoever asks while the same read runs gets the next one, together with all others who do: the one that runs may
   * have been answered before what they wait for was stored.
   */
  #merged(read: Read): Promise<Found> {
    const key = pathOfRead(read);
    const there = this.#running.get(key);
    if (there === undefined) {
      const running = this.#readNow(read).finally(() => this.#running.delete(key));
      this.#running.set(key, { running });
      return running;
    }
    there.next ??= there.running.catch(() => undefined).then(() => this.#merged(read));
    return there.next;
  }

  async #readNow(read: Read): Promise<Found> {
    const { connection } = this.#options;
    // Longer than anyone waits, shorter than a server that never answers holds the next read up.
    const signal = AbortSignal.timeout(longestReadMs);
    if (read.name === undefined) return listed(read, connection, signal);
    try {
      const { body } = await readJson(connection, pathOfRead(read), { signal });
      return received([body], read);
    } catch (error) {
      if (error instanceof ClusterError && error.fault === "absent") return [];
      throw error;
    }
  }
}

const longestReadMs = 1_000;

const pathOfRead = ({ at: { resource, version }, namespace, name }: Read): string =>
  pathOf(resource, version, { namespace, ...(name === undefined ? {} : { name }) });

async function listed(read: Read, connection: ClusterConnection, signal: AbortSignal): Promise<Found> {
  const found: AnyObject[] = [];
  const { selector } = read.at.resource;
  for await (const page of listPages(connection, pathOfRead(read), { signal, selector }))
    found.push(...received(page.items, read));
  return found;
}

const received = (items: readonly unknown[], { at: { resource, version } }: Read): Found =>
  items.flatMap((item) => readReceived(asReceived(item, resource, version), resource) ?? []);

function changesOf(read: Read, found: Found, mesh: Mesh): readonly Change[] {
  const keys = new Set(found.map(keyOf));
  const gone = goneFrom(read, keys, mesh);
  return [...found.map((object) => ({ object })), ...gone.map((old) => ({ old }))];
}

/** What the mesh still shows where the read found nothing. */
function goneFrom({ at: { resource }, namespace, name }: Read, keys: ReadonlySet<string>, mesh: Mesh): AnyObject[] {
  const gone: AnyObject[] = [];
  for (const object of mesh.all(resource.kind)) {
    const { metadata } = object;
    const isMeant = metadata.namespace === namespace && (name === undefined || metadata.name === name);
    if (isMeant && !object.implied && resource.owns(object) && !keys.has(keyOf(object))) gone.push(object);
  }
  return gone;
}
