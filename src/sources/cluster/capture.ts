import { once } from "node:events";
import { closeSync, createWriteStream, openSync, readSync, renameSync, rmSync } from "node:fs";
import { allKinds, type Kind, kindOf } from "../../kube/kinds.ts";
import { type AnyObject, readAny, withoutLastApplied } from "../../kube/object.ts";
import { isObject, member } from "../../kube/read.ts";
import type { MeshStore } from "../../view/store.ts";
import type { Knowledge } from "../../view/view.ts";
import type { ClusterConnection } from "./connection.ts";
import type { Pace } from "./pace.ts";
import { type ClusterResource, isInConfigMaps, readReceived, resourcesOf } from "./resources.ts";
import { type ClusterSnapshot, meshOfObjects, readCluster, type ReceivedMeshOptions } from "./snapshot.ts";
import { linesOf } from "./text-lines.ts";

/**
 * The capture file: the objects as the API server sent them, before readers drop fields, so that later rules find in it
 * the fields that they read. It is one JSON document with one object for each line. How far each kind is known is at
 * the beginning, the number of objects at the end.
 */
const apiVersion = "meshward.io/v1alpha1";
const captureVersion = 1;
const start = `{"apiVersion":"${apiVersion}","kind":"Capture","version":`;

/** A capture cannot be used. The message is one line with the reason and what to do. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
}

export interface CaptureOptions {
  readonly file: string;
  /** The time that is written into the capture. */
  readonly now: Date;
  readonly pace?: Pace;
}

/**
 * Writes all objects of a cluster that rules can read. Never writes Secrets, and only the ConfigMaps with Istio's mesh
 * config. The file appears when it is complete.
 * @throws ClusterError; a system error if the file cannot be written
 */
export async function writeCapture(
  connection: ClusterConnection,
  { file, now, pace }: CaptureOptions,
): Promise<ClusterSnapshot & { readonly count: number }> {
  const partial = `${file}.partial`;
  // Pod templates may contain values that only their owners should see.
  const out = createWriteStream(partial, { mode: 0o600 });
  const failed = once(out, "error").then(([error]) => Promise.reject(error as Error));
  failed.catch(() => undefined);
  const write = async (text: string) => {
    if (!out.write(text)) await Promise.race([once(out, "drain"), failed]);
  };
  let count = 0;
  try {
    await Promise.race([once(out, "open"), failed]);
    await write(
      `${start}${captureVersion},"server":${JSON.stringify(connection.server)},"at":"${now.toISOString()}","items":[`,
    );
    const snapshot = await readCluster(connection, {
      kinds: allKinds,
      ...(pace === undefined ? {} : { pace }),
      async take(objects, resource) {
        for (const object of objects)
          if (isWanted(object, resource)) await write(`${count++ === 0 ? "" : ","}\n${JSON.stringify(object)}`);
      },
    });
    out.end(`\n],"knowledge":${JSON.stringify(Object.fromEntries(snapshot.knowledge))},"count":${count}}\n`);
    await Promise.race([once(out, "close"), failed]);
    renameSync(partial, file);
    return { ...snapshot, count };
  } catch (error) {
    out.destroy();
    rmSync(partial, { force: true });
    throw error;
  }
}

/** Of ConfigMaps only Istio's own, each from only one of the lists. */
const isWanted = (raw: Record<string, unknown>, resource: ClusterResource): boolean =>
  !isInConfigMaps(resource.kind) || readReceived(raw, resource) !== undefined;

