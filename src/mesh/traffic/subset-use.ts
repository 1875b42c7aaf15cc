import { fullHost } from "./hosts.ts";
import { type Traffic, trafficOf, type VirtualService } from "./virtual-services.ts";

/** The subsets that a VirtualService sends requests to, by their host. */
interface Used {
  readonly domain: string;
  readonly some: ReadonlySet<string>;
  /** Those that a route without a condition sends all its requests to. */
  readonly all: ReadonlySet<string>;
}
const used = new WeakMap<VirtualService, Used>();

/** A subset of a host, by its full name. */
export interface SubsetOfHost {
  readonly host: string;
  readonly subset: string;
}

/** Whether a VirtualService sends requests to a subset of a host. Every DestinationRule of the host asks for it. */
export const routesTo = (virtualService: VirtualService, asked: SubsetOfHost, domain: string): boolean =>
  usedBy(virtualService, domain).some.has(subsetKey(asked));

/** Whether a route of a VirtualService without a condition sends all its requests to a subset of a host. */
export const routesAllTo = (virtualService: VirtualService, asked: SubsetOfHost, domain: string): boolean =>
  usedBy(virtualService, domain).all.has(subsetKey(asked));

function usedBy(virtualService: VirtualService, domain: string): Used {
  let known = used.get(virtualService);
  if (known?.domain !== domain) {
    const { namespace } = virtualService.metadata;
    const some = new Set<string>();
    const all = new Set<string>();
    for (const traffic of trafficOf(virtualService)) {
      const { host, subset } = traffic.destination;
      if (!subset || traffic.isUncertain) continue;
      const key = subsetKey({ host: fullHost(host, namespace, domain), subset });
      some.add(key);
      if (isWhole(traffic)) all.add(key);
    }
    used.set(virtualService, (known = { domain, some, all }));
  }
  return known;
}

/** A single destination of a route for all requests; a mirror gets copies. */
const isWhole = ({ route, at }: Traffic): boolean =>
  at[3] === "route" && route.match.length === 0 && route.route.length === 1;

const subsetKey = ({ host, subset }: SubsetOfHost): string => `${host}\n${subset}`;
