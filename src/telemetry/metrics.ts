import packageJson from "../../package.json" with { type: "json" };
import { Counter, collectDefaultMetrics, Gauge, Histogram, type LabelValues, Registry } from "@prometheus-io/client";

export interface MetricRow {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  /** The values of labels, as far as they are known. If all are, each combination is exposed from the start, with 0. */
  readonly values?: Readonly<Record<string, readonly string[]>>;
}

const webhooks = ["validate", "mutate"];
const decisions = ["allow", "warn", "deny", "error"];

// The table of all metrics, for the registry and the documentation. No label contains a name of a user or an object.
const table = {
  buildInfo: {
    name: "meshward_build_info",
    type: "gauge",
    help: "Always 1; the labels have the version of Meshward and of Node",
    labels: ["version", "node_version"],
  },
  requests: {
    name: "meshward_admission_requests_total",
    type: "counter",
    help: "Admission reviews answered; decision is allow, warn, deny or error (error: the review failed, so the request was denied)",
    labels: ["webhook", "operation", "kind", "decision", "dry_run"],
    values: {
      webhook: webhooks,
      decision: decisions,
      operation: ["CREATE", "UPDATE", "DELETE", "unknown"],
      dry_run: ["true", "false"],
    },
  },
  duration: {
    name: "meshward_admission_duration_seconds",
    type: "histogram",
    help: "Seconds from the last byte of an admission review to its response",
    labels: ["webhook", "decision"],
    values: { webhook: webhooks, decision: decisions },
  },
  ruleFindings: {
    name: "meshward_rule_findings_total",
    type: "counter",
    help: "Changes for which a rule had findings, by the decision about the change",
    labels: ["rule", "decision"],
    values: { decision: decisions },
  },
  ruleErrors: {
    name: "meshward_rule_errors_total",
    type: "counter",
    help: "Changes that a rule could not evaluate; reason is error (a bug) or budget (the review exceeded its CPU time)",
    labels: ["rule", "reason"],
    values: { reason: ["error", "budget"] },
  },
  shed: {
    name: "meshward_shed_total",
    type: "counter",
    help: "Admission reviews rejected with status 429 because too many were in flight",
    labels: [],
  },
  inFlight: {
    name: "meshward_admission_requests_in_flight",
    type: "gauge",
    help: "Admission reviews that were received completely and are being processed",
    labels: [],
  },
  refused: {
    name: "meshward_reviews_refused_total",
    type: "counter",
    help: "Admission reviews that were denied without evaluation; reason is review_size (more bytes than Meshward reads), object_size (the cluster cannot store the object) or unreadable",
    labels: ["reason"],
    values: { reason: ["review_size", "object_size", "unreadable"] },
  },
  clientsRefused: {
    name: "meshward_clients_refused_total",
    type: "counter",
    help: "Connections and requests that were refused because of --client-ca or --client-name; reason is certificate (none, or no valid one) or name",
    labels: ["reason"],
    values: { reason: ["certificate", "name"] },
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
    name: "meshward_certificate_expiration_timestamp_seconds",
    type: "gauge",
    help: "Expiration time of the served certificate, in seconds since 1970",
    labels: [],
  },
  certificateReloads: {
    name: "meshward_certificate_reloads_total",
    type: "counter",
    help: "Reloads of the served certificate; result is ok or refused (refused: the last valid certificate stays in use)",
    labels: ["result"],
    values: { result: ["ok", "refused"] },
  },
  policyReloads: {
    name: "meshward_policy_reloads_total",
    type: "counter",
    help: "Reloads of changed policies; result is ok, weaker (less is protected than before) or refused (an error, the previous policies stay in force)",
    labels: ["result"],
    values: { result: ["ok", "weaker", "refused"] },
  },
  policies: {
    name: "meshward_policies",
    type: "gauge",
    help: "MeshwardPolicy documents in force; state is loaded (its source contains it) or kept (its source no longer does, and less would be protected without it)",
    labels: ["state"],
    values: { state: ["loaded", "kept"] },
  },
  exceptions: {
    name: "meshward_exceptions",
    type: "gauge",
    help: "MeshwardException documents; state is active or expired (it accepts nothing any more)",
    labels: ["state"],
    values: { state: ["active", "expired"] },
  },
  policiesLoadedAt: {
    name: "meshward_policies_last_load_timestamp_seconds",
    type: "gauge",
    help: "When all policies and exceptions were last read without an error, whether they had changed or not, in seconds since 1970",
    labels: [],
  },
  policyObjects: {
    name: "meshward_policy_objects",
    type: "gauge",
    help: "MeshwardPolicy and MeshwardException objects of the cluster; state is valid, or broken (invalid, so at most an earlier generation is in force)",
    labels: ["state"],
  },
  rulesSkipped: {
    name: "meshward_rules_skipped_total",
    type: "counter",
    help: "Changes for which a rule was skipped because Meshward does not know the objects of a kind",
    labels: ["rule", "kind"],
  },
  mutations: {
    name: "meshward_mutations_total",
    type: "counter",
    help: "Labels that Meshward added to objects, by the kind of the object; dry runs do not count",
    labels: ["kind", "label"],
  },
  watchRestarts: {
    name: "meshward_watch_restarts_total",
    type: "counter",
    help: "How often the list or watch of a kind ended with an error and was started again, by the kind of the error; only with --mesh cluster",
    labels: ["kind", "reason"],
  },
  listDuration: {
    name: "meshward_list_duration_seconds",
    type: "histogram",
    help: "Seconds to list all objects of a kind; only with --mesh cluster",
    labels: ["kind"],
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
    values: { result: ["confirmed", "changed", "late"] },
  },
  concurrent: {
    name: "meshward_concurrent_changes_total",
    type: "counter",
    help: "Changes for which another change made a difference that was admitted a moment before and was not in the mesh view; result is denied, admitted or undecided (the other change was not stored in time, so what was stored decided)",
    labels: ["result"],
    values: { result: ["denied", "admitted", "undecided"] },
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
  wouldDeny: {
    name: "meshward_rule_would_deny_total",
    type: "counter",
    help: "Changes that a rule would deny if its mode were deny, by its mode for the change (deny, warn or audit); dry runs do not count",
    labels: ["rule", "mode"],
  },
  auditFindings: {
    name: "meshward_audit_findings",
    type: "gauge",
    help: "Findings of the background audit; mode is deny, warn, audit, accepted (by an exception) or error; in meshes with very many, the namespace is _other for some. Only the elected replica has it",
    labels: ["rule", "mode", "namespace"],
  },
  auditCompleted: {
    name: "meshward_audit_completed_timestamp_seconds",
    type: "gauge",
    help: "When the last background audit of the whole mesh began, in seconds since 1970; its age is the difference to now. Only the elected replica has it",
    labels: [],
  },
  auditDuration: {
    name: "meshward_audit_duration_seconds",
    type: "histogram",
    help: "Seconds from the beginning of a background audit to its end, with the pauses in which reviews are answered; trigger is start, change, policies, settings, knowledge or interval",
    labels: ["trigger"],
  },
  auditEvaluations: {
    name: "meshward_audit_evaluations_total",
    type: "counter",
    help: "Evaluations of a rule for one object in background audits",
    labels: ["trigger"],
  },
  reportWrites: {
    name: "meshward_audit_report_writes_total",
    type: "counter",
    help: "Writes of PolicyReports and OpenReports; result is written, deleted, conflict (someone else had changed it; tried again) or failed",
    labels: ["group", "result"],
  },
  reportBytes: {
    name: "meshward_audit_report_bytes_total",
    type: "counter",
    help: "Bytes of the written reports",
    labels: ["group"],
  },
  viewFreshness: {
    name: "meshward_view_freshness_seconds",
    type: "gauge",
    help: "Seconds since the API server last sent something about a kind; only with --mesh cluster",
    labels: ["kind"],
  },
  leader: {
    name: "meshward_leader",
    type: "gauge",
    help: "1 if this replica is the elected one, which writes what all replicas share; otherwise 0",
    labels: [],
  },
  authorityNotAfter: {
    name: "meshward_certificate_authority_expiration_timestamp_seconds",
    type: "gauge",
    help: "Expiration time of the certificate authority in the Secret of --tls-secret, in seconds since 1970",
    labels: [],
  },
  authorityPhase: {
    name: "meshward_certificate_authority_phase",
    type: "gauge",
    help: "1 for the present phase of the certificate authority: steady, publishing (the next authority is in caBundle) or retiring (the former one is still in caBundle)",
    labels: ["phase"],
  },
  caBundleTrusted: {
    name: "meshward_ca_bundle_trusted",
    type: "gauge",
    help: "1 if caBundle of each of Meshward's webhooks has the authority of the Secret, 0 if not; absent if the webhook configurations cannot be read",
    labels: [],
  },
  caBundleRepairs: {
    name: "meshward_ca_bundle_repairs_total",
    type: "counter",
    help: "How often caBundle was written again after somebody else had changed it",
    labels: [],
  },
  selfTestPassed: {
    name: "meshward_self_test_passed",
    type: "gauge",
    help: "1 if a dry run through the API server was last denied by Meshward, as it has to be; 0 if not. While it is 0, Meshward protects nothing",
    labels: [],
  },
  selfTestPassedAt: {
    name: "meshward_self_test_last_passed_timestamp_seconds",
    type: "gauge",
    help: "When the self-test through the API server last passed, in seconds since 1970",
    labels: [],
  },
} as const satisfies Record<string, MetricRow>;

// From a review of one object without findings (well below a millisecond) to the API server's longest timeout.
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const listBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const auditBuckets = [0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

export interface AuditSample {
  readonly trigger: string;
  /** Of an audit of the whole mesh: when it began, in milliseconds since 1970. */
  readonly completeAtMs: number | undefined;
  readonly seconds: number;
  readonly evaluations: number;
  /** One entry for each finding. */
  readonly findings: Iterable<AuditFindingLabels>;
}
export interface AuditFindingLabels {
  readonly rule: string;
  readonly mode: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
}

/** The number of time series of findings; with more, the last namespaces by name share the label `_other`. */
const mostFindingSeries = 2_000;

export interface AdmissionSample {
  readonly webhook: string;
  readonly operation: string;
  readonly kind: string;
  readonly decision: string;
  readonly dryRun: boolean;
  readonly seconds: number;
  readonly rules: readonly string[];
  readonly ruleErrors: readonly { readonly rule: string; readonly reason: "error" | "budget" }[];
  /** The rules that were skipped, and the kind that is not known. */
  readonly skipped: readonly { readonly rule: string; readonly kind: string }[];
  /** The keys of the labels that were added. */
  readonly addedLabels: readonly string[];
  /** Each rule that would deny the change if its mode were deny, with its mode. */
  readonly wouldDeny: readonly { readonly rule: string; readonly mode: string }[];
  readonly hasBrokenGlass: boolean;
  /** The result of reading the evidence of a denial again, if that was done. */
  readonly liveRead: "confirmed" | "changed" | "late" | undefined;
  /** The difference that changes at the same moment made, if they made any. */
  readonly concurrent: "denied" | "admitted" | "undecided" | undefined;
}

export interface PolicyCounts {
  readonly policies: { readonly loaded: number; readonly kept: number };
  readonly exceptions: { readonly active: number; readonly expired: number };
  /** Milliseconds since 1970. */
  readonly loadedAtMs: number;
}

export const authorityPhases = ["steady", "publishing", "retiring"] as const;

/** The state of what one of the replicas does for all. */
export interface ControllerSample {
  readonly leading: boolean;
  readonly authority?: { readonly notAfterMs: number; readonly phase: (typeof authorityPhases)[number] } | undefined;
  readonly isTrusted?: boolean | undefined;
  readonly selfTest?: { readonly passed: boolean; readonly passedAtMs: number | undefined } | undefined;
}

/** Why a review was denied without evaluation. */
export type RefusalReason = "review_size" | "object_size" | "unreadable";

export type EventResult = "sent" | "merged" | "dropped" | "failed";

export interface Metrics {
  admission(sample: AdmissionSample): void;
  shed(): void;
  refused(reason: RefusalReason): void;
  /** A client was refused by --client-ca or --client-name. */
  clientRefused(reason: "certificate" | "name"): void;
  /** A connection was closed because of a limit. */
  connectionClosed(state: string): void;
  event(reason: string, result: EventResult): void;
  certificate(notAfterMs: number): void;
  certificateReload(result: "ok" | "refused"): void;
  policyReload(result: "ok" | "weaker" | "refused"): void;
  policyObjects(counts: Readonly<Record<"valid" | "broken", number>>): void;
  /** `read` is called at each scrape. */
  watchPolicies(read: () => PolicyCounts): void;
  watchRestarted(kind: string, reason: string): void;
  listed(kind: string, seconds: number): void;
  audit(sample: AuditSample): void;
  /** This replica no longer audits. */
  auditEnded(): void;
  reportWrite(group: string, result: string, bytes: number): void;
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
  /** `read` is called at each scrape; a value that is undefined is not exposed. */
  watchControllers(read: () => ControllerSample): void;
  caBundleRepaired(): void;
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
  const counter = <Label extends string>(row: MetricRow & { readonly labels: readonly Label[] }) => {
    const made = new Counter({ ...described(row), labelNames: [...row.labels], registers });
    for (const labels of knownLabels(row)) made.inc(labels, 0);
    return made;
  };
  const histogram = <Label extends string>(
    row: MetricRow & { readonly labels: readonly Label[] },
    buckets: number[],
  ) => {
    const made = new Histogram({ ...described(row), labelNames: [...row.labels], buckets, registers });
    for (const labels of knownLabels(row)) made.zero(labels);
    return made;
  };
  const { version: node_version } = process;
  new Gauge({ ...described(table.buildInfo), labelNames: [...table.buildInfo.labels], registers }).set(
    { version: packageJson.version, node_version },
    1,
  );
  const requests = counter(table.requests);
  const ruleFindings = counter(table.ruleFindings);
  const ruleErrors = counter(table.ruleErrors);
  const shed = counter(table.shed);
  const refused = counter(table.refused);
  const clientsRefused = counter(table.clientsRefused);
  const overBudget = counter(table.overBudget);
  const connectionsClosed = counter(table.connectionsClosed);
  const breakGlass = counter(table.breakGlass);
  const liveReads = counter(table.liveReads);
  const concurrent = counter(table.concurrent);
  const events = counter(table.events);
  const certificateReloads = counter(table.certificateReloads);
  const caBundleRepairs = counter(table.caBundleRepairs);
  const duration = histogram(table.duration, durationBuckets);
  const rulesSkipped = counter(table.rulesSkipped);
  const mutations = counter(table.mutations);
  const watchRestarts = counter(table.watchRestarts);
  const listDuration = histogram(table.listDuration, listBuckets);
  const policyReloads = counter(table.policyReloads);
  const policyObjects = new Gauge({ ...described(table.policyObjects), labelNames: ["state"], registers });
  const wouldDeny = counter(table.wouldDeny);
  const auditFindings = new Gauge({
    ...described(table.auditFindings),
    labelNames: [...table.auditFindings.labels],
    registers,
  });
  const auditEvaluations = counter(table.auditEvaluations);
  const reportWrites = counter(table.reportWrites);
  const reportBytes = counter(table.reportBytes);
  const auditDuration = histogram(table.auditDuration, auditBuckets);
  let completeAtMs: number | undefined;
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    ...described(table.auditCompleted),
    registers,
    collect() {
      if (completeAtMs === undefined) this.remove();
      else this.set(completeAtMs / 1_000);
    },
  });
  const certificateNotAfter = new Gauge({ ...described(table.certificateNotAfter), registers });

  const countRules = (sample: Pick<AdmissionSample, "decision" | "rules" | "ruleErrors" | "skipped">): void => {
    const { decision, rules, ruleErrors: failed, skipped } = sample;
    for (const rule of rules) ruleFindings.inc({ rule, decision });
    for (const { rule, reason } of failed) ruleErrors.inc({ rule, reason });
    if (failed.some(({ reason }) => reason === "budget")) overBudget.inc();
    for (const labels of skipped) rulesSkipped.inc(labels);
  };

  return {
    admission({ webhook, operation, kind, decision, dryRun, seconds, ...more }) {
      requests.inc({ webhook, operation, kind, decision, dry_run: dryRun ? "true" : "false" });
      duration.observe({ webhook, decision }, seconds);
      countRules({ decision, ...more });
      for (const label of dryRun ? [] : more.addedLabels) mutations.inc({ kind, label });
      for (const labels of dryRun ? [] : more.wouldDeny) wouldDeny.inc(labels);
      if (more.hasBrokenGlass) breakGlass.inc({ kind });
      if (more.liveRead !== undefined) liveReads.inc({ result: more.liveRead });
      if (more.concurrent !== undefined) concurrent.inc({ result: more.concurrent });
    },
    shed: () => shed.inc(),
    refused: (reason) => refused.inc({ reason }),
    clientRefused: (reason) => clientsRefused.inc({ reason }),
    connectionClosed: (state) => connectionsClosed.inc({ state }),
    event: (reason, result) => events.inc({ reason, result }),
    certificate: (notAfterMs) => certificateNotAfter.set(notAfterMs / 1_000),
    certificateReload: (result) => certificateReloads.inc({ result }),
    policyReload: (result) => policyReloads.inc({ result }),
    policyObjects(counts) {
      for (const [state, count] of Object.entries(counts)) policyObjects.set({ state }, count);
    },
    watchPolicies(read) {
      watchEach(table.policies, "state", () => Object.entries(read().policies), registers);
      watchEach(table.exceptions, "state", () => Object.entries(read().exceptions), registers);
      watchOne(table.policiesLoadedAt, () => read().loadedAtMs / 1_000, registers);
    },
    watchRestarted: (kind, reason) => watchRestarts.inc({ kind, reason }),
    listed: (kind, seconds) => listDuration.observe({ kind }, seconds),
    audit({ trigger, seconds, evaluations, findings, ...sample }) {
      auditDuration.observe({ trigger }, seconds);
      auditEvaluations.inc({ trigger }, evaluations);
      completeAtMs = sample.completeAtMs ?? completeAtMs;
      auditFindings.reset();
      for (const [labels, count] of countedFindings(findings)) auditFindings.set(labels, count);
    },
    auditEnded() {
      completeAtMs = undefined;
      auditFindings.reset();
    },
    reportWrite(group, result, bytes) {
      reportWrites.inc({ group, result });
      if (bytes > 0) reportBytes.inc({ group }, bytes);
    },
    watchInFlight: (read) => watchOne(table.inFlight, read, registers),
    watchPending: (read) => watchOne(table.pendingChanges, read, registers),
    watchConnections: (read) => watchEach(table.connections, "state", read, registers),
    watchView: (read) => watchEach(table.viewObjects, "kind", read, registers),
    watchFreshness: (read) => watchEach(table.viewFreshness, "kind", read, registers),
    watchControllers(read) {
      const one = (value: number | undefined) => (value === undefined ? [] : [["", value] as const]);
      const seconds = (ms: number | undefined) => one(ms === undefined ? undefined : ms / 1_000);
      const flag = (is: boolean | undefined) => one(is === undefined ? undefined : Number(is));
      watchEach(table.leader, undefined, () => flag(read().leading), registers);
      watchEach(table.authorityNotAfter, undefined, () => seconds(read().authority?.notAfterMs), registers);
      watchEach(table.caBundleTrusted, undefined, () => flag(read().isTrusted), registers);
      watchEach(table.selfTestPassed, undefined, () => flag(read().selfTest?.passed), registers);
      watchEach(table.selfTestPassedAt, undefined, () => seconds(read().selfTest?.passedAtMs), registers);
      const phases = () => {
        const { authority } = read();
        return authority === undefined
          ? []
          : authorityPhases.map((phase) => [phase, Number(phase === authority.phase)] as const);
      };
      watchEach(table.authorityPhase, "phase", phases, registers);
    },
    caBundleRepaired: () => caBundleRepairs.inc(),
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
  label: "kind" | "state" | "phase" | undefined,
  read: () => Iterable<readonly [name: string, value: number]>,
  registers: Registry[],
): void {
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    ...described(row),
    labelNames: label === undefined ? [] : [label],
    registers,
    collect() {
      this.reset();
      // Without labels, a reset leaves the value 0, which would say something that is not known.
      if (label === undefined) this.remove();
      for (const [name, value] of read()) this.set(label === undefined ? {} : { [label]: name }, value);
    },
  });
}

