import type { KeptFields } from "../../kube/kept-fields.ts";
import { allKinds, type Kind } from "../../kube/kinds.ts";
import type { AnyObject } from "../../kube/object.ts";
import { type AllMeshSettings, meshSettingsOf } from "../../view/settings.ts";
import { MeshStore } from "../../view/store.ts";
import type { Knowledge } from "../../view/view.ts";
import { ClusterError } from "./cluster-error.ts";
import type { ClusterConnection } from "./connection.ts";
import { listResource } from "./list.ts";
import { backoffMs, type Pace, pause, SilenceWatch, systemPace } from "./pace.ts";
import { type ClusterResource, knowledgeOf, readReceived, resourcesOf, type ResourceStatus } from "./resources.ts";

/** The objects of a cluster at one time. */
export interface ClusterSnapshot {
  readonly knowledge: ReadonlyMap<Kind, Knowledge>;
  /** Resources that could not be read: `rollouts.argoproj.io absent`. */
  readonly missing: readonly string[];
}

export interface SnapshotOptions {
  readonly kinds: readonly Kind[];
  /** Called once for each resource with all its objects, as received. */
  take(objects: readonly Record<string, unknown>[], resource: ClusterResource): void | Promise<void>;
  readonly pace?: Pace;
}

const attempts = 4;
const silenceMs = 60_000;

/**
 * Reads each resource once. Absent and forbidden resources are listed in `missing`.
 * @throws ClusterError if the server cannot be reached, or keeps failing
 */
export async function readCluster(
  connection: ClusterConnection,
  { kinds, take, pace = systemPace }: SnapshotOptions,
): Promise<ClusterSnapshot> {
  const knowledge = new Map<Kind, Knowledge>();
  const missing: string[] = [];
  for (const kind of kinds) {
    const statuses: ResourceStatus[] = [];
    for (const resource of resourcesOf(kind)) {
      const read = await readResource(connection, resource, pace);
      if (typeof read === "string") missing.push(`${resource.title} ${read}`);
      else await take(read, resource);
      statuses.push(typeof read === "string" ? read : "synced");
    }
    knowledge.set(kind, knowledgeOf(statuses));
  }
  return { knowledge, missing };
}

async function readResource(
  connection: ClusterConnection,
  resource: ClusterResource,
  pace: Pace,
): Promise<readonly Record<string, unknown>[] | "absent" | "forbidden"> {
  for (let failures = 0; ; failures++)
    try {
      return await readOnce(connection, resource, pace);
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
      if (error.fault === "absent" || error.fault === "forbidden") return error.fault;
      const isPassing = error.fault === "busy" || error.fault === "expired" || error.fault === "failed";
      if (!isPassing || failures + 1 === attempts) throw error;
      await pause(pace, backoffMs(failures, pace.random(), error.retryAfterMs), new AbortController().signal);
    }
}

async function readOnce(connection: ClusterConnection, resource: ClusterResource, pace: Pace) {
  const objects: Record<string, unknown>[] = [];
  const ending = new AbortController();
  const silence = new SilenceWatch(pace, silenceMs, () =>
    ending.abort(
      new ClusterError(
        "unreachable",
        `${connection.server} does not respond within ${silenceMs / 1000} s; check the network connection to it`,
      ),
    ),
  );
  try {
    await listResource(connection, resource, {
      signal: ending.signal,
      heard: () => silence.heard(),
      take: (raw) => void objects.push(raw),
    });
  } finally {
    silence.stop();
  }
  return objects;
}

export interface ReceivedMeshOptions {
  /** Drops the data that only `check` uses, to save memory in a process that keeps the mesh. */
  readonly isForReviews?: boolean;
  /** The settings that apply if there is no mesh config. */
  readonly settings: AllMeshSettings;
  /** The raw fields that rules of policies read. */
  readonly keep?: KeptFields;
  /** Overrides how far a kind is known. */
  readonly adjust?: (kind: Kind, known: Knowledge) => Knowledge;
  /** Called with every object as received, before its reader drops fields. */
  readonly received?: (raw: Record<string, unknown>) => void;
}

/** Builds a mesh from objects, with the settings of the mesh configs among them. */
export function meshOfObjects(
  objects: readonly AnyObject[],
  known: ReadonlyMap<Kind, Knowledge>,
  { settings, adjust = (_kind, knowledge) => knowledge }: Omit<ReceivedMeshOptions, "isForReviews">,
): MeshStore {
  const knowledge = new Map(allKinds.map((kind) => [kind, adjust(kind, known.get(kind) ?? "unknown")]));
  const mesh = new MeshStore(meshSettingsOf(objects, settings), knowledge);
  for (const object of objects) mesh.set(object);
  return mesh;
}

/** Reads the mesh of a cluster once, without watching it. @throws ClusterError as readCluster does */
export async function meshOfCluster(
  connection: ClusterConnection,
  options: ReceivedMeshOptions & { readonly kinds: readonly Kind[] },
): Promise<ClusterSnapshot & { readonly mesh: MeshStore }> {
  const objects: AnyObject[] = [];
  const snapshot = await readCluster(connection, {
    kinds: options.kinds,
    take(raws, resource) {
      for (const raw of raws) {
        options.received?.(raw);
        const object = readReceived(raw, resource, options.keep);
        if (object !== undefined) objects.push(object);
      }
    },
  });
  return { ...snapshot, mesh: meshOfObjects(objects, snapshot.knowledge, options) };
}
