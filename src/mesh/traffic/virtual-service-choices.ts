import { oldestFirst } from "../objects/creation-order.ts";
import { includesNamespace, visibleTo } from "./export-to.ts";
import {
  coveringHosts,
  fullHost,
  hostKey,
  isWildcard,
  mostSpecificFirst,
  mostSpecificHost,
  overlaps,
} from "./hosts.ts";
import { routeSemantics } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Mesh } from "../../view/view.ts";
import { clientsMatching, clientsOf, gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import type { Protocol, VirtualService } from "./virtual-services.ts";

const everyProtocol: readonly Protocol[] = ["http", "tcp", "tls"];

/** The hosts of a VirtualService as istiod resolves them; sidecars ignore case. */
export const hostsOf = (virtualService: VirtualService, settings: MeshSettings): readonly string[] =>
  hostsAsWritten(virtualService, settings).map((host) => host.toLowerCase());

/** The same without the change of case: what a Sidecar imports is compared as it is written (Istio pilot/pkg/model/sidecar.go VSMatches). */
export const hostsAsWritten = ({ metadata, spec }: VirtualService, { domain }: MeshSettings): readonly string[] =>
  spec.hosts.map((host) => fullHost(host, metadata.namespace, domain));

/** Every VirtualService by its hosts, including those that no control plane reads. */
export const everyVirtualServiceByHost = index("VirtualService", (virtualService, settings) =>
  isDelegate(virtualService) ? [] : new Set(hostsOf(virtualService, settings).map(hostKey)),
);

/** Every VirtualService that can match a host, for any client. */
export const virtualServicesOfHost = (host: string, mesh: Mesh): readonly VirtualService[] =>
  mesh.lookup(everyVirtualServiceByHost, coveringHosts(host)) as readonly VirtualService[];

/**
 * Why clients of a namespace do not follow a VirtualService for a host.
 * - `not-read`: no control plane has the revision in its label `istio.io/rev`.
 * - `gateways-only`: it is bound to gateways and not to the mesh.
 * - `not-exported`: its exportTo leaves these clients out.
 * - `no-route`: no route is for clients of this namespace.
 * - `less-specific`: `by` is for a more specific host.
 * - `nearer`: `by` comes first because it is private to the namespace or exported to it by name.
 * - `younger`: `by` is older.
 * - `blocked`: `by` is for the same wildcard and comes first, but has no route for these clients: neither is used.
 */
export interface PassedOverVirtualService {
  readonly virtualService: VirtualService;
  readonly because:
    | "not-read"
    | "gateways-only"
    | "not-exported"
    | "no-route"
    | "less-specific"
    | "nearer"
    | "younger"
    | "blocked";
  readonly by?: VirtualService;
}

interface VirtualServiceChoices {
  /** The VirtualService that sidecars of the namespace use for the host; several are not merged. */
  readonly used: VirtualService | undefined;
  readonly passedOver: readonly PassedOverVirtualService[];
}

/**
 * Which of `candidates` (all that can match the host) sidecars of a namespace use: the one with the most specific host,
 * then one that is private to the namespace, then one that is exported to it by name, then the oldest (Istio
 * pilot/pkg/model/virtualservice.go SelectVirtualServices, pilot/pkg/networking/core/httproute.go
 * BuildSidecarVirtualHostWrapper). One without a route for the client is not used, and still blocks those with a less
 * specific host; with a wildcard, it also blocks later ones with the same wildcard (pilot/pkg/model/sidecar.go
 * computeWildcardHostVirtualServiceIndex).
 */
export const virtualServiceChoices = (
  client: string,
  host: string,
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): VirtualServiceChoices => choicesFor({ client, host, protocols: everyProtocol }, candidates, settings);

/** The same for HTTP requests, for which only routes of `http` count. */
export const httpVirtualServiceChoices = (
  client: string,
  host: string,
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): VirtualServiceChoices => choicesFor({ client, host, protocols: ["http"] }, candidates, settings);

function choicesFor(
  {
    client,
    host,
    protocols,
  }: { readonly client: string; readonly host: string; readonly protocols: readonly Protocol[] },
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): VirtualServiceChoices {
  const entries = candidates
    .flatMap((virtualService) => {
      const best = mostSpecificHost(host, hostsOf(virtualService, settings));
      return best === undefined
        ? []
        : [{ virtualService, host: best, out: outOf(virtualService, client, settings, protocols) }];
    })
    .sort(
      (a, b) =>
        mostSpecificFirst(a.host, b.host) || selectedFirst(client, settings)(a.virtualService, b.virtualService),
    );
  const seen = entries.filter(({ out }) => out === undefined || out === "no-route");
  const best = seen[0]?.host;
  const first = seen.findIndex(({ host: own, out }) => own === best && (out === undefined || isWildcard(own)));
  const owner = seen[first]?.out === undefined ? seen[first] : undefined;
  const passedOver = entries
    .filter((entry) => entry !== owner)
    .map(({ virtualService, host: own, out }): PassedOverVirtualService => {
      if (out !== undefined) return { virtualService, because: out };
      const by = (owner ?? seen[0])?.virtualService as VirtualService;
      if (own !== best) return { virtualService, because: "less-specific", by };
      if (owner === undefined) return { virtualService, because: "blocked", by };
      const isNearer = nearness(by, client, settings) < nearness(virtualService, client, settings);
      return { virtualService, because: isNearer ? "nearer" : "younger", by };
    });
  return { used: owner?.virtualService, passedOver };
}

/**
 * The VirtualServices whose TCP or TLS routes sidecars of a namespace have for a host, in the order in which these are tried:
 * all that cover it, however specifically (Istio pilot/pkg/networking/core/tls.go getConfigsForHost,
 * pilot/pkg/model/virtualservice.go SelectVirtualServices).
 */
export const streamVirtualServices = (
  client: string,
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): readonly VirtualService[] =>
  candidates
    .filter((virtualService) => outOf(virtualService, client, settings, ["tcp", "tls"]) === undefined)
    .sort(selectedFirst(client, settings));

/** The one that sidecars of a namespace use for HTTP requests to a host, or else the first for its connections. */
export const usedVirtualService = (
  client: string,
  host: string,
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): VirtualService | undefined =>
  httpVirtualServiceChoices(client, host, candidates, settings).used ??
  streamVirtualServices(client, candidates, settings)[0];

/**
 * The VirtualServices that a waypoint uses for a host: all that are visible to its namespace, from its own and the
 * service's namespace, however specific their hosts are (Istio pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint).
 */
export function waypointVirtualServices(
  waypointNamespace: string,
  { host, namespace }: { readonly host: string; readonly namespace: string | undefined },
  candidates: readonly VirtualService[],
  settings: MeshSettings,
): readonly VirtualService[] {
  return candidates
    .filter(({ metadata }) => metadata.namespace === waypointNamespace || metadata.namespace === namespace)
    .filter((one) => hostsOf(one, settings).some((own) => overlaps(own, host)))
    .filter((one) => hiddenFrom(one, waypointNamespace, settings) === undefined)
    .sort(selectedFirst(waypointNamespace, settings));
}

/** Why clients of the namespace cannot use it, regardless of other VirtualServices. */
function outOf(
  virtualService: VirtualService,
  client: string,
  settings: MeshSettings,
  protocols: readonly Protocol[],
): "not-read" | "gateways-only" | "not-exported" | "no-route" | undefined {
  const hidden = hiddenFrom(virtualService, client, settings);
  return hidden ?? (hasRouteFor(virtualService, client, settings, protocols) ? undefined : "no-route");
}

/** Why proxies of the namespace do not have it, whatever its routes are. */
function hiddenFrom(
  virtualService: VirtualService,
  client: string,
  settings: MeshSettings,
): "not-read" | "gateways-only" | "not-exported" | undefined {
  if (!isServed(virtualService, settings)) return "not-read";
  if (!gatewaysOf(virtualService).has(meshGateway)) return "gateways-only";
  const { metadata, spec } = virtualService;
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  return includesNamespace(visible, client) ? undefined : "not-exported";
}

/** Whether it has a route for clients in the namespace; delegates are assumed to exist. */
function hasRouteFor(
  virtualService: VirtualService,
  client: string,
  settings: MeshSettings,
  protocols: readonly Protocol[],
): boolean {
  const { metadata, spec } = virtualService;
  const clients = clientsOf(virtualService, settings);
  for (const protocol of protocols)
    for (const { match } of spec[protocol]) {
      const through = clientsMatching(clients, match, protocol, metadata.namespace).get(meshGateway);
      if (through !== undefined && includesNamespace(through, client)) return true;
    }
  return false;
}

/** Whether it has the meaning of a route of the Gateway API: it is one that istiod has converted (Istio pilot/pkg/model/virtualservice.go UseGatewaySemantics). */
export const hasGatewaySemantics = ({ metadata }: VirtualService): boolean =>
  metadata.annotations[routeSemantics] === "gateway";

/**
 * Sorts VirtualServices as istiod selects them for proxies of a namespace: by `nearness`, then routes of the Gateway API in the
 * namespace itself, then the oldest (Istio pilot/pkg/model/virtualservice.go SelectVirtualServices).
 */
export function selectedFirst(client: string, settings: MeshSettings) {
  const isOther = (one: VirtualService) => Number(one.metadata.namespace !== client || !hasGatewaySemantics(one));
  return (a: VirtualService, b: VirtualService): number =>
    nearness(a, client, settings) - nearness(b, client, settings) || isOther(a) - isOther(b) || oldestFirst(a, b);
}

/** 0: private to the namespace; 1: exported to it by name; 2: to all. */
export function nearness({ metadata, spec }: VirtualService, client: string, settings: MeshSettings): number {
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  if (!visible.has(client)) return 2;
  return metadata.namespace === client ? 0 : 1;
}
