import { keyOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { mtlsOf, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { type RulesOverHost, rulesReadByEach } from "../traffic/destination-rule-lookup.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { type Arrival, Servers } from "./arrivals.ts";
import { type ClientTls, type ClientTlsChoice, clientTlsOf, portsApart, setsClientTls } from "./client-tls.ts";
import { anyPort, type Destination, destinationsWithTls } from "./destinations.ts";

/**
 * A DestinationRule that sets its clients' TLS, and the client namespaces that it names: its own, and those in
 * exportTo.
 */
export const clientsOfDestinationRule = relation(
  "clientsOfDestinationRule",
  index("DestinationRule", (rule) =>
    setsClientTls(rule) ? new Set([rule.metadata.namespace, ...rule.spec.exportTo]) : [],
  ),
  namespaceByName,
);

/** The client namespaces that a DestinationRule with TLS settings names, by name. */
export const clientNamespaces = fact(
  "clientNamespaces",
  "DestinationRule",
  [clientsOfDestinationRule],
  (rule, mesh): ReadonlyMap<string, Namespace> =>
    new Map(mesh.related(clientsOfDestinationRule, rule).map((namespace) => [namespace.metadata.name, namespace])),
);

/** One field of a DestinationRule that sets the TLS of its clients for workloads of a namespace. */
export interface TlsPath {
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly tls: ClientTls;
  /** The namespaces whose clients use it, in groups with the same result; `""`: every other namespace. */
  readonly clients: ReadonlySet<readonly string[]>;
  /** In the order of the destinations. Paths to the same workloads can share the list. */
  readonly arrivals: readonly Arrival[];
}

/** Stands for any namespace that no rule and no exportTo names. */
const anyOther = "";

/** The fields of DestinationRules that make clients use plaintext, or TLS other than the mesh's, for a namespace. */
export const tlsPathsInto = fact(
  "tlsPathsInto",
  "Namespace",
  [destinationsWithTls, peerAuthenticationsOfNamespace, readers],
  (namespace, mesh): readonly TlsPath[] => {
    const destinations = mesh.get(destinationsWithTls, namespace);
    if (destinations.length === 0) return [];
    const servers = new Servers(namespace, mtlsOf(namespace, mesh), mesh);
    const paths = new Paths(destinations, servers, mesh);
    for (const [served, places] of placesByRules(destinations)) {
      // Clients of each control plane, because the view does not tell which one those of another namespace have.
      const { host } = destinations[places[0] ?? 0] as Destination;
      for (const rules of rulesReadByEach(served, host, mesh.settings))
        for (const [i, use] of usesOf(rules, namespace.metadata.name, mesh.settings).entries())
          paths.add(use, i, places);
    }
    return paths.all();
  },
);

/** The tlsPathsInto a namespace by the key of their rule. */
export const tlsPathsByRule = fact(
  "tlsPathsByRule",
  "Namespace",
  [tlsPathsInto],
  (namespace, mesh): ReadonlyMap<string, readonly TlsPath[]> =>
    Map.groupBy(mesh.get(tlsPathsInto, namespace), ({ rule }) => keyOf(rule)),
);

/** The positions of the destinations by their DestinationRules. */
function placesByRules(destinations: readonly Destination[]): ReadonlyMap<RulesOverHost, readonly number[]> {
  const places = new Map<RulesOverHost, number[]>();
  for (const [i, { rules }] of destinations.entries()) {
    const there = places.get(rules);
    if (there === undefined) places.set(rules, [i]);
    else there.push(i);
  }
  return places;
}

interface Use {
  readonly used: MergedDestinationRule;
  /** The client namespaces that use it, in groups with the same result. */
  readonly clients: readonly (readonly string[])[];
}

/** The merged DestinationRules that clients use for services of a namespace. */
function usesOf(rules: RulesOverHost, namespace: string, settings: MeshSettings): readonly Use[] {
  const uses = new Map<MergedDestinationRule, (readonly string[])[]>();
  for (const clients of clientGroups(rules.rules, namespace, settings)) {
    const [client = anyOther] = clients;
    for (const used of rules.usedBy(client, namespace)) {
      if (used === undefined) continue;
      const users = uses.get(used);
      if (users === undefined) uses.set(used, [clients]);
      else users.push(clients);
    }
  }
  return [...uses].map(([used, clients]) => ({ used, clients }));
}

/** The client namespaces that can get different rules, grouped by the rules that are exported to them. */
function clientGroups(
  rules: readonly DestinationRule[],
  namespace: string,
  { rootNamespace }: MeshSettings,
): readonly (readonly string[])[] {
  const alone = new Set([...rules.map(({ metadata }) => metadata.namespace), namespace, rootNamespace, anyOther]);
  const exports = new Map<string, string>();
  for (const [i, { spec }] of rules.entries())
    for (const to of new Set(spec.exportTo))
      if (!alone.has(to) && to !== "*" && to !== ".") exports.set(to, `${exports.get(to) ?? ""} ${i}`);
  const together = Map.groupBy(exports.keys(), (client) => exports.get(client));
  return [...[...alone].map((client) => [client]), ...together.values()];
}

/** The TLS settings for the ports of a host or of a subset that are plaintext, or TLS other than the mesh's. */
interface Choices {
  /** The position of the subset in the merged rule; -1: the settings of the rule itself. */
  readonly i: number;
  /** The labels of the subset; undefined: for all pods of the host. */
  readonly subset: Destination["labels"] | undefined;
  /** The ports with an entry, with or without tls. */
  readonly named: ReadonlySet<number | undefined>;
  readonly byPort: ReadonlyMap<number, ClientTlsChoice>;
  /** For all other ports. */
  readonly rest: ClientTlsChoice | undefined;
}

/** Each setting once: ports without an entry share one, and a subset without tls has that of the rule. */
function choicesOf(used: MergedDestinationRule): readonly Choices[] {
  const found = [choicesFor(used, -1, undefined)];
  for (const [i, subset] of used.subsets.entries())
    if (subset.trafficPolicy !== undefined) found.push(choicesFor(used, i, subset));
  return found.filter(({ byPort, rest }) => byPort.size > 0 || rest !== undefined);
}

function choicesFor(
  used: MergedDestinationRule,
  i: number,
  subset: MergedDestinationRule["subsets"][number] | undefined,
): Choices {
  const policy = subset === undefined ? used.trafficPolicy : subset.trafficPolicy;
  const named = portsApart(policy);
  const byPort = new Map<number, ClientTlsChoice>();
  for (const port of named) {
    if (port === undefined) continue;
    const choice = foreign(clientTlsOf(used, port, subset));
    if (choice !== undefined) byPort.set(port, choice);
  }
  const hasRest = subset === undefined || policy?.tls !== undefined;
  const rest = hasRest ? foreign(clientTlsOf(used, otherThan(named), subset)) : undefined;
  return { i, subset: subset?.labels, named, byPort, rest };
}

function otherThan(named: ReadonlySet<number | undefined>): number {
  let port = anyPort;
  while (named.has(port)) port--;
  return port;
}

const foreign = (choice: ClientTlsChoice): ClientTlsChoice | undefined =>
  choice.rule !== undefined && (choice.tls === "plaintext" || choice.tls === "tls") ? choice : undefined;

/** The order of paths: positions of the destination, of the merged rule, of the subset and of the port. */
type Rank = readonly [destination: number, use: number, subset: number, port: number];

interface Draft {
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly clients: Set<readonly string[]>;
  readonly lists: Set<readonly Arrival[]>;
  rank: Rank;
}

class Paths {
  readonly #destinations: readonly Destination[];
  readonly #servers: Servers;
  readonly #mesh: MeshView;
  readonly #drafts = new Map<DestinationRule, Map<string, Draft>>();
  readonly #byChoice = new Map<ClientTlsChoice, Draft>();
  readonly #ports: ReadonlyMap<number, number>[] = [];
  readonly #whole = new Map<readonly number[], readonly Arrival[]>();

  constructor(destinations: readonly Destination[], servers: Servers, mesh: MeshView) {
    this.#destinations = destinations;
    this.#servers = servers;
    this.#mesh = mesh;
  }

  /** `places`: the positions of the destinations that the merged rule is used for. */
  add({ used, clients }: Use, use: number, places: readonly number[]): void {
    this.#mesh.visited(used.from.length);
    for (const choices of choicesOf(used))
      if (choices.named.size === 0 && choices.subset === undefined) this.#addWhole(choices, clients, use, places);
      else for (const place of places) this.#addApart(choices, clients, use, place);
  }

  /** A setting without port entries has the same arrivals for every merged rule. */
  #addWhole({ i, rest }: Choices, clients: Use["clients"], use: number, places: readonly number[]): void {
    if (rest === undefined) return;
    let arrivals = this.#whole.get(places);
    if (arrivals === undefined) {
      arrivals = places.flatMap((place) => {
        const found = this.#servers.arrivalsAtAllPorts(this.#destinations[place] as Destination);
        return found ?? this.#arrivals(place, () => [...this.#portsOf(place).keys()], undefined);
      });
      this.#whole.set(places, arrivals);
    }
    this.#enter(rest, clients, [places[0] ?? 0, use, i, Number.POSITIVE_INFINITY], arrivals);
  }

  #addApart({ i, subset, named, byPort, rest }: Choices, clients: Use["clients"], use: number, place: number): void {
    const ports = this.#portsOf(place);
    for (const port of byPort.size < ports.size ? byPort.keys() : ports.keys()) {
      const [choice, at] = [byPort.get(port), ports.get(port)];
      if (choice !== undefined && at !== undefined)
        this.#enter(
          choice,
          clients,
          [place, use, i, at],
          this.#arrivals(place, () => [port], subset),
        );
    }
    const others = () => [...ports.keys()].filter((port) => !named.has(port));
    if (rest !== undefined && (named.size < ports.size || others().length > 0))
      this.#enter(rest, clients, [place, use, i, Number.POSITIVE_INFINITY], this.#arrivals(place, others, subset));
  }

  /** The ports of a destination and their positions; anyPort if none are known. */
  #portsOf(place: number): ReadonlyMap<number, number> {
    let ports = this.#ports[place];
    if (ports === undefined) {
      const said = new Set(this.#destinations[place]?.ports);
      ports = new Map([...(said.size > 0 ? said : [anyPort])].map((port, i) => [port, i]));
      this.#ports[place] = ports;
    }
    return ports;
  }

  #arrivals(
    place: number,
    ports: () => readonly number[],
    subset: Destination["labels"] | undefined,
  ): readonly Arrival[] {
    return this.#servers.arrivals(this.#destinations[place] as Destination, ports, subset);
  }

  #enter(choice: ClientTlsChoice, clients: Use["clients"], rank: Rank, arrivals: readonly Arrival[]): void {
    this.#mesh.visited(1);
    const draft = this.#byChoice.get(choice) ?? this.#draftOf(choice, rank);
    if (isBefore(rank, draft.rank)) draft.rank = rank;
    for (const group of clients) draft.clients.add(group);
    draft.lists.add(arrivals);
  }

  /** Several merged rules can contain the same field. */
  #draftOf(choice: ClientTlsChoice, rank: Rank): Draft {
    const rule = choice.rule as DestinationRule;
    const ofRule = this.#drafts.get(rule) ?? new Map<string, Draft>();
    this.#drafts.set(rule, ofRule);
    const key = `${choice.tls} ${choice.at?.join(".")}`;
    const draft = ofRule.get(key) ?? { rule, choice, clients: new Set(), lists: new Set(), rank };
    ofRule.set(key, draft);
    this.#byChoice.set(choice, draft);
    return draft;
  }

  all(): readonly TlsPath[] {
    const places = new Map(this.#destinations.map((destination, i) => [destination, i]));
    return [...this.#drafts.values()]
      .flatMap((ofRule) => [...ofRule.values()])
      .sort((a, b) => (isBefore(a.rank, b.rank) ? -1 : 1))
      .map(({ rule, choice, clients, lists }) => ({
        rule,
        choice,
        tls: choice.tls,
        clients,
        arrivals: joined([...lists], places),
      }));
  }
}

function isBefore(a: Rank, b: Rank): boolean {
  for (const [i, place] of a.entries()) if (place !== b[i]) return place < (b[i] as number);
  return false;
}

function joined(lists: readonly (readonly Arrival[])[], places: ReadonlyMap<Destination, number>): readonly Arrival[] {
  const [only] = lists;
  if (lists.length === 1 && only !== undefined) return only;
  const placeOf = ({ destination }: Arrival) => places.get(destination) ?? 0;
  return lists.flat().sort((a, b) => placeOf(a) - placeOf(b));
}
