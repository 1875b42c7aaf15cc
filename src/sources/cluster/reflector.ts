import { setImmediate as nextTurn } from "node:timers/promises";
import { member } from "../../kube/read.ts";
import type { ClusterConnection } from "./connection.ts";
import { ClusterError, type Fault, requestError } from "./cluster-error.ts";
import { asReceived, type Collection, pathOf, type ResourceStatus } from "./resources.ts";
import { listResource, objectsPerTurn } from "./list.ts";
import { backoffMs, type Pace, pause, SilenceWatch } from "./pace.ts";
import { ownTurn } from "./turns.ts";
import { type WatchEvent, watchEvents } from "./watch-events.ts";

/** Receives the objects and state of a reflector. Keys are `namespace/name`. */
export interface ReflectorTarget {
  /** Called for new objects and for existing ones, changed or not. */
  set(raw: Record<string, unknown>): void;
  delete(raw: Record<string, unknown>): void;
  /** A list begins; `keepOnly` ends it. A list that fails begins again. */
  listing?(): void;
  /** Objects with other keys no longer exist; `refused`: the resource is absent or forbidden. */
  keepOnly(keys: ReadonlySet<string>, why: "listed" | "refused"): void;
  /** Called whenever `state` changes. */
  changed(state: ReflectorState): void;
}

export interface ReflectorState {
  readonly status: ResourceStatus;
  /** The current problem, in one line. */
  readonly problem?: string;
}

/** `silent`: the server sent nothing on an open watch for too long, which is no error of a server without changes. */
export type RestartReason = Fault | "silent";

/** Is told what a reflector does, for the metrics. */
export interface ReflectorObserver {
  /** All objects of the resource were listed. */
  listed(milliseconds: number): void;
  /** A list or watch ended with an error, or with silence. */
  restarted(reason: RestartReason): void;
}

export interface ReflectorOptions<Of extends Collection> {
  readonly connection: ClusterConnection;
  readonly resource: Of;
  readonly target: ReflectorTarget;
  readonly pace: Pace;
  readonly observer?: ReflectorObserver | undefined;
}

/** The timeout of a watch. Up to half as much is added at random, so that not all watches end together. */
const watchSeconds = 300;
/**
 * API servers send a bookmark about once a minute, but none that is as old as the start of the watch: cacheWatcher.process
 * in k8s.io/apiserver, pkg/storage/cacher. So a kind without changes is silent where etcd does not report its progress.
 */
const watchSilenceMs = 90_000;
/** How long a watch waits for its response headers. */
const watchStartMs = 30_000;
const listSilenceMs = 60_000;
/** When an absent or forbidden resource is tried again: soon at first, because CRDs and RBAC often follow shortly. */
const lookAgainMs = { first: 2_000, longest: 30_000 };
/**
 * How often in a row a known resource must be absent or forbidden to count as such, because restarting servers report
 * it too early.
 */
const refusalsBelieved = 3;
/** A watch that ends sooner without an event counts as failed. */
const shortestWatchMs = 1_000;
/**
 * After this many failures of a watch, the resource is listed again, because its version may be invalid (after a
 * restored backup, versions go backwards).
 */
const failuresBeforeList = 5;

/**
 * Keeps the objects of one resource in its target up to date: lists it, then watches it, until closed. After any error
 * it retries; the objects stay until the server reports that they are gone.
 */
export class Reflector<Of extends Collection = Collection> {
  readonly resource: Of;
  readonly #connection: ClusterConnection;
  readonly #target: ReflectorTarget;
  readonly #pace: Pace;
  readonly #observer: ReflectorObserver | undefined;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #state: ReflectorState = { status: "loading" };
  #version: string | undefined;
  /** The resource version from which the next watch continues; undefined: list first. */
  #position: string | undefined;
  #failures = 0;
  #refusals = 0;
  #expiries = 0;
  /** The number of consecutive attempts that found it absent or forbidden. */
  #looks = 0;
  #heardAt: number | undefined;
  #isListWanted = false;
  /** Ends the current watch. */
  #watching: AbortController | undefined;
  /** Ends the wait for an unreachable server. */
  #waiting: AbortController | undefined;

  constructor({ connection, resource, target, pace, observer }: ReflectorOptions<Of>) {
    this.#observer = observer;
    this.resource = resource;
    this.#connection = connection;
    this.#target = target;
    this.#pace = pace;
    this.#running = this.#run();
  }

  get state(): ReflectorState {
    return this.#state;
  }

  /** The version in which the resource is served; undefined until that is known. */
  get version(): string | undefined {
    return this.#version;
  }

  /** Milliseconds since the API server last sent something about the resource; undefined: it never did. */
  get silentMs(): number | undefined {
    return this.#heardAt === undefined ? undefined : this.#pace.now() - this.#heardAt;
  }

