import { type FileMesh, fileMeshOf, type FileMeshOptions } from "../sources/file-mesh.ts";
import { type ManifestSet, readManifests } from "../sources/manifests.ts";
import { shownError } from "./source-errors.ts";
import { UsageError } from "./terminal.ts";

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
