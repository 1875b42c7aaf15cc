import type { Served } from "../kube/kinds.ts";
import { isObject, member } from "../kube/read.ts";
import { ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import type { ApiRequest, ClusterConnection } from "../sources/cluster/connection.ts";
import { listPages, responseJson } from "../sources/cluster/list.ts";
import { asReceived, pathOf } from "../sources/cluster/resources.ts";

/** How one resource is served, in the version that Meshward writes. */
export type Resource = Omit<Served, "versions"> & { readonly version: string };

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  /** RFC 3339 */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An object as the API server sends it. Only `metadata` is checked; everything else may have any shape. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface ObjectName {
  /** Absent for cluster-scoped resources. */
  readonly namespace?: string;
  readonly name: string;
}

/**
 * - `merge`: RFC 7386; a list replaces the whole list.
 * - `json`: RFC 6902; a `test` of `/metadata/resourceVersion` makes it fail if the object has changed.
 * - `apply`: server-side apply; needs `fieldManager`.
 */
export type PatchType = "merge" | "json" | "apply";

export interface WriteOptions {
  /** The API server does everything except storing the object. */
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  /** For `apply`: takes fields over from other managers instead of failing with `conflict`. */
  readonly force?: boolean;
  readonly subresource?: "status";
  readonly signal?: AbortSignal;
}

const patchTypes: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  apply: "application/apply-patch+yaml",
};

/** A request that has no response by then fails, because a lost connection looks like a slow server. */
const longestRequestMs = 10_000;

/**
 * Reads and writes the objects of one resource. Every method rejects with a ClusterError; its `fault` says what happened:
 * `absent`, `exists`, `conflict`, `forbidden`, `invalid` and so on. Nothing is retried.
 */
export class ObjectClient {
  readonly resource: Resource;
  readonly #connection: ClusterConnection;

  constructor(connection: ClusterConnection, resource: Resource) {
    this.#connection = connection;
    this.resource = resource;
  }

  async get(at: ObjectName, { signal }: Pick<WriteOptions, "signal"> = {}): Promise<KubeObject> {
    return this.#object({ path: this.#path(at), ...timed(signal) });
  }

  /** All objects, of one namespace or of all, with the resource version from which a watch continues. */
  async list(
    at: { readonly namespace?: string } = {},
    selector: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly items: readonly KubeObject[]; readonly resourceVersion: string }> {
    const items: KubeObject[] = [];
    let resourceVersion = "";
    for await (const page of listPages(this.#connection, this.#path(at), { selector })) {
      resourceVersion = page.resourceVersion;
      // One by one, because a page may have more items than a call may have arguments.
      for (const item of page.items)
        items.push(this.#checked(asReceived(item, this.#collection, this.resource.version)));
    }
    return { items, resourceVersion };
  }

  /** Creates the object in its `metadata.namespace`. `exists`: there is one of this name. */
  async create(object: KubeObject, options: WriteOptions = {}): Promise<KubeObject> {
    const { namespace } = object.metadata;
    const path = this.#path(namespace === undefined ? {} : { namespace }, options);
    return this.#object({ method: "POST", path, body: this.#typed(object), ...timed(options.signal) });
  }

  /**
   * Replaces the object, or only its status. With `metadata.resourceVersion`, it fails with `conflict` if the object has
   * changed since.
   */
  async replace(object: KubeObject, options: WriteOptions = {}): Promise<KubeObject> {
    const path = this.#path(object.metadata, options);
    return this.#object({ method: "PUT", path, body: this.#typed(object), ...timed(options.signal) });
  }

  /** `body` is a list of operations for `json`, and a part of the object for the other types. */
  async patch(at: ObjectName, type: PatchType, body: object, options: WriteOptions = {}): Promise<KubeObject> {
    const path = this.#path(at, options);
    return this.#object({ method: "PATCH", path, body, contentType: patchTypes[type], ...timed(options.signal) });
  }

  /** `conflict`: the object is no longer the one that the preconditions name. */
  async delete(
    at: ObjectName,
    preconditions: Pick<ObjectMeta, "uid" | "resourceVersion"> = {},
    options: WriteOptions = {},
  ): Promise<void> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions };
    await this.#send({ method: "DELETE", path: this.#path(at, options), body, ...timed(options.signal) });
  }

  get #collection() {
    return { served: { ...this.resource, versions: [this.resource.version] } };
  }

  #path(at: { readonly namespace?: string; readonly name?: string }, options: WriteOptions = {}): string {
    const { dryRun, fieldManager, force, subresource } = options;
    const query = new URLSearchParams({
      ...(dryRun ? { dryRun: "All" } : {}),
      ...(fieldManager === undefined ? {} : { fieldManager }),
      ...(force ? { force: "true" } : {}),
    }).toString();
    const path = pathOf(this.#collection, this.resource.version, at);
    return `${path}${subresource === undefined ? "" : `/${subresource}`}${query && `?${query}`}`;
  }

  #typed(object: KubeObject): KubeObject {
    const { group, version, kind } = this.resource;
    return { ...object, apiVersion: group === "" ? version : `${group}/${version}`, kind };
  }

  async #object(request: ApiRequest): Promise<KubeObject> {
    return this.#checked(await this.#send(request));
  }

  async #send(request: ApiRequest): Promise<unknown> {
    try {
      const response = await this.#connection.request(request);
      return (await responseJson(this.#connection, response, request)).body;
    } catch (error) {
      throw requestError(this.#connection.server, error);
    }
  }

  #checked(object: unknown): KubeObject {
    if (isKubeObject(object)) return object;
    throw new ClusterError(
      "failed",
      `${this.#connection.server} sent a response that is no object; check the server in the kubeconfig`,
    );
  }
}

export const isKubeObject = (object: unknown): object is KubeObject =>
  isObject(object) && typeof member(object["metadata"], "name") === "string";

function timed(signal: AbortSignal | undefined): Pick<ApiRequest, "signal"> {
  const limit = AbortSignal.timeout(longestRequestMs);
  return { signal: signal === undefined ? limit : AbortSignal.any([signal, limit]) };
}
