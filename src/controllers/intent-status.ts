import { isObject } from "../kube/read.ts";
import { kinds, type Served } from "../kube/kinds.ts";
import { readObject } from "../kube/object.ts";
import { keyOf } from "../kube/identity.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type Pace, systemPace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import type { AuditOutcome, Turn } from "./background-audit.ts";
import { type Condition, conditionsIn, withTimes } from "./conditions.ts";
import { type IntentRules, intentStates, type IntentState } from "./intent-states.ts";
import { type KubeObject, ObjectClient, type ObjectName } from "./objects.ts";

export interface IntentStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly [Condition<"Held">];
}

export interface IntentStatusOptions {
  readonly connection: ClusterConnection;
  readonly rules: IntentRules;
  readonly log: Log;
  readonly pace?: Pace;
  readonly now?: () => Date;
}

/** What could not be written yet is tried again after this time. */
const retryMs = 20_000;
/** A status in which only the message differs is written at most this often: another request may show the same. */
const messageMs = 60_000;
/** After a refusal nothing is written for this long. */
const refusedMs = 10 * 60_000;

/**
 * Writes the condition `Held` of the MeshwardIntents of the cluster after each audit while this replica leads, and only what
 * differs. A status is about the spec that was audited: of an object that has another one by now, nothing is written before the
 * next audit.
 */
