import { identityOf, keyOf, namespaceKey } from "../kube/identity.ts";
import { type KeptFields, nothingKept } from "../kube/kept-fields.ts";
import { allKinds } from "../kube/kinds.ts";
import { type AnyObject, lastApplied, readAny } from "../kube/object.ts";
import { defaultMeshSettings, decidesSettings, meshSettingsOf, settingsObjects } from "../view/settings.ts";
import { MeshStore, rebuilt } from "../view/store.ts";
import { appliedChange, withLastApplied } from "./kubectl-apply.ts";
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
  /** The patch that kubectl sends for an object that exists. */
  readonly patch?: string;
  /** kubectl sends no request if its patch is empty. */
  readonly isUnchanged?: true;
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
    const key = storedAs(raw);
    const old = this.#stored.get(key);
    this.#stored.set(key, raw);
    const object = readAny(raw, "default", this.#keep);
    if (old !== undefined && object === undefined) this.#forget(old);
    if (object === undefined) return;
    this.#mesh.set(object);
    this.#followSettings(object);
  }

  /** Returns undefined if there is no object of this name to delete. */
  async request(request: UserRequest, client: ApiServerClient): Promise<Outcome | undefined> {
    const sent = this.#sentFor(request.raw, request.isDeletion);
    if (sent === undefined) return undefined;
    if (sent.patch === "{}")
      return { submission: sent.submission, admission: unchanged(sent.submission), isUnchanged: true };
    const submission = { ...sent.submission, ...senderOf(request) };
    const admission = await client.admit(submission);
    if (admission.allowed && request.dryRun !== true) this.#store(request, admission);
    return { ...sent, submission, admission };
  }

  #store({ raw, isDeletion }: UserRequest, { object }: Admission): void {
    if (isDeletion) {
      this.#remove(raw);
      return;
    }
    this.put(object);
    this.#applied.set(storedAs(raw), placed(raw));
  }

  /** What kubectl sends; undefined if there is nothing to delete. */
  #sentFor(raw: KubernetesObject, isDeletion: boolean): Pick<Outcome, "submission" | "patch"> | undefined {
    const old = this.#stored.get(storedAs(raw));
    if (isDeletion) return old && { submission: { operation: "DELETE", oldObject: old } };
    const wanted = placed(raw);
    if (old === undefined) return { submission: { operation: "CREATE", object: withLastApplied(wanted) } };
    const { object, patch } = appliedChange(wanted, old, this.#applied.get(storedAs(raw)) ?? {});
    return { submission: { operation: "UPDATE", object, oldObject: old }, patch };
  }

  #remove(raw: KubernetesObject): void {
    this.#stored.delete(storedAs(raw));
    this.#applied.delete(storedAs(raw));
    this.#forget(raw);
  }

  #forget(raw: KubernetesObject): void {
    const object = readAny(raw, "default");
    if (object === undefined) return;
    this.#mesh.delete(object.kind, keyOf(object));
    this.#followSettings(object);
  }

  #followSettings(object: AnyObject): void {
    if (decidesSettings(object)) this.#mesh = rebuilt(this.#mesh, meshSettingsOf(settingsObjects(this.#mesh)));
  }

  /** The labels of a namespace; none if it is not stored. */
  labelsOf(namespace: string): Readonly<Record<string, string>> {
    return this.#mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
  }

  /** Everything that is stored, as it was sent. */
  get objects(): readonly KubernetesObject[] {
    return [...this.#stored.values()];
  }

  /** The number of stored objects of kinds that rules read. */
  get size(): number {
    return allKinds.reduce((sum, kind) => sum + this.#mesh.count(kind), 0);
  }
}

/** What kubectl wrote into the annotation, in objects of a cluster. */
function lastAppliedIn(raw: KubernetesObject): KubernetesObject | undefined {
  const text = (metadataOf(raw).annotations as Metadata | undefined)?.[lastApplied];
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

const senderOf = ({ user, fieldManager, dryRun }: UserRequest): Partial<Submission> => ({
  ...(user === undefined ? {} : { user }),
  ...(fieldManager === undefined ? {} : { fieldManager }),
  ...(dryRun === undefined ? {} : { dryRun }),
});

const unchanged = ({ oldObject = {} }: Submission): Admission => ({
  ...{ allowed: true, object: oldObject, patch: [], warnings: [], auditAnnotations: {}, failedOpen: [] },
});

/** A ConfigMap of Istio stays the same one without its key, with which alone it is an object of the mesh. */
function storedAs(raw: KubernetesObject): string {
  if (raw.kind === "ConfigMap") {
    const { name, namespace = "default" } = metadataOf(raw);
    return JSON.stringify([raw.kind, namespace, name]);
  }
  const object = readAny(raw, "default");
  return object === undefined ? JSON.stringify([raw.kind, metadataOf(raw)]) : identityOf(object);
}
