import { fact, type MeshView, reachedBy } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { selects } from "../objects/selectors.ts";
import type { Workload } from "../membership/workloads.ts";
import { workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { conflicts, haveServicesInCommon, type Remembered } from "./compared-servers.ts";
import { gatewaysAtLedPorts, type MeetingPort, meetingPorts, servicesLeadingPorts } from "./led-ports.ts";
import { type Gateway, readsHttp, type Server } from "./servers.ts";
import { keysOfRemembered, rememberedServer } from "./remembered-binds.ts";
import {
  addFirst,
  allAddresses,
  boundKey,
  type Claim,
  type Claimant,
  claimantsAt,
  claimsOf,
  gatewaysAtListener,
  isBound,
  isByName,
  keyOf,
  keysAgainst,
  listenerOfEnvoy,
  portOf,
  shownClaim,
} from "./server-claims.ts";
import { gatewaysOfServerNames, passedNames, passersOf, streamsOfServerNames } from "./passed-names.ts";
import { gatewaysOfStreamRoutes, serversWithTcpRoute, streamsOfGateway } from "./stream-routes.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";

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
  /** The server has what is in the way itself, once more. */
  readonly isWithItself: boolean;
  /** A workload that both Gateways select, if they have different selectors. */
  readonly workload: Workload | undefined;
  /** Without them, one of the servers has no filter chain. */
  readonly routes: readonly VirtualService[];
  /** The port of the other server, and the Service that leads both ports to one, if it is not the same port. */
  readonly elsewhere: MeetingPort | undefined;
}

const readsOfClaims = [
  gatewaysAtListener,
  serversWithTcpRoute,
  passedNames,
  streamsOfServerNames,
  reachedBy(passersOf, [streamsOfServerNames, gatewaysOfStreamRoutes]),
  reachedBy(claimantsAt, [
    gatewaysAtListener,
    servicesLeadingPorts,
    gatewaysAtLedPorts,
    streamsOfGateway,
    gatewaysOfServerNames,
  ]),
  meetingPorts,
  workloadsOfGateway,
] as const;
type View = MeshView<(typeof readsOfClaims)[number]>;

/** Servers that istiod leaves out, and whether it does so before it notes their hosts. */
type LeftOut = ReadonlyMap<Server, "host taken" | "port taken">;
type LeftOutOf = (gateway: Gateway) => LeftOut;
const noneLeftOut: LeftOut = new Map();

const leftOutBy = (gateway: Gateway, mesh: View, leftOutOf: LeftOutOf): LeftOut => {
  const found = new Map<Server, "host taken" | "port taken">();
  for (const conflict of conflictsAmong(gateway, mesh, leftOutOf)) {
    const server = conflict && gateway.spec.servers[conflict.server];
    if (server !== undefined && conflict?.kind === "host taken") found.set(server, "host taken");
    else if (server !== undefined && conflict?.kind === "port taken" && !found.has(server))
      found.set(server, "port taken");
  }
  return found;
};

/** The servers of a Gateway that istiod leaves out, if it uses every older server. */
const serversBehindOthers = fact("serversBehindOthers", "Gateway", readsOfClaims, (gateway, mesh) =>
  leftOutBy(gateway, mesh, () => noneLeftOut),
);
/** The same, if it uses every older server that is not behind another one. Rows of more servers do not exist. */
const serversLeftOut = fact("serversLeftOut", "Gateway", [...readsOfClaims, serversBehindOthers], (gateway, mesh) =>
  leftOutBy(gateway, mesh, (other) => mesh.get(serversBehindOthers, other)),
);

/** What serverConflictsOf reads. */
export const readsOfConflicts = [...readsOfClaims, serversLeftOut] as const;
type ConflictView = MeshView<(typeof readsOfConflicts)[number]>;

/**
 * The conflicts of a Gateway's servers, at most one for each server and kind. Of two servers for one host over TLS, or with a
 * redirect to HTTPS, istiod keeps that of the older Gateway, or the first of one Gateway; two with the same server name for different namespaces are
 * both kept, and Envoy refuses a listener with two filter chains for one match (Istio pilot/pkg/model/gateway.go
 * mergeGateways, CheckDuplicates). The same happens to an HTTP server after an HTTPS server for every name. A Gateway
 * without a selector is for all proxies (pilot/pkg/model/push_context.go mergeGateways). Servers of different ports meet where a Service
 * leads both to one. A server that is left out itself takes nothing from others, but one whose protocol is the reason has claimed its hosts.
 */
