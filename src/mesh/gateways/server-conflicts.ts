import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, reachedBy, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { selects } from "../objects/selectors.ts";
import type { Workload } from "../membership/workloads.ts";
import { coveringHosts } from "../traffic/hosts.ts";
import { workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { gatewaysAtLedPorts, type MeetingPort, meetingPorts, servicesLeadingPorts } from "./led-ports.ts";
import {
  formatServerHost,
  type Gateway,
  isPlainHttp,
  type Server,
  type Sharing,
  serverHosts,
  serverNames,
  sharingOf,
  terminatesHttps,
} from "./servers.ts";

/**
 * What makes servers of several Gateways meet at one listener: the same host, the same name in the TLS handshake, or
 * protocols that cannot share a port. A host is claimed by every server with settings of TLS, also by one for plain HTTP that
 * redirects to HTTPS (Istio pilot/pkg/model/gateway.go mergeGateways).
 */
type Claim =
  | { readonly of: "host"; readonly host: string }
  | { readonly of: "server name"; readonly name: string }
  | { readonly of: "port"; readonly sharing: Sharing };

/**
 * By the use of a port, the uses of an older server because of which istiod leaves the server out (Istio
 * pilot/pkg/model/gateway.go mergeGateways, canMergeProtocols). A plain server after one with TLS is kept.
 */
const excludedBy: Readonly<Record<Sharing, readonly Sharing[]>> = {
  HTTP: ["TCP"],
  TCP: ["HTTP", "TCP"],
  TLS: ["HTTP", "TCP"],
};

const listenerAt = (port: number, { bind }: Server): string => `${port} ${bind ?? ""}`;
const portOf = ({ port }: Server): number => port?.number ?? 0;

function* claimsOf(server: Server, gateway: Gateway): Iterable<Claim> {
  if (server.port === undefined) return;
  const sharing = sharingOf(server);
  yield { of: "port", sharing };
  // Envoy selects it for every connection that has no other server.
  if (sharing === "HTTP") yield { of: "server name", name: "*" };
  if (server.tls === undefined) return;
  for (const host of serverHosts(server, gateway.metadata.namespace))
    yield { of: "host", host: formatServerHost(host) };
  if (sharing !== "TLS") return;
  for (const name of serverNames(server, gateway.metadata.namespace)) yield { of: "server name", name };
}

const claimsOfAll = (gateway: Gateway) =>
  gateway.spec.servers.flatMap((server) => [...claimsOf(server, gateway)].map((claim) => ({ server, claim })));

const keyOf = (server: Server, claim: Claim, port = portOf(server)): string =>
  `${claim.of} ${listenerAt(port, server)} ${shownClaim(claim)}`;

/** The keys under which a server of a port is found that conflicts with this one. */
const keysAgainst = (server: Server, claim: Claim, port = portOf(server)): readonly string[] =>
  claim.of === "port"
    ? excludedBy[claim.sharing].map((sharing) => keyOf(server, { of: "port", sharing }, port))
    : [keyOf(server, claim, port)];

const keysOf =
  (keys: (server: Server, claim: Claim) => readonly string[]) =>
  (gateway: Gateway, settings: MeshSettings): ReadonlySet<string> =>
    new Set(
      isServed(gateway, settings) ? claimsOfAll(gateway).flatMap(({ server, claim }) => keys(server, claim)) : [],
    );

/**
 * A Gateway, and the Gateways with a server that cannot be beside one of its servers at one proxy: with the same host or
 * server name over TLS, or with another protocol on the same port.
 */
export const gatewaysAtListener = relation(
  "gatewaysAtListener",
  index(
    "Gateway",
    keysOf((server, claim) => keysAgainst(server, claim)),
  ),
  index(
    "Gateway",
    keysOf((server, claim) => [keyOf(server, claim)]),
  ),
);

/** A server and its Gateway. */
interface Claimant {
  readonly gateway: Gateway;
  readonly server: Server;
}

/**
 * Of the servers with one claim, the oldest of two Gateways for each selector and each namespace that they are limited
 * to. Only these decide, so that the number of Gateways of one proxy does not matter.
 */
const claimantsAt = fact("claimantsAt", "key", [gatewaysAtListener], (key, mesh): readonly Claimant[] => {
  const found = new Map<string, Claimant[]>();
  for (const gateway of [...mesh.under(gatewaysAtListener, [key])].sort(oldestFirst)) {
    const server = serverAt(gateway, key);
    if (server === undefined) continue;
    const group = `${selectorText(gateway.spec.selector)}\n${limitsOf(server, gateway)}`;
    const known = found.get(group) ?? [];
    if (known.length < 2) found.set(group, [...known, { gateway, server }]);
  }
  return [...found.values()].flat().slice(0, mostCompared);
});

/** Proxies whose Gateways have more different selectors than this do not exist. */
const mostCompared = 32;

const limits = new WeakMap<Server, string>();

/** It is asked for once for each host of the server. */
function limitsOf(server: Server, { metadata }: Gateway): string {
  let known = limits.get(server);
  if (known === undefined) {
    const namespaces = new Set(serverHosts(server, metadata.namespace).map(({ namespace }) => namespace));
    limits.set(server, (known = [...namespaces].sort().join(" ")));
  }
  return known;
}

const servers = new WeakMap<Gateway, ReadonlyMap<string, Server>>();

/** The first server of a Gateway with a claim. */
function serverAt(gateway: Gateway, key: string): Server | undefined {
  let known = servers.get(gateway);
  if (known === undefined) {
    const byKey = new Map<string, Server>();
    for (const { server, claim } of claimsOfAll(gateway)) addFirst(byKey, keyOf(server, claim), server);
    servers.set(gateway, (known = byKey));
  }
  return known.get(key);
}

/** Why a server of a Gateway does not work, or not as its manifest says. */
export interface ServerConflict {
  /** The position of the server in `spec.servers`. */
  readonly server: number;
  readonly kind:
    | "host taken" // istiod leaves the server out
    | "port taken" // istiod leaves the server out
    | "listener refused"; // Envoy refuses the listener with all its servers
  /** The host, the server name or the protocol that both have. */
  readonly what: string;
  readonly other: Gateway;
  /** A workload that both Gateways select, if they have different selectors. */
  readonly workload: Workload | undefined;
  /** The port of the other server, and the Service that leads both ports to one, if it is not the same port. */
  readonly elsewhere: MeetingPort | undefined;
}

/** What serverConflictsOf reads. */
export const readsOfConflicts = [
  gatewaysAtListener,
  reachedBy(claimantsAt, [gatewaysAtListener, servicesLeadingPorts, gatewaysAtLedPorts]),
  meetingPorts,
  workloadsOfGateway,
] as const;
type View = MeshView<(typeof readsOfConflicts)[number]>;

/**
 * The conflicts of a Gateway's servers, at most one for each server and kind. Of two servers for one host over TLS, or with a
 * redirect to HTTPS, istiod keeps that of the older Gateway, or the first of one Gateway; two with the same server name for different namespaces are
 * both kept, and Envoy refuses a listener with two filter chains for one match (Istio pilot/pkg/model/gateway.go
 * mergeGateways, CheckDuplicates). The same happens to an HTTP server after an HTTPS server for every name. A Gateway
 * without a selector is for all proxies (pilot/pkg/model/push_context.go mergeGateways). Servers of different ports meet where a Service
 * leads both to one. That an older server is itself left out is not considered.
 */
export const serverConflictsOf = (gateway: Gateway, mesh: View): readonly ServerConflict[] => [
  ...conflictsByServer(gateway, mesh).filter((conflict) => conflict !== undefined),
];

/** The same, and undefined after each server, so that a rule can pause. */
export function* conflictsByServer(gateway: Gateway, mesh: View): Generator<ServerConflict | undefined, undefined> {
  if (!isServed(gateway, mesh.settings)) return;
  const proxies = new SharedProxies(gateway, mesh);
  const earlier = new Map<string, Server>();
  for (const [i, server] of gateway.spec.servers.entries()) {
    yield undefined;
    const own = { gateway, server };
    const claims = [...claimsOf(server, gateway)];
    const ports = [undefined, ...(mesh.get(meetingPorts, gateway).get(portOf(server)) ?? [])];
    const byKind = conflictsByKind(claims, (claim) => {
      for (const elsewhere of ports) {
        const conflict = conflictWithin(claim, own, earlier, elsewhere) ?? proxies.conflictOf(claim, own, elsewhere);
        if (conflict !== undefined) return conflict;
      }
      return undefined;
    });
    if (!isLeftOut(byKind)) for (const claim of claims) addFirst(earlier, keyOf(server, claim), server);
    for (const conflict of byKind.values()) yield { ...conflict, server: i };
  }
}

/** The first conflict of each kind. A server that istiod leaves out causes no error in Envoy. */
function conflictsByKind(
  claims: readonly Claim[],
  conflictOf: (claim: Claim) => Conflict | undefined,
): ReadonlyMap<ServerConflict["kind"], Conflict> {
  const byKind = new Map<ServerConflict["kind"], Conflict>();
  const [byName, others] = [claims.filter(isByName), claims.filter((claim) => !isByName(claim))];
  for (const claim of [...others, ...byName]) {
    if (byKind.has(kinds[claim.of]) || (isByName(claim) && isLeftOut(byKind))) continue;
    const conflict = conflictOf(claim);
    if (conflict !== undefined) byKind.set(conflict.kind, conflict);
  }
  return byKind;
}

const isByName = (claim: Claim): boolean => claim.of === "server name";

const isLeftOut = (found: ReadonlyMap<ServerConflict["kind"], Conflict>): boolean =>
  found.has("host taken") || found.has("port taken");

type Conflict = Omit<ServerConflict, "server">;

function addFirst(known: Map<string, Server>, key: string, server: Server): void {
  if (!known.has(key)) known.set(key, server);
}

const kinds = { host: "host taken", port: "port taken", "server name": "listener refused" } as const;
const shownClaim = (claim: Claim): string =>
  claim.of === "host" ? claim.host : claim.of === "server name" ? claim.name : claim.sharing;

/**
 * Whether a server conflicts with another one under a key that both have. If they meet by their server names, istiod keeps
 * both, and Envoy refuses the listener.
 */
function conflicts(claim: Claim, own: Claimant, other: Claimant, isOtherOlder: boolean): boolean {
  if (claim.of === "host") return isOtherOlder && !redirectsInstead(other, own);
  if (claim.of === "port") return isOtherOlder;
  if (terminatesHttps(own.server) && terminatesHttps(other.server)) return hostsOf(own).isDisjointFrom(hostsOf(other));
  const [older, newer] = isOtherOlder ? [other, own] : [own, other];
  return terminatesHttps(older.server) && isPlainHttp(newer.server);
}

const redirected = new WeakMap<Server, Map<Server, boolean>>();

/** Whether a server redirects every host to HTTPS that another one would, so that nothing is lost without this other one. */
function redirectsInstead(server: Claimant, other: Claimant): boolean {
  const known = redirected.get(server.server) ?? new Map<Server, boolean>();
  redirected.set(server.server, known);
  let is = known.get(other.server);
  if (is === undefined) known.set(other.server, (is = redirectsAll(server, other)));
  return is;
}

/** What a host of one namespace is redirected for is in the VirtualServices of the server alone (core/gateway.go buildGatewayHTTPRouteConfig). */
function redirectsAll(server: Claimant, other: Claimant): boolean {
  const areRedirects = [server, other].every(
    (one) => isPlainHttp(one.server) && one.server.tls?.httpsRedirect === true,
  );
  if (!areRedirects) return false;
  const offered = hostsOf(server);
  return [...hostsOf(other)].every(
    (host) => !host.includes("/") && coveringHosts(host).some((pattern) => offered.has(pattern)),
  );
}

const hosts = new WeakMap<Server, ReadonlySet<string>>();

function hostsOf({ server, gateway }: Claimant): ReadonlySet<string> {
  let known = hosts.get(server);
  if (known === undefined)
    hosts.set(server, (known = new Set(serverHosts(server, gateway.metadata.namespace).map(formatServerHost))));
  return known;
}

/** With an earlier server of the same Gateway. */
function conflictWithin(
  claim: Claim,
  own: Claimant,
  earlier: ReadonlyMap<string, Server>,
  elsewhere: MeetingPort | undefined,
): Conflict | undefined {
  for (const key of keysAgainst(own.server, claim, elsewhere?.port)) {
    const server = earlier.get(key);
    if (server !== undefined && conflicts(claim, own, { ...own, server }, true))
      return { kind: kinds[claim.of], what: shownClaim(claim), other: own.gateway, workload: undefined, elsewhere };
  }
  return undefined;
}

/** The Gateways that configure a proxy which this one configures too. */
class SharedProxies {
  readonly #gateway: Gateway;
  readonly #mesh: View;
  readonly #text: string;
  readonly #known = new Map<string, { readonly workload: Workload | undefined } | undefined>();
  #workloads: readonly Workload[] | undefined;

  constructor(gateway: Gateway, mesh: View) {
    this.#gateway = gateway;
    this.#mesh = mesh;
    this.#text = selectorText(gateway.spec.selector);
  }

  conflictOf(claim: Claim, own: Claimant, elsewhere: MeetingPort | undefined): Conflict | undefined {
    for (const key of keysAgainst(own.server, claim, elsewhere?.port))
      for (const other of this.#mesh.get(claimantsAt, key)) {
        if (other.gateway === own.gateway) continue;
        if (!conflicts(claim, own, other, oldestFirst(other.gateway, own.gateway) < 0)) continue;
        const shared = this.#sharedWith(other.gateway);
        if (shared !== undefined)
          return {
            kind: kinds[claim.of],
            what: shownClaim(claim),
            other: other.gateway,
            workload: shared.workload,
            elsewhere,
          };
      }
    return undefined;
  }

  /**
   * Undefined: none is known. With equal selectors all proxies are shared, whether there are any now or not, and so are those of a
   * Gateway with one that has none.
   */
  #sharedWith({ spec }: Gateway): { readonly workload: Workload | undefined } | undefined {
    const text = selectorText(spec.selector);
    const isForAll = [spec, this.#gateway.spec].some(({ selector }) => Object.keys(selector).length === 0);
    if (text === this.#text || isForAll) return { workload: undefined };
    if (!this.#known.has(text)) {
      this.#workloads ??= this.#mesh
        .related(workloadsOfGateway, this.#gateway)
        .filter(({ pod }) => selects(this.#gateway.spec.selector, pod.labels));
      this.#mesh.visited(this.#workloads.length);
      const workload = this.#workloads.find(({ pod }) => selects(spec.selector, pod.labels));
      this.#known.set(text, workload && { workload });
    }
    return this.#known.get(text);
  }
}
