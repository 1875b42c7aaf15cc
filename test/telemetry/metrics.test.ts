import assert from "node:assert/strict";
import test from "node:test";
import { metricsTable } from "../../src/telemetry/metric-table.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

test("every metric of the table is on the page once it is fed, and none beside it", async () => {
  const metrics = createMetrics({ processMetrics: false });
  metrics.admission({
    webhook: "validate",
    operation: "CREATE",
    kind: "VirtualService",
    decision: "deny",
    dryRun: true,
    seconds: 0.002,
    rules: ["rule-a"],
    ruleErrors: [{ rule: "rule-b", reason: "budget" }],
    skipped: [{ rule: "rule-c", kind: "Workload" }],
    addedLabels: [],
    wouldDeny: [{ rule: "some-rule", mode: "warn" }],
    hasBrokenGlass: true,
    liveRead: "confirmed",
    concurrent: "denied",
  });
  metrics.event("BreakGlassUsed", "sent");
  metrics.shed();
  metrics.certificate(1_800_000_000_000);
  metrics.certificateReload("refused");
  metrics.watchConnections(() => [["idle", 2]]);
  metrics.refused("unreadable");
  metrics.clientRefused("name");
  metrics.connectionClosed("body");
  metrics.policyReload("weaker");
  metrics.watchPolicies(() => ({
    policies: { loaded: 2, kept: 1 },
    exceptions: { active: 3, expired: 4 },
    loadedAtMs: 1_700_000_000_500,
  }));
  metrics.watchRestarted("Service", "expired");
  metrics.listed("Service", 0.2);
  metrics.watchInFlight(() => 4);
  metrics.watchPending(() => 3);
  metrics.watchView(() => [["Service", 2]]);
  metrics.watchFreshness(() => [["Service", 1.5]]);
  metrics.watchControllers(() => ({
    leading: true,
    authority: { notAfterMs: 1_900_000_000_000, phase: "publishing" },
    isTrusted: false,
    selfTest: { passed: true, passedAtMs: 1_700_000_000_500 },
  }));
  metrics.caBundleRepaired();
  const page = await metrics.text();
  const names = [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  assert.deepEqual(
    names.sort(),
    metricsTable()
      .map(({ name, type }) => `${name} ${type}`)
      .sort(),
  );
  for (const line of [
    'meshward_admission_requests_total{webhook="validate",operation="CREATE",kind="VirtualService",decision="deny",dry_run="true"} 1',
    'meshward_admission_duration_seconds_bucket{le="0.0025",webhook="validate",decision="deny"} 1',
    'meshward_rule_findings_total{rule="rule-a",decision="deny"} 1',
    'meshward_rule_errors_total{rule="rule-b",reason="budget"} 1',
    'meshward_break_glass_total{kind="VirtualService"} 1',
    'meshward_live_reads_total{result="confirmed"} 1',
    'meshward_events_total{reason="BreakGlassUsed",result="sent"} 1',
    "meshward_shed_total 1",
    "meshward_leader 1",
    "meshward_certificate_authority_expiration_timestamp_seconds 1900000000",
    'meshward_certificate_authority_phase{phase="steady"} 0',
    'meshward_certificate_authority_phase{phase="publishing"} 1',
    "meshward_ca_bundle_trusted 0",
    "meshward_ca_bundle_repairs_total 1",
    "meshward_self_test_passed 1",
    "meshward_self_test_last_passed_timestamp_seconds 1700000000.5",
    "meshward_admission_requests_in_flight 4",
    "meshward_pending_changes 3",
    'meshward_concurrent_changes_total{result="denied"} 1',
    "meshward_certificate_expiration_timestamp_seconds 1800000000",
    'meshward_certificate_reloads_total{result="refused"} 1',
    'meshward_view_objects{kind="Service"} 2',
    'meshward_policies{state="kept"} 1',
    'meshward_exceptions{state="expired"} 4',
    "meshward_policies_last_load_timestamp_seconds 1700000000.5",
    'meshward_rules_skipped_total{rule="rule-c",kind="Workload"} 1',
    'meshward_watch_restarts_total{kind="Service",reason="expired"} 1',
    'meshward_list_duration_seconds_count{kind="Service"} 1',
  ]) {
    assert.ok(page.split("\n").includes(line), `${line}\nis not in\n${page}`);
  }
});

test("metrics of the process are there when asked for", async () => {
  assert.match(await createMetrics({ processMetrics: true }).text(), /^process_cpu_seconds_total /m);
});

test("what the controllers do not know is not exposed as 0", async () => {
  const metrics = createMetrics({ processMetrics: false });
  metrics.watchControllers(() => ({ leading: false }));
  const page = await metrics.text();
  assert.match(page, /^meshward_leader 0$/m);
  for (const name of ["ca_bundle_trusted", "self_test_passed", "certificate_authority_expiration_timestamp_seconds"])
    assert.doesNotMatch(page, new RegExp(`^meshward_${name} `, "m"));
});
