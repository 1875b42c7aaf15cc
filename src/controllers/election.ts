import { randomUUID } from "node:crypto";
import { isObject, member } from "../kube/read.ts";
import { ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type Pace, pause, systemPace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import { type KubeObject, ObjectClient, type ObjectName, type Resource } from "./objects.ts";

export const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};

/** Milliseconds; the defaults are those of client-go (tools/leaderelection, and the core components' options). */
export interface ElectionTiming {
  /** Others wait for this long after the last renewal that they saw. */
  readonly leaseMs: number;
  /** A leader that could not renew for this long stops leading. Must be shorter than `leaseMs`. */
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
}

const defaultTiming: ElectionTiming = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };

/**
 * A longer duration in a Lease is not believed, because a Lease that was written by hand or restored from a backup would
 * leave the replicas without a leader.
 */
const longestLeaseMs = 60_000;

export interface ElectionOptions {
  readonly connection: ClusterConnection;
  /** The Lease. */
  readonly lease: ObjectName & { readonly namespace: string };
  /** The name of this replica: its pod. A random part is added, so that a restarted process is another candidate. */
  readonly replica: string;
  readonly log: Log;
  readonly timing?: ElectionTiming;
  readonly pace?: Pace;
  /** Wall clock in milliseconds since 1970. */
  readonly wallMs?: () => number;
}

/** The Lease as this replica last saw it, and when it saw this state for the first time, by its own clock. */
interface Observed {
  readonly lease: KubeObject;
  readonly atMs: number;
}

/** Until when this replica may believe that it leads, by both of its clocks. */
interface Term {
  readonly paceMs: number;
  readonly wallMs: number;
}

/**
 * Elects one of several replicas through a Lease (coordination.k8s.io/v1), with the semantics of client-go's
 * tools/leaderelection: a Lease is taken over when it was not renewed for its duration, measured from the moment when
 * this replica saw the last renewal, so that differing clocks do not matter. `stop` releases the Lease.
 *
 * As with client-go, two replicas can believe for a moment that they lead, for example after one was suspended. So
 * whoever writes as a leader reads the object first, and writes it with the resourceVersion that it read.
 */
export class Election {
  /** The name under which this replica stands in the Lease. */
  readonly identity: string;
  readonly #options: Required<ElectionOptions>;
  readonly #client: ObjectClient;
  readonly #listeners: ((leading: boolean) => void)[] = [];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #observed: Observed | undefined;
  #term: Term | undefined;
  #isToldLeading = false;
  #problem: string | undefined;

  constructor(options: ElectionOptions) {
    this.#options = { timing: defaultTiming, pace: systemPace, wallMs: () => Date.now(), ...options };
    this.identity = `${options.replica}_${randomUUID()}`;
    this.#client = new ObjectClient(options.connection, leases);
    this.#running = this.#run();
  }

  /** Whether this replica leads. It turns false by itself when the Lease could not be renewed in time. */
  get leading(): boolean {
    if (this.#term === undefined || this.#stopping.signal.aborted) return false;
    const { pace, wallMs, timing } = this.#options;
    // The monotonic clock of Linux stands still while a machine is suspended; the wall clock can be set.
    const byPace = pace.now() - this.#term.paceMs;
    const byWall = wallMs() - this.#term.wallMs;
    return Math.max(byPace, byWall) < timing.renewDeadlineMs;
  }

  /** The identity in the Lease; undefined if it is free or not known. */
  get holder(): string | undefined {
    return holderOf(this.#observed?.lease) || undefined;
  }

  /** Why the Lease cannot be read or written at present. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** `listener` is called with every change of `leading`, and once now if this replica leads already. */
  onChange(listener: (leading: boolean) => void): void {
    this.#listeners.push(listener);
    if (this.#isToldLeading) listener(true);
  }

  /** Stops leading and releases the Lease, so that another replica can lead at once. Never rejects. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return this.#running;
    const wasLeading = this.leading;
    this.#stopping.abort();
    this.#tell();
    await this.#running;
    if (wasLeading) await this.#release();
  }

  async #run(): Promise<void> {
    const { pace, timing } = this.#options;
    const { signal } = this.#stopping;
    // So that the constructor returns before the first request, and replicas that start together do not ask together.
    await pause(pace, (timing.retryMs / 10) * pace.random(), signal);
    while (!signal.aborted) {
      await this.#attempt();
      this.#tell();
      // Others try at random times, so that not all of them write at the end of a lease.
      const jitterMs = this.#term === undefined ? timing.retryMs * 0.5 * pace.random() : 0;
      await this.#untilNext(timing.retryMs + jitterMs);
    }
  }

  /** Waits, and tells in between when a term that was not renewed is over. */
  async #untilNext(delayMs: number): Promise<void> {
    const { pace, timing } = this.#options;
    const { signal } = this.#stopping;
    if (this.#term !== undefined) {
      const leftMs = Math.max(0, this.#term.paceMs + timing.renewDeadlineMs - pace.now());
      if (leftMs < delayMs) {
        await pause(pace, leftMs, signal);
        this.#tell();
        await pause(pace, delayMs - leftMs, signal);
        return;
      }
    }
    await pause(pace, delayMs, signal);
  }

  async #attempt(): Promise<void> {
    const { connection, timing } = this.#options;
    // A request that takes longer than the deadline for renewals would keep a leader from noticing that it is over.
    const limit = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(timing.renewDeadlineMs)]);
    try {
      await this.#acquireOrRenew(limit);
      this.#become(undefined);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const failure = requestError(connection.server, error);
      // Another replica was faster; the next attempt reads what it wrote.
      if (failure.fault !== "conflict" && failure.fault !== "exists") this.#become(failure);
    }
  }

