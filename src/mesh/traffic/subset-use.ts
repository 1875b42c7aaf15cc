import { fullHost } from "./hosts.ts";
import { trafficOf, type VirtualService } from "./virtual-services.ts";

const used = new WeakMap<VirtualService, { readonly domain: string; readonly subsets: ReadonlySet<string> }>();

/** Whether a VirtualService sends requests to a subset of a host. Every DestinationRule of the host asks for it. */
export function routesTo(
  virtualService: VirtualService,
  { host, subset }: { readonly host: string; readonly subset: string },
  domain: string,
): boolean {
  let known = used.get(virtualService);
  if (known?.domain !== domain) {
    const { namespace } = virtualService.metadata;
    const subsets = new Set<string>();
    for (const { destination, isUncertain } of trafficOf(virtualService))
      if (destination.subset && !isUncertain)
        subsets.add(subsetKey(fullHost(destination.host, namespace, domain), destination.subset));
    used.set(virtualService, (known = { domain, subsets }));
  }
  return known.subsets.has(subsetKey(host, subset));
}

const subsetKey = (host: string, subset: string): string => `${host}\n${subset}`;
