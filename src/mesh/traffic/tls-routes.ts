import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { commonNamespaces, everyNamespace, includesNamespace, visibleTo } from "./export-to.ts";
import { HostPatterns } from "./host-patterns.ts";
import { hostsOf, nearness } from "./virtual-service-choices.ts";
import { fullGatewayName, gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import type { VirtualService } from "./virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

type Match = VirtualService["spec"]["tls"][number]["match"][number];

/** One match of a route in `spec.tls`. */
export interface TlsMatch {
  readonly virtualService: VirtualService;
  /** The positions of the route and of the match. */
  readonly i: number;
  readonly j: number;
  readonly match: Match;
}

/** The matches of the tls routes of a VirtualService that have destinations, as istiod reads them. */
export function* tlsMatchesOf(virtualService: VirtualService): Iterable<TlsMatch> {
  for (const [i, { match, route }] of virtualService.spec.tls.entries())
    if (route.length > 0) for (const [j, one] of match.entries()) yield { virtualService, i, j, match: one };
}

/** Whether a match is for the clients of a gateway of its VirtualService, `mesh` or `namespace/name`. */
export const isForGateway = (
  gateway: string,
  { gateways }: { readonly gateways: readonly string[] },
  { metadata }: VirtualService,
): boolean => gateways.length === 0 || gateways.some((one) => fullGatewayName(one, metadata.namespace) === gateway);

const serverNamesInMesh = index("VirtualService", (virtualService, settings) => {
  if (virtualService.spec.tls.length === 0 || isDelegate(virtualService) || !isServed(virtualService, settings))
    return [];
  if (!gatewaysOf(virtualService).has(meshGateway)) return [];
  return new Set([...tlsMatchesOf(virtualService)].flatMap(({ match }) => match.sniHosts));
});

/** A VirtualService and all VirtualServices for sidecars, itself among them, whose tls routes have one of its server names. */
export const virtualServicesOfServerName = relation(
  "virtualServicesOfServerName",
  serverNamesInMesh,
  serverNamesInMesh,
);

/** So many matches of one server name are compared; more of them differ in their clients, which is not decided. */
const mostCompared = 32;

/** The matches of sidecars with a server name, in the order of age of their VirtualServices. */
const matchesOfServerName = fact(
  "matchesOfServerName",
  "key",
  [virtualServicesOfServerName],
  (name, mesh): readonly TlsMatch[] => {
    const found: TlsMatch[] = [];
    for (const virtualService of [...mesh.under(virtualServicesOfServerName, [name])].sort(oldestFirst))
      for (const one of matchesInMesh(virtualService).get(name) ?? []) {
        if (found.length === mostCompared) return found;
        found.push(one);
      }
    return found;
  },
);

const inMesh = new WeakMap<VirtualService, ReadonlyMap<string, readonly TlsMatch[]>>();

/** The matches of a VirtualService for sidecars, by server name. */
function matchesInMesh(virtualService: VirtualService): ReadonlyMap<string, readonly TlsMatch[]> {
  let known = inMesh.get(virtualService);
  if (known === undefined) {
    const ofMesh = [...tlsMatchesOf(virtualService)].filter(({ match }) =>
      isForGateway(meshGateway, match, virtualService),
    );
    const byName = ofMesh.flatMap((one) => one.match.sniHosts.map((name) => [name, one] as const));
    known = new Map(
      [...Map.groupBy(byName, ([name]) => name)].map(([name, some]) => [name, some.map(([, one]) => one)]),
    );
    inMesh.set(virtualService, known);
  }
  return known;
}

/**
 * What becomes of a match beside an earlier one with the same server name.
 * - `taken`: istiod leaves it out, because the earlier one has the same list of server names.
 * - `refused`: both become filter chains for the same connections, so Envoy refuses the listener.
 */
export interface TlsLoss extends TlsMatch {
  readonly kind: "taken" | "refused";
  readonly name: string;
  readonly by: TlsMatch;
}

/** What tlsLossesOf reads. */
export const readsOfTlsLosses = [virtualServicesOfServerName, matchesOfServerName] as const;

/**
 * The matches of a VirtualService that sidecars do not use as they are written, at most one loss for each. For a service, istiod
 * makes one filter chain of each match, and leaves out those whose lists of server names and subnets are equal to earlier ones;
 * Envoy refuses a listener in which two filter chains share a server name (Istio pilot/pkg/networking/core/tls.go
 * buildSidecarOutboundTLSFilterChainOpts). VirtualServices come in the order of virtualServiceChoices, whatever their hosts.
 */
export function* tlsLossesOf(
  virtualService: VirtualService,
  mesh: MeshView<(typeof readsOfTlsLosses)[number]>,
): Iterable<TlsLoss | undefined> {
  if (virtualService.spec.tls.length === 0 || isDelegate(virtualService)) return;
  if (!isServed(virtualService, mesh.settings) || !gatewaysOf(virtualService).has(meshGateway)) return;
  const hosts = hostsBeside(virtualService, mesh.settings);
  for (const own of tlsMatchesOf(virtualService)) {
    yield;
    if (!isForGateway(meshGateway, own.match, virtualService)) continue;
    const others = (name: string) => mesh.get(matchesOfServerName, name).filter((by) => isOther(by, own));
    mesh.visited(own.match.sniHosts.length);
    const loss = lossOf(own, others, (by) => fateBeside(by, own, hosts));
    if (loss !== undefined) yield loss;
  }
}

const isOther = (by: TlsMatch, own: TlsMatch): boolean => by.virtualService !== own.virtualService;

/** The first match that takes this one, else the first with which Envoy refuses it. */
function lossOf(
  own: TlsMatch,
  othersWith: (name: string) => readonly TlsMatch[],
  fateOf: (by: TlsMatch) => TlsLoss["kind"] | undefined,
): TlsLoss | undefined {
  let refused: TlsLoss | undefined;
  const pairs = own.match.sniHosts.flatMap((name) => othersWith(name).map((by) => ({ name, by })));
  for (const { name, by } of pairs) {
    const kind = fateOf(by);
    if (kind === "taken") return { ...own, kind, name, by };
    if (kind === "refused") refused ??= { ...own, kind, name, by };
  }
  return refused;
}

/** What becomes of a match beside one of another VirtualService. */
function fateBeside(by: TlsMatch, own: TlsMatch, { beside, settings }: Beside): TlsLoss["kind"] | undefined {
  if (!isSameList(by.match, own.match))
    return meet(by, own, settings) && beside(by.virtualService).overlap ? "refused" : undefined;
  const isTaken =
    containsConnections(by.match, own.match) && isOfEarlier(by, own, settings) && beside(by.virtualService).coversAll;
  return isTaken ? "taken" : undefined;
}

interface Beside {
  readonly settings: MeshSettings;
  /** How the hosts of another VirtualService are related to its own ones. */
  beside(other: VirtualService): HostsBeside;
}
interface HostsBeside {
  readonly coversAll: boolean;
  readonly overlap: boolean;
}

function hostsBeside(virtualService: VirtualService, settings: MeshSettings): Beside {
  const hosts = hostsOf(virtualService, settings);
  const patterns = new HostPatterns(hosts);
  const known = new Map<VirtualService, HostsBeside>();
  const beside = (other: VirtualService): HostsBeside => {
    let found = known.get(other);
    if (found === undefined) {
      const others = hostsOf(other, settings);
      const othersPatterns = new HostPatterns(others);
      const isOver = (host: string) => othersPatterns.over(host) !== undefined;
      const overlap = hosts.some(isOver) || others.some((host) => patterns.over(host) !== undefined);
      known.set(other, (found = { coversAll: hosts.every(isOver), overlap }));
    }
    return found;
  };
  return { settings, beside };
}

/** Whether some client has both matches for the same destination addresses. The younger one is reported. */
const meet = (by: TlsMatch, own: TlsMatch, settings: MeshSettings): boolean =>
  oldestFirst(by.virtualService, own.virtualService) < 0 &&
  isSameDestination(by.match, own.match) &&
  shareConnections(by.match, own.match) &&
  commonNamespaces(visibilityOf(by.virtualService, settings), visibilityOf(own.virtualService, settings)).size > 0;

/**
 * The same for the matches of one VirtualService beside its own earlier ones. At gateways alone, a match with any server name of
 * an earlier one is left out (Istio pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTLSRoutes).
 */
export function* tlsLossesWithin(virtualService: VirtualService): Iterable<TlsLoss> {
  const byName = new Map<string, TlsMatch[]>();
  const isInMesh = gatewaysOf(virtualService).has(meshGateway);
  for (const own of tlsMatchesOf(virtualService)) {
    const loss = lossOf(
      own,
      (name) => byName.get(name) ?? [],
      (by) => fateWithin(by, own, isInMesh),
    );
    if (loss !== undefined) yield loss;
    for (const name of own.match.sniHosts) {
      const known = byName.get(name);
      if (known === undefined) byName.set(name, [own]);
      else if (known.length < mostCompared) known.push(own);
    }
  }
}

/** What becomes of a match beside an earlier one of the same VirtualService. */
function fateWithin(by: TlsMatch, own: TlsMatch, isInMesh: boolean): TlsLoss["kind"] | undefined {
  const isOfSidecars = (one: TlsMatch) => isInMesh && isForGateway(meshGateway, one.match, one.virtualService);
  if (!isOfSidecars(own)) return isTakenAtGateways(by.match, own.match) ? "taken" : undefined;
  const isContained = containsConnections(by.match, own.match) && containsGateways(by.match, own.match);
  if (isSameList(by.match, own.match)) return isContained ? "taken" : undefined;
  const meetInMesh = isOfSidecars(by) && isSameDestination(by.match, own.match);
  return meetInMesh && shareConnections(by.match, own.match) ? "refused" : undefined;
}

const isTakenAtGateways = (by: Match, own: Match): boolean =>
  containsConnections(atGateways(by), atGateways(own)) && containsGateways(by, own);

/** Gateways ask a match of tcp or tls for its port and its gateways alone (Istio pilot/pkg/networking/core/gateway.go l4SingleMatch). */
export const atGateways = <M extends Conditions>(match: M): M => ({
  ...match,
  destinationSubnets: [],
  sourceLabels: {},
  sourceNamespace: undefined,
});

const containsGateways = (a: Match, b: Match): boolean =>
  a.gateways.length === 0 || (b.gateways.length > 0 && b.gateways.every((one) => a.gateways.includes(one)));

const isSameList = (a: Match, b: Match): boolean =>
  a.sniHosts.join() === b.sniHosts.join() && a.destinationSubnets.join() === b.destinationSubnets.join();

const isSameDestination = (a: Match, b: Match): boolean =>
  new Set(a.destinationSubnets).symmetricDifference(new Set(b.destinationSubnets)).size === 0;

/** Whether every client of a VirtualService gets the other one too, and before it. */
function isOfEarlier(by: TlsMatch, own: TlsMatch, settings: MeshSettings): boolean {
  const visible = visibilityOf(by.virtualService, settings);
  for (const client of visibilityOf(own.virtualService, settings)) {
    if (!(client === everyNamespace ? visible.has(everyNamespace) : includesNamespace(visible, client))) return false;
    const order =
      nearness(by.virtualService, client, settings) - nearness(own.virtualService, client, settings) ||
      oldestFirst(by.virtualService, own.virtualService);
    if (order >= 0) return false;
  }
  return true;
}

const visibilityOf = ({ metadata, spec }: VirtualService, settings: MeshSettings): ReadonlySet<string> =>
  visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);

interface Conditions {
  readonly port: number | undefined;
  readonly sourceLabels: Readonly<Record<string, string>>;
  readonly sourceNamespace: string | undefined;
}

/** Whether a match of tcp or tls accepts every client and port that the other one accepts. */
export const containsConnections = (a: Conditions, b: Conditions): boolean =>
  (!a.port || a.port === b.port) &&
  (!a.sourceNamespace || a.sourceNamespace === b.sourceNamespace) &&
  Object.entries(a.sourceLabels).every(([label, value]) => b.sourceLabels[label] === value);

/** Whether some client and port is accepted by both. */
export const shareConnections = (a: Conditions, b: Conditions): boolean =>
  (!a.port || !b.port || a.port === b.port) &&
  (!a.sourceNamespace || !b.sourceNamespace || a.sourceNamespace === b.sourceNamespace) &&
  Object.entries(a.sourceLabels).every(([label, value]) => (b.sourceLabels[label] ?? value) === value);
