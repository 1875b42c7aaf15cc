import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { coveringHosts } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { ownNamesOf } from "./passed-names.ts";
import { type Claim, type Claimant, claimantsAt, claimsOf, keyOf } from "./server-claims.ts";
import { type Gateway, type Server, terminatesHttps } from "./servers.ts";

/** Names that a server may have instead of one for more hosts. Nothing is wider than `*`. */
const narrowerNames = (host: string): readonly string[] => coveringHosts(host).filter((name) => name !== "*");

/** A VirtualService at gateways and the Gateways with a server name that covers one of its hosts; `*` takes nothing from others. */
const gatewaysNamingHosts = relation(
  "gatewaysNamingHosts",
  index("VirtualService", (virtualService, settings) =>
    virtualService.spec.gateways.length === 0 || !isServed(virtualService, settings)
      ? []
      : new Set(hostsOf(virtualService, settings).flatMap((host) => narrowerNames(host.toLowerCase()))),
  ),
  index("Gateway", (gateway, settings) =>
    isServed(gateway, settings) ? new Set(gateway.spec.servers.flatMap((server) => ownNamesOf(server, gateway))) : [],
  ),
);

const areTogether = (one: Gateway, other: Gateway, mesh: MeshView<typeof workloadsOfGateway>): boolean => {
  const [a, b] = [one.spec.selector, other.spec.selector];
  // All pods of one are then pods of the other.
  if (selects(a, b) || selects(b, a)) return true;
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
    const isFirst = (server: Server, claim: Claim): boolean =>
      claim.of !== "host" ||
      mesh
        .get(claimantsAt, keyOf(server, claim))
        .filter((one) => areTogether(gateway, one.gateway, mesh))
        .sort((a, b) => oldestFirst(a.gateway, b.gateway))[0]?.server === server;
    return new Set(
      gateway.spec.servers.filter((server) => [...claimsOf(server, gateway)].every((claim) => isFirst(server, claim))),
    );
  },
);

export const readsOfTakenNames = [gatewaysNamingHosts, claimantsAt, serversOfFirst, workloadsOfGateway] as const;

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
  for (const name of narrowerNames(host)) {
    if (!mesh.hasUnder(gatewaysNamingHosts, name)) continue;
    const all = mesh.get(claimantsAt, keyOf(from.server, { of: "server name", name }));
    if (all.some(({ server }) => server === from.server)) return undefined;
    const taking = all.find(
      ({ server, gateway }) =>
        terminatesHttps(server) &&
        areTogether(from.gateway, gateway, mesh) &&
        mesh.get(serversOfFirst, gateway).has(server),
    );
    if (taking !== undefined) return { ...taking, name };
  }
  return undefined;
}
