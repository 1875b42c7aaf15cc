import { setImmediate as nextTurn } from "node:timers/promises";
import { member } from "../../kube/read.ts";
import type { ClusterConnection } from "./connection.ts";
import { ClusterError, requestError } from "./cluster-error.ts";
import { asReceived, type ClusterResource, pathOf, type ResourceStatus } from "./resources.ts";
import { listResource, objectsPerTurn } from "./list.ts";
import { backoffMs, type Pace, pause, SilenceWatch } from "./pace.ts";
import { ownTurn } from "./turns.ts";
import { type WatchEvent, watchEvents } from "./watch-events.ts";

/** Where a reflector puts what it hears. Keys are `namespace/name`. */
export interface ReflectorTarget {
  /** Also for objects that are there already, changed or not. */
  set(raw: Record<string, unknown>): void;
  delete(raw: Record<string, unknown>): void;
  /** What has another key is gone. */
  keepOnly(keys: ReadonlySet<string>): void;
  /** Called whenever `state` is another one. */
  changed(state: ReflectorState): void;
}

export interface ReflectorState {
  readonly status: ResourceStatus;
  /** What stands in the way right now, one line. */
  readonly problem?: string;
}

export interface ReflectorOptions {
  readonly connection: ClusterConnection;
  readonly resource: ClusterResource;
  readonly target: ReflectorTarget;
  readonly pace: Pace;
}

/** The API server ends a watch after this long; half as much again is chance, so that not all watches end together. */
const watchSeconds = 300;
/** API servers send a bookmark about once a minute; a server without any changes to tell of may send none. */
const watchSilenceMs = 90_000;
/** Until a watch's headers are there. */
const watchStartMs = 30_000;
const listSilenceMs = 60_000;
/** When what is absent or forbidden is looked for again: soon at first, because CRDs and grants often come right behind. */
const lookAgainMs = { first: 2_000, longest: 30_000 };
/** So often in a row something that was there must be refused before it counts as gone: restarting servers say so too early. */
const refusalsBelieved = 3;
/** A watch that ends sooner without a word is not accepted as one. */
const shortestWatchMs = 1_000;
/** A watch that fails this often may never work from where it starts: after a restored backup versions go backwards. */
const failuresBeforeList = 5;

/**
 * Keeps one resource of an API server in its target: lists it, then follows it. Whatever goes wrong, it goes on until
 * closed; what it holds stays until the server says otherwise.
 */
export class Reflector {
  readonly resource: ClusterResource;
  readonly #connection: ClusterConnection;
  readonly #target: ReflectorTarget;
  readonly #pace: Pace;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #state: ReflectorState = { status: "loading" };
  #version: string | undefined;
  /** The resource version that the next watch goes on from; undefined: list first. */
  #position: string | undefined;
  #failures = 0;
  #refusals = 0;
  #expiries = 0;
  /** How often in a row it was looked for in vain. */
  #looks = 0;
  #heardAt: number | undefined;
  /** Ends the wait for a server that could not be reached. */
  #waiting: AbortController | undefined;

  constructor({ connection, resource, target, pace }: ReflectorOptions) {
    this.resource = resource;
    this.#connection = connection;
    this.#target = target;
    this.#pace = pace;
    this.#running = this.#run();
  }

  get state(): ReflectorState {
    return this.#state;
  }

  /** The version that the resource is served in; undefined while that is not known. */
  get version(): string | undefined {
    return this.#version;
  }

  /** Milliseconds since the API server last said something about the resource; undefined: it never did. */
  get silentMs(): number | undefined {
    return this.#heardAt === undefined ? undefined : this.#pace.now() - this.#heardAt;
  }

  /** The server answers others: whoever waits for it to come back need not wait longer. */
  hurry(): void {
    this.#waiting?.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort(new ClusterError("unreachable", "closed"));
    await this.#running;
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    // The first request goes out only after whoever made this has it in hand.
    await nextTurn();
    while (!this.#isClosed) {
      try {
        this.#position ??= await this.#list();
        await this.#watch(this.#position);
      } catch (error) {
        if (!this.#isClosed) await this.#recover(requestError(this.#connection.server, error));
      }
    }
  }

  async #list(): Promise<string> {
    const keys = new Set<string>();
    const resourceVersion = await this.#heeding(listSilenceMs, (signal, heard) => this.#listInto(keys, signal, heard));
    this.#target.keepOnly(keys);
    this.#looks = 0;
    this.#become({ status: "synced" });
    return resourceVersion;
  }

