import type { IncomingMessage } from "node:http";
import { PassThrough, Readable } from "node:stream";
import jsonPatch from "fast-json-patch";
import { statusError } from "../../src/sources/cluster/cluster-error.ts";
import type { ApiRequest, ClusterConnection } from "../../src/sources/cluster/connection.ts";

// oxlint-disable-next-line no-explicit-any -- objects are built and changed field by field
export type Raw = Record<string, any>;

export interface SeenRequest {
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`. */
  readonly verb: string;
  readonly plural: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly body: Raw;
  readonly contentType: string | undefined;
}

/** Called before a request is answered; throws to answer with an error. May wait. */
type Hook = (request: SeenRequest) => void | Promise<void>;

interface Watcher {
  readonly prefix: string;
  readonly wanted: (key: string) => boolean;
  readonly stream: PassThrough;
}

const copyOf = <T>(value: T): T => structuredClone(value);

/**
 * The storage of an API server behind the interface of a connection, without sockets: resource versions, uids, conflicts,
 * dry runs, merge and JSON patches, lists and watches with field selectors for a name. `hook` can fail or delay requests.
 */
export class MemoryCluster {
  readonly requests: SeenRequest[] = [];
  hook: Hook = () => undefined;
  /** Called after each change of an object. */
  changed: (key: string) => void = () => undefined;
  readonly #objects = new Map<string, Raw>();
  readonly #watchers = new Set<Watcher>();
  #version = 100;

  /**
   * A connection of one client; all share the storage. `hook` applies to this client alone. `answered` is called when a
   * request was fulfilled; if it throws, the client does not learn of that.
   */
  connect(hook: Hook = () => undefined, answered: Hook = () => undefined): ClusterConnection {
    return {
      server: "https://cluster",
      request: (request) => this.#request(request, hook, answered),
      close: () => undefined,
    };
  }

  /** `secrets/meshward-system/meshward-tls`; undefined if there is none. A copy. */
  get(key: string): Raw | undefined {
    const found = this.#objects.get(key);
    return found && copyOf(found);
  }

  /** Writes as somebody else would, without a precondition. */
  put(key: string, object: Raw): void {
    const before = this.#objects.get(key);
    const [, namespace = "", name = ""] = key.split("/");
    const metadata = {
      uid: before?.["metadata"].uid ?? `uid-${++this.#version}`,
      ...copyOf(object["metadata"] ?? {}),
      name,
      ...(namespace === "" ? {} : { namespace }),
      resourceVersion: String(++this.#version),
    };
    this.#store(key, { ...copyOf(object), metadata }, before === undefined ? "ADDED" : "MODIFIED");
  }

  remove(key: string): void {
    const before = this.#objects.get(key);
    if (before === undefined) throw new Error(`${key} does not exist`);
    this.#objects.delete(key);
    before["metadata"].resourceVersion = String(++this.#version);
    this.#publish(key, "DELETED", before);
  }

  /** Breaks every watch. */
  cutWatches(): void {
    for (const { stream } of this.#watchers) stream.destroy();
    this.#watchers.clear();
  }

  verbs(plural: string): readonly string[] {
    return this.requests.filter((request) => request.plural === plural).map(({ verb }) => verb);
  }

  async #request(request: ApiRequest, hook: Hook, answered: Hook): Promise<IncomingMessage> {
    const seen = seenRequest(request);
    this.requests.push(seen);
    request.signal?.throwIfAborted();
    await this.hook(seen);
    await hook(seen);
    request.signal?.throwIfAborted();
    if (seen.verb === "watch") return this.#watch(seen, request.signal) as unknown as IncomingMessage;
    const answer = this.#answer(seen);
    await answered(seen);
    return Readable.from([Buffer.from(JSON.stringify(answer))]) as IncomingMessage;
  }

  #answer(seen: SeenRequest): Raw {
    const key = `${seen.plural}/${seen.namespace}/${seen.name}`;
    switch (seen.verb) {
      case "list":
        return { items: this.#list(seen), metadata: { resourceVersion: String(this.#version) } };
      case "get":
        return this.#existing(key);
      case "create":
        return this.#create(seen);
      case "update":
        return this.#update(key, seen.body, seen);
      case "patch":
        return this.#update(key, patched(this.#existing(key), seen), seen);
      case "delete":
        return this.#delete(key, seen);
      default:
        throw new Error(`${seen.verb} is not known`);
    }
  }

  #existing(key: string): Raw {
    const found = this.#objects.get(key);
    if (found === undefined) throw refusal(404, "NotFound", `${key} not found`);
    return copyOf(found);
  }

  #list(seen: SeenRequest): readonly Raw[] {
    const wanted = wantedBy(seen);
    return [...this.#objects].filter(([key]) => wanted(key)).map(([, object]) => copyOf(object));
  }

