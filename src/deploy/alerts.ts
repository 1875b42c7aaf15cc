import packageJson from "../../package.json" with { type: "json" };

export interface Alert {
  /** `MeshwardReviewsFail`. */
  readonly name: string;
  readonly severity: "critical" | "warning" | "info";
  /** A PromQL expression; the alert fires while it has a result. */
  readonly expression: string;
  /** How long it has to have a result, as in Prometheus: `5m`. */
  readonly for: string;
  /** One sentence. `{{ $labels.x }}` and `{{ $value }}` are replaced by Prometheus. */
  readonly summary: string;
  /** What it means for users, for the page of the alerts. */
  readonly meaning: string;
  /** What to do, in order. */
  readonly actions: readonly string[];
}

/** Half of the timeout of the webhooks, in seconds. */
const slowSeconds = 2.5;
const own = 'name=~".+[.]meshward[.]io"';

/** The alerts, from the most to the least severe. deploy/monitoring/ and docs/alerts.md are made from them. */
export const alerts: readonly Alert[] = [
  {
    name: "MeshwardAbsent",
    severity: "critical",
    expression: "absent(meshward_build_info)",
    for: "5m",
    summary: "No replica of Meshward is scraped.",
    meaning:
      "Either no replica runs, or Prometheus cannot scrape them. If none runs, changes in protected namespaces are refused and all others are admitted without a review, as the failure policies say.",
    actions: [
      "Run `meshward doctor`. It says whether the API server reaches Meshward.",
      "Look at the pods: `kubectl -n meshward-system get pods`, and at the log of the last one.",
      "If the cluster is blocked, use the command that doctor prints.",
    ],
  },
  {
    name: "MeshwardCallsFail",
    severity: "critical",
    expression: `sum by (name) (rate(apiserver_admission_webhook_rejection_count{${own},error_type="calling_webhook_error"}[5m])) > 0`,
    for: "2m",
    summary: "The API server cannot call {{ $labels.name }} and refuses changes.",
    meaning: "Changes in protected namespaces fail with `failed calling webhook`. This is a metric of the API server.",
    actions: [
      "Run `meshward doctor`: the checks `self-test`, `endpoints`, `certificate` and `ca-bundle` tell the cause.",
      "If the cluster has to be unlocked, use the command that doctor prints. Nothing is reviewed afterwards.",
    ],
  },
  {
    name: "MeshwardFailsOpen",
    severity: "critical",
    expression: `sum by (name) (rate(apiserver_admission_webhook_fail_open_count{${own}}[5m])) > 0`,
    for: "2m",
    summary: "The API server cannot call {{ $labels.name }} and admits changes without a review.",
    meaning: "Nothing checks these changes. This is a metric of the API server.",
    actions: [
      "Run `meshward doctor`: the checks `self-test`, `endpoints`, `certificate` and `ca-bundle` tell the cause.",
      "Afterwards, find what was admitted meanwhile: `meshward audit --mesh cluster`, and the annotation `failed-open.validating.webhook.admission.k8s.io` in the audit log.",
    ],
  },
  {
    name: "MeshwardSelfTestFails",
    severity: "critical",
    expression: "max(meshward_self_test_passed) == 0",
    for: "5m",
    summary: "A dry run that Meshward has to deny is not denied.",
    meaning:
      "The API server does not ask Meshward, or cannot call it. Changes are admitted without a review, or refused where the failure policy is Fail.",
    actions: [
      "Run `meshward doctor`: `webhooks`, `ca-bundle`, `endpoints` and `certificate` tell the cause.",
      "Look at the log for `self-test`.",
    ],
  },
  {
    name: "MeshwardNotTrusted",
    severity: "critical",
    expression: "min(meshward_ca_bundle_trusted) == 0",
    for: "5m",
    summary: "The webhooks of Meshward do not have its authority in caBundle.",
    meaning: "The API server does not accept Meshward's certificate. Meshward repairs caBundle, unless it may not.",
    actions: [
      "Run `meshward doctor`: `ca-bundle` and `permissions`.",
      "Find who writes caBundle: the managed fields of the webhook configurations, and GitOps controllers.",
    ],
  },
  {
    name: "MeshwardAuthorityExpires",
    severity: "critical",
    expression: "min(meshward_certificate_authority_expiration_timestamp_seconds) - time() < 14 * 86400",
    for: "1h",
    summary: "The certificate authority of Meshward expires in {{ $value | humanizeDuration }}.",
    meaning:
      "The elected replica renews it long before that. When it has expired, the API server can no longer call Meshward.",
    actions: [
      "Look at the log of the elected replica, and at its permissions: `meshward doctor`.",
      "`meshward certs` shows the authority and can renew it.",
    ],
  },
  {
    name: "MeshwardWithoutLeader",
    severity: "warning",
    expression: "sum(meshward_leader) == 0",
    for: "5m",
    summary: "No replica of Meshward is elected.",
    meaning: "Certificates are not renewed, and nothing is audited in the background. Reviews go on.",
    actions: ["Look at the Lease `meshward` in Meshward's namespace, and at the log for `election`."],
  },
  {
    name: "MeshwardCertificateExpires",
    severity: "critical",
    expression: "min(meshward_certificate_expiration_timestamp_seconds) - time() < 7 * 86400",
    for: "1h",
    summary: "The certificate of a replica expires in {{ $value | humanizeDuration }}.",
    meaning: "When it has expired, the API server can no longer call Meshward.",
    actions: [
      "Look at what renews the certificate: the Certificate of cert-manager, or Meshward's log.",
      "Run `meshward doctor`: `certificate` and `ca-bundle` show all dates.",
    ],
  },
  {
    name: "MeshwardReviewsFail",
    severity: "critical",
    expression: 'sum by (webhook) (rate(meshward_admission_duration_seconds_count{decision="error"}[5m])) > 0',
    for: "5m",
    summary: "Meshward cannot evaluate some changes at /{{ $labels.webhook }} and denies them.",
    meaning:
      "Users get a denial that names no problem of their change. The log has the reason at level `error` or `warn`.",
    actions: [
      "Look at the log for lines with `decision` `error`, and for `rule failed` and `admission failed`.",
      "See the alerts MeshwardRuleFails and MeshwardOverBudget, which are the usual causes.",
    ],
  },
  {
    name: "MeshwardRuleFails",
    severity: "warning",
    expression: 'sum by (rule) (increase(meshward_rule_errors_total{reason="error"}[15m])) > 0',
    for: "0m",
    summary: "Rule {{ $labels.rule }} fails with an error.",
    meaning:
      "This is a bug in Meshward. Changes that the rule applies to are denied, unless a policy says `onError: warn`.",
    actions: [
      "Report the line `rule failed` of the log.",
      "Until it is fixed, set `onError: warn` for the rule in a policy.",
    ],
  },
  {
    name: "MeshwardOverBudget",
    severity: "warning",
    expression: "sum(increase(meshward_reviews_over_budget_total[15m])) > 0",
    for: "0m",
    summary: "Changes need more CPU time than a review may use, and are denied.",
    meaning: "The change, or what depends on it, is very large, or somebody tries to make reviews slow.",
    actions: [
      "Look at the log for reviews with `decision` `error`: `user`, `kind` and `name` say what it is.",
      "Split the object, or raise `--review-budget`, which is below the timeout of the webhooks.",
    ],
  },
  {
    name: "MeshwardSheds",
    severity: "warning",
    expression: "sum(rate(meshward_shed_total[5m])) > 0",
    for: "5m",
    summary: "Meshward rejects reviews because too many are in flight.",
    meaning: "The API server tries again within the timeout of the webhook, after which the failure policy decides.",
    actions: ["Add replicas, or give them more CPU.", "Find who sends so many changes: `user` in the log."],
  },
  {
    name: "MeshwardSlow",
    severity: "warning",
    expression: `histogram_quantile(0.99, sum by (le, webhook) (rate(meshward_admission_duration_seconds_bucket[5m]))) > ${slowSeconds}`,
    for: "10m",
    summary: "One in a hundred reviews at /{{ $labels.webhook }} takes longer than half of the timeout.",
    meaning: "When reviews take longer than the timeout, the failure policy decides.",
    actions: [
      "Compare CPU time and limits of the pods; CPU throttling is the usual cause.",
      "Look at `milliseconds` in the log, and at the event loop (alert MeshwardEventLoopDelayed).",
    ],
  },
  {
    name: "MeshwardEventLoopDelayed",
    severity: "warning",
    expression: "max by (instance) (nodejs_eventloop_lag_p99_seconds) > 0.25",
    for: "10m",
    summary: "The event loop of {{ $labels.instance }} is delayed by {{ $value | humanizeDuration }}.",
    meaning: "All reviews of this replica wait.",
    actions: ["Compare CPU time and limits of the pod.", "Look at memory: garbage collection needs CPU time, too."],
  },
  {
    name: "MeshwardMeshStale",
    severity: "warning",
    expression: "max by (kind) (meshward_view_freshness_seconds) > 300",
    for: "5m",
    summary: "Meshward has not heard of {{ $labels.kind }} from the API server for {{ $value | humanizeDuration }}.",
    meaning: "Findings that depend on these objects only warn, because the data may be outdated.",
    actions: [
      "Look at the log for `connection interrupted` and its `reason`.",
      "Run `meshward doctor`: `permissions` and `kinds` show what cannot be read.",
    ],
  },
  {
    name: "MeshwardRulesSkipped",
    severity: "warning",
    expression: "sum by (rule, kind) (increase(meshward_rules_skipped_total[15m])) > 0",
    for: "15m",
    summary: "Rule {{ $labels.rule }} is skipped because Meshward does not know any {{ $labels.kind }}.",
    meaning: "What the rule would find is not found.",
    actions: ["Run `meshward doctor`: `permissions` and `kinds` show what is missing."],
  },
  {
    name: "MeshwardWatchesRestart",
    severity: "warning",
    expression:
      'sum by (kind, reason) (increase(meshward_watch_restarts_total{reason!~"absent|expired|silent"}[15m])) > 10',
    for: "15m",
    summary: "The watch of {{ $labels.kind }} ends again and again ({{ $labels.reason }}).",
    meaning: "The data of this kind is late. Denials that depend on it take longer, because they are confirmed first.",
    actions: ["Look at the log for `connection interrupted`.", "Look at the load of the API server."],
  },
  {
    name: "MeshwardPoliciesNotLoaded",
    severity: "warning",
    expression: "time() - min(meshward_policies_last_load_timestamp_seconds) > 300",
    for: "5m",
    summary: "Policies could not be read for {{ $value | humanizeDuration }}.",
    meaning: "The previous policies stay in force. Changes of policies have no effect.",
    actions: ["Look at the log for `policies were not reloaded`: it names file, line and problem."],
  },
  {
    name: "MeshwardPoliciesWeaker",
    severity: "warning",
    expression: 'sum(increase(meshward_policy_reloads_total{result="weaker"}[1h])) > 0',
    for: "0m",
    summary: "Policies were changed so that less is protected than before.",
    meaning: "Somebody changed a policy. Nothing is wrong if it was intended.",
    actions: ["Look at the log for `policies were reloaded and protect less than before`: `lost` says what."],
  },
  {
    name: "MeshwardPoliciesKept",
    severity: "warning",
    expression: 'max(meshward_policies{state="kept"}) > 0',
    for: "15m",
    summary: "A policy is missing in its source and stays in force.",
    meaning: "Without it, less would be protected. After a restart it would be gone.",
    actions: ["Restore the document, or withdraw it with `spec: { withdrawn: true }`."],
  },
  {
    name: "MeshwardLiveReadsLate",
    severity: "warning",
    expression:
      'sum(rate(meshward_live_reads_total{result="late"}[15m])) > 0.1 * sum(rate(meshward_live_reads_total[15m]))',
    for: "15m",
    summary: "The API server often does not confirm denials in time.",
    meaning: "Changes that should be denied are admitted with a warning.",
    actions: ["Look at the latency of the API server.", "Look at the log for `liveRead` `late`."],
  },
  {
    name: "MeshwardAuditLate",
    severity: "warning",
    expression: "time() - max(meshward_audit_completed_timestamp_seconds) > 6 * 3600",
    for: "15m",
    summary: "The last complete background audit began {{ $value | humanizeDuration }} ago.",
    meaning: "Reports and Events about what already exists are outdated.",
    actions: ["Look at the log of the elected replica: the holder of the Lease `meshward`."],
  },
  {
    name: "MeshwardAuditFindsMore",
    severity: "info",
    expression:
      'sum(max by (rule, namespace) (meshward_audit_findings{mode="deny"})) > sum(max by (rule, namespace) (meshward_audit_findings{mode="deny"} offset 1h))',
    for: "15m",
    summary: "The background audit has {{ $value }} findings that would be denied, more than an hour ago.",
    meaning:
      "Something that a review would deny is in the cluster: it was admitted while Meshward was unavailable, by break glass or as two changes at once, or a policy is stricter now.",
    actions: [
      "Look at the reports and at the Events of the objects, or run `meshward audit --mesh cluster --policies-from-cluster --min-mode deny`.",
    ],
  },
  {
    name: "MeshwardChangesUndecided",
    severity: "info",
    expression: 'sum(increase(meshward_concurrent_changes_total{result="undecided"}[1h])) > 0',
    for: "0m",
    summary: "Two changes at the same moment may contradict each other.",
    meaning:
      "A change was decided by what was stored, because another one that was just admitted was not stored in time. If both were stored, each may be right alone and both wrong together.",
    actions: ["Look at the log for `concurrent` `undecided`, and run `meshward audit --mesh cluster`."],
  },
  {
    name: "MeshwardBreakGlass",
    severity: "info",
    expression: "sum by (kind) (increase(meshward_break_glass_total[10m])) > 0",
    for: "0m",
    summary: "A {{ $labels.kind }} was changed by break glass.",
    meaning: "Somebody who may do so made a change that would otherwise be denied.",
    actions: ["Look at the Event `BreakGlassUsed` of the object: it has the user and the reason."],
  },
];

/** The page of an alert. */
const runbookOf = ({ name }: Alert): string => `${packageJson.homepage}/blob/main/docs/alerts.md#${name.toLowerCase()}`;

/** Rules for Prometheus, as `groups` of a rule file and as the spec of a PrometheusRule have them. */
export const alertGroups = () => [
  {
    name: "meshward",
    rules: alerts.map((alert) => ({
      alert: alert.name,
      expr: alert.expression,
      ...(alert.for === "0m" ? {} : { for: alert.for }),
      labels: { severity: alert.severity },
      annotations: { summary: alert.summary, runbook_url: runbookOf(alert) },
    })),
  },
];
