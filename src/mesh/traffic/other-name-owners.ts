import type { Service } from "../membership/services.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { HostOwners, hostsForSidecars, virtualServicesOfSameHost } from "./host-owners.ts";
import { hostOfService } from "./hosts.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { otherNames, portsOfOwnHosts, routesOtherNames, servicesNamedByVirtualService } from "./service-claims.ts";
import { hostsOf } from "./virtual-service-choices.ts";
import type { VirtualService } from "./virtual-services.ts";

/** A VirtualService with another name of a Service as a host, and the VirtualServices for sidecars with the full host of that Service. */
const virtualServicesOfNamedHost = relation(
  "virtualServicesOfNamedHost",
  index("VirtualService", (one, settings) => new Set(otherNames(hostsOf(one, settings), settings.domain).values())),
  hostsForSidecars,
);

/** The VirtualServices for another name of a Service and for its full host. */
interface NameOwners {
  readonly owners: HostOwners;
  /** The first that has the full host. */
  readonly ofHost: VirtualService | undefined;
}

/**
 * The VirtualServices for another name of a Service and for its full host, by that name: whoever comes first has the name (Istio
 * pilot/pkg/networking/core/httproute.go dedupeDomains).
 */
export const ownersOfOtherName = fact(
  "ownersOfOtherName",
  "key",
  [virtualServicesOfSameHost, virtualServicesOfNamedHost],
  (name, mesh): NameOwners => {
    const { settings } = mesh;
    const full = otherNames([name], settings.domain).get(name) ?? name;
    const ofHost = mesh.under(virtualServicesOfNamedHost, [full]);
    const all = new Set([...mesh.under(virtualServicesOfSameHost, [name]), ...ofHost]);
    return { owners: new HostOwners(name, [...all], settings), ofHost: ofHost.toSorted(oldestFirst)[0] };
  },
);

/** What `namedOtherwise` reads. */
export const otherNameReads = [servicesNamedByVirtualService, portsOfOwnHosts, ownersOfOtherName] as const;

/** A host of a VirtualService that is another name of a Service, of which a VirtualService has the full host. */
export interface NamedOtherwise {
  readonly host: string;
  readonly service: Service;
  readonly owners: HostOwners;
  /** The first VirtualService that has the full host. */
  readonly ofHost: VirtualService;
}

/** The hosts of a VirtualService that are other names of Services of which other VirtualServices have the full host. */
export function* namedOtherwise(
  virtualService: VirtualService,
  mesh: MeshView<(typeof otherNameReads)[number]>,
): Iterable<NamedOtherwise | undefined> {
  const { settings } = mesh;
  const hosts = new Set(hostsOf(virtualService, settings));
  const services = mesh.related(servicesNamedByVirtualService, virtualService);
  if (services.length === 0) return;
  const byHost = new Map(services.map((one) => [hostOfService(one, settings.domain), one]));
  for (const [host, full] of otherNames([...hosts], settings.domain)) {
    yield undefined;
    const service = byHost.get(full);
    if (service === undefined || hosts.has(full) || !routesOtherNames(virtualService, service, mesh)) continue;
    const { owners, ofHost } = mesh.get(ownersOfOtherName, host);
    if (ofHost !== undefined) yield { host, service, owners, ofHost };
  }
}
