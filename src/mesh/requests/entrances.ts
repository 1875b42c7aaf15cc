import { idOf } from "../../kube/identity.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { servicesOfAddresses } from "../gateways/gateway-addresses.ts";
import { certificateReads, grantsOf, missingCertificate } from "../gateways/listener-certificates.ts";
import { type ListenerOwner, workloadsOfKubernetesGateway } from "../gateways/listener-gateways.ts";
import { canHaveListenerSets, listenersOfGateway } from "../gateways/listener-sets.ts";
import { readsOfConflicts, serverConflictsOf } from "../gateways/server-conflicts.ts";
import {
  type Gateway,
  isOverTls,
  passesThrough,
  readsHttp,
  type Server,
  serverHosts,
  serverNames,
  sharingOf,
} from "../gateways/servers.ts";
import {
  isDeployedByHand,
  isEastWest,
  isOfUnknownController,
  isIstiosIngress,
  isProxyOf,
  type KubernetesGateway,
} from "../membership/gateways.ts";
import { selectsWorkload } from "../membership/services.ts";
import { namespaceOfWorkload, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { covers } from "../traffic/hosts.ts";
import { workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { unknownClass } from "../waypoints/other-controllers.ts";
import { namespaceOfWaypoint } from "./enforcement.ts";
import type { EntryHost, Front } from "./front.ts";
import { type Taking, takingName } from "./gateway-chains.ts";
import { gatewayStreamReads, passesOn, streamAt, type StreamChoice, type Surroundings } from "./gateway-streams.ts";
import { proxiesOf } from "./ingress.ts";
import type { GatewayProxy } from "./question.ts";
import type { Offer } from "./virtual-hosts.ts";

/** A fact, because many questions can be about the hosts of one Gateway with many servers. */
const serversInConflict = fact(
  "serversInConflict",
  "Gateway",
  readsOfConflicts,
  (gateway, mesh): ReadonlySet<Server | undefined> =>
    new Set(serverConflictsOf(gateway, mesh).map(({ server }) => gateway.spec.servers[server])),
);

/** What `entrancesOf` reads. */
export const entranceReads = [
  serversInConflict,
  workloadsOfGateway,
  workloadsOfNamespace,
  namespaceOfWorkload,
  namespaceOfWaypoint,
  workloadsOfKubernetesGateway,
  servicesOfAddresses,
  listenersOfGateway,
  ...certificateReads,
  ...gatewayStreamReads,
] as const;
type View = MeshView<(typeof entranceReads)[number]>;

/** One proxy at which requests for a host come in, or why there is none. */
export interface Entrance {
  /** Undefined: none is known. */
  readonly proxy: GatewayProxy | undefined;
  /** The Gateway of the first offer; undefined: none offers the host. */
  readonly gateway: Gateway | ListenerOwner | undefined;
  /** The servers that take the requests, in the order of their Gateways. */
  readonly offers: readonly Offer[];
  /** How the servers read what comes in: as requests, as connections, or as TLS that they pass on by the name that it asks for. */
  readonly reads: Reading;
  /** The route of connections; undefined: the servers read requests, or there are none. */
  readonly stream: StreamChoice | undefined;
  /** Why the requests reach nothing there; undefined: the routes of the servers decide. */
  readonly closed: string | undefined;
  /** Why it is not known what takes them; undefined: it is. */
  readonly doubt: string | undefined;
}

export type Reading = "http" | "tcp" | "tls";

/** A host, or the name that TLS asks for, and a port. */
export type AskedAtGateway = Omit<EntryHost, "kind">;

interface AskedOfFront {
  readonly to: AskedAtGateway;
  readonly front: Front;
}

/** What the user wrote the server in. */
export const gatewayOf = ({ gateway, listener }: Offer): Gateway | ListenerOwner => listener?.owner ?? gateway;

/** The proxies that let in requests for a host, each with the servers that take them (Istio pilot/pkg/model/gateway.go mergeGateways). */
export function entrancesOf(to: AskedAtGateway, front: Front, mesh: View): readonly Entrance[] {
  const doubt = foreign(to, front, mesh);
  if (doubt !== undefined) return [{ ...nobody, doubt }];
  const { offers, leftOut } = offersOfListeners(to, front, mesh);
  const all = [...offersOfServers(to, front, mesh), ...offers].sort((a, b) => oldestFirst(a.gateway, b.gateway));
  const opened = openedTo(all, front, mesh);
  if (all.length > 0) return [...byProxy(all, { to, front }, mesh), ...opened];
  if (opened.length > 0) return opened;
  const unknown = ofUnknownClass(to, front, mesh);
  if (unknown !== undefined) return [{ ...nobody, doubt: unknown }];
  const missing = leftOut[0] ?? `no Gateway offers host ${to.host} for ${to.scheme} at port ${to.port}`;
  const isKnown = mesh.knowsAll("Gateway") && mesh.knowsAll("KubernetesGateway") && knowsSets(front, mesh);
  return [isKnown ? { ...nobody, closed: missing } : { ...nobody, doubt: `${missing}, as far as is known` }];
}

const knowsSets = ({ kubernetesGateways }: Front, mesh: View): boolean =>
  mesh.knowsAll("ListenerSet") || !kubernetesGateways.some((one) => canHaveListenerSets(one, mesh.settings));

/** Gateways without a known listener for a host, where ListenerSets that are not known can add one. */
const openedTo = (offers: readonly Offer[], { kubernetesGateways }: Front, mesh: View): readonly Entrance[] => {
  const offering = new Set(offers.map(({ listener }) => listener?.of));
  return kubernetesGateways
    .filter((gateway) => isIstiosIngress(gateway, mesh.settings) && !offering.has(gateway))
    .map((gateway) => ({ ...nobody, gateway, doubt: mesh.get(listenersOfGateway, gateway).others }))
    .filter(({ doubt }) => doubt !== undefined);
};

/** The same for one proxy alone. */
export function entranceAtProxy(to: AskedAtGateway, proxy: GatewayProxy, front: Front, mesh: View): Entrance {
  const all = entrancesOf(to, front, mesh);
  const own = all.find((one) => one.proxy !== undefined && keyOfProxy(one.proxy) === keyOfProxy(proxy));
  if (own !== undefined) return own;
  const other = all.find(({ doubt, proxy: of }) => doubt !== undefined && of === undefined);
  if (other !== undefined) return other;
  return { ...nobody, closed: `no Gateway offers ${to.host} for ${to.scheme} at port ${to.port} of ${proxy.name}` };
}

const keyOfProxy = ({ namespace, name }: GatewayProxy): string => `${namespace.metadata.name}/${name}`;

/** A Gateway without proxies counts only if no other one has any. */
function byProxy(offers: readonly Offer[], asked: AskedOfFront, mesh: View): readonly Entrance[] {
  const found = new Map<string, { readonly proxy: GatewayProxy; readonly offers: Offer[] }>();
  const unserved: Entrance[] = [];
  for (const offer of offers) {
    const proxies = proxiesOfOffer(offer, asked.to, mesh);
    if (typeof proxies === "string") unserved.push(closedAt(offer, proxies, mesh));
    else
      for (const proxy of proxies) {
        const key = keyOfProxy(proxy);
        const there = found.get(key) ?? { proxy, offers: [] };
        found.set(key, there);
        there.offers.push(offer);
      }
  }
  if (found.size === 0) return unserved.slice(0, 1);
  return [...found.values()].map((one) => entranceAt(one.proxy, one.offers, asked, mesh));
}

const nobody: Entrance = {
  proxy: undefined,
  gateway: undefined,
  offers: [],
  reads: "http",
  stream: undefined,
  closed: undefined,
  doubt: undefined,
};

function closedAt(offer: Offer, because: string, mesh: View): Entrance {
  const gateway = gatewayOf(offer);
  if (mesh.knowsAll("Workload") && mesh.knowsAll("Service")) return { ...nobody, gateway, closed: because };
  return { ...nobody, gateway, doubt: `${because}, as far as is known` };
}

/** Other classes of Istio than `istio` route in ways of their own. */
function foreign(to: AskedAtGateway, { kubernetesGateways }: Front, { settings }: View): string | undefined {
  const other = kubernetesGateways.find(
    (gateway) =>
      isEastWest(gateway, settings) &&
      gateway.spec.listeners.some(({ port, hostname }) => port === to.port && covers(hostname || "*", to.host)),
  );
  return (
    other &&
    `${idOf(other)} of class ${other.spec.gatewayClassName} offers host ${to.host}, and where it sends requests is not examined`
  );
}

/** Unless all GatewayClasses are known, a Gateway whose class is not may be Istio's. It counts where no other one offers the host. */
function ofUnknownClass(to: AskedAtGateway, { kubernetesGateways }: Front, mesh: View): string | undefined {
  if (mesh.knowsAll("GatewayClass")) return undefined;
  const offers = (gateway: KubernetesGateway) =>
    mesh
      .get(listenersOfGateway, gateway)
      .all.some(({ generated }) => generated.spec.servers.some((server) => isFor(server, generated, to)));
  const other = kubernetesGateways.find((gateway) => isOfUnknownController(gateway, mesh.settings) && offers(gateway));
  return other && `${idOf(other)} offers host ${to.host}, and has ${unknownClass(other, mesh.settings)}`;
}

const offersOfServers = (to: AskedAtGateway, { gateways }: Front, { settings }: View): readonly Offer[] =>
  gateways
    .filter((gateway) => isServed(gateway, settings))
    .flatMap((gateway) =>
      gateway.spec.servers
        .filter((server) => isFor(server, gateway, to))
        .map((server) => ({ gateway, server, listener: undefined })),
    );

function offersOfListeners(
  to: AskedAtGateway,
  { kubernetesGateways }: Front,
  mesh: View,
): { readonly offers: readonly Offer[]; readonly leftOut: readonly string[] } {
  const offers: Offer[] = [];
  const leftOut: string[] = [];
  const own = kubernetesGateways.filter((gateway) => isIstiosIngress(gateway, mesh.settings));
  for (const listener of own.flatMap((gateway) => mesh.get(listenersOfGateway, gateway).all)) {
    const { owner, generated } = listener;
    const [server] = generated.spec.servers;
    if (server === undefined || !isFor(server, generated, to)) continue;
    const because = listener.leftOut ?? missingCertificate(listener, grantsOf(owner, mesh))?.because;
    if (because === undefined) offers.push({ gateway: generated, server, listener });
    else leftOut.push(`listener ${listener.listener.name} of ${idOf(owner)} does not work: ${because}`);
  }
  return { offers, leftOut };
}

function isFor(server: Server, { metadata }: Gateway, { host, port, scheme }: AskedAtGateway): boolean {
  if (server.port?.number !== port) return false;
  const kind = sharingOf(server);
  // A server for TCP takes whatever comes, for whatever host.
  if (kind === "TCP") return true;
  if (scheme !== "https" && kind === "TLS") return passesOn(server) && serverNames(server, metadata.namespace).has("*");
  if (scheme !== sharing[kind] && !(scheme === "https" && isOverTls(server))) return false;
  return serverHosts(server, metadata.namespace).some((one) => covers(one.host.toLowerCase(), host));
}

const sharing = { HTTP: "http", TLS: "https" } as const;

/** The proxies of a Gateway; a text: why there are none. */
function proxiesOfOffer(
  { gateway, listener }: Offer,
  to: AskedAtGateway,
  mesh: View,
): readonly GatewayProxy[] | string {
  if (listener !== undefined) return proxiesOfListener(listener.of, to, mesh);
  const { selector } = gateway.spec;
  const workloads = mesh.related(workloadsOfGateway, gateway).filter(({ pod }) => selects(selector, pod.labels));
  const proxies = Object.keys(selector).length === 0 ? [] : proxiesOf(workloads, [], mesh);
  return proxies.length === 0 ? `${idOf(gateway)} selects no workload` : proxies;
}

/** istiod creates a Deployment for a Gateway, unless its addresses name a Service. */
function proxiesOfListener(
  gateway: KubernetesGateway,
  to: AskedAtGateway,
  mesh: View,
): readonly GatewayProxy[] | string {
  if (!isDeployedByHand(gateway)) {
    const workloads = mesh
      .related(workloadsOfKubernetesGateway, gateway)
      .filter((one) => isProxyOf(one, gateway, mesh.settings));
    return proxiesOf(workloads, [gateway], mesh);
  }
  const services = mesh.related(servicesOfAddresses, gateway);
  if (services.length === 0) return `no Service of its namespace has a name in spec.addresses of ${idOf(gateway)}`;
  const withPort = services.filter(({ spec }) => spec.ports.some(({ port }) => port === to.port));
  if (withPort.length === 0) return `${services.map(idOf).join(", ")} of ${idOf(gateway)} has no port ${to.port}`;
  const [namespace] = mesh.related(namespaceOfWaypoint, gateway);
  const all: readonly Workload[] = namespace === undefined ? [] : mesh.related(workloadsOfNamespace, namespace);
  mesh.visited(all.length * withPort.length);
  const workloads = all.filter((workload) => withPort.some((service) => selectsWorkload(service, workload)));
  const proxies = proxiesOf(workloads, [], mesh);
  return proxies.length === 0 ? `${withPort.map(idOf).join(", ")} of ${idOf(gateway)} selects no workload` : proxies;
}

/** All servers for plain HTTP share their port; of those with TLS, the name that the client asks for decides. */
function entranceAt(proxy: GatewayProxy, all: readonly Offer[], { to, front }: AskedOfFront, mesh: View): Entrance {
  const surroundings = { front, proxyNamespace: proxy.namespace.metadata.name, mesh };
  const { offers, stream } = to.scheme === "https" ? takingName(all, to.host, surroundings) : taking(all, surroundings);
  const [first] = offers;
  if (first === undefined) return nobody;
  const doubt = doubtAt(offers, to, mesh);
  const reads = to.scheme !== "https" && passesOn(first.server) ? "tcp" : readingOf(first.server);
  return { proxy, gateway: gatewayOf(first), offers, reads, stream, closed: undefined, doubt };
}

/**
 * What asks for no name goes to the filter chain for every name, also where the server passes on TLS, because istiod does not
 * make it a chain for TLS alone (pilot/pkg/networking/core/listener.go toFilterChainMatch).
 */
function taking(offers: readonly Offer[], surroundings: Surroundings): Taking {
  const [first] = offers;
  if (first !== undefined && passesOn(first.server)) return takingName(offers, "", surroundings);
  const isStream = first !== undefined && !readsHttp(first.server);
  return { offers, stream: isStream ? streamAt(first, surroundings) : undefined };
}

function readingOf(server: Server): Reading {
  if (readsHttp(server)) return "http";
  return passesThrough(server) ? "tls" : "tcp";
}

/** Why it is not known which server takes the requests, or what it does with them; undefined: it is. */
function doubtAt(offers: readonly Offer[], { host, scheme }: AskedAtGateway, mesh: View): string | undefined {
  const [first, ...others] = offers;
  if (first === undefined) return undefined;
  const id = idOf(gatewayOf(first));
  const apart = scheme === "http" ? others.filter(({ server }) => server.bind !== first.server.bind) : others;
  const other = apart.find(({ gateway }) => gateway !== first.gateway);
  if (other !== undefined)
    return `${id} and ${idOf(gatewayOf(other))} both offer host ${host} at the same port and proxy`;
  const { server } = first;
  const unread = unreadBeside(first, host, mesh);
  if (unread !== undefined) return unread;
  if (server.tls?.mode === "AUTO_PASSTHROUGH")
    return `${id} leads TLS to services that it names by their cluster (AUTO_PASSTHROUGH), which is not examined`;
  const conflicting = offers.find((offer) => offer.listener === undefined && isInConflict(offer, mesh));
  return conflicting && `another server conflicts with the one of ${idOf(conflicting.gateway)} for host ${host}`;
}

/** A listener that is added cannot have the host of another one, but one that fits better. */
function unreadBeside({ server, listener }: Offer, host: string, mesh: View): string | undefined {
  if (listener === undefined) return undefined;
  const isExact = sharingOf(server) === "TCP" || listener.listener.hostname?.toLowerCase() === host;
  return isExact ? undefined : mesh.get(listenersOfGateway, listener.of).others;
}

const isInConflict = ({ gateway, server }: Offer, mesh: View): boolean =>
  mesh.get(serversInConflict, gateway).has(server);
