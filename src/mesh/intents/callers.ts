import { impliedNamespace } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Part, Texts } from "../authorization/requests/texts.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { workloadsOfNamespace } from "../membership/workloads.ts";
import { type CallerName, formatCallerName } from "../requests/caller-names.ts";
import { everyIngress, ingressGateways, ingressReads, ingressWorkloads, proxiesOf } from "../requests/ingress.ts";
import type { Caller, GatewayProxy } from "../requests/question.ts";
import { nearest } from "../../text/nearest.ts";
import type { Running } from "./contradictions.ts";
import { callerIn, callersOfIntent, entriesBeside, type Entry, type Intent } from "./intents.ts";

/** The ingress gateways that an intent names, as keys of both indexes. */
const ingressNamed = index("MeshwardIntent", (intent) => {
  const found = new Set<string>();
  for (const { from } of intent.spec.requests)
    for (const text of from) {
      const caller = callerIn(intent, text);
      if (caller.kind === "ingress") found.add(ingressKey(caller));
    }
  return found;
});
const ingressKey = ({ namespace, name }: CallerName & { readonly kind: "ingress" }): string =>
  namespace === undefined ? everyIngress : name === undefined ? namespace : `${namespace}/${name}`;

/** An intent and the workloads of the ingress gateways that it names. */
export const ingressWorkloadsOfIntent = relation("ingressWorkloadsOfIntent", ingressNamed, ingressWorkloads);
/** An intent and the Gateways of the Gateway API that it names. */
export const ingressGatewaysOfIntent = relation("ingressGatewaysOfIntent", ingressNamed, ingressGateways);

/** What `Callers` reads. */
export const callerReads = [
  callersOfIntent,
  workloadsOfNamespace,
  ingressWorkloadsOfIntent,
  ingressGatewaysOfIntent,
  ...ingressReads,
] as const;
type View = MeshView<(typeof callerReads)[number]>;

/**
 * Somebody who sends requests, with a condition on the requests that are meant; or why that is not known. `notBy`: callers outside are
 * not meant where these gateways let them in.
 */
export type Sending =
  | { readonly caller: Caller; readonly identity: readonly Clause[]; readonly notBy?: readonly GatewayProxy[] }
  | { readonly unknown: string };

export type Known = Exclude<Sending, { readonly unknown: string }>;

/** The gateways that let in the requests from outside that an entry is about, because it names public hosts. */
export type LetIn = (entry: Entry) => readonly GatewayProxy[];

/** The callers that the entries of one intent name, in the mesh. */
export class Callers {
  readonly #intent: Intent;
  readonly #mesh: View;
  readonly #namespaces: ReadonlyMap<string, Namespace>;

  constructor(intent: Intent, mesh: View) {
    this.#intent = intent;
    this.#mesh = mesh;
    this.#namespaces = new Map(mesh.related(callersOfIntent, intent).map((one) => [one.metadata.name, one]));
  }

  /** Whom the texts of `from` stand for. A text that names nobody is reported by intent-invalid. */
  of(entry: Entry, letIn: LetIn): readonly Sending[] {
    return entry.from.flatMap((text) => this.#of(text, entry, letIn));
  }

  #of(text: string, entry: Entry, letIn: LetIn): readonly Sending[] {
    const caller = callerIn(this.#intent, text);
    if (caller.kind === "unknown") return [{ unknown: `"${text}" is no caller` }];
    if (caller.kind === "others") return this.#others(entry, letIn);
    const found = this.#find(caller);
    return [typeof found === "string" ? { unknown: found } : { caller: found, identity: [] }];
  }

  #find(name: Exclude<CallerName, { readonly kind: "others" }>): Caller | string {
    if (name.kind === "mesh" || name.kind === "outside") return name;
    if (name.kind === "ingress") return this.#ingress(name);
    const namespace = this.#namespace(name.namespace);
    if (typeof namespace === "string") return namespace;
    if (name.kind === "workload") return this.#workload(namespace, name);
    return name.kind === "namespace"
      ? { kind: "namespace", namespace }
      : { kind: "serviceAccount", namespace, name: name.name };
  }

