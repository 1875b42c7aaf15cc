import { InvalidArgumentError, Option } from "commander";
import type { Kind } from "../kube/kinds.ts";
import { isDomain } from "../mesh/traffic/host-syntax.ts";
import { CaptureError, isCapture, readCapture } from "../sources/cluster/capture.ts";
import { meshOfCluster } from "../sources/cluster/snapshot.ts";
import { severalDefinitions } from "../sources/manifests/environments.ts";
import { type FileMesh, fileMeshOf, type FileMeshOptions } from "../sources/manifests/file-mesh.ts";
import { readManifestsAt, RevisionError } from "../sources/manifests/git-revision.ts";
import { standardInput } from "../sources/manifests/manifest-files.ts";
import { type ManifestSet, type ReadOptions, readManifests } from "../sources/manifests/manifests.ts";
import { isSystemError, unreadable } from "../text/file-errors.ts";
import { suggestion } from "../text/nearest.ts";
import { printableLine } from "../text/printable.ts";
import { UsageError } from "../text/usage-error.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../view/settings.ts";
import type { Knowledge, Mesh } from "../view/view.ts";
import { type ClusterOptions, clusterWord, kindsOfRules, noteMissing, withCluster } from "./cluster-options.ts";
import { shownErrors } from "./source-errors.ts";
import { tellNote, type Terminal } from "./terminal.ts";

/** istiod resolves short hosts with the domain that it was started with, which no object in the cluster contains. */
export const clusterDomainOption = () =>
  new Option("--cluster-domain <domain>", "DNS domain of the cluster's services, as istiod is configured")
    .default(defaultMeshSettings.domain)
    .argParser(domainName);

/** Kubernetes writes names in lower case, and hosts of Services are compared as they are written. */
function domainName(text: string): string {
  if (isDomain(text) && !text.endsWith(".") && text === text.toLowerCase()) return text;
  throw new InvalidArgumentError("expected a domain in lower case, such as cluster.local.");
}

/** The mesh settings that apply unless the mesh config sets others. */
export const settingsIn = (clusterDomain: string): AllMeshSettings => ({
  ...defaultMeshSettings,
  domain: clusterDomain,
});

/** The mesh that `--mesh` names, with the manifests that it was read from. */
export interface MeshFromFiles extends FileMesh {
  readonly read: ManifestSet;
}

export const meshOption = (what: string) =>
  new Option("--mesh <path>", `${what}; a file or folder of manifests, a capture, or the word ${clusterWord}`);

export interface MeshOptions extends ClusterOptions {
  readonly mesh: string;
  readonly clusterDomain: string;
}

export interface ReadMeshOptions extends FileMeshOptions {
  /** Overrides how far a kind is known, for captures and clusters, which otherwise state it themselves. */
  readonly adjust?: (kind: Kind, known: Knowledge) => Knowledge;
  /** Of manifests: how files are read. */
  readonly reading?: Omit<ReadOptions, "input">;
  /** Of manifests: the caller checks each environment, so that none is left out. */
  readonly isEachChecked?: boolean;
  /** Of captures: see ReceivedMeshOptions. */
  readonly isForReviews?: boolean;
  /** Of captures and clusters: see ReceivedMeshOptions. */
  readonly received?: (raw: Record<string, unknown>) => void;
  /** The option that names the mesh, for errors; by default `--mesh`. */
  readonly option?: string;
}

/**
 * Reads the mesh from files, a capture, or the cluster as it is now. Throws a UsageError if it cannot be read
 * completely.
 */
