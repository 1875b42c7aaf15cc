import { identityOf, keyFor, keyOf } from "../kube/identity.ts";
import { allKinds } from "../kube/kinds.ts";
import { type AnyObject, readObject } from "../kube/object.ts";
import { isCapture } from "../sources/cluster/capture.ts";
import { type FileMesh, fileMeshOf, type FileObject } from "../sources/manifests/file-mesh.ts";
import { readManifests } from "../sources/manifests/manifests.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Mesh } from "../view/view.ts";
import { settingsIn } from "./mesh-option.ts";
import { shownErrors } from "./source-errors.ts";
import { clusterWord } from "./cluster-options.ts";
import type { Terminal } from "./terminal.ts";

export interface DeletionOptions {
  readonly mesh?: string;
  /** Deletes what the files of `--mesh` define and the checked files do not. */
  readonly prune?: boolean;
  /** A file or folder with the manifests of objects to delete. */
  readonly delete?: string;
  readonly namespace: string;
  readonly clusterDomain: string;
}

/** Throws a UsageError if the options need a mesh and there is none, or another one. */
export function assertDeletable({ mesh, prune, delete: path }: DeletionOptions): void {
  const option = prune === true ? "--prune" : path === undefined ? undefined : "--delete";
  if (option === undefined) return;
  if (mesh === undefined) throw new UsageError(`${option} needs the mesh from which objects are deleted; give --mesh`);
  if (prune === true && (mesh === clusterWord || isCapture(mesh)))
    throw new UsageError(
      `--prune deletes what the checked files no longer define, so --mesh must be a file or folder of manifests; ${mesh} also contains objects that other files define. Use --delete for single objects`,
    );
}

/**
 * The objects that the files empty, and those that `--delete` deletes from the mesh: as the mesh contains them, with the manifest that names them. Throws a
 * UsageError if it names an object that the mesh does not contain, or that is also applied.
 */
export async function deletionsOf(
  files: FileMesh,
  base: FileMesh | undefined,
  options: DeletionOptions,
  terminal: Pick<Terminal, "input">,
): Promise<readonly FileObject[]> {
  if (base === undefined) return [];
  const emptied = emptiedConfigs(base.mesh, files, options.namespace);
  return options.delete === undefined ? emptied : [...emptied, ...(await deletedFrom(base, files, options, terminal))];
}

/** The mesh configs and injectors' configurations of which the files write the ConfigMap without its key, which istiod takes for gone. */
export function emptiedConfigs(mesh: Mesh, { others }: FileMesh, defaultNamespace: string): readonly FileObject[] {
  return others.flatMap((manifest) => {
    if (manifest.apiVersion !== "v1" || manifest.kind !== "ConfigMap") return [];
    const { name, namespace } = readObject("MeshConfig", manifest.raw, defaultNamespace).metadata;
    return configKinds.flatMap((kind) => {
      const object = mesh.find(kind, keyFor(kind, { originKind: manifest.kind, namespace, name }));
      return object === undefined ? [] : [{ object, manifest }];
    });
  });
}
const configKinds = ["MeshConfig", "InjectorConfig"] as const;

/**
 * What Kubernetes deletes with the Namespaces among these objects: everything in them (pkg/controller/namespace/deletion). It is
 * found at the manifest of the Namespace.
 */
export function contentsOf<T extends Pick<FileObject, "object">>(deleted: readonly T[], mesh: Mesh): readonly T[] {
  const namespaces = new Map(
    deleted.filter(({ object }) => object.kind === "Namespace").map((entry) => [entry.object.metadata.name, entry]),
  );
  if (namespaces.size === 0) return [];
  return allKinds
    .flatMap((kind) => [...mesh.all(kind)] as readonly AnyObject[])
    .flatMap((object) => {
      const entry = namespaces.get(object.metadata.namespace);
      return entry === undefined ? [] : [{ ...entry, object }];
    });
}

async function deletedFrom(
  { mesh }: FileMesh,
  files: FileMesh,
  { delete: path = "", namespace, clusterDomain }: DeletionOptions,
  { input }: Pick<Terminal, "input">,
): Promise<readonly FileObject[]> {
  const { manifests, errors } = await readManifests([path], { input });
  if (errors.length > 0) throw new UsageError(`--delete ${path} cannot be read completely:\n${shownErrors(errors)}`);
  const { objects } = fileMeshOf(manifests, { defaultNamespace: namespace, settings: settingsIn(clusterDomain) });
  if (objects.length === 0) throw new UsageError(`--delete ${path} contains no object of a kind that Meshward reads`);
  const applied = new Set(files.objects.map(({ object }) => identityOf(object)));
  return objects.map(({ object, manifest }) => {
    const there = mesh.find(object.kind, keyOf(object));
    const named = `${object.originKind} ${keyOf(object)}`;
    if (there === undefined || there.implied)
      throw new UsageError(`--delete ${path}: the mesh has no ${named}; correct the file or the mesh`);
    if (applied.has(identityOf(object)))
      throw new UsageError(`--delete ${path}: ${named} is also in the checked files; remove it from one of the two`);
    return { object: there, manifest };
  });
}
