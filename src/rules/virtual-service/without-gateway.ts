import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { coveringHosts, hostKey, isWildcard, namespaceOfHost } from "../../mesh/traffic/hosts.ts";
import { serverHosts } from "../../mesh/traffic/offered-hosts.ts";
import {
  isCoveredByWildcard,
  isRegistryComplete,
  isUndefinedHost,
  registeredHost,
  registryReads,
} from "../../mesh/traffic/registry.ts";
import { hostsOf } from "../../mesh/traffic/virtual-service-choices.ts";
import { isDelegate, meshGateway, nameOf } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** The hosts of a VirtualService that names no gateways, of those that are not in the form of a Service's. */
function outsideHosts(virtualService: VirtualService, settings: MeshSettings): readonly string[] {
  if (virtualService.spec.gateways.length > 0 || isDelegate(virtualService) || !isServed(virtualService, settings))
    return [];
  return hostsOf(virtualService, settings).filter(
    (host) => host.includes(".") && !isWildcard(host) && namespaceOfHost(host, settings.domain) === undefined,
  );
}

/** The hosts that a Gateway offers to a namespace, and to all of them. */
const offeredTo = (namespace: string, host: string): string => `${namespace} ${host}`;
const offered = ({ metadata, spec }: ObjectOf<"Gateway">): readonly string[] =>
  spec.servers.flatMap((server) =>
    serverHosts(server, metadata.namespace).map(({ namespace, host }) => offeredTo(namespace, host.toLowerCase())),
  );

/** A VirtualService without gateways and the Gateways that offer one of its hosts by name to its namespace. */
const gatewaysOfferingHost = relation(
  "gatewaysOfferingHost",
  index(
    "VirtualService",
    (virtualService, settings) =>
      new Set(outsideHosts(virtualService, settings).flatMap((host) => keysOf(host, virtualService))),
  ),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? new Set(offered(gateway)) : [])),
);
const keysOf = (host: string, { metadata: { namespace } }: VirtualService): readonly string[] => [
  offeredTo("*", host),
  offeredTo(namespace, host),
];

/** A VirtualService without gateways and those with gateways that have one of its hosts, or a wildcard over it. */
const routesAtGateways = relation(
  "routesAtGateways",
  index(
    "VirtualService",
    (virtualService, settings) => new Set(outsideHosts(virtualService, settings).flatMap(coveringHosts)),
  ),
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && virtualService.spec.gateways.some((name) => name !== meshGateway)
      ? new Set(hostsOf(virtualService, settings).map(hostKey))
      : [],
  ),
);

const reads = [gatewaysOfferingHost, routesAtGateways, ...registryReads, registeredHost] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceWithoutGateway = defineRule({
  id: "virtual-service-without-gateway",
  subject: "VirtualService",
  reads,
  worksWithout: ["KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A VirtualService names no gateways, and its host is one that a Gateway offers and that is not in the mesh.",
  why: "Without `gateways`, a VirtualService is for sidecars alone, as with `mesh` (Istio pilot/pkg/model/virtualservice.go, reference of VirtualService.gateways). A gateway uses only those that name its Gateway, and answers 404 for a host that none of them has (pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig).",
  fix: "Name the Gateway in `gateways`, and `mesh` beside it if sidecars are to use the routes as well. If they are for sidecars alone, write `gateways: [mesh]`.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "The gateway answers 404 for every request to the host.",
    wayOut: "Add the Gateway to `gateways`, or apply the previous version of the VirtualService.",
    silentWhen:
      "The VirtualService names gateways, `mesh` among them; another one that does has the host, or a wildcard over it; the Gateway offers the host by a wildcard alone; or a Service or a ServiceEntry defines it.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    const gateways = mesh.related(gatewaysOfferingHost, virtualService);
    if (gateways.length === 0) return;
    const hosts = outsideHosts(virtualService, mesh.settings).filter((host) => isOutside(host, mesh));
    const wanted = new Map(hosts.flatMap((host) => keysOf(host, virtualService).map((key) => [key, host] as const)));
    for (const gateway of gateways) {
      yield;
      const key = offered(gateway).find((one) => wanted.has(one));
      const host = key === undefined ? undefined : wanted.get(key);
      if (host === undefined) continue;
      yield {
        at: ["spec", "hosts"],
        message: `${idOf(gateway)} offers "${host}", and has no route for it: without gateways, this VirtualService is for sidecars alone`,
        key: `${nameOf(gateway)} ${host}`,
        related: [gateway],
        evidence: [gateway],
        ...(isRegistryComplete(mesh) && mesh.knowsAll("VirtualService")
          ? {}
          : { guess: "all routes, Services and ServiceEntries" }),
      };
    }
  },
});

/** Whether nothing in the mesh has a host, and no gateway has a route for it. */
const isOutside = (host: string, mesh: View): boolean =>
  isUndefinedHost(mesh.get(registeredHost, host)) &&
  !isCoveredByWildcard(host, mesh) &&
  !coveringHosts(host).some((key) => mesh.hasUnder(routesAtGateways, key));
