import { isDeepStrictEqual } from "node:util";
import { ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { backoffMs, type Pace, pause, systemPace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import type { RememberedResult } from "./first-seen.ts";
import { type KubeObject, ObjectClient, type Resource } from "./objects.ts";
import { managedBy, type ReportContent, source } from "./policy-reports.ts";
import {
  chosenGroups,
  definitions,
  type ReportChoice,
  type ReportGroup,
  servedGroups,
  type Tell,
} from "./report-groups.ts";
import { isOwnReport, rememberedIn, storedReports } from "./stored-reports.ts";

export type WriteResult = "written" | "deleted" | "conflict" | "failed";

export interface ReportWriterOptions {
  readonly connection: ClusterConnection;
  readonly choice: ReportChoice;
  /** The name of the ValidatingWebhookConfiguration that owns the reports, so that they go when Meshward is uninstalled. */
  readonly owner: string;
  /** Tells of each result in reports that are there. */
  readonly learn: (result: RememberedResult) => void;
  /** Tells that all of them were read, and whether the cluster has definitions of reports that this writer writes. */
  readonly read: (isKept: boolean) => void;
  readonly counted?: (group: ReportGroup, result: WriteResult, bytes: number) => void;
  readonly log: Log;
  readonly pace?: Pace;
}

/** Makes the content of all reports with what is known by then. */
export type Contents = () => Promise<readonly ReportContent[]>;

/** A report that the API server has, and to which of the groups it belongs. */
interface Stored {
  readonly group: ReportGroup;
  readonly object: KubeObject;
}

/** A write was refused because someone else has written in between. */
class Outdated extends Error {}

/**
 * Keeps the reports in the API server equal to the newest content. It writes only what differs, reads again what someone
 * else has changed, and tries again what fails until newer content arrives. Never writes a report that it does not own.
 */
export class ReportWriter {
  readonly #options: Required<ReportWriterOptions>;
  readonly #clients = new Map<string, ObjectClient>();
  readonly #signal: AbortSignal;
  /** Undefined: to be read first. */
  #stored: Map<string, Stored> | undefined;
  #groups: readonly ReportGroup[] = [];
  #owner: object | undefined;
  #wanted: Contents | undefined;
  #running: Promise<void> | undefined;
  #wakeUp = new AbortController();
  readonly #told = new Set<string>();
  /** What the reports contain, or should. */
  #newest: Contents | undefined;
  #stopVerifying: (() => void) | undefined;

  /** Stops when the signal is aborted: this replica no longer leads. */
  constructor(options: ReportWriterOptions, signal: AbortSignal) {
    this.#options = { pace: systemPace, counted: () => undefined, ...options };
    this.#signal = signal;
  }

  /** Reads the reports that are there, so that findings keep the time at which they were first seen. Never rejects. */
  async read(): Promise<void> {
    try {
      await this.#stores();
    } catch (error) {
      this.#tellProblem("the reports that exist cannot be read", error);
    }
  }

  /**
   * Sets what the reports have to contain, and returns at once. `isThorough`: reads all reports again first, in case someone
   * has changed or deleted one.
   */
  write(contents: Contents, isThorough: boolean): void {
    if (this.#options.choice === "none" || this.#signal.aborted) return;
    this.#wanted = contents;
    this.#newest = contents;
    if (isThorough) this.#stored = undefined;
    this.#wakeUp.abort();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      this.#verifyLater();
    });
  }

  /**
   * The garbage collector deletes all reports if someone deletes their owner and creates it again, and definitions of
   * reports come and go. Other writes in between do not put this off.
   */
  #verifyLater(): void {
    if (this.#signal.aborted || this.#stopVerifying !== undefined) return;
    const afterMs = this.#groups.length === 0 ? withoutDefinitionsMs : verificationMs;
    const stop = this.#options.pace.after(afterMs, () => {
      this.#signal.removeEventListener("abort", stop);
      this.#stopVerifying = undefined;
      if (this.#newest !== undefined) this.write(this.#newest, true);
    });
    this.#stopVerifying = stop;
    this.#signal.addEventListener("abort", stop, { once: true });
  }

  /** Resolves when nothing is being written any more. Never rejects. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { pace } = this.#options;
    for (let failures = 0; this.#wanted !== undefined && !this.#signal.aborted; ) {
      const contents = this.#wanted;
      this.#wakeUp = new AbortController();
      const isDone = await this.#attempt(contents, failures);
      if (isDone && this.#wanted === contents) this.#wanted = undefined;
      if (isDone) failures = 0;
      else {
        failures++;
        const woken = AbortSignal.any([this.#signal, this.#wakeUp.signal]);
        const delayMs = failures > mostQuickRetries ? slowRetryMs : backoffMs(failures, pace.random());
        await pause(pace, delayMs, woken);
      }
    }
  }

  async #attempt(contents: Contents, failures: number): Promise<boolean> {
    try {
      const stored = await this.#stores();
      if (this.#groups.length === 0 && stored.size === 0) return true;
      const written = await this.#apply(await contents(), stored);
      if (written) this.#told.clear();
      return written;
    } catch (error) {
      if (this.#signal.aborted) return true;
      this.#stored = undefined;
      if (!(error instanceof Outdated)) this.#tellProblem("reports cannot be written; trying again", error);
      else if (failures >= mostConflicts) this.#tellProblem("reports are changed by someone else all the time", error);
      return false;
    }
  }

  /** The reports in the API server, which are read once. */
  async #stores(): Promise<Map<string, Stored>> {
    if (this.#stored !== undefined) return this.#stored;
    const { connection, choice, owner } = this.#options;
    const tell: Tell = (fields, message) => this.#tell(fields, message);
    const served = await servedGroups(connection, tell);
    this.#groups = chosenGroups(choice, served, tell);
    this.#owner = await ownerReference(owner, connection, tell);
    const stored = new Map<string, Stored>();
    for (const group of served)
      for (const object of await storedReports(connection, group)) {
        stored.set(keyOf(group, object.metadata), { group, object });
        for (const result of rememberedIn(object)) this.#options.learn(result);
      }
    this.#options.read(this.#groups.length > 0);
    this.#stored = stored;
    return stored;
  }

  /** Returns whether everything could be written. */
  async #apply(contents: readonly ReportContent[], stored: Map<string, Stored>): Promise<boolean> {
    let isComplete = true;
    const wanted = new Set<string>();
    for (const group of this.#groups)
      for (const content of contents) {
        const key = keyOf(group, content);
        wanted.add(key);
        isComplete = (await this.#put(group, content, key, stored)) && isComplete;
      }
    for (const [key, { group, object }] of stored)
      if (!wanted.has(key)) isComplete = (await this.#delete(group, object, key, stored)) && isComplete;
    return isComplete;
  }

  async #put(group: ReportGroup, content: ReportContent, key: string, stored: Map<string, Stored>): Promise<boolean> {
    const there = stored.get(key)?.object;
    const next = this.#objectOf(group, content, there);
    if (there !== undefined && isSame(there, next)) return true;
    const client = this.#client(this.#resourceOf(group, content.namespace));
    const options = { signal: this.#signal, fieldManager: source };
    const object = await this.#tried(group, next, () =>
      there === undefined ? this.#create(client, next) : client.replace(next, options),
    );
    if (object === undefined) return false;
    stored.set(key, { group, object });
    return true;
  }

  /** A report of this name that Meshward does not own is left alone. */
  async #create(client: ObjectClient, next: KubeObject): Promise<KubeObject> {
    const { signal, name, namespace } = { signal: this.#signal, ...next.metadata };
    try {
      return await client.create(next, { signal, fieldManager: source });
    } catch (error) {
      if (!(error instanceof ClusterError) || error.fault !== "exists") throw error;
      const there = await client.get(namespace === undefined ? { name } : { namespace, name }, { signal });
      if (isOwnReport(there)) throw error;
      throw new ClusterError(
        "invalid",
        `${client.resource.kind} ${namespace === undefined ? name : `${namespace}/${name}`} exists and has not the label app.kubernetes.io/managed-by=meshward, so it is left alone; delete or rename it`,
      );
    }
  }

  async #delete(group: ReportGroup, { metadata }: KubeObject, key: string, stored: Map<string, Stored>) {
    const { namespace = "", name, uid, resourceVersion } = metadata;
    const client = this.#client(this.#resourceOf(group, namespace));
    const at = namespace === "" ? { name } : { namespace, name };
    const preconditions = {
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    const isGone = await this.#tried(group, undefined, async () => {
      await client.delete(at, preconditions, { signal: this.#signal }).catch((error: unknown) => {
        if (!(error instanceof ClusterError) || error.fault !== "absent") throw error;
      });
      return true;
    });
    if (isGone === true) stored.delete(key);
    return isGone === true;
  }

  /** Undefined: the API server refused it, and does so until something changes. Throws Outdated, and what concerns all writes. */
  async #tried<T>(group: ReportGroup, object: KubeObject | undefined, write: () => Promise<T>): Promise<T | undefined> {
    const { counted, connection } = this.#options;
    const bytes = object === undefined ? 0 : Buffer.byteLength(JSON.stringify(object));
    try {
      if (this.#signal.aborted) throw new ClusterError("unreachable", "this replica no longer leads");
      const result = await write();
      counted(group, object === undefined ? "deleted" : "written", bytes);
      return result;
    } catch (error) {
      const failure = requestError(connection.server, error);
      if (["conflict", "exists", "absent"].includes(failure.fault)) {
        counted(group, "conflict", 0);
        throw new Outdated(failure.message);
      }
      if (this.#signal.aborted || !["forbidden", "invalid", "failed"].includes(failure.fault)) throw failure;
      counted(group, "failed", 0);
      this.#tellProblem(`a report of ${group} cannot be written`, failure);
      return undefined;
    }
  }

  #objectOf(group: ReportGroup, content: ReportContent, there: KubeObject | undefined): KubeObject {
    const { namespace, name, results, summary, unlisted } = content;
    const { [unlistedFindings]: _old, ...annotations } = there?.metadata.annotations ?? {};
    return {
      metadata: {
        ...there?.metadata,
        name,
        ...(namespace === "" ? {} : { namespace }),
        labels: { ...there?.metadata.labels, ...managedBy },
        annotations: unlisted === 0 ? annotations : { ...annotations, [unlistedFindings]: String(unlisted) },
        ...(this.#owner === undefined ? {} : { ownerReferences: [this.#owner] }),
      },
      ...definitions[group].fields,
      results,
      summary,
    };
  }

  #resourceOf(group: ReportGroup, namespace: string): Resource {
    return namespace === "" ? definitions[group].cluster : definitions[group].namespaced;
  }

  #client(resource: Resource): ObjectClient {
    const key = `${resource.group}/${resource.plural}`;
    const known = this.#clients.get(key) ?? new ObjectClient(this.#options.connection, resource);
    this.#clients.set(key, known);
    return known;
  }

  #tellProblem(what: string, error: unknown): void {
    if (!this.#signal.aborted) this.#tell({ error: error instanceof Error ? error.message : String(error) }, what);
  }

  /** Each line once, until everything could be written. */
  #tell(fields: object, message: string): void {
    const line = `${message} ${JSON.stringify(fields)}`;
    if (this.#told.has(line)) return;
    this.#told.add(line);
    this.#options.log.warn(fields, message);
  }
}

