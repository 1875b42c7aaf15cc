/** A panel of the dashboard: one or more PromQL expressions. */
interface Panel {
  readonly title: string;
  readonly description: string;
  readonly type: "timeseries" | "stat";
  /** A unit of Grafana. */
  readonly unit: "reqps" | "s" | "short" | "bytes" | "percentunit";
  /** Each with its legend, in which `{{label}}` is replaced. */
  readonly queries: readonly (readonly [expression: string, legend: string])[];
}
interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const timeseries = (title: string, description: string, unit: Panel["unit"], ...queries: Panel["queries"]): Panel => ({
  title,
  description,
  type: "timeseries",
  unit,
  queries,
});
const stat = (title: string, description: string, unit: Panel["unit"], ...queries: Panel["queries"]): Panel => ({
  ...timeseries(title, description, unit, ...queries),
  type: "stat",
});

/** `$__rate_interval` is Grafana's: at least four scrapes. */
const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const quantile = (q: number): string =>
  `histogram_quantile(${q}, sum by (le) (${rate('meshward_admission_duration_seconds_bucket{webhook="validate"}')}))`;

/** The dashboard, by rows. */
export const rows: readonly Row[] = [
  {
    title: "Overview",
    panels: [
      stat("Replicas", "Replicas that are scraped, by version.", "short", [
        "count by (version) (meshward_build_info)",
        "{{version}}",
      ]),
      stat("Certificate", "Time until the first certificate of a replica expires.", "s", [
        "min(meshward_certificate_expiration_timestamp_seconds) - time()",
        "",
      ]),
      stat(
        "Self-test and caBundle",
        "1 is right: the API server asks Meshward, and trusts its certificate.",
        "short",
        ["max(meshward_self_test_passed)", "self-test"],
        ["min(meshward_ca_bundle_trusted)", "caBundle"],
      ),
      stat(
        "Policies and exceptions",
        "In force, on the replica that has most.",
        "short",
        ["max by (state) (meshward_policies)", "policies, {{state}}"],
        ["max by (state) (meshward_exceptions)", "exceptions, {{state}}"],
      ),
      stat("Since the last background audit", "Only the elected replica audits.", "s", [
        "time() - max(meshward_audit_completed_timestamp_seconds)",
        "",
      ]),
    ],
  },
  {
    title: "Reviews",
    panels: [
      timeseries("Decisions", "Changes per second, by decision.", "reqps", [
        `sum by (decision) (${rate('meshward_admission_requests_total{webhook="validate",dry_run="false"}')})`,
        "{{decision}}",
      ]),
      timeseries("Denied and warned, by rule", "Rules with findings, without what was allowed.", "reqps", [
        `topk(10, sum by (rule, decision) (${rate('meshward_rule_findings_total{decision=~"deny|warn"}')}))`,
        "{{rule}} {{decision}}",
      ]),
      timeseries("Kinds", "Changes per second, by kind.", "reqps", [
        `topk(10, sum by (kind) (${rate("meshward_admission_requests_total")}))`,
        "{{kind}}",
      ]),
      timeseries(
        "Duration",
        "From the last byte of a review to its response.",
        "s",
        [quantile(0.5), "median"],
        [quantile(0.99), "99th percentile"],
      ),
      timeseries(
        "Would be denied",
        "Changes that a rule would deny if its mode were deny: what a stricter profile would stop.",
        "reqps",
        [`topk(10, sum by (rule, mode) (${rate("meshward_rule_would_deny_total")}))`, "{{rule}} ({{mode}})"],
      ),
      timeseries("Added labels", "Labels that Meshward added to Namespaces.", "reqps", [
        `sum by (kind, label) (${rate("meshward_mutations_total")})`,
        "{{kind}} {{label}}",
      ]),
    ],
  },
  {
    title: "Problems",
    panels: [
      timeseries(
        "Not evaluated",
        "Reviews that failed, were refused, or exceeded their CPU time.",
        "reqps",
        [`sum(${rate('meshward_admission_duration_seconds_count{decision="error"}')})`, "failed"],
        [`sum by (reason) (${rate("meshward_reviews_refused_total")})`, "refused: {{reason}}"],
        [`sum(${rate("meshward_reviews_over_budget_total")})`, "over budget"],
        [`sum(${rate("meshward_shed_total")})`, "too many in flight"],
      ),
      timeseries(
        "Rules that failed or were skipped",
        "By rule.",
        "reqps",
        [`sum by (rule, reason) (${rate("meshward_rule_errors_total")}) > 0`, "{{rule}}: {{reason}}"],
        [`sum by (rule, kind) (${rate("meshward_rules_skipped_total")}) > 0`, "{{rule}}: no {{kind}}"],
      ),
      timeseries(
        "Live reads",
        "Denials whose evidence was read again, by result.",
        "reqps",
        [`sum by (result) (${rate("meshward_live_reads_total")})`, "{{result}}"],
        [`sum by (result) (${rate("meshward_concurrent_changes_total")})`, "at the same moment: {{result}}"],
      ),
      timeseries(
        "Calls of the API server that failed",
        "Metrics of the API server.",
        "reqps",
        [
          `sum by (name) (${rate('apiserver_admission_webhook_rejection_count{name=~".+[.]meshward[.]io",error_type="calling_webhook_error"}')})`,
          "{{name}}: refused",
        ],
        [
          `sum by (name) (${rate('apiserver_admission_webhook_fail_open_count{name=~".+[.]meshward[.]io"}')})`,
          "{{name}}: admitted without a review",
        ],
      ),
      timeseries(
        "Break glass and Events",
        "Break glass by kind, and Events that were not written.",
        "reqps",
        [`sum by (kind) (${rate("meshward_break_glass_total")})`, "break glass: {{kind}}"],
        [
          `sum by (reason, result) (${rate('meshward_events_total{result=~"dropped|failed"}')})`,
          "{{reason}}: {{result}}",
        ],
      ),
      timeseries("Findings of the audit", "By mode; on the elected replica.", "short", [
        "sum by (mode) (meshward_audit_findings)",
        "{{mode}}",
      ]),
      timeseries(
        "Duration of audits",
        "Mean, with the pauses in which reviews are answered, by what began them.",
        "s",
        [
          `sum by (trigger) (${rate("meshward_audit_duration_seconds_sum")}) / sum by (trigger) (${rate("meshward_audit_duration_seconds_count")})`,
          "{{trigger}}",
        ],
      ),
    ],
  },
  {
    title: "Following the cluster",
    panels: [
      timeseries("Objects", "In the mesh view, by kind.", "short", [
        "max by (kind) (meshward_view_objects)",
        "{{kind}}",
      ]),
      timeseries("Silence", "Time since the API server last sent something about a kind.", "s", [
        "max by (kind) (meshward_view_freshness_seconds)",
        "{{kind}}",
      ]),
      timeseries("Watches that were started again", "By the kind of the error.", "reqps", [
        `sum by (kind, reason) (${rate("meshward_watch_restarts_total")}) > 0`,
        "{{kind}}: {{reason}}",
      ]),
      timeseries("Lists", "Average time to list all objects of a kind.", "s", [
        `sum by (kind) (${rate("meshward_list_duration_seconds_sum")}) / sum by (kind) (${rate("meshward_list_duration_seconds_count")})`,
        "{{kind}}",
      ]),
    ],
  },
  {
    title: "Process",
    panels: [
      timeseries("CPU", "CPU seconds per second, by replica.", "percentunit", [
        rate('process_cpu_seconds_total{job=~".*meshward.*"}'),
        "{{instance}}",
      ]),
      timeseries("Memory", "Resident memory, by replica.", "bytes", [
        'process_resident_memory_bytes{job=~".*meshward.*"}',
        "{{instance}}",
      ]),
      timeseries("Event loop", "99th percentile of the delay, by replica.", "s", [
        'nodejs_eventloop_lag_p99_seconds{job=~".*meshward.*"}',
        "{{instance}}",
      ]),
      timeseries(
        "Connections and reviews in flight",
        "To the webhook's port.",
        "short",
        ["sum by (state) (meshward_connections)", "{{state}}"],
        ["sum(meshward_admission_requests_in_flight)", "reviews in flight"],
        ["sum(meshward_pending_changes)", "pending changes"],
      ),
    ],
  },
];

