import type { Evidence } from "../../engine/evidence.ts";
import { keyFor, keyOf } from "../../kube/identity.ts";
import { type KeptFields, nothingKept } from "../../kube/kept-fields.ts";
import { allKinds, type Kind } from "../../kube/kinds.ts";
import { type AnyObject, withoutLastApplied } from "../../kube/object.ts";
import { member } from "../../kube/read.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Change } from "../../view/overlay.ts";
import {
  defaultMeshSettings,
  decidesSettings,
  type AllMeshSettings,
  meshSettingsOf,
  settingsObjects,
} from "../../view/settings.ts";
import { GivenObjects } from "../../view/given-objects.ts";
import { MeshStore } from "../../view/store.ts";
import type { Index, Knowledge } from "../../view/view.ts";
import type { ClusterConnection } from "./connection.ts";
import { LiveReads, type ServedResource } from "./live-reads.ts";
import { type Pace, systemPace } from "./pace.ts";
import { Reflector, type ReflectorState, type ReflectorTarget, type RestartReason } from "./reflector.ts";
import { ownTurn } from "./turns.ts";
import { type ClusterResource, knowledgeOf, readReceived, resourcesOf } from "./resources.ts";

export interface ClusterMeshOptions {
  readonly connection: ClusterConnection;
  /** The kinds that the rules read. The mesh config is always read as well. */
  readonly kinds: readonly Kind[];
  /** The indexes that are built while objects arrive, so that no review has to build them. */
  readonly indexes: readonly Index[];
  /** The raw fields that the rules in force read. When they change, objects of these kinds are read again. */
  readonly keep?: () => KeptFields;
  readonly log: Log;
  readonly pace?: Pace;
  /** If the API server sends nothing about a kind for longer than this, the kind is no longer complete. */
  readonly maxStalenessMs?: number;
  /** The settings until a mesh config arrives, and those that a mesh config does not contain. */
  readonly settings?: AllMeshSettings;
  readonly observer?: ClusterObserver | undefined;
}

const defaultMaxStalenessMs = 5 * 60_000;
const stalenessCheckMs = 5_000;
/** The number of objects that are copied into a new store before reviews get their turn. */
const copiedAtOnce = 250;

/** Is told what happens to the kinds, for the metrics. */
export interface ClusterObserver {
  /** All objects of one resource of a kind were listed. */
  listed(kind: Kind, milliseconds: number): void;
  /** A list or watch of a kind ended with an error and is started again. */
  restarted(kind: Kind, reason: RestartReason): void;
}

/** The state of a kind for /readyz. With a `problem` Meshward is not ready; a `note` is informational. */
export interface KindReadiness {
  readonly name: string;
  problem(): string | undefined;
  note(): string | undefined;
}

/** The mesh of a cluster, kept up to date by reflectors from its creation until it is closed. */
export class ClusterMesh {
  readonly #options: Required<Omit<ClusterMeshOptions, "observer">> & Pick<ClusterMeshOptions, "observer">;
  readonly #kinds: readonly Kind[];
  readonly #reflectors = new Map<Kind, readonly Reflector<ClusterResource>[]>();
  /** Shared with the store, which sees every change. */
  readonly #knowledge = new Map<Kind, Knowledge>();
  readonly #stale = new Set<Kind>();
  readonly #live: LiveReads;
  readonly #given = new GivenObjects(() => this.#stores());
  #store: MeshStore;
  /** The store with new settings, while it is being built. */
  #next: MeshStore | undefined;
  #holds = 0;
  /** The changes that arrived while the mesh was frozen, in order. */
  #waiting: (() => void)[] = [];
  #stopCheck: () => void;

