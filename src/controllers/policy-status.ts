import { setImmediate as nextTurn } from "node:timers/promises";
import { namespaceOf } from "../engine/setting.ts";
import { namespaceKey } from "../kube/identity.ts";
import { allKinds } from "../kube/kinds.ts";
import { isObject } from "../kube/read.ts";
import { documentKinds, type Exception, type PolicyDocument } from "../policy/documents.ts";
import { type ExceptionRemark, exceptionRemarks } from "../policy/exception-states.ts";
import { covers } from "../policy/match.ts";
import { Policies } from "../policy/policies.ts";
import { compileSelector } from "../policy/scopes.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { type Pace, systemPace } from "../sources/cluster/pace.ts";
import type { PolicyObject } from "../sources/cluster/policy-objects.ts";
import type { Log } from "../telemetry/log.ts";
import type { MeshStore } from "../view/store.ts";
import type { Mesh } from "../view/view.ts";
import { type Condition, conditionsIn, withTimes } from "./conditions.ts";
import { ObjectClient } from "./objects.ts";

/** An object of the cluster, and what became of it. */
export interface PolicyObjectState {
  readonly object: PolicyObject;
  /** Why this generation is not in force. */
  readonly problem: string | undefined;
  /** The generation that is in force; undefined: none. */
  readonly inForce: number | undefined;
}

type PolicyCondition = Condition<"InForce" | "Broken">;

export interface PolicyStatus {
  readonly observedGeneration: number;
  readonly objects?: number;
  readonly findings?: number;
  readonly conditions: readonly PolicyCondition[];
}

export interface PolicyStatusOptions {
  readonly connection: ClusterConnection;
  readonly objects: () => readonly PolicyObjectState[] | undefined;
  readonly policies: () => Policies;
  readonly mesh: () => MeshStore;
  readonly log: Log;
  readonly pace?: Pace;
  readonly now?: () => Date;
}

/** Statuses are computed this long after a change, so that changes that follow each other cause one write. */
const settleMs = 500;
/** Also without a change, because exceptions end and the mesh changes. */
const periodMs = 20_000;
/** A status in which only numbers differ is written at most this often. */
const numbersMs = 60_000;
/** After a refusal nothing is written for this long. */
const refusedMs = 10 * 60_000;
const objectsPerTurn = 250;

/**
 * Writes the status of MeshwardPolicy and MeshwardException objects while this replica leads, and only what differs. An
 * object that changes at the same time is written the next time.
 */
export class PolicyStatusWriter {
  readonly #options: Required<PolicyStatusOptions>;
  readonly #clients: Readonly<Record<PolicyObject["kind"], ObjectClient>>;
  readonly #writtenAt = new Map<string, number>();
  #isLeading = false;
  #isClosed = false;
  #running: Promise<void> | undefined;
  #again = false;
  #stopTimer: (() => void) | undefined;
  #refusedUntil = 0;
  #findings: ReadonlyMap<string, number> | undefined;

  constructor(options: PolicyStatusOptions) {
    this.#options = { pace: systemPace, now: () => new Date(), ...options };
    const client = (kind: PolicyObject["kind"]) => {
      const { versions, ...served } = documentKinds[kind];
      return new ObjectClient(options.connection, { ...served, version: versions[0] ?? "" });
    };
    this.#clients = { MeshwardPolicy: client("MeshwardPolicy"), MeshwardException: client("MeshwardException") };
  }

  /** Called by the election. */
  lead(isLeading: boolean): void {
    this.#isLeading = isLeading;
    if (!isLeading) this.#findings = undefined;
    this.changed();
  }

  /** The number of findings that each exception accepts, as an audit of the whole mesh found it. */
  audited(accepted: Iterable<Exception>): void {
    const counts = new Map<string, number>();
    for (const { title } of accepted) counts.set(title, (counts.get(title) ?? 0) + 1);
    this.#findings = counts;
    this.changed();
  }