const width = 24;
const perLine = { stat: 6, timeseries: 3 } as const;
const heights = { stat: 4, timeseries: 8 } as const;
const datasource = { type: "prometheus", uid: "${datasource}" } as const;

/** The dashboard in the JSON of Grafana (10 or newer). */
export function dashboard() {
  const panels: object[] = [];
  let y = 0;
  for (const row of rows) {
    panels.push({
      id: panels.length + 1,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { h: 1, w: width, x: 0, y: y++ },
      panels: [],
    });
    let x = 0;
    let tallest = 0;
    for (const panel of row.panels) {
      const [w, h] = [width / perLine[panel.type], heights[panel.type]];
      if (x + w > width) [x, y, tallest] = [0, y + tallest, 0];
      panels.push(panelOf(panel, panels.length + 1, { h, w, x, y }));
      x += w;
      tallest = Math.max(tallest, h);
    }
    y += tallest;
  }
  return {
    uid: "meshward",
    title: "Meshward",
    tags: ["meshward", "istio"],
    schemaVersion: 39,
    editable: true,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: {
      list: [
        { name: "datasource", label: "Data source", type: "datasource", query: "prometheus", hide: 0, multi: false },
      ],
    },
    panels,
  };
}

function panelOf({ title, description, type, unit, queries }: Panel, id: number, gridPos: object) {
  return {
    id,
    type,
    title,
    description,
    datasource,
    gridPos,
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: type === "stat" ? { reduceOptions: { calcs: ["lastNotNull"] } } : { tooltip: { mode: "multi" } },
    targets: queries.map(([expr, legendFormat], i) => ({
      datasource,
      expr,
      legendFormat: legendFormat || "__auto",
      refId: String.fromCodePoint(65 + i),
    })),
  };
}
