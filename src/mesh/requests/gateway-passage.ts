import type { MeshView } from "../../view/view.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Backend } from "./arrival.ts";
import { type Guard, guardReads, guards } from "./enforcement.ts";
import { arrivalAtGateway, type GatewayArrival, hopReads } from "./gateway-hops.ts";
import { namingsAt } from "./gateway-hosts.ts";
import type { EntryProxy, Stage } from "./gateway-stage.ts";
import type { Arriving } from "./gateway-tls.ts";
import { decidedAtGateway, type Means } from "./guarded.ts";
import { type Between, isDenied, type PlaceOfHop, seenPast } from "./journey-steps.ts";
import type { Hop, Outcome, RouteOutcome, Source } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import type { ServerView } from "./server-view.ts";
import { identityIn } from "./sources.ts";
import type { GatewayRoutes } from "./table-entries.ts";
import { departing, noIdentity, outcomeOf, portIs, sniIs, unrouted, type Way } from "./way.ts";

/** What `GatewayPassage` reads. */
export const gatewayPassageReads = [...hopReads, ...guardReads] as const;
type View = MeshView<(typeof gatewayPassageReads)[number]>;

export type RoutedStage = Extract<Stage, { readonly kind: "routed" }>;
type EndedStage = Extract<Stage, { readonly kind: "ended" }>;

/** Requests that a gateway lets in, and that its routes send on. */
export interface LetIn {
  readonly way: Way;
  readonly routes: GatewayRoutes;
  /** The gateway, as what sends them on. */
  readonly client: Source;
  /** The gateway, if it is within the way; undefined: it is the first proxy of the way. */
  readonly at?: PlaceOfHop;
}

/** What gateways deny of the requests of one source, which of them go no further, and what they let in. */
export class GatewayPassage {
  readonly #source: Source;
  readonly #mesh: View;
  readonly #means: Means;

  constructor(source: Source, mesh: View, means: Means) {
    this.#source = source;
    this.#mesh = mesh;
    this.#means = means;
  }

