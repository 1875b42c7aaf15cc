import { InvalidArgumentError, Option } from "commander";
import { isDomain } from "../mesh/host-syntax.ts";
import { defaultMeshSettings, type MeshSettings } from "../mesh/settings.ts";
import { type FileMesh, fileMeshOf, type FileMeshOptions } from "../sources/file-mesh.ts";
import { type ManifestSet, readManifests } from "../sources/manifests.ts";
import { shownError } from "./source-errors.ts";
import { UsageError } from "./terminal.ts";

/** The domain that istiod was started with decides which service a short host means; no object of the cluster says it. */
export const clusterDomainOption = () =>
  new Option("--cluster-domain <domain>", "what hosts of services end with, where istiod was told another one")
    .default(defaultMeshSettings.domain)
    .argParser(domainName);

function domainName(text: string): string {
  if (isDomain(text) && !text.endsWith(".")) return text;
  throw new InvalidArgumentError("expected a domain such as cluster.local.");
}

/** The settings where no mesh config says otherwise. */
export const settingsIn = (clusterDomain: string): MeshSettings => ({ ...defaultMeshSettings, domain: clusterDomain });

/** The mesh that `--mesh PATH` stands for, and what was read for it. */
export interface MeshFromFiles extends FileMesh {
  readonly read: ManifestSet;
}

/**
 * Throws a UsageError that names every file which could not be read: whoever judges changes against half a mesh allows
 * and denies by chance.
 */
export async function meshFromFiles(path: string, options: FileMeshOptions): Promise<MeshFromFiles> {
  const read = await readManifests([path]);
  if (read.errors.length > 0)
    throw new UsageError(
      `--mesh ${path} cannot be read whole:\n${read.errors.map((error) => `  ${shownError(error)}`).join("\n")}`,
    );
  return { read, ...fileMeshOf(read.manifests, options) };
}
