import type { MeshView } from "../../view/view.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import { isHeadless } from "../membership/services.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { formatWaypoint, isUsable, type WaypointBinding } from "../waypoints/bindings.ts";
import type { Backend } from "./arrival.ts";
import { portOfDefinition, sentTo } from "./definitions.ts";
import { destinedFor, destinedReads } from "./destined.ts";
import { GatewayPassage, gatewayPassageReads, type LetIn, type RoutedStage } from "./gateway-passage.ts";
import { decidedBy, type Means } from "./guarded.ts";
import { nameInTls, type PlaceOfHop, resultAt, routedBy, unclearRoute } from "./journey-steps.ts";
import type { Outcome, RouteDestination, RouteOutcome, Source } from "./outcome.ts";
import { toOutside } from "./outside-connections.ts";
import { podReads, type Pods, PodsAlike } from "./pods-alike.ts";
import type { Target } from "./question.ts";
import { type Destined, routed, routedAtGateway, type Routed, routeReads } from "./routes.ts";
import { rewritten } from "./server-view.ts";
import { departing, noIdentity, outcomeOf, portIs, sniIs, unrouted, type Way } from "./way.ts";
import { leftOutOfWaypoint, waypointBeforePods, waypointsBefore } from "./waypoint-hops.ts";
import { type BehindWaypoint, throughWaypoint, waypointPassageReads } from "./waypoint-passage.ts";

export { undecided } from "./way.ts";

/** What `Journey` reads. */
export const journeyReads = [
  ...routeReads,
  ...podReads,
  ...destinedReads,
  ...gatewayPassageReads,
  ...waypointPassageReads,
] as const;
type View = MeshView<(typeof journeyReads)[number]>;

const nowhere = { namespace: undefined, bindings: [] };
const tlsToWaypoint =
  "a gateway sends TLS to the waypoint, for a port that the waypoint reads as HTTP, and what becomes of it is not examined";

/** The way of the requests of one source. */
export class Journey {
  readonly #source: Source;
  readonly #mesh: View;
  readonly #means: Means;
  readonly #gateways: GatewayPassage;
  readonly #pods: PodsAlike;

