import type { ObjectOf } from "../../kube/object.ts";
import { isDomain, isWildcardDomain } from "./host-syntax.ts";
import { isWildcard } from "./hosts.ts";
import { type Refusal, Refusals } from "./refusals.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** The resolutions for which Envoy asks DNS for the host itself, unless there are endpoints. */
const byDns = ["DNS", "DNS_ROUND_ROBIN"];

/**
 * The errors that istiod's validation reports for the hosts of a ServiceEntry (Istio pkg/config/validation/validation.go
 * ValidateServiceEntry, agent/validation.go ValidateWildcardDomain).
 */
export function refusedHosts({ spec }: ServiceEntry): readonly Refusal[] {
  const refusals = new Refusals();
  if (spec.hosts.length === 0) refusals.add("A ServiceEntry needs at least one host", "hosts");
  for (const [i, host] of spec.hosts.entries()) {
    const refusal = refusalOf(host, spec);
    if (refusal !== undefined) refusals.add(refusal, "hosts", i);
  }
  refusals.below(0, "spec");
  return refusals.all;
}

function refusalOf(host: string, { resolution = "", endpoints }: ServiceEntry["spec"]): string | undefined {
  const shown = JSON.stringify(host);
  if (host === "*") return `A ServiceEntry cannot have the host ${shown}`;
  if (!isWildcardDomain(host)) return `Host ${shown} is no DNS name, and no name that starts with "*."`;
  if (resolution === "DYNAMIC_DNS")
    return isWildcard(host) ? undefined : `Resolution DYNAMIC_DNS needs wildcard hosts, and ${shown} is none`;
  return byDns.includes(resolution) && endpoints.length === 0 && !isDomain(host)
    ? `Resolution ${resolution} needs endpoints for host ${shown}, because DNS has no address for a wildcard`
    : undefined;
}

/**
 * Whether a host is a wildcard that starts within a label, as `*-api.com` or `*api.com`. Envoy refuses such a name in the
 * match of a TLS connection, with the whole listener (istiod warns: agent/validation.go ValidatePartialWildCard).
 */
export const isPartialWildcard = (host: string): boolean =>
  host.includes("*") && host !== "*" && !host.startsWith("*.");

/** Whether connections to a port are told apart by their TLS server name (Istio pkg/config/protocol/instance.go IsTLS). */
export const isTlsProtocol = (protocol: string | undefined): boolean =>
  ["HTTPS", "TLS"].includes((protocol ?? "").toUpperCase());

/** Whether all connections to a port look alike: TCP, and the protocols that Envoy handles as TCP. */
export const isTcpProtocol = (protocol: string | undefined): boolean =>
  ["TCP", "MONGO", "REDIS", "MYSQL"].includes((protocol || "TCP").toUpperCase());

/** Whether a host is outside the mesh, at its own address or those of endpoints. */
export const isExternal = ({ spec }: ServiceEntry): boolean =>
  spec.location !== "MESH_INTERNAL" && spec.workloadSelector === undefined;

/**
 * The ports of the servers behind a port; undefined: a socket. That of an endpoint comes before that of the ServiceEntry (Istio
 * pilot/pkg/serviceregistry/serviceentry/conversion.go convertWorkloadInstanceToServiceInstance).
 */
export function portsBehind(
  { endpoints }: ServiceEntry["spec"],
  { name = "", number, targetPort }: ServiceEntry["spec"]["ports"][number],
): readonly (number | undefined)[] {
  const own = targetPort || number;
  if (endpoints.length === 0) return [own];
  return endpoints.map(({ address, ports }) => (address?.startsWith("unix://") ? undefined : ports[name] || own));
}

/**
 * Whether ztunnel and waypoints know an address of a host: one that is written, or one that istiod gives it. istiod gives none for resolution
 * NONE, none where a label forbids it, and one for a wildcard only with DYNAMIC_DNS (Istio pilot/pkg/serviceregistry/ambient/services.go
 * constructServiceEntries, pilot/pkg/networking/serviceentry/ip_autoallocation.go shouldV2AutoAllocateIPFromPieces).
 */
export function hasAddress(host: string, { metadata, spec }: ServiceEntry): boolean {
  if (spec.addresses.length > 0) return true;
  const isAllocated = metadata.labels[autoAllocation]?.toLowerCase() !== "false";
  const resolution = spec.resolution || "NONE";
  return isAllocated && resolution !== "NONE" && (!isWildcard(host) || resolution === "DYNAMIC_DNS");
}
const autoAllocation = "networking.istio.io/enable-autoallocate-ip";

/**
 * Whether ztunnel, where it has no waypoint for a host, looks up the host itself in DNS, which has none of that name: a wildcard with
 * DYNAMIC_DNS has an address, which ztunnel answers for its names, and the host as its endpoint (Istio
 * pilot/pkg/serviceregistry/ambient/workloads.go serviceEntryWorkloadBuilder; ztunnel src/dns/server.rs find_server, src/state.rs).
 */
export const isLookedUpWhole = (host: string, entry: ServiceEntry): boolean =>
  entry.spec.resolution === "DYNAMIC_DNS" && isWildcard(host) && hasAddress(host, entry);
