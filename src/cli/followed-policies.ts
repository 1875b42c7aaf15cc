import type { PolicyObjectState } from "../controllers/policy-status.ts";
import type { ReadinessCheck } from "../http/readiness.ts";
import type { AnyObject } from "../kube/object.ts";
import type { PolicyDocument } from "../policy/documents.ts";
import { isExpired } from "../policy/expiry.ts";
import { loadPolicies, type PolicyError, readAhead } from "../policy/load.ts";
import { remembered, textOf } from "../policy/document-text.ts";
import type { Policies } from "../policy/policies.ts";
import { continued } from "../policy/vanished.ts";
import { rules } from "../rules/index.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import type { Pace } from "../sources/cluster/pace.ts";
import { type PolicyObject, PolicyObjects } from "../sources/cluster/policy-objects.ts";
import type { ReflectorState } from "../sources/cluster/reflector.ts";
import { DocumentMemory } from "../sources/manifests/document-memory.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { inSlices } from "../sources/manifests/slices.ts";
import { treeSignatures } from "../sources/manifests/tree-signature.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../tls/clock.ts";
import { continuedIntents, type Intent, intentsOf, tellFaults, tellIntents } from "./followed-intents.ts";
import { documentsOf, type PolicyOptions, profileOf, type Remembering } from "./policy-options.ts";
import { defaultsOf, keptMessage, messageFor, some, tellReload, warnOfLongExceptions } from "./policy-reload-log.ts";
import type { MeshSettings } from "../view/settings.ts";
import { definitionFor, loadedDefinition } from "./rule-definition.ts";
import { shownError } from "./source-errors.ts";

/** How often the files are looked at. They are read only if they have changed. */
const pollMs = 500;
/** With more files than this, they are looked at less often, so that looking costs little. */
const filesPerLook = 2_000;
export interface FollowedPolicies {
  readonly current: () => Policies;
  /** The MeshwardIntents in the files, which are objects of the mesh. */
  readonly intents: () => readonly AnyObject[];
  /** The objects of the cluster; undefined without `cluster`, and until they were listed. */
  readonly objects: () => readonly PolicyObjectState[] | undefined;
  /** `listener` is called after each change of `current` or `objects`. */
  onChange(listener: () => void): void;
  readonly checks: readonly ReadinessCheck[];
  /** Reads the files now, whether they have changed or not. */
  reload(): void;
  close(): Promise<void>;
}

export interface Following {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "policyReload" | "watchPolicies" | "policyObjects">;
  readonly clock: Clock;
  /** Those of the mesh, on which it depends what an intent may be about. */
  readonly settings?: () => MeshSettings;
  /** Follows MeshwardPolicy and MeshwardException objects too. */
  readonly cluster?: { readonly connection: ClusterConnection; readonly pace?: Pace } | undefined;
}

/** What was read at the start. */
export interface PoliciesAtStart {
  readonly policies: Policies;
  readonly documents: readonly Manifest[];
  /** The state of the files before they were read, and what was read of them; without it, they are read once more. */
  readonly files?: { readonly signature: string; readonly memory: DocumentMemory } | undefined;
}

/**
 * Follows the files of `--policies` and the objects of a cluster, without a restart. Always a whole set is in force.
 *
 * - Files: if one cannot be read or is invalid, the documents of all files stay as they were. A MeshwardPolicy or a MeshwardIntent
 *   that is missing stays in force if less would be protected without it.
 * - Objects: an invalid one stays as it was in its last valid generation, and does not keep others from changing, because not
 *   everybody who may write exceptions should be able to stop the policies of a cluster.
 *
 * What a document says is taken, and logged as an error if it protects less.
 */
export function followPolicies(options: PolicyOptions, start: PoliciesAtStart, following: Following): FollowedPolicies {
  return new Followed(options, start, following);
}

