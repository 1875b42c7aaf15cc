import { hasAmbientAlone } from "../membership/clients.ts";
import { isServed } from "../objects/revision.ts";
import { type Definition, entryByHost, serviceByHost } from "../traffic/definition-choice.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import { namespacesOfSubsetClients } from "../traffic/subset-clients.ts";
import { subsetDestinationsOf, type VirtualService } from "../traffic/virtual-services.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { ambientHost, ambientHostReads } from "./ambient-hosts.ts";
import { isUsable, type WaypointName } from "./bindings.ts";
import { isForMesh } from "./routed-services.ts";

/** The hosts of a VirtualService that waypoints can apply and that names subsets. */
const hostsWithSubsets = index("VirtualService", (virtualService, settings) => {
  if (!isServed(virtualService, settings) || !isForMesh(virtualService)) return [];
  if ([...subsetDestinationsOf(virtualService)].length === 0) return [];
  const { namespace } = virtualService.metadata;
  return new Set(virtualService.spec.hosts.map((host) => fullHost(host, namespace, settings.domain)));
});
/** A VirtualService with subsets and the Services of its hosts, whose waypoints apply its routes. */
const servicesRoutedToSubsets = relation("servicesRoutedToSubsets", hostsWithSubsets, serviceByHost);
/** A VirtualService with subsets and the ServiceEntries of its hosts, whose waypoints apply its routes. */
const entriesRoutedToSubsets = relation("entriesRoutedToSubsets", hostsWithSubsets, entryByHost);

/** What `waypointsApart` reads. */
export const waypointsApartReads = [servicesRoutedToSubsets, entriesRoutedToSubsets, ...ambientHostReads] as const;
type View = MeshView<(typeof waypointsApartReads)[number]>;

interface Applying {
  readonly named: WaypointName;
  /** What defines the hosts that the waypoint serves. */
  readonly definitions: [Definition, ...Definition[]];
}

/**
 * The waypoints of other namespaces that apply a VirtualService with subsets, each namespace once (Istio
 * pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint).
 */
export function waypointsApart(virtualService: VirtualService, mesh: View): ReadonlyMap<string, Applying> {
  const { namespace: own } = virtualService.metadata;
  const visible = visibleTo(virtualService.spec.exportTo, own, mesh.settings.defaultVirtualServiceExportTo);
  const found = new Map<string, Applying>();
  for (const definition of definitionsRouted(virtualService, mesh)) {
    if (definition.metadata.namespace !== own) continue;
    const binding = ambientHost(definition, mesh)?.binding;
    if (!isUsable(binding) || binding.gateway === undefined) continue;
    const { named } = binding;
    if (named.namespace === own || !includesNamespace(visible, named.namespace)) continue;
    const known = found.get(named.namespace);
    if (known === undefined) found.set(named.namespace, { named, definitions: [definition] });
    else known.definitions.push(definition);
  }
  return found;
}

const definitionsRouted = (
  virtualService: VirtualService,
  mesh: MeshView<typeof servicesRoutedToSubsets | typeof entriesRoutedToSubsets>,
): readonly Definition[] => [
  ...mesh.related(servicesRoutedToSubsets, virtualService),
  ...mesh.related(entriesRoutedToSubsets, virtualService),
];

/**
 * The namespaces of clients of a VirtualService with subsets in which no proxy sends requests, but ztunnel does, if waypoints of
 * other namespaces apply its routes for all its hosts. Empty: some host is not known, or has no such waypoint.
 */
export const routedApart = fact(
  "routedApart",
  "VirtualService",
  [...waypointsApartReads, namespacesOfSubsetClients, hasAmbientAlone],
  (virtualService, mesh): ReadonlySet<string> => {
    const served = new Set(
      [...waypointsApart(virtualService, mesh).values()].flatMap(({ definitions }) => definitions),
    );
    if (served.size === 0 || definitionsRouted(virtualService, mesh).some((one) => !served.has(one))) return new Set();
    const { domain } = mesh.settings;
    const known = new Set(
      [...served].flatMap((one) => (one.kind === "Service" ? [hostOfService(one, domain)] : one.spec.hosts)),
    );
    const { namespace } = virtualService.metadata;
    if (virtualService.spec.hosts.some((host) => !known.has(fullHost(host, namespace, domain)))) return new Set();
    const ambient = mesh
      .related(namespacesOfSubsetClients, virtualService)
      .filter((one) => mesh.get(hasAmbientAlone, one));
    return new Set(ambient.map(({ metadata }) => metadata.name));
  },
);