export const serverConflictsOf = (gateway: Gateway, mesh: ConflictView): readonly ServerConflict[] => [
  ...conflictsByServer(gateway, mesh).filter((conflict) => conflict !== undefined),
];

/** The same, and undefined after each server, so that a rule can pause. */
export const conflictsByServer = (
  gateway: Gateway,
  mesh: ConflictView,
): Generator<ServerConflict | undefined, undefined> =>
  conflictsAmong(gateway, mesh, (other) => mesh.get(serversLeftOut, other));

function* conflictsAmong(
  gateway: Gateway,
  mesh: View,
  leftOutOf: LeftOutOf,
): Generator<ServerConflict | undefined, undefined> {
  if (!isServed(gateway, mesh.settings)) return;
  const proxies = new SharedProxies(gateway, mesh, leftOutOf);
  const earlier = new Map<string, readonly Claimant[]>();
  for (const [i, server] of gateway.spec.servers.entries()) {
    yield undefined;
    const own = { gateway, server };
    const claims = [...claimsOf(server, gateway), ...passedClaims(own, mesh)];
    const repeated = repeatedNames(claims);
    const ports = [undefined, ...(mesh.get(meetingPorts, gateway).get(portOf(server)) ?? [])];
    const byKind = conflictsByKind(claims, (claim) => {
      if (repeated.has(claim)) return proxies.conflictWithItself(claim, own);
      for (const elsewhere of ports) {
        const conflict =
          proxies.conflictWithin(claim, own, earlier, elsewhere) ?? proxies.conflictOf(claim, own, elsewhere);
        if (conflict !== undefined) return conflict;
      }
      return undefined;
    });
    for (const claim of claims)
      if (isInForce(claim, byKind)) addFirst(earlier, keyOf(server, claim), claimantOf(claim, own));
    for (const conflict of byKind.values()) yield { ...conflict, server: i };
  }
}

/** The server names because of which a server that passes TLS through has filter chains. */
function* passedClaims({ gateway, server }: Claimant, mesh: View): Iterable<Claim> {
  for (const [name, all] of mesh.get(passedNames, gateway).get(server) ?? [])
    for (const passed of all) yield { of: "server name", name, passed };
}

const claimantOf = (claim: Claim, { gateway, server }: Claimant): Claimant =>
  claim.of === "server name" && claim.passed !== undefined
    ? { gateway, server, passed: claim.passed }
    : { gateway, server };

/** The claims of a server to a name that one before has too. */
function repeatedNames(claims: readonly Claim[]): ReadonlySet<Claim> {
  const names = new Set<string>();
  const repeated = new Set<Claim>();
  for (const claim of claims) {
    if (claim.of !== "server name") continue;
    if (names.has(claim.name)) repeated.add(claim);
    names.add(claim.name);
  }
  return repeated;
}

/** Hosts are noted before protocols are compared. */
const isInForce = (claim: Claim, found: ReadonlyMap<ServerConflict["kind"], Conflict>): boolean =>
  claim.of === "host" ? !found.has("host taken") : !isLeftOut(found);

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

const isLeftOut = (found: ReadonlyMap<ServerConflict["kind"], Conflict>): boolean =>
  found.has("host taken") || found.has("port taken");

type Conflict = Omit<ServerConflict, "server">;

const kinds = {
  host: "host taken",
  port: "port taken",
  "server name": "listener refused",
  services: "listener refused",
} as const;

/** The routes because of which servers have a filter chain for their names; undefined: one of them has none, whatever routes there are. */
function routesOfChains(claimants: readonly Claimant[], mesh: View): readonly VirtualService[] | undefined {
  const found = new Set<VirtualService>();
  for (const { server, gateway, passed } of claimants) {
    if (readsHttp(server)) continue;
    const route = passed?.virtualService ?? mesh.get(serversWithTcpRoute, gateway).get(server);
    if (route === undefined) return undefined;
    found.add(route);
  }
  return [...found];
}

/** The Gateways that configure a proxy which this one configures too. */
class SharedProxies {
  readonly #gateway: Gateway;
  readonly #mesh: View;
  readonly #leftOutOf: LeftOutOf;
  readonly #text: string;
  readonly #known = new Map<string, { readonly workload: Workload | undefined } | undefined>();
  #workloads: readonly Workload[] | undefined;

  constructor(gateway: Gateway, mesh: View, leftOutOf: LeftOutOf) {
    this.#gateway = gateway;
    this.#mesh = mesh;
    this.#leftOutOf = leftOutOf;
    this.#text = selectorText(gateway.spec.selector);
  }

