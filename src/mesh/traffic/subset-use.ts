import { index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { fullHost } from "./hosts.ts";
import { type Traffic, trafficOf } from "./virtual-services.ts";

/**
 * Requests to a subset of a host, as istiod resolves it: those of any route, or all those of a route without a condition. A
 * DestinationRule for a wildcard has the key of this very host.
 */
export const subsetKey = (host: string, subset: string, requests: "some" | "all"): string =>
  `${host}\n${subset}\n${requests}`;

/** A DestinationRule, and the VirtualServices that certainly send requests to one of its subsets. */
export const virtualServicesToSubsets = relation(
  "virtualServicesToSubsets",
  index("DestinationRule", (rule, settings) => {
    const [isUsed] = destinationRuleByHost.keys(rule, settings);
    if (isUsed === undefined) return [];
    const host = hostOfRule(rule, settings);
    return new Set(
      rule.spec.subsets.flatMap(({ name }) => [subsetKey(host, name, "some"), subsetKey(host, name, "all")]),
    );
  }),
  index("VirtualService", (virtualService, settings) => {
    const keys = new Set<string>();
    if (!isServed(virtualService, settings)) return keys;
    const { namespace } = virtualService.metadata;
    for (const traffic of trafficOf(virtualService)) {
      const { host, subset } = traffic.destination;
      if (!subset || traffic.isUncertain) continue;
      const full = fullHost(host, namespace, settings.domain);
      keys.add(subsetKey(full, subset, "some"));
      if (isWhole(traffic)) keys.add(subsetKey(full, subset, "all"));
    }
    return keys;
  }),
  "identity",
);

/** A single destination of a route for all requests; a mirror gets copies. */
const isWhole = ({ route, at }: Traffic): boolean =>
  at[3] === "route" && route.match.length === 0 && route.route.length === 1;
