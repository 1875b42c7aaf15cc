import { judge } from "../engine/evaluate.ts";
import { identityOf, keyOf } from "../kube/identity.ts";
import { allKinds } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { appliedTo } from "../sources/manifests/applied.ts";
import { severalDefinitions } from "../sources/manifests/environments.ts";
import { type FileMesh, fileMeshOf } from "../sources/manifests/file-mesh.ts";
import { readManifests } from "../sources/manifests/manifests.ts";
import { UsageError } from "../text/usage-error.ts";
import type { Mesh } from "../view/view.ts";
import { contentsOf, emptiedConfigs } from "./deletions.ts";
import { settingsIn } from "./mesh-option.ts";
import { shownErrors } from "./source-errors.ts";
import type { Terminal } from "./terminal.ts";

/** A change of a mesh, as files with the objects that it writes and deletes. */
export interface MeshChangeOptions {
  readonly change?: string;
  readonly delete?: string;
  /** Delete what the mesh has and the files of `--change` do not define. */
  readonly prune?: boolean;
  /** The namespace of objects that name none. */
  readonly namespace: string;
  readonly clusterDomain: string;
}

/**
 * The mesh after the change that `--change` and `--delete` describe; undefined without these options. Throws a UsageError if
 * a file cannot be read, or names an object to delete that the mesh does not contain.
 */
export async function meshAfterChange(
  mesh: Mesh,
  options: MeshChangeOptions,
  terminal: Pick<Terminal, "input">,
): Promise<Mesh | undefined> {
  if (options.change === undefined && options.delete === undefined) return undefined;
  const applied = options.change === undefined ? nothing : await objectsIn(options.change, options, terminal, mesh);
  const several = severalDefinitions(applied);
  if (several !== undefined)
    throw new UsageError(`--change ${options.change}: ${several}; give the path of one environment`);
  const deleted = options.delete === undefined ? nothing : await objectsIn(options.delete, options, terminal);
  const written = last(appliedTo(mesh, applied));
  const removed = last(deleted).map((object) => {
    const there = mesh.find(object.kind, keyOf(object));
    if (there !== undefined && !there.implied) return { object: there };
    throw new UsageError(
      `--delete ${options.delete}: the mesh has no ${object.originKind} ${keyOf(object)}; correct the file or the mesh`,
    );
  });
  removed.push(...emptiedConfigs(mesh, applied, options.namespace));
  const kept = new Set(written.map(identityOf));
  const contents = contentsOf(removed, mesh).filter(({ object }) => !kept.has(identityOf(object)));
  const changes = [
    ...(options.prune === true ? prunedFrom(mesh, written) : []),
    ...written.map((object) => {
      const there = mesh.find(object.kind, keyOf(object));
      return { old: there?.implied ? undefined : there, object };
    }),
    ...[...removed, ...contents].map(({ object }) => ({ old: object })),
  ];
  return judge([], mesh, changes).after;
}

/** The objects of a mesh that are not written. Those that only follow from others, such as implied namespaces, are no objects of their own. */
function* prunedFrom(mesh: Mesh, written: readonly AnyObject[]): Iterable<{ readonly old: AnyObject }> {
  const kept = new Set(written.map(identityOf));
  for (const kind of allKinds)
    for (const old of mesh.all(kind)) if (old.implied !== true && !kept.has(identityOf(old))) yield { old };
}

async function objectsIn(
  path: string,
  { namespace, clusterDomain }: MeshChangeOptions,
  terminal: Pick<Terminal, "input">,
  base?: Mesh,
): Promise<FileMesh> {
  const { manifests, errors } = await readManifests([path], { input: terminal.input });
  if (errors.length > 0) throw new UsageError(`${path} cannot be read completely:\n${shownErrors(errors)}`);
  const files = fileMeshOf(manifests, {
    areApplied: true,
    defaultNamespace: namespace,
    settings: settingsIn(clusterDomain),
  });
  const isEmptying = base !== undefined && emptiedConfigs(base, files, namespace).length > 0;
  if (files.objects.length === 0 && !isEmptying)
    throw new UsageError(`${path} contains no object of a kind that Meshward reads`);
  return files;
}

const nothing = fileMeshOf([], { defaultNamespace: "" });

/** The last manifest for each object, because kubectl apply keeps the last one. */
function last({ objects, replaced }: FileMesh): readonly AnyObject[] {
  const early = new Set(replaced.map(({ earlier }) => earlier));
  return objects.filter((entry) => !early.has(entry)).map(({ object }) => object);
}
