import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { selects } from "../objects/selectors.ts";
import { HostPatterns } from "../traffic/host-patterns.ts";
import { coveringHosts, covers } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { isDelegate, workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { ownNamesOf } from "./passed-names.ts";
import { type Claimant, claimantsAt, keyOf } from "./server-claims.ts";
import { formatServerHost, type Gateway, type Server, serverHosts, terminatesHttps } from "./servers.ts";

/** Names that a server may have instead of one for more hosts. Nothing is wider than `*`. */
const narrowerNames = (host: string): readonly string[] => coveringHosts(host).filter((name) => name !== "*");

/** A VirtualService at gateways and the Gateways with a server name, other than `*`, that covers one of its hosts. */
const gatewaysNamingHosts = relation(
  "gatewaysNamingHosts",
  index("VirtualService", (virtualService, settings) =>
    isDelegate(virtualService) || virtualService.spec.gateways.length === 0 || !isServed(virtualService, settings)
      ? []
      : new Set(hostsOf(virtualService, settings).flatMap((host) => narrowerNames(host.toLowerCase()))),
  ),
  index("Gateway", (gateway, settings) =>
    isServed(gateway, settings)
      ? new Set(gateway.spec.servers.flatMap((server) => ownNamesOf(server, gateway)).filter((name) => name !== "*"))
      : [],
  ),
);

const areTogether = (one: Gateway, other: Gateway, mesh: MeshView<typeof workloadsOfGateway>): boolean => {
  const [a, b] = [one.spec.selector, other.spec.selector];
  if (selectorText(a) === selectorText(b) || [a, b].some((all) => Object.keys(all).length === 0)) return true;
  const workloads = mesh.related(workloadsOfGateway, one);
  mesh.visited(workloads.length);
  return workloads.some(({ pod }) => selects(a, pod.labels) && selects(b, pod.labels));
};

/** The servers of a Gateway that istiod keeps: of those for one host, the oldest (server-conflicts.ts says more, and of more objects). */
const serversOfFirst = fact(
  "serversOfFirst",
  "Gateway",
  [claimantsAt, workloadsOfGateway],
  (gateway, mesh): ReadonlySet<Server> => {
    const isFirst = (server: Server, host: string): boolean =>
      mesh
        .get(claimantsAt, keyOf(server, { of: "host", host }))
        .filter((one) => areTogether(gateway, one.gateway, mesh))
        .sort((a, b) => oldestFirst(a.gateway, b.gateway))[0]?.server === server;
    return new Set(
      gateway.spec.servers.filter((server) =>
        serverHosts(server, gateway.metadata.namespace).every((host) => isFirst(server, formatServerHost(host))),
      ),
    );
  },
);

export const readsOfTakenNames = [gatewaysNamingHosts, claimantsAt, serversOfFirst, workloadsOfGateway] as const;

const ownPatterns = new WeakMap<Server, HostPatterns>();

/** The most exact name of a server that covers a host. */
function nameOver(host: string, { server, gateway }: Claimant): string | undefined {
  let known = ownPatterns.get(server);
  if (known === undefined) ownPatterns.set(server, (known = new HostPatterns(ownNamesOf(server, gateway))));
  return known.over(host);
}

/**
 * The HTTPS server that takes connections with TLS for a host from another one of the same proxies and port, because it names the host more
 * exactly. istiod compares only equal hosts, and each of the two servers has a route configuration of its own (Istio
 * pilot/pkg/model/gateway.go CheckDuplicates, gatewayRDSRouteName), so that the VirtualServices of the first one answer no request for the
 * host (pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig). Servers for plain HTTP on one port have one for all.
 */
export function takingHost(
  host: string,
  from: Claimant,
  mesh: MeshView<(typeof readsOfTakenNames)[number]>,
): (Claimant & { readonly name: string }) | undefined {
  const own = nameOver(host, from);
  if (own === undefined) return undefined;
  for (const name of narrowerNames(host)) {
    if (covers(name, own)) return undefined;
    if (!mesh.hasUnder(gatewaysNamingHosts, name)) continue;
    const taking = mesh
      .get(claimantsAt, keyOf(from.server, { of: "server name", name }))
      .find(
        ({ server, gateway }) =>
          terminatesHttps(server) &&
          areTogether(from.gateway, gateway, mesh) &&
          mesh.get(serversOfFirst, gateway).has(server),
      );
    if (taking !== undefined) return { ...taking, name };
  }
  return undefined;
}