/** How often the reports are read again, in milliseconds. */
const verificationMs = 5 * 60_000;
/** How often is asked whether there are definitions of reports now. */
const withoutDefinitionsMs = 30_000;
/** What fails more often, such as a missing permission, is tried again slowly. */
const mostQuickRetries = 6;
const slowRetryMs = 5 * 60_000;
/** After so many conflicts in a row, another writer is reported. */
const mostConflicts = 3;

/** The annotation with the number of findings that no report of the namespace lists. */
export const unlistedFindings = "meshward.io/unlisted-findings";

const webhookConfigurations: Resource = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind: "ValidatingWebhookConfiguration",
  plural: "validatingwebhookconfigurations",
  namespaced: false,
};

/** A cluster-scoped owner, because one report is in no namespace. Without it, reports have no owner. */
async function ownerReference(name: string, connection: ClusterConnection, tell: Tell): Promise<object | undefined> {
  try {
    const { metadata } = await new ObjectClient(connection, webhookConfigurations).get({ name });
    const { group, version, kind } = webhookConfigurations;
    return { apiVersion: `${group}/${version}`, kind, name, uid: metadata.uid };
  } catch (error) {
    const fault = error instanceof ClusterError ? error.fault : undefined;
    if (fault !== "absent" && fault !== "forbidden") throw error;
    tell(
      { owner: `ValidatingWebhookConfiguration ${name}`, reason: fault },
      "the owner of the reports cannot be read, so they stay when Meshward is uninstalled: kubectl delete reports,clusterreports,policyreports,clusterpolicyreports -A -l app.kubernetes.io/managed-by=meshward deletes them",
    );
    return undefined;
  }
}

const keyOf = (group: ReportGroup, { namespace = "", name }: { namespace?: string; name: string }): string =>
  `${group} ${namespace}/${name}`;

/** Whether a report has what it should have. Other fields belong to others. */
function isSame(there: KubeObject, next: KubeObject): boolean {
  const parts = ({ metadata, ...report }: KubeObject) => ({
    labels: metadata.labels,
    annotations: metadata.annotations ?? {},
    owners: (metadata as { readonly ownerReferences?: unknown }).ownerReferences ?? [],
    results: report["results"],
    summary: report["summary"],
    source: report["source"],
  });
  return isDeepStrictEqual(parts(there), parts(next));
}
