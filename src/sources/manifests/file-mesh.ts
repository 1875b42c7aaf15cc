import type { KeptFields } from "../../kube/kept-fields.ts";
import { identityOf } from "../../kube/identity.ts";
import { allKinds, type Kind, kinds } from "../../kube/kinds.ts";
import { type AnyObject, readAny } from "../../kube/object.ts";
import { defaultMeshSettings, type AllMeshSettings, meshSettingsOf } from "../../view/settings.ts";
import { MeshStore } from "../../view/store.ts";
import type { Knowledge, Mesh } from "../../view/view.ts";
import type { Manifest } from "./manifests.ts";

/** An object with the manifest that defines it. */
export interface FileObject {
  readonly object: AnyObject;
  readonly manifest: Manifest;
}

/** A mesh that is built from manifests. */
export interface FileMesh {
  readonly mesh: MeshStore;
  /**
   * In the order of the manifests. If several define the same object, the mesh contains the last, as after kubectl
   * apply.
   */
  readonly objects: readonly FileObject[];
  /** Manifests that a later one replaces. */
  readonly replaced: readonly { readonly by: FileObject; readonly earlier: FileObject }[];
  /** Manifests of kinds that no rule reads. */
  readonly others: readonly Manifest[];
}

export interface FileMeshOptions {
  /** The namespace of objects that do not name one. */
  readonly defaultNamespace: string;
  /** How far the view knows a kind, given the number of its objects in the manifests. Default: complete. */
  readonly knowledge?: (kind: Kind, count: number) => Knowledge;
  /** The raw fields that rules of policies read. */
  readonly keep?: KeptFields;
  /** The mesh settings that apply if the manifests contain no mesh config. */
  readonly settings?: AllMeshSettings;
  /** Whether the manifests will be applied, and are not what a mesh holds. */
  readonly areApplied?: boolean;
}

export function fileMeshOf(manifests: readonly Manifest[], options: FileMeshOptions): FileMesh {
  const objects: FileObject[] = [];
  const others: Manifest[] = [];
  for (const manifest of manifests) {
    const object = readAny(manifest.raw, options.defaultNamespace, options.keep);
    if (object === undefined) others.push(manifest);
    else objects.push({ object: options.areApplied === true ? asApplied(object) : object, manifest });
  }
  const last = new Map<string, FileObject>();
  for (const entry of objects) last.set(identityOf(entry.object), entry);
  const settings = meshSettingsOf(
    [...last.values()].map(({ object }) => object),
    options.settings,
  );
  const mesh = new MeshStore(settings, knowledgeOf(last.values(), options));
  for (const { object } of last.values()) mesh.set(object);
  const replaced = objects.flatMap((earlier) => {
    const by = last.get(identityOf(earlier.object)) as FileObject;
    return by === earlier ? [] : [{ by, earlier }];
  });
  return { mesh, objects, replaced, others };
}

/** Nobody deletes an object by writing it: the API server ignores the time of the deletion, and the phase of a Namespace. */
function asApplied(object: AnyObject): AnyObject {
  const { deletionTimestamp } = object.metadata;
  const written: AnyObject =
    deletionTimestamp === undefined
      ? object
      : { ...object, metadata: { ...object.metadata, deletionTimestamp: undefined } };
  if (written.kind !== "Namespace" || written.status.phase === undefined) return written;
  return { ...written, status: { phase: undefined } };
}

/** A view of other objects, with what is known besides objects as in another view. */
export function meshOf(objects: readonly AnyObject[], like: Mesh): MeshStore {
  const settings = meshSettingsOf(objects, { ...defaultMeshSettings, domain: like.settings.domain });
  const mesh = new MeshStore(settings, new Map(allKinds.map((kind) => [kind, like.knowledge(kind)])));
  for (const object of objects) mesh.set(object);
  return mesh;
}

function knowledgeOf(objects: Iterable<FileObject>, { knowledge }: FileMeshOptions): ReadonlyMap<Kind, Knowledge> {
  if (knowledge === undefined) return new Map();
  const counts = new Map<Kind, number>();
  for (const { object } of objects) counts.set(object.kind, (counts.get(object.kind) ?? 0) + 1);
  return new Map(allKinds.map((kind) => [kind, knowledge(kind, counts.get(kind) ?? 0)]));
}

/**
 * The kinds of Istio, of the Gateway API and of Meshward, which a repository of mesh configuration contains; other kinds
 * usually not, nor GatewayClasses, which istiod and vendors create.
 */
const isMeshKind = (kind: Kind): boolean =>
  kind !== "GatewayClass" &&
  kinds[kind].served.some(({ group }) => /istio\.io$|gateway\.networking|^meshward\.io$/.test(group));

/**
 * How far a set of files is known without a mesh. Mesh kinds are assumed to be complete, because a missing object may be
 * in another repository. Services, Namespaces, workloads and mesh config are unknown unless the set contains some.
 */
export const knowledgeOfSet = (kind: Kind, count: number): Knowledge =>
  isMeshKind(kind) || count > 0 ? "assumed" : "unknown";

/** How far files are known that represent a mesh: all mesh kinds, and each other kind with an object, are complete. */
export const knowledgeOfMesh = (kind: Kind, count: number): Knowledge =>
  isMeshKind(kind) || count > 0 ? "complete" : "unknown";
