import type { Mesh } from "../../view/view.ts";
import { everyRequest } from "../authorization/requests/boxes.ts";
import { enforcedPoliciesOfNamespace } from "../authorization/policy-levels.ts";
import { portsOf } from "../membership/target-ports.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import type { WrittenRequests } from "../requests/written-requests.ts";
import { callersIn, Drafted, type EntryDraft, type IntentDraft, isAmong, type KnownCallers } from "./drafted.ts";
import { draftsOfHosts } from "./host-draft.ts";
import { conditionsOfPolicies, negationsOf } from "./policy-conditions.ts";

export type { IntentDraft } from "./drafted.ts";

/** The conditions of more policies would make an intent that nobody reads. */
const mostConditions = 12;

/**
 * Intents that hold in a mesh today, for each Service of a namespace, and for each host that its ServiceEntries define: who may send
 * which requests, that others may not, whether requests are encrypted, and where they are routed. Every entry was found to hold.
 * Services and hosts about which nothing is known to hold have none. `mesh` is one side of a change (`sideOf`), so that facts are
 * computed once.
 */
export function draftsOf(name: string, mesh: Mesh): readonly IntentDraft[] {
  const namespace = namespaceIn(mesh, name);
  const callers = callersIn(mesh);
  const ofServices = mesh
    .related(servicesOfNamespace, namespace)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((service) => new Draft(service, namespace, mesh).intents(callers));
  return [...ofServices, ...draftsOfHosts(namespace, callers, mesh)];
}

class Draft {
  readonly #service: Service;
  readonly #namespace: Namespace;
  readonly #mesh: Mesh;
  readonly #drafted: Drafted;

  constructor(service: Service, namespace: Namespace, mesh: Mesh) {
    this.#service = service;
    this.#namespace = namespace;
    this.#mesh = mesh;
    const { name } = service.metadata;
    this.#drafted = new Drafted(name, { service: name }, namespace.metadata.name, mesh);
  }

  intents(callers: KnownCallers): readonly IntentDraft[] {
    const ports = [...new Set(portsOf(this.#service).ports)];
    return this.#drafted.intents(ports, (port) => this.#requests(port, callers));
  }

  #requests(port: number, callers: KnownCallers): readonly EntryDraft[] {
    const everybody = ["mesh", "outside"];
    const allowed = this.#drafted.allowed(port, this.#conditions(port), callers);
    const others: EntryDraft =
      allowed.length === 0 ? { from: everybody, expect: "denied" } : { from: ["others"], expect: "denied" };
    const encrypted: EntryDraft = { from: everybody, expect: "encrypted" };
    const named = new Set(allowed.flatMap(({ from }) => from));
    const areOthers = !(named.has("mesh") && named.has("outside"));
    const more = [...excludedBy(allowed), ...(areOthers ? [others] : []), encrypted, ...this.#routed(port)];
    return this.#drafted.held(port, [...allowed, ...more]);
  }

  /** Those of policies, as far as an intent can say them. */
  #conditions(port: number): readonly WrittenRequests[] {
    const root = namespaceIn(this.#mesh, this.#mesh.settings.rootNamespace);
    const policies = new Set(
      [this.#namespace, root].flatMap((one) => this.#mesh.related(enforcedPoliciesOfNamespace, one)),
    );
    return conditionsOfPolicies(policies)
      .filter((conditions) => this.#drafted.isReadable(port, conditions))
      .slice(0, mostConditions);
  }

  /** The subsets that requests from the mesh are routed to. */
  #routed(port: number): readonly EntryDraft[] {
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
}

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
