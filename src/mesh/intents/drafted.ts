import { readObject } from "../../kube/object.ts";
import type { Mesh } from "../../view/view.ts";
import { isProxy } from "../membership/workloads.ts";
import type { WrittenRequests } from "../requests/written-requests.ts";
import { faultsOf } from "./faults.ts";
import { isNarrowed } from "./policy-conditions.ts";
import { targetsOf } from "./targets.ts";
import { verdictsOf } from "./verdicts.ts";

/** A MeshwardIntent as it is written, with the fields that say something. */
export interface IntentDraft {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "MeshwardIntent";
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly to: DraftTarget & { readonly ports?: readonly number[] };
    readonly requests: readonly EntryDraft[];
  };
}
export type DraftTarget = { readonly service: string } | { readonly host: string };

export interface EntryDraft extends WrittenRequests {
  readonly from: readonly string[];
  readonly expect: string;
  readonly destinations?: readonly { readonly service?: string; readonly subset?: string }[];
}

/** The service accounts of the mesh, by namespace, with the ingress gateways. */
export interface KnownCallers {
  readonly accounts: ReadonlyMap<string, readonly string[]>;
  readonly hasIngress: boolean;
}

export function callersIn(mesh: Mesh): KnownCallers {
  const found = new Map<string, Set<string>>();
  let hasIngress = false;
  for (const workload of mesh.all("Workload")) {
    const { metadata, pod } = workload;
    if (isProxy(workload) || (pod.hasProxyContainer && !pod.hasOtherContainers)) hasIngress = true;
    else found.set(metadata.namespace, (found.get(metadata.namespace) ?? new Set()).add(pod.serviceAccountName));
  }
  const names = [...found.keys()].sort();
  const accounts = new Map(names.map((name) => [name, [...(found.get(name) ?? [])].sort()] as const));
  return { accounts, hasIngress };
}

/** What an intent is written about, and what holds of it. */
export class Drafted {
  readonly #name: string;
  readonly #to: DraftTarget;
  readonly #namespace: string;
  readonly #mesh: Mesh;

  constructor(name: string, to: DraftTarget, namespace: string, mesh: Mesh) {
    this.#name = name;
    this.#to = to;
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** One intent, or one for each port if these differ. Ports of which nothing is known to hold have none. */
  intents(ports: readonly number[], requestsTo: (port: number) => readonly EntryDraft[]): readonly IntentDraft[] {
    const drafts = ports.map((port) => ({ port, requests: requestsTo(port) }));
    const alike = Map.groupBy(drafts, ({ requests }) => JSON.stringify(requests));
    return [...alike.values()].flatMap((some) => {
      const requests = some[0]?.requests ?? [];
      if (requests.length === 0) return [];
      const own = some.map(({ port }) => port);
      const isWhole = own.length === ports.length;
      return [this.#intent(isWhole ? this.#name : `${this.#name}-${own.join("-")}`, isWhole ? [] : own, requests)];
    });
  }

  #intent(name: string, ports: readonly number[], requests: readonly EntryDraft[]): IntentDraft {
    return {
      apiVersion: "meshward.io/v1alpha1",
      kind: "MeshwardIntent",
      metadata: { name, namespace: this.#namespace },
      spec: { to: { ...this.#to, ...(ports.length === 0 ? {} : { ports }) }, requests },
    };
  }

  /** Whether the last of these entries holds, beside the others. */
  holds(port: number, requests: readonly EntryDraft[]): boolean {
    const intent = readObject("MeshwardIntent", this.#intent("draft", [port], requests));
    const last = requests.length - 1;
    for (const verdict of verdictsOf(intent, targetsOf(intent, this.#mesh), this.#mesh))
      if (verdict?.index === last) return verdict.state === "held";
    return false;
  }

  /** Those of the entries that hold, each beside those before it. */
  held(port: number, entries: readonly EntryDraft[]): readonly EntryDraft[] {
    const found: EntryDraft[] = [];
    for (const entry of entries) if (this.holds(port, [...found, entry])) found.push(entry);
    return found;
  }

  /** Whether an intent can have these conditions. */
  isReadable(port: number, conditions: WrittenRequests): boolean {
    const entry = { from: ["mesh"], ...conditions, expect: "allowed" };
    const intent = readObject("MeshwardIntent", this.#intent("draft", [port], [entry]));
    return [...faultsOf(intent, this.#mesh.settings)].every((fault) => fault === undefined);
  }

  /** For each set of conditions, those who may send all such requests, and may not send more. */
  allowed(port: number, all: readonly WrittenRequests[], callers: KnownCallers): readonly EntryDraft[] {
    const found: { readonly from: readonly string[]; readonly conditions: WrittenRequests }[] = [];
    for (const conditions of all) {
      const wider = new Set(found.flatMap((one) => (isNarrowed(conditions, one.conditions) ? one.from : [])));
      const may = (caller: string): boolean =>
        !isAmong(caller, wider) && this.holds(port, [{ from: [caller], ...conditions, expect: "allowed" }]);
      const from = may("mesh") ? ["mesh"] : [...callers.accounts].flatMap((one) => callersOf(one, may));
      if (callers.hasIngress && may("ingress")) from.push("ingress");
      if (may("outside")) from.push("outside");
      if (from.length > 0) found.push({ from, conditions });
    }
    return found.map(({ from, conditions }) => ({ from, ...conditions, expect: "allowed" }));
  }
}

/** A namespace instead of its service accounts, if it may as a whole. */
function callersOf([namespace, accounts]: readonly [string, readonly string[]], may: (caller: string) => boolean) {
  if (may(`namespace/${namespace}`)) return [`namespace/${namespace}`];
  return accounts.map((account) => `serviceaccount/${namespace}/${account}`).filter(may);
}

/** Whether callers that are named already include this one. Those of the mesh do not include gateways, which have routes of their own. */
export const isAmong = (caller: string, named: ReadonlySet<string>): boolean => {
  const [, namespace] = /^serviceaccount\/([^/]+)\//.exec(caller) ?? [];
  const isOfMesh = caller !== "outside" && caller !== "ingress";
  return named.has(caller) || (isOfMesh && (named.has("mesh") || named.has(`namespace/${namespace}`)));
};