/** Every combination of the values of the labels, if all of them are known and there is at least one label. */
function knownLabels<Label extends string>(row: MetricRow & { readonly labels: readonly Label[] }) {
  let found: LabelValues<Label>[] = row.labels.length > 0 ? [{} as LabelValues<Label>] : [];
  for (const label of row.labels)
    found = found.flatMap((one) => (row.values?.[label] ?? []).map((value) => ({ ...one, [label]: value })));
  return found;
}

function described({ name, help }: MetricRow): { name: string; help: string } {
  return { name, help };
}

type FindingLabels = Record<keyof AuditFindingLabels, string>;

/** The number of findings for each combination of labels, of which there is a limited number. */
export function countedFindings(findings: Iterable<AuditFindingLabels>): readonly (readonly [FindingLabels, number])[] {
  const all = countedBy(findings, ({ namespace }) => namespace);
  const shown = new Set<string>();
  let series = 0;
  for (const [{ namespace }] of [...all.values()].sort(([a], [b]) => (a.namespace < b.namespace ? -1 : 1)))
    if (++series <= mostFindingSeries) shown.add(namespace);
  if (series <= mostFindingSeries) return [...all.values()];
  return [...countedBy(findings, ({ namespace }) => (shown.has(namespace) ? namespace : "_other")).values()];
}

function countedBy(
  findings: Iterable<AuditFindingLabels>,
  namespaceOf: (labels: AuditFindingLabels) => string,
): ReadonlyMap<string, readonly [FindingLabels, number]> {
  const counts = new Map<string, [FindingLabels, number]>();
  for (const labels of findings) {
    const { rule, mode } = labels;
    const namespace = namespaceOf(labels);
    const key = `${rule} ${mode} ${namespace}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, [{ rule, mode, namespace }, 1]);
    else known[1]++;
  }
  return counts;
}
