import { index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { fullHost } from "./hosts.ts";
import { trafficOf } from "./virtual-services.ts";

/** A subset of a host, as istiod resolves it. A DestinationRule for a wildcard has the key of this very host. */
export const subsetKey = (host: string, subset: string): string => `${host}\n${subset}`;

/** A DestinationRule, and the VirtualServices that certainly send requests to one of its subsets. */
export const virtualServicesToSubsets = relation(
  "virtualServicesToSubsets",
  index("DestinationRule", (rule, settings) => {
    const [isUsed] = destinationRuleByHost.keys(rule, settings);
    if (isUsed === undefined) return [];
    const host = hostOfRule(rule, settings);
    return new Set(rule.spec.subsets.map(({ name }) => subsetKey(host, name)));
  }),
  index("VirtualService", (virtualService, settings) => {
    const keys = new Set<string>();
    if (!isServed(virtualService, settings)) return keys;
    const { namespace } = virtualService.metadata;
    for (const { destination, isUncertain } of trafficOf(virtualService))
      if (destination.subset && !isUncertain)
        keys.add(subsetKey(fullHost(destination.host, namespace, settings.domain), destination.subset));
    return keys;
  }),
  "identity",
);
