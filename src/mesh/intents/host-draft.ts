import type { ObjectOf } from "../../kube/object.ts";
import { index, type Mesh, relation } from "../../view/view.ts";
import { everyRequest } from "../authorization/requests/boxes.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { portNumbersOf } from "../requests/definitions.ts";
import type { RouteDestination } from "../requests/outcome.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import type { Caller, Target } from "../requests/question.ts";
import { hostIn } from "../traffic/host-definition.ts";
import { isDomain } from "../traffic/host-syntax.ts";
import { namespaceOfHost } from "../traffic/hosts.ts";
import { Drafted, type EntryDraft, type IntentDraft, type KnownCallers } from "./drafted.ts";

/** A namespace and its ServiceEntries. */
const entriesOfNamespace = relation(
  "entriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", ({ metadata }) => [metadata.namespace]),
);

type DestinationDraft = NonNullable<EntryDraft["destinations"]>[number];

/** A list of more namespaces is none that somebody reads. */
const mostNamespaces = 12;

/** Intents that hold today for the hosts that ServiceEntries of a namespace define, and that are not names of Services or wildcards. */
export function draftsOfHosts(namespace: Namespace, callers: KnownCallers, mesh: Mesh): readonly IntentDraft[] {
  const entries = mesh.related(entriesOfNamespace, namespace);
  const hosts = new Set(entries.flatMap(({ spec }) => spec.hosts.map((host) => host.toLowerCase())));
  return [...hosts]
    .filter((host) => isDomain(host) && namespaceOfHost(host, mesh.settings.domain) === undefined)
    .sort()
    .flatMap((host) => new HostDraft(host, namespace, mesh).intents(callers));
}

class HostDraft {
  readonly #host: string;
  readonly #entries: readonly ObjectOf<"ServiceEntry">[];
  readonly #namespace: Namespace;
  readonly #mesh: Mesh;
  readonly #drafted: Drafted;

  constructor(host: string, namespace: Namespace, mesh: Mesh) {
    this.#host = host;
    this.#entries = hostIn(mesh, host).entries;
    this.#namespace = namespace;
    this.#mesh = mesh;
    this.#drafted = new Drafted(host, { host }, namespace.metadata.name, mesh);
  }

  /** For every port that some ServiceEntry of the mesh has for the host, as an intent without ports means them. */
  intents(callers: KnownCallers): readonly IntentDraft[] {
    const ports = [...new Set(this.#entries.flatMap(portNumbersOf))];
    return this.#drafted.intents(ports, (port) => this.#requests(port, { ...callers, hasIngress: false }));
  }

  /** A gateway on the way tells requests apart by their host, so that they may be allowed only with it. Nothing keeps callers without a proxy inside the mesh. */
  #requests(port: number, callers: KnownCallers): readonly EntryDraft[] {
    const all = this.#drafted.allowed(port, [{}, { hosts: [this.#host] }], callers);
    const allowed = all.flatMap(({ from, ...entry }) => {
      const inside = from.filter((caller) => caller !== "outside");
      return inside.length === 0 ? [] : [{ from: inside, ...entry }];
    });
    return this.#drafted.held(port, [
      ...allowed,
      ...this.#denied(port, allowed, callers),
      { from: ["mesh"], expect: "encrypted" },
      ...this.#routed(port),
    ]);
  }

  /** The other namespaces that may not, such as because an egress gateway refuses them. */
  #denied(port: number, allowed: readonly EntryDraft[], { accounts }: KnownCallers): readonly EntryDraft[] {
    const named = allowed.flatMap(({ from }) => from);
    if (named.includes("mesh")) return [];
    const isNamed = (namespace: string) =>
      named.some((caller) => caller === `namespace/${namespace}` || caller.startsWith(`serviceaccount/${namespace}/`));
    const from = [...accounts.keys()]
      .filter((namespace) => !isNamed(namespace))
      .map((namespace) => `namespace/${namespace}`)
      .filter((caller) => this.#drafted.holds(port, [{ from: [caller], expect: "denied" }]));
    return from.length === 0 || from.length > mostNamespaces ? [] : [{ from, expect: "denied" }];
  }

  /** Where a route sends the requests of everybody, or, if that is not one place, those of the namespace. */
  #routed(port: number): readonly EntryDraft[] {
    const namespace = this.#namespace;
    const callers: readonly (readonly [string, Caller])[] = [
      ["mesh", { kind: "mesh" }],
      [`namespace/${namespace.metadata.name}`, { kind: "namespace", namespace }],
    ];
    for (const [name, caller] of callers) {
      const destinations = this.#destinations(caller, port);
      const isApart = destinations.every(({ service, subset }) => service !== undefined || subset !== undefined);
      if (destinations.length > 0 && isApart) return [{ from: [name], expect: "routed", destinations }];
    }
    return [];
  }

  /** Requests that a gateway takes may be for the host alone. */
  #destinations(caller: Caller, port: number): readonly DestinationDraft[] {
    const { host, namespace } = { host: this.#host, namespace: this.#namespace };
    const to: Target = { kind: "host", host, entries: this.#entries, namespace, port };
    const found = new Map<string, DestinationDraft>();
    for (const { route } of outcomesOf({ caller, to, requests: everyRequest }, this.#mesh))
      for (const destination of route.destinations) {
        const draft = this.#draftOf(destination);
        found.set(JSON.stringify(draft), draft);
      }
    return [...found.values()];
  }

  #draftOf({ host, subset }: RouteDestination): DestinationDraft {
    const namespace = namespaceOfHost(host, this.#mesh.settings.domain);
    const service = namespace === undefined ? host : `${host.split(".")[0] ?? ""}.${namespace}`;
    return { ...(host === this.#host ? {} : { service }), ...(subset === undefined ? {} : { subset }) };
  }
}
