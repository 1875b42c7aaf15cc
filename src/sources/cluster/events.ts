import { randomBytes } from "node:crypto";
import { finished } from "node:stream/promises";
import type { ObjectEvent } from "../../kube/object-event.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ApiRequest, ClusterConnection } from "./connection.ts";
import { ClusterError, requestError } from "./cluster-error.ts";
import { type Pace, systemPace } from "./pace.ts";

/**
 * What became of an event.
 * - `sent`: the API server has it.
 * - `merged`: the same one waited already, which now counts for both.
 * - `dropped`: there were too many.
 * - `failed`: the API server did not take it; nobody tries again.
 */
export type EventFate = "sent" | "merged" | "dropped" | "failed";

export interface ClusterEventsOptions {
  readonly connection: ClusterConnection;
  readonly log: Log;
  /** Which Meshward says so: the pod's name. */
  readonly instance: string;
  readonly counted?: (reason: string, fate: EventFate) => void;
  readonly pace?: Pace;
  readonly now?: () => Date;
}

const perSecond = 10;
const burst = 50;
const mostWaiting = 200;
/** Of what was written, as much is remembered so that it can be counted up instead of written again. */
const mostRemembered = 1_000;
/** What is repeated later is a new Event: the API server forgets one after an hour, and readers before. */
const seriesMs = 10 * 60_000;
const longestWriteMs = 5_000;
/** Below the 253 that a name may have, with room for what makes it unique. */
const longestNamePart = 200;
/** The most that a field for machines may hold (k8s.io/kubernetes pkg/apis/core/validation/events.go). */
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

/** Writes events.k8s.io/v1 Events, at a bounded rate and one after the other. Nothing waits for them. */
export class ClusterEvents {
  readonly #options: Required<ClusterEventsOptions>;
  readonly #waiting = new Map<string, Waiting>();
  readonly #written = new Map<string, Written>();
  readonly #closing = new AbortController();
  #tokens = burst;
  #filledAtMs: number;
  #writing: Promise<void> | undefined;
  /** Said once, until a write succeeds. */
  #isFailing = false;
  #isDropping = false;

  constructor(options: ClusterEventsOptions) {
    this.#options = { pace: systemPace, now: () => new Date(), counted: () => undefined, ...options };
    this.#filledAtMs = this.#options.pace.now();
  }

  /** Returns at once and never throws. */
  send(events: readonly ObjectEvent[]): void {
    if (this.#closing.signal.aborted) return;
    for (const event of events) this.#take(event);
    if (this.#waiting.size > 0) this.#writing ??= this.#writeAll();
  }

  /** What waits is lost. */
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
      if (!this.#isDropping) log.warn({ perSecond, burst }, "more Events than are written; the rest is only counted");
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
      // A Map that is added to is visited to its end.
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
        log.warn({ reason, error: adviceFor(requestError(connection.server, error)) }, "an Event was not written");
      this.#isFailing = true;
    }
  }

  /** A repeated Event is counted up; where the API server has forgotten it, it is a new one. */
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
    // The last in the Map is the youngest.
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
    // The API server takes Events on what is in no namespace nowhere else (validation/events.go).
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

/** By object, reason and rule; and by note, which nobody can change in an Event that is written. */
const keyOf = ({ reason, rule, note, regarding }: ObjectEvent): string => {
  const { apiVersion, kind, namespace, name, uid } = regarding;
  return JSON.stringify([apiVersion, kind, namespace, name, uid, reason, rule, note]);
};

/** Go's MicroTime is read with six digits, neither more nor fewer. */
const microTime = (date: Date): string => date.toISOString().replace("Z", "000Z");

/** As kubectl users know Events: the object's name and something unique. */
function nameFor(object: string): string {
  const start = object.slice(0, longestNamePart).replace(/[^a-z0-9]+$/, "");
  const isName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(start);
  return `${isName ? start : "meshward"}.${randomBytes(8).toString("hex")}`;
}

const adviceFor = ({ fault, message }: ClusterError): string =>
  fault === "forbidden"
    ? message.replace(/; grant it .*$/, "; grant it create and patch on events.events.k8s.io")
    : message;
