import { isObject, member } from "../../kube/read.ts";
import { type DocumentKind, documentKinds } from "../../policy/documents.ts";
import type { PolicySource } from "../../policy/load.ts";
import type { ClusterConnection } from "./connection.ts";
import { type Pace, systemPace } from "./pace.ts";
import { Reflector, type ReflectorState } from "./reflector.ts";
import { titleOf } from "./resources.ts";

/** A MeshwardPolicy or MeshwardException of a cluster. */
export interface PolicyObject extends PolicySource {
  readonly kind: DocumentKind;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly resourceVersion: string;
  /** As received; it may have any shape. */
  readonly status: unknown;
}

export interface PolicyObjectsOptions {
  readonly connection: ClusterConnection;
  /** Called after each change of the objects or of the states. Must not throw. */
  readonly changed: () => void;
  readonly pace?: Pace;
}

/** Changes that follow each other this closely are passed on together. */
const togetherMs = 50;

/**
 * The policy documents of a cluster, kept up to date by list and watch until closed. What `objects` returns is always a
 * whole set: nothing is passed on while a list is being read. If the definitions are removed or reading is forbidden, the
 * last set stays, because that says nothing about what should be protected.
 */
export class PolicyObjects {
  readonly #kinds: readonly OfKind[];
  readonly #options: Required<PolicyObjectsOptions>;
  #stopWaiting: (() => void) | undefined;
  #objects: readonly PolicyObject[] | undefined;

  constructor(options: PolicyObjectsOptions) {
    this.#options = { pace: systemPace, ...options };
    const kinds = Object.keys(documentKinds) as readonly DocumentKind[];
    this.#kinds = kinds.map((kind) => new OfKind(kind, this.#options, () => this.#changed()));
  }

  /** Undefined until both kinds were listed, or are known to be absent or forbidden. */
  get objects(): readonly PolicyObject[] | undefined {
    return this.#objects;
  }

  /** The state of each kind, by the name of its resource: `meshwardpolicies.meshward.io`. */
  get states(): readonly (readonly [resource: string, state: ReflectorState])[] {
    return this.#kinds.map((kind) => [kind.title, kind.state] as const);
  }

  async close(): Promise<void> {
    this.#stopWaiting?.();
    await Promise.all(this.#kinds.map((kind) => kind.close()));
  }

  #changed(): void {
    this.#stopWaiting ??= this.#options.pace.after(togetherMs, () => {
      this.#stopWaiting = undefined;
      // The end of the list is a change, too.
      if (this.#kinds.some((kind) => kind.isListing)) return;
      this.#objects = this.#kinds.flatMap((kind) => kind.all());
      this.#options.changed();
    });
  }
}

class OfKind {
  readonly title: string;
  readonly #kind: DocumentKind;
  readonly #objects = new Map<string, PolicyObject>();
  readonly #reflector: Reflector;
  isListing = true;

  constructor(kind: DocumentKind, { connection, pace }: Required<PolicyObjectsOptions>, changed: () => void) {
    const served = documentKinds[kind];
    this.#kind = kind;
    this.title = titleOf(served);
    this.#reflector = new Reflector({
      connection,
      pace,
      resource: { served, title: this.title, selector: {} },
      target: {
        set: (raw) => {
          if (this.#set(raw)) changed();
        },
        delete: (raw) => {
          if (this.#objects.delete(keyOf(raw))) changed();
        },
        listing: () => {
          this.isListing = true;
        },
        keepOnly: (keys, why) => {
          this.isListing = false;
          if (why === "listed")
            for (const key of [...this.#objects.keys()]) if (!keys.has(key)) this.#objects.delete(key);
          changed();
        },
        changed,
      },
    });
  }

  get state(): ReflectorState {
    return this.#reflector.state;
  }

  /** Sorted, so that of two equal claims the same one counts in every replica. */
  all(): readonly PolicyObject[] {
    return [...this.#objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  close(): Promise<void> {
    return this.#reflector.close();
  }

  /** A list repeats objects that have not changed. The document of an object stays the same while its generation does. */
  #set(raw: Record<string, unknown>): boolean {
    const key = keyOf(raw);
    const object = readObject(this.#kind, raw);
    const known = this.#objects.get(key);
    if (known?.uid === object.uid && known.resourceVersion === object.resourceVersion) return false;
    const isSame = known?.uid === object.uid && known.generation === object.generation;
    this.#objects.set(key, isSame ? { ...object, raw: known.raw } : object);
    return true;
  }
}

const textIn = (metadata: unknown, field: string): string => {
  const value = member(metadata, field);
  return typeof value === "string" ? value : "";
};

const keyOf = ({ metadata }: Record<string, unknown>): string =>
  `${textIn(metadata, "namespace")}/${textIn(metadata, "name")}`;

/** Only what a document consists of is kept: metadata can be long, and is not part of it. */
export function readObject(kind: DocumentKind, raw: Record<string, unknown>): PolicyObject {
  const { apiVersion, metadata, spec, status } = raw;
  const [namespace, name] = [textIn(metadata, "namespace"), textIn(metadata, "name")];
  const generation = member(metadata, "generation");
  const identity = documentKinds[kind].namespaced ? { name, namespace } : { name };
  return {
    ...{ kind, namespace, name },
    uid: textIn(metadata, "uid"),
    resourceVersion: textIn(metadata, "resourceVersion"),
    generation: typeof generation === "number" ? generation : 0,
    status: isObject(status) ? status : undefined,
    raw: { apiVersion, kind, metadata: identity, ...(spec === undefined ? {} : { spec }) },
    file: "the cluster",
    locate: () => ({ line: 0, column: 0 }),
  };
}
