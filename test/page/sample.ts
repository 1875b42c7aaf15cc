import { htmlReport } from "../../src/report/html.ts";
import type { MeshPicture, PictureNamespace } from "../../src/report/mesh-picture.ts";
import type { ManifestLine } from "../../src/report/page-data.ts";
import { type Report, type ReportedFinding, reportOf } from "../../src/report/report.ts";
import { rules } from "../../src/rules/index.ts";

/** Names and texts that would do harm if they were not escaped. */
export const hostile = `"><img src=x onerror="window.attacked=1"><script>window.attacked=2</script>'\u2028</script>`;

const named = (i: number): string => `team-${String(i).padStart(3, "0")}`;
const modes = ["deny", "warn", "warn", "audit"] as const;
const judging = rules.filter(({ check }) => check !== undefined).slice(0, 30);

const trial = { step: "trial", from: "deny", to: "warn", reason: "the rule is in its trial stage" } as const;
const message = (i: number) =>
  i % 50 === 1 ? `A message with ${hostile}` : `Weights sum to 110, not to 100: 90 + 20 = 110 (${i})`;

function findingOf(i: number, namespaces: number): ReportedFinding {
  const rule = judging[i % judging.length] as (typeof judging)[number];
  // Most namespaces have few findings, and some have many.
  const namespace = named(Math.floor(namespaces * ((i * 0.618) % 1) ** 2));
  const service = { apiVersion: "v1", kind: "Service", namespace, name: "api", file: null, line: null, column: null };
  return {
    rule: rule.id,
    fingerprint: String(i).padStart(32, "0"),
    ...(i % 5 === 0 ? { firstSeen: "2026-11-20T08:00:00Z" } : {}),
    mode: modes[i % modes.length] as (typeof modes)[number],
    lowered: i % 9 === 0 ? [trial] : [],
    introduced: false,
    object: { apiVersion: "networking.istio.io/v1", kind: "VirtualService", namespace, name: `api-${i}` },
    ...(i % 2 === 0 ? { file: "mesh.yaml", line: 4 } : { file: null, line: null }),
    column: null,
    path: "spec.http[0].route",
    message: message(i),
    fix: i % 3 === 0 ? "Another fix than that of the rule." : rule.fix,
    docs: i % 7 === 0 ? "javascript:window.attacked=3" : "https://example.com/rule.md",
    policy: "the rule's default",
    related: i % 4 === 0 ? [service] : [],
  };
}

function pictureOf(count: number): MeshPicture {
  const namespaces = Array.from(
    { length: count },
    (_, i): PictureNamespace => ({
      name: i === count - 1 ? hostile : named(i),
      isProtected: i % 4 === 0,
      dataPlane: (["sidecar", "ambient", "sidecar", "none"] as const)[i % 4] ?? "none",
      mtls: (["STRICT", "PERMISSIVE", "mixed", "none"] as const)[i % 4] ?? "none",
      defaultDeny: (["all", "none", "some"] as const)[i % 3] ?? "none",
      waypoint: i % 4 === 1 ? `${named(i)}/waypoint` : null,
      waypointTrouble: i % 8 === 1 ? "missing" : null,
      workloads: i % 13,
      services: ["api", "web", "db"],
    }),
  );
  return {
    rootNamespace: "istio-system",
    namespaces,
    callers: Array.from({ length: Math.floor(count / 3) }, (_, i) => ({
      from: named(i),
      to: named((i * 7 + 1) % count),
      policy: "read",
    })),
    gateways: [{ kind: "Gateway", namespace: named(0), name: "public", hosts: ["*.example.com"] }],
    routes: Array.from({ length: Math.min(12, count) }, (_, i) => ({
      namespace: named(i),
      kind: i % 2 === 0 ? "VirtualService" : "HTTPRoute",
      name: "api",
      hosts: [`api-${i}.example.com`],
      gateways: [`${named(0)}/public`],
      destinations: [
        { host: `api.${named(i)}.svc.cluster.local`, namespace: named(i), subset: "v1", share: 90 },
        { host: `api.${named(i)}.svc.cluster.local`, namespace: named(i), subset: "v2", share: 10 },
      ],
    })),
    moreRoutes: 0,
  };
}

const lines: readonly ManifestLine[] = [
  { number: 3, text: "kind: VirtualService" },
  { number: 4, text: `metadata: { name: ${hostile} }`, isMarked: true },
  { number: 5, text: "spec: {}" },
];

/** A page with so many findings in so many namespaces. */
export function samplePage(findings: number, namespaces: number): string {
  const report: Report = reportOf({
    basis: {
      version: "0.1.0",
      time: "2026-11-26T10:00:00Z",
      profile: "baseline",
      policies: [],
      exceptions: 1,
      protectedNamespaces: [],
      objects: { VirtualService: findings },
      idle: [],
    },
    findings: Array.from({ length: findings }, (_, i) => findingOf(i, namespaces)),
    accepted: [
      {
        ...findingOf(findings, namespaces),
        exception: {
          namespace: named(0),
          name: "legacy",
          reason: hostile,
          owner: "ada",
          expiresAt: "2027-01-01T00:00:00Z",
        },
      },
    ],
    rules: judging.map(({ id, summary, why, fix, tags }) => ({
      id,
      summary,
      why,
      fix,
      tags,
      docs: "https://example.com",
    })),
    skipped: [{ rule: "some-rule", reason: "needs objects of kind Service, and none are known" }],
    errors: [],
    objects: findings,
  });
  return htmlReport(report, {
    page: { colour: false },
    repositoryPath: (file) => file,
    picture: () => pictureOf(namespaces),
    lines: () => lines,
  });
}
