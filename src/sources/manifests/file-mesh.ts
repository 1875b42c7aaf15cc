import { identityOf } from "../../kube/identity.ts";
import { allKinds, type Kind, kinds } from "../../kube/kinds.ts";
import { type AnyObject, type ObjectOf, readAny } from "../../kube/object.ts";
import { type MeshSettings, meshSettingsOf } from "../../view/settings.ts";
import { MeshStore } from "../../view/store.ts";
import type { Knowledge } from "../../view/view.ts";
import type { Manifest } from "./manifests.ts";

/** An object with the manifest that says so. */
export interface FileObject {
  readonly object: AnyObject;
  readonly manifest: Manifest;
}

/** The mesh that manifests describe. */
export interface FileMesh {
  readonly mesh: MeshStore;
  /** In the order of the manifests; of those with one identity the last one is in the mesh, as kubectl apply leaves it. */
  readonly objects: readonly FileObject[];
  /** Manifests that another one, later in the order, replaces. */
  readonly replaced: readonly { readonly by: FileObject; readonly earlier: FileObject }[];
  /** Manifests of kinds that no rule reads. */
  readonly others: readonly Manifest[];
}

export interface FileMeshOptions {
  /** Where objects without a namespace go. */
  readonly defaultNamespace: string;
  /**
   * What a kind is worth: how many objects of it the manifests hold decides together with the door. Default: complete.
   */
  readonly knowledge?: (kind: Kind, count: number) => Knowledge;
  /** What the settings are where no mesh config among the manifests says otherwise. */
  readonly settings?: MeshSettings;
}

export function fileMeshOf(manifests: readonly Manifest[], options: FileMeshOptions): FileMesh {
  const objects: FileObject[] = [];
  const others: Manifest[] = [];
  for (const manifest of manifests) {
    const object = readAny(manifest.raw, options.defaultNamespace);
    if (object === undefined) others.push(manifest);
    else objects.push({ object, manifest });
  }
  const last = new Map<string, FileObject>();
  for (const entry of objects) last.set(identityOf(entry.object), entry);
  const mesh = new MeshStore(settingsOf(last.values(), options.settings), knowledgeOf(last.values(), options));
  for (const { object } of last.values()) mesh.set(object);
  const replaced = objects.flatMap((earlier) => {
    const by = last.get(identityOf(earlier.object)) as FileObject;
    return by === earlier ? [] : [{ by, earlier }];
  });
  return { mesh, objects, replaced, others };
}

function settingsOf(objects: Iterable<FileObject>, base: MeshSettings | undefined): MeshSettings {
  const configs: ObjectOf<"MeshConfig">[] = [];
  for (const { object } of objects) if (object.kind === "MeshConfig") configs.push(object);
  return meshSettingsOf(configs, base);
}

function knowledgeOf(objects: Iterable<FileObject>, { knowledge }: FileMeshOptions): ReadonlyMap<Kind, Knowledge> {
  if (knowledge === undefined) return new Map();
  const counts = new Map<Kind, number>();
  for (const { object } of objects) counts.set(object.kind, (counts.get(object.kind) ?? 0) + 1);
  return new Map(allKinds.map((kind) => [kind, knowledge(kind, counts.get(kind) ?? 0)]));
}

/** Istio's and Gateway API's own kinds: what a repository of mesh configuration holds; the rest usually lives elsewhere. */
const isMeshKind = (kind: Kind): boolean =>
  kinds[kind].served.some(({ group }) => /istio\.io$|gateway\.networking/.test(group));

/**
 * A set of files, taken for itself: complete for mesh kinds with care (what is missing may live in another
 * repository), and nothing is known of Services, Namespaces, workloads and mesh config that the set does not show.
 */
export const knowledgeOfSet = (kind: Kind, count: number): Knowledge =>
  isMeshKind(kind) || count > 0 ? "assumed" : "unknown";

/** Files that stand for a mesh: its mesh kinds are all there, and so is whatever other kind they show at all. */
export const knowledgeOfMesh = (kind: Kind, count: number): Knowledge =>
  isMeshKind(kind) || count > 0 ? "complete" : "unknown";