  /** The server answered another reflector, so this one retries without waiting longer. */
  hurry(): void {
    this.#waiting?.abort();
  }

  /** Lists all objects again, as soon as the current watch can end. */
  listAgain(): void {
    this.#isListWanted = true;
    this.#watching?.abort(new ListWanted());
  }

  async close(): Promise<void> {
    this.#closing.abort(new ClusterError("unreachable", "closed"));
    await this.#running;
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    // The first request is sent only after the constructor has returned.
    await nextTurn();
    while (!this.#isClosed) {
      try {
        if (this.#isListWanted) this.#position = undefined;
        this.#isListWanted = false;
        this.#position ??= await this.#list();
        if (!this.#isListWanted) await this.#watch(this.#position);
      } catch (error) {
        if (!this.#isClosed && !this.#isListWanted) await this.#recover(requestError(this.#connection.server, error));
      }
    }
  }

  async #list(): Promise<string> {
    const keys = new Set<string>();
    this.#target.listing?.();
    const start = this.#pace.now();
    const resourceVersion = await this.#heeding(listSilenceMs, (signal, heard) => this.#listInto(keys, signal, heard));
    this.#observer?.listed(this.#pace.now() - start);
    this.#target.keepOnly(keys, "listed");
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
    const watching = new AbortController();
    this.#watching = watching;
    try {
      await this.#heeding(watchStartMs, async (limit, heard) => {
        const signal = AbortSignal.any([limit, watching.signal]);
        const response = await this.#connection.request({ path, signal });
        openedAt = this.#pace.now();
        heard(watchSilenceMs, SilentWatch);
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
      throw new ClusterError(
        "failed",
        `${this.#connection.server} ended the watch of ${this.resource.title} immediately`,
      );
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

  /** Runs a request to the server, and aborts it when the server has sent nothing for too long. */
  async #heeding<T>(
    limitMs: number,
    task: (signal: AbortSignal, heard: (limitMs?: number, silence?: typeof SilentError) => void) => Promise<T>,
  ): Promise<T> {
    const ending = new AbortController();
    let Silence = SilentError;
    const silence = new SilenceWatch(this.#pace, limitMs, (silentMs) =>
      ending.abort(new Silence(this.#connection.server, silentMs)),
    );
    const heard = (newLimitMs?: number, next = Silence) => {
      Silence = next;
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
    if (error instanceof SilentWatch) {
      // It looks like a lost connection. Opening it again shows whether it is one.
      this.#observer?.restarted("silent");
      return;
    }
    this.#observer?.restarted(error.fault);
    if (isAnswer(error)) this.#heardAt = this.#pace.now();
    if (error.fault === "absent" || error.fault === "forbidden") await this.#refused(error.fault, error);
    else if (error.fault === "expired") await this.#expired(error);
    else await this.#retry(error);
  }

  async #refused(fault: "absent" | "forbidden", error: ClusterError): Promise<void> {
    // The server may serve another version now.
    this.#position = undefined;
    if (this.#state.status === "synced" && ++this.#refusals < refusalsBelieved) {
      await this.#retry(error);
      return;
    }
    this.#version = undefined;
    this.#failures = 0;
    this.#target.keepOnly(new Set(), "refused");
    this.#become({ status: fault, problem: error.message });
    const delayMs = Math.min(lookAgainMs.longest, lookAgainMs.first * 2 ** Math.min(this.#looks++, 10));
    await this.#pause(delayMs * (0.75 + this.#pace.random() / 2));
  }

  /** The server no longer has the events after our version. The objects stay until a new list is complete. */
  async #expired(error: ClusterError): Promise<void> {
    this.#position = undefined;
    if (this.#expiries++ > 0) await this.#retry(error);
  }

  async #retry(error: ClusterError): Promise<void> {
    this.#become({ status: this.#state.status, problem: error.message });
    // A silent connection has waited long enough already, so the first retry is immediate.
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

/** Ends a watch for which nothing is wrong. */
class ListWanted extends ClusterError {
  constructor() {
    super("expired", "all objects are listed again");
  }
}

class SilentError extends ClusterError {
  constructor(server: string, silentMs: number) {
    super("unreachable", `${server} has sent nothing for ${Math.round(silentMs / 1000)} s`);
  }
}

/** A watch that was opened, and on which nothing came since. */
class SilentWatch extends SilentError {}

/** Whether the API server itself sent this error, which shows that it is reachable. */
const isAnswer = ({ fault }: ClusterError): boolean =>
  fault === "absent" || fault === "forbidden" || fault === "expired" || fault === "busy" || fault === "unauthorized";

/** `namespace/name`. */
function keyOfRaw(raw: Record<string, unknown>): string {
  const [namespace, name] = [member(raw["metadata"], "namespace"), member(raw["metadata"], "name")];
  return `${typeof namespace === "string" ? namespace : ""}/${typeof name === "string" ? name : ""}`;
}
