import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type Pace, systemPace } from "../sources/cluster/pace.ts";
import { Reflector, type ReflectorState } from "../sources/cluster/reflector.ts";
import { titleOf } from "../sources/cluster/resources.ts";
import { isKubeObject, type KubeObject, type ObjectName, type Resource } from "./objects.ts";

export interface FollowedObjectsOptions {
  readonly connection: ClusterConnection;
  readonly resource: Resource;
  /** Only objects in this namespace; default: all. */
  readonly namespace?: string;
  /** Only the object of this name. RBAC may limit list and watch to it by `resourceNames`. */
  readonly name?: string;
  readonly labelSelector?: string;
  /** Called after each change, and when the state changes. Must not throw. */
  readonly changed: () => void;
  readonly pace?: Pace;
}

/**
 * A copy of one object or of a small list, kept up to date by list and watch until closed. It survives every error; while
 * the API server is unreachable, the last objects stay. It keeps whole objects, so it is not for large lists.
 */
export class FollowedObjects {
  readonly #objects = new Map<string, KubeObject>();
  readonly #reflector: Reflector;

  constructor(options: FollowedObjectsOptions) {
    const { connection, resource, namespace, name, labelSelector, changed, pace = systemPace } = options;
    const { version, ...served } = resource;
    const title = titleOf({ ...served, versions: [version] });
    this.#reflector = new Reflector({
      connection,
      pace,
      resource: {
        served: { ...served, versions: [version] },
        title: name === undefined ? title : `${title} (${name})`,
        ...(namespace === undefined ? {} : { namespace }),
        selector: {
          ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }),
          ...(labelSelector === undefined ? {} : { labelSelector }),
        },
      },
      target: {
        set: (raw) => this.#set(raw, changed),
        delete: (raw) => {
          if (isKubeObject(raw) && this.#objects.delete(keyOf(raw.metadata))) changed();
        },
        keepOnly: (keys) => this.#keepOnly(keys, changed),
        changed,
      },
    });
  }

  /** `status` is `loading` until the first list is complete, `forbidden` if RBAC forbids it. */
  get state(): ReflectorState {
    return this.#reflector.state;
  }

  get(at: ObjectName): KubeObject | undefined {
    return this.#objects.get(keyOf(at));
  }

  all(): readonly KubeObject[] {
    return [...this.#objects.values()];
  }

  async close(): Promise<void> {
    await this.#reflector.close();
  }

  /** A list repeats objects that have not changed. */
  #set(raw: Record<string, unknown>, changed: () => void): void {
    if (!isKubeObject(raw)) return;
    const key = keyOf(raw.metadata);
    const before = this.#objects.get(key)?.metadata;
    this.#objects.set(key, raw);
    const { uid, resourceVersion } = raw.metadata;
    if (before === undefined || before.uid !== uid || before.resourceVersion !== resourceVersion) changed();
  }

  #keepOnly(keys: ReadonlySet<string>, changed: () => void): void {
    const gone = [...this.#objects.keys()].filter((key) => !keys.has(key));
    for (const key of gone) this.#objects.delete(key);
    if (gone.length > 0) changed();
  }
}

const keyOf = ({ namespace = "", name }: ObjectName): string => `${namespace}/${name}`;
