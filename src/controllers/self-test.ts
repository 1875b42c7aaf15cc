import { selfTest } from "../admission/self-test.ts";
import { type ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import type { Log } from "../telemetry/log.ts";
import type { Clock } from "../tls/clock.ts";
import { leases } from "./election.ts";
import { ObjectClient } from "./objects.ts";

/**
 * - `passed`: Meshward was asked, and the API server denied the request because of it.
 * - `admitted`: the API server did not ask Meshward, or ignored that it could not be reached.
 * - `failed`: the API server refused the request for another reason, which `detail` has.
 */
export interface SelfTestResult {
  readonly result: "passed" | "admitted" | "failed";
  readonly detail: string;
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
}

const details = {
  passed: "the API server asks Meshward, and denies what Meshward denies",
  admitted:
    "the API server admitted what Meshward has to deny: its webhooks are not registered, or it cannot be reached " +
    "(see caBundle, the Service and its endpoints), and failurePolicy Ignore lets everything pass",
} as const;

/**
 * Creates, as a dry run, a Lease in Meshward's own namespace that Meshward has to deny. The request goes the whole way that
 * every review goes: API server, webhook configuration, Service, TLS, Meshward and back. Nothing is stored. Never rejects.
 */
export async function testThroughApiServer(
  connection: ClusterConnection,
  namespace: string,
  now: number,
): Promise<SelfTestResult> {
  try {
    const metadata = { name: selfTest.name, namespace };
    await new ObjectClient(connection, leases).create({ metadata, spec: {} }, { dryRun: true });
    return { result: "admitted", detail: details.admitted, atMs: now };
  } catch (error) {
    const failure: ClusterError = requestError(connection.server, error);
    if (failure.message.includes(selfTest.answer)) return { result: "passed", detail: details.passed, atMs: now };
    return { result: "failed", detail: failure.message, atMs: now };
  }
}

export interface SelfTestOptions {
  readonly connection: ClusterConnection;
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Log;
}

const lookMs = 5_000;
const againMs = 60_000;

/** Repeats the self-test every minute, and every few seconds until it passes. */
export class SelfTest {
  readonly #options: SelfTestOptions;
  readonly #stop: () => void;
  #last: SelfTestResult | undefined;
  #passedAtMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(options: SelfTestOptions) {
    this.#options = options;
    this.#stop = options.clock.every(lookMs, () => void this.run());
  }

  get last(): SelfTestResult | undefined {
    return this.#last;
  }

  /** Milliseconds since 1970; undefined if it has never passed. */
  get passedAtMs(): number | undefined {
    return this.#passedAtMs;
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#running;
  }

  /** Runs it unless it has passed within the last minute. */
  run(): Promise<void> {
    const age = Math.abs(this.#options.clock.now() - (this.#last?.atMs ?? Number.NEGATIVE_INFINITY));
    if (this.#last?.result === "passed" && age < againMs) return Promise.resolve();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    const { connection, namespace, clock, log } = this.#options;
    const before = this.#last?.result;
    const now = await testThroughApiServer(connection, namespace, clock.now());
    this.#last = now;
    if (now.result === "passed") this.#passedAtMs = now.atMs;
    if (now.result === before) return;
    const fields = { result: now.result, detail: now.detail };
    if (now.result === "passed") log.info(fields, "self-test");
    else log.warn(fields, "self-test");
  }
}
