import packageJson from "../../package.json" with { type: "json" };
import { Counter, collectDefaultMetrics, Gauge, Histogram, type LabelValues, Registry } from "@prometheus-io/client";
import { type AuditFindingLabels, countedFindings } from "./finding-series.ts";
import { type MetricRow, table } from "./metric-table.ts";

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

const authorityPhases = ["steady", "publishing", "retiring"] as const;

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
