import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { findOptionalDefinitions } from "./binaries.ts";
import { meshward } from "../cli/terminal.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, type Raw, skip, stored, succeeds, virtualService } from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";

// The background audit of two replicas, on a control plane with the definitions of both groups of reports.

const reports = findOptionalDefinitions();
const missing = "missing" in reports ? reports.missing : false;
const at = "shop";
const rule = "virtual-service-weights-not-100";
/** Everything is admitted, so that what is wrong can be written while the webhook answers. */
const policies = [
  {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardPolicy",
    metadata: { name: "warn" },
    spec: { rules: [{ id: rule, mode: "warn" }] },
  },
];
const serveArgs = ["--namespace", "meshward-system", "--audit-interval", "3600", "--audit-page"];

describe("audit", { skip: skip || missing }, () => {
  let plane: ControlPlane;
  let one: Meshward;
  let other: Meshward;

  before(async () => {
    if ("missing" in reports) throw new Error(reports.missing);
    plane = await startControlPlane({ binaries: binaries(), controllers: true, definitions: true });
    await succeeds(plane, ["apply", "--server-side", "-f", reports["wgpolicyk8s.io"]]);
    await succeeds(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    await apply(namespace(at), virtualService(at, "unbalanced", [60, 60]));
    one = await startMeshward({ plane, name: "one", policies, args: serveArgs });
    await one.ready();
    await register(plane, one, "Ignore");
  });
  after(async () => {
    await other?.stop();
    await one?.stop();
    await plane?.close();
  });

  const apply = (...objects: readonly Raw[]) =>
    succeeds(plane, ["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"], objects);
  /** The names of the objects with a finding of the rule in the report of the namespace. */
  const found = (report: Raw | undefined): readonly string[] =>
    ((report?.["results"] ?? []) as readonly Raw[])
      .filter((result) => result["rule"] === rule)
      .map(({ resources }) => resources[0].name as string);
  const shows = (kind: string, ...names: readonly string[]) =>
    until(`${kind} with ${names.join(" and ") || "nothing"}`, async () => {
      const report = await stored(plane, kind, "meshward", at);
      if (found(report).join() !== names.join())
        throw new Error(`${found(report).join()} in ${JSON.stringify(report)}`);
      return report ?? {};
    });
  const eventsAbout = async (name: string): Promise<readonly Raw[]> => {
    const { body } = await plane.get(`/apis/events.k8s.io/v1/namespaces/${at}/events`);
    const { items } = JSON.parse(body) as { items: readonly Raw[] };
    return items.filter(
      ({ regarding, reason, note }) =>
        regarding.name === name && reason === "AuditFinding" && String(note).startsWith(rule),
    );
  };
  const metric = async (meshward: Meshward, name: string): Promise<string> => {
    const { body = "" } = (await meshward.ops("/metrics")) ?? {};
    return body
      .split("\n")
      .filter((line) => line.startsWith(name))
      .join("\n");
  };

  /** How many audits of changes have ended. */
  const audited = async (meshward: Meshward): Promise<number> =>
    Number((await metric(meshward, 'meshward_audit_duration_seconds_count{trigger="change"}')).split(" ").at(-1));

  let firstSeen = 0;
  const inRfc3339 = (seconds: number) => new Date(seconds * 1_000).toISOString().replace(".000Z", "Z");
  /** Since when the page of a replica says that there is a finding. */
  const shownOnPage = async (meshward: Meshward, name: string): Promise<unknown> => {
    const { status, body } = (await meshward.ops("/")) ?? { status: 0, body: "" };
    assert.equal(status, 200, body);
    const [, json = "{}"] = /<script type="application\/json" id="data">(.*)<\/script>/.exec(body) ?? [];
    const { findings } = JSON.parse(json) as { findings: readonly Raw[] };
    return findings.find((finding) => finding["rule"] === rule && finding["name"] === name)?.["firstSeen"];
  };

  test("what is there is in a report, which the webhook configuration owns", async () => {
    const report = await shows("policyreports.wgpolicyk8s.io", "unbalanced");
    const [result] = (report["results"] as readonly Raw[]).filter((each) => each["rule"] === rule);
    assert.deepEqual([result?.["result"], result?.["severity"], result?.["source"]], ["warn", "medium", "meshward"]);
    assert.match(result?.["properties"].resultID, /^[0-9a-f]{32}$/);
    firstSeen = result?.["timestamp"].seconds;
    assert.ok(Math.abs(firstSeen - Date.now() / 1_000) < 300);
    assert.equal(
      report["summary"].warn,
      (report["results"] as readonly Raw[]).filter((each) => each["result"] === "warn").length,
    );
    assert.match(
      await metric(one, "meshward_audit_findings"),
      new RegExp(`rule="${rule}",mode="warn",namespace="${at}"} 1`),
    );
    assert.match(await metric(one, "meshward_audit_completed"), /seconds \d+/);
    assert.deepEqual(await eventsAbout("unbalanced"), [], "it was there before the first audit");
  });

  test("a finding that appears is added and becomes one Event; one that is fixed goes", async () => {
    await apply(virtualService(at, "late", [1, 2]));
    await shows("policyreports.wgpolicyk8s.io", "late", "unbalanced");
    await until("the Event", async () => ((await eventsAbout("late")).length > 0 ? true : undefined));
    await apply(virtualService(at, "late", [50, 50]));
    const report = await shows("policyreports.wgpolicyk8s.io", "unbalanced");
    assert.equal((await eventsAbout("late")).length, 1);
    const before = report["metadata"].resourceVersion;
    const audits = await audited(one);
    await apply({ ...namespace("unrelated") });
    await until("another audit", async () => ((await audited(one)) > audits ? true : undefined));
    const { metadata = {} } = (await stored(plane, "policyreports.wgpolicyk8s.io", "meshward", at)) ?? {};
    assert.equal(metadata.resourceVersion, before, "it is not written while it stays the same");
  });

  test("the elected replica serves the page", async () => {
    const { status, body } = (await one.ops("/")) ?? { status: 0, body: "" };
    assert.equal(status, 200, body);
    assert.match(body, /<title>Meshward audit<\/title>/);
    const [, json = "{}"] = /<script type="application\/json" id="data">(.*)<\/script>/.exec(body) ?? [];
    const data = JSON.parse(json) as { findings: readonly Raw[]; mesh: { namespaces: readonly Raw[] } };
    assert.ok(data.findings.some((finding) => finding["rule"] === rule && finding["name"] === "unbalanced"));
    assert.ok(data.mesh.namespaces.some(({ name }) => name === at));
    assert.equal(await shownOnPage(one, "unbalanced"), inRfc3339(firstSeen));
  });

  test("an audit from a terminal knows since when there is a finding", async () => {
    const args = ["audit", "--mesh", "cluster", "--kubeconfig", plane.kubeconfig("admin"), "--rule", rule];
    const { out } = await meshward([...args, "--format", "json"]);
    const { findings } = JSON.parse(out) as { findings: readonly Raw[] };
    const found = findings.find(({ object }) => object.namespace === at && object.name === "unbalanced");
    assert.equal(found?.["firstSeen"], inRfc3339(firstSeen));
    assert.match((await meshward(args)).out, new RegExp(`first seen: ${inRfc3339(firstSeen)}`));
  });

  test("another leader goes on where the first one stopped", async () => {
    other = await startMeshward({ plane, name: "other", policies, args: serveArgs });
    await other.ready();
    assert.equal(await metric(other, "meshward_audit_completed"), "", "only one audits");
    assert.equal((await other.ops("/"))?.status, 503);
    await one.stop();
    await until("the other replica to audit", async () =>
      (await metric(other, "meshward_audit_completed")) === "" ? undefined : true,
    );
    const report = await shows("policyreports.wgpolicyk8s.io", "unbalanced");
    assert.equal(
      (report["results"] as readonly Raw[]).find((each) => each["rule"] === rule)?.["timestamp"].seconds,
      firstSeen,
    );
    assert.deepEqual(await eventsAbout("unbalanced"), [], "nothing is told twice");
    assert.equal(await shownOnPage(other, "unbalanced"), inRfc3339(firstSeen), "the page remembers it, too");
  });

  test("OpenReports are preferred once they exist, and PolicyReports go; a restart keeps the first time", async () => {
    if ("missing" in reports) throw new Error(reports.missing);
    await succeeds(plane, ["apply", "--server-side", "-f", reports["openreports.io"]]);
    await succeeds(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    await other.stop();
    await other.restart();
    const report = await shows("reports.openreports.io", "unbalanced");
    assert.equal(report["source"], "meshward");
    await until("the PolicyReport to go", async () =>
      (await stored(plane, "policyreports.wgpolicyk8s.io", "meshward", at)) === undefined ? true : undefined,
    );
    const [result] = (report["results"] as readonly Raw[]).filter((each) => each["rule"] === rule);
    assert.equal(result?.["timestamp"].seconds, firstSeen, "the group changes, the finding does not");
  });

  test("the report goes with its last finding, and all reports with the installation", async () => {
    await succeeds(plane, ["delete", "virtualservices.networking.istio.io", "--all", "--namespace", at]);
    await until("the report to go", async () => {
      const report = await stored(plane, "reports.openreports.io", "meshward", at);
      if (report !== undefined) throw new Error(JSON.stringify(report["results"]));
      return true;
    });
    await apply(virtualService(at, "unbalanced", [60, 60]));
    await shows("reports.openreports.io", "unbalanced");
    await other.stop();
    const owned = await stored(plane, "reports.openreports.io", "meshward", at);
    assert.equal(owned?.["metadata"].ownerReferences[0].kind, "ValidatingWebhookConfiguration");
    await succeeds(plane, ["delete", "validatingwebhookconfiguration", "meshward"]);
    // The garbage collector looks for new kinds every 30 seconds.
    await until(
      "the reports to be collected",
      async () => ((await stored(plane, "reports.openreports.io", "meshward", at)) === undefined ? true : undefined),
      { timeoutMs: 120_000 },
    );
  });
});
