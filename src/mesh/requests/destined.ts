import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { type Definition, serviceEntriesBesideServiceEntry } from "../traffic/definition-choice.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { ClientScope, scopeReads } from "./client-scope.ts";
import { aliased, aliasReads } from "./aliases.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { portOfDefinition, type ServiceEntry } from "./definitions.ts";
import { chosenEntry, type NamedHost } from "./entry-choice.ts";
import { everyAddressReads, isOpenAt, type OpenEntry, sharedListenerAt } from "./every-address.ts";
import type { Source } from "./outcome.ts";
import type { Target } from "./question.ts";
import { type Destined, unknownAddressOf } from "./routes.ts";

/** What `destinedFor` reads. */
export const destinedReads = [
  ...scopeReads,
  ...aliasReads,
  ...everyAddressReads,
  serviceEntriesBesideServiceEntry,
] as const;
type View = MeshView<(typeof destinedReads)[number]>;

type HostTarget = Exclude<Target, { kind: "workloads" }>;

/** What a target is for one client: what its proxy has for the host, or why it knows nothing of it. */
export function destinedFor(target: HostTarget, source: Source, mesh: View): Destined {
  const client = { source, scope: new ClientScope(source, false, mesh) };
  return asTaken(nameFor(target, client, mesh), target, client, mesh);
}

function nameFor(target: HostTarget, { source, scope }: Client, mesh: View): Destined {
  if (target.kind === "host") return toEntries(target, { source, scope }, mesh);
  const { service, port, called } = target;
  if (!isAlias(service)) return { ...toService(service, port, scope, mesh), called };
  const { host, service: concrete, entries, covering, loop } = aliased(service, mesh);
  const own = hostOfService(service, mesh.settings.domain);
  if (loop !== undefined)
    return { host: own, port, definition: undefined, name: own, hidden: undefined, missing: loop };
  const found =
    concrete === undefined
      ? toEntries({ host, port, entries: [...entries, ...covering.filter(isByAddress(port))] }, { source, scope }, mesh)
      : toService(concrete, port, scope, mesh);
  const hidden = scope.hides(own, service, port);
  if (hidden === undefined) return { ...found, alias: service };
  return asNotExported(found, { alias: service, own, hidden }, scope);
}

/** What an alias stands for, for a client that does not know the alias. */
function asNotExported(
  found: Destined,
  { alias, own, hidden }: { readonly alias: Service; readonly own: string; readonly hidden: string },
  scope: ClientScope,
): Destined {
  const { port } = found;
  const isByName = found.definition !== undefined && !isByAddress(port)(found.definition);
  if (!isByName) return found;
  // Whatever exportTo says, an alias is a name of what it stands for, and a Sidecar that does not import it takes the name away (Istio
  // pilot/pkg/model/push_context.go resolveServiceAliases, pilot/pkg/networking/core/httproute.go generateVirtualHostDomains).
  const isImported = scope.egress?.importsService(own, alias.metadata.namespace, port) !== false;
  const missing = isImported ? {} : { hidden: found.hidden ?? hidden };
  return { ...found, alias, isAliasHidden: true, ...missing };
}

/** Whether requests to a port are told apart by their address alone. */
const isByAddress = (port: number) => (of: Definition) => portOfDefinition(of, port)?.protocol !== "HTTP";

function toService(definition: Service, port: number, scope: ClientScope, mesh: View): Destined {
  const host = hostOfService(definition, mesh.settings.domain);
  return { host, port, definition, name: host, hidden: scope.hides(host, definition, port) };
}

interface Client {
  readonly source: Source;
  readonly scope: ClientScope;
}

