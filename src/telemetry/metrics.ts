import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "@prometheus-io/client";

export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

// The table of all metrics, for the registry and the documentation. No label contains a name of a user or an object.
const table = {
  requests: {
    name: "meshward_admission_requests_total",
    type: "counter",
    help: "Admission reviews answered; decision is allow, warn, deny or error (error: the review failed, so the request was denied)",
    labels: ["webhook", "operation", "kind", "decision", "dry_run"],
  },
  duration: {
    name: "meshward_admission_duration_seconds",
    type: "histogram",
    help: "Seconds from the last byte of an admission review to its response",
    labels: ["webhook", "decision"],
  },
  ruleFindings: {
    name: "meshward_rule_findings_total",
    type: "counter",
    help: "Changes for which a rule had findings, by the decision about the change",
    labels: ["rule", "decision"],
  },
  ruleErrors: {
    name: "meshward_rule_errors_total",
    type: "counter",
    help: "Changes that a rule could not evaluate; reason is error (a bug) or budget (the review exceeded its CPU time)",
    labels: ["rule", "reason"],
  },
  shed: {
    name: "meshward_shed_total",
    type: "counter",
    help: "Admission reviews rejected with status 429 because too many were in flight",
    labels: [],
  },
  inFlight: {
    name: "meshward_inflight",
    type: "gauge",
    help: "Admission reviews that were received completely and are being processed",
    labels: [],
  },
  refused: {
    name: "meshward_reviews_refused_total",
    type: "counter",
    help: "Admission reviews that were denied without evaluation; reason is review_size (more bytes than Meshward reads), object_size (the cluster cannot store the object) or unreadable",
    labels: ["reason"],
  },
  overBudget: {
    name: "meshward_reviews_over_budget_total",
    type: "counter",
    help: "Admission reviews that exceeded their CPU time",
    labels: [],
  },
  connections: {
    name: "meshward_connections",
    type: "gauge",
    help: "Connections to the webhook's port; state is handshake, headers (no request yet), body (incomplete), answering or idle",
    labels: ["state"],
  },
  connectionsClosed: {
    name: "meshward_connections_closed_total",
    type: "counter",
    help: "Connections that were closed because there were too many, or too many bytes in incomplete bodies, by their state",
    labels: ["state"],
  },
  certificateNotAfter: {
    name: "meshward_certificate_not_after_seconds",
    type: "gauge",
    help: "Expiration time of the served certificate, in seconds since 1970",
    labels: [],
  },
  certificateReloads: {
    name: "meshward_certificate_reloads_total",
    type: "counter",
    help: "Reloads of the served certificate; result is ok or refused (refused: the last valid certificate stays in use)",
    labels: ["result"],
  },
  policyReloads: {
    name: "meshward_policy_reloads_total",
    type: "counter",
    help: "Reloads of changed policies; result is ok, weaker (less is protected than before) or refused (an error, the previous policies stay in force)",
    labels: ["result"],
  },
  policiesKept: {
    name: "meshward_policies_kept",
    type: "gauge",
    help: "MeshwardPolicy documents that are in force although their source no longer contains them",
    labels: [],
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
    help: "Changes that were admitted by break glass, by the kind of the object; dry runs do not count",
    labels: ["kind"],
  },
  liveReads: {
    name: "meshward_live_reads_total",
    type: "counter",
    help: "Denials whose evidence was read again from the API server; result is confirmed (denied), changed (the cached data was outdated, admitted) or late (no response in time, admitted with a warning)",
    labels: ["result"],
  },
  concurrent: {
    name: "meshward_concurrent_changes_total",
    type: "counter",
    help: "Changes for which another change made a difference that was admitted a moment before and was not in the mesh view; result is denied, admitted or undecided (the other change was not stored in time, so what was stored decided)",
    labels: ["result"],
  },
  pendingChanges: {
    name: "meshward_pending_changes",
    type: "gauge",
    help: "Changes that this replica admitted in the last seconds and that its mesh view did not show when the last change was reviewed",
    labels: [],
  },
  events: {
    name: "meshward_events_total",
    type: "counter",
    help: "Kubernetes Events about objects; result is sent, merged (added to the count of a queued Event), dropped (too many) or failed (the API server rejected it)",
    labels: ["reason", "result"],
  },
  viewFreshness: {
    name: "meshward_view_freshness_seconds",
    type: "gauge",
    help: "Seconds since the API server last sent something about a kind; only with --mesh cluster",
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
  /** The result of reading the evidence of a denial again, if that was done. */
  readonly liveRead: "confirmed" | "changed" | "late" | undefined;
  /** The difference that changes at the same moment made, if they made any. */
  readonly concurrent: "denied" | "admitted" | "undecided" | undefined;
}

/** Why a review was denied without evaluation. */
export type RefusalReason = "review_size" | "object_size" | "unreadable";

export type EventResult = "sent" | "merged" | "dropped" | "failed";

export interface Metrics {
  admission(sample: AdmissionSample): void;
  shed(): void;
  refused(reason: RefusalReason): void;
  /** A connection was closed because of a limit. */
  connectionClosed(state: string): void;
  event(reason: string, result: EventResult): void;
  certificate(notAfterMs: number): void;
  certificateReload(result: "ok" | "refused"): void;
  policyReload(result: "ok" | "weaker" | "refused"): void;
  keptPolicies(count: number): void;
  /** `read` is called at each scrape. */
  watchInFlight(read: () => number): void;
  /** `read` is called at each scrape. */
  watchPending(read: () => number): void;
  /** `read` is called at each scrape and returns the number of connections in each state. */
  watchConnections(read: () => Iterable<readonly [state: string, count: number]>): void;
  /** `read` is called at each scrape and returns the number of objects of each kind. */
  watchView(read: () => Iterable<readonly [kind: string, count: number]>): void;
  /**
   * `read` is called at each scrape and returns the seconds since the API server last sent something about each kind.
   */
  watchFreshness(read: () => Iterable<readonly [kind: string, seconds: number]>): void;
  /** The metrics in the text format of Prometheus. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** The table in Markdown, for the documentation. */
export function metricsTable(): readonly MetricRow[] {
  return Object.values(table);
}

/** `processMetrics` adds the metrics of the process and of Node (memory, event loop, garbage collection). */
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
  const refused = counter(table.refused);
  const overBudget = counter(table.overBudget);
  const connectionsClosed = counter(table.connectionsClosed);
  const breakGlass = counter(table.breakGlass);
  const liveReads = counter(table.liveReads);
  const concurrent = counter(table.concurrent);
  const events = counter(table.events);
  const certificateReloads = counter(table.certificateReloads);
  const { name, help, labels } = table.duration;
  const duration = new Histogram({ name, help, labelNames: [...labels], buckets: durationBuckets, registers });
  const policyReloads = counter(table.policyReloads);
  const policiesKept = new Gauge({ ...described(table.policiesKept), registers });
  const certificateNotAfter = new Gauge({ ...described(table.certificateNotAfter), registers });

  return {
    admission({ webhook, operation, kind, decision, dryRun, seconds, rules, ruleErrors: failed, ...more }) {
      requests.inc({ webhook, operation, kind, decision, dry_run: dryRun ? "true" : "false" });
      duration.observe({ webhook, decision }, seconds);
      for (const rule of rules) ruleFindings.inc({ rule, decision });
      for (const { rule, reason } of failed) ruleErrors.inc({ rule, reason });
      if (failed.some(({ reason }) => reason === "budget")) overBudget.inc();
      if (more.hasBrokenGlass) breakGlass.inc({ kind });
      if (more.liveRead !== undefined) liveReads.inc({ result: more.liveRead });
      if (more.concurrent !== undefined) concurrent.inc({ result: more.concurrent });
    },
    shed: () => shed.inc(),
    refused: (reason) => refused.inc({ reason }),
    connectionClosed: (state) => connectionsClosed.inc({ state }),
    event: (reason, result) => events.inc({ reason, result }),
    certificate: (notAfterMs) => certificateNotAfter.set(notAfterMs / 1_000),
    certificateReload: (result) => certificateReloads.inc({ result }),
    policyReload: (result) => policyReloads.inc({ result }),
    keptPolicies: (count) => policiesKept.set(count),
    watchInFlight: (read) => watchOne(table.inFlight, read, registers),
    watchPending: (read) => watchOne(table.pendingChanges, read, registers),
    watchConnections: (read) => watchEach(table.connections, "state", read, registers),
    watchView: (read) => watchEach(table.viewObjects, "kind", read, registers),
    watchFreshness: (read) => watchEach(table.viewFreshness, "kind", read, registers),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function watchOne(row: MetricRow, read: () => number, registers: Registry[]): void {
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    ...described(row),
    registers,
    collect() {
      this.set(read());
    },
  });
}

function watchEach(
  row: MetricRow,
  label: "kind" | "state",
  read: () => Iterable<readonly [name: string, value: number]>,
  registers: Registry[],
): void {
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    ...described(row),
    labelNames: [label],
    registers,
    collect() {
      this.reset();
      for (const [name, value] of read()) this.set({ [label]: name }, value);
    },
  });
}

function described({ name, help }: MetricRow): { name: string; help: string } {
  return { name, help };
}
