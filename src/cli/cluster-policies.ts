import { ObjectClient } from "../controllers/objects.ts";
import { type DocumentKind, documentKinds } from "../policy/documents.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type PolicyObject, readObject } from "../sources/cluster/policy-objects.ts";
import { titleOf } from "../sources/cluster/resources.ts";
import { type ClusterOptions, noteMissing, withCluster } from "./cluster-options.ts";
import { policiesOf, type PoliciesInForce, type PolicyOptions } from "./policy-options.ts";
import { tellNote, type Terminal } from "./terminal.ts";

/**
 * The policies of `--policies`, and with `--policies-from-cluster` those of the cluster as they are now. An object that is
 * invalid there is a note and no error, because the webhook goes on without it, too. Throws a UsageError if the profile is
 * unknown or the cluster cannot be read.
 */
export async function policiesFor(
  options: PolicyOptions & ClusterOptions,
  terminal: Terminal,
): Promise<PoliciesInForce> {
  const objects = await objectsFor(options, terminal);
  const found = await policiesOf(options, objects);
  const ofCluster = new Set<unknown>(objects);
  const errors = found.errors.filter((error) => !("source" in error && ofCluster.has(error.source)));
  for (const error of found.errors) if (!errors.includes(error)) tellNote(`in the cluster, ${error.message}`, terminal);
  return { ...found, errors };
}

/** The objects of the cluster with `--policies-from-cluster`; otherwise none. */
export const objectsFor = async (
  options: PolicyOptions & ClusterOptions,
  terminal: Terminal,
): Promise<readonly PolicyObject[]> =>
  options.policiesFromCluster ? withCluster(options, terminal, (connection) => listed(connection, terminal)) : [];

async function listed(connection: ClusterConnection, terminal: Terminal): Promise<readonly PolicyObject[]> {
  const missing: string[] = [];
  const objects: PolicyObject[] = [];
  for (const kind of Object.keys(documentKinds) as readonly DocumentKind[]) {
    const { versions, ...served } = documentKinds[kind];
    try {
      const { items } = await new ObjectClient(connection, { ...served, version: versions[0] ?? "" }).list();
      for (const item of items) objects.push(readObject(kind, item));
    } catch (error) {
      if (!(error instanceof ClusterError) || (error.fault !== "absent" && error.fault !== "forbidden")) throw error;
      missing.push(`${titleOf(documentKinds[kind])} (${error.fault})`);
    }
  }
  noteMissing(missing, terminal);
  return objects;
}
