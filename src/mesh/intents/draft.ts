import { readObject } from "../../kube/object.ts";
import type { Mesh } from "../../view/view.ts";
import { everyRequest } from "../authorization/requests/boxes.ts";
import { enforcedPoliciesOfNamespace } from "../authorization/policy-levels.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { isProxy } from "../membership/workloads.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import type { WrittenRequests } from "../requests/written-requests.ts";
import { faultsOf } from "./faults.ts";
import { conditionsOfPolicies, isNarrowed, negationsOf } from "./policy-conditions.ts";
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

export interface EntryDraft extends WrittenRequests {
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
    const everybody = ["mesh", "outside"];
    const allowed = this.#allowed(ports, callers);
    const others: EntryDraft =
      allowed.length === 0 ? { from: everybody, expect: "denied" } : { from: ["others"], expect: "denied" };
    const encrypted: EntryDraft = { from: everybody, expect: "encrypted" };
    const named = new Set(allowed.flatMap(({ from }) => from));
    const found: EntryDraft[] = [...allowed];
    const areOthers = !(named.has("mesh") && named.has("outside"));
    for (const entry of [...excludedBy(allowed), ...(areOthers ? [others] : []), encrypted, ...this.#routed(ports)])
      if (this.#holds(ports, [...found, entry])) found.push(entry);
    return found;
  }

  /** For each set of conditions, those who may send all such requests, and may not send more. */
  #allowed(ports: readonly number[], { accounts, hasIngress }: KnownCallers): readonly EntryDraft[] {
    const found: { readonly from: readonly string[]; readonly conditions: WrittenRequests }[] = [];
    for (const conditions of this.#conditions(ports)) {
      const wider = new Set(found.flatMap((one) => (isNarrowed(conditions, one.conditions) ? one.from : [])));
      const may = (caller: string): boolean =>
        !isAmong(caller, wider) && this.#holds(ports, [{ from: [caller], ...conditions, expect: "allowed" }]);
      const from = may("mesh") ? ["mesh"] : [...accounts].flatMap((one) => callersOf(one, may));
      if (hasIngress && may("ingress")) from.push("ingress");
      if (may("outside")) from.push("outside");
      if (from.length > 0) found.push({ from, conditions });
    }
    return found.map(({ from, conditions }) => ({ from, ...conditions, expect: "allowed" }));
  }

  /** Those of policies, as far as an intent can say them. */
  #conditions(ports: readonly number[]): readonly WrittenRequests[] {
    const root = namespaceIn(this.#mesh, this.#mesh.settings.rootNamespace);
    const policies = new Set(
      [this.#namespace, root].flatMap((one) => this.#mesh.related(enforcedPoliciesOfNamespace, one)),
    );
    const isReadable = (conditions: WrittenRequests): boolean => {
      const entry = { from: ["mesh"], ...conditions, expect: "allowed" };
      const faults = faultsOf(readObject("MeshwardIntent", this.#intent("draft", ports, [entry])), this.#mesh.settings);
      return [...faults].every((fault) => fault === undefined);
    };
    return conditionsOfPolicies(policies).filter(isReadable).slice(0, mostConditions);
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

/** Whether callers that are named already include this one. Those of the mesh do not include gateways, which have routes of their own. */
const isAmong = (caller: string, named: ReadonlySet<string>): boolean => {
  const [, namespace] = /^serviceaccount\/([^/]+)\//.exec(caller) ?? [];
  const isOfMesh = caller !== "outside" && caller !== "ingress";
  return named.has(caller) || (isOfMesh && (named.has("mesh") || named.has(`namespace/${namespace}`)));
};

/** For each condition of these entries: that their callers may not send other requests. */
function excludedBy(allowed: readonly EntryDraft[]): readonly EntryDraft[] {
  const found = allowed.flatMap((entry) =>
    negationsOf(entry).map((conditions) => ({ from: entry.from, conditions, key: JSON.stringify(conditions) })),
  );
  return [...Map.groupBy(found, ({ key }) => key).values()].map((some) => ({
    from: withoutRepeated(some.flatMap(({ from }) => from)),
    ...some[0]?.conditions,
    expect: "denied",
  }));
}

const withoutRepeated = (callers: readonly string[]): readonly string[] =>
  [...new Set(callers)].filter((caller, _, all) => !isAmong(caller, new Set(all.filter((other) => other !== caller))));