class Followed implements FollowedPolicies {
  readonly #options: PolicyOptions & Remembering;
  readonly #following: Following;
  readonly #listeners: (() => void)[] = [];
  readonly #cluster: PolicyObjects | undefined;
  readonly #stop: () => void;
  #current: Policies;
  /** The documents of all files as they were last read without an error. */
  #files: readonly Manifest[];
  #intents: readonly Intent[];
  #keptIntents: readonly Intent[] = [];
  #signature: string | undefined;
  /** The number of times that a look is left out. */
  #left = 0;
  #isReading = false;
  #fileProblem: string | undefined;
  #lastRead: string;
  /** When everything was last read without an error. */
  #loadedAtMs: number;
  #keptCount = 0;
  #missing = "";
  /** The titles of the objects of the cluster, when policies were last replaced. */
  #ofCluster: ReadonlySet<string> = new Set();
  #objects: readonly PolicyObjectState[] | undefined;
  /** The last valid generation of each object. */
  readonly #valid = new Map<string, PolicyObject>();
  #told = new Map<string, string>();
  #states = new Map<string, ReflectorState>();

  constructor(options: PolicyOptions, { policies, documents, files }: PoliciesAtStart, following: Following) {
    this.#options = { ...options, memory: files?.memory ?? new DocumentMemory() };
    this.#signature = files?.signature;
    this.#following = following;
    this.#current = policies;
    this.#files = documents;
    this.#intents = intentsOf(documents);
    this.#lastRead = fingerprint(policies);
    warnOfLongExceptions(policies, following);
    tellFaults(this.#intents, following);
    this.#loadedAtMs = following.clock.now();
    following.metrics.watchPolicies(() => this.#counts());
    this.#stop = following.clock.every(pollMs, () => this.#look(false));
    const { cluster } = following;
    this.#cluster = cluster && new PolicyObjects({ ...cluster, changed: () => this.#clusterChanged() });
  }

  /** Functions of their own, because they are passed on without the object. */
  readonly current = (): Policies => this.#current;
  readonly intents = (): readonly AnyObject[] => this.#intents;
  readonly objects = (): readonly PolicyObjectState[] | undefined => this.#objects;

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  get checks(): readonly ReadinessCheck[] {
    const files: ReadinessCheck = {
      name: "policies",
      problem: () => undefined,
      note: () =>
        this.#fileProblem === undefined ? undefined : `not reloaded: ${some(this.#fileProblem.split("\n")).join("; ")}`,
    };
    if (this.#cluster === undefined) return [files];
    return [files, { name: "policies of the cluster", problem: () => this.#loading(), note: () => this.#remark() }];
  }

  reload(): void {
    this.#look(true);
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#cluster?.close();
  }

  #counts() {
    const { documents, exceptions } = this.#current;
    const now = new Date(this.#following.clock.now());
    const expired = exceptions.filter((exception) => isExpired(exception, now)).length;
    return {
      policies: { loaded: documents.length - this.#keptCount, kept: this.#keptCount + this.#keptIntents.length },
      exceptions: { active: exceptions.length - expired, expired },
      loadedAtMs: this.#loadedAtMs,
    };
  }

  #look(isAsked: boolean): void {
    const { policies } = this.#options;
    const { log } = this.#following;
    if (policies === undefined || this.#isReading || (!isAsked && this.#left-- > 0)) return;
    this.#isReading = true;
    void this.#readIfChanged(policies, isAsked)
      .catch((error: unknown) => log.error({ problem: String(error) }, "policies could not be reloaded"))
      .finally(() => {
        this.#isReading = false;
      });
  }

  /** What changes while it is read is read again later, so that no half of a set is taken. */
  async #readIfChanged(paths: readonly string[], isAsked: boolean): Promise<void> {
    const before = await treeSignatures(paths);
    this.#left = Math.floor(before.split("\n").length / filesPerLook);
    if (before === this.#signature && !isAsked) {
      if (this.#fileProblem === undefined) this.#loadedAtMs = this.#following.clock.now();
      return;
    }
    const { documents: read, errors } = await documentsOf(this.#options);
    const documents = await inSlices(unchangedAsBefore(read, this.#files));
    const define = await definitionFor(documents);
    if (errors.length === 0) await inSlices(readAhead(documents, rules, define));
    if ((await treeSignatures(paths)) !== before) return;
    this.#signature = before;
    this.#takeFiles(documents, errors.map(shownError));
  }

  #takeFiles(documents: readonly Manifest[], unread: readonly string[]): void {
    const previous = this.#files;
    this.#files = documents;
    const built = unread.length > 0 ? undefined : this.#build();
    const problem = [...unread, ...invalidFiles(built)].join("\n") || undefined;
    if (problem !== undefined) this.#files = previous;
    const { log, metrics } = this.#following;
    if (problem !== undefined && problem !== this.#fileProblem) {
      metrics.policyReload("refused");
      log.error({ problem }, "policies were not reloaded; the previous ones stay in force");
    }
    if (problem === undefined && this.#fileProblem !== undefined)
      log.info({}, "the files of the policies are valid again");
    this.#fileProblem = problem;
    if (problem !== undefined) return;
    this.#takeIntents(intentsOf(documents));
    this.#loadedAtMs = this.#following.clock.now();
    this.#take(built);
  }

  #takeIntents(read: readonly Intent[]): void {
    const previous = this.#intents;
    const { intents, kept } = continuedIntents(previous, read, this.#following);
    tellIntents({ previous, intents, kept, keptBefore: this.#keptIntents }, this.#following);
    this.#keptIntents = kept;
    this.#intents = intents;
  }

  /** All documents; of an invalid object, its last valid generation. */
  #build() {
    const { profile, pin } = profileOf(this.#options.profile);
    const { define } = loadedDefinition([]);
    const load = (objects: readonly PolicyObject[]) =>
      loadPolicies([...this.#files, ...objects], rules, profile, { pin, define });
    const objects = this.#cluster?.objects ?? [];
    const loaded = load(objects);
    const problems = problemsByObject(loaded.errors);
    if (problems.size === 0) return { ...loaded, problems };
    const valid = objects.flatMap((object) =>
      problems.has(object) ? (this.#valid.get(idOf(object)) ?? []) : [object],
    );
    return { policies: load(valid).policies, errors: loaded.errors, problems };
  }

  #clusterChanged(): void {
    this.#tellStates();
    const objects = this.#cluster?.objects;
    if (objects === undefined) return;
    // Nothing is taken before what defines rules is loaded, once; more may have changed until then.
    if (loadedDefinition(objects).isMissing) void definitionFor(objects).then(() => this.#clusterChanged());
    else this.#take();
  }

  #take({ policies: read, problems } = this.#build()): void {
    this.#noteObjects(problems);
    const text = fingerprint(read);
    if (text !== this.#lastRead) {
      this.#lastRead = text;
      this.#replace(read);
    }
    for (const listener of this.#listeners) listener();
  }

  #replace(read: Policies): void {
    const { log } = this.#following;
    const isDeleted = ({ title }: PolicyDocument) => this.#ofCluster.has(title);
    const { policies: next, kept } = continued(this.#current, read, defaultsOf(this.#current), isDeleted);
    const titles = kept.map(({ title }) => title);
    this.#keptCount = kept.length;
    if (titles.join() !== this.#missing && kept.length > 0) log.error({ documents: some(titles) }, keptMessage);
    this.#missing = titles.join();
    this.#ofCluster = new Set(this.#cluster?.objects?.map(idOf));
    if (fingerprint(next) === fingerprint(this.#current)) return;
    const previous = this.#current;
    this.#current = next;
    tellReload(previous, next, this.#following);
    warnOfLongExceptions(next, this.#following);
  }

  #noteObjects(problems: ReadonlyMap<PolicyObject, string>): void {
    const objects = this.#cluster?.objects;
    if (objects === undefined) return;
    const there = new Set(objects.map(idOf));
    for (const id of this.#valid.keys()) if (!there.has(id)) this.#valid.delete(id);
    this.#objects = objects.map((object) => {
      const problem = problems.get(object);
      if (problem === undefined) this.#valid.set(idOf(object), object);
      return { object, problem, inForce: this.#valid.get(idOf(object))?.generation };
    });
    this.#tellProblems(problems);
    const broken = this.#objects.filter(({ problem }) => problem !== undefined);
    this.#following.metrics.policyObjects({ valid: objects.length - broken.length, broken: broken.length });
  }

  #tellProblems(problems: ReadonlyMap<PolicyObject, string>): void {
    const { log, metrics } = this.#following;
    const now = new Map([...problems].map(([object, problem]) => [idOf(object), problem]));
    for (const [id, problem] of now) {
      if (this.#told.get(id) === problem) continue;
      metrics.policyReload("refused");
      const left = this.#valid.has(id) ? "its last valid generation stays in force" : "it has no effect";
      log.error({ document: id, problem }, `a policy object of the cluster is invalid; ${left}`);
    }
    const there = new Set(this.#cluster?.objects?.map(idOf));
    for (const id of this.#told.keys())
      if (!now.has(id))
        log.info(
          { document: id },
          there.has(id) ? "the policy object is valid again" : "the invalid policy object is gone",
        );
    this.#told = now;
  }

  #tellStates(): void {
    const { log } = this.#following;
    for (const [resource, state] of this.#cluster?.states ?? []) {
      const before = this.#states.get(resource);
      this.#states.set(resource, state);
      if (before?.status === state.status && before.problem === state.problem) continue;
      const fields = { resource, reason: state.problem };
      if (state.status === "synced" && state.problem === undefined) log.info(fields, "policy documents are followed");
      else if (state.problem !== undefined) log.warn(fields, messageFor(state));
    }
  }

  #loading(): string | undefined {
    const states = this.#cluster?.states ?? [];
    const loading = states.filter(([, { status }]) => status === "loading");
    if (loading.length === 0) return this.#objects === undefined ? "policy documents are being read" : undefined;
    const why = loading.map(([, { problem }]) => problem).find((problem) => problem !== undefined);
    return `not listed yet: ${loading.map(([resource]) => resource).join(", ")}${why === undefined ? "" : `: ${why}`}`;
  }

  #remark(): string | undefined {
    const states = (this.#cluster?.states ?? []).flatMap(([resource, { status, problem }]) =>
      status === "absent" || status === "forbidden" ? [`${resource} ${status}`] : (problem ?? []),
    );
    const broken = [...this.#told].map(([id, problem]) => `${id}: ${problem}`);
    return [...states, ...some(broken)].join("; ") || undefined;
  }
}

/** Every problem of an object, in one line. */
function problemsByObject(errors: readonly PolicyError[]): ReadonlyMap<PolicyObject, string> {
  const problems = new Map<PolicyObject, string>();
  for (const { source, problem } of errors) {
    if (!isOfCluster(source)) continue;
    const known = problems.get(source);
    problems.set(source, known === undefined ? problem : `${known}; ${problem}`);
  }
  return problems;
}

const invalidFiles = (built: { readonly errors: readonly PolicyError[] } | undefined): readonly string[] =>
  built?.errors.filter(({ source }) => !isOfCluster(source)).map(shownError) ?? [];

const isOfCluster = (source: PolicyError["source"]): source is PolicyObject => "resourceVersion" in source;
const idOf = ({ kind, namespace, name }: PolicyObject): string =>
  `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;

/** Empty: it is nested too deeply to be compared. */
const textOfRaw = remembered((raw: Manifest["raw"]) => {
  try {
    return JSON.stringify(raw);
  } catch {
    return "";
  }
});

/** These documents, with the same `raw` as before if they say the same, so that only what is new is validated. */
function* unchangedAsBefore(
  documents: readonly Manifest[],
  before: readonly Manifest[],
): Generator<void, readonly Manifest[]> {
  const known = new Map<string, Manifest["raw"]>();
  for (const { raw } of before) {
    if (textOfRaw(raw) !== "") known.set(textOfRaw(raw), raw);
    yield;
  }
  const found: Manifest[] = [];
  for (const document of documents) {
    const raw = known.get(textOfRaw(document.raw));
    found.push(raw === undefined ? document : { ...document, raw });
    yield;
  }
  return found;
}

const textOfException = remembered((exception: Policies["exceptions"][number]) => JSON.stringify(exception));
const fingerprint = ({ documents, exceptions }: Policies): string =>
  [...documents.map((document: PolicyDocument) => textOf(document)), ...exceptions.map(textOfException)].join("\n");
