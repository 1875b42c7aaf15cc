import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { parsedProtocol } from "../membership/service-protocol.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { type Definition, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { everyNamespace } from "../traffic/export-to.ts";
import { hostOfService, isWildcard } from "../traffic/hosts.ts";
import { isTlsProtocol } from "../traffic/service-entry-hosts.ts";
import type { ClientScope } from "./client-scope.ts";
import { portOfDefinition, type ServiceEntry } from "./definitions.ts";

// A port of TCP for which a ServiceEntry lists no addresses makes a sidecar listen for every address of the port. Connections there
// cannot be told apart, so that one ServiceEntry gets them all.

type Port = ServiceEntry["spec"]["ports"][number];

/** Ports without a protocol, which are read as HTTP if that is what comes, and as TCP otherwise. */
const isOpen = ({ protocol }: Port): boolean => parsedProtocol(protocol ?? "") !== "HTTP" && !isTlsProtocol(protocol);

/** Endpoints of resolution NONE have listeners of their own. */
const hasNoAddress = ({ spec }: ServiceEntry): boolean =>
  spec.addresses.length === 0 &&
  ((spec.resolution || "NONE") !== "NONE" || (spec.workloadSelector === undefined && spec.endpoints.length === 0));

const openPortsOf = (entry: ServiceEntry): readonly Port[] =>
  hasNoAddress(entry) ? entry.spec.ports.filter(isOpen) : [];
const numbersOf = (ports: readonly { readonly number?: number | undefined }[]): ReadonlySet<string> =>
  new Set(ports.flatMap(({ number }) => (number === undefined ? [] : String(number))));

/** ServiceEntries by the ports at which they take connections to every address. */
export const entryByOpenPort = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? numbersOf(openPortsOf(entry)) : [],
);
/** A ServiceEntry, and those that take connections to every address at one of its ports. */
export const openEntriesOfEntry = relation(
  "openEntriesOfEntry",
  index("ServiceEntry", ({ spec }) => numbersOf(spec.ports)),
  entryByOpenPort,
);
const serviceByPort = index("Service", ({ spec }) => numbersOf(spec.ports.map(({ port }) => ({ number: port }))));
/** A Service, and the ServiceEntries that take connections to every address at one of its ports. */
export const openEntriesOfService = relation("openEntriesOfService", serviceByPort, entryByOpenPort);
/** A ServiceEntry that takes connections to every address, and the Services with the port. */
export const servicesOfOpenEntry = relation("servicesOfOpenEntry", entryByOpenPort, serviceByPort);
/** A ServiceEntry that takes connections to every address, and the ServiceEntries with HTTP at the port. */
export const httpEntriesOfOpenEntry = relation(
  "httpEntriesOfOpenEntry",
  entryByOpenPort,
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings)
      ? numbersOf(entry.spec.ports.filter(({ protocol }) => parsedProtocol(protocol ?? "") === "HTTP"))
      : [],
  ),
);

/** The host of a ServiceEntry that gets the connections. */
export interface OpenEntry {
  readonly entry: ServiceEntry;
  readonly name: string;
}

/** Whether a ServiceEntry takes connections to every address at a port, by one of its names. `isNamed`: the proxy answers DNS queries. */
export const isOpenAt = (entry: ServiceEntry, name: string, port: number, isNamed: boolean): boolean =>
  openPortsOf(entry).some(({ number }) => number === port) && !(isNamed && canHaveAddress(entry, name));

/** A proxy that answers DNS queries gives hosts an address of their own (Istio pilot/pkg/model/service.go nodeUsesAutoallocatedIPs). */
const canHaveAddress = ({ spec }: ServiceEntry, name: string): boolean =>
  !isWildcard(name) && (spec.resolution || "NONE") !== "NONE";

/** What takes connections to every address of a port, for whoever knows it, in its order. */
interface OpenAtPort {
  readonly open: readonly Open[];
  /** Those of which the proxy detects the protocol. */
  readonly undeclared: readonly Open[];
  readonly hasServerFirst: boolean;
}
/** Everything that takes connections to every address of a port: for proxies that answer DNS queries, and for others. */
const openAtPort = fact("openAtPort", "key", [openEntriesOfEntry], (port, mesh) => {
  const entries = mesh.under(openEntriesOfEntry, [port]);
  const [named, others] = [true, false].map((isNamed): OpenAtPort => {
    const open = entries.flatMap((entry) => openAt(entry, Number(port), isNamed, mesh)).sort(firstOfServices);
    const undeclared = open.filter(({ protocol }) => protocol === "");
    return { open, undeclared, hasServerFirst: open.some(isServerFirst) };
  }) as [OpenAtPort, OpenAtPort];
  return { named, others };
});

/** The Services with HTTP at a port, whoever knows them. */
const httpServicesAtPort = fact("httpServicesAtPort", "key", [servicesOfOpenEntry], (port, mesh) =>
  mesh
    .under(servicesOfOpenEntry, [port])
    .filter((service) => portOfDefinition(service, Number(port))?.protocol === "HTTP"),
);

