import type { MeshView } from "../../view/view.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import { isHeadless } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { formatWaypoint, isUsable, type WaypointBinding } from "../waypoints/bindings.ts";
import type { Decide } from "./decisions.ts";
import type { Backend } from "./destinations.ts";
import { portOfDefinition, sentTo } from "./definitions.ts";
import { destinedFor, destinedReads } from "./destined.ts";
import { type Guard, guardAtWaypoint, guards } from "./enforcement.ts";
import { arrivalAtGateway, type GatewayArrival, hopReads } from "./gateway-hops.ts";
import { namingsAt } from "./gateway-hosts.ts";
import type { EntryProxy, Stage } from "./gateway-stage.ts";
import type { Arriving } from "./gateway-tls.ts";
import {
  atHop,
  atWaypoint,
  explained,
  mostGateways,
  nameInTls,
  noIdentity,
  otherHosts,
  resultAt,
  routedBy,
  seenPast,
  sentOn,
  tooManyGateways,
  tokenRefused,
  toWaypoint,
  uncertain,
  unclearAt,
  unclearRoute,
  unknownHost,
  unknownStage,
  withoutTokensRefused,
} from "./journey-steps.ts";
import type { Hop, Outcome, Result, RouteOutcome, Source } from "./outcome.ts";
import { toOutside } from "./outside-connections.ts";
import { podReads, type Pods, PodsAlike } from "./pods-alike.ts";
import type { GatewayProxy, Target } from "./question.ts";
import type { GatewayRoutes } from "./table-entries.ts";
import { type Destined, routed, routedAtGateway, type Routed, routeReads } from "./routes.ts";
import { atGuard, lostToken, rewritten } from "./server-view.ts";
import { identityIn } from "./sources.ts";
import {
  isBehindWaypoint,
  leftOutOfWaypoint,
  sourceAtWaypoint,
  waypointBefore,
  waypointBeforePods,
  waypointHopReads,
} from "./waypoint-hops.ts";
import { departing, portIs, sniIs, undecided, unrouted, type Way } from "./way.ts";

export { undecided } from "./way.ts";

/** What `Journey` reads. */
export const journeyReads = [...routeReads, ...podReads, ...destinedReads, ...hopReads, ...waypointHopReads] as const;
type View = MeshView<(typeof journeyReads)[number]>;

const nowhere = { namespace: undefined, binding: undefined };
const behindWaypoint = "the gateway sends the requests to the waypoint of the Service, which is not examined";

type RoutedStage = Extract<Stage, { readonly kind: "routed" }>;
type EndedStage = Extract<Stage, { readonly kind: "ended" }>;

/** What a question is examined with. */
export interface Means {
  readonly work: Work;
  readonly decide: Decide;
}

/** The way of the requests of one source. */
export class Journey {
  readonly #source: Source;
  readonly #mesh: View;
  readonly #work: Work;
  readonly #decide: Means["decide"];
  readonly #pods: PodsAlike;

  constructor(source: Source, mesh: View, { work, decide }: Means) {
    this.#source = source;
    this.#mesh = mesh;
    this.#work = work;
    this.#decide = decide;
    this.#pods = new PodsAlike(mesh);
  }

