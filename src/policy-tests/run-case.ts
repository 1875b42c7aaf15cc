import { createGate } from "../admission/gate.ts";
import { createGateClient } from "../demo/gate-client.ts";
import type { KubernetesObject } from "../demo/api-server-client.ts";
import type { MemoryApiServer, Outcome as ServerOutcome, UserRequest } from "../demo/memory-api-server.ts";
import type { Rule } from "../engine/rule.ts";
import type { Ruling } from "../engine/ruling.ts";
import type { Policies } from "../policy/policies.ts";
import { readAny } from "../kube/object.ts";
import { idOf } from "../kube/identity.ts";
import { describe, member } from "../kube/read.ts";
import type { Mesh } from "../view/view.ts";
import type { TestCase } from "./test-file.ts";

/** A case with its objects. */
export interface PreparedCase {
  readonly test: TestCase;
  /** The API server before the case; it is not changed. */
  readonly server: MemoryApiServer;
  readonly policies: Policies;
  readonly rules: readonly Rule[];
  readonly applied: readonly KubernetesObject[];
  readonly deleted: readonly KubernetesObject[];
  readonly time: Date;
}

/** What Meshward decided about all requests of a case together. */
export interface CaseOutcome {
  /** Whether something was applied or deleted. */
  readonly isChange: boolean;
  readonly allowed: boolean;
  /** Ids of rules, sorted; the same for `warnedBy`. */
  readonly deniedBy: readonly string[];
  readonly warnedBy: readonly string[];
  /** `namespace/name` of exceptions, sorted. */
  readonly acceptedBy: readonly string[];
  /** What users read: messages of denials, and warnings. */
  readonly messages: readonly string[];
  /** The objects that are stored, after all changes. */
  readonly stored: readonly KubernetesObject[];
  /** The policies because of which Meshward changed an object. */
  readonly patchedBy: readonly string[];
  readonly rulings: readonly Ruling[];
  /** The mesh before all changes, and after them. */
  readonly before: Mesh;
  readonly mesh: Mesh;
  /** Requests that could not be sent or evaluated. */
  readonly problems: readonly string[];
}

/** Sends the requests of a case, each to what the ones before it left, through the admission path of `serve`. */
export async function runCase({ test, server, policies, rules, time, ...given }: PreparedCase): Promise<CaseOutcome> {
  const cluster = server.copy();
  const rulings: Ruling[] = [];
  const problems: string[] = [];
  const gate = createGate({
    mesh: () => cluster.mesh,
    policies: () => policies,
    rules,
    now: () => time,
    observe: (some) => rulings.push(...some),
    log: { error: (fields) => problems.push(`a rule failed, which is a bug in Meshward: ${describe(fields)}`) },
  });
  const client = createGateClient(gate, () => time);
  const outcomes: ServerOutcome[] = [];
  for (const request of [...requests(given.applied, false, test), ...requests(given.deleted, true, test)]) {
    const outcome = await cluster.request(request, client);
    if (outcome === undefined) problems.push(`the mesh has no ${nameOf(request.raw)} to delete`);
    else outcomes.push(outcome);
  }
  return summary(outcomes, { rulings, problems, before: server.mesh, mesh: cluster.mesh }, policies);
}

function requests(objects: readonly KubernetesObject[], isDeletion: boolean, test: TestCase): readonly UserRequest[] {
  const { user, groups = [], fieldManager } = test.by ?? {};
  const username = user ?? "jane";
  const all = [...groupsOfAccount(username), ...groups, "system:authenticated"];
  return objects.map((raw) => ({
    ...{ raw, isDeletion, user: { username, groups: [...new Set(all)] } },
    ...(fieldManager === undefined ? {} : { fieldManager }),
    ...(test.dryRun === undefined ? {} : { dryRun: test.dryRun }),
  }));
}

/** The groups that the API server gives to a service account. */
function groupsOfAccount(username: string): readonly string[] {
  const [, namespace] = /^system:serviceaccount:([^:]+):/.exec(username) ?? [];
  return namespace === undefined ? [] : ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
}

/** The name of an object for a message. */
export function nameOf(raw: KubernetesObject): string {
  const object = readAny(raw, "default");
  if (object !== undefined) return idOf(object);
  const names = ["namespace", "name"]
    .map((field) => member(raw.metadata, field))
    .filter((one) => typeof one === "string");
  return [String(raw.kind), names.join("/")].filter((part) => part !== "").join(" ");
}

function summary(
  outcomes: readonly ServerOutcome[],
  { rulings, ...more }: Pick<CaseOutcome, "rulings" | "problems" | "before" | "mesh">,
  policies: Policies,
): CaseOutcome {
  const by = (mode: string) => distinct(rulings.filter((ruling) => ruling.mode === mode).map(idOfRule));
  const admissions = outcomes.map(({ admission }) => admission);
  return {
    isChange: outcomes.length > 0,
    allowed: admissions.every(({ allowed }) => allowed),
    deniedBy: by("deny"),
    warnedBy: by("warn"),
    acceptedBy: distinct(
      rulings.flatMap(({ exception }) => (exception ? [`${exception.namespace}/${exception.name}`] : [])),
    ),
    messages: distinct(admissions.flatMap(({ error, warnings }) => [...(error ? [error.message] : []), ...warnings])),
    stored: outcomes
      .filter(({ submission, admission }) => submission.operation !== "DELETE" && admission.allowed)
      .map(({ admission }) => admission.object),
    patchedBy: distinct(
      outcomes
        .filter(({ admission }) => admission.patch.length > 0)
        .map(({ admission }) => enrolledBy(admission.object, policies)),
    ),
    rulings,
    ...more,
  };
}

/** The policy behind the only mutation. */
function enrolledBy(raw: KubernetesObject, policies: Policies): string {
  const object = readAny(raw, "default");
  return object === undefined ? "" : policies.enrollmentOf(object.metadata).policy;
}

const idOfRule = ({ finding }: Ruling): string => finding.rule.id;
const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)].sort();
