import { randomBytes } from "node:crypto";
import { finished } from "node:stream/promises";
import type { ObjectEvent } from "../../kube/object-event.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ApiRequest, ClusterConnection } from "./connection.ts";
import { ClusterError, requestError } from "./cluster-error.ts";
import { type Pace, systemPace } from "./pace.ts";

/**
 * The result for an Event.
 * - `sent`: the API server stored it.
 * - `merged`: an equal Event was queued already, and its count was increased.
 * - `dropped`: there were too many Events.
 * - `failed`: the API server rejected it; it is not sent again.
 */
export type EventFate = "sent" | "merged" | "dropped" | "failed";

export interface ClusterEventsOptions {
  readonly connection: ClusterConnection;
  readonly log: Log;
  /** The reporting instance: the pod's name. */
  readonly instance: string;
  readonly counted?: (reason: string, fate: EventFate) => void;
  readonly pace?: Pace;
  readonly now?: () => Date;
}

const perSecond = 10;
const burst = 50;
const mostWaiting = 200;
/**
 * The number of written Events that are remembered, so that a repeated Event increases the count of the existing one.
 */
const mostRemembered = 1_000;
/** A repetition after this time is a new Event, because the API server deletes Events after an hour. */
const seriesMs = 10 * 60_000;
const longestWriteMs = 5_000;
/** Below the limit of 253 characters for a name, with room for the suffix that makes it unique. */
const longestNamePart = 200;
/**
 * The maximum length of reportingController and similar fields (k8s.io/kubernetes
 * pkg/apis/core/validation/events.go).
 */
const longestField = 128;

interface Waiting {
  readonly event: ObjectEvent;
  count: number;
}
interface Written {
  readonly path: string;
  count: number;
  atMs: number;
}

/** Writes events.k8s.io/v1 Events one after the other at a limited rate. Callers never wait. */
export class ClusterEvents {
  readonly #options: Required<ClusterEventsOptions>;
  readonly #waiting = new Map<string, Waiting>();
  readonly #written = new Map<string, Written>();
  readonly #closing = new AbortController();
  #tokens = burst;
  #filledAtMs: number;
  #writing: Promise<void> | undefined;
  /** A failure is logged once, until a write succeeds. */
  #isFailing = false;
  #isDropping = false;

  constructor(options: ClusterEventsOptions) {
    this.#options = { pace: systemPace, now: () => new Date(), counted: () => undefined, ...options };
    this.#filledAtMs = this.#options.pace.now();
  }

