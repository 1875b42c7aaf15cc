import { firstSeenInReports } from "../../controllers/stored-reports.ts";
import type { FirstSeenOf } from "../../report/reported-finding.ts";
import { ClusterError } from "../../sources/cluster/cluster-error.ts";
import { type ClusterOptions, withCluster } from "../cluster-options.ts";
import { clusterWord } from "../mesh-option.ts";
import { tellNote, type Terminal } from "../terminal.ts";

/**
 * When the background audit of a cluster first saw its findings, as far as reports remember it. Undefined for files and
 * captures, which have no past. Reports that cannot be read are a note: an audit is right without them.
 */
export async function firstSeenIn(
  options: ClusterOptions & { readonly mesh: string },
  terminal: Terminal,
): Promise<FirstSeenOf | undefined> {
  if (options.mesh !== clusterWord) return undefined;
  const remembered = await withCluster(options, terminal, (connection) =>
    firstSeenInReports(connection).catch((error: unknown) => {
      if (!(error instanceof ClusterError)) throw error;
      tellNote(`since when there are findings is not known: the reports cannot be read: ${error.message}`, terminal);
      return new Map<string, string>();
    }),
  );
  return (fingerprint) => remembered.get(fingerprint);
}
