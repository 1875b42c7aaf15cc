import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { Served } from "../../../src/kube/kinds.ts";

export interface RawObject {
  apiVersion?: string;
  kind?: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; resourceVersion?: string } & Record<
    string,
    unknown
  >;
  [field: string]: unknown;
}

export interface SeenRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly isWatch: boolean;
  readonly authorization: string | undefined;
  readonly method: string;
  /** Of what is no GET. */
  readonly body: string;
  /** `list`, `watch`, `get`, with the resource's name. */
  readonly short: string;
}

interface Event {
  readonly version: number;
  readonly type: string;
  readonly object: RawObject;
}

interface Collection {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly objects: Map<string, RawObject>;
  readonly events: Event[];
}

interface Watcher {
  readonly collection: Collection;
  readonly request: SeenRequest;
  readonly response: ServerResponse;
}

/** Answers instead of the server, where it says true; it stays until it has. */
export type Fault = (request: SeenRequest, response: ServerResponse) => boolean | Promise<boolean>;

/**
 * The part of an API server that a reflector talks to, over a real socket: lists in pages, watches that go on from a
 * resource version, single objects. Faults are scripted: the first that answers a request is used up.
 */
export class ListWatchServer {
  readonly requests: SeenRequest[] = [];
  readonly faults: Fault[] = [];
  readonly sockets = new Set<Socket>();
  /** How many connections were ever made. */
  connections = 0;
  /** The only token that is good; undefined: any, and none. */
  token: string | undefined;
  /** The kind of event that a watch gets from before this version: HTTP 410, or an ERROR event. */
  goneBy: "status" | "event" = "status";
  readonly watchers = new Set<Watcher>();
  readonly #server: Server;
  readonly #secure: boolean;
  readonly #collections = new Map<string, Collection>();
  readonly #snapshots = new Map<string, { readonly items: readonly RawObject[]; readonly version: number }>();
  #version = 100;
  #oldest = 0;

  constructor(tls?: { readonly cert: string; readonly key: string }) {
    const handler = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response);
    this.#secure = tls !== undefined;
    this.#server = tls === undefined ? createHttpServer(handler) : createHttpsServer(tls, handler);
    this.#server.on("connection", (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  async listen(port = 0): Promise<string> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    return this.url;
  }
  get url(): string {
    return `${this.#secure ? "https" : "http"}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Serves a resource: `networking.istio.io/v1`, `VirtualService`, `virtualservices`. */
  serve(apiVersion: string, kind: string, plural: string): void {
    this.#collections.set(`${apiVersion}/${plural}`, { apiVersion, kind, plural, objects: new Map(), events: [] });
  }
  stopServing(apiVersion: string, plural: string): void {
    this.#collections.delete(`${apiVersion}/${plural}`);
  }

  serves({ group, versions, plural }: Pick<Served, "group" | "versions" | "plural">): boolean {
    return versions.some((version) =>
      this.#collections.has(`${group === "" ? version : `${group}/${version}`}/${plural}`),
    );
  }

  /** Creates or replaces an object and tells the watchers. */
  apply(plural: string, object: RawObject): RawObject {
    const collection = this.#collection(plural);
    const key = keyOf(object);
    const type = collection.objects.has(key) ? "MODIFIED" : "ADDED";
    const { apiVersion, kind } = collection;
    const version = ++this.#version;
    const stored = { apiVersion, kind, ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    collection.objects.set(key, stored);
    this.#publish(collection, { version, type, object: stored });
    return stored;
  }
  delete(plural: string, key: string): void {
    const collection = this.#collection(plural);
    const object = collection.objects.get(key);
    if (object === undefined) throw new Error(`${plural} ${key} is not there`);
    collection.objects.delete(key);
    const version = ++this.#version;
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.#publish(collection, { version, type: "DELETED", object: last });
  }
  objects(plural: string): readonly RawObject[] {
    return [...this.#collection(plural).objects.values()];
  }

  /** Forgets what was before now: older watches and pages are gone. */
  compact(): void {
    this.#oldest = this.#version;
    this.#snapshots.clear();
  }
  bookmark(): void {
    this.#version++;
    for (const { response, collection } of this.watchers)
      write(response, {
        type: "BOOKMARK",
        object: {
          apiVersion: collection.apiVersion,
          kind: collection.kind,
          metadata: { resourceVersion: String(this.#version) },
        },
      });
  }
  /** Writes to every watcher of a resource as it stands. */
  send(plural: string, text: string): void {
    for (const { response, collection } of this.watchers) if (collection.plural === plural) response.write(text);
  }
  /** Breaks every open watch as a dying server does. */
  cutWatches(): void {
    for (const { response } of this.watchers) response.destroy();
    this.watchers.clear();
  }
  /** Ends every open watch in order. */
  endWatches(): void {
    for (const { response } of this.watchers) response.end();
    this.watchers.clear();
  }
  /** Watchers stay connected and hear nothing any more. */
  muteWatches(): void {
    this.watchers.clear();
  }
  watchersOf(plural: string): number {
    return [...this.watchers].filter(({ collection }) => collection.plural === plural).length;
  }
  /** `list virtualservices`, `watch virtualservices`, in the order they came. */
  get short(): readonly string[] {
    return this.requests.map((request) => request.short);
  }
  count(short: string): number {
    return this.requests.filter((request) => request.short === short).length;
  }

  #collection(plural: string): Collection {
    for (const collection of this.#collections.values()) if (collection.plural === plural) return collection;
    throw new Error(`${plural} is not served`);
  }

  #publish(collection: Collection, event: Event): void {
    collection.events.push(event);
    for (const watcher of this.watchers)
      if (watcher.collection === collection && isSelected(event.object, watcher.request))
        write(watcher.response, event);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = seenRequest(request, request.method === "GET" ? "" : await text(request));
    this.requests.push(seen);
    response.on("error", () => undefined);
    for (const fault of [...this.faults]) {
      if (!(await fault(seen, response))) continue;
      this.faults.splice(this.faults.indexOf(fault), 1);
      return;
    }
    if (this.token !== undefined && seen.authorization !== `Bearer ${this.token}`) {
      refuse(response, 401, "Unauthorized");
      return;
    }
    const at = place(seen.path);
    const collection = this.#collections.get(`${at.apiVersion}/${at.plural}`);
    if (collection === undefined) refuse(response, 404, "the server could not find the requested resource");
    else if (at.name !== undefined) get(collection, `${at.namespace}/${at.name}`, response);
    else if (seen.isWatch) this.#watch(collection, seen, response);
    else this.#list(collection, seen, response);
  }

  #list(collection: Collection, seen: SeenRequest, response: ServerResponse): void {
    const limit = Number(seen.query.get("limit") ?? 1e9);
    const [id, from] = (seen.query.get("continue") ?? "").split("@");
    const snapshot = id ? this.#snapshots.get(id) : this.#snapshot(collection, seen);
    if (snapshot === undefined) {
      refuse(response, 410, "The provided continue parameter is too old to display a consistent list result");
      return;
    }
    const start = Number(from ?? 0);
    const end = start + limit;
    const next = `${id || String(this.#snapshots.size)}@${end}`;
    if (!id && end < snapshot.items.length) this.#snapshots.set(String(this.#snapshots.size), snapshot);
    // Built-in kinds leave kind and apiVersion of their items out.
    const isBuiltIn = !collection.apiVersion.includes(".");
    const items = snapshot.items
      .slice(start, end)
      .map((object) => (isBuiltIn ? { ...object, apiVersion: undefined, kind: undefined } : object));
    const metadata = {
      resourceVersion: String(snapshot.version),
      ...(end < snapshot.items.length ? { continue: next } : {}),
    };
    json(response, 200, { apiVersion: collection.apiVersion, kind: `${collection.kind}List`, metadata, items });
  }

  #snapshot(collection: Collection, seen: SeenRequest) {
    return {
      items: [...collection.objects.values()].filter((object) => isSelected(object, seen)),
      version: this.#version,
    };
  }

  #watch(collection: Collection, seen: SeenRequest, response: ServerResponse): void {
    const from = Number(seen.query.get("resourceVersion"));
    if (from < this.#oldest && this.goneBy === "status") {
      refuse(response, 410, `too old resource version: ${from} (${this.#oldest})`);
      return;
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (from < this.#oldest) {
      response.end(`${JSON.stringify({ type: "ERROR", object: statusOf(410, "too old resource version") })}\n`);
      return;
    }
    for (const event of collection.events)
      if (event.version > from && isSelected(event.object, seen)) write(response, event);
    const watcher = { collection, request: seen, response };
    this.watchers.add(watcher);
    response.on("close", () => this.watchers.delete(watcher));
  }
}