export async function readMesh(
  { mesh: path, clusterDomain, ...access }: MeshOptions,
  terminal: Pick<Terminal, "env" | "error">,
  options: ReadMeshOptions,
): Promise<MeshFromFiles> {
  const settings = settingsIn(clusterDomain);
  if (path !== clusterWord) {
    const files = await meshFromFiles(path, { ...options, settings });
    if (options.isEachChecked !== true) noteSeveral(files, path, terminal);
    return files;
  }
  return withCluster(access, terminal, async (connection) => {
    const { adjust, received, keep } = options;
    const optional = {
      ...(adjust === undefined ? {} : { adjust }),
      ...(received === undefined ? {} : { received }),
      ...(keep === undefined ? {} : { keep }),
    };
    const { mesh, missing } = await meshOfCluster(connection, { settings, ...optional, kinds: kindsOfRules });
    noteMissing(missing, terminal);
    return { ...nothingRead, mesh };
  });
}

/**
 * Throws a UsageError if none of the meshes has the namespace: an answer about one that does not exist would look like
 * good news. `matches` compares names with that of the option.
 */
export function requireNamespace(
  option: string,
  name: string,
  meshes: readonly Mesh[],
  matches: (other: string) => boolean = (other) => other === name,
): void {
  const names = meshes.flatMap((mesh) => [...mesh.all("Namespace")]).map(({ metadata }) => metadata.name);
  if (names.some(matches)) return;
  throw new UsageError(
    `${option}: there is no namespace ${JSON.stringify(name)} in this mesh${suggestion(name, names)}`,
  );
}

/** Says that the mesh has only one of several definitions of an object, which the user may not expect. */
export function noteSeveral(files: FileMesh, path: string, terminal: Pick<Terminal, "error">): void {
  const several = severalDefinitions(files);
  if (several === undefined) return;
  const advice = "the last one counts here. Give the path of one environment to see that one";
  tellNote(printableLine(`--mesh ${path}: ${several}; ${advice}`, 2000), terminal);
}

/**
 * Throws a UsageError that names every file which could not be read, because an incomplete mesh gives arbitrary
 * answers.
 */
export async function meshFromFiles(path: string, options: ReadMeshOptions): Promise<MeshFromFiles> {
  if (isCapture(path)) return { ...nothingRead, mesh: await meshFromCapture(path, options) };
  const read = await readManifests([path], options.reading);
  if (read.errors.length > 0)
    throw new UsageError(
      `${options.option ?? "--mesh"} ${path} cannot be read completely:\n${shownErrors(read.errors)}`,
    );
  return { read, ...fileMeshOf(read.manifests, options) };
}

/**
 * The mesh in these paths at a revision of git. Throws a UsageError if the revision or one of its files cannot be read.
 */
export async function meshAtRevision(
  revision: string,
  paths: readonly string[],
  options: ReadMeshOptions,
  { env }: Pick<Terminal, "env">,
): Promise<MeshFromFiles> {
  if (paths.includes(standardInput))
    throw new UsageError("--since compares files with those of a revision; standard input (-) is in no revision");
  const read = await readManifestsAt(revision, paths, { ...options.reading, env }).catch((error: unknown) => {
    throw error instanceof RevisionError ? new UsageError(`--since: ${error.message}`) : error;
  });
  if (read.errors.length > 0)
    throw new UsageError(`--since ${revision}: its files cannot be read completely:\n${shownErrors(read.errors)}`);
  return { read, ...fileMeshOf(read.manifests, { ...options, areApplied: true }) };
}

const nothingRead = {
  read: { manifests: [], errors: [], ignored: [], empty: [] },
  objects: [],
  replaced: [],
  others: [],
};

async function meshFromCapture(
  path: string,
  { settings = defaultMeshSettings, adjust, isForReviews = false, received, keep, option = "--mesh" }: ReadMeshOptions,
) {
  const optional = {
    ...(adjust === undefined ? {} : { adjust }),
    ...(received === undefined ? {} : { received }),
    ...(keep === undefined ? {} : { keep }),
  };
  try {
    return await readCapture(path, { settings, isForReviews, ...optional });
  } catch (error) {
    if (error instanceof CaptureError) throw new UsageError(`${option}: ${error.message}`);
    if (isSystemError(error)) throw new UsageError(`${option} ${path}: ${unreadable(error)}`);
    throw error;
  }
}
