import { sidecarsOfPassing } from "../traffic/bound-ports.ts";
import { keyOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView, setting } from "../../view/view.ts";
import { readers } from "../membership/control-plane.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { mtlsOf, peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { rulesReadByEach } from "../traffic/destination-rule-lookup.ts";
import type { RulesOverHost } from "../traffic/destination-rules-of-host.ts";
import type { MergedDestinationRule } from "../traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import { type Definition, definitionsFor, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { everyNamespace } from "../traffic/export-to.ts";
import { type Arrival, Servers } from "./arrivals.ts";
import type { BackendTlsPolicy } from "../traffic/backend-tls-policies.ts";
import { type ClientTls, type ClientTlsChoice, clientTlsOf, portsApart } from "./client-tls.ts";
import { clientsOfDestinationRule } from "./hidden-clients.ts";
import { anyPort, type Destination, destinationsWithTls } from "./destinations.ts";

/** The client namespaces that a DestinationRule with TLS settings names, by name. */
export const clientNamespaces = fact(
  "clientNamespaces",
  "DestinationRule",
  [clientsOfDestinationRule],
  (rule, mesh): ReadonlyMap<string, Namespace> =>
    new Map(mesh.related(clientsOfDestinationRule, rule).map((namespace) => [namespace.metadata.name, namespace])),
);

/** One field of a DestinationRule, or a BackendTLSPolicy, that sets the TLS of its clients for workloads of a namespace. */
export interface TlsPath {
  /** If a BackendTLSPolicy alone decides, that which istiod makes of it; the choice has no rule then. */
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly tls: ClientTls;
  /** The namespaces whose clients use it, in groups with the same result; `""`: every other namespace. */
  readonly clients: ReadonlySet<readonly string[]>;
  /** In the order of the destinations. Paths to the same workloads can share the list. */
  readonly arrivals: readonly Arrival[];
  /** The clients and destinations in detail. */
  readonly reaches: readonly Reach[];
}

/** What users have written of which the setting comes. */
export const writtenBy = ({ rule, choice }: Pick<TlsPath, "rule" | "choice">): DestinationRule | BackendTlsPolicy =>
  choice.rule ?? choice.policy ?? rule;

/** Clients with the same settings, and destinations to which they send requests with a field of a DestinationRule. */
export interface Reach {
  readonly clients: readonly (readonly string[])[];
  /** The merged DestinationRule that they use. */
  readonly used: MergedDestinationRule;
  /** Reaches to the same destinations can share the list. */
  readonly destinations: readonly Destination[];
  /** If the field is for all ports, those that have settings of their own. */
  readonly except: ReadonlySet<number | undefined>;
}

/** Stands for any namespace that no rule and no exportTo names. */
export const anyOther = "";

