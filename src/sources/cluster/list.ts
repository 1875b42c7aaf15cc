import type { IncomingMessage } from "node:http";
import { isObject, member } from "../../kube/read.ts";
import type { ClusterConnection } from "./connection.ts";
import { ClusterError, requestError } from "./cluster-error.ts";
import { asReceived, type Collection, pathOf } from "./resources.ts";
import { ownTurn } from "./turns.ts";

/** A page of a list; `isLast` marks the last one. */
export interface ListPage {
  readonly items: readonly unknown[];
  /** The resource version of the whole list, from which a watch continues. */
  readonly resourceVersion: string;
  readonly isLast: boolean;
}

export interface ListOptions {
  readonly selector?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Called for every chunk that arrives. */
  readonly heard?: () => void;
}

const largestPage = 500;
const firstPage = 100;
/** The target size of a page. Parsing blocks the event loop; this size takes about 10 ms. */
const pageBytes = 1 << 19;
/** Smaller bodies are parsed immediately. */
const pageInPassing = 1 << 16;

/**
 * Reads a consistent list page by page. The number of objects per page is adapted to their size.
 * @throws ClusterError; `expired` if the server's continue token expired before the end
 */
export async function* listPages(
  connection: ClusterConnection,
  path: string,
  options: ListOptions = {},
): AsyncGenerator<ListPage, void, undefined> {
  let limit = firstPage;
  let next = "";
  do {
    const query = new URLSearchParams({ ...options.selector, limit: String(limit), ...(next && { continue: next }) });
    const { body, bytes } = await readJson(connection, `${path}?${query.toString()}`, options);
    const page = pageOf(body, connection.server);
    next = page.next;
    yield { items: page.items, resourceVersion: page.resourceVersion, isLast: next === "" };
    limit = limitFor(page.items.length, bytes);
  } while (next !== "");
}

/** The number of objects that are processed between two turns of the event loop. */
export const objectsPerTurn = 200;

/**
 * Reads all objects of a resource in the newest served version, and yields to the event loop in between.
 * @throws ClusterError; `absent` if no version is served. Objects that were passed on before an error are incomplete.
 */
export async function listResource(
  connection: ClusterConnection,
  resource: Collection,
  options: ListOptions & { take(raw: Record<string, unknown>): void },
): Promise<{ version: string; resourceVersion: string }> {
  const { versions } = resource.served;
  for (const version of versions)
    try {
      return { version, resourceVersion: await listVersion(connection, resource, version, options) };
    } catch (error) {
      const isAbsent = error instanceof ClusterError && error.fault === "absent";
      if (!isAbsent || version === versions.at(-1)) throw error;
    }
  throw new Error(`${resource.title} has no versions`);
}

async function listVersion(
  connection: ClusterConnection,
  resource: Collection,
  version: string,
  options: ListOptions & { take(raw: Record<string, unknown>): void },
): Promise<string> {
  let resourceVersion = "";
  let count = 0;
  const { namespace, selector } = resource;
  const path = pathOf(resource, version, namespace === undefined ? {} : { namespace });
  for await (const page of listPages(connection, path, { ...options, selector })) {
    resourceVersion = page.resourceVersion;
    for (const item of page.items) {
      options.take(asReceived(item, resource, version));
      if (++count % objectsPerTurn === 0) await ownTurn();
    }
    options.signal?.throwIfAborted();
  }
  return resourceVersion;
}

function limitFor(count: number, bytes: number): number {
  if (count === 0) return largestPage;
  return Math.max(1, Math.min(largestPage, Math.floor(pageBytes / (bytes / count))));
}

function pageOf(body: unknown, server: string) {
  const { items, metadata } = isObject(body) ? body : { items: undefined, metadata: undefined };
  const resourceVersion = member(metadata, "resourceVersion");
  const next = member(metadata, "continue");
  // Go encodes an empty list of items as null.
  if ((Array.isArray(items) || items === null) && typeof resourceVersion === "string")
    return { items: (items ?? []) as readonly unknown[], resourceVersion, next: typeof next === "string" ? next : "" };
  throw new ClusterError("failed", `${server} sent a response that is not a list; check the server in the kubeconfig`);
}

/** Sends a GET and reads the complete JSON response. @throws ClusterError */
export async function readJson(
  connection: ClusterConnection,
  path: string,
  options: ListOptions = {},
): Promise<{ body: unknown; bytes: number }> {
  const { signal } = options;
  return responseJson(
    connection,
    await connection.request({ path, ...(signal === undefined ? {} : { signal }) }),
    options,
  );
}

/** Reads a complete JSON response. @throws ClusterError */
export async function responseJson(
  connection: ClusterConnection,
  response: IncomingMessage,
  { signal, heard }: ListOptions,
): Promise<{ body: unknown; bytes: number }> {
  heard?.();
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      heard?.();
    }
  } catch (error) {
    throw cutOff(response, connection, error, signal);
  }
  const whole = Buffer.concat(chunks);
  if (whole.length > pageInPassing) await ownTurn();
  try {
    return { body: JSON.parse(whole.toString("utf8")) as unknown, bytes: whole.length };
  } catch {
    throw new ClusterError(
      "failed",
      `${connection.server} sent a response that is not JSON; check the server in the kubeconfig`,
    );
  }
}

/** The error for a response that ended early. */
export function cutOff(
  response: IncomingMessage,
  { server }: ClusterConnection,
  error: unknown,
  signal: AbortSignal | undefined,
): Error {
  response.destroy();
  if (signal?.aborted && signal.reason instanceof Error) return signal.reason;
  return requestError(server, error);
}
