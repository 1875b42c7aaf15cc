import { index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { fullHost } from "./hosts.ts";
import { gatewaysOf, meshGateway } from "./virtual-service-clients.ts";
import { type Traffic, trafficOf } from "./virtual-services.ts";

/** Requests of any route, or all those of a route without a condition; of every proxy, or of gateways alone. */
export type RoutedRequests = "some" | "all" | "some at gateways" | "all at gateways";
const everyRequests: readonly RoutedRequests[] = ["some", "all", "some at gateways", "all at gateways"];

/** Requests to a subset of a host, as istiod resolves it. A DestinationRule for a wildcard has the key of this very host. */
export const subsetKey = (host: string, subset: string, requests: RoutedRequests): string =>
  `${host}\n${subset}\n${requests}`;

/** A DestinationRule, and the VirtualServices that certainly send requests to one of its subsets. */
export const virtualServicesToSubsets = relation(
  "virtualServicesToSubsets",
  index("DestinationRule", (rule, settings) => {
    const [isUsed] = destinationRuleByHost.keys(rule, settings);
    if (isUsed === undefined) return [];
    const host = hostOfRule(rule, settings);
    return new Set(
      rule.spec.subsets.flatMap(({ name }) => everyRequests.map((requests) => subsetKey(host, name, requests))),
    );
  }),
  index("VirtualService", (virtualService, settings) => {
    const keys = new Set<string>();
    if (!isServed(virtualService, settings)) return keys;
    const { namespace } = virtualService.metadata;
    const isAtGateways = [...gatewaysOf(virtualService)].some((name) => name !== meshGateway);
    for (const traffic of trafficOf(virtualService)) {
      const { host, subset } = traffic.destination;
      if (!subset || traffic.isUncertain) continue;
      const full = fullHost(host, namespace, settings.domain);
      for (const requests of isWhole(traffic) ? (["some", "all"] as const) : (["some"] as const)) {
        keys.add(subsetKey(full, subset, requests));
        if (isAtGateways) keys.add(subsetKey(full, subset, `${requests} at gateways`));
      }
    }
    return keys;
  }),
  "identity",
);

/** A single destination of a route for all requests; a mirror gets copies. */
const isWhole = ({ route, at }: Traffic): boolean =>
  at[3] === "route" && route.match.length === 0 && route.route.length === 1;
