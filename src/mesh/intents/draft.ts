import { readObject } from "../../kube/object.ts";
import type { Mesh } from "../../view/view.ts";
import { everyRequest } from "../authorization/requests/boxes.ts";
import { actionOf } from "../authorization/policies.ts";
import { enforcedPoliciesOfNamespace } from "../authorization/policy-levels.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { isProxy } from "../membership/workloads.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import { pathFault } from "../requests/written-requests.ts";
import { targetsOf } from "./targets.ts";
import { verdictsOf } from "./verdicts.ts";

/** A MeshwardIntent as it is written, with the fields that say something. */
export interface IntentDraft {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "MeshwardIntent";
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly to: { readonly service: string; readonly ports?: readonly number[] };
    readonly requests: readonly EntryDraft[];
  };
}

interface Conditions {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
}
export interface EntryDraft extends Conditions {
  readonly from: readonly string[];
  readonly expect: string;
  readonly destinations?: readonly { readonly service?: string; readonly subset?: string }[];
}

/** The conditions of more policies would make an intent that nobody reads. */
const mostConditions = 12;

/**
 * Intents that hold in a mesh today, for each Service of a namespace: who may send which requests, that others may not, whether
 * requests are encrypted, and which subsets get them. Every entry was found to hold. Services about which nothing is known to hold
 * have none. `mesh` is one side of a change (`sideOf`), so that facts are computed once.
 */
export function draftsOf(name: string, mesh: Mesh): readonly IntentDraft[] {
  const namespace = namespaceIn(mesh, name);
  const callers = callersIn(mesh);
  return mesh
    .related(servicesOfNamespace, namespace)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((service) => new Draft(service, namespace, mesh).intents(callers));
}

/** The service accounts of the mesh, by namespace, with the ingress gateways. */
interface KnownCallers {
  readonly accounts: ReadonlyMap<string, readonly string[]>;
  readonly hasIngress: boolean;
}

function callersIn(mesh: Mesh): KnownCallers {
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

class Draft {
  readonly #service: Service;
  readonly #namespace: Namespace;
  readonly #mesh: Mesh;

  constructor(service: Service, namespace: Namespace, mesh: Mesh) {
    this.#service = service;
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** One intent, or one for each port if these differ. */
  intents(callers: KnownCallers): readonly IntentDraft[] {
    const { name } = this.#service.metadata;
    const ports = [...new Set(portsOf(this.#service).ports)];
    const drafts = ports.map((port) => ({ port, requests: this.#requests([port], callers) }));
    const alike = Map.groupBy(drafts, ({ requests }) => JSON.stringify(requests));
    return [...alike.values()].flatMap((some) => {
      const requests = some[0]?.requests ?? [];
      if (requests.length === 0) return [];
      const own = some.map(({ port }) => port);
      const isWhole = own.length === ports.length;
      return [this.#intent(isWhole ? name : `${name}-${own.join("-")}`, isWhole ? [] : own, requests)];
    });
  }

  #intent(name: string, ports: readonly number[], requests: readonly EntryDraft[]): IntentDraft {
    const { name: service, namespace } = this.#service.metadata;
    return {
      apiVersion: "meshward.io/v1alpha1",
      kind: "MeshwardIntent",
      metadata: { name, namespace },
      spec: { to: { service, ...(ports.length === 0 ? {} : { ports }) }, requests },
    };
  }

  #requests(ports: readonly number[], callers: KnownCallers): readonly EntryDraft[] {
    const allowed = this.#allowed(ports, callers);
    const others: EntryDraft =
      allowed.length === 0 ? { from: ["mesh", "outside"], expect: "denied" } : { from: ["others"], expect: "denied" };
    const encrypted: EntryDraft = { from: ["mesh", "outside"], expect: "encrypted" };
    const found: EntryDraft[] = [...allowed];
    const named = new Set(allowed.flatMap(({ from }) => from));
    const areOthers = !(named.has("mesh") && named.has("outside"));
    for (const entry of [...(areOthers ? [others] : []), encrypted, ...this.#routed(ports)])
      if (this.#holds(ports, [...found, entry])) found.push(entry);
    return found;
  }

  /** For each set of conditions, those who may send all such requests, and may not send more. */
  #allowed(ports: readonly number[], { accounts, hasIngress }: KnownCallers): readonly EntryDraft[] {
    const entries: EntryDraft[] = [];
    const done = new Set<string>();
    for (const conditions of this.#conditions()) {
      const may = (caller: string): boolean =>
        !done.has(caller) && this.#holds(ports, [{ from: [caller], ...conditions, expect: "allowed" }]);
      const from = may("mesh") ? ["mesh"] : [...accounts].flatMap((one) => callersOf(one, may));
      if (hasIngress && may("ingress")) from.push("ingress");
      if (may("outside")) from.push("outside");
      if (Object.keys(conditions).length === 0) for (const caller of from) done.add(caller);
      if (from.length > 0) entries.push({ from, ...conditions, expect: "allowed" });
    }
    return entries;
  }

  /** None, and those that rules of ALLOW policies set, as far as an intent can say them. */
  #conditions(): readonly Conditions[] {
    const root = namespaceIn(this.#mesh, this.#mesh.settings.rootNamespace);
    const policies = new Set(
      [this.#namespace, root].flatMap((one) => this.#mesh.related(enforcedPoliciesOfNamespace, one)),
    );
    const rules = [...policies].flatMap((policy) => (actionOf(policy) === "ALLOW" ? policy.spec.rules : []));
    const found = new Map<string, Conditions>([["{}", {}]]);
    for (const { operation } of rules.flatMap(({ to }) => to)) {
      const { methods, notMethods, paths, notPaths } = operation;
      const lists = Object.entries({ methods, notMethods, paths, notPaths }).filter(([, all]) => all.length > 0);
      const isReadable = [...paths, ...notPaths].every((path) => pathFault(path) === undefined);
      if (isReadable) found.set(JSON.stringify(lists), Object.fromEntries(lists));
    }
    return [...found.values()].slice(0, mostConditions);
  }

  /** The subsets that requests from the mesh are routed to. */
  #routed(ports: readonly number[]): readonly EntryDraft[] {
    const [port] = ports;
    if (port === undefined) return [];
    const to = { kind: "service", service: this.#service, namespace: this.#namespace, port } as const;
    const destinations = new Map<string, { readonly service?: string; readonly subset?: string }>();
    for (const { route } of outcomesOf({ caller: { kind: "mesh" }, to, requests: everyRequest }, this.#mesh))
      for (const { host, subset } of route.destinations) {
        if (host !== route.host) return [];
        if (subset !== undefined) destinations.set(subset, { subset });
      }
    return destinations.size === 0
      ? []
      : [{ from: ["mesh"], expect: "routed", destinations: [...destinations.values()] }];
  }

  /** Whether the last of these entries holds, beside the others. */
  #holds(ports: readonly number[], requests: readonly EntryDraft[]): boolean {
    const intent = readObject("MeshwardIntent", this.#intent("draft", ports, requests));
    const last = requests.length - 1;
    for (const verdict of verdictsOf(intent, targetsOf(intent, this.#mesh), this.#mesh))
      if (verdict?.index === last) return verdict.state === "held";
    return false;
  }
}

/** A namespace instead of its service accounts, if it may as a whole. */
function callersOf([namespace, accounts]: readonly [string, readonly string[]], may: (caller: string) => boolean) {
  if (may(`namespace/${namespace}`)) return [`namespace/${namespace}`];
  return accounts.map((account) => `serviceaccount/${namespace}/${account}`).filter(may);
}
