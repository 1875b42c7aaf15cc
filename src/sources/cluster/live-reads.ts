import type { Evidence } from "../../engine/evidence.ts";
import { keyOf } from "../../kube/identity.ts";
import type { KeptFields } from "../../kube/kept-fields.ts";
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
  /** The resources of a kind; undefined if it is not known how the API server serves it. */
  served(kind: Kind): readonly ServedResource[] | undefined;
  /** The raw fields that the rules in force read. */
  readonly keep: () => KeptFields;
}

/** The result of one read. */
type Found = readonly AnyObject[];
interface Read {
  readonly at: ServedResource;
  readonly namespace: string;
  /** Undefined: all objects of the namespace. */
  readonly name: string | undefined;
}

/** Reads single objects, or all objects of one kind in a namespace, from the API server instead of the store. */
export class LiveReads {
  readonly #options: LiveReadsOptions;
  readonly #running = new Map<string, { readonly running: Promise<Found>; next?: Promise<Found> }>();

  constructor(options: LiveReadsOptions) {
    this.#options = options;
  }

  /**
   * Reads the evidence again from the API server and returns it as changes to lay over `mesh`. A present object, and an
   * absent one with a name, is read by name; for an absent one without a name, its kind is listed in its namespace.
   * Undefined: not everything could be read in time. The result is never written into the store, where an older watch
   * event would overwrite it.
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
   * Callers that ask while the same read is running share the next read, because the running one may have been answered
   * before the object that they wait for was stored.
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
    const keep = this.#options.keep();
    // Longer than any caller waits, and short enough that a server which never answers does not block the next read.
    const signal = AbortSignal.timeout(longestReadMs);
    if (read.name === undefined) return listed(read, { connection, keep }, signal);
    try {
      const { body } = await readJson(connection, pathOfRead(read), { signal });
      return received([body], read, keep);
    } catch (error) {
      if (error instanceof ClusterError && error.fault === "absent") return [];
      throw error;
    }
  }
}

const longestReadMs = 1_000;

const pathOfRead = ({ at: { resource, version }, namespace, name }: Read): string =>
  pathOf(resource, version, { namespace, ...(name === undefined ? {} : { name }) });

async function listed(
  read: Read,
  { connection, keep }: { readonly connection: ClusterConnection; readonly keep: KeptFields },
  signal: AbortSignal,
): Promise<Found> {
  const found: AnyObject[] = [];
  const { selector } = read.at.resource;
  for await (const page of listPages(connection, pathOfRead(read), { signal, selector }))
    found.push(...received(page.items, read, keep));
  return found;
}

const received = (items: readonly unknown[], { at: { resource, version } }: Read, keep: KeptFields): Found =>
  items.flatMap((item) => readReceived(asReceived(item, resource, version), resource, keep) ?? []);

function changesOf(read: Read, found: Found, mesh: Mesh): readonly Change[] {
  const keys = new Set(found.map(keyOf));
  const gone = goneFrom(read, keys, mesh);
  return [...found.map((object) => ({ object })), ...gone.map((old) => ({ old }))];
}

/** The objects that the mesh still contains and the read did not find. */
function goneFrom({ at: { resource }, namespace, name }: Read, keys: ReadonlySet<string>, mesh: Mesh): AnyObject[] {
  const gone: AnyObject[] = [];
  for (const object of mesh.all(resource.kind)) {
    const { metadata } = object;
    const isMeant = metadata.namespace === namespace && (name === undefined || metadata.name === name);
    if (isMeant && !object.implied && resource.owns(object) && !keys.has(keyOf(object))) gone.push(object);
  }
  return gone;
}
