import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import { Candidates } from "../../text/nearest.ts";
import { isServed } from "../objects/revision.ts";
import { isAlias, isExternalName, portsOf, type RoutedAlias, routedAlias } from "./aliased-hosts.ts";
import { type Definition, entryByHost, serviceByHost } from "./definition-choice.ts";
import { gatewayByGeneratedHost } from "./generated-services.ts";
import { coveringHosts, fullHost, hostKey, isWildcard, namespaceOfHost } from "./hosts.ts";
import { trafficOf, type VirtualService } from "./virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

const hosts = new WeakMap<VirtualService, { readonly settings: MeshSettings; readonly hosts: readonly string[] }>();

/** The full hosts that a VirtualService routes, and those that it sends requests to; without wildcards. */
function hostsNamed(virtualService: VirtualService, settings: MeshSettings): readonly string[] {
  let known = hosts.get(virtualService);
  if (known?.settings !== settings) {
    const { namespace } = virtualService.metadata;
    const full = (host: string) => fullHost(host, namespace, settings.domain);
    const found = new Set(virtualService.spec.hosts.map((host) => full(host).toLowerCase()));
    for (const { destination } of trafficOf(virtualService)) found.add(full(destination.host));
    known = { settings, hosts: [...found].filter((host) => host !== "" && !isWildcard(host)) };
    hosts.set(virtualService, known);
  }
  return known.hosts;
}

const hostsOfVirtualService = index("VirtualService", (virtualService, settings) =>
  isServed(virtualService, settings) ? hostsNamed(virtualService, settings) : [],
);

/** A VirtualService and the Services whose hosts it routes or sends requests to. */
export const servicesOfVirtualService = relation("servicesOfVirtualService", hostsOfVirtualService, serviceByHost);

/** A VirtualService and the ServiceEntries that define hosts which it routes or sends requests to. */
export const entriesOfVirtualService = relation("entriesOfVirtualService", hostsOfVirtualService, entryByHost);

/** A VirtualService and the Gateways for which istiod may create a Service whose host it routes or sends requests to. */
const gatewaysGeneratingForVirtualService = relation(
  "gatewaysGeneratingForVirtualService",
  hostsOfVirtualService,
  gatewayByGeneratedHost,
  "identity",
);

/** A VirtualService and the ServiceEntries with a wildcard that covers a host which it sends requests to. */
const wildcardsOverVirtualService = relation(
  "wildcardsOverVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings)
      ? new Set(hostsNamed(virtualService, settings).flatMap((host) => coveringHosts(host).slice(1)))
      : [],
  ),
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) ? new Set(entry.spec.hosts.filter(isWildcard).map(hostKey)) : [],
  ),
);

/** What the registry has for a host. */
export interface RegisteredHost {
  readonly definitions: readonly Definition[];
  /** Whether istiod may create a Service for it, that of a Gateway, which is not known. */
  readonly mayBeGenerated: boolean;
  /** All ports of the definitions; undefined: they are not decided by them, as for an ExternalName. */
  readonly ports: ReadonlySet<number> | undefined;
  /** Where routes to the host lead, if it is that of an ExternalName alone. */
  readonly alias?: RoutedAlias | undefined;
}

/** What defines a host (as istiod resolves it). istiod has one service for each, with its ports. */
export const registeredHost = fact(
  "registeredHost",
  "key",
  [servicesOfVirtualService, entriesOfVirtualService, gatewaysGeneratingForVirtualService, routedAlias],
  (host, mesh): RegisteredHost => {
    const definitions = [
      ...mesh.under(servicesOfVirtualService, [host]),
      ...mesh.under(entriesOfVirtualService, [host]),
    ];
    const [only, ...others] = definitions;
    if (only === undefined && mesh.hasUnder(gatewaysGeneratingForVirtualService, host))
      return { definitions, mayBeGenerated: true, ports: undefined };
    const mayBeGenerated = false;
    if (only?.kind === "Service" && isAlias(only) && others.length === 0)
      return { definitions, mayBeGenerated, ports: undefined, alias: mesh.get(routedAlias, only) };
    return { definitions, mayBeGenerated, ports: definitions.some(isExternalName) ? undefined : portsOf(definitions) };
  },
);

