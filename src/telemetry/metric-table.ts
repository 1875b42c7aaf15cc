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

/** All metrics, for the registry and the documentation. No label contains a name of a user or an object. */
export const table = {
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
    help: "Admission reviews rejected with status 429 because too many were in flight, or too many bytes of incomplete ones",
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
    help: "Connections that were closed because there were too many, by their state",
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
    help: "MeshwardPolicy documents in force; state is loaded (its source contains it) or kept (its source no longer does, and less would be protected without it; MeshwardIntents too)",
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
    help: "How often the list or watch of a kind was started again, by the reason: the kind of the error, or silent (nothing came for 90 seconds, which is normal for a kind without changes on some API servers); only with --mesh cluster",
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

/** The rows of the table, for the documentation. */
export function metricsTable(): readonly MetricRow[] {
  return Object.values(table);
}
