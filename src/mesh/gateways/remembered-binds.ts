import { oldestFirst } from "../objects/creation-order.ts";
import { boundKey, type Claim, type Claimant, isBound, keyOf, placeOf, portOf } from "./server-claims.ts";
import { formatServerHost, type Server, serverHosts, sharingOf } from "./servers.ts";

// Servers of one port with different addresses (`bind`) do not conflict. But istiod remembers one plain server of a port, and one address for each
// host over TLS: the last one. So of three servers whose addresses alternate, it does not compare the third with the first (Istio
// pilot/pkg/model/gateway.go mergeGateways, plainTextServers, CheckDuplicates).

/** What istiod compares with the last server that has it, whatever its address. */
export type RememberedClaim = Claim & { readonly of: "port" | "host" };

/** The keys under which the servers of a port are found that istiod remembers in place of each other. */
export function keysOfRemembered(claim: RememberedClaim, server: Server, port = portOf(server)): readonly string[] {
  const shared = claim.of === "port" ? plain : claim;
  return [keyOf(server, shared, port), boundKey(port), ...(isBound(server) ? [keyOf(unbound, shared, port)] : [])];
}
/** Servers without settings of TLS have it. */
const plain: Claim = { of: "server name", name: "*" };
const unbound: Server = { hosts: [] } as unknown as Server;

/** The server with which istiod compares a server: of those before it, in any order. Undefined: there is none. */
export function rememberedServer(
  claim: RememberedClaim,
  newer: Claimant,
  known: Iterable<Claimant>,
): Server | undefined {
  const before = [...known].filter((one) => isBefore(one, newer) && has(claim, one)).sort(byAge);
  const places = new Set<string>();
  let remembered: Server | undefined;
  for (const { server } of before) {
    // A plain server joins the one that is remembered, if it has the same address, or else one of its own protocol.
    const isJoining = isSameAddress(remembered, server) || places.has(placeOf(server));
    if (claim.of === "port" && isJoining) continue;
    places.add(placeOf(server));
    remembered = server;
  }
  return remembered;
}

export const isSameAddress = (a: Server | undefined, b: Server): boolean =>
  a !== undefined && (a.bind ?? "") === (b.bind ?? "");

const has = (claim: RememberedClaim, { server, gateway }: Claimant): boolean =>
  claim.of === "port"
    ? sharingOf(server) !== "TLS"
    : server.tls !== undefined &&
      serverHosts(server, gateway.metadata.namespace).some((host) => formatServerHost(host) === claim.host);

const isBefore = (a: Claimant, b: Claimant): boolean => byAge(a, b) < 0;
const byAge = (a: Claimant, b: Claimant): number =>
  a.gateway === b.gateway ? positionOf(a) - positionOf(b) : oldestFirst(a.gateway, b.gateway);
const positionOf = ({ gateway, server }: Claimant): number => gateway.spec.servers.indexOf(server);
