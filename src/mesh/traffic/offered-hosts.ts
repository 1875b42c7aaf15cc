import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { HostPatterns } from "./host-patterns.ts";
import { fullHost, isWildcard } from "./hosts.ts";
import type { VirtualService } from "./virtual-services.ts";

type Gateway = ObjectOf<"Gateway">;
type Server = Gateway["spec"]["servers"][number];

/** A host that a server offers, and the namespace whose routes may use it; `*` stands for all. */
export interface ServerHost {
  readonly namespace: string;
  readonly host: string;
}

/**
 * `namespace/host`, where `.` is the namespace of the Gateway and no namespace means all (Istio
 * pilot/pkg/model/gateway.go sanitizeServerHostNamespace).
 */
export function serverHost(host: string, gatewayNamespace: string): ServerHost {
  const slash = host.indexOf("/");
  if (slash < 0) return { namespace: "*", host };
  const namespace = host.slice(0, slash);
  return { namespace: namespace === "." ? gatewayNamespace : namespace, host: host.slice(slash + 1) };
}

/**
 * The hosts of a server. Where one is for every namespace and every name, as the entry of a namespace and a name, it
 * replaces all of them (Istio pilot/pkg/model/gateway.go sanitizeServerHostNamespace).
 */
export function serverHosts({ hosts }: Server, gatewayNamespace: string): readonly ServerHost[] {
  if (hosts.includes("*/*")) return [{ namespace: "*", host: "*" }];
  return hosts.map((host) => serverHost(host, gatewayNamespace));
}

/** The hosts that a name covers, and those that cover a name. */
export function hostsInCommon(
  names: readonly string[],
  hosts: readonly string[],
  wanted: HostPatterns,
): ReadonlySet<string> {
  const found = new Set(names.flatMap((name) => wanted.allOver(name)));
  if (!names.some(isWildcard)) return found;
  const patterns = new HostPatterns(names);
  for (const host of hosts) if (patterns.over(host) !== undefined) found.add(host);
  return found;
}

/** The hosts of a server for VirtualServices of a namespace. */
export const namesFor = (server: Server, gateway: Gateway, namespace: string): readonly string[] =>
  serverHosts(server, gateway.metadata.namespace)
    .filter((host) => host.namespace === "*" || host.namespace === namespace)
    .map(({ host }) => host);

/**
 * Whether a server of a Gateway offers a host of a VirtualService to its namespace; if none does, the gateway has none of its routes
 * (Istio pilot/pkg/networking/core/gateway.go pickMatchingGatewayHosts).
 */
export function offering(
  { metadata, spec }: VirtualService,
  { domain }: MeshSettings,
): (server: Server, gateway: Gateway) => boolean {
  const hosts = spec.hosts.map((host) => fullHost(host, metadata.namespace, domain));
  const wanted = new HostPatterns(hosts);
  return (server, gateway) => hostsInCommon(namesFor(server, gateway, metadata.namespace), hosts, wanted).size > 0;
}
