import { setTimeout as sleep } from "node:timers/promises";
import { Option } from "commander";
import { AuditPublisher } from "../../controllers/audit-publisher.ts";
import { auditInBackground, type AuditOutcome, type Turn } from "../../controllers/background-audit.ts";
import type { Election } from "../../controllers/election.ts";
import { defaultNames } from "../../controllers/permissions.ts";
import { type ReportChoice, reportGroups } from "../../controllers/report-groups.ts";
import type { ReadinessCheck } from "../../http/readiness.ts";
import type { ObjectEvent } from "../../kube/object-event.ts";
import type { Policies } from "../../policy/policies.ts";
import { rules } from "../../rules/index.ts";
import type { FirstSeenOf } from "../../report/reported-finding.ts";
import type { ClusterConnection } from "../../sources/cluster/connection.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import type { MeshStore } from "../../view/store.ts";

export interface BackgroundAuditFlags {
  /** Seconds; 0: no background audit. */
  readonly auditInterval: number;
  readonly auditReports: ReportChoice;
}

export const auditReportsOption = () =>
  new Option(
    "--audit-reports <group>",
    "the API group of the reports with what background audits find; auto: the first one that the cluster has",
  )
    .choices(["auto", ...reportGroups, "all", "none"])
    .default("auto");

export interface BackgroundAuditParts extends BackgroundAuditFlags {
  readonly mesh: () => MeshStore;
  readonly checks: readonly ReadinessCheck[];
  readonly policies: () => Policies;
  readonly pageOf: (ruleId: string) => string;
  readonly tell: (events: readonly ObjectEvent[]) => void;
  /** The number of reviews so far. */
  readonly reviews: () => number;
  /** Undefined if the mesh is read from files: nothing is elected and no report is written. */
  readonly connection: ClusterConnection | undefined;
  /** Undefined: there is no election, so a mesh of a cluster is not audited. */
  readonly election: Election | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Called with each outcome, when it is known since when there are its findings. The next audit waits for it. */
  readonly found?: ((outcome: AuditOutcome, firstSeen: FirstSeenOf, turn: Turn) => void | Promise<void>) | undefined;
}

/** The audit rests after each slice of a millisecond: for a short time if there are no reviews, and longer as long as they arrive. */
const [shortestRestMs, longestRestMs] = [2, 16];

/** Rests after a slice, so that reviews have most of the CPU. `reviews` returns their number so far. */
export function resting(reviews: () => number): () => Promise<void> {
  let seen = reviews();
  let restMs = shortestRestMs;
  return async () => {
    await sleep(restMs);
    const now = reviews();
    restMs = now === seen ? shortestRestMs : Math.min(2 * restMs, longestRestMs);
    seen = now;
  };
}

/** An audit that runs while this replica leads. */
export interface BackgroundAudit {
  close(): Promise<void>;
}

/**
 * Starts the background audit, which begins when the mesh is complete and this replica is elected. A mesh of files is not
 * audited, because it does not change.
 */
export function startBackgroundAudit(parts: BackgroundAuditParts): BackgroundAudit {
  const { connection, election, log } = parts;
  if (parts.auditInterval === 0 || connection === undefined) return { close: async () => undefined };
  const term = new Term(parts);
  if (election === undefined)
    log.info({}, "no background audit: give --namespace, in which the replicas elect the one that audits");
  else election.onChange((isLeading) => (isLeading ? term.begin() : void term.end()));
  return { close: () => term.end() };
}

/** The time in which this replica leads, or several one after the other. */
class Term {
  readonly #parts: BackgroundAuditParts;
  #abort: AbortController | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: BackgroundAuditParts) {
    this.#parts = parts;
  }

  begin(): void {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#ended = this.#ended.then(() => this.#run(abort.signal));
  }

  end(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    return this.#ended;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const {
      mesh,
      checks,
      policies,
      auditInterval,
      auditReports,
      connection,
      log,
      metrics,
      pageOf,
      tell,
      reviews,
      found,
    } = this.#parts;
    const reports =
      connection === undefined || auditReports === "none"
        ? undefined
        : { connection, choice: auditReports, owner: defaultNames.webhookConfiguration };
    const publisher = new AuditPublisher({ reports, tell, pageOf, metrics, log }, signal);
    await auditInBackground(
      {
        mesh,
        policies,
        rules,
        log,
        isReady: () => checks.every((check) => check.problem() === undefined),
        intervalMs: auditInterval * 1_000,
        pause: resting(reviews),
        async publish(outcome, turn) {
          await publisher.publish(outcome, turn);
          await found?.(outcome, publisher.firstSeen, turn);
        },
      },
      signal,
    );
    await publisher.idle();
  }
}