/** What `sharedListenerAt` reads. */
export const everyAddressReads = [
  openAtPort,
  httpServicesAtPort,
  openEntriesOfEntry,
  openEntriesOfService,
  servicesOfOpenEntry,
  httpEntriesOfOpenEntry,
] as const;
type View = MeshView<(typeof everyAddressReads)[number]>;

/** What listens for every address of a port at the proxy of a client. */
export interface SharedListener {
  /** The host that gets connections that are no HTTP; undefined: they are passed on to their address, or refused. */
  readonly tcp: OpenEntry | undefined;
  /** Whether requests of HTTP are told apart by their host; else they are connections like others. */
  readonly readsHttp: boolean;
}

/**
 * What a client makes of connections to every address at a port. The first ServiceEntry that it knows gets them: what is exported to
 * it alone comes before what is exported to all, and then the oldest. HTTP has its own filter chain there, but not beside MySQL or
 * MongoDB, where whatever is younger is left out (Istio pilot/pkg/networking/core/listener.go buildSidecarOutboundListener,
 * isConflictWithWellKnownPort; pilot/pkg/model/push_context.go servicesExportedToNamespace). Undefined: no ServiceEntry listens so.
 */
export function sharedListenerAt(port: number, scope: ClientScope, mesh: View): SharedListener | undefined {
  const atPort = mesh.get(openAtPort, String(port));
  const { open, undeclared, hasServerFirst } = scope.answersDns ? atPort.named : atPort.others;
  const isKnown = ({ name, entry }: Open): boolean => scope.hides(name, entry) === undefined;
  if (hasServerFirst) {
    const known = open.filter(isKnown);
    mesh.visited(open.length);
    if (known.some(isServerFirst)) return merged([...known, ...httpAt(port, scope, mesh)].sort(firstOfServices));
  }
  const tcp = open.find(isKnown);
  if (tcp === undefined) return undefined;
  return { tcp, readsHttp: undeclared.some(isKnown) || !httpAt(port, scope, mesh).next().done };
}

/** What is left of these, which listen in this order. */
function merged(all: readonly Listening[]): SharedListener {
  let tcp: OpenEntry | undefined;
  let readsHttp = false;
  let existing: string | undefined;
  for (const one of all) {
    if (existing !== undefined && isExcluded(one.protocol, existing)) continue;
    if (one.entry !== undefined) tcp ??= { entry: one.entry, name: one.name };
    readsHttp ||= !isTcp(one);
    existing = isTcp(one) ? (existing ?? one.protocol) : "";
  }
  return { tcp, readsHttp };
}

const isExcluded = (protocol: string, existing: string): boolean =>
  protocol !== existing && [protocol, existing].some(isNameOfServerFirst);

/** Something that listens. `entry`: undefined if it is for HTTP. `protocol`: in lower case; empty: it is detected. */
interface Listening {
  readonly object: Definition;
  readonly name: string;
  readonly entry: ServiceEntry | undefined;
  readonly protocol: string;
  readonly isPublic: boolean;
}
type Open = Listening & OpenEntry;

const nameOfServerFirst: ReadonlySet<string> = new Set(["mysql", "mongo"]);
const isNameOfServerFirst = (protocol: string): boolean => nameOfServerFirst.has(protocol);
const isServerFirst = ({ protocol }: Listening): boolean => isNameOfServerFirst(protocol);
const isTcp = ({ entry, protocol }: Listening): boolean => entry !== undefined && protocol !== "";

const isPublic = (object: Definition, { settings }: Pick<MeshView, "settings">): boolean =>
  serviceVisibleTo(object, settings).has(everyNamespace);

function openAt(
  entry: ServiceEntry,
  port: number,
  isNamed: boolean,
  mesh: Pick<MeshView, "settings">,
): readonly Open[] {
  const said = entry.spec.ports.find(({ number }) => number === port)?.protocol ?? "";
  const protocol = parsedProtocol(said) === "undeclared" ? "" : said.toLowerCase();
  return entry.spec.hosts
    .filter((name) => isOpenAt(entry, name, port, isNamed))
    .map((name) => ({ object: entry, entry, name, protocol, isPublic: isPublic(entry, mesh) }));
}

/** What a client knows with HTTP at a port. */
function* httpAt(port: number, scope: ClientScope, mesh: View): Generator<Listening, undefined> {
  for (const service of mesh.get(httpServicesAtPort, String(port)))
    if (scope.hides(hostOfService(service, mesh.settings.domain), service) === undefined)
      yield ofHttp(service, service.metadata.name, mesh);
  for (const entry of mesh.under(httpEntriesOfOpenEntry, [String(port)]))
    for (const name of entry.spec.hosts) if (scope.hides(name, entry) === undefined) yield ofHttp(entry, name, mesh);
}

const ofHttp = (object: Definition, name: string, mesh: View): Listening => ({
  ...{ object, name, entry: undefined, protocol: "http", isPublic: isPublic(object, mesh) },
});

/** The order of the services that istiod makes of them. Those of a ServiceEntry have the names of its hosts (SortServicesByCreationTime). */
const firstOfServices = (a: Listening, b: Listening): number =>
  Number(a.isPublic) - Number(b.isPublic) || oldestFirst(named(a), named(b));
const named = ({ object, name }: Listening): Definition => ({ ...object, metadata: { ...object.metadata, name } });