  /** Queues the Events and returns immediately. Never throws. */
  send(events: readonly ObjectEvent[]): void {
    if (this.#closing.signal.aborted) return;
    for (const event of events) this.#take(event);
    if (this.#waiting.size > 0) this.#writing ??= this.#writeAll();
  }

  /** Stops writing; queued Events are lost. */
  async close(): Promise<void> {
    this.#closing.abort(new ClusterError("unreachable", "closed"));
    await this.#writing;
  }

  #take(event: ObjectEvent): void {
    const { counted, log } = this.#options;
    const key = keyOf(event);
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      waiting.count++;
      counted(event.reason, "merged");
    } else if (this.#waiting.size < mostWaiting && this.#hasToken()) {
      this.#waiting.set(key, { event, count: 1 });
      this.#isDropping = false;
    } else {
      counted(event.reason, "dropped");
      if (!this.#isDropping) log.warn({ perSecond, burst }, "too many Events; some are not written, only counted");
      this.#isDropping = true;
    }
  }

  #hasToken(): boolean {
    const nowMs = this.#options.pace.now();
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#filledAtMs) / 1_000) * perSecond);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  async #writeAll(): Promise<void> {
    for (const [key, waiting] of this.#waiting) {
      // Iterating a Map also visits entries that are added meanwhile.
      this.#waiting.delete(key);
      if (this.#closing.signal.aborted) break;
      await this.#writeOne(key, waiting);
    }
    this.#writing = undefined;
  }

  async #writeOne(key: string, waiting: Waiting): Promise<void> {
    const { counted, log, connection } = this.#options;
    const { reason } = waiting.event;
    try {
      await this.#write(key, waiting);
      this.#isFailing = false;
      counted(reason, "sent");
    } catch (error) {
      counted(reason, "failed");
      if (!this.#isFailing && !this.#closing.signal.aborted)
        log.warn({ reason, error: adviceFor(requestError(connection.server, error)) }, "Event could not be written");
      this.#isFailing = true;
    }
  }

  /** Increases the count of a repeated Event, or creates a new one if the API server has deleted the old one. */
  async #write(key: string, { event, count }: Waiting): Promise<void> {
    const written = this.#written.get(key);
    if (written !== undefined && this.#options.pace.now() - written.atMs < seriesMs)
      try {
        const series = this.#series(written.count + count);
        await this.#request({ method: "PATCH", path: written.path, body: { series } });
        this.#remember(key, { path: written.path, count: series.count });
        return;
      } catch (error) {
        if (!(error instanceof ClusterError) || error.fault !== "absent") throw error;
      }
    const { path, body } = this.#eventOf(event, count);
    await this.#request({ method: "POST", path, body });
    this.#remember(key, { path: `${path}/${body.metadata.name}`, count });
  }

  #remember(key: string, written: Omit<Written, "atMs">): void {
    // The last entry of the Map is the newest.
    this.#written.delete(key);
    this.#written.set(key, { ...written, atMs: this.#options.pace.now() });
    const [oldest] = this.#written.keys();
    if (this.#written.size > mostRemembered && oldest !== undefined) this.#written.delete(oldest);
  }

  async #request(request: ApiRequest): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(longestWriteMs), this.#closing.signal]);
    const response = await this.#options.connection.request({ ...request, signal });
    await finished(response.resume());
  }

  #eventOf({ reason, note, regarding }: ObjectEvent, count: number) {
    const { namespace, uid, ...named } = regarding;
    // Events about cluster-scoped objects must be in this namespace (validation/events.go).
    const at = namespace || "default";
    const body = {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: nameFor(regarding.name), namespace: at },
      eventTime: microTime(this.#options.now()),
      reportingController: "meshward.io",
      reportingInstance: this.#options.instance.slice(0, longestField) || "meshward",
      action: "Admit",
      reason,
      type: "Warning",
      note,
      regarding: { ...named, ...(namespace === "" ? {} : { namespace }), ...(uid === undefined ? {} : { uid }) },
      ...(count > 1 ? { series: this.#series(count) } : {}),
    };
    return { path: `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(at)}/events`, body };
  }

  #series(count: number): { count: number; lastObservedTime: string } {
    return { count, lastObservedTime: microTime(this.#options.now()) };
  }
}

/** Events are equal if object, reason, rule and note are, because the note of a stored Event cannot be changed. */
const keyOf = ({ reason, rule, note, regarding }: ObjectEvent): string => {
  const { apiVersion, kind, namespace, name, uid } = regarding;
  return JSON.stringify([apiVersion, kind, namespace, name, uid, reason, rule, note]);
};

/** Formats a time for Go's MicroTime, which requires exactly six digits. */
const microTime = (date: Date): string => date.toISOString().replace("Z", "000Z");

/** The name of an Event as other components form it: the object's name and a unique suffix. */
function nameFor(object: string): string {
  const start = object.slice(0, longestNamePart).replace(/[^a-z0-9]+$/, "");
  const isName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(start);
  return `${isName ? start : "meshward"}.${randomBytes(8).toString("hex")}`;
}

const adviceFor = ({ fault, message }: ClusterError): string =>
  fault === "forbidden"
    ? `${message.replace(/; grant it .*$/, "")}; grant it create and patch on events.events.k8s.io`
    : message;
