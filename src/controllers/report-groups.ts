import { isObject, member } from "../kube/read.ts";
import { requestError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { responseJson } from "../sources/cluster/list.ts";
import type { Resource } from "./objects.ts";
import { source } from "./policy-reports.ts";

/** The API groups of reports. `none`: no reports are written. */
export const reportGroups = ["openreports.io", "wgpolicyk8s.io"] as const;
export type ReportGroup = (typeof reportGroups)[number];
/** `auto`: the first group of the list that the cluster serves. `all`: every group that it serves. */
export type ReportChoice = ReportGroup | "auto" | "all" | "none";

interface Definition {
  readonly version: string;
  readonly namespaced: Resource;
  readonly cluster: Resource;
  /** Fields of a report that only this group has. */
  readonly fields: object;
}

const definition = (group: ReportGroup, version: string, kinds: readonly [string, string], fields = {}): Definition => {
  const [namespaced, cluster] = kinds;
  const served = { group, version };
  return {
    version,
    namespaced: { ...served, kind: namespaced, plural: `${namespaced.toLowerCase()}s`, namespaced: true },
    cluster: { ...served, kind: cluster, plural: `${cluster.toLowerCase()}s`, namespaced: false },
    fields,
  };
};

export const definitions: Readonly<Record<ReportGroup, Definition>> = {
  "openreports.io": definition("openreports.io", "v1alpha1", ["Report", "ClusterReport"], { source }),
  "wgpolicyk8s.io": definition("wgpolicyk8s.io", "v1alpha2", ["PolicyReport", "ClusterPolicyReport"]),
};

/** Tells the operator something, once. */
export type Tell = (fields: object, message: string) => void;

const longestRequestMs = 10_000;

/** The groups that the cluster serves in a version that Meshward knows. */
export async function servedGroups(connection: ClusterConnection, tell: Tell): Promise<readonly ReportGroup[]> {
  const served: ReportGroup[] = [];
  for (const group of reportGroups) {
    const versions = await versionsOf(group, connection);
    if (versions.includes(definitions[group].version)) served.push(group);
    else if (versions.length > 0)
      tell(
        { group, served: versions, needed: definitions[group].version },
        "the report definitions of the cluster are of another version; install the version that Meshward writes, or choose another group with --audit-reports",
      );
  }
  return served;
}

async function versionsOf(group: ReportGroup, connection: ClusterConnection): Promise<readonly string[]> {
  const request = { path: `/apis/${group}`, signal: AbortSignal.timeout(longestRequestMs) };
  try {
    const { body } = await responseJson(connection, await connection.request(request), request);
    const versions = member(body, "versions");
    if (!Array.isArray(versions)) return [];
    return versions.flatMap((one: unknown) => {
      const version = isObject(one) ? one["version"] : undefined;
      return typeof version === "string" ? [version] : [];
    });
  } catch (error) {
    const failure = requestError(connection.server, error);
    if (failure.fault === "absent") return [];
    throw failure;
  }
}

/** The groups in which reports are written. */
export function chosenGroups(choice: ReportChoice, served: readonly ReportGroup[], tell: Tell): readonly ReportGroup[] {
  if (choice === "auto") {
    if (served.length === 0)
      tell(
        {},
        "the cluster has no definitions of reports (openreports.io or wgpolicyk8s.io); findings of audits are in metrics and Events only",
      );
    return served.slice(0, 1);
  }
  const chosen = served.filter((group) => choice === "all" || group === choice);
  if (chosen.length === 0)
    tell(
      { choice },
      "the cluster does not serve the chosen reports; install their definitions, or change --audit-reports",
    );
  return chosen;
}
