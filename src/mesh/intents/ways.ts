import type { MeshSettings } from "../../view/settings.ts";
import { type Index, index, type Relation, relation } from "../../view/view.ts";
import { customPoliciesOfNamespace } from "../authorization/custom-authorization.ts";
import { meshConfigsOfProvider } from "../authorization/providers.ts";
import { enforcedPoliciesOfNamespace } from "../authorization/policy-levels.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import { workloadsOfNamespace } from "../membership/workloads.ts";
import { peerAuthenticationsOfNamespace } from "../mtls/effective-mtls.ts";
import { workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { isServed } from "../objects/revision.ts";
import { namespaceByName, namespaceByNameAndRoot, serviceByName, serviceByNamespace } from "../objects/indexes.ts";
import {
  envoyFiltersOver,
  requestAuthenticationsOver,
  trafficExtensionsOver,
  wasmPluginsOver,
} from "../requests/attachments.ts";
import { aliasByCoveringHosts, serviceOfAlias } from "../traffic/aliased-hosts.ts";
import { backendTlsPoliciesOfEntry, backendTlsPoliciesOfService } from "../traffic/backend-tls-policies.ts";
import { leadingEntriesOfNamespace } from "../requests/server-protocols.ts";
import { destinationRulesOfEntry, destinationRulesOfService } from "../requests/destinations.ts";
import {
  entryByOpenPort,
  httpEntriesOfOpenEntry,
  openEntriesOfEntry,
  openEntriesOfService,
  servicesOfOpenEntry,
} from "../requests/every-address.ts";
import { namespaceOfWaypoint } from "../requests/enforcement.ts";
import { gatewayByHost, kubernetesGatewayByHost, routeByHostname } from "../requests/front.ts";
import { classesOfIngress, servicesOfIngress } from "../gateways/ingresses.ts";
import { streamsOfGateway } from "../gateways/stream-routes.ts";
import { authoritiesOf } from "../requests/header-changes.ts";
import { ingressWorkloads } from "../requests/ingress.ts";
import {
  virtualServicesOfEntry,
  virtualServicesOfService,
  virtualServicesUnderEntry,
} from "../requests/route-table.ts";
import {
  namespacesApartOfDestinationRule,
  namespacesOfVirtualService,
  namespacesThatSeeEntry,
  namespacesThatSeeService,
} from "../requests/clients-apart.ts";
import {
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
  serviceEntryByHost,
} from "../traffic/definition-choice.ts";
import { destinationRuleByHost } from "../traffic/destination-rules.ts";
import { coveringHosts, fullHost, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { entriesOfVirtualService, servicesOfVirtualService } from "../traffic/registry.ts";
import { destinationRulesOfAlias, entriesOfAlias } from "../traffic/subset-aliases.ts";
import { sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import { everyVirtualServiceByHost, hostsOf } from "../traffic/virtual-service-choices.ts";
import { delegatesOfRoot, gatewaysOf, meshGateway, workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { trafficOf } from "../traffic/virtual-services.ts";
import { gatewayOfListenerSet, listenerSetsOfGateway, namespaceOfListenerSet } from "../gateways/listener-sets.ts";
import { certificateGrants } from "../gateways/listener-certificates.ts";
import { servicesOfAddresses } from "../gateways/gateway-addresses.ts";
import { workloadsOfKubernetesGateway } from "../gateways/listener-gateways.ts";
import {
  backendOf,
  backendsOf,
  grantsOfRoute,
  type KubernetesRoute,
  namespaceOfRoute,
  parentOf,
  routesOfParentEntry,
  routesOfParentService,
  streamRoutesOfGateway,
  servicesOfRoute,
} from "../gateways/routes.ts";
import { gatewaysAtListener } from "../gateways/server-claims.ts";
import {
  waypointOfNamespace,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
} from "../waypoints/bindings.ts";
import { ingressGatewaysOfIntent, ingressWorkloadsOfIntent } from "./callers.ts";
import { callersOfIntent, clusterIntentsOfNamespace, type Intent, namespaceOfIntent } from "./intents.ts";
import { frontReads, ingressesOfIntentHosts } from "./public-hosts.ts";
import { entriesOfIntent, hostOfIntent, openEntriesOfIntent } from "./targets.ts";

// The relations by which a change reaches intents. What becomes of a request is composed of so many facts that their relations
// together lead through the namespaces from almost every object to almost every intent. Here, a namespace is an end: what is in it
// leads to the intents about it, to those that name it, and to the VirtualServices and gateways by which requests get there.

/** The namespaces that an intent is about, or whose callers it names. */
const homesOf = (intent: Intent, settings: MeshSettings): ReadonlySet<string> =>
  new Set([...namespaceOfIntent.from.keys(intent, settings), ...callersOfIntent.from.keys(intent, settings)]);
const homes = index("MeshwardIntent", homesOf);
const homesAndRoot = index(
  "MeshwardIntent",
  (intent, settings) => new Set(homesOf(intent, settings)).add(settings.rootNamespace),
  ["rootNamespace"],
);

/** The namespaces, other than that of the only host, in which a VirtualService has destinations or distinguishes clients. */
const otherHomesOfVirtualService = index("VirtualService", (virtualService, settings) => {
  const { metadata, spec } = virtualService;
  const namespaceOf = (host: string) =>
    namespaceOfHost(fullHost(host, metadata.namespace, settings.domain), settings.domain);
  const found = new Set(namespacesOfVirtualService.from.keys(virtualService, settings));
  for (const { destination } of trafficOf(virtualService)) {
    const namespace = namespaceOf(destination.host);
    if (namespace !== undefined) found.add(namespace);
  }
  return withoutOnly(found, spec.hosts, namespaceOf);
});
const otherHomesOfDestinationRule = index("DestinationRule", (rule, settings) =>
  withoutOnly(new Set(namespacesApartOfDestinationRule.from.keys(rule, settings)), [rule.spec.host], (host) =>
    namespaceOfHost(fullHost(host, rule.metadata.namespace, settings.domain), settings.domain),
  ),
);

/** Intents about a service of the only namespace know what is in it. */
function withoutOnly(
  found: Set<string>,
  hosts: readonly string[],
  namespaceOf: (host: string) => string | undefined,
): ReadonlySet<string> {
  const of = new Set(hosts.map((host) => (isWildcard(host) ? undefined : namespaceOf(host))));
  const [only] = of;
  if (of.size === 1 && only !== undefined) found.delete(only);
  return found;
}

/**
 * The hosts of requests that a VirtualService sends to something else, which can be a gateway: those that it is for, and those that
 * it writes into the requests.
 */
const hostsBeyondVirtualService = index("VirtualService", (virtualService, settings) => {
  const { metadata, spec } = virtualService;
  const own = hostsOf(virtualService, settings);
  const isElsewhere = ({ host }: { readonly host: string }) =>
    !own.includes(fullHost(host, metadata.namespace, settings.domain));
  if (!trafficOf(virtualService).some(({ destination }) => isElsewhere(destination))) return [];
  // What gateways alone have is found by the hosts of intents and of what sends them the requests.
  const sent = gatewaysOf(virtualService).has(meshGateway) ? own : [];
  return new Set([...sent, ...spec.http.flatMap(authoritiesOf)].flatMap((host) => coveringHosts(host.toLowerCase())));
});
/** The same of a route of the Gateway API for a Service. */
const hostsBeyondRoute = index("KubernetesRoute", (route, { domain }) => {
  const parents = route.spec.parentRefs.map((ref) => parentOf(ref, route)).filter(({ kind }) => kind === "Service");
  const written = route.spec.rules.flatMap(({ filters }) =>
    filters.flatMap(({ urlRewrite }) => urlRewrite?.hostname ?? []),
  );
  const own = parents.map(({ namespace, name }) => `${name}.${namespace}.svc.${domain}`);
  return new Set([...own, ...written].flatMap((host) => coveringHosts(host.toLowerCase())));
});
/** What lets in and routes requests for a host at gateways. */
const front = {
  gateways: gatewayByHost,
  kubernetesGateways: kubernetesGatewayByHost,
  virtualServices: everyVirtualServiceByHost,
  routes: routeByHostname,
} as const;

const entryByNamespaceAndRoot = index(
  "ServiceEntry",
  (entry, settings) => (isServed(entry, settings) ? new Set([entry.metadata.namespace, settings.rootNamespace]) : []),
  ["rootNamespace"],
);
/** The namespace of the Service that an alias stands for. */
const namespaceOfAliased = index("Service", (service, settings) =>
  [...serviceOfAlias.from.keys(service, settings)].flatMap((host) => namespaceOfHost(host, settings.domain) ?? []),
);

/** A route of the Gateway API for a Service sends requests to Services of its own namespace. */
const routeByNamespace = index("KubernetesRoute", ({ metadata }) => [metadata.namespace]);
const gatewayByNamespace = index("KubernetesGateway", ({ metadata }) => [metadata.namespace]);
/** The namespaces of the backends of a route. */
const otherHomesOfRoute = index("KubernetesRoute", (route, { domain }) => {
  const found = new Set([...backendsOf(route)].map(({ ref }) => backendOf(ref, route).namespace));
  for (const host of hostBackends(route)) found.add(namespaceOfHost(host, domain) ?? route.metadata.namespace);
  found.delete(route.metadata.namespace);
  return found;
});
/** The hosts that a route names as its backends, instead of a Service. */
const hostBackends = (route: KubernetesRoute): readonly string[] =>
  [...backendsOf(route)].flatMap(({ ref }) => (ref.kind === "Hostname" ? [ref.name] : []));
const entryByNamespace = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? [entry.metadata.namespace] : [],
);
/** Gateways by which requests come in, by their namespaces. */
const ingressByNamespace = index("Workload", (workload, settings) =>
  [...ingressWorkloads.keys(workload, settings)].length === 0 ? [] : [workload.metadata.namespace],
);

/** Services say too how the sidecars of the pods that they select read requests. */
const pods = {
  workloads: workloadsOfNamespace.to,
  gateways: gatewaysOfNamespace.to,
  services: serviceByNamespace,
  entries: leadingEntriesOfNamespace.to,
  machines: workloadEntriesOfNamespace.to,
} as const;
/** What decides about the proxies of a namespace, in it or in the root namespace. */
const policies = {
  peerAuthentications: peerAuthenticationsOfNamespace.to,
  authorizationPolicies: enforcedPoliciesOfNamespace.to,
  customPolicies: customPoliciesOfNamespace.to,
  envoyFilters: envoyFiltersOver.to,
  wasmPlugins: wasmPluginsOver.to,
  trafficExtensions: trafficExtensionsOver.to,
  requestAuthentications: requestAuthenticationsOver.to,
} as const;
const sidecars = sidecarsOfNamespace.to;
const clients = { namespaces: namespaceByName, sidecars } as const;

const to = (from: Index, name: string, ends: Readonly<Record<string, Index>>): readonly Relation[] =>
  Object.entries(ends).map(([end, of]) => relation(`${end}${name}`, from, of));

const ofIntents = [
  // Not the root namespace itself: no intent depends on it, and whatever changes in it would lead through it to every intent.
  ...to(homes, "OfIntentHomes", { ...pods, namespaces: namespaceByName }),
  ...to(homesAndRoot, "OfIntentHomesAndRoot", { ...policies, sidecars }),
  relation(
    "serviceOfIntent",
    index("MeshwardIntent", ({ metadata, spec }) =>
      spec.to.service === undefined ? [] : [`${metadata.namespace}/${spec.to.service}`],
    ),
    serviceByName,
  ),
  meshConfigsOfProvider,
  ingressWorkloadsOfIntent,
  ingressGatewaysOfIntent,
  ...to(ingressByNamespace, "OfIngress", clients),
];
/** What decides about requests that come in by the public hosts of intents, beside what decides about other requests. */
const ofFronts = [
  ...frontReads,
  ingressesOfIntentHosts,
  classesOfIngress,
  servicesOfIngress,
  gatewaysAtListener,
  workloadsOfGateway,
  workloadsOfKubernetesGateway,
  servicesOfAddresses,
  ...certificateGrants,
  gatewayOfListenerSet,
  namespaceOfListenerSet,
  listenerSetsOfGateway,
  grantsOfRoute,
  namespaceOfRoute,
  servicesOfRoute,
  ...to(ingressByNamespace, "OfEntrance", { ...policies, services: pods.services }),
  ...to(gatewayByNamespace, "OfEntranceGateway", { workloads: pods.workloads, services: pods.services }),
  ...to(otherHomesOfRoute, "OfBackend", { ...pods, ...policies, ...clients }),
];
/** Gateways within the way, at which the same decides as at those by which requests come in. */
const ofHops = [
  streamsOfGateway,
  streamRoutesOfGateway,
  ...to(hostsBeyondVirtualService, "BeyondVirtualService", front),
  ...to(hostsBeyondRoute, "BeyondRoute", front),
];
/** A host outside the mesh, or one that ServiceEntries define: its endpoints are in their namespaces. */
const ofHosts = [
  entriesOfIntent,
  openEntriesOfIntent,
  openEntriesOfEntry,
  serviceEntriesBesideServiceEntry,
  openEntriesOfService,
  servicesOfOpenEntry,
  httpEntriesOfOpenEntry,
  relation("virtualServicesOfIntentHost", hostOfIntent, everyVirtualServiceByHost),
  relation("destinationRulesOfIntentHost", hostOfIntent, destinationRuleByHost),
  virtualServicesOfEntry,
  virtualServicesUnderEntry,
  destinationRulesOfEntry,
  backendTlsPoliciesOfEntry,
  waypointOfServiceEntry,
  ...to(hostOfIntent, "OfIntentHost", { gateways: gatewayByHost, kubernetesGateways: kubernetesGatewayByHost }),
  relation("routesOfIntentHost", hostOfIntent, routeByHostname),
  routesOfParentEntry,
  relation(
    "entriesOfRoute",
    index("KubernetesRoute", (route) => new Set(hostBackends(route).flatMap(coveringHosts))),
    serviceEntryByHost,
  ),
  ...to(entryByNamespace, "OfEntry", { ...pods, ...clients }),
  ...to(entryByNamespaceAndRoot, "OfEntryAndRoot", policies),
  ...to(namespacesThatSeeEntry.from, "ThatSeeEntry", { workloads: workloadsOfNamespace.to, ...clients }),
  serviceOfAlias,
  entriesOfAlias,
  relation("virtualServicesOfAlias", aliasByCoveringHosts, everyVirtualServiceByHost),
  destinationRulesOfAlias,
  ...to(namespaceOfAliased, "OfAliased", { ...pods, ...policies, ...clients }),
];
const ofRoutes = [
  destinationRulesOfService,
  backendTlsPoliciesOfService,
  ...to(namespacesThatSeeService.from, "ThatSeeService", { workloads: workloadsOfNamespace.to, ...clients }),
  serviceEntriesBesideService,
  virtualServicesOfService,
  routesOfParentService,
  delegatesOfRoot,
  servicesOfVirtualService,
  entriesOfVirtualService,
  ...to(otherHomesOfVirtualService, "OfVirtualService", { ...pods, ...policies, ...clients }),
  ...to(routeByNamespace, "OfRoute", { ...pods, ...policies, ...clients }),
  ...to(otherHomesOfDestinationRule, "OfDestinationRule", { workloads: pods.workloads, ...clients }),
];
const ofWaypoints = [
  waypointOfService,
  waypointOfNamespace,
  waypointOfWorkload,
  namespaceOfWaypoint,
  ...to(gatewayByNamespace, "OfGateway", policies),
];
const anyPort = "any port";
/** What takes all connections to a port may take those to the workloads of any namespace. */
const openEntriesOfClusterIntent = relation(
  "openEntriesOfClusterIntent",
  index("MeshwardIntent", ({ spec }) => (spec.to.namespaces === undefined ? [] : [anyPort])),
  index("ServiceEntry", (entry, settings) =>
    [...entryByOpenPort.keys(entry, settings)].length === 0 ? [] : [anyPort],
  ),
);
/** An intent of the root namespace is judged in each namespace. */
const ofNamespaces = [
  clusterIntentsOfNamespace,
  openEntriesOfClusterIntent,
  workloadsOfNamespace,
  gatewaysOfNamespace,
  ...to(namespaceByNameAndRoot, "OverNamespace", policies),
];

/** By which a change reaches intents, and namespaces that intents of the root namespace are about. */
export const waysToIntents: readonly Relation[] = [
  ...ofIntents,
  ...ofFronts,
  ...ofHops,
  ...ofHosts,
  ...ofRoutes,
  ...ofWaypoints,
  ...ofNamespaces,
];