  constructor(options: ClusterMeshOptions) {
    const { pace = systemPace, maxStalenessMs = defaultMaxStalenessMs, settings = defaultMeshSettings } = options;
    const { keep = () => nothingKept } = options;
    this.#options = { ...options, pace, maxStalenessMs, settings, keep };
    this.#kinds = [...new Set<Kind>(["MeshConfig", ...options.kinds])];
    this.#store = this.#emptyStore(settings);
    for (const kind of this.#kinds) {
      this.#knowledge.set(kind, "unknown");
      this.#reflectors.set(
        kind,
        resourcesOf(kind).map((resource) => this.#reflect(resource)),
      );
    }
    this.#live = new LiveReads({
      connection: options.connection,
      served: (kind) => this.#served(kind),
      keep: this.#options.keep,
    });
    this.#stopCheck = this.#checkStaleness();
  }

  /** The current store. A changed mesh config replaces it. */
  mesh(): MeshStore {
    return this.#store;
  }

  /**
   * Freezes the mesh until the returned function is called. Changes that arrive meanwhile are applied afterwards, in
   * order. For a review that yields and must not see two states of the mesh.
   */
  hold(): () => void {
    this.#holds++;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holds--;
      isHeld = false;
      if (this.#holds > 0) return;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const task of waiting) task();
    };
  }

  #unheld(task: () => void): void {
    if (this.#holds > 0) this.#waiting.push(task);
    else task();
  }

  /** One check for each kind, which succeeds after all its objects were listed once. */
  get checks(): readonly KindReadiness[] {
    return this.#kinds.map((kind) => ({
      name: `mesh ${kind}`,
      problem: () => this.#blocking(kind),
      note: () => this.#remark(kind),
    }));
  }

  /**
   * Seconds since the API server last sent something about each kind; the largest value if a kind has several
   * resources.
   */
  freshness(): readonly (readonly [kind: Kind, seconds: number])[] {
    return this.#kinds.flatMap((kind) => {
      const silentMs = this.#silentMs(kind);
      return silentMs === undefined ? [] : [[kind, silentMs / 1000] as const];
    });
  }

  isFresh(kind: Kind, maxStalenessMs = this.#options.maxStalenessMs): boolean {
    const silentMs = this.#silentMs(kind);
    return silentMs !== undefined && silentMs <= maxStalenessMs;
  }

  /** See LiveReads. */
  liveRead(evidence: Iterable<Evidence>, deadlineMs: number): Promise<readonly Change[] | undefined> {
    return this.#live.read(evidence, this.#store, deadlineMs);
  }

  /** Lists the objects of some kinds again, because other fields of them are kept now. */
  readAgain(kinds: Iterable<Kind>): void {
    for (const kind of kinds) for (const reflector of this.#reflectors.get(kind) ?? []) reflector.listAgain();
  }

  /** Sets the objects that are in no cluster, instead of those that were given before. */
  give(objects: readonly AnyObject[]): void {
    this.#unheld(() => this.#given.replace(objects));
  }

  /** Ends every watch. The objects stay readable. The caller closes the connection. */
  async close(): Promise<void> {
    this.#stopCheck();
    await Promise.all(this.#all().map((reflector) => reflector.close()));
  }

  #all(): readonly Reflector<ClusterResource>[] {
    return [...this.#reflectors.values()].flat();
  }

  /** Creates an empty store with every index that reviews need, so that the indexes are filled with it. */
  #emptyStore(settings: AllMeshSettings): MeshStore {
    const store = new MeshStore(settings, this.#knowledge);
    for (const index of this.#options.indexes) store.lookup(index, []);
    return store;
  }

  #reflect(resource: ClusterResource): Reflector<ClusterResource> {
    const { connection, pace, observer } = this.#options;
    let told: ReflectorState = { status: "loading" };
    const target: ReflectorTarget = {
      set: (raw) => this.#unheld(() => this.#set(raw, resource)),
      delete: (raw) => this.#unheld(() => this.#delete(raw, resource)),
      keepOnly: (keys) => this.#unheld(() => this.#keepOnly(keys, resource)),
      // Applied in order with the objects, because a kind is complete only when all objects of its list are in the
      // store.
      changed: (state) =>
        this.#unheld(() => {
          this.#logState(resource, told, state);
          told = state;
          this.#assess(resource.kind);
          if (state.problem === undefined) for (const reflector of this.#all()) reflector.hurry();
        }),
    };
    const { kind } = resource;
    const ofKind = observer && {
      listed: (milliseconds: number) => observer.listed(kind, milliseconds),
      restarted: (reason: RestartReason) => observer.restarted(kind, reason),
    };
    return new Reflector({ connection, resource, target, pace, observer: ofKind });
  }

  #set(raw: Record<string, unknown>, resource: ClusterResource): void {
    const object = readReceived(raw, resource, this.#options.keep());
    if (object === undefined) {
      this.#delete(raw, resource);
      return;
    }
    const there = this.#store.find(object.kind, keyOf(object));
    if (there !== undefined && isSameVersion(there, object)) return;
    const kept = withoutLastApplied(object);
    for (const store of this.#stores()) store.set(kept);
    if (decidesSettings(object) || (there !== undefined && decidesSettings(there))) this.#settle();
  }

  #delete(raw: Record<string, unknown>, { kind, served, owns }: ClusterResource): void {
    const key = keyFor(kind, { originKind: served.kind, ...nameIn(raw) });
    const there = this.#store.find(kind, key);
    // Both lists contain the ConfigMap `istio`, because istiod's chart also sets the revision label on it.
    if (there === undefined || there.implied || !owns(there)) return;
    if (this.#given.has(there)) return;
    for (const store of this.#stores()) store.delete(kind, key);
    this.#given.removed(there);
    if (decidesSettings(there)) this.#settle();
  }

  #keepOnly(keys: ReadonlySet<string>, resource: ClusterResource): void {
    const gone: AnyObject[] = [];
    for (const object of this.#store.all(resource.kind)) {
      const { namespace, name } = object.metadata;
      const isListed = object.implied || keys.has(`${namespace}/${name}`);
      if (!isListed && resource.owns(object) && !this.#given.has(object)) gone.push(object);
    }
    for (const object of gone) {
      for (const store of this.#stores()) store.delete(object.kind, keyOf(object));
      this.#given.removed(object);
    }
    if (gone.some(decidesSettings)) this.#settle();
  }

  #stores(): readonly MeshStore[] {
    return this.#next === undefined ? [this.#store] : [this.#store, this.#next];
  }

  /**
   * Settings are part of every key, so a change of them builds a new store. Until it is complete, the old one is
   * used.
   */
  #settle(): void {
    const settings = meshSettingsOf(settingsObjects(this.#store), this.#options.settings);
    const wanted = JSON.stringify(settings);
    if (wanted === JSON.stringify((this.#next ?? this.#store).settings)) return;
    this.#next = wanted === JSON.stringify(this.#store.settings) ? undefined : this.#emptyStore(settings);
    if (this.#next !== undefined) void this.#rebuild(this.#next);
  }

  /** Copies all objects. Changes that arrive meanwhile are written to both stores. */
  async #rebuild(next: MeshStore): Promise<void> {
    let copied = 0;
    for (const kind of allKinds)
      for (const object of this.#store.all(kind)) {
        if (!object.implied) next.set(object);
        if (++copied % copiedAtOnce === 0) await ownTurn();
        // The settings have changed again.
        if (this.#next !== next) return;
      }
    this.#store = next;
    this.#next = undefined;
    const { rootNamespace, trustDomain, revisions, tags } = next.settings;
    this.#options.log.info({ rootNamespace, trustDomain, revisions, tags }, "mesh settings changed");
  }

  /** The served resources of a kind; undefined until that is known for all of them. */
  #served(kind: Kind): readonly ServedResource[] | undefined {
    const reflectors = this.#reflectors.get(kind) ?? [];
    const existing = reflectors.filter(({ state }) => state.status !== "absent");
    const served = existing.flatMap(({ resource, version }) => (version === undefined ? [] : [{ resource, version }]));
    return served.length === 0 || served.length < existing.length ? undefined : served;
  }

  #assess(kind: Kind): void {
    this.#knowledge.set(kind, this.#stale.has(kind) ? lowered(this.#known(kind)) : this.#known(kind));
  }

  #known(kind: Kind): Knowledge {
    return knowledgeOf((this.#reflectors.get(kind) ?? []).map(({ state }) => state.status));
  }

  #silentMs(kind: Kind): number | undefined {
    let most: number | undefined = 0;
    for (const { silentMs } of this.#reflectors.get(kind) ?? [])
      most = silentMs === undefined || most === undefined ? undefined : Math.max(most, silentMs);
    return this.#reflectors.has(kind) ? most : undefined;
  }

  #blocking(kind: Kind): string | undefined {
    // After the first mesh config, the previous settings stay in use until the new store is complete.
    if (kind === "MeshConfig" && this.#next !== undefined && !this.#store.settings.seen)
      return "the mesh config is being applied";
    const loading = (this.#reflectors.get(kind) ?? []).filter(({ state }) => state.status === "loading");
    if (loading.length === 0) return undefined;
    const names = loading.map(({ resource }) => resource.title).join(", ");
    const why = loading.map(({ state }) => state.problem).find((problem) => problem !== undefined);
    return `not listed yet: ${names}${why === undefined ? "" : `: ${why}`}`;
  }

  #remark(kind: Kind): string | undefined {
    const missing = (this.#reflectors.get(kind) ?? []).flatMap(({ resource, state: { status } }) =>
      status === "absent" || status === "forbidden" ? [`${resource.title} ${status}`] : [],
    );
    const known = this.#knowledge.get(kind);
    const remarks = [known === "unknown" || missing.length > 0 ? [known, ...missing].join(", ") : ""];
    if (this.#stale.has(kind))
      remarks.push(`stale: the API server has sent nothing for ${Math.round((this.#silentMs(kind) ?? 0) / 1000)} s`);
    return remarks.filter((remark) => remark !== "").join("; ") || undefined;
  }

  #checkStaleness(): () => void {
    const { pace } = this.#options;
    const check = () => {
      this.#stopCheck = pace.after(stalenessCheckMs, check);
      this.#unheld(() => {
        for (const kind of this.#kinds) this.#checkKind(kind);
      });
    };
    return pace.after(stalenessCheckMs, check);
  }

  #checkKind(kind: Kind): void {
    const isLoaded = this.#known(kind) !== "unknown";
    const isStale = isLoaded && !this.isFresh(kind);
    if (isStale === this.#stale.has(kind)) return;
    if (isStale) this.#stale.add(kind);
    else this.#stale.delete(kind);
    this.#assess(kind);
    const { log, maxStalenessMs } = this.#options;
    if (isStale)
      log.warn(
        { kind, maxStalenessSeconds: maxStalenessMs / 1000 },
        "cached data is stale; findings based on it warn instead of deny",
      );
    else log.info({ kind }, "cached data is up to date again");
  }

  #logState({ title, kind }: ClusterResource, before: ReflectorState, now: ReflectorState): void {
    const { log } = this.#options;
    const resource = { kind, resource: title };
    if (now.status !== before.status) {
      if (now.status === "synced") log.info({ ...resource, objects: this.#store.count(kind) }, "resource is synced");
      else
        log.warn(
          { ...resource, reason: now.problem },
          `resource is ${now.status}; it is tried again at least every 40 s`,
        );
    } else if (now.problem !== undefined) this.#logProblem(resource, before.problem, now.problem);
    else this.#logRecovery(resource);
  }

  /** Logs one line when the API server becomes unreachable, not one for every resource. */
  #logProblem(resource: object, before: string | undefined, reason: string): void {
    const { log } = this.#options;
    const isLogged = before !== undefined || this.#all().filter(({ state }) => state.problem === reason).length > 1;
    if (isLogged) log.debug({ ...resource, reason }, "connection interrupted; retrying");
    else log.warn({ ...resource, reason }, "connection interrupted; retrying");
  }

  #logRecovery(resource: object): void {
    const { log } = this.#options;
    const others = this.#all().filter(({ state }) => state.status === "synced" && state.problem !== undefined);
    if (others.length === 0) log.info(resource, "connection resumed");
    else log.debug(resource, "connection resumed");
  }
}

const nameIn = ({ metadata }: Record<string, unknown>): { readonly namespace: string; readonly name: string } => {
  const [namespace = "", name = ""] = [member(metadata, "namespace"), member(metadata, "name")].map((part) =>
    typeof part === "string" ? part : "",
  );
  return { namespace, name };
};

/** Stale data may lack new objects and may still contain deleted ones. */
const lowered = (knowledge: Knowledge): Knowledge => (knowledge === "unknown" ? "unknown" : "partial");

/** The same version of an object, of which the same raw fields are kept. */
const isSameVersion = (a: AnyObject, b: AnyObject): boolean =>
  a.metadata.resourceVersion !== undefined &&
  a.metadata.resourceVersion === b.metadata.resourceVersion &&
  a.kept?.fields === b.kept?.fields;