  *to(target: Target, box: Box): Generator<Outcome, undefined> {
    if (target.kind === "workloads") {
      yield* this.#toPods(departing(box), target);
      return;
    }
    const to = destinedFor(target, this.#source, this.#mesh);
    const { definition, port, alias } = to;
    const sentAs = to.asked !== undefined ? "tcp" : definition === undefined ? "http" : sentTo(definition, port);
    const isTls = definition !== undefined && portOfDefinition(definition, port)?.isTls === true;
    const host = alias === undefined ? (to.asked ?? to.host) : hostOfService(alias, this.#mesh.settings.domain);
    const payload = isTls ? "tls" : sentAs;
    yield* this.#toHost({ ...departing(box), sentAs, to: { host, port }, payload }, to);
  }

  /** The way of requests from outside that a gateway lets in: what it denies, and where it sends the others. */
  *throughGateway({ proxy, place, routes }: RoutedStage, box: Box): Generator<Outcome, undefined> {
    const { port, doubt } = proxy;
    const start: Way = { ...departing(box), route: { ...unrouted, gateway: routes.gateway } };
    const sni = [sniIs(routes.scheme === "https" ? routes.host : "")];
    const view = start.view.with(
      port === undefined ? sni : [portIs(port), ...sni],
      port === undefined ? ["port", ...doubt] : doubt,
    );
    const { guard, client } = this.#gateway(proxy, place);
    for (const next of this.#decidedAt({ ...start, view }, guard, routes)) {
      if (next.authorization.at(-1)?.result === "denied") {
        yield this.#outcome("denied", next, []);
        continue;
      }
      const payload: Way["payload"] = routes.stream?.protocol ?? "http";
      const beyond = {
        ...next,
        ...sentOn(next, { guard, client }, routes),
        to: routes,
        payload,
      };
      yield* this.#routeAt(beyond, routes, client);
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
  *#atGateway(
    way: Way,
    { proxy, port }: NonNullable<Backend["gateways"]>[number],
    client: Source,
    tls: ClientTlsChoice,
  ): Generator<Outcome, undefined> {
    const { destination, to, hops, payload } = way;
    if (destination === undefined) return;
    const isDirect = hops.length === 0 && destination.host === to?.host && way.route.route === undefined;
    // The proxy of a client tells requests apart by their host, too.
    const isKnown = (host: string | undefined): host is string =>
      host !== undefined && (!isDirect || host === to?.host || client.sender !== "proxy");
    const because = hops.length >= mostGateways ? tooManyGateways : isDirect ? otherHosts : unknownHost;
    for (const { box, host } of namingsAt(way, isDirect, this.#work)) {
      const own = { ...way, box };
      if (hops.length >= mostGateways || !isKnown(host)) yield this.#hopEnded(own, proxy, unknownStage(because));
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
  ): Generator<Outcome, undefined> {
    const { proxy, ports } = arriving;
    const there = { ...way, transport: [...way.transport, transport] };
    if (stage.kind === "ended") {
      yield this.#hopEnded(there, proxy, stage);
      return;
    }
    const { routes, place } = stage;
    const before: Hop = { proxy: proxy.name, route: { ...unrouted, gateway: routes.gateway }, destination: undefined };
    if (transport.result === "refused" || transport.result === "undecided") {
      yield this.#outcome(transport.result, { ...there, hops: [...way.hops, before] }, []);
      return;
    }
    const { guard, client } = this.#gateway(stage.proxy, place);
    const view = atHop(way.view, {
      port: ports.pod,
      sni,
      isMtls: transport.result === "mtls",
      doubt: stage.proxy.doubt,
    });
    for (const next of this.#decidedAt({ ...there, view }, guard, routes)) {
      if (next.authorization.at(-1)?.result === "denied") {
        yield this.#outcome("denied", { ...next, hops: [...way.hops, before] }, []);
        continue;
      }
      const beyond = { ...next, ...sentOn(next, { guard, client }, routes), to: routes, payload };
      yield* this.#routeAt(beyond, routes, client, proxy);
    }
  }

  /** Requests that get no further than to a gateway. */
  #hopEnded(way: Way, { name }: GatewayProxy, { result, gateway, because }: Omit<EndedStage, "kind">): Outcome {
    const route: RouteOutcome = { ...unrouted, result, gateway, because };
    return this.#outcome(result, { ...way, hops: [...way.hops, { proxy: name, route, destination: undefined }] }, []);
  }

  *#toPods(way: Way, { workloads, namespace, port }: Target & { kind: "workloads" }): Generator<Outcome, undefined> {
    const pods = workloads.map((workload) => ({ workload, port }));
    yield* this.#toAddresses(way, { object: undefined, namespace, protocol: "http", pods }, { tls: "auto" });
  }

  /** Requests to the addresses of pods, of which some may have a waypoint of their own. */
  *#toAddresses(way: Way, backend: Backend, tls: ClientTlsChoice): Generator<Outcome, undefined> {
    const { namespace, protocol } = backend;
    const bindingOf = ({ workload }: Backend["pods"][number]): WaypointBinding | undefined =>
      namespace && waypointBeforePods(this.#source, { workload, namespace }, this.#mesh);
    const bound = Map.groupBy(backend.pods, (pod) => {
      const binding = bindingOf(pod);
      return isUsable(binding) ? formatWaypoint(binding.named) : "";
    });
    for (const [waypoint, pods] of bound) {
      const [first] = pods;
      const binding = waypoint === "" || first === undefined ? undefined : bindingOf(first);
      const arrive = (next: Way, client: Source) => this.#arrive(next, { ...backend, pods }, client, tls);
      if (binding === undefined || first === undefined) yield* arrive(way, this.#source);
      else {
        const front = { object: undefined, namespace, protocol, port: first.port };
        yield* this.#throughWaypoint(way, binding, front, arrive);
      }
    }
  }

  *#toHost(way: Way, to: Destined): Generator<Outcome, undefined> {
    const { definition } = to;
    const { namespace, binding } =
      definition === undefined ? nowhere : waypointBefore(this.#source, definition, this.#mesh);
    if (!isUsable(binding)) {
      yield* this.#route(way, to, this.#source, false);
      return;
    }
    const because = definition && leftOutOfWaypoint(definition);
    if (because !== undefined) {
      const route: RouteOutcome = { ...unrouted, result: "nowhere", host: to.host, because };
      yield this.#outcome("nowhere", { ...way, route }, []);
      return;
    }
    const front = { object: definition, namespace, protocol: way.sentAs, port: to.port };
    yield* this.#throughWaypoint(way, binding, front, (next, client) => this.#route(next, to, client, true));
  }

  /** What a waypoint denies, and what becomes of the requests that it lets through: `go` sends them on. */
  *#throughWaypoint(
    way: Way,
    binding: WaypointBinding,
    {
      object,
      namespace,
      protocol,
      port,
    }: Pick<Backend, "object" | "namespace" | "protocol"> & { readonly port: number },
    go: (way: Way, client: Source) => Iterable<Outcome>,
  ): Generator<Outcome, undefined> {
    const guard = namespace && guardAtWaypoint({ object, namespace }, binding, protocol, this.#mesh);
    const there = { ...way, transport: [...way.transport, { ...toWaypoint, waypoint: binding }] };
    if (guard === undefined) {
      const because = `waypoint ${formatWaypoint(binding.named)} is not known to the mesh`;
      yield { ...undecided(way.box, this.#source, because), transport: there.transport };
      return;
    }
    const client = sourceAtWaypoint(binding, this.#mesh);
    for (const next of this.#decided(there, guard, atWaypoint(port, protocol))) {
      const isDenied = next.authorization.at(-1)?.result === "denied";
      if (isDenied) yield this.#outcome("denied", next, []);
      else yield* go({ ...next, view: seenPast(next, { guard, client }) }, client);
    }
  }

  *#route(way: Way, to: Destined, client: Source, isWaypoint: boolean): Generator<Outcome, undefined> {
    for (const one of routed(way.box, { source: client, to, isWaypoint }, this.#mesh, this.#work))
      yield* this.#onRoute(way, one, client);
  }

  /** A gateway routes requests as it sees them, which a route before it may have changed. */
  *#routeAt(way: Way, routes: GatewayRoutes, client: Source, at?: GatewayProxy): Generator<Outcome, undefined> {
    const seen = way.view.seen(way.box, this.#work);
    if (seen === undefined) return;
    for (const one of routedAtGateway(seen, { source: client, routes }, this.#mesh, this.#work)) {
      const sent = way.view.sent(way.box, one.box, this.#work);
      if (sent === undefined) continue;
      const { box, isCertain } = sent;
      if (isCertain) yield* this.#onRoute(way, { ...one, box }, client, at);
      else
        yield this.#outcome("undecided", { ...way, box, ...routedBy(way, unclearRoute(one.route), undefined, at) }, []);
    }
  }

  /** `at`: the gateway within the way that has the route; undefined: the first proxy of the way has it. */
  *#onRoute(way: Way, one: Routed, client: Source, at?: GatewayProxy): Generator<Outcome, undefined> {
    if (one.arrivals.length === 0) {
      const result = one.route.result === "undecided" ? "undecided" : "nowhere";
      yield this.#outcome(result, { ...way, box: one.box, ...routedBy(way, one.route, undefined, at) }, []);
    }
    yield* this.#alongRoute(way, one, client, at);
  }

  *#alongRoute(
    way: Way,
    { box, route, arrivals, rewrite, isPassedThrough }: Routed,
    client: Source,
    at: GatewayProxy | undefined,
  ): Generator<Outcome, undefined> {
    const sender: Source = isPassedThrough ? { ...client, sender: "nothing" } : client;
    for (const { destination, backend, isUnknown, tls } of arrivals) {
      const next = {
        ...way,
        box,
        ...routedBy(way, route, destination, at),
        view: rewritten(way.view, { rewrite, headers: destination.headers }),
      };
      if (backend === undefined) yield this.#outcome(isUnknown ? "undecided" : "nowhere", next, []);
      else if (client.isGateway && this.#source !== client && isBehindWaypoint(backend, this.#mesh))
        yield this.#outcome(
          "undecided",
          { ...next, ...routedBy(way, { ...route, because: behindWaypoint }, destination, at) },
          [],
        );
      else yield* this.#reach(next, backend, sender, tls);
    }
  }

  /** Clients of a headless Service connect to the addresses of its pods. */
  *#reach(way: Way, backend: Backend, client: Source, tls: ClientTlsChoice): Generator<Outcome, undefined> {
    const areAddresses = client === this.#source && isOfPodsAlone(backend);
    yield* areAddresses ? this.#toAddresses(way, backend, tls) : this.#arrive(way, backend, client, tls);
  }

  /** The outcomes at what is behind a destination. `client`: who connects to them, the source itself or a waypoint. */
  *#arrive(way: Way, backend: Backend, client: Source, tls: ClientTlsChoice): Generator<Outcome, undefined> {
    if (backend.outside !== undefined) {
      const transport = toOutside(backend.outside, client.sender, tls);
      const result = transport.result === "undecided" ? "undecided" : "accepted";
      yield this.#outcome(result, { ...way, transport: [...way.transport, transport] }, []);
    }
    for (const gateway of backend.gateways ?? []) yield* this.#atGateway(way, gateway, client, tls);
    for (const pods of this.#pods.of(backend, client, { sentAs: way.sentAs, tls }, this.#work)) {
      const next = { ...way, transport: [...way.transport, pods.transport] };
      if (pods.transport.result === "refused") yield this.#outcome("refused", next, pods.workloads);
      else yield* this.#atPods(next, pods, nameInTls(next, client, tls));
    }
  }

  *#atPods(
    way: Way,
    { transport, guard, workloads, port }: Pods,
    name: string | undefined,
  ): Generator<Outcome, undefined> {
    const hasIdentity = transport.result === "mtls";
    const fixed: Clauses = [
      portIs(port),
      ...(hasIdentity ? [] : [noIdentity]),
      ...(name === undefined ? [] : [sniIs(name)]),
    ];
    for (const next of this.#decided(way, guard, fixed)) yield this.#outcome(resultAt(next), next, workloads);
  }

  /** The same at a gateway. Where it has no route for connections, it has no filter chain, so that nothing denies them. */
  *#decidedAt(way: Way, guard: Guard, { stream }: GatewayRoutes): Generator<Way, undefined> {
    const isThere = guard.enforcement?.applied.place !== "tcp" || stream !== undefined;
    for (const next of this.#decided(way, guard, []))
      yield isThere || next.authorization.at(-1)?.result !== "denied"
        ? next
        : { ...next, authorization: way.authorization };
  }

  /** Divides requests by what a guard decides. `fixed`: what all of them have there. */
  *#decided(way: Way, guard: Guard, fixed: Clauses): Generator<Way, undefined> {
    const { enforcement, unclear } = guard;
    if (unclear !== undefined) {
      yield { ...way, authorization: [...way.authorization, unclearAt(enforcement, unclear)] };
      return;
    }
    if (enforcement === undefined) {
      yield way;
      return;
    }
    const { refused, accepted } = withoutTokensRefused(way, guard, this.#work);
    if (refused !== undefined)
      yield { ...way, box: refused, authorization: [...way.authorization, tokenRefused(enforcement, refused)] };
    if (accepted === undefined) return;
    const view = atGuard(way.view, guard, fixed);
    const seen = view.seen(accepted, this.#work);
    if (seen === undefined) return;
    const note = lostToken(way.view, guard);
    for (const { box, outcome } of this.#decide(seen, enforcement, this.#work)) {
      const sent = view.sent(accepted, box, this.#work);
      if (sent === undefined) continue;
      const authorization = [...way.authorization, sent.isCertain ? explained(outcome, note) : uncertain(outcome)];
      yield { ...way, box: sent.box, authorization };
    }
  }

  #outcome(
    result: Result,
    { box, route, destination, transport, authorization, hops }: Way,
    workloads: readonly Workload[],
  ): Outcome {
    const source = this.#source;
    return {
      result,
      requests: box,
      example: box.example,
      source,
      route,
      destination,
      workloads,
      hops,
      transport,
      authorization,
    };
  }
}

/** Whether nothing but pods is behind a headless Service. */
const isOfPodsAlone = ({ object, pods, outside, gateways = [] }: Backend): boolean =>
  object?.kind === "Service" && isHeadless(object) && pods.length > 0 && outside === undefined && gateways.length === 0;
