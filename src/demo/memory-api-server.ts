import { identityOf, keyOf } from "../kube/identity.ts";
import { type KeptFields, nothingKept } from "../kube/kept-fields.ts";
import { allKinds } from "../kube/kinds.ts";
import { type AnyObject, lastApplied, readAny } from "../kube/object.ts";
import { defaultMeshSettings, decidesSettings, meshSettingsOf, settingsObjects } from "../view/settings.ts";
import { MeshStore, rebuilt } from "../view/store.ts";
import type { Admission, ApiServerClient, KubernetesObject, Submission } from "./api-server-client.ts";

/** A request of a user; whether it creates or updates depends on the stored objects. */
export interface UserRequest {
  readonly raw: KubernetesObject;
  readonly isDeletion: boolean;
  readonly user?: Submission["user"];
  readonly fieldManager?: string;
  /** A dry run stores nothing. */
  readonly dryRun?: boolean;
}

export interface Outcome {
  readonly submission: Submission;
  readonly admission: Admission;
}

/**
 * Stores the objects that a webhook admits, so that the next request is checked against them: an API server in
 * memory.
 */
export class MemoryApiServer {
  #mesh = new MeshStore(defaultMeshSettings);
  readonly #keep: KeptFields;
  readonly #stored = new Map<string, KubernetesObject>();
  readonly #applied = new Map<string, KubernetesObject>();

  /** `keep`: the raw fields that rules of policies read. */
  constructor(keep: KeptFields = nothingKept) {
    this.#keep = keep;
  }

  get mesh(): MeshStore {
    return this.#mesh;
  }

  /** A server with the same objects, whose changes do not affect this one. */
  copy(): MemoryApiServer {
    const copy = new MemoryApiServer(this.#keep);
    const objects = allKinds.flatMap((kind) => [...this.#mesh.all(kind)]).filter(({ implied }) => implied !== true);
    copy.#mesh = new MeshStore(this.#mesh.settings);
    for (const object of objects) copy.#mesh.set(object);
    for (const [key, raw] of this.#stored) copy.#stored.set(key, raw);
    for (const [key, raw] of this.#applied) copy.#applied.set(key, raw);
    return copy;
  }

  /** Stores an object as if kubectl had applied it before. */
  putApplied(raw: KubernetesObject): void {
    const object = placed(raw);
    this.put(object);
    this.#applied.set(storedAs(raw), lastAppliedIn(object) ?? object);
  }

  /** Stores an object without calling the webhook. */
  put(raw: KubernetesObject): void {
    this.#stored.set(storedAs(raw), raw);
    const object = readAny(raw, "default", this.#keep);
    if (object === undefined) return;
    this.#mesh.set(object);
    this.#followSettings(object);
  }

  /** Returns undefined if there is no object of this name to delete. */
  async request(
    { raw, isDeletion, user, fieldManager, dryRun }: UserRequest,
    client: ApiServerClient,
  ): Promise<Outcome | undefined> {
    const submission = this.#submissionOf(raw, isDeletion);
    if (submission === undefined) return undefined;
    const by = {
      ...(user === undefined ? {} : { user }),
      ...(fieldManager === undefined ? {} : { fieldManager }),
      ...(dryRun === undefined ? {} : { dryRun }),
    };
    const admission = await client.admit({ ...submission, ...by });
    if (dryRun === true) return { submission: { ...submission, dryRun }, admission };
    if (admission.allowed && isDeletion) this.#remove(raw);
    else if (admission.allowed) {
      this.put(admission.object);
      this.#applied.set(storedAs(raw), raw);
    }
    return { submission, admission };
  }

  #submissionOf(raw: KubernetesObject, isDeletion: boolean): Submission | undefined {
    const old = this.#stored.get(storedAs(raw));
    if (isDeletion) return old && { operation: "DELETE", oldObject: old };
    if (old === undefined) return { operation: "CREATE", object: placed(raw) };
    const object = updated(raw, old, this.#applied.get(storedAs(raw)) ?? {});
    return { operation: "UPDATE", object, oldObject: old };
  }

  #remove(raw: KubernetesObject): void {
    this.#stored.delete(storedAs(raw));
    this.#applied.delete(storedAs(raw));
    const object = readAny(raw, "default");
    if (object === undefined) return;
    this.#mesh.delete(object.kind, keyOf(object));
    this.#followSettings(object);
  }

  #followSettings(object: AnyObject): void {
    if (decidesSettings(object)) this.#mesh = rebuilt(this.#mesh, meshSettingsOf(settingsObjects(this.#mesh)));
  }

  /** The number of stored objects of kinds that rules read. */
  get size(): number {
    return allKinds.reduce((sum, kind) => sum + this.#mesh.count(kind), 0);
  }
}

/** What kubectl wrote into the annotation, in objects of a cluster. */
function lastAppliedIn(raw: KubernetesObject): KubernetesObject | undefined {
  const text = fieldOf(raw, "annotations")[lastApplied];
  try {
    return typeof text === "string" ? (JSON.parse(text) as KubernetesObject) : undefined;
  } catch {
    return undefined;
  }
}

type Metadata = Readonly<Record<string, unknown>>;
const metadataOf = (raw: KubernetesObject): Metadata => (raw.metadata ?? {}) as Metadata;

/** Sets the namespace as kubectl does: `default` if the object has none and is not cluster-scoped. */
function placed(raw: KubernetesObject): KubernetesObject {
  const object = readAny(raw, "default");
  if (object === undefined || object.metadata.namespace === "") return raw;
  return { ...raw, metadata: { ...metadataOf(raw), namespace: object.metadata.namespace } };
}

/**
 * Merges as kubectl apply does: removes fields that were applied before and are missing now, and keeps fields that
 * something else set, such as the label of the ambient enrollment.
 */
function updated(raw: KubernetesObject, old: KubernetesObject, applied: KubernetesObject): KubernetesObject {
  const { uid, creationTimestamp, namespace } = metadataOf(old);
  const labels = merged("labels", raw, old, applied);
  const annotations = merged("annotations", raw, old, applied);
  return { ...raw, metadata: { namespace, ...metadataOf(raw), uid, creationTimestamp, labels, annotations } };
}

type MapField = "labels" | "annotations";
const fieldOf = (raw: KubernetesObject, field: MapField) => (metadataOf(raw)[field] ?? {}) as Metadata;

function merged(field: MapField, raw: KubernetesObject, old: KubernetesObject, applied: KubernetesObject): Metadata {
  const before = fieldOf(applied, field);
  const kept = Object.entries(fieldOf(old, field)).filter(([key]) => !Object.hasOwn(before, key));
  return { ...Object.fromEntries(kept), ...fieldOf(raw, field) };
}

function storedAs(raw: KubernetesObject): string {
  const object = readAny(raw, "default");
  return object === undefined ? JSON.stringify([raw.kind, metadataOf(raw)]) : identityOf(object);
}