export const keyOf = ({ metadata }: RawObject): string => `${metadata.namespace ?? ""}/${metadata.name}`;

const statusOf = (code: number, message: string) => ({
  apiVersion: "v1",
  kind: "Status",
  status: "Failure",
  code,
  message,
});

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

export function refuse(
  response: ServerResponse,
  status: number,
  message: string,
  headers: Record<string, string> = {},
): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  json(response, status, statusOf(status, message));
}

function write(response: ServerResponse, { type, object }: { type: string; object: unknown }): void {
  response.write(`${JSON.stringify({ type, object })}\n`);
}

function get(collection: Collection, key: string, response: ServerResponse): void {
  const object = collection.objects.get(key);
  if (object === undefined) refuse(response, 404, `${collection.plural} "${key}" not found`);
  else json(response, 200, object);
}

function seenRequest(request: IncomingMessage, body: string): SeenRequest {
  const url = new URL(request.url ?? "/", "http://server");
  const isWatch = url.searchParams.get("watch") === "1";
  const { plural, name } = place(url.pathname);
  const verb = isWatch ? "watch" : name === undefined ? "list" : "get";
  const { authorization } = request.headers;
  const { method = "GET" } = request;
  return {
    path: url.pathname,
    query: url.searchParams,
    isWatch,
    authorization,
    method,
    body,
    short: `${verb} ${plural}`,
  };
}

/** `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME]`, where `/api/v1/namespaces/NAME` is a Namespace. */
function place(path: string) {
  const parts = path.split("/").filter((part) => part !== "");
  const apiVersion = parts[0] === "api" ? (parts[1] ?? "") : `${parts[1]}/${parts[2]}`;
  const rest = parts.slice(parts[0] === "api" ? 2 : 3);
  const [namespaces, namespace, plural, name] = rest;
  if (namespaces === "namespaces" && plural !== undefined)
    return { apiVersion, namespace: namespace ?? "", plural, name };
  return { apiVersion, namespace: "", plural: rest[0] ?? "", name: rest[1] };
}

function isSelected({ metadata }: RawObject, { query, path }: SeenRequest): boolean {
  const { namespace } = place(path);
  const wantedName = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  const label = query.get("labelSelector");
  if (namespace !== "" && metadata.namespace !== namespace) return false;
  if (wantedName !== undefined && metadata.name !== wantedName) return false;
  return label === null || metadata.labels?.[label] !== undefined;
}
