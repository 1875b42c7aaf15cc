import { idOf } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { proxiesOfGateway } from "../gateways/bound-routes.ts";
import { serverConflictsOf } from "../gateways/server-conflicts.ts";
import {
  type Gateway,
  isPlainHttp,
  isOverTls,
  passesThrough,
  type Server,
  serverHosts,
  terminatesHttps,
} from "../gateways/servers.ts";
import { isForIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { namespaceIn } from "../membership/namespaces.ts";
import { servicesOfWorkload } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { covers, fullHost, mostSpecificFirst } from "../traffic/hosts.ts";
import { gatewaysOfVirtualService, nameOf } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { decisionsOf } from "./decisions.ts";
import { Journey, undecided } from "./journey.ts";
import type { Outcome } from "./outcome.ts";
import type { Examination } from "./outcomes.ts";
import { outside } from "./sources.ts";

/** A host that clients outside the mesh send requests to, and the port of the gateway at which these come in. */
export interface EntryHost {
  readonly kind: "entry";
  /** Without a wildcard, in lower case. */
  readonly host: string;
  readonly port: number;
  readonly scheme: "http" | "https";
}

const mostWork = 200_000;

/** The port that clients leave out of the name of the host. */
export const usualPort: Readonly<Record<EntryHost["scheme"], number>> = { http: 80, https: 443 };

/** The host that clients send, with the port where it is not the usual one. */
export const hostSentTo = ({ host, port, scheme }: EntryHost): Clause => ({
  attribute: "host",
  values: new Texts([[port === usualPort[scheme] ? host : `${host}:${port}`]]),
  not: false,
});

/**
 * What becomes of requests from outside the mesh to a host that ingress gateways offer: which Gateway lets them in, what the
 * policies of its proxy decide, and where its routes lead. In parts with one outcome each; what is not known is undecided
 * (Istio pilot/pkg/networking/core/gateway.go).
 */
export function* outcomesOfEntry(
  to: EntryHost,
  requests: Box,
  mesh: Mesh,
  { limit = mostWork, decide = decisionsOf }: Examination = {},
): Generator<Outcome, undefined> {
  const work = new Work(limit);
  const sent = requests.withAll([...outside.identity, hostSentTo(to)], work);
  if (sent === undefined) return;
  try {
    yield* entered(to, sent, mesh, new Journey(outside, mesh, { work, decide }));
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    yield undecided(sent, outside, "there are so many policies and conditions that the rest was not examined");
  }
}

/** A server of a Gateway that offers the host. */
interface Offer {
  readonly gateway: Gateway;
  readonly server: Server;
}

function* entered(to: EntryHost, box: Box, mesh: Mesh, journey: Journey): Generator<Outcome, undefined> {
  const doubt = doubtAbout(to, mesh);
  if (doubt !== undefined) {
    yield undecided(box, outside, doubt);
    return;
  }
  const offers = offersOf(to, mesh);
  if (offers.length === 0) {
    const because = `no Gateway offers host ${to.host} for ${to.scheme} at port ${to.port}`;
    const isKnown = mesh.knowsAll("Gateway") && mesh.knowsAll("KubernetesGateway");
    yield isKnown ? nowhere(box, because) : undecided(box, outside, `${because}, as far as is known`);
  }
  for (const [proxy, some] of byProxy(offers, mesh)) yield* through(proxy, some, { to, box, mesh, journey });
}

/** Why it is not known what lets the requests in; undefined: it is. */
function doubtAbout(to: EntryHost, mesh: Mesh): string | undefined {
  for (const gateway of mesh.all("KubernetesGateway"))
    if (isForIngress(gateway) && offers(gateway, to))
      return `${idOf(gateway)} of the Gateway API offers host ${to.host}, and its routes are not examined`;
  return undefined;
}

const offers = ({ spec }: KubernetesGateway, { host, port }: EntryHost): boolean =>
  spec.listeners.some((listener) => listener.port === port && covers(listener.hostname || "*", host));

function offersOf(to: EntryHost, mesh: Mesh): readonly Offer[] {
  const found: Offer[] = [];
  for (const gateway of mesh.all("Gateway")) {
    if (!isServed(gateway, mesh.settings)) continue;
    for (const server of gateway.spec.servers) if (isFor(server, gateway, to)) found.push({ gateway, server });
  }
  return found;
}

function isFor(server: Server, { metadata }: Gateway, { host, port, scheme }: EntryHost): boolean {
  if (server.port?.number !== port) return false;
  if (scheme === "http" ? !isPlainHttp(server) : !isOverTls(server)) return false;
  return serverHosts(server, metadata.namespace).some((one) => covers(one.host.toLowerCase(), host));
}

/** A Gateway that selects no workload lets nothing in. */
function byProxy(all: readonly Offer[], mesh: Mesh): ReadonlyMap<Workload | undefined, readonly Offer[]> {
  const found = new Map<Workload | undefined, Offer[]>();
  for (const offer of all) {
    const proxies = proxiesOfGateway(offer.gateway, mesh);
    for (const proxy of proxies.length === 0 ? [undefined] : proxies) {
      const there = found.get(proxy);
      if (there === undefined) found.set(proxy, [offer]);
      else there.push(offer);
    }
  }
  if (found.size > 1) found.delete(undefined);
  return found;
}

interface Entering {
  readonly to: EntryHost;
  readonly box: Box;
  readonly mesh: Mesh;
  readonly journey: Journey;
}

function* through(
  proxy: Workload | undefined,
  [first, ...others]: readonly Offer[],
  { to, box, mesh, journey }: Entering,
): Generator<Outcome, undefined> {
  if (first === undefined) return;
  const { gateway, server } = first;
  if (proxy === undefined) {
    const because = `${idOf(gateway)} selects no workload`;
    yield mesh.knowsAll("Workload")
      ? nowhere(box, because, gateway)
      : undecided(box, outside, `${because}, as far as is known`);
    return;
  }
  const doubt = doubtAtServer([first, ...others], to, mesh);
  if (doubt !== undefined) yield undecided(box, outside, doubt);
  else if (to.scheme === "http" && server.tls?.httpsRedirect === true)
    yield nowhere(box, `${idOf(gateway)} redirects the client to HTTPS`, gateway);
  else {
    const namespace = namespaceIn(mesh, proxy.metadata.namespace);
    const virtualServices = boundFor(to, gateway, proxy, mesh);
    yield* journey.throughGateway(
      { proxy, namespace, doubt: isMutual(server) ? certificate : [], port: portAt(proxy, to, mesh) },
      { ...to, gateway, virtualServices },
      box,
    );
  }
}

/**
 * The port of the pod to which a Service leads what comes to the port of a server; undefined: there are several (Istio
 * pilot/pkg/model/gateway.go resolvePorts).
 */
function portAt(proxy: Workload, { port }: EntryHost, mesh: Mesh): number | undefined {
  const services = servicesOfWorkload(proxy, namespaceIn(mesh, proxy.metadata.namespace), mesh);
  const found = services
    .filter(({ spec }) => spec.ports.some((one) => one.port === port))
    .map((service) => portsOf(service).workloadPort(port, proxy));
  const numbers = new Set(found.length === 0 ? [port] : found);
  return numbers.size === 1 ? [...numbers][0] : undefined;
}

const certificate: readonly Attribute[] = ["identity"];
const isMutual = ({ tls }: Server): boolean => (tls?.mode ?? "").includes("MUTUAL");

/** Why it is not known which server takes the requests, or what it does with them; undefined: it is. */
function doubtAtServer([first, ...others]: readonly Offer[], { host }: EntryHost, mesh: Mesh): string | undefined {
  if (first === undefined) return undefined;
  const other = others.find(({ gateway }) => gateway !== first.gateway);
  if (other !== undefined)
    return `${idOf(first.gateway)} and ${idOf(other.gateway)} both offer host ${host} at the same port and proxy`;
  const { gateway, server } = first;
  if (isOverTls(server) && passesThrough(server))
    return `${idOf(gateway)} passes TLS for host ${host} on without reading it`;
  if (isOverTls(server) && !terminatesHttps(server))
    return `${idOf(gateway)} terminates TLS for host ${host} and reads no HTTP`;
  const place = gateway.spec.servers.indexOf(server);
  const isInConflict = serverConflictsOf(gateway, mesh).some((conflict) => conflict.server === place);
  return isInConflict ? `another server conflicts with the one of ${idOf(gateway)} for host ${host}` : undefined;
}

/**
 * The VirtualServices that a gateway can use for a host: those bound to the Gateway, exported to its proxy, with a host that a
 * server offers to their namespace. Those with the same name for it are together, the oldest first; the most specific name is first.
 */
function boundFor(
  to: EntryHost,
  gateway: Gateway,
  proxy: Workload,
  mesh: Mesh,
): readonly (readonly VirtualService[])[] {
  const bound = mesh.lookup(gatewaysOfVirtualService.from, [nameOf(gateway)]) as readonly VirtualService[];
  const byName = new Map<string, VirtualService[]>();
  for (const virtualService of bound.toSorted(oldestFirst)) {
    const name = isSeen(virtualService, proxy, mesh) ? offeredHost(to, virtualService, gateway, mesh) : undefined;
    if (name !== undefined) byName.set(name, [...(byName.get(name) ?? []), virtualService]);
  }
  return [...byName].sort(([one], [other]) => mostSpecificFirst(one, other)).map(([, group]) => group);
}

function isSeen({ metadata, spec }: VirtualService, proxy: Workload, { settings }: Mesh): boolean {
  const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  return spec.http.length > 0 && includesNamespace(visible, proxy.metadata.namespace);
}

/** The most specific name that covers the host, among those that the VirtualService and a server of the Gateway have in common. */
function offeredHost(
  to: EntryHost,
  { metadata, spec }: VirtualService,
  gateway: Gateway,
  mesh: Mesh,
): string | undefined {
  const { host } = to;
  const own = spec.hosts.map((one) => fullHost(one, metadata.namespace, mesh.settings.domain).toLowerCase());
  const offered = gateway.spec.servers
    .filter((server) => isFor(server, gateway, to))
    .flatMap((server) => serverHosts(server, gateway.metadata.namespace))
    .filter((one) => one.namespace === "*" || one.namespace === metadata.namespace)
    .map((one) => one.host.toLowerCase());
  const common = own
    .filter((one) => covers(one, host))
    .flatMap((one) =>
      offered.filter((other) => covers(other, host)).map((other) => [one, other].sort(mostSpecificFirst)[0]),
    );
  return common.filter((one) => one !== undefined).sort(mostSpecificFirst)[0];
}

const nowhere = (box: Box, because: string, gateway?: Gateway): Outcome => {
  const { route, ...rest } = undecided(box, outside, because);
  return { ...rest, result: "nowhere", route: { ...route, result: "nowhere", gateway } };
};