  /** Of a server with itself: one name is there twice, in Envoy's letters. */
  conflictWithItself(claim: Claim, own: Claimant): Conflict | undefined {
    const claiming = claimantOf(claim, own);
    const found = this.#between(claim, claiming, claiming, undefined);
    return found && { ...found, isWithItself: true, workload: undefined };
  }

  /** With an earlier server of the same Gateway. */
  conflictWithin(
    claim: Claim,
    own: Claimant,
    earlier: ReadonlyMap<string, readonly Claimant[]>,
    elsewhere: MeetingPort | undefined,
  ): Conflict | undefined {
    const claiming = claimantOf(claim, own);
    for (const key of keysAgainst(own.server, claim, elsewhere?.port))
      for (const other of earlier.get(key) ?? []) {
        if (!conflicts(claim, { own: claiming, other, isOtherOlder: true }, this.#rememberedAt(elsewhere))) continue;
        const found = this.#between(claim, claiming, other, elsewhere);
        if (found !== undefined) return { ...found, workload: undefined };
      }
    return undefined;
  }

  conflictOf(claim: Claim, own: Claimant, elsewhere: MeetingPort | undefined): Conflict | undefined {
    const claiming = claimantOf(claim, own);
    for (const other of this.#others(claim, own, elsewhere)) {
      if (other.gateway === own.gateway) continue;
      const isOtherOlder = oldestFirst(other.gateway, own.gateway) < 0;
      if (!conflicts(claim, { own: claiming, other, isOtherOlder }, this.#rememberedAt(elsewhere))) continue;
      const shared = this.#sharedWith(other.gateway);
      if (shared === undefined || !this.#isClaimInForce(claim, other)) continue;
      const found = this.#between(claim, claiming, other, elsewhere);
      if (found !== undefined) return { ...found, workload: shared.workload };
    }
    return undefined;
  }

  #rememberedAt(elsewhere: MeetingPort | undefined): Remembered {
    return (claim, newer) => {
      const ports = [portOf(newer.server), ...(elsewhere === undefined ? [] : [elsewhere.port])];
      const isBoundThere = (port: number) => this.#mesh.hasUnder(gatewaysAtListener, boundKey(port));
      if (!isBound(newer.server) && !ports.some(isBoundThere)) return undefined;
      const keys = ports.flatMap((port) => keysOfRemembered(claim, newer.server, port));
      const known = new Set(keys.flatMap((key) => this.#mesh.get(claimantsAt, key)));
      const counting = [...known].filter(
        (one) => this.#sharedWith(one.gateway) !== undefined && this.#isClaimInForce(claim, one),
      );
      return rememberedServer(claim, newer, counting);
    };
  }

  *#others(claim: Claim, own: Claimant, elsewhere: MeetingPort | undefined): Iterable<Claimant> {
    for (const key of keysAgainst(own.server, claim, elsewhere?.port)) yield* this.#mesh.get(claimantsAt, key);
    if (claim.of !== "server name" || !this.#mayMeetPassers(claim, own)) return;
    const listener = listenerOfEnvoy(elsewhere?.port ?? portOf(own.server), own.server);
    for (const passer of this.#mesh.get(passersOf, claim.name))
      if (listenerOfEnvoy(portOf(passer.server), passer.server) === listener) yield passer;
  }

  /** Of servers that pass one name on, istiod keeps the first, but for two ways to write the address of the listener. */
  #mayMeetPassers(claim: Claim & { readonly of: "server name" }, { server }: Claimant): boolean {
    return (
      (claim.passed === undefined || server.bind === allAddresses) &&
      this.#mesh.hasUnder(streamsOfServerNames, claim.name)
    );
  }

  #between(
    claim: Claim,
    own: Claimant,
    other: Claimant,
    elsewhere: MeetingPort | undefined,
  ): Omit<Conflict, "workload"> | undefined {
    if (claim.of === "services" && !haveServicesInCommon(own.server, other.server, this.#mesh.settings))
      return undefined;
    const routes = claim.of === "server name" ? routesOfChains([own, other], this.#mesh) : [];
    return (
      routes && {
        kind: kinds[claim.of],
        what: shownClaim(claim),
        other: other.gateway,
        isWithItself: false,
        routes,
        elsewhere,
      }
    );
  }

  #isClaimInForce(claim: Claim, { gateway, server }: Claimant): boolean {
    const leftOut = this.#leftOutOf(gateway).get(server);
    return leftOut === undefined || (claim.of === "host" && leftOut === "port taken");
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