  /** The way of requests from outside that a gateway lets in: what it denies, and where it sends the others. */
  *fromOutside({ proxy, place, routes }: RoutedStage, box: Box): Generator<Outcome | LetIn, undefined> {
    const { port, doubt } = proxy;
    const start: Way = { ...departing(box), route: { ...unrouted, gateway: routes.gateway } };
    const sni = [sniIs(routes.scheme === "https" ? routes.host : "")];
    const view = start.view.with(
      port === undefined ? sni : [portIs(port), ...sni],
      port === undefined ? ["port", ...doubt] : doubt,
    );
    const { guard, client } = this.#gateway(proxy, place);
    for (const next of decidedAtGateway({ ...start, view }, guard, routes, this.#means)) {
      if (isDenied(next)) {
        yield outcomeOf("denied", next, this.#source);
        continue;
      }
      const payload: Way["payload"] = routes.stream?.protocol ?? "http";
      const beyond = {
        ...next,
        ...sentOn(next, { guard, client }, routes),
        to: routes,
        payload,
      };
      yield { way: beyond, routes, client };
    }
  }

  #gateway(proxy: EntryProxy, place: "http" | "tcp"): { readonly guard: Guard; readonly client: Source } {
    const { namespace, labels, workload, serviceAccount } = proxy;
    const identity = [identityIn(this.#mesh.settings, namespace.metadata.name, serviceAccount)];
    const workloads = workload === undefined ? [] : [workload];
    const client: Source = { sender: "proxy", namespace, labels, workloads, isGateway: true, identity };
    return { client, guard: this.#mesh.get(guards, namespace).ofProxy(proxy, place) };
  }

  /** What becomes of connections to the proxy of a gateway that is the destination of a route, or of the callers themselves. */
  *fromMesh(
    way: Way,
    { proxy, port }: NonNullable<Backend["gateways"]>[number],
    client: Source,
    tls: ClientTlsChoice,
  ): Generator<Outcome | LetIn, undefined> {
    const { destination, to, hops, payload } = way;
    if (destination === undefined) return;
    const isDirect = hops.length === 0 && destination.host === to?.host && way.route.route === undefined;
    // The proxy of a client tells requests apart by their host, too.
    const isKnown = (host: string | undefined): host is string =>
      host !== undefined && (!isDirect || host === to?.host || client.sender !== "proxy");
    const unclear = unclearArrival(way, tls);
    const because = unclear ?? (isDirect ? otherHosts : unknownHost);
    for (const { box, host } of namingsAt(way, isDirect, this.#means.work)) {
      const own = { ...way, box };
      if (unclear !== undefined || !isKnown(host)) yield this.#hopEnded(own, proxy, unknownStage(because));
      else {
        const ports = { service: destination.port, pod: port };
        const arriving = { proxy, ports, destination, host, payload, client, tls };
        yield* this.#onHop(own, arrivalAtGateway(arriving, this.#mesh), arriving);
      }
    }
  }

  *#onHop(
    way: Way,
    { transport, stage, payload, sni }: GatewayArrival,
    arriving: Arriving,
  ): Generator<Outcome | LetIn, undefined> {
    const { proxy, ports } = arriving;
    const there = { ...way, transport: [...way.transport, transport] };
    if (stage.kind === "ended") {
      yield this.#hopEnded(there, proxy, stage);
      return;
    }
    const { routes, place } = stage;
    const before: Hop = { proxy: proxy.name, route: { ...unrouted, gateway: routes.gateway }, destination: undefined };
    if (transport.result === "refused" || transport.result === "undecided") {
      yield outcomeOf(transport.result, { ...there, hops: [...way.hops, before] }, this.#source);
      return;
    }
    const { guard, client } = this.#gateway(stage.proxy, place);
    const view = atHop(way.view, {
      port: ports.pod,
      sni,
      isMtls: transport.result === "mtls",
      doubt: stage.proxy.doubt,
    });
    for (const next of decidedAtGateway({ ...there, view }, guard, routes, this.#means)) {
      if (isDenied(next)) {
        yield outcomeOf("denied", { ...next, hops: [...way.hops, before] }, this.#source);
        continue;
      }
      const beyond = { ...next, ...sentOn(next, { guard, client }, routes), to: routes, payload };
      yield { way: beyond, routes, client, at: { proxy: proxy.name } };
    }
  }

  /** Requests that get no further than to a gateway. */
  #hopEnded(way: Way, { name }: GatewayProxy, { result, gateway, because }: Omit<EndedStage, "kind">): Outcome {
    const route: RouteOutcome = { ...unrouted, result, gateway, because };
    return outcomeOf(
      result,
      { ...way, hops: [...way.hops, { proxy: name, route, destination: undefined }] },
      this.#source,
    );
  }
}

/** How a gateway sends requests on. */
const sentOn = (way: Way, between: Between, { stream }: GatewayRoutes): Pick<Way, "view" | "sentAs"> => ({
  view: seenPast(way, between),
  sentAs: stream === undefined ? "http" : "tcp",
});

/** A connection as a gateway within the way has it. */
interface AtHop {
  readonly port: number;
  readonly sni: string;
  /** Whether the client has shown its certificate of the mesh. */
  readonly isMtls: boolean;
  /** What is not known of the client without it. */
  readonly doubt: readonly Attribute[];
}

/** What a gateway within the way sees. */
function atHop(view: ServerView, { port, sni, isMtls, doubt }: AtHop): ServerView {
  const fixed = [portIs(port), sniIs(sni)];
  if (isMtls) return view.with(fixed);
  return doubt.length > 0 ? view.with(fixed, doubt) : view.with([...fixed, noIdentity]);
}

/** Why nothing is known of what a gateway within the mesh does, whatever the host is. */
function unclearArrival({ hops }: Way, { beginsWithProxyHeader }: ClientTlsChoice): string | undefined {
  if (hops.filter(({ waypoint }) => waypoint === undefined).length >= mostGateways) return tooManyGateways;
  return beginsWithProxyHeader === true ? proxyHeader : undefined;
}

/** So many gateways are followed. */
const mostGateways = 4;
const tooManyGateways = `the requests pass more than ${mostGateways} gateways, and perhaps never arrive`;
const proxyHeader = "the connection begins with a PROXY header, which not every gateway reads";
const otherHosts =
  "its pods are gateways, which tell requests apart by the host that they name, and proxies of clients do so, too; ask for the host itself, or name it in the conditions";
const unknownHost = "its pods are gateways, which tell requests apart by the host that they name, and it is not known";

/** A gateway of which it is not known what it does with the requests. */
const unknownStage = (because: string): Extract<Stage, { readonly kind: "ended" }> => ({
  kind: "ended",
  result: "undecided",
  gateway: undefined,
  because,
});
