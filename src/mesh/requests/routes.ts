import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type MeshView, setting } from "../../view/view.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import { inside, outside } from "../authorization/requests/difference.ts";
import { Texts } from "../authorization/requests/texts.ts";
import type { Match } from "../authorization/requests/matches.ts";
import type { Work } from "../authorization/requests/work.ts";
import { hostOfService } from "../traffic/hosts.ts";
import type { Arrival } from "./arrival.ts";
import { Destinations } from "./destinations.ts";
import type { RouteOutcome, Source } from "./outcome.ts";
import { bestNameFirst, type RouteCase } from "./route-conditions.ts";
import {
  objectsOf,
  placeOf,
  resultOf,
  RouteDestinations,
  routeDestinationReads,
  takenBy,
} from "./route-destinations.ts";
import { type Rewrite, rewriteOf, rewrittenParts } from "./route-effects.ts";
import { RouteTable, routeTableReads } from "./route-table.ts";
import type { Entry, GatewayRoutes, HostPort } from "./table-entries.ts";

/** What `routed` reads. */
export const routeReads = [...routeDestinationReads, ...routeTableReads, setting("mergesSlashes")] as const;
type View = MeshView<(typeof routeReads)[number]>;

/** Requests with one route. */
export interface Routed {
  readonly box: Box;
  readonly route: RouteOutcome;
  /** One for each of its destinations, in the same order. */
  readonly arrivals: readonly Arrival[];
  /** What the route makes of the path and the host that the server sees; undefined: it leaves them as they are. */
  readonly rewrite: Rewrite | undefined;
  /** Nothing routes the requests, so that they are sent as plaintext to the address that the client looked up. */
  readonly isPassedThrough: boolean;
}

/** A host that a client sends its requests to. */
export interface Destined extends HostPort {
  /** Why the client does not know the port of the host, so that it sends requests to an address or refuses them; undefined: it knows it. */
  readonly hidden: string | undefined;
  /** Why nothing is known of the host; undefined: it is known. */
  readonly unclear?: string | undefined;
  /** Why nothing is behind the port; undefined: something may be. */
  readonly missing?: string | undefined;
  /** Why it is not known where the address of the host leads; undefined: out of the mesh. */
  readonly unclearAddress?: string | undefined;
}

/** `isWaypoint`: the client is a waypoint. */
interface Sent {
  readonly source: Source;
  readonly to: Destined;
  readonly isWaypoint: boolean;
}

/** Divides requests by where the proxy of a client sends them. A client without a proxy has no routes. */
export function* routed(
  box: Box,
  { source, to, isWaypoint }: Sent,
  mesh: View,
  work: Work,
): Generator<Routed, undefined> {
  const router = new Router({ source, to, isWaypoint }, mesh);
  if (to.unclear !== undefined) yield router.ended(box, { result: "undecided", because: to.unclear });
  else if (to.missing !== undefined) yield router.ended(box, { result: "nowhere", because: to.missing });
  else if (source.sender !== "proxy" || source.isGateway) yield router.direct(box);
  else yield* router.routed(box, work);
}

/** Divides requests that come in from outside by where the proxy of a gateway sends them. */
export function routedAtGateway(
  box: Box,
  { source, routes }: { readonly source: Source; readonly routes: GatewayRoutes },
  mesh: View,
  work: Work,
): Generator<Routed, undefined> {
  const { host, port } = routes;
  const to = { host, port, definition: undefined, name: host, hidden: undefined };
  return new Router({ source, to, isWaypoint: false }, mesh).atGateway(box, routes, work);
}

class Router {
  readonly #to: Destined;
  readonly #host: string;
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #mesh: View;
  readonly #destinations: Destinations;
  readonly #table: RouteTable;
  readonly #followed: RouteDestinations;

  constructor({ source, to, isWaypoint }: Sent, mesh: View) {
    this.#to = to;
    this.#host = to.host;
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#mesh = mesh;
    this.#destinations = new Destinations(source, isWaypoint, mesh);
    this.#table = new RouteTable({ source, to, isWaypoint, destinations: this.#destinations }, mesh);
    this.#followed = new RouteDestinations({ source, to, isWaypoint, destinations: this.#destinations }, mesh);
  }