/** The fields of DestinationRules that make clients use plaintext, or TLS other than the mesh's, for a namespace. */
export const tlsPathsInto = fact(
  "tlsPathsInto",
  "Namespace",
  [destinationsWithTls, peerAuthenticationsOfNamespace, sidecarsOfPassing, readers, setting("revisions")],
  (namespace, mesh): readonly TlsPath[] => {
    const destinations = mesh.get(destinationsWithTls, namespace);
    if (destinations.length === 0) return [];
    const servers = new Servers(namespace, mtlsOf(namespace, mesh), mesh);
    const paths = new Paths(destinations, servers, mesh);
    for (const [served, places] of placesByRules(destinations)) {
      // Clients of each control plane, because the view does not tell which one those of another namespace have.
      const destination = destinations[places[0] ?? 0] as Destination;
      for (const rules of rulesReadByEach(served, destination.host, mesh.settings))
        for (const [i, use] of usesOf(rules, namespace.metadata.name, destination, mesh.settings).entries())
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

/** The positions of the destinations by their DestinationRules; each alone whose host other objects define too. */
function* placesByRules(destinations: readonly Destination[]): Iterable<readonly [RulesOverHost, readonly number[]]> {
  const places = new Map<RulesOverHost, number[]>();
  for (const [i, { rules, definitions }] of destinations.entries()) {
    const there = places.get(rules);
    if (definitions !== undefined) yield [rules, [i]];
    else if (there === undefined) places.set(rules, [i]);
    else there.push(i);
  }
  yield* places;
}

export interface Use {
  readonly used: MergedDestinationRule;
  /** The client namespaces that use it, in groups with the same result. */
  readonly clients: readonly (readonly string[])[];
}

/** The merged DestinationRules that clients use for a destination in a namespace. */
export function usesOf(
  rules: RulesOverHost,
  namespace: string,
  { object, definitions }: Destination,
  settings: MeshSettings,
): readonly Use[] {
  const uses = new Map<MergedDestinationRule, (readonly string[])[]>();
  for (const clients of clientGroups(rules.rules, definitions ?? [], namespace, settings)) {
    const [client = anyOther] = clients;
    if (object && definitions && !definitionsFor(client, definitions, settings).includes(object)) continue;
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
  definitions: readonly Definition[],
  namespace: string,
  settings: MeshSettings,
): readonly (readonly string[])[] {
  const alone = new Set([
    ...[...rules, ...definitions].map(({ metadata }) => metadata.namespace),
    namespace,
    settings.rootNamespace,
    anyOther,
  ]);
  const lists = [
    ...rules.map(({ spec }) => new Set(spec.exportTo)),
    ...definitions.map((one) => serviceVisibleTo(one, settings)),
  ];
  const exports = new Map<string, string>();
  for (const [i, list] of lists.entries())
    for (const to of list)
      if (!alone.has(to) && to !== everyNamespace && to !== ".") exports.set(to, `${exports.get(to) ?? ""} ${i}`);
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

/** Stands for all ports but these. */
export function otherThan(named: ReadonlySet<number | undefined>): number {
  let port = anyPort;
  while (named.has(port)) port--;
  return port;
}

const foreign = (choice: ClientTlsChoice): ClientTlsChoice | undefined =>
  choice.tls === "plaintext" || choice.tls === "tls" ? choice : undefined;

/** The order of paths: positions of the destination, of the merged rule, of the subset and of the port. */
type Rank = readonly [destination: number, use: number, subset: number, port: number];

interface Draft {
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly clients: Set<readonly string[]>;
  readonly lists: Set<readonly Arrival[]>;
  readonly reaches: Reach[];
  rank: Rank;
}

/** Where a field applies: its clients and destinations, and their place in the order of paths. */
interface Place extends Reach {
  readonly rank: Rank;
}

class Paths {
  readonly #destinations: readonly Destination[];
  readonly #servers: Servers;
  readonly #mesh: MeshView;
  readonly #drafts = new Map<DestinationRule, Map<string, Draft>>();
  readonly #byChoice = new Map<ClientTlsChoice, Draft>();
  readonly #ports: ReadonlyMap<number, number>[] = [];
  readonly #whole = new Map<readonly number[], readonly Arrival[]>();
  readonly #lists = new Map<readonly number[], readonly Destination[]>();
  readonly #singles: (readonly Destination[])[] = [];

  constructor(destinations: readonly Destination[], servers: Servers, mesh: MeshView) {
    this.#destinations = destinations;
    this.#servers = servers;
    this.#mesh = mesh;
  }

  /** `places`: the positions of the destinations that the merged rule is used for. */
  add({ used, clients }: Use, use: number, places: readonly number[]): void {
    this.#mesh.visited(used.from.length);
    for (const choices of choicesOf(used))
      if (choices.named.size === 0 && choices.subset === undefined)
        this.#addWhole(choices, { used, clients }, use, places);
      else for (const place of places) this.#addApart(choices, { used, clients }, use, place);
  }

  /** A setting without port entries has the same arrivals for every merged rule. */
  #addWhole({ i, named, rest }: Choices, { used, clients }: Use, use: number, places: readonly number[]): void {
    if (rest === undefined) return;
    let arrivals = this.#whole.get(places);
    if (arrivals === undefined) {
      arrivals = places.flatMap((place) => {
        const found = this.#servers.arrivalsAtAllPorts(this.#destinations[place] as Destination);
        return found ?? this.#arrivals(place, () => [...this.#portsOf(place).keys()], undefined);
      });
      this.#whole.set(places, arrivals);
    }
    const destinations = this.#destinationsAt(places);
    const rank: Rank = [places[0] ?? 0, use, i, Number.POSITIVE_INFINITY];
    this.#enter(rest, { clients, used, destinations, except: named, rank }, arrivals);
  }

  #destinationsAt(places: readonly number[]): readonly Destination[] {
    let found = this.#lists.get(places);
    if (found === undefined) {
      found = places.map((place) => this.#destinations[place] as Destination);
      this.#lists.set(places, found);
    }
    return found;
  }

  #addApart({ i, subset, named, byPort, rest }: Choices, { used, clients }: Use, use: number, place: number): void {
    const ports = this.#portsOf(place);
    const destinations = this.#single(place);
    const at = (port: number): Place => ({
      clients,
      used,
      destinations,
      except: named,
      rank: [place, use, i, port],
    });
    for (const port of byPort.size < ports.size ? byPort.keys() : ports.keys()) {
      const [choice, i] = [byPort.get(port), ports.get(port)];
      if (choice !== undefined && i !== undefined)
        this.#enter(
          choice,
          at(i),
          this.#arrivals(place, () => [port], subset),
        );
    }
    const others = () => [...ports.keys()].filter((port) => !named.has(port));
    if (rest !== undefined && (named.size < ports.size || others().length > 0))
      this.#enter(rest, at(Number.POSITIVE_INFINITY), this.#arrivals(place, others, subset));
  }

  #single(place: number): readonly Destination[] {
    let found = this.#singles[place];
    if (found === undefined) {
      found = [this.#destinations[place] as Destination];
      this.#singles[place] = found;
    }
    return found;
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

  #enter(choice: ClientTlsChoice, place: Place, arrivals: readonly Arrival[]): void {
    this.#mesh.visited(1);
    const draft = this.#byChoice.get(choice) ?? this.#draftOf(choice, place);
    if (isBefore(place.rank, draft.rank)) draft.rank = place.rank;
    for (const group of place.clients) draft.clients.add(group);
    draft.lists.add(arrivals);
    draft.reaches.push(place);
  }

  /** Several merged rules can contain the same field. */
  #draftOf(choice: ClientTlsChoice, { used, rank }: Place): Draft {
    const rule = (choice.rule ?? used.made) as DestinationRule;
    const ofRule = this.#drafts.get(rule) ?? new Map<string, Draft>();
    this.#drafts.set(rule, ofRule);
    const key = `${choice.tls} ${choice.at?.join(".") ?? choice.policy?.metadata.name} ${choice.port}`;
    const draft = ofRule.get(key) ?? { rule, choice, clients: new Set(), lists: new Set(), reaches: [], rank };
    ofRule.set(key, draft);
    this.#byChoice.set(choice, draft);
    return draft;
  }

  all(): readonly TlsPath[] {
    const places = new Map(this.#destinations.map((destination, i) => [destination, i]));
    return [...this.#drafts.values()]
      .flatMap((ofRule) => [...ofRule.values()])
      .sort((a, b) => (isBefore(a.rank, b.rank) ? -1 : 1))
      .map(({ rule, choice, clients, lists, reaches }) => ({
        rule,
        choice,
        tls: choice.tls,
        clients,
        reaches,
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
