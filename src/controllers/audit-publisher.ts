import { guessedRules } from "../engine/finding.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Mesh } from "../view/view.ts";
import { type AuditedFinding, auditedFindings } from "./audited-findings.ts";
import type { AuditOutcome, AuditTrigger, Turn } from "./background-audit.ts";
import { eventsOfFindings } from "./finding-events.ts";
import { FirstSeen, type RememberedResult, timeOf } from "./first-seen.ts";
import { type ReportContent, reportsOf } from "./policy-reports.ts";
import { ReportWriter, type ReportWriterOptions } from "./report-writer.ts";

export interface AuditPublisherOptions {
  /** Undefined: no reports are written. */
  readonly reports: Omit<ReportWriterOptions, "learn" | "read" | "log" | "counted"> | undefined;
  readonly tell: (events: readonly ObjectEvent[]) => void;
  /** Returns the URL of a rule's page. */
  readonly pageOf: (ruleId: string) => string;
  readonly metrics: Pick<Metrics, "audit" | "auditEnded" | "reportWrite">;
  readonly log: Log;
  /** Wall clock in milliseconds since 1970. */
  readonly wallMs?: () => number;
}

/**
 * Audits in which only objects can have changed, so that a finding that was not there before is worth an Event. A new policy
 * can bring findings on thousands of objects that nobody has touched.
 */
const aboutObjects: ReadonlySet<AuditTrigger> = new Set(["start", "change", "interval"]);

/** Publishes what audits find, as long as this replica leads: in reports, Events, metrics and the log. */
export class AuditPublisher {
  readonly #options: AuditPublisherOptions;
  readonly #writer: ReportWriter | undefined;
  readonly #firstSeen = new FirstSeen();
  #isStarted = false;

  constructor(options: AuditPublisherOptions, signal: AbortSignal) {
    const { reports, metrics, log, wallMs = () => Date.now() } = options;
    this.#options = options;
    const learn = (result: RememberedResult) => this.#firstSeen.learn(result, wallMs());
    const read = (isKept: boolean) => this.#firstSeen.read(isKept);
    const counted = metrics.reportWrite;
    this.#writer = reports && new ReportWriter({ ...reports, learn, read, counted, log }, signal);
    if (reports === undefined) read(false);
    signal.addEventListener("abort", () => metrics.auditEnded(), { once: true });
  }

  async publish(outcome: AuditOutcome, turn: Turn): Promise<void> {
    const findings = await auditedFindings(outcome, turn);
    if (!this.#isStarted) await this.#writer?.read();
    this.#isStarted = true;
    const isInformed = this.#firstSeen.isInformed;
    const added = this.#firstSeen.update(
      findings.map(({ id, ruling, namespace }) => ({ id, rule: ruling.finding.rule.id, namespace })),
      outcome.atMs,
    );
    const news = findings.filter(({ id }) => added.has(id));
    if (isInformed && aboutObjects.has(outcome.trigger)) this.#options.tell(eventsOfFindings(news));
    this.#write(outcome, findings, turn);
    await turn();
    this.#count(outcome, findings);
    this.#log(outcome, findings, news.length);
  }

  /** When a finding was first seen, in RFC 3339; undefined: it was there before this replica audited, or is not there. */
  readonly firstSeen = (fingerprint: string): string | undefined => {
    const seen = this.#firstSeen.of(fingerprint);
    return seen?.isExact === true ? timeOf(seen.seconds) : undefined;
  };

  /** Resolves when no report is being written any more. */
  async idle(): Promise<void> {
    await this.#writer?.idle();
  }

  #write({ mesh, errors, trigger }: AuditOutcome, findings: readonly AuditedFinding[], turn: Turn): void {
    if (this.#writer === undefined) return;
    const open = openNamespaces(mesh);
    const contents = async (): Promise<readonly ReportContent[]> => {
      const steps = reportsOf({
        findings,
        errors,
        firstSeen: (id) => this.#firstSeen.of(id),
        isOpen: (namespace) => open.has(namespace),
        pageOf: this.#options.pageOf,
      });
      for (;;) {
        const step = steps.next();
        if (step.done) return step.value;
        await turn();
      }
    };
    this.#writer.write(contents, trigger !== "change");
  }

  #count({ trigger, atMs, durationMs, evaluations, errors }: AuditOutcome, findings: readonly AuditedFinding[]): void {
    const labels = findings.map(({ ruling: { finding, exception }, mode, namespace }) => ({
      rule: finding.rule.id,
      mode: exception === undefined ? mode : "accepted",
      namespace,
    }));
    const failed = errors.map(({ rule, subject }) => ({
      rule: rule.id,
      mode: "error",
      namespace: subject.metadata.namespace,
    }));
    this.#options.metrics.audit({
      trigger,
      completeAtMs: trigger === "change" ? undefined : atMs - durationMs,
      seconds: durationMs / 1_000,
      evaluations,
      findings: [...labels, ...failed],
    });
  }

  #log(
    { trigger, evaluations, guesses, skipped, errors, durationMs }: AuditOutcome,
    findings: readonly AuditedFinding[],
    news: number,
  ) {
    const { log } = this.#options;
    const counts = { deny: 0, warn: 0, audit: 0, accepted: 0 };
    for (const { mode, ruling } of findings) counts[ruling.exception === undefined ? mode : "accepted"]++;
    const fields = { trigger, evaluations, ...counts, new: news, milliseconds: Math.round(durationMs) };
    if (trigger === "change") log.debug(fields, "changes were audited");
    else log.info(fields, "the mesh was audited");
    const left = trigger === "change" ? [] : skipped.map(({ rule, unknown }) => `${rule.id} (${unknown})`);
    if (left.length > 0)
      log.warn({ rules: left }, "the audit left rules out, because it knows no objects of the kinds that they need");
    const guessing =
      trigger === "change" ? [] : guessedRules(guesses).map(({ rule, unknown }) => `${rule} (${unknown})`);
    if (guessing.length > 0)
      log.info({ rules: guessing }, "the audit left out findings that rest on what it does not know");
    for (const { rule, subject, error } of errors)
      log.error({ rule: rule.id, subject: subject.metadata.name, error: String(error) }, "a rule failed in the audit");
  }
}

/** Namespaces that exist and are not being deleted, and the cluster. */
function openNamespaces(mesh: Mesh): ReadonlySet<string> {
  const open = new Set([""]);
  for (const { implied, metadata, status } of mesh.all("Namespace"))
    if (implied !== true && metadata.deletionTimestamp === undefined && status.phase !== "Terminating")
      open.add(metadata.name);
  return open;
}