  /** Without any route: to what defines the host. */
  direct(box: Box, destinations = this.#destinations): Routed {
    const { definition, port, name } = this.#to;
    const objects = definition === undefined ? [] : [definition];
    const named = definition?.kind === "ServiceEntry" ? { name } : {};
    return this.#unrouted(
      box,
      definition === undefined
        ? destinations.beyond(this.#host, port)
        : destinations.arrivalAt({ host: this.#host, port, subset: undefined, share: 1, objects, ...named }),
    );
  }

  #unrouted(box: Box, arrival: Arrival): Routed {
    const route = {
      result: resultOf([arrival]),
      host: this.#host,
      ...takenBy(this.#to),
      virtualService: undefined,
      httpRoute: undefined,
      route: undefined,
      destinations: [arrival.destination],
      because: arrival.destination.because,
    };
    return { box, route, arrivals: [arrival], rewrite: undefined, isPassedThrough: false };
  }

  *routed(box: Box, work: Work): Generator<Routed, undefined> {
    const { hidden } = this.#to;
    const entries = this.#table.of(
      this.#isWaypoint ? undefined : this.#destinations.scope.egress,
      hidden !== undefined,
    );
    if (hidden === undefined) {
      yield* this.#by(entries, box, work);
      return;
    }
    if (entries.length === 0) yield this.#unknownHost(box, hidden);
    else yield* this.#by(`${hidden}, and ${routedAnyway}`, box, work);
  }

  *atGateway(box: Box, routes: GatewayRoutes, work: Work): Generator<Routed, undefined> {
    const { gateway } = routes;
    for (const one of this.#enteredBy(box, routes, work)) yield { ...one, route: { ...one.route, gateway } };
  }

  #enteredBy(box: Box, routes: GatewayRoutes, work: Work): Iterable<Routed> {
    const { gateway } = routes;
    const entries = this.#table.ofGateway(routes);
    if (entries === "redirected")
      return [this.ended(box, { result: "nowhere", because: `${idOf(gateway)} redirects the client to HTTPS` })];
    if (entries.length > 0) return this.#through(box, entries, work);
    const kind = gateway.kind === "Gateway" ? "VirtualService that is bound" : "route that is attached";
    const because = routes.dropped[0] ?? `no ${kind} to ${idOf(gateway)} has a route for the host`;
    return [this.ended(box, { result: "nowhere", because })];
  }

  *#by(entries: readonly Entry[] | string, box: Box, work: Work): Generator<Routed, undefined> {
    if (typeof entries === "string") yield this.ended(box, { result: "undecided", because: entries });
    else if (entries.length === 0) yield this.direct(box);
    else yield* this.#through(box, entries, work);
  }

  /** Requests to the address that the client looked up are passed on as they are, or refused. */
  #unknownHost(box: Box, because: string): Routed {
    const { refusing } = this.#destinations.scope;
    if (refusing !== undefined)
      return this.ended(box, {
        result: "nowhere",
        because: `${because}, and ${refusing} refuses requests to other hosts`,
      });
    const proxied = this.#toEgressProxy(box, because);
    if (proxied !== undefined) return proxied;
    const { unclearAddress } = this.#to;
    if (unclearAddress !== undefined)
      return this.ended(box, { result: "undecided", because: `${because}, and ${unclearAddress}` });
    const addressed = new Destinations({ ...this.#source, sender: "nothing" }, this.#isWaypoint, this.#mesh);
    return { ...this.direct(box, addressed), isPassedThrough: true };
  }

  /** Requests to hosts that the proxy does not know, if the Sidecar of the client sends them to another proxy. */
  #toEgressProxy(box: Box, because: string): Routed | undefined {
    const proxy = this.#destinations.scope.egressProxy;
    if (proxy === undefined) return undefined;
    const { host, port, subset, objects, sidecar } = proxy;
    const sent = `${because}, and ${idOf(sidecar)} sends requests to other hosts to ${host}:${port}`;
    const arrival = objects && this.#destinations.arrivalAt({ host, port, subset, share: 1, objects });
    if (arrival === undefined || arrival.backend !== undefined || arrival.isUnknown)
      return this.ended(box, {
        result: "undecided",
        because: `${sent}, and what becomes of them there is not examined`,
      });
    const missing = arrival.destination.because ?? "nothing is there";
    return this.ended(box, { result: "nowhere", because: `${sent}: ${missing}` });
  }

  /**
   * Connections for which a listener of TLS has no filter chain, as the routes of VirtualServices take the place of that for the host
   * itself (Istio pilot/pkg/networking/core/tls.go buildSidecarOutboundTLSFilterChainOpts).
   */
  #passedOn(box: Box, at: Entry): Routed {
    const { definition, port } = this.#to;
    const { refusing, egressProxy } = this.#destinations.scope;
    if (refusing !== undefined || egressProxy !== undefined || definition?.kind !== "ServiceEntry")
      return this.#unknownHost(box, otherName);
    if (definition.spec.workloadSelector !== undefined) {
      const because = `${otherName}, and ${unknownAddressOf(definition)}`;
      return this.ended(box, { result: "undecided", because, at });
    }
    return { ...this.#unrouted(box, this.#destinations.beyond(this.#host, port)), isPassedThrough: true };
  }