  /** If not all namespaces are known, one that is missing may exist, with unknown labels. */
  #namespace(name: string): Namespace | string {
    const found = this.#namespaces.get(name);
    if (found !== undefined) return found;
    return this.#mesh.knowsAll("Namespace") ? `there is no namespace ${name}` : impliedNamespace(name);
  }

  #workload(namespace: Namespace, name: CallerName & { readonly kind: "workload" }): Caller | string {
    const workload = this.#mesh
      .related(workloadsOfNamespace, namespace)
      .find((one) => one.metadata.name === name.name && [undefined, one.originKind].includes(name.originKind));
    return workload === undefined
      ? `${formatCallerName(name)} is not known`
      : { kind: "workload", workload, namespace };
  }

  #ingress(name: CallerName & { readonly kind: "ingress" }): Caller | string {
    const key = ingressKey(name);
    const isMeant = (keys: Iterable<string>): boolean => [...keys].includes(key);
    const { settings } = this.#mesh;
    const workloads = this.#mesh
      .related(ingressWorkloadsOfIntent, this.#intent)
      .filter((workload) => isMeant(ingressWorkloads.keys(workload, settings)));
    const gateways = this.#mesh
      .related(ingressGatewaysOfIntent, this.#intent)
      .filter((gateway) => isMeant(ingressGateways.keys(gateway, settings)));
    const proxies = proxiesOf(workloads, gateways, this.#mesh);
    return proxies.length === 0 ? `no gateway ${formatCallerName(name)} is known` : { kind: "ingress", proxies };
  }

  /**
   * Everybody whom no entry beside it names: of the mesh, and without a certificate. Requests from outside arrive with the identity of
   * the gateway that lets them in, so an entry that allows them names the gateway, and who comes by a gateway that an entry names is not
   * among the others.
   */
  #others(entry: Entry, letIn: LetIn): readonly Sending[] {
    const beside = entriesBeside(this.#intent, entry);
    const named = beside.flatMap(({ from }) => from.map((text) => callerIn(this.#intent, text)));
    const accounts: (readonly Part[])[] = beside
      .filter((one) => one.expect === "allowed" && one.from.includes("outside"))
      .flatMap((one) => identitiesOf({ kind: "ingress", proxies: letIn(one) }));
    const unknown: Sending[] = [];
    const notBy: GatewayProxy[] = [];
    const kinds = new Set(named.map(({ kind }) => kind));
    for (const one of named) {
      const identities = this.#identitiesOf(one);
      if (typeof identities === "string") unknown.push({ unknown: identities });
      else accounts.push(...identities);
      if (one.kind === "ingress") notBy.push(...this.#proxiesOf(one));
    }
    const except: Clause = { attribute: "identity", values: new Texts(accounts), not: true };
    return [
      ...(kinds.has("outside") ? [] : [{ caller: { kind: "outside" }, identity: [], notBy } as const]),
      ...(kinds.has("mesh")
        ? []
        : [{ caller: { kind: "mesh" }, identity: accounts.length > 0 ? [except] : [] } as const]),
      ...(kinds.has("mesh") ? [] : unknown),
    ];
  }

  #proxiesOf(name: CallerName & { readonly kind: "ingress" }): readonly GatewayProxy[] {
    const found = this.#ingress(name);
    return typeof found !== "string" && found.kind === "ingress" ? found.proxies : [];
  }

  /** The identities of a caller, which the others do not have; a string says why they are not known. */
  #identitiesOf(name: ReturnType<typeof callerIn>): readonly (readonly Part[])[] | string {
    if (name.kind === "serviceAccount") return [[anything, name.namespace, name.name]];
    if (name.kind === "namespace") return [[anything, name.namespace, anything]];
    if (name.kind !== "workload" && name.kind !== "ingress") return [];
    const found = this.#find(name);
    return typeof found === "string" ? found : identitiesOf(found);
  }

  /** With which service accounts a workload or a gateway runs. A Gateway whose workload is not known is no evidence. */
  readonly runningOf = (name: CallerName): Running | undefined => {
    if (name.kind !== "workload" && name.kind !== "ingress") return undefined;
    const found = this.#find(name);
    if (typeof found === "string") return undefined;
    const workloads = found.kind === "workload" ? [found.workload] : [];
    const proxies = found.kind === "ingress" ? found.proxies.flatMap(({ workload }) => workload ?? []) : [];
    return { identities: identitiesOf(found), objects: [...workloads, ...proxies] };
  };

  /**
   * Service accounts that no workload has and that are probably misspelt, by the entry and the position of the caller. One that has
   * no workload yet is none of them.
   */
  *misspelt(): Generator<{ readonly at: Path; readonly message: string }, undefined> {
    if (!this.#mesh.knowsAll("Workload")) return;
    for (const [i, { from }] of this.#intent.spec.requests.entries())
      for (const [j, text] of from.entries()) {
        const name = callerIn(this.#intent, text);
        const meant = name.kind === "serviceAccount" ? this.#nearAccount(name.namespace, name.name) : undefined;
        if (name.kind !== "serviceAccount" || meant === undefined) continue;
        const message = `No workload of namespace ${name.namespace} runs with service account "${name.name}": did you mean "${meant}"?`;
        yield { at: ["spec", "requests", i, "from", j], message };
      }
  }

  #nearAccount(where: string, name: string): string | undefined {
    const namespace = this.#namespaces.get(where);
    if (namespace === undefined) return undefined;
    const workloads = this.#mesh.related(workloadsOfNamespace, namespace);
    const accounts = new Set(workloads.map(({ pod }) => pod.serviceAccountName));
    return accounts.has(name) ? undefined : nearest(name, accounts);
  }
}

function identitiesOf(found: Caller): readonly (readonly Part[])[] {
  if (found.kind === "workload")
    return [[anything, found.namespace.metadata.name, found.workload.pod.serviceAccountName]];
  if (found.kind !== "ingress") return [];
  return found.proxies.map(({ namespace, serviceAccount }) => [anything, namespace.metadata.name, serviceAccount]);
}