function toEntries(to: NamedHost, { source, scope }: Client, mesh: View): Destined {
  const { host, port, entries } = to;
  const choice = chosenEntry(to, source, (name, entry) => scope.hides(name, entry, to.port), mesh.settings);
  const undefinedHost = { host, port, definition: undefined, name: host };
  if (choice.kind === "defined") return { host, port, definition: choice.entry, name: choice.name, hidden: undefined };
  if (choice.kind === "undecided") return { ...undefinedHost, hidden: undefined, unclear: choice.because };
  if (choice.kind === "nowhere") return { ...undefinedHost, hidden: undefined, missing: choice.because };
  if (!mesh.knowsAll("ServiceEntry") && entries.length === 0)
    return { ...undefinedHost, hidden: undefined, unclear: `${choice.because}, as far as is known` };
  // Which one is named does not depend on the order of the view.
  const [inside] = entries.filter(({ spec }) => spec.workloadSelector !== undefined).sort(oldestFirst);
  const unclearAddress = inside && unknownAddressOf(inside);
  return { ...undefinedHost, hidden: choice.because, unclearAddress };
}

/**
 * What becomes of requests to an address that the client has no listener of its own for: it is that of a host that it does not know, or
 * that has no address in the mesh. A ServiceEntry may take all connections to the port. Where the client reads HTTP there, too,
 * requests of HTTP are told apart by their host.
 */
function asTaken(to: Destined, target: HostTarget, client: Client, mesh: View): Destined {
  const isTcp = isSentAsTcp(to, target);
  const open = isTcp ? openIn(to, client.scope.answersDns) : undefined;
  if (!isOfSidecar(client) || isDecided(to) || isApart(to, isTcp, open)) return to;
  const listener = sharedListenerAt(to.port, client.scope, mesh);
  if (listener === undefined || (!isTcp && listener.readsHttp)) return to;
  if (listener.tcp === undefined) return open === undefined ? to : withoutListener(to, open);
  return takenBy(listener.tcp, to, client, mesh);
}

function takenBy(taking: OpenEntry, to: Destined, client: Client, mesh: View): Destined {
  if (to.hidden === undefined && taking.name === to.name) return to;
  return { ...ofTaking(taking, to.port, client, mesh), asked: to.host };
}

/** Other connections have a listener for their address, or are told apart by the name in TLS. */
const isApart = ({ hidden }: Destined, isTcp: boolean, open: ServiceEntry | undefined): boolean =>
  isTcp && hidden === undefined && open === undefined;

/** Others may define the same host, and be what the client uses. */
function ofTaking({ entry, name }: OpenEntry, port: number, client: Client, mesh: View): Destined {
  const all = mesh.related(serviceEntriesBesideServiceEntry, entry).filter(({ spec }) => spec.hosts.includes(name));
  if (all.length > 1) return toEntries({ host: name, port, entries: all }, client, mesh);
  return { host: name, port, definition: entry, name, hidden: undefined };
}

const isDecided = ({ unclear, missing }: Destined): boolean => unclear !== undefined || missing !== undefined;
const isOfSidecar = ({ source }: Client): boolean => source.sender === "proxy" && !source.isGateway;

/** What clients send follows from what defines the host, whether they know it or not. */
function isSentAsTcp({ definition, port }: Destined, target: HostTarget): boolean {
  const ofTarget = target.kind === "host" ? target.entries : [];
  const all = definition === undefined ? ofTarget : [definition];
  const [protocol] = all.flatMap((one) => portOfDefinition(one, port)?.protocol ?? []);
  return protocol === undefined ? port === portOfHttps : protocol === "TCP";
}

/** The ServiceEntry that defines the host, if it listens for every address. */
const openIn = ({ definition, name, port }: Destined, answersDns: boolean): ServiceEntry | undefined =>
  definition?.kind === "ServiceEntry" && isOpenAt(definition, name, port, answersDns) ? definition : undefined;

const withoutListener = ({ host, port }: Destined, entry: ServiceEntry): Destined => ({
  ...{ host, port, definition: undefined, name: host },
  hidden: `${idOf(entry)} ${leftOut}`,
});

/** Istio pilot/pkg/networking/core/listener.go isConflictWithWellKnownPort. */
const leftOut =
  "is left out, because something older listens for every address of the port, and not for MySQL or MongoDB alone";

/** What nothing says about a port: clients send TLS to this one. */
const portOfHttps = 443;