/** Whether nothing that is known defines a host or will do so. */
export const isUndefinedHost = ({ definitions, mayBeGenerated }: RegisteredHost): boolean =>
  definitions.length === 0 && !mayBeGenerated;

/** Whether a ServiceEntry covers a host by a wildcard only. Envoy then has no cluster for the host itself. */
export const isCoveredByWildcard = (host: string, mesh: MeshView<typeof wildcardsOverVirtualService>): boolean =>
  coveringHosts(host)
    .slice(1)
    .some((key) => mesh.hasUnder(wildcardsOverVirtualService, key));

/** Whether the registry lacks a host for certain: all Services and ServiceEntries are known. */
export const isRegistryComplete = (mesh: MeshView): boolean =>
  mesh.knowsAll("Service") && mesh.knowsAll("ServiceEntry");

/**
 * The ports of the hosts of a VirtualService, for sidecars. A host that the registry does not have is a name at port 80 (Istio
 * pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). Undefined: some are not known.
 */
export const portsOfHosts = fact(
  "portsOfHosts",
  "VirtualService",
  [registeredHost],
  ({ metadata, spec }, mesh): ReadonlySet<number> | undefined => {
    const found = new Set<number>();
    for (const said of spec.hosts) {
      const host = fullHost(said, metadata.namespace, mesh.settings.domain).toLowerCase();
      if (isWildcard(host)) return undefined;
      const { definitions, ports } = mesh.get(registeredHost, host);
      if (ports === undefined || (definitions.length === 0 && !isRegistryComplete(mesh))) return undefined;
      for (const port of definitions.length === 0 ? [80] : ports) found.add(port);
    }
    return found;
  },
);

/** A VirtualService and the Services of the namespaces of the hosts that it sends requests to. */
const servicesNearVirtualService = relation(
  "servicesNearVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings)
      ? new Set(hostsNamed(virtualService, settings).flatMap((host) => namespaceOfHost(host, settings.domain) ?? []))
      : [],
  ),
  serviceByNamespace,
);
/** A VirtualService and the Services of any namespace with the first label of a host that it sends requests to. */
const servicesLikeVirtualService = relation(
  "servicesLikeVirtualService",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings)
      ? new Set(hostsNamed(virtualService, settings).map((host) => host.split(".")[0] ?? ""))
      : [],
  ),
  index("Service", ({ metadata }) => [metadata.name]),
);

/** So many Services of one name are named. */
export const mostNamesakes = 3;

/** What a message about a missing host says of other Services. */
export interface Neighbours {
  /** Whether the view has any Service of the host's namespace. */
  readonly hasOthers: boolean;
  /** The namespaces of the Services with the same first label, at most `mostNamesakes`. */
  readonly namesakes: readonly string[];
}

/** The names of the Services of a namespace that a VirtualService sends requests to. */
const serviceNames = fact(
  "serviceNames",
  "key",
  [servicesNearVirtualService],
  (namespace, mesh) =>
    new Candidates(mesh.under(servicesNearVirtualService, [namespace]).map(({ metadata }) => metadata.name)),
);
/** They decide what is a guess, not about whether there is a problem. */
export const namesNearby = forWording(serviceNames);

/** The Services near a host that does not exist. */
export const servicesNear = fact(
  "servicesNear",
  "key",
  [servicesNearVirtualService, servicesLikeVirtualService],
  (host, mesh): Neighbours => {
    const namespace = namespaceOfHost(host, mesh.settings.domain);
    const namesakes = mesh.under(servicesLikeVirtualService, [host.split(".")[0] ?? ""]);
    return {
      hasOthers: namespace !== undefined && mesh.hasUnder(servicesNearVirtualService, namespace),
      namesakes: namesakes
        .map(({ metadata }) => metadata.namespace)
        .sort()
        .slice(0, mostNamesakes),
    };
  },
);
/** Other Services decide about the fix and what is a guess, not about whether there is a problem. */
export const neighbours = forWording(servicesNear);

/** What the rules about destinations read. */
export const registryReads = [...[registeredHost, wildcardsOverVirtualService, neighbours, namesNearby]] as const;
