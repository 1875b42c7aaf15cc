import type { MeshSettings } from "../../view/settings.ts";
import { HostPatterns } from "../traffic/host-patterns.ts";
import { coveringHosts, covers } from "../traffic/hosts.ts";
import { isSameAddress, type RememberedClaim } from "./remembered-binds.ts";
import { type Claim, type Claimant, excludes, placeOf } from "./server-claims.ts";
import { formatServerHost, isPlainHttp, type Server, serverHosts, sharingOf } from "./servers.ts";

/**
 * Whether a server conflicts with another one under a key that both have. If they meet by their server names, istiod keeps
 * both, and Envoy refuses the listener.
 */
export function conflicts(claim: Claim, { own, other, isOtherOlder }: Compared, remembered: Remembered): boolean {
  if (claim.of === "host") return isOtherOlder && !redirectsInstead(other, own) && !isForgotten(claim, own, remembered);
  if (claim.of === "port") return isOtherOlder && !isForgotten(claim, own, remembered);
  if (claim.of === "services") return true;
  return isOtherOlder ? areBothKept(other, own, remembered) : areBothKept(own, other, remembered);
}

interface Compared {
  readonly own: Claimant;
  readonly other: Claimant;
  readonly isOtherOlder: boolean;
}

/** With which server istiod compares a server; undefined: with each before it, as if all had one address. */
export type Remembered = (claim: RememberedClaim, newer: Claimant) => Server | undefined;

/** Whether istiod compares a server with none that excludes it, though there is one: others with another address came in between. */
function isForgotten(claim: RememberedClaim, newer: Claimant, remembered: Remembered): boolean {
  const last = remembered(claim, newer);
  if (last === undefined) return false;
  return !isSameAddress(last, newer.server) || (claim.of === "port" && !excludes(sharingOf(last), claim.sharing));
}

/** Whether istiod keeps a server after an older one with the same server name, and gives it a filter chain of its own. */
function areBothKept(older: Claimant, newer: Claimant, remembered: Remembered): boolean {
  if ((older.server.bind ?? "") !== (newer.server.bind ?? "")) return true;
  if (older.passed !== undefined && older.passed.written === newer.passed?.written) return false;
  if (sharingOf(older.server) !== "TLS")
    return isForgotten(portOf(newer), newer, remembered) && !areMerged(older, newer, remembered);
  if (sharingOf(newer.server) !== "TLS") return true;
  const common = hostsOf(older).intersection(hostsOf(newer));
  return [...common].every((host) => isForgotten({ of: "host", host }, newer, remembered));
}

const portOf = ({ server }: Claimant): RememberedClaim => ({ of: "port", sharing: sharingOf(server) });

/** Plain HTTP of one place has one filter chain. */
function areMerged(older: Claimant, newer: Claimant, remembered: Remembered): boolean {
  if (!isPlainHttp(older.server) || !isPlainHttp(newer.server)) return false;
  const [a, b] = [older, newer].map((one) => {
    const last = remembered(portOf(one), one);
    return placeOf(last !== undefined && isSameAddress(last, one.server) ? last : one.server);
  });
  return a === b;
}

/**
 * Whether hosts of two servers with AUTO_PASSTHROUGH cover the same names of services in the cluster: each server has a filter chain for
 * each service that one of its hosts covers, and nothing compares these (Istio pilot/pkg/networking/core/gateway.go
 * builtAutoPassthroughFilterChains).
 */
export function haveServicesInCommon(a: Server, b: Server, { domain }: MeshSettings): boolean {
  const [these, those] = [a, b].map(({ hosts }) => hosts.map((host) => host.slice(host.indexOf("/") + 1)));
  const isOfServices = (host: string) => covers(`*.svc.${domain}`, host) || covers(host, `*.svc.${domain}`);
  const patterns = new HostPatterns((these ?? []).filter(isOfServices));
  const others = new HostPatterns((those ?? []).filter(isOfServices));
  return (
    (those ?? []).some((host) => isOfServices(host) && patterns.over(host) !== undefined) ||
    (these ?? []).some((host) => isOfServices(host) && others.over(host) !== undefined)
  );
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