  #create({ plural, namespace, body, query }: SeenRequest): Raw {
    const key = `${plural}/${namespace}/${String(body["metadata"].name)}`;
    if (this.#objects.has(key)) throw refusal(409, "AlreadyExists", `${key} already exists`);
    if (body["metadata"].resourceVersion !== undefined)
      throw refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created");
    const metadata = { ...body["metadata"], uid: `uid-${this.#version}`, resourceVersion: String(++this.#version) };
    const created = { ...copyOf(body), metadata };
    if (!query.has("dryRun")) this.#store(key, created, "ADDED");
    return copyOf(created);
  }

  #update(key: string, body: Raw, { query }: SeenRequest): Raw {
    const before = this.#existing(key);
    const asked = body["metadata"].resourceVersion;
    if (asked !== undefined && asked !== before["metadata"].resourceVersion)
      throw refusal(409, "Conflict", `${key}: the object has been modified`);
    const metadata = { ...body["metadata"], resourceVersion: String(++this.#version) };
    const updated = { ...copyOf(body), metadata };
    if (!query.has("dryRun")) this.#store(key, updated, "MODIFIED");
    return copyOf(updated);
  }

  #delete(key: string, { body }: SeenRequest): Raw {
    const { resourceVersion, uid } = this.#existing(key)["metadata"];
    const wanted = (body["preconditions"] ?? {}) as Raw;
    if ((wanted["uid"] ?? uid) !== uid || (wanted["resourceVersion"] ?? resourceVersion) !== resourceVersion)
      throw refusal(409, "Conflict", `${key}: the precondition failed`);
    this.remove(key);
    return { kind: "Status", status: "Success" };
  }

  #watch(seen: SeenRequest, signal: AbortSignal | undefined): PassThrough {
    const stream = new PassThrough();
    const watcher = { prefix: `${seen.plural}/`, wanted: wantedBy(seen), stream };
    this.#watchers.add(watcher);
    const from = Number(seen.query.get("resourceVersion"));
    for (const [key, object] of this.#objects)
      if (watcher.wanted(key) && Number(object["metadata"].resourceVersion) > from)
        stream.write(`${JSON.stringify({ type: "MODIFIED", object })}\n`);
    signal?.addEventListener("abort", () => {
      this.#watchers.delete(watcher);
      stream.destroy(signal.reason as Error);
    });
    return stream;
  }

  #store(key: string, object: Raw, type: string): void {
    this.#objects.set(key, object);
    this.#publish(key, type, object);
  }

  #publish(key: string, type: string, object: Raw): void {
    for (const { wanted, stream } of this.#watchers)
      if (wanted(key)) stream.write(`${JSON.stringify({ type, object })}\n`);
    this.changed(key);
  }
}

export const refusal = (status: number, reason: string, said: string) =>
  statusError("https://cluster", { status, reason, said, isWrite: true });

/** What RBAC answers. */
export const forbidden = ({ verb, plural, name }: SeenRequest) =>
  refusal(403, "Forbidden", `${plural} "${name}" is forbidden: User "meshward" cannot ${verb} resource "${plural}"`);

function patched(before: Raw, { body, contentType }: SeenRequest): Raw {
  if (contentType === "application/json-patch+json") {
    try {
      return jsonPatch.applyPatch(before, body as unknown as jsonPatch.Operation[]).newDocument;
    } catch (error) {
      throw refusal(422, "Invalid", `the patch does not apply: ${(error as Error).name}`);
    }
  }
  return merged(before, body);
}

function merged(before: unknown, patch: unknown): Raw {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch as Raw;
  const result: Raw = typeof before === "object" && before !== null ? { ...before } : {};
  for (const [field, value] of Object.entries(patch))
    if (value === null) delete result[field];
    else result[field] = merged(result[field], value);
  return result;
}

function wantedBy({ plural, namespace, query }: SeenRequest): (key: string) => boolean {
  const name = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  return (key) => {
    const [ofPlural, ofNamespace, ofName] = key.split("/");
    return (
      ofPlural === plural && (namespace === "" || ofNamespace === namespace) && (name === undefined || ofName === name)
    );
  };
}

const verbs: Readonly<Record<string, string>> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

function seenRequest({ method = "GET", path, body, contentType }: ApiRequest): SeenRequest {
  const url = new URL(path, "https://cluster");
  const place = placeOf(url.pathname);
  const reading = url.searchParams.get("watch") === "1" ? "watch" : place.name === "" ? "list" : "get";
  return {
    verb: verbs[method] ?? reading,
    ...place,
    query: url.searchParams,
    body: copyOf((body ?? {}) as Raw),
    contentType,
  };
}

/** `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME]` */
function placeOf(path: string): Pick<SeenRequest, "plural" | "namespace" | "name"> {
  const parts = path.split("/").filter((part) => part !== "");
  const rest = parts.slice(parts[0] === "api" ? 2 : 3);
  const isNamespaced = rest[0] === "namespaces" && rest.length > 2;
  const [plural = "", name = ""] = isNamespaced ? rest.slice(2) : rest;
  return { plural, name, namespace: isNamespaced ? (rest[1] ?? "") : "" };
}