/** Whether a file begins like a capture. False for folders, pipes and files that do not exist. */
export function isCapture(file: string): boolean {
  const bytes = Buffer.alloc(200);
  try {
    const descriptor = openSync(file, "r");
    try {
      const text = bytes.toString("utf8", 0, readSync(descriptor, bytes, 0, bytes.length, 0));
      return /^\s*\{\s*"apiVersion":\s*"meshward\.io\/[^"]*",\s*"kind":\s*"Capture"/.test(text);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
}

/** Reads the mesh of a capture. @throws CaptureError if it is incomplete or has another version */
export async function readCapture(file: string, options: ReceivedMeshOptions): Promise<MeshStore> {
  const reader = new CaptureReader(file, options);
  for (const line of linesOf(file)) reader.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  const { objects, knowledge } = reader.end();
  return meshOfObjects(objects, knowledge, options);
}

/** Reads line by line, because a capture may be longer than the longest string. */
class CaptureReader {
  readonly #file: string;
  readonly #options: Pick<ReceivedMeshOptions, "isForReviews" | "received" | "keep">;
  readonly #objects: AnyObject[] = [];
  #isStarted = false;
  #count = 0;
  #knowledge: ReadonlyMap<Kind, Knowledge> | undefined;

  constructor(file: string, options: Pick<ReceivedMeshOptions, "isForReviews" | "received" | "keep">) {
    this.#file = file;
    this.#options = options;
  }

  line(text: string): void {
    if (!this.#isStarted) this.#start(text);
    else if (this.#knowledge !== undefined) throw this.#wrong("has data after its end; run meshward capture again");
    else if (text.startsWith("]")) this.#finish(this.#parse(`{"items":[${text}`));
    else this.#take(this.#parse(text.endsWith(",") ? text.slice(0, -1) : text));
  }

  end(): { readonly objects: readonly AnyObject[]; readonly knowledge: ReadonlyMap<Kind, Knowledge> } {
    if (this.#knowledge === undefined)
      throw this.#wrong(`is incomplete after ${this.#count} objects; run meshward capture again`);
    return { objects: this.#objects, knowledge: this.#knowledge };
  }

  #start(text: string): void {
    const version = /"apiVersion":\s*"([^"]*)"(?:.*?"version":\s*(\d+))?/.exec(text);
    if (version?.[1] !== undefined && (version[1] !== apiVersion || version[2] !== String(captureVersion)))
      throw this.#wrong(
        `has version ${[version[1], version[2]].filter(Boolean).join(" ")}, and this Meshward reads ${apiVersion} ${captureVersion}; run meshward capture again, or use the version that wrote it`,
      );
    if (!text.startsWith(start))
      throw this.#wrong("was changed after Meshward wrote it (one object for each line); run meshward capture again");
    if (!text.endsWith('"items":[')) throw this.#wrong("is incomplete after 0 objects; run meshward capture again");
    this.#isStarted = true;
  }

  #take(raw: unknown): void {
    this.#count++;
    if (isObject(raw)) this.#options.received?.(raw);
    const resource = resourceOf(raw);
    const object = resource && isObject(raw) ? readReceived(raw, resource, this.#options.keep) : undefined;
    if (object !== undefined)
      this.#objects.push(this.#options.isForReviews === true ? withoutLastApplied(object) : object);
  }

  #finish(footer: unknown): void {
    const [count, known] = [member(footer, "count"), member(footer, "knowledge")];
    if (count !== this.#count || !isObject(known))
      throw this.#wrong(
        `should contain ${String(count)} objects and contains ${this.#count}; run meshward capture again`,
      );
    // Kinds that were added to Meshward later are unknown in captures of an earlier version.
    this.#knowledge = new Map(
      allKinds.map((kind) => [kind, grades.find((grade) => grade === known[kind]) ?? "unknown"]),
    );
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw this.#wrong(`is damaged or incomplete after ${this.#count} objects; run meshward capture again`);
    }
  }

  #wrong(what: string): CaptureError {
    return new CaptureError(`the capture ${this.#file} ${what}`);
  }
}

const grades: readonly Knowledge[] = ["complete", "assumed", "partial", "unknown"];

const resources = allKinds.flatMap((kind) => resourcesOf(kind));

function resourceOf(raw: unknown): ClusterResource | undefined {
  const [version, name] = [String(member(raw, "apiVersion")), String(member(raw, "kind"))];
  const kind = kindOf(version, name);
  if (kind === undefined || !isInConfigMaps(kind))
    return resources.find((resource) => resource.kind === kind && resource.served.kind === name);
  const object = readAny(raw);
  return resources.find((resource) => object !== undefined && resource.owns(object) && resource.kind === object.kind);
}
