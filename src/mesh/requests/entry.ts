import type { MeshView } from "../../view/view.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { isOverTls } from "../gateways/servers.ts";
import { servicesOfNamespace, servicesOfWorkload } from "../membership/services.ts";
import { decisionsOf } from "./decisions.ts";
import { type Entrance, entrancesOf, entranceReads, gatewayOf } from "./entrances.ts";
import type { EntryHost, Front } from "./front.ts";
import { Journey, journeyReads, undecided } from "./journey.ts";
import type { Outcome, RouteOutcome } from "./outcome.ts";
import type { Examination } from "./outcomes.ts";
import type { GatewayProxy } from "./question.ts";
import { outside } from "./sources.ts";
import { type Offer, virtualHostReads, virtualHostsOf } from "./virtual-hosts.ts";

/** What `outcomesOfEntry` reads, from the objects of the front on. */
export const entryReads = [...journeyReads, ...entranceReads, ...virtualHostReads, servicesOfNamespace] as const;
type View = MeshView<(typeof entryReads)[number]>;

const mostWork = 200_000;

/** The port that clients leave out of the name of the host. */
export const usualPort: Readonly<Record<EntryHost["scheme"], number>> = { http: 80, https: 443 };

/** The host that clients send, with the port where it is not the usual one. */
export const hostSentTo = ({ host, port, scheme }: EntryHost): Clause => ({
  attribute: "host",
  values: new Texts([[port === usualPort[scheme] ? host : `${host}:${port}`]]),
  not: false,
});

/** The host, and the objects that can let requests for it in (`frontOf`). */
export interface Entering {
  readonly to: EntryHost;
  readonly front: Front;
}

interface EntryExamination extends Examination {
  /** The proxies that count. Default: all. */
  readonly through?: (proxy: GatewayProxy) => boolean;
}

/**
 * What becomes of requests from outside the mesh to a host that ingress gateways offer: which Gateway lets them in, what the
 * policies of its proxy decide, and where its routes lead. In parts with one outcome each; what is not known is undecided
 * (Istio pilot/pkg/networking/core/gateway.go, pilot/pkg/config/kube/gateway).
 */
export function* outcomesOfEntry(
  entering: Entering,
  requests: Box,
  mesh: View,
  examination: EntryExamination = {},
): Generator<Outcome, undefined> {
  const { limit = mostWork, decide = decisionsOf } = examination;
  const work = new Work(limit);
  try {
    const box = requests.withAll([...outside.identity, hostSentTo(entering.to)], work);
    if (box === undefined) return;
    const journey = new Journey(outside, mesh, { work, decide });
    for (const entrance of entrancesFor(entering, mesh, examination))
      yield* by(entrance, { ...entering, box, mesh, journey });
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    yield undecided(requests, outside, "there are so many policies and conditions that the rest was not examined");
  }
}

const entrancesFor = (
  { to, front }: Entering,
  mesh: View,
  { through = everyProxy }: EntryExamination,
): readonly Entrance[] => entrancesOf(to, front, mesh).filter(({ proxy }) => proxy === undefined || through(proxy));
const everyProxy = (): boolean => true;

interface Travelling extends Entering {
  readonly box: Box;
  readonly mesh: View;
  readonly journey: Journey;
}

function* by(
  { proxy, gateway, offers, closed, doubt }: Entrance,
  { to, front, box, mesh, journey }: Travelling,
): Generator<Outcome, undefined> {
  const [first] = offers;
  if (proxy === undefined || first === undefined || doubt !== undefined) {
    yield ended(box, { gateway, ...(doubt === undefined ? { nowhere: closed } : { undecided: doubt }) });
    return;
  }
  const hosts = virtualHostsOf(to.host, offers, { front, proxyNamespace: proxy.namespace.metadata.name, mesh });
  if (hosts.doubt !== undefined) {
    yield ended(box, { gateway, undecided: hosts.doubt });
    return;
  }
  const routes = { ...to, gateway: gatewayOf(first), names: hosts.names, dropped: hosts.dropped };
  yield* journey.throughGateway({ ...proxy, doubt: doubtsAt(first), port: portAt(proxy, to.port, mesh) }, routes, box);
}

/** A client that is asked for a certificate has an identity that is not known. */
function doubtsAt({ server }: Offer): readonly Attribute[] {
  if (!isOverTls(server)) return [];
  return (server.tls?.mode ?? "").includes("MUTUAL") ? ["identity"] : [];
}

/**
 * The port of the pod to which a Service leads what comes to the port of a server; undefined: there are several (Istio
 * pilot/pkg/model/gateway.go resolvePorts).
 */
function portAt({ workload, namespace }: GatewayProxy, port: number, mesh: View): number | undefined {
  const services = workload === undefined ? [] : servicesOfWorkload(workload, namespace, mesh);
  const found = services
    .filter(({ spec }) => spec.ports.some((one) => one.port === port))
    .map((service) => workload && portsOf(service).workloadPort(port, workload));
  const numbers = new Set(found.length === 0 ? [port] : found);
  return numbers.size === 1 ? [...numbers][0] : undefined;
}

interface End {
  readonly gateway: RouteOutcome["gateway"];
  readonly nowhere?: string | undefined;
  readonly undecided?: string;
}

/** Requests that get no further. */
function ended(box: Box, { gateway, nowhere, undecided: doubt }: End): Outcome {
  const { route, ...rest } = undecided(box, outside, doubt ?? nowhere ?? "");
  if (doubt !== undefined) return { ...rest, route: { ...route, gateway } };
  return { ...rest, result: "nowhere", route: { ...route, result: "nowhere", gateway } };
}
