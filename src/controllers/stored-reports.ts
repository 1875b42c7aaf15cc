import { isObject, member } from "../kube/read.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type KubeObject, ObjectClient } from "./objects.ts";
import { type RememberedResult, timeOf } from "./first-seen.ts";
import { managedBy } from "./policy-reports.ts";
import { definitions, type ReportGroup, servedGroups } from "./report-groups.ts";

/** The reports of a group that Meshward owns. Rejects with a ClusterError. */
export async function storedReports(connection: ClusterConnection, group: ReportGroup): Promise<readonly KubeObject[]> {
  const { namespaced, cluster } = definitions[group];
  const labelSelector = Object.entries(managedBy)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const ofNamespaces = await new ObjectClient(connection, namespaced).list({}, { labelSelector });
  const ofCluster = await new ObjectClient(connection, cluster).list({}, { labelSelector });
  return [...ofNamespaces.items, ...ofCluster.items].filter(isOwnReport);
}

export const isOwnReport = ({ metadata }: KubeObject): boolean =>
  Object.entries(managedBy).every(([key, value]) => metadata.labels?.[key] === value);

/** What the results of a report remember; others may have written some of them, so nothing is taken for granted. */
export function* rememberedIn(report: KubeObject): Generator<RememberedResult, void> {
  const results = report["results"];
  for (const result of Array.isArray(results) ? (results as readonly unknown[]) : []) {
    const properties = member(result, "properties");
    const rule = member(result, "policy");
    if (!isObject(properties) || typeof rule !== "string") continue;
    const { resultID: id, unlisted, firstSeen } = properties;
    const seconds = member(member(result, "timestamp"), "seconds");
    if (typeof unlisted === "string") yield { unlisted: { rule, namespace: report.metadata.namespace ?? "" } };
    else if (typeof id === "string" && typeof seconds === "number")
      yield { id, seconds, isExact: typeof firstSeen === "string" };
  }
}

/**
 * When the findings in the reports of a cluster were first seen, in RFC 3339, by their fingerprints. Empty without reports.
 * Rejects with a ClusterError.
 */
export async function firstSeenInReports(connection: ClusterConnection): Promise<ReadonlyMap<string, string>> {
  const seen = new Map<string, number>();
  const groups = await servedGroups(connection, () => undefined);
  const reports = await Promise.all(groups.map((group) => storedReports(connection, group)));
  for (const result of reports.flat().flatMap((report) => [...rememberedIn(report)])) {
    if (!("id" in result) || !result.isExact) continue;
    seen.set(result.id, Math.min(result.seconds, seen.get(result.id) ?? result.seconds));
  }
  return new Map([...seen].map(([id, seconds]) => [id, timeOf(seconds)]));
}