  /** Policies, objects or findings have changed. */
  changed(): void {
    if (!this.#isLeading || this.#isClosed) return;
    this.#schedule(settleMs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer?.();
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#stopTimer?.();
    this.#stopTimer = this.#options.pace.after(delayMs, () => {
      this.#stopTimer = undefined;
      this.#running = this.#write()
        .catch((error: unknown) => this.#options.log.warn({ error: String(error) }, "policy statuses were not written"))
        .finally(() => {
          this.#running = undefined;
          const delay = this.#again ? settleMs : periodMs;
          this.#again = false;
          if (this.#isLeading && !this.#isClosed) this.#schedule(delay);
        });
    });
  }

  async #write(): Promise<void> {
    const { pace, now } = this.#options;
    const states = this.#options.objects();
    if (!this.#isLeading || states === undefined || pace.now() < this.#refusedUntil) return;
    const policies = this.#options.policies();
    const mesh = this.#options.mesh();
    const counts = await selectedObjects(policies, mesh);
    const used = this.#findings && new Set(policies.exceptions.filter(({ title }) => this.#findings?.has(title)));
    const labelsOf = (namespace: string) => mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
    const remarks = Map.groupBy(
      exceptionRemarks(policies, { now: now(), labelsOf, used }),
      ({ exception }) => exception.title,
    );
    for (const state of states) {
      if (!this.#isLeading || this.#isClosed) return;
      const known = { policies, remarks, objects: counts.get(titleOf(state.object)), findings: this.#findings };
      if (!(await this.#update(state.object, statusOf(state, known)))) return;
    }
  }

  /** False: writing is refused, so others are not tried. */
  async #update(object: PolicyObject, status: PolicyStatus): Promise<boolean> {
    const { pace, now } = this.#options;
    const title = titleOf(object);
    const difference = differenceOf(object.status, status);
    const writtenAt = this.#writtenAt.get(title) ?? Number.NEGATIVE_INFINITY;
    if (difference === "none" || (difference === "numbers" && pace.now() - writtenAt < numbersMs)) return true;
    const { kind, namespace, name, resourceVersion } = object;
    const at = namespace === "" ? { name } : { namespace, name };
    const body = { metadata: { resourceVersion }, status: withTimes(status, object.status, now()) };
    try {
      await this.#clients[kind].patch(at, "merge", body, { subresource: "status", fieldManager: "meshward" });
      this.#writtenAt.set(title, pace.now());
      return true;
    } catch (error) {
      return this.#refused(error, title);
    }
  }

  #refused(error: unknown, title: string): boolean {
    const { pace, log } = this.#options;
    if (!(error instanceof ClusterError)) throw error;
    // It changed or was deleted meanwhile.
    if (error.fault === "conflict" || error.fault === "absent") return true;
    if (error.fault === "forbidden") this.#refusedUntil = pace.now() + refusedMs;
    log.warn({ document: title, error: error.message }, "the status of a policy document was not written");
    return error.fault !== "forbidden" && error.fault !== "unreachable";
  }
}

const titleOf = ({ kind, namespace, name }: PolicyObject): string =>
  `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;

interface Known {
  readonly policies: Policies;
  readonly remarks: ReadonlyMap<string, readonly ExceptionRemark[]>;
  readonly objects: number | undefined;
  /** By the title of the exception. */
  readonly findings: ReadonlyMap<string, number> | undefined;
}

/** The status that an object should have, without times. */
export function statusOf(state: PolicyObjectState, known: Known): PolicyStatus {
  const { object, problem } = state;
  const { generation } = object;
  const title = titleOf(object);
  const isPolicy = object.kind === "MeshwardPolicy";
  const findings = known.findings === undefined ? undefined : (known.findings.get(title) ?? 0);
  const condition = (
    type: PolicyCondition["type"],
    holds: boolean,
    reason: string,
    message: string,
  ): PolicyCondition => ({
    ...{ type, status: holds ? "True" : "False", reason, message },
    observedGeneration: generation,
  });
  const [holds, reason, message] = isPolicy
    ? policyForce(state, title, known)
    : exceptionForce(state, title, known, findings);
  return {
    observedGeneration: generation,
    ...(isPolicy && known.objects !== undefined ? { objects: known.objects } : {}),
    ...(!isPolicy && findings !== undefined ? { findings } : {}),
    conditions: [
      condition("InForce", holds, reason, message),
      condition(
        "Broken",
        problem !== undefined,
        problem === undefined ? "Valid" : "Invalid",
        problem ?? "The document is valid.",
      ),
    ],
  };
}

type Force = readonly [holds: boolean, reason: string, message: string];

function notValid({ problem, inForce }: PolicyObjectState): Force | undefined {
  if (problem === undefined) return undefined;
  return inForce === undefined
    ? [false, "Invalid", "The document is invalid and has no effect."]
    : [true, "LastValidGeneration", `This generation is invalid; generation ${inForce} stays in force.`];
}

function policyForce(state: PolicyObjectState, title: string, known: Known): Force {
  const invalid = notValid(state);
  if (invalid !== undefined) return invalid;
  const document = known.policies.documents.find((one) => one.title === title);
  if (document?.spec.withdrawn) return [false, "Withdrawn", "The policy is withdrawn."];
  const count = known.objects ?? 0;
  const selected = `Its conditions select ${count} object${count === 1 ? "" : "s"} of the mesh.`;
  const exceptions = document === undefined ? [] : remarksOnExceptionsOf(document, known);
  const reason = count === 0 ? "SelectsNothing" : "InForce";
  return [true, reason, [`In force. ${selected}`, ...exceptions].join(" ")];
}

const mostNamed = 10;

/** Which exceptions for the rules of a policy have expired or accept nothing, in the namespaces where it applies. */
function remarksOnExceptionsOf(document: PolicyDocument, { policies, remarks }: Known): readonly string[] {
  const own = document.customRules === undefined ? [] : [{ id: `${document.name}/*` }];
  const selectors = [...(document.spec.rules ?? []), ...own].map(compileSelector);
  const matches = policies.scopes.filter(({ policy }) => policy === document).map(({ match }) => match);
  const found = [...remarks.values()].flat().filter(({ exception, state }) => {
    if (state !== "expired" && state !== "unused") return false;
    const place = { namespace: exception.namespace, namespaceLabels: {}, kind: "", name: "", labels: {} };
    const isHere = matches.some((match) => (match.readsLabels || match.readsObject ? true : covers(match, place)));
    return isHere && selectors.some((selects) => exception.spec.rules.some((id) => selects({ id, tags: [] })));
  });
  if (found.length === 0) return [];
  const named = found
    .slice(0, mostNamed)
    .map(({ exception, state }) => `${exception.namespace}/${exception.name} (${state})`);
  const more = found.length > named.length ? ` and ${found.length - named.length} more` : "";
  return [`Exceptions for its rules without effect: ${named.join(", ")}${more}.`];
}

function exceptionForce(
  state: PolicyObjectState,
  title: string,
  { remarks }: Known,
  findings: number | undefined,
): Force {
  const invalid = notValid(state);
  if (invalid !== undefined) return invalid;
  const own = remarks.get(title) ?? [];
  const of = (wanted: ExceptionRemark["state"]) => own.find((remark) => remark.state === wanted);
  const all = own.map(({ text }) => `It ${text}.`).join(" ");
  if (of("expired") !== undefined) return [false, "Expired", all];
  if (of("notAllowed") !== undefined) return [false, "NotAllowed", all];
  const accepts =
    findings === undefined
      ? "In force."
      : `In force. It accepts ${findings} finding${findings === 1 ? "" : "s"} of the mesh.`;
  const reason = of("unused") ? "Unused" : of("endsSoon") ? "EndsSoon" : "InForce";
  return [true, reason, [accepts, all].filter((part) => part !== "").join(" ")];
}

/** The number of objects of the mesh that the conditions of each policy select, whoever sends a request, by its title. */
export async function selectedObjects(
  policies: Policies,
  mesh: Pick<Mesh, "all" | "find">,
): Promise<ReadonlyMap<string, number>> {
  const documents = policies.documents.map((document): PolicyDocument => {
    const { namespaces, objects } = document.spec.match ?? {};
    const match = { ...(namespaces ? { namespaces } : {}), ...(objects ? { objects } : {}) };
    return { ...document, spec: { match, rules: [{ id: "*" }] } };
  });
  const { index } = new Policies(documents);
  const counts = new Map(policies.documents.map(({ title }) => [title, 0]));
  const byNamespace = new Map<string, ReturnType<typeof index.inNamespace>>();
  let done = 0;
  for (const kind of allKinds)
    for (const object of mesh.all(kind)) {
      if (object.implied) continue;
      const namespace = namespaceOf(object);
      let scopes = byNamespace.get(namespace);
      if (scopes === undefined) {
        const namespaceLabels = mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
        byNamespace.set(namespace, (scopes = index.inNamespace({ namespace, namespaceLabels }, undefined)));
      }
      const { name, labels } = object.metadata;
      const selecting = index.forObject(scopes, { kind: object.originKind, name, labels }, undefined);
      for (const title of new Set(selecting.map(({ policy }) => policy.title)))
        counts.set(title, (counts.get(title) ?? 0) + 1);
      if (++done % objectsPerTurn === 0) await nextTurn();
    }
  return counts;
}

/** Whether a status that is stored says the same. */
function differenceOf(stored: unknown, wanted: PolicyStatus): "none" | "numbers" | "meaning" {
  const read = readStatus(stored);
  if (JSON.stringify(read) === JSON.stringify(wanted)) return "none";
  return meaningOf(read) === meaningOf(wanted) ? "numbers" : "meaning";
}

const meaningOf = ({ observedGeneration, conditions = [] }: Partial<PolicyStatus>): string =>
  JSON.stringify([
    observedGeneration,
    conditions.map(({ message, ...condition }) => [Object.values(condition), message.replaceAll(/\d+/g, "0")]),
  ]);

/** The fields of a stored status that Meshward writes, in the same order, without times. */
function readStatus(stored: unknown): Partial<PolicyStatus> {
  if (!isObject(stored)) return {};
  const field = (name: "objects" | "findings") => (typeof stored[name] === "number" ? { [name]: stored[name] } : {});
  return {
    observedGeneration: stored["observedGeneration"] as number,
    ...field("objects"),
    ...field("findings"),
    conditions: conditionsIn(stored) as readonly PolicyCondition[],
  };
}
