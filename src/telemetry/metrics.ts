import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";

export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

// The one table: what is registered, and what the documentation lists. No label takes a user's or an object's name.
const table = {
  requests: {
    name: "meshward_admission_requests_total",
    type: "counter",
    help: "Admission reviews answered; decision is allow, warn, deny or error (error: not judged, therefore refused)",
    labels: ["webhook", "operation", "kind", "decision", "dry_run"],
  },
  duration: {
    name: "meshward_admission_duration_seconds",
    type: "histogram",
    help: "Seconds from a review's last byte to its answer",
    labels: ["webhook", "decision"],
  },
  ruleFindings: {
    name: "meshward_rule_findings_total",
    type: "counter",
    help: "Changes on which a rule had findings, by what was decided about the change",
    labels: ["rule", "decision"],
  },
  ruleErrors: {
    name: "meshward_rule_errors_total",
    type: "counter",
    help: "Changes that a rule could not judge; reason is error (a bug) or budget (the review used all its CPU time)",
    labels: ["rule", "reason"],
  },
  shed: {
    name: "meshward_shed_total",
    type: "counter",
    help: "Reviews answered with 429 because too many were in flight",
    labels: [],
  },
  inFlight: {
    name: "meshward_inflight",
    type: "gauge",
    help: "Reviews being received or judged",
    labels: [],
  },
  certificateNotAfter: {
    name: "meshward_certificate_not_after_seconds",
    type: "gauge",
    help: "When the served certificate expires, in seconds since 1970",
    labels: [],
  },
  certificateReloads: {
    name: "meshward_certificate_reloads_total",
    type: "counter",
    help: "Replacements of the served certificate; result is ok or refused (refused: the last good one stays)",
    labels: ["result"],
  },
  viewObjects: {
    name: "meshward_view_objects",
    type: "gauge",
    help: "Objects in the mesh view",
    labels: ["kind"],
  },
  breakGlass: {
    name: "meshward_break_glass_total",
    type: "counter",
    help: "Changes let through because glass was broken, by the kind of the object; dry runs do not count",
    labels: ["kind"],
  },
  liveReads: {
    name: "meshward_live_reads_total",
    type: "counter",
    help: "Denials whose witnesses were read again from the API server; result is confirmed (denied), changed (the watch lagged, let through) or late (no answer in time, let through with a warning)",
    labels: ["result"],
  },
  events: {
    name: "meshward_events_total",
    type: "counter",
    help: "Events on objects; result is sent, merged (counted with one that waits), dropped (too many) or failed (the API server did not take it)",
    labels: ["reason", "result"],
  },
  viewFreshness: {
    name: "meshward_view_freshness_seconds",
    type: "gauge",
    help: "Seconds since the API server last said something about a kind; only where a cluster is followed",
    labels: ["kind"],
  },
} as const satisfies Record<string, MetricRow>;

// From a review of one object without findings (well below a millisecond) to the API server's longest timeout.
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface AdmissionSample {
  readonly webhook: string;
  readonly operation: string;
  readonly kind: string;
  readonly decision: string;
  readonly dryRun: boolean;
  readonly seconds: number;
  readonly rules: readonly string[];
  readonly ruleErrors: readonly { readonly rule: string; readonly reason: "error" | "budget" }[];
  readonly hasBrokenGlass: boolean;
  /** Of the read that came before a denial, where there was one. */
  readonly liveRead: "confirmed" | "changed" | "late" | undefined;
}

export type EventResult = "sent" | "merged" | "dropped" | "failed";

export interface Metrics {
  admission(sample: AdmissionSample): void;
  shed(): void;
  event(reason: string, result: EventResult): void;
  certificate(notAfterMs: number): void;
  certificateReload(result: "ok" | "refused"): void;
  /** `read` is called at each scrape. */
  watchInFlight(read: () => number): void;
  /** `read` is called at each scrape and gives the number of objects of each kind. */
  watchView(read: () => Iterable<readonly [kind: string, count: number]>): void;
  /** `read` is called at each scrape and gives the seconds since each kind was last heard of. */
  watchFreshness(read: () => Iterable<readonly [kind: string, seconds: number]>): void;
  /** The page in Prometheus' text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** The table as the documentation shows it. */
export function metricsTable(): readonly MetricRow[] {
  return Object.values(table);
}

/** `processMetrics` adds those of the process and of Node (memory, event loop, garbage collection). */
export function createMetrics({ processMetrics }: { readonly processMetrics: boolean }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (processMetrics) collectDefaultMetrics({ register: registry });
  const counter = <Label extends string>({
    name,
    help,
    labels,
  }: {
    name: string;
    help: string;
    labels: readonly Label[];
  }) => new Counter({ name, help, labelNames: [...labels], registers });
  const requests = counter(table.requests);
  const ruleFindings = counter(table.ruleFindings);
  const ruleErrors = counter(table.ruleErrors);
  const shed = counter(table.shed);
  const breakGlass = counter(table.breakGlass);
  const liveReads = counter(table.liveReads);
  const events = counter(table.events);
  const certificateReloads = counter(table.certificateReloads);
  const { name, help, labels } = table.duration;
  const duration = new Histogram({ name, help, labelNames: [...labels], buckets: durationBuckets, registers });
  const certificateNotAfter = new Gauge({ ...described(table.certificateNotAfter), registers });

  return {
    admission({ webhook, operation, kind, decision, dryRun, seconds, rules, ruleErrors: failed, ...more }) {
      requests.inc({ webhook, operation, kind, decision, dry_run: dryRun ? "true" : "false" });
      duration.observe({ webhook, decision }, seconds);
      for (const rule of rules) ruleFindings.inc({ rule, decision });
      for (const { rule, reason } of failed) ruleErrors.inc({ rule, reason });
      if (more.hasBrokenGlass) breakGlass.inc({ kind });
      if (more.liveRead !== undefined) liveReads.inc({ result: more.liveRead });
    },
    shed: () => shed.inc(),
    event: (reason, result) => events.inc({ reason, result }),
    certificate: (notAfterMs) => certificateNotAfter.set(notAfterMs / 1_000),
    certificateReload: (result) => certificateReloads.inc({ result }),
    watchInFlight(read) {
      // oxlint-disable-next-line no-new -- it registers itself
      new Gauge({
        ...described(table.inFlight),
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    watchView: (read) => watchKinds(table.viewObjects, read, registers),
    watchFreshness: (read) => watchKinds(table.viewFreshness, read, registers),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function watchKinds(
  row: MetricRow,
  read: () => Iterable<readonly [kind: string, value: number]>,
  registers: Registry[],
): void {
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    ...described(row),
    labelNames: ["kind"],
    registers,
    collect() {
      this.reset();
      for (const [kind, value] of read()) this.set({ kind }, value);
    },
  });
}

function described({ name, help }: MetricRow): { name: string; help: string } {
  return { name, help };
}
