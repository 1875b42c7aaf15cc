import { idOf } from "../../kube/identity.ts";
import { isSameAge, oldestFirst } from "../objects/creation-order.ts";
import { everyNamespace } from "../traffic/export-to.ts";
import { differenceBetween, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { covers, mostSpecificFirst } from "../traffic/hosts.ts";
import { hasAddress } from "../traffic/service-entry-hosts.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { portOfDefinition, type ServiceEntry } from "./definitions.ts";
import type { Source } from "./outcome.ts";

/** A host that clients send requests to, and the ServiceEntries with a name for it. */
export interface NamedHost {
  /** Without a wildcard, in lower case. */
  readonly host: string;
  readonly port: number;
  readonly entries: readonly ServiceEntry[];
}

/** Why the proxy of a client does not know a host that is defined so; undefined: it knows it. */
export type Hides = (name: string, entry: ServiceEntry) => string | undefined;

/** What a client has for a host and a port. */
export type EntryChoice =
  /** `name`: the host, or a wildcard that covers it. */
  | { readonly kind: "defined"; readonly name: string; readonly entry: ServiceEntry }
  /** The client knows nothing of the port, so that requests go to the address that it looked up, or are refused. */
  | { readonly kind: "unknown"; readonly because: string }
  /** The client knows the host, and has nothing behind the port. */
  | { readonly kind: "nowhere"; readonly because: string }
  | { readonly kind: "undecided"; readonly because: string };

/**
 * Which ServiceEntry a client uses for a host. The most specific name counts that has the port, as names are told apart by
 * virtual hosts and by what TLS asks for. Of several ServiceEntries with one name, those of the client's own namespace are used,
 * then those of the namespace that comes first (Istio pilot/pkg/model/push_context.go initServiceRegistry,
 * servicesExportedToNamespace; sidecar.go selectServices, appendSidecarServices).
 */
export function chosenEntry(to: NamedHost, source: Source, hides: Hides, settings: MeshSettings): EntryChoice {
  let because: string | undefined;
  for (const named of namesOf(to, settings)) {
    const found =
      source.sender === "proxy" ? atProxy(named, to.port, source, hides) : elsewhere(named, to.port, source);
    if (found.kind !== "unknown") return found;
    because ??= found.because;
  }
  return { kind: "unknown", because: because ?? `no ServiceEntry defines host ${to.host}` };
}

/** The ServiceEntries with one name for a host. Many clients ask for the same. */
interface Named {
  readonly name: string;
  /** The first is the one that istiod sorts first. */
  readonly all: readonly ServiceEntry[];
  readonly byNamespace: ReadonlyMap<string, readonly ServiceEntry[]>;
  /** By the namespaces that they are exported to by name; `*`: those for all. */
  readonly byClient: ReadonlyMap<string, readonly ServiceEntry[]>;
}

interface KnownNames {
  readonly host: string;
  readonly settings: MeshSettings;
  readonly names: readonly Named[];
}
const known = new WeakMap<readonly ServiceEntry[], KnownNames>();

/** The most specific name first. */
function namesOf({ host, entries }: NamedHost, settings: MeshSettings): readonly Named[] {
  let found = known.get(entries);
  if (found?.host !== host || found.settings !== settings) {
    const names = new Set(entries.flatMap(({ spec }) => spec.hosts.filter((name) => covers(name, host))));
    const sorted = [...names].sort(mostSpecificFirst).map((name) => named(name, entries, settings));
    known.set(entries, (found = { host, settings, names: sorted }));
  }
  return found.names;
}

function named(name: string, entries: readonly ServiceEntry[], settings: MeshSettings): Named {
  const all = entries.filter(({ spec }) => spec.hosts.includes(name)).sort(firstOfServices);
  const byClient = new Map<string, ServiceEntry[]>();
  for (const entry of all)
    for (const client of serviceVisibleTo(entry, settings)) {
      const there = byClient.get(client);
      if (there === undefined) byClient.set(client, [entry]);
      else there.push(entry);
    }
  return { name, all, byNamespace: Map.groupBy(all, ({ metadata }) => metadata.namespace), byClient };
}

/** The order of the services that istiod makes of them, which all have the same name (SortServicesByCreationTime). */
function firstOfServices(a: ServiceEntry, b: ServiceEntry): number {
  if (!isSameAge(a, b) || a.metadata.namespace === b.metadata.namespace) return oldestFirst(a, b);
  return a.metadata.namespace < b.metadata.namespace ? -1 : 1;
}

function atProxy(of: Named, port: number, { namespace }: Source, hides: Hides): EntryChoice {
  const { name, all } = of;
  const client = namespace?.metadata.name ?? "";
  const isSeen = (entry: ServiceEntry) => hides(name, entry) === undefined;
  const first = firstFor(client, of, isSeen);
  if (first !== undefined) return amongOfNamespace(name, port, besideFor(client, first, of).filter(isSeen));
  const [hidden] = all;
  return { kind: "unknown", because: (hidden && hides(name, hidden)) ?? `nothing defines ${name}` };
}

/** Of the client's own namespace, then those that are exported to it by name, then those for all. */
function firstFor(
  client: string,
  { byNamespace, byClient }: Named,
  isSeen: (entry: ServiceEntry) => boolean,
): ServiceEntry | undefined {
  for (const some of [byNamespace.get(client), byClient.get(client), byClient.get(everyNamespace)]) {
    const found = some?.find(isSeen);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Those of the namespace of one, in the order in which the client gets them. */
const besideFor = (client: string, { metadata }: ServiceEntry, { byClient }: Named): readonly ServiceEntry[] => {
  const inOrder = [client, everyNamespace].flatMap((visible) => byClient.get(visible) ?? []);
  return [...new Set(inOrder)].filter((one) => one.metadata.namespace === metadata.namespace);
};

/** istiod merges the ports of ServiceEntries of one namespace that agree in everything else, and the endpoints of all of them. */
function amongOfNamespace(name: string, port: number, entries: readonly ServiceEntry[]): EntryChoice {
  const [first] = entries;
  const [entry, another] = entries.filter((one) => portOfDefinition(one, port) !== undefined);
  if (first === undefined || entry === undefined) {
    return { kind: "unknown", because: `${first === undefined ? name : idOf(first)} has no port ${port}` };
  }
  if (another !== undefined && (hasEndpoints(entry) || hasEndpoints(another)))
    return {
      kind: "undecided",
      because: `${idOf(entry)} and ${idOf(another)} both define port ${port} of ${name}, and their endpoints are mixed`,
    };
  if (entry !== first && differenceBetween(first, entry) !== undefined)
    return {
      kind: "nowhere",
      because: `${idOf(first)} defines ${name} first, and ${idOf(entry)} differs from it, so that its port ${port} is left out`,
    };
  return { kind: "defined", name, entry };
}

const hasEndpoints = ({ spec }: ServiceEntry): boolean => !["", "NONE"].includes(spec.resolution ?? "");

/**
 * ztunnel takes the one of its own namespace, then the oldest of all, whatever they are exported to, if it has an address for the
 * host (Istio pilot/pkg/serviceregistry/ambient/services.go selectWorkloadServices, constructServiceEntries). A client without a
 * proxy knows none, and reaches what the name stands for.
 */
function elsewhere({ name, all, byNamespace }: Named, port: number, { sender, namespace }: Source): EntryChoice {
  const isKnown = (one: ServiceEntry) => sender !== "ztunnel" || hasAddress(name, one);
  const entry = byNamespace.get(namespace?.metadata.name ?? "")?.find(isKnown) ?? all.find(isKnown);
  if (entry === undefined) return { kind: "unknown", because: `nothing gives ${name} an address in the mesh` };
  if (portOfDefinition(entry, port) !== undefined) return { kind: "defined", name, entry };
  const because = `${idOf(entry)} has no port ${port}`;
  return { kind: sender === "ztunnel" ? "nowhere" : "unknown", because };
}
