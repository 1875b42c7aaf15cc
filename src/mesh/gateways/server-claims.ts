import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { ownNamesOf, type PassedName } from "./passed-names.ts";
import { formatServerHost, type Gateway, type Server, type Sharing, serverHosts, sharingOf } from "./servers.ts";

/**
 * What makes servers of several Gateways meet at one listener: the same host, the same name in the TLS handshake, the same services
 * behind AUTO_PASSTHROUGH, or protocols that cannot share a port. A host is claimed by every server with settings of TLS, also by one for plain HTTP that
 * redirects to HTTPS (Istio pilot/pkg/model/gateway.go mergeGateways).
 */
export type Claim =
  | { readonly of: "host"; readonly host: string }
  | { readonly of: "server name"; readonly name: string; readonly passed?: PassedName }
  | { readonly of: "services" }
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

/** Whether istiod leaves out a server with a use of its port after one with another use. */
export const excludes = (older: Sharing, newer: Sharing): boolean => excludedBy[newer].includes(older);

const listenerAt = (port: number, { bind }: Server): string => `${port} ${bind ?? ""}`;
/** The listener of Envoy for all addresses is one, but istiod compares what servers say (core/gateway.go buildGatewayListeners). */
export const listenerOfEnvoy = (port: number, { bind }: Server): string =>
  `${port} ${bind === allAddresses ? "" : (bind ?? "")}`;
export const allAddresses = "0.0.0.0";
export const portOf = ({ port }: Server): number => port?.number ?? 0;

export function* claimsOf(server: Server, gateway: Gateway): Iterable<Claim> {
  if (server.port === undefined) return;
  const sharing = sharingOf(server);
  yield { of: "port", sharing };
  for (const name of ownNamesOf(server, gateway)) yield { of: "server name", name };
  if (server.tls === undefined) return;
  for (const host of serverHosts(server, gateway.metadata.namespace))
    yield { of: "host", host: formatServerHost(host) };
  if (sharing === "TLS" && server.tls.mode === "AUTO_PASSTHROUGH") yield { of: "services" };
}

const claimsOfAll = (gateway: Gateway) =>
  gateway.spec.servers.flatMap((server) => [...claimsOf(server, gateway)].map((claim) => ({ server, claim })));

export const keyOf = (server: Server, claim: Claim, port = portOf(server)): string =>
  `${claim.of} ${(isByName(claim) ? listenerOfEnvoy : listenerAt)(port, server)} ${shownClaim(claim)}`;

/** The key of the servers of a port with an address of their own. */
export const boundKey = (port: number): string => `bound ${port}`;
export const isBound = ({ bind }: Server): boolean => (bind ?? "") !== "";
/** Servers of one protocol at one address are one to istiod (Istio pilot/pkg/model/gateway.go ServerPort). */
export const placeOf = ({ bind, port }: Server): string => `${bind ?? ""} ${port?.protocol ?? ""}`;

/** The keys that a server has because of a claim. */
const keysWith = (server: Server, claim: Claim): readonly string[] =>
  claim.of === "port" && isBound(server) ? [keyOf(server, claim), boundKey(portOf(server))] : [keyOf(server, claim)];

/** The keys of servers that decide whether istiod compares two (remembered-binds.ts). */
const keysBetween = (server: Server, claim: Claim): readonly string[] => {
  if (claim.of === "port") return [boundKey(portOf(server))];
  return isBound(server) ? [keyOf({ ...server, bind: "" }, claim)] : [];
};

/** The keys under which a server of a port is found that conflicts with this one. */
export const keysAgainst = (server: Server, claim: Claim, port = portOf(server)): readonly string[] =>
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
    keysOf((server, claim) => [...keysAgainst(server, claim), ...keysBetween(server, claim)]),
  ),
  index("Gateway", keysOf(keysWith)),
);

/** A server and its Gateway, and the name that it passes on, if it has a filter chain for that. */
export interface Claimant {
  readonly gateway: Gateway;
  readonly server: Server;
  readonly passed?: PassedName;
}

/**
 * Of the servers with one claim, the oldest of two Gateways for each selector, each namespace that they are limited
 * to, and each protocol at each address. Only these decide, so that the number of Gateways of one proxy does not matter.
 */
export const claimantsAt = fact("claimantsAt", "key", [gatewaysAtListener], (key, mesh): readonly Claimant[] => {
  const found = new Map<string, Claimant[]>();
  for (const gateway of [...mesh.under(gatewaysAtListener, [key])].sort(oldestFirst)) {
    for (const server of serversAt(gateway, key)) {
      const group = [selectorText(gateway.spec.selector), limitsOf(server, gateway), placeOf(server)].join("\n");
      const known = found.get(group) ?? [];
      const gateways = new Set(known.map((one) => one.gateway)).add(gateway);
      if (gateways.size <= 2) found.set(group, [...known, { gateway, server }]);
    }
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

const servers = new WeakMap<Gateway, ReadonlyMap<string, readonly Server[]>>();

/** The first servers of a Gateway with a claim. */
function serversAt(gateway: Gateway, key: string): readonly Server[] {
  let known = servers.get(gateway);
  if (known === undefined) {
    const byKey = new Map<string, readonly Server[]>();
    for (const { server, claim } of claimsOfAll(gateway))
      for (const one of keysWith(server, claim))
        addFirst(byKey, one, server, one === keyOf(server, claim) ? mostOfGateway : mostBound);
    servers.set(gateway, (known = byKey));
  }
  return known.get(key) ?? [];
}

/** What meets in filter chains. */
export const isByName = (claim: Claim): boolean => claim.of === "server name" || claim.of === "services";

/** What a claim is for, in words. */
export function shownClaim(claim: Claim): string {
  if (claim.of === "host") return claim.host;
  if (claim.of === "server name") return claim.name;
  return claim.of === "port" ? claim.sharing : servicesBehind;
}
/** In place of a server name: those by which sidecars ask for services. */
export const servicesBehind = "services";

/** Of the servers of one Gateway with one claim, so many are compared. */
const mostOfGateway = 2;
/** The same of those with addresses of their own at one port. */
const mostBound = 8;

/** What comes first under a key stays. */
export function addFirst<T>(known: Map<string, readonly T[]>, key: string, claimant: T, most = mostOfGateway): void {
  const there = known.get(key) ?? [];
  if (there.length < most && !there.includes(claimant)) known.set(key, [...there, claimant]);
}