  /** Clients ask in TLS for the host that a ServiceEntry defines. Services have several names. */
  #asking(box: Box, work: Work): readonly Box[] {
    const { alias, definition, host } = this.#to;
    if (definition?.kind !== "ServiceEntry" || this.#isWaypoint) return [box];
    const asked = alias === undefined ? host : hostOfService(alias, this.#mesh.settings.domain);
    const sent = box.withAll([{ attribute: "sni", values: new Texts([[asked]]), not: false }], work);
    return sent === undefined ? [] : [sent];
  }

  /** The first route that matches is taken; where none does, HTTP has no answer, and other connections go to the Service. */
  *#through(box: Box, entries: readonly Entry[], work: Work): Generator<Routed, undefined> {
    const [first] = entries;
    let left: readonly Box[] = first?.protocol === "tls" ? this.#asking(box, work) : [box];
    for (const tried of triedInOrder(entries)) {
      if (left.length === 0) return;
      work.spend(tried.cases.length);
      const rest: Box[] = [];
      for (const one of left) rest.push(...(yield* this.#tried(one, tried, work)));
      left = rest;
    }
    for (const one of left)
      if (first === undefined || first.protocol === "tcp") yield this.direct(one);
      else if (first.protocol === "tls") yield this.#passedOn(one, first);
      else yield this.ended(one, { result: "nowhere", because: "no route matches", at: first });
  }

  /** The requests that follow a route, and perhaps follow it, each in one part. Returns those that do not. */
  *#tried(box: Box, { entry, cases }: Tried, work: Work): Generator<Routed, readonly Box[]> {
    const { route } = entry;
    const rewrite = "rewrite" in route ? route.rewrite : undefined;
    let left: readonly Box[] = [box];
    // Where the conditions of a match are not known, the other matches of the route still are.
    for (const one of clearFirst(cases)) {
      const isOfAll = one.clauses.length === 0;
      const parts = isOfAll ? left : left.flatMap((box) => [...inside(box, matchOf(one), work)]);
      if (parts.length === 0) continue;
      const without = { result: "undecided", because: inexpressible, at: entry } as const;
      for (const part of parts)
        if (!one.isClear) yield this.ended(part, without);
        else yield* this.#rewritten(part, entry, rewrite && rewriteOf(rewrite, one.uri), work);
      left = isOfAll ? [] : left.flatMap((box) => [...outside(box, [matchOf(one)], work)]);
    }
    return left;
  }

  *#rewritten(box: Box, entry: Entry, rewrite: Rewrite | undefined, work: Work): Generator<Routed, undefined> {
    for (const part of rewrittenParts(box, rewrite, this.#mesh.settings, work))
      yield { ...this.#followed.of(entry), ...part, isPassedThrough: false };
  }

  /** Without any destination. `at`: the route that decides it. */
  ended(
    box: Box,
    {
      result,
      because,
      at,
    }: { readonly result: "nowhere" | "undecided"; readonly because: string; readonly at?: Entry },
  ): Routed {
    const route = {
      result,
      host: this.#host,
      ...takenBy(this.#to),
      ...objectsOf(at),
      route: at === undefined || result === "nowhere" ? undefined : placeOf(at),
      destinations: [],
      because,
    };
    return { box, route, arrivals: [], rewrite: undefined, isPassedThrough: false };
  }
}

/** Only if the proxy has a listener there (Istio pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). */
const routedAnyway =
  "a VirtualService routes requests for it at port 80 if the proxy knows another service with that port, which is not examined";
const otherName = "the routes of TLS are for other names than the client asks for";
/** Of what a ServiceEntry selects. */
export const unknownAddressOf = (entry: ObjectOf<"ServiceEntry">): string =>
  `the host stands for what ${idOf(entry)} selects, whose address is not known`;
const inexpressible =
  "which requests the conditions of a route match is not decided (a regular expression, the scheme, case or claims)";

/** Cases of a route that are tried one after the other, before those of any other route. */
interface Tried {
  readonly entry: Entry;
  readonly cases: readonly RouteCase[];
}

/** Those of tls are tried by their names, and not route by route. */
function triedInOrder(entries: readonly Entry[]): readonly Tried[] {
  if (entries[0]?.protocol !== "tls") return entries.map((entry) => ({ entry, cases: entry.cases }));
  const apart = entries.flatMap((entry) => entry.cases.map((one) => ({ entry, case: one })));
  return apart.sort((a, b) => bestNameFirst(a.case, b.case)).map(({ entry, case: one }) => ({ entry, cases: [one] }));
}

const clearFirst = (cases: readonly RouteCase[]): readonly RouteCase[] =>
  cases.length < 2 ? cases : cases.toSorted((a, b) => Number(b.isClear) - Number(a.isClear));

const matchOf = ({ clauses }: RouteCase): Match => ({ sources: [[]], operations: [clauses], conditions: [] });
