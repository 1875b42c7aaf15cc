import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { isServed } from "../objects/revision.ts";
import { delegatedRoutes, type Delegating, delegatingReads, delegatingTo, mostDelegating } from "./delegate-routes.ts";
import {
  destinationRuleByHost,
  type DestinationRule,
  hostOfRule,
  subsetHostsOfVirtualService,
} from "./destination-rules.ts";
import { fullHost, hostOfService, isWildcard } from "./hosts.ts";
import { namesOfDestinationRule, subsetUsersOfAlias } from "./subset-aliases.ts";
import { hostOfSubsets } from "./subset-targets.ts";
import { fullGatewayName, gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import { subsetDestinationsOf, type Traffic, trafficOf, type VirtualService } from "./virtual-services.ts";

/** Requests of any route, or all those of a route without a condition; of every proxy, or of gateways alone. */
export type RoutedRequests = "some" | "all" | "some at gateways" | "all at gateways";
const everyRequests: readonly RoutedRequests[] = ["some", "all", "some at gateways", "all at gateways"];

/** Requests to a subset of a host, as istiod resolves it. A DestinationRule for a wildcard has the key of the wildcard itself. */
export const subsetKey = (host: string, subset: string, requests: RoutedRequests): string =>
  `${host}\n${subset}\n${requests}`;

/** A DestinationRule, and the VirtualServices with hosts that certainly send requests to one of its subsets. */
export const virtualServicesToSubsets = relation(
  "virtualServicesToSubsets",
  index("DestinationRule", (rule, settings) => keysOfRule(rule, settings, everyRequests)),
  index("VirtualService", (virtualService, settings) =>
    isDelegate(virtualService) || !isServed(virtualService, settings)
      ? []
      : routedBy(virtualService, virtualService.metadata.namespace, settings),
  ),
  "identity",
);

/** A DestinationRule, and the delegates whose routes name one of its subsets, under a key for some requests. */
export const delegatesToSubsets = relation(
  "delegatesToSubsets",
  index("DestinationRule", (rule, settings) => keysOfRule(rule, settings, ["some"])),
  index("VirtualService", (delegate, settings) => {
    if (!isDelegate(delegate) || !isServed(delegate, settings)) return [];
    const full = (host: string) => fullHost(host, delegate.metadata.namespace, settings.domain);
    return new Set(
      subsetDestinationsOf(delegate).map(({ host, subset = "" }) => subsetKey(full(host), subset, "some")),
    );
  }),
);

/**
 * The requests that a delegate sends to subsets, by subsetKey, and the VirtualService that delegates them to it. Its routes have the
 * matches and the gateways of the route that names it, and only those of http count (Istio pilot/pkg/model/virtualservice.go
 * mergeVirtualServicesIfNeeded). Of more than 16 routes that name it, the first are followed.
 */
export const delegatedToSubsets = fact(
  "delegatedToSubsets",
  "VirtualService",
  delegatingReads,
  (delegate, mesh): ReadonlyMap<string, VirtualService> => {
    const found = new Map<string, VirtualService>();
    for (const one of delegatingTo(delegate, mesh).slice(0, mostDelegating)) {
      if (isPreceded(one)) continue;
      mesh.visited(delegate.spec.http.length);
      const { root, route } = one;
      const http = delegatedRoutes(root, route, delegate, mesh.settings).map((delegated) => delegated.route);
      const merged = { ...root, spec: { ...root.spec, http, tcp: [], tls: [] } };
      for (const key of routedBy(merged, delegate.metadata.namespace, mesh.settings))
        if (!found.has(key)) found.set(key, root);
    }
    return found;
  },
);

/** A DestinationRule for a wildcard that defines subsets, and the VirtualServices that name subsets of hosts which it matches. */
export const virtualServicesToWildcardSubsets = relation(
  "virtualServicesToWildcardSubsets",
  index("DestinationRule", (rule, settings) =>
    isWildcard(rule.spec.host) && rule.spec.subsets.length > 0 ? destinationRuleByHost.keys(rule, settings) : [],
  ),
  subsetHostsOfVirtualService,
);

/** The requests that a VirtualService sends to subsets, by subsetKey, with itself or the one that delegates them to it. */
export function* routedToSubsets(
  virtualService: VirtualService,
  mesh: MeshView<typeof delegatedToSubsets>,
): Iterable<readonly [requests: string, root: VirtualService]> {
  if (isDelegate(virtualService)) yield* mesh.get(delegatedToSubsets, virtualService);
  else
    for (const requests of routedBy(virtualService, virtualService.metadata.namespace, mesh.settings))
      yield [requests, virtualService];
}

/** A VirtualService that sends requests to a subset, and another name for the host that it uses. */
interface AliasedUse {
  readonly user: VirtualService;
  readonly alias: Service;
}

/**
 * The VirtualServices that send requests to subsets of the host of a DestinationRule and name an ExternalName for it, by subsetKey of
 * the host. Delegates are not among them.
 */
export const aliasedToSubsets = fact(
  "aliasedToSubsets",
  "DestinationRule",
  [namesOfDestinationRule, subsetUsersOfAlias, hostOfSubsets],
  (rule, mesh): ReadonlyMap<string, AliasedUse> => {
    const { settings } = mesh;
    const target = hostOfRule(rule, settings);
    const aliases = mesh.related(namesOfDestinationRule, rule);
    const byHost = new Map(aliases.map((alias) => [hostOfService(alias, settings.domain), alias]));
    const users = new Set(aliases.flatMap((alias) => mesh.related(subsetUsersOfAlias, alias)));
    const found = new Map<string, AliasedUse>();
    for (const user of users) {
      if (isDelegate(user)) continue;
      const keys = routedBy(user, user.metadata.namespace, settings);
      mesh.visited(keys.size);
      for (const key of keys) {
        const end = key.indexOf("\n");
        const alias = byHost.get(key.slice(0, end));
        const own = target + key.slice(end);
        if (alias === undefined || found.has(own)) continue;
        if (mesh.get(hostOfSubsets, key.slice(0, end)).alias !== undefined) found.set(own, { user, alias });
      }
    }
    return found;
  },
);

/** Whether a route for all requests is before the one that delegates. */
const isPreceded = ({ root, route }: Delegating): boolean => {
  const catchAll = root.spec.http.findIndex(({ match, delegate }) => match.length === 0 && !delegate);
  return catchAll >= 0 && catchAll < root.spec.http.indexOf(route);
};

function keysOfRule(
  rule: DestinationRule,
  settings: MeshSettings,
  all: readonly RoutedRequests[],
): ReadonlySet<string> {
  const [isUsed] = destinationRuleByHost.keys(rule, settings);
  if (isUsed === undefined) return new Set();
  const host = hostOfRule(rule, settings);
  return new Set(rule.spec.subsets.flatMap(({ name }) => all.map((requests) => subsetKey(host, name, requests))));
}

/** `namespace`: that of the destinations. */
function routedBy(virtualService: VirtualService, namespace: string, settings: MeshSettings): ReadonlySet<string> {
  const keys = new Set<string>();
  const atGateways = [...gatewaysOf(virtualService)].filter((name) => name !== meshGateway);
  for (const traffic of trafficOf(virtualService)) {
    const { host, subset } = traffic.destination;
    if (!subset || traffic.isUncertain) continue;
    const full = fullHost(host, namespace, settings.domain);
    const isAtGateways = isForSome(atGateways, traffic, virtualService.metadata.namespace);
    for (const requests of isWhole(traffic) ? (["some", "all"] as const) : (["some"] as const)) {
      keys.add(subsetKey(full, subset, requests));
      if (isAtGateways) keys.add(subsetKey(full, subset, `${requests} at gateways`));
    }
  }
  return keys;
}

/** Whether a route is for one of these gateways: a match that names none is for all. */
function isForSome(gateways: readonly string[], { route }: Traffic, namespace: string): boolean {
  if (gateways.length === 0 || route.match.length === 0) return gateways.length > 0;
  return route.match.some(
    (match) =>
      match.gateways.length === 0 || match.gateways.some((name) => gateways.includes(fullGatewayName(name, namespace))),
  );
}

/** A single destination of a route for all requests; a mirror gets copies. */
const isWhole = ({ route, at }: Traffic): boolean =>
  at[3] === "route" && route.match.length === 0 && route.route.length === 1;
