import { ClusterError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { ObjectClient, type Resource } from "./objects.ts";

const configurations: readonly Resource[] = ["Validating", "Mutating"].map((phase) => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind: `${phase}WebhookConfiguration`,
  plural: `${phase.toLowerCase()}webhookconfigurations`,
  namespaced: false,
}));

/**
 * Deletes both webhook configurations of this name, after which the API server no longer calls Meshward. Returns those
 * that existed, as kubectl names them. Tries both before it throws the ClusterError of the first that failed.
 */
export async function unregister(connection: ClusterConnection, name: string): Promise<readonly string[]> {
  const results = await Promise.allSettled(
    configurations.map(async (resource): Promise<readonly string[]> => {
      try {
        await new ObjectClient(connection, resource).delete({ name });
        return [`${resource.plural.slice(0, -1)}/${name}`];
      } catch (error) {
        if (error instanceof ClusterError && error.fault === "absent") return [];
        throw error;
      }
    }),
  );
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
}
