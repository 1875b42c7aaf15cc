import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type Gateway, passesThrough, type Server, serverHosts, sharingOf } from "../gateways/servers.ts";
import { selectsWorkload, type Service, workloadsNearService } from "../membership/services.ts";
import { portsOf } from "../membership/target-ports.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { type DestinationRule, hostOfRule } from "../traffic/destination-rules.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { covers, fullHost, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { gatewaysOf, gatewaysOfWorkload, gatewaysSelecting, meshGateway } from "../traffic/virtual-service-clients.ts";
import { type Traffic, trafficOf, type VirtualService } from "../traffic/virtual-services.ts";
import { tlsModeOf } from "./client-tls.ts";

// A chain of clients, an egress gateway and a host outside the mesh has the TLS of a DestinationRule on its first leg. The gateway takes a
// connection by the name that TLS asks for, and with the certificates of its server (Istio pilot/pkg/networking/core/gateway.go
// createGatewayHTTPFilterChainOpts, pilot/pkg/model/gateway.go GetSNIHostsForServer).

type TlsSettings = NonNullable<NonNullable<DestinationRule["spec"]["trafficPolicy"]>["tls"]>;

/** A field of a DestinationRule that sets TLS, and the requests for which it is. */
export interface TlsField {
  readonly tls: TlsSettings;
  /** Undefined: all ports but those in `except`. */
  readonly port: number | undefined;
  readonly except: ReadonlySet<number | undefined>;
  /** The name of the subset; undefined: requests without one. */
  readonly name: string | undefined;
}

const setsTls = ({ spec }: DestinationRule): boolean =>
  [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)].some((policy) =>
    [policy, ...(policy?.portLevelSettings ?? [])].some((one) => one?.tls !== undefined),
  );

/** A DestinationRule that sets TLS for one host, and the VirtualServices with routes of sidecars to the host. */
const virtualServicesToTlsHost = relation(
  "virtualServicesToTlsHost",
  index("DestinationRule", (rule, settings) => {
    const host = hostOfRule(rule, settings);
    return isServed(rule, settings) && !isWildcard(host) && setsTls(rule) ? [host] : [];
  }),
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && gatewaysOf(virtualService).has(meshGateway)
      ? [...routesOfSidecars(virtualService, settings).keys()]
      : [],
  ),
);

/** What {@link refusalsAtGateways} reads. */
export const readsRefusedAtGateways = [virtualServicesToTlsHost, workloadsNearService, gatewaysOfWorkload] as const;
type View = MeshView<(typeof readsRefusedAtGateways)[number]>;

/** A gateway that does not take the connections of clients with some TLS. */
export interface GatewayRefusal {
  readonly gateway: Gateway;
  readonly workload: Workload;
  readonly virtualService: VirtualService;
  readonly port: number;
  /** The end of a sentence about the clients. */
  readonly because: string;
  readonly why: "name" | "certificate";
}

/** Requests that a VirtualService sends to the host of a DestinationRule. */
interface Sent {
  readonly virtualService: VirtualService;
  readonly port: number;
  readonly subset: string;
}

/** A gateway is one workload, or a few during a change. */
const fewPods = 16;

/** What gateways behind a Service do not take of what sidecars send there with the TLS of a DestinationRule. */
export function refusalsAtGateways(
  rule: DestinationRule,
  service: Service,
  mesh: View,
): (field: TlsField) => readonly GatewayRefusal[] {
  const sent = sentTo(rule, mesh);
  if (sent.length === 0 || !mesh.knowsAll("Gateway")) return () => [];
  const near = mesh.related(workloadsNearService, service);
  mesh.visited(near.length);
  const pods = near.filter((workload) => selectsWorkload(service, workload));
  if (pods.length === 0 || pods.length > fewPods) return () => [];
  const host = hostOfRule(rule, mesh.settings);
  const found = new Map<number, AtPort | undefined>();
  const atPort = (port: number): AtPort | undefined => {
    if (!found.has(port)) found.set(port, serversAt(port, service, pods, mesh));
    return found.get(port);
  };
  const bySubset = Map.groupBy(sent, ({ subset }) => subset);
  return ({ tls, port, except, name = "" }) => {
    const own = bySubset.get(name) ?? [];
    mesh.visited(own.length);
    return own.flatMap(({ virtualService, port: at }) => {
      const there = isAt(at, port, except) ? atPort(at) : undefined;
      const fault = there && faultOf(tls, `outbound_.${at}_.${name}_.${host}`, there.offers);
      return there === undefined || fault === undefined ? [] : [{ ...fault, ...there, virtualService, port: at }];
    });
  };
}

const isAt = (port: number, only: number | undefined, except: ReadonlySet<number | undefined>): boolean =>
  only === undefined ? !except.has(port) : port === only;

/** Each port and subset once, with the first VirtualService. */
function sentTo(rule: DestinationRule, mesh: View): readonly Sent[] {
  const host = hostOfRule(rule, mesh.settings);
  const found = new Map<string, Sent>();
  for (const virtualService of mesh.related(virtualServicesToTlsHost, rule)) {
    if (!isUsedIn(virtualService.metadata.namespace, rule, mesh.settings)) continue;
    const routes = routesOfSidecars(virtualService, mesh.settings).get(host) ?? new Map<string, Sent>();
    mesh.visited(routes.size);
    for (const [key, sent] of routes) if (!found.has(key)) found.set(key, sent);
  }
  return [...found.values()];
}

