import { hostname } from "node:os";
import { setTimeout as later, setImmediate as nextTurn } from "node:timers/promises";
import { createGate, type GateParts } from "../admission/gate.ts";
import { PendingChanges } from "../admission/pending-changes.ts";
import type { Clients } from "../http/client-authentication.ts";
import { createOpsServer } from "../http/ops-server.ts";
import type { ReadinessCheck } from "../http/readiness.ts";
import { type AdmissionServer, createAdmissionServer, type Limits } from "../http/server.ts";
import { allKinds, type Kind } from "../kube/kinds.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import type { Mesh } from "../view/view.ts";
import type { Policies } from "../policy/policies.ts";
import { pageOf as rulePage, policiesPage } from "../config/rule-page.ts";
import { rules } from "../rules/index.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { definitionFor } from "./rule-definition.ts";
import { ClusterEvents } from "../sources/cluster/events.ts";
import type { Log } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { begin } from "../telemetry/tracing.ts";
import type { CertificateSource } from "../tls/certificate-source.ts";

export interface WebhookOptions {
  readonly mesh: () => Mesh & { count(kind: Kind): number };
  readonly policies: () => Policies;
  /** Reads the evidence of a denial again from the API server: see GateParts. */
  readonly readAgain?: GateParts["readAgain"];
  /** The connection through which Events on objects are written; without it they are only logged. */
  readonly connection?: ClusterConnection | undefined;
  /** CPU time of one review, in milliseconds. */
  readonly reviewBudgetMs?: number;
  /** Freezes the mesh while a long review yields. */
  readonly hold?: (() => () => void) | undefined;
  /** Returns the URL of a rule's page. */
  readonly pageOf?: (ruleId: string) => string;
  readonly certificates: CertificateSource;
  /** Who may call. Default: everyone who reaches the port. */
  readonly clients?: Clients | undefined;
  readonly log: Log;
  /** Default: metrics of its own. */
  readonly metrics?: Metrics;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Undefined: /livez, /readyz and /metrics are not served. */
  readonly opsPort?: number;
  /** Returns the page at `/` of the operations port. */
  readonly page?: (() => string | undefined) | undefined;
  readonly limits?: Partial<Limits>;
  /** The largest object that the cluster can store, in bytes. */
  readonly storedBytes?: number;
  readonly checks?: readonly ReadinessCheck[];
  /** Seconds since the API server last sent something about each kind. */
  readonly freshness?: () => Iterable<readonly [kind: Kind, seconds: number]>;
}

export interface Webhook {
  readonly port: number;
  readonly opsPort: number | undefined;
  /** The number of reviews so far. */
  reviews(): number;
  /** Writes Events on objects, or logs them if no cluster is connected. Never throws. */
  tell(events: readonly ObjectEvent[]): void;
  /** Drains, faster if `hurry` is aborted, then closes both ports. */
  close(hurry?: AbortSignal): Promise<void>;
}

/** Starts everything that answers admission reviews. Throws a ListenError if a port cannot be opened. */
export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { mesh, policies, certificates, log, host, limits = {} } = options;
  const { metrics = createMetrics({ processMetrics: true }) } = options;
  metrics.watchView(() => allKinds.map((kind) => [kind, mesh().count(kind)] as const));
  if (options.freshness !== undefined) metrics.watchFreshness(options.freshness);
  const { readAgain, pageOf = (id: string) => rulePage(id) } = options;
  const pending = new PendingChanges({ wait: later });
  metrics.watchPending(() => pending.size);
  const gate = createGate({
    mesh,
    policies,
    rules,
    log,
    readAgain,
    pending,
    pageOf,
    policiesPage,
    definitionFor,
    pacing: pacingOf(options),
    beginSpan: (name) => begin(name).end,
  });
  const events = eventWriterOf(options, metrics);
  const server = createAdmissionServer({
    gate,
    certificates,
    log,
    metrics,
    limits,
    tell: events.tell,
    storedBytes: options.storedBytes,
    clients: options.clients,
  });
  const checks = [...server.readiness, ...(options.checks ?? [])];
  const ops = createOpsServer({ checks, metrics, page: options.page });
  const { port } = await server.listen({ host, port: options.port, flag: "--port" });
  const opsPort = await opsPortOf(options, server, ops);
  return {
    port,
    opsPort,
    reviews: () => server.reviews(),
    tell: events.tell,
    async close(hurry) {
      await server.close(hurry);
      await events.close();
      await ops.close();
      certificates.close();
      options.clients?.authorities.close();
      log.flush();
    },
  };
}

/**
 * The CPU time that a review uses before it yields, so that other reviews wait no longer than this, in milliseconds.
 */
const sliceMs = 15;
/** A single step of a review that takes longer is not continued, and the change is denied, in milliseconds. */
const stepMs = 100;
const defaultBudgetMs = 500;

const pacingOf = ({ reviewBudgetMs = defaultBudgetMs, hold }: WebhookOptions): GateParts["pacing"] => ({
  limitMs: reviewBudgetMs,
  sliceMs,
  stepMs,
  cpuMs: threadCpuMs,
  pause: () => nextTurn(),
  ...(hold === undefined ? {} : { hold }),
});

/** The CPU time of this thread, in milliseconds. Other processes on a busy node do not count. */
function threadCpuMs(): number {
  // Node 22 has no threadCpuUsage, so it uses the clock.
  const usage = (process as Partial<Pick<typeof process, "threadCpuUsage">>).threadCpuUsage?.();
  return usage === undefined ? performance.now() : (usage.user + usage.system) / 1_000;
}

function eventWriterOf({ connection, log }: WebhookOptions, metrics: Metrics) {
  if (connection === undefined)
    return {
      tell(events: readonly ObjectEvent[]) {
        for (const { reason, rule, regarding } of events)
          log.info({ reason, rule, regarding }, "Event not written: no cluster is connected");
      },
      close: async () => undefined,
    };
  const events = new ClusterEvents({ connection, log, instance: hostname(), counted: metrics.event });
  return { tell: (some: readonly ObjectEvent[]) => events.send(some), close: () => events.close() };
}

async function opsPortOf(
  { host, opsPort }: WebhookOptions,
  server: AdmissionServer,
  ops: ReturnType<typeof createOpsServer>,
): Promise<number | undefined> {
  if (opsPort === undefined) return undefined;
  try {
    return (await ops.listen({ host, port: opsPort, flag: "--ops-port" })).port;
  } catch (error) {
    await server.close();
    throw error;
  }
}