  constructor(source: Source, mesh: View, means: Means) {
    this.#source = source;
    this.#mesh = mesh;
    this.#means = means;
    this.#gateways = new GatewayPassage(source, mesh, means);
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
  *throughGateway(stage: RoutedStage, box: Box): Generator<Outcome, undefined> {
    yield* this.#letIn(this.#gateways.fromOutside(stage, box));
  }

  *#letIn(at: Iterable<Outcome | LetIn>): Generator<Outcome, undefined> {
    for (const one of at)
      if ("way" in one) yield* this.#routeAt(one);
      else yield one;
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
    const { namespace, bindings } =
      definition === undefined ? nowhere : waypointsBefore(this.#source, { definition, name: to.name }, this.#mesh);
    if (bindings.length === 0) {
      yield* this.#route(way, to);
      return;
    }
    const because = definition && leftOutOfWaypoint(definition);
    if (because !== undefined) {
      const route: RouteOutcome = { ...unrouted, result: "nowhere", host: to.host, because };
      yield outcomeOf("nowhere", { ...way, route }, this.#source);
      return;
    }
    const front = { object: definition, namespace, protocol: way.sentAs, port: to.port };
    for (const binding of bindings)
      yield* this.#throughWaypoint(way, binding, front, (next, client) => this.#routeAtWaypoint(next, to, client));
  }

  /** `go` sends on what the waypoint lets through. */
  *#throughWaypoint(
    way: Way,
    binding: WaypointBinding,
    front: BehindWaypoint,
    go: (way: Way, client: Source) => Iterable<Outcome>,
  ): Generator<Outcome, undefined> {
    const at = { source: this.#source, mesh: this.#mesh, means: this.#means };
    for (const one of throughWaypoint(way, binding, front, at))
      if ("way" in one) yield* go(one.way, one.client);
      else yield one;
  }

  /** What a gateway sends to the waypoint of a host, which routes it again. */
  *#behindGateway(
    way: Way,
    { host, port }: RouteDestination,
    { object, namespace, protocol, binding }: Omit<BehindWaypoint, "port"> & { readonly binding: WaypointBinding },
    tls: ClientTlsChoice,
  ): Generator<Outcome, undefined> {
    const at = { proxy: `waypoint ${formatWaypoint(binding.named)}`, waypoint: binding };
    const isTls = way.payload === "tls" || tls.tls === "tls";
    if (isTls && protocol === "http") {
      const route = { ...unrouted, result: "undecided", because: tlsToWaypoint } as const;
      yield outcomeOf("undecided", { ...way, ...routedBy(way, route, undefined, at) }, this.#source);
      return;
    }
    const to: Destined = { host, port, definition: object, name: host, hidden: undefined };
    const before = { ...way, sentAs: protocol, ...routedBy(way, unrouted, undefined, at) };
    yield* this.#throughWaypoint(before, binding, { object, namespace, protocol, port }, (next, client) =>
      this.#routeAtWaypoint({ ...next, hops: way.hops }, to, client, at),
    );
  }

  *#route(way: Way, to: Destined): Generator<Outcome, undefined> {
    const sent = { source: this.#source, to, isWaypoint: false };
    for (const one of routed(way.box, sent, this.#mesh, this.#means.work)) yield* this.#onRoute(way, one, this.#source);
  }

  *#routeAtWaypoint(way: Way, to: Destined, client: Source, at?: PlaceOfHop): Generator<Outcome, undefined> {
    const sent = { source: client, to, isWaypoint: true };
    yield* this.#asSeen(way, client, at, (seen) => routed(seen, sent, this.#mesh, this.#means.work));
  }

  *#routeAt({ way, routes, client, at }: LetIn): Generator<Outcome, undefined> {
    const sent = { source: client, routes };
    yield* this.#asSeen(way, client, at, (seen) => routedAtGateway(seen, sent, this.#mesh, this.#means.work));
  }

  /** A gateway or a waypoint routes requests as it sees them, which a proxy before it may have changed. */
  *#asSeen(
    way: Way,
    client: Source,
    at: PlaceOfHop | undefined,
    route: (seen: Box) => Iterable<Routed>,
  ): Generator<Outcome, undefined> {
    const seen = way.view.seen(way.box, this.#means.work);
    if (seen === undefined) return;
    for (const one of route(seen)) {
      const sent = way.view.sent(way.box, one.box, this.#means.work);
      if (sent === undefined) continue;
      const { box, isCertain } = sent;
      if (isCertain) yield* this.#onRoute(way, { ...one, box }, client, at);
      else
        yield outcomeOf(
          "undecided",
          { ...way, box, ...routedBy(way, unclearRoute(one.route), undefined, at) },
          this.#source,
        );
    }
  }

  /** `at`: the gateway or the waypoint within the way that has the route; undefined: the first proxy of the way has it. */
  *#onRoute(way: Way, one: Routed, client: Source, at?: PlaceOfHop): Generator<Outcome, undefined> {
    if (one.arrivals.length === 0) {
      const result = one.route.result === "undecided" ? "undecided" : "nowhere";
      yield outcomeOf(result, { ...way, box: one.box, ...routedBy(way, one.route, undefined, at) }, this.#source);
    }
    yield* this.#alongRoute(way, one, client, at);
  }

  *#alongRoute(
    way: Way,
    { box, route, arrivals, rewrite, isPassedThrough }: Routed,
    client: Source,
    at: PlaceOfHop | undefined,
  ): Generator<Outcome, undefined> {
    const sender: Source = isPassedThrough ? { ...client, sender: "nothing" } : client;
    for (const { destination, backend, isUnknown, tls } of arrivals) {
      const next = {
        ...way,
        box,
        ...routedBy(way, route, destination, at),
        view: rewritten(way.view, { rewrite, headers: destination.headers }),
      };
      if (backend === undefined) yield outcomeOf(isUnknown ? "undecided" : "nowhere", next, this.#source);
      else if (backend.waypoints === undefined) yield* this.#reach(next, backend, sender, tls);
      else
        for (const binding of backend.waypoints)
          yield* this.#behindGateway(next, destination, { ...backend, binding }, tls);
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
      yield outcomeOf(result, { ...way, transport: [...way.transport, transport] }, this.#source);
    }
    for (const gateway of backend.gateways ?? [])
      yield* this.#letIn(this.#gateways.fromMesh(way, gateway, client, tls));
    for (const pods of this.#pods.of(backend, client, { sentAs: way.sentAs, tls }, this.#means.work)) {
      const next = { ...way, transport: [...way.transport, pods.transport] };
      if (pods.transport.result === "refused") yield outcomeOf("refused", next, this.#source, pods.workloads);
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
    for (const next of decidedBy(guard, way, fixed, this.#means))
      yield outcomeOf(resultAt(next), next, this.#source, workloads);
  }
}

/** Whether nothing but pods is behind a headless Service. */
const isOfPodsAlone = ({ object, pods, outside, gateways = [] }: Backend): boolean =>
  object?.kind === "Service" && isHeadless(object) && pods.length > 0 && outside === undefined && gateways.length === 0;