  async #acquireOrRenew(signal: AbortSignal): Promise<void> {
    const { pace, wallMs, lease } = this.#options;
    // Measured before the request, because others may count from the moment when the API server stored it.
    const start = { paceMs: pace.now(), wallMs: wallMs() };
    const found = await this.#client.get(lease, { signal }).catch(nothingIfAbsent);
    if (found !== undefined) this.#observe(found);
    if (found !== undefined && !this.#isMine(found) && this.#isValid(found)) {
      this.#term = undefined;
      return;
    }
    const written =
      found === undefined
        ? await this.#client.create({ metadata: { ...lease }, spec: this.#spec(undefined) }, { signal })
        : await this.#client.replace({ ...found, spec: this.#spec(found) }, { signal });
    this.#observe(written);
    this.#term = start;
  }

  /** The time of the first sight of a state counts, not the times in the Lease, which another clock wrote. */
  #observe(lease: KubeObject): void {
    const isSame = JSON.stringify(this.#observed?.lease["spec"]) === JSON.stringify(lease["spec"]);
    if (this.#observed === undefined || !isSame) this.#observed = { lease, atMs: this.#options.pace.now() };
  }

  #isMine(lease: KubeObject): boolean {
    return holderOf(lease) === this.identity;
  }

  #isValid(lease: KubeObject): boolean {
    if (holderOf(lease) === "" || this.#observed === undefined) return false;
    const { timing, pace } = this.#options;
    const seconds = member(lease["spec"], "leaseDurationSeconds");
    const durationMs = typeof seconds === "number" && seconds > 0 ? seconds * 1_000 : timing.leaseMs;
    return pace.now() - this.#observed.atMs < Math.min(durationMs, Math.max(longestLeaseMs, timing.leaseMs));
  }

  #spec(found: KubeObject | undefined): object {
    const now = microTime(this.#options.wallMs());
    const spec = isObject(found?.["spec"]) ? found["spec"] : {};
    const transitions = member(spec, "leaseTransitions");
    const count = typeof transitions === "number" ? transitions : 0;
    const isRenewal = found !== undefined && this.#isMine(found);
    return {
      ...spec,
      holderIdentity: this.identity,
      leaseDurationSeconds: Math.max(1, Math.ceil(this.#options.timing.leaseMs / 1_000)),
      acquireTime: isRenewal ? (member(spec, "acquireTime") ?? now) : now,
      renewTime: now,
      leaseTransitions: isRenewal || found === undefined ? count : count + 1,
    };
  }

  /** As client-go does it: nobody holds the Lease, and its duration is a second. */
  async #release(): Promise<void> {
    const { log, lease, connection, wallMs } = this.#options;
    try {
      const found = await this.#client.get(lease);
      if (!this.#isMine(found)) return;
      const now = microTime(wallMs());
      const spec = { ...(found["spec"] as object), holderIdentity: "", leaseDurationSeconds: 1, renewTime: now };
      await this.#client.replace({ ...found, spec });
    } catch (error) {
      const { message } = requestError(connection.server, error);
      log.warn({ lease: titleOfLease(lease), error: message }, "the Lease was not released; it expires by itself");
    }
  }

  #become(failure: ClusterError | undefined): void {
    const { log, lease } = this.#options;
    const problem = failure && failureOf(failure);
    if (problem === this.#problem) return;
    this.#problem = problem;
    const fields = { lease: titleOfLease(lease) };
    if (problem === undefined) log.info(fields, "the Lease can be used again");
    else log.warn({ ...fields, error: problem }, "the Lease cannot be used, so this replica does not lead");
  }

  #tell(): void {
    const { log, lease } = this.#options;
    const isLeading = this.leading;
    if (!isLeading) this.#term = undefined;
    if (isLeading === this.#isToldLeading) return;
    this.#isToldLeading = isLeading;
    const fields = { lease: titleOfLease(lease), identity: this.identity };
    log.info(fields, isLeading ? "this replica leads" : "this replica no longer leads");
    for (const listener of this.#listeners) listener(isLeading);
  }
}

const titleOfLease = ({ namespace, name }: ObjectName): string => `${namespace}/${name}`;

function holderOf(lease: KubeObject | undefined): string {
  const holder = member(lease?.["spec"], "holderIdentity");
  return typeof holder === "string" ? holder : "";
}

function nothingIfAbsent(error: unknown): undefined {
  if (error instanceof ClusterError && error.fault === "absent") return undefined;
  throw error;
}

const failureOf = ({ fault, message }: ClusterError): string =>
  fault === "forbidden"
    ? `${message.replace(/; grant it .*$/, "")}; grant it get, update and create on leases.coordination.k8s.io`
    : message;

/** Go's MicroTime needs exactly six digits. */
const microTime = (wallMs: number): string => new Date(wallMs).toISOString().replace("Z", "000Z");