/** By the host, and then by the port and the subset. */
type RoutesOfSidecars = ReadonlyMap<string, ReadonlyMap<string, Sent>>;
const routes = new WeakMap<VirtualService, { readonly settings: MeshSettings; readonly byHost: RoutesOfSidecars }>();

/** The destinations with a port of routes for sidecars. One VirtualService can name the hosts of very many DestinationRules. */
function routesOfSidecars(virtualService: VirtualService, settings: MeshSettings): RoutesOfSidecars {
  const known = routes.get(virtualService);
  if (known?.settings === settings) return known.byHost;
  const byHost = new Map<string, Map<string, Sent>>();
  for (const traffic of trafficOf(virtualService)) {
    const { destination } = traffic;
    const number = destination.port?.number;
    if (number === undefined || !isForSidecars(traffic)) continue;
    const host = fullHost(destination.host, virtualService.metadata.namespace, settings.domain);
    const ofHost = byHost.get(host) ?? new Map<string, Sent>();
    byHost.set(host, ofHost);
    const subset = destination.subset ?? "";
    const key = `${number} ${subset}`;
    if (!ofHost.has(key)) ofHost.set(key, { virtualService, port: number, subset });
  }
  routes.set(virtualService, { settings, byHost });
  return byHost;
}

/** Clients in the namespace of a route use the DestinationRules there, those of the namespace of the host, and of the root namespace. */
function isUsedIn(client: string, rule: DestinationRule, settings: MeshSettings): boolean {
  const { namespace } = rule.metadata;
  const own = namespaceOfHost(hostOfRule(rule, settings), settings.domain);
  return (
    [client, own, settings.rootNamespace].includes(namespace) &&
    includesNamespace(visibleTo(rule.spec.exportTo, namespace, settings.defaultDestinationRuleExportTo), client)
  );
}

const isForSidecars = ({ route: { match } }: Traffic): boolean =>
  match.length === 0 || match.some(({ gateways }) => gateways.length === 0 || gateways.includes(meshGateway));

interface Offer {
  readonly server: Server;
  readonly gateway: Gateway;
}
interface AtPort {
  readonly gateway: Gateway;
  readonly workload: Workload;
  readonly offers: readonly Offer[];
}

/**
 * The servers behind a port of the Service, if they all terminate TLS: one that passes it on decides by names of its routes, and one of
 * AUTO_PASSTHROUGH by those of clusters. Undefined: they do not, or pods are no gateway, or have other servers than the first.
 */
function serversAt(port: number, service: Service, pods: readonly Workload[], mesh: View): AtPort | undefined {
  const [first, ...others] = pods.map((workload) => offersAt(port, portsOf(service), workload, mesh));
  const [workload] = pods;
  const [one] = first ?? [];
  if (first === undefined || one === undefined || workload === undefined) return undefined;
  const isSame = others.every(
    (offers) => offers?.length === first.length && offers.every(({ server }, i) => server === first[i]?.server),
  );
  const terminates = first.every(({ server }) => sharingOf(server) === "TLS" && !passesThrough(server));
  return isSame && terminates ? { gateway: one.gateway, workload, offers: first } : undefined;
}

/** A server listens at the port to which a Service leads its own one; where no Service has it, at the port itself. */
function offersAt(
  port: number,
  targets: ReturnType<typeof portsOf>,
  workload: Workload,
  mesh: View,
): readonly Offer[] | undefined {
  if (!isProxy(workload) && !workload.pod.hasProxyContainer) return undefined;
  const all = gatewaysSelecting(workload, mesh)
    .filter((gateway) => isServed(gateway, mesh.settings))
    .flatMap((gateway) => gateway.spec.servers.map((server) => ({ server, gateway })));
  mesh.visited(all.length);
  const at = (number: number | undefined) => all.filter(({ server }) => server.port?.number === number);
  const own = at(port);
  return own.length > 0 ? own : at(targets.workloadPort(port, workload));
}

/** Why none of the servers takes a connection with this TLS; undefined: one does, or may. `cluster`: the name of mTLS without `sni`. */
function faultOf(tls: TlsSettings, cluster: string, offers: readonly Offer[]): Fault | undefined {
  const mode = tlsModeOf(tls);
  const name = tls.sni?.toLowerCase() || (mode === "ISTIO_MUTUAL" ? cluster : undefined);
  const taking = offers.filter(({ server, gateway }) => name === undefined || hasName(server, gateway, name));
  if (taking.length > 0) return certificateFault(mode, taking);
  return {
    why: "name",
    because: `ask in TLS for ${JSON.stringify(name)}${tls.sni ? "" : ", because no sni is set"}, which none of its servers there has among its hosts`,
  };
}
type Fault = Pick<GatewayRefusal, "because" | "why">;

function certificateFault(mode: string, taking: readonly Offer[]): Fault | undefined {
  const isOfMesh = ({ server }: Offer) => server.tls?.mode === "ISTIO_MUTUAL";
  const because =
    mode === "SIMPLE" && taking.every(isOfMesh)
      ? "use SIMPLE, and it asks for a certificate of the mesh (ISTIO_MUTUAL)"
      : mode === "ISTIO_MUTUAL" && !taking.some(isOfMesh)
        ? "accept only a certificate of the mesh (ISTIO_MUTUAL), and it has one of its own"
        : undefined;
  return because === undefined ? undefined : { why: "certificate", because };
}

const hasName = (server: Server, { metadata }: Gateway, name: string): boolean =>
  serverHosts(server, metadata.namespace).some(({ host }) => covers(host.toLowerCase(), name));