export class IntentStatusWriter {
  readonly #options: Required<IntentStatusOptions>;
  readonly #client: ObjectClient;
  #isLeading = false;
  #isClosed = false;
  #states: ReadonlyMap<string, IntentState> = new Map();
  /** The states that are known to be stored. */
  #stored = new Map<string, string>();
  #isListDue = false;
  readonly #writtenAt = new Map<string, number>();
  #running: Promise<void> | undefined;
  #isAgainDue = false;
  #stopTimer: (() => void) | undefined;
  #refusedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: IntentStatusOptions) {
    this.#options = { pace: systemPace, now: () => new Date(), ...options };
    const { versions, ...served } = kinds.MeshwardIntent.served[0] as Served;
    this.#client = new ObjectClient(options.connection, { ...served, version: versions[0] ?? "" });
  }

  /** Called by the election. */
  lead(isLeading: boolean): void {
    this.#isLeading = isLeading;
    this.#states = new Map();
    this.#stored = new Map();
  }

  /** Takes what an audit found. Nothing waits for the writes. */
  async audited(outcome: AuditOutcome, turn: Turn): Promise<void> {
    const states = await intentStates(outcome, this.#options.rules, turn);
    if (!this.#isLeading) return;
    this.#states = states;
    for (const key of this.#stored.keys()) if (!states.has(key)) this.#stored.delete(key);
    for (const key of this.#writtenAt.keys()) if (!states.has(key)) this.#writtenAt.delete(key);
    // A change of a status by others is no change of the mesh, so all are read now and then.
    if (outcome.trigger !== "change") this.#isListDue = states.size > 0;
    this.#schedule(0);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer?.();
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed || !this.#isLeading) return;
    if (this.#running !== undefined) {
      this.#isAgainDue = true;
      return;
    }
    this.#stopTimer?.();
    this.#stopTimer = this.#options.pace.after(delayMs, () => {
      this.#stopTimer = undefined;
      this.#running = this.#write().then((isDone) => this.#ended(isDone));
    });
  }

  #ended(isDone: boolean): void {
    this.#running = undefined;
    const isAgainDue = this.#isAgainDue;
    this.#isAgainDue = false;
    if (isAgainDue) this.#schedule(0);
    else if (!isDone) this.#schedule(retryMs);
  }

  /** Never rejects. False: something is left to be written. */
  async #write(): Promise<boolean> {
    if (this.#options.pace.now() < this.#refusedUntil) return false;
    try {
      let isDone = true;
      for await (const raw of this.#due()) {
        if (!this.#isLeading || this.#isClosed) return true;
        isDone = (await this.#update(raw)) && isDone;
      }
      return isDone;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** The objects whose statuses may differ, as they are stored. */
  async *#due(): AsyncGenerator<KubeObject, undefined> {
    if (this.#isListDue) {
      const { items } = await this.#client.list();
      this.#isListDue = false;
      yield* items;
      return;
    }
    for (const [key, state] of this.#states) {
      if (this.#stored.get(key) === textOf(state)) continue;
      const { namespace, name } = state.intent.metadata;
      const raw = await this.#find({ namespace, name });
      if (raw !== undefined) yield raw;
    }
  }

  /** False: the status has to be written later. */
  async #update(raw: KubeObject): Promise<boolean> {
    const { pace, now } = this.#options;
    const intent = readObject("MeshwardIntent", raw);
    const key = keyOf(intent);
    const state = this.#states.get(key);
    // What was audited is not what is stored now: the next audit has it.
    if (state === undefined || !isSame(state.intent, intent)) return true;
    const status = statusOf(state, raw.metadata.generation ?? 0);
    const difference = differenceOf(raw["status"], status);
    if (difference === "message" && pace.now() - (this.#writtenAt.get(key) ?? Number.NEGATIVE_INFINITY) < messageMs)
      return false;
    if (difference !== "none") {
      const { namespace, name, resourceVersion } = intent.metadata;
      const body = { metadata: { resourceVersion }, status: withTimes(status, raw["status"], now()) };
      const options = { subresource: "status", fieldManager: "meshward" } as const;
      const isWritten = await this.#client.patch({ namespace, name }, "merge", body, options).then(
        () => true,
        (error: unknown) => this.#isOver(error, { namespace, name }),
      );
      if (!isWritten) return false;
      this.#writtenAt.set(key, pace.now());
    }
    this.#stored.set(key, textOf(state));
    return true;
  }

  /** Whether an object that could not be written is gone. One that has changed is read again; everything else is thrown. */
  async #isOver(error: unknown, at: ObjectName): Promise<boolean> {
    if (!(error instanceof ClusterError)) throw error;
    if (error.fault === "conflict") return false;
    if (error.fault !== "absent") throw error;
    if ((await this.#find(at)) === undefined) return true;
    throw new NoStatus("the definition of MeshwardIntent has no status: apply deploy/crds of this version");
  }

  async #find(at: ObjectName): Promise<KubeObject | undefined> {
    try {
      return await this.#client.get(at);
    } catch (error) {
      if (error instanceof ClusterError && error.fault === "absent") return undefined;
      throw error;
    }
  }

  #failed(error: unknown): void {
    const { pace, log } = this.#options;
    const isRefused = error instanceof NoStatus || (error instanceof ClusterError && error.fault === "forbidden");
    if (isRefused) this.#refusedUntil = pace.now() + refusedMs;
    const reason = error instanceof Error ? error.message : String(error);
    log.warn({ error: reason }, "the status of an intent was not written");
  }
}

class NoStatus extends Error {}

type Intent = IntentState["intent"];
const isSame = (audited: Intent, stored: Intent): boolean =>
  audited.metadata.uid === stored.metadata.uid && JSON.stringify(audited.spec) === JSON.stringify(stored.spec);

/** What a state is and what it is about: the same text needs no other status. */
const textOf = ({ intent, ...state }: IntentState): string => JSON.stringify([intent.metadata.uid, intent.spec, state]);

const statusOf = ({ status, reason, message }: IntentState, observedGeneration: number): IntentStatus => ({
  observedGeneration,
  conditions: [{ type: "Held", status, reason, message, observedGeneration }],
});

function differenceOf(stored: unknown, wanted: IntentStatus): "none" | "message" | "meaning" {
  const read = {
    observedGeneration: isObject(stored) ? stored["observedGeneration"] : undefined,
    conditions: conditionsIn(stored),
  };
  if (JSON.stringify(read) === JSON.stringify(wanted)) return "none";
  const meaning = ({ observedGeneration, conditions }: typeof read) =>
    JSON.stringify([observedGeneration, conditions.map((one) => ({ ...one, message: "" }))]);
  return meaning(read) === meaning(wanted) ? "message" : "meaning";
}