  async #listInto(keys: Set<string>, signal: AbortSignal, heard: () => void): Promise<string> {
    const { version, resourceVersion } = await listResource(this.#connection, this.resource, {
      signal,
      heard,
      take: (raw) => {
        keys.add(keyOfRaw(raw));
        this.#target.set(raw);
      },
    });
    this.#version = version;
    return resourceVersion;
  }

  async #watch(from: string): Promise<void> {
    const version = this.#version ?? "";
    const path = `${pathOf(this.resource, version, this.resource)}?${this.#watchQuery(from)}`;
    let events = 0;
    let openedAt = Number.POSITIVE_INFINITY;
    const isAccepted = () => events > 0 || this.#pace.now() - openedAt >= shortestWatchMs;
    try {
      await this.#heeding(watchStartMs, async (signal, heard) => {
        const response = await this.#connection.request({ path, signal });
        openedAt = this.#pace.now();
        heard(watchSilenceMs);
        this.#refusals = 0;
        this.#become({ status: "synced" });
        for await (const batch of watchEvents(response, this.#connection, { signal, heard })) {
          events += batch.length;
          await this.#apply(batch, version);
        }
      });
    } finally {
      if (isAccepted()) this.#failures = this.#expiries = 0;
    }
    if (!isAccepted())
      throw new ClusterError("failed", `${this.#connection.server} ended the watch of ${this.resource.title} at once`);
  }

  #watchQuery(from: string): string {
    const seconds = Math.round(watchSeconds * (1 + this.#pace.random() / 2));
    const watch = { watch: "1", allowWatchBookmarks: "true", resourceVersion: from, timeoutSeconds: String(seconds) };
    return new URLSearchParams({ ...this.resource.selector, ...watch }).toString();
  }

  async #apply(events: readonly WatchEvent[], version: string): Promise<void> {
    let count = 0;
    for (const { type, object } of events) {
      const raw = asReceived(object, this.resource, version);
      if (type === "set") this.#target.set(raw);
      if (type === "deleted") this.#target.delete(raw);
      const at = member(member(object, "metadata"), "resourceVersion");
      if (type !== "other" && typeof at === "string" && at !== "") this.#position = at;
      if (++count % objectsPerTurn === 0) await ownTurn();
      if (this.#isClosed) return;
    }
  }

  /** Runs something that listens to the server, and ends it when the server has fallen silent. */
  async #heeding<T>(
    limitMs: number,
    task: (signal: AbortSignal, heard: (limitMs?: number) => void) => Promise<T>,
  ): Promise<T> {
    const ending = new AbortController();
    const silence = new SilenceWatch(this.#pace, limitMs, (silentMs) =>
      ending.abort(new SilentError(this.#connection.server, silentMs)),
    );
    const heard = (newLimitMs?: number) => {
      this.#heardAt = this.#pace.now();
      silence.heard(newLimitMs);
    };
    try {
      return await task(AbortSignal.any([ending.signal, this.#closing.signal]), heard);
    } finally {
      silence.stop();
    }
  }

  async #recover(error: ClusterError): Promise<void> {
    if (isAnswer(error)) this.#heardAt = this.#pace.now();
    if (error.fault === "absent" || error.fault === "forbidden") await this.#refused(error.fault, error);
    else if (error.fault === "expired") await this.#expired(error);
    else await this.#retry(error);
  }

  async #refused(fault: "absent" | "forbidden", error: ClusterError): Promise<void> {
    // Another version may be served now.
    this.#position = undefined;
    if (this.#state.status === "synced" && ++this.#refusals < refusalsBelieved) {
      await this.#retry(error);
      return;
    }
    this.#version = undefined;
    this.#failures = 0;
    this.#target.keepOnly(new Set());
    this.#become({ status: fault, problem: error.message });
    const delayMs = Math.min(lookAgainMs.longest, lookAgainMs.first * 2 ** Math.min(this.#looks++, 10));
    await this.#pause(delayMs * (0.75 + this.#pace.random() / 2));
  }

  /** The server no longer knows what came after our position. What is held stays until a new list is complete. */
  async #expired(error: ClusterError): Promise<void> {
    this.#position = undefined;
    if (this.#expiries++ > 0) await this.#retry(error);
  }

  async #retry(error: ClusterError): Promise<void> {
    this.#become({ status: this.#state.status, problem: error.message });
    // A connection that fell silent has waited long enough; the first attempt is made at once.
    const isFirstSilence = error instanceof SilentError && this.#failures === 0;
    const delayMs = backoffMs(this.#failures++, this.#pace.random(), error.retryAfterMs);
    if (this.#failures % failuresBeforeList === 0) this.#position = undefined;
    if (isFirstSilence) return;
    this.#waiting = error.fault === "unreachable" ? new AbortController() : undefined;
    await this.#pause(delayMs);
    this.#waiting = undefined;
  }

  #pause(delayMs: number): Promise<void> {
    const { signal } = this.#closing;
    return pause(this.#pace, delayMs, this.#waiting ? AbortSignal.any([signal, this.#waiting.signal]) : signal);
  }

  #become(state: ReflectorState): void {
    const { status, problem } = this.#state;
    if (status === state.status && problem === state.problem) return;
    this.#state = state;
    this.#target.changed(state);
  }
}

class SilentError extends ClusterError {
  constructor(server: string, silentMs: number) {
    super("unreachable", `${server} has said nothing for ${Math.round(silentMs / 1000)} s`);
  }
}

/** Whether the API server itself said so: a sign of life. */
const isAnswer = ({ fault }: ClusterError): boolean =>
  fault === "absent" || fault === "forbidden" || fault === "expired" || fault === "busy" || fault === "unauthorized";

/** `namespace/name`. */
function keyOfRaw(raw: Record<string, unknown>): string {
  const [namespace, name] = [member(raw["metadata"], "namespace"), member(raw["metadata"], "name")];
  return `${typeof namespace === "string" ? namespace : ""}/${typeof name === "string" ? name : ""}`;
}
