import type { ListenerOwner } from "../gateways/listener-gateways.ts";
import type { HeaderChanges } from "./header-changes.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { AuthorizationPolicy } from "../authorization/policies.ts";
import type { Box, Request } from "../authorization/requests/boxes.ts";
import type { Clauses, Place } from "../authorization/requests/matches.ts";
import type { Ruled } from "../authorization/requests/policies.ts";
import type { ClientTls } from "../client-tls/client-tls.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import type { Sender } from "../membership/clients.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import type { EffectiveMode } from "../mtls/peer-authentications.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { WaypointBinding } from "../waypoints/bindings.ts";

/**
 * What becomes of requests.
 * - `accepted`: they reach workloads, which accept them.
 * - `denied`: a policy denies them, or no ALLOW policy allows them.
 * - `refused`: the connection is refused, because the TLS of both sides does not fit.
 * - `nowhere`: they have no destination: no route, no such host, an undefined subset, no workloads.
 * - `undecided`: that is not known; `because` of one of the steps says why.
 */
export type Result = "accepted" | "denied" | "refused" | "nowhere" | "undecided";

/** Callers that send in the same way. */
export interface Source {
  readonly sender: Sender;
  /** Undefined: a namespace that no object names, or none. */
  readonly namespace: Namespace | undefined;
  /** The labels of the pods; those of any pod that no selector selects are empty. */
  readonly labels: Readonly<Record<string, string>>;
  /** Those of them that are known. */
  readonly workloads: readonly Workload[];
  readonly isGateway: boolean;
  /** The waypoint, if they are its proxies. */
  readonly waypoint?: KubernetesGateway | undefined;
  /** Their sidecars do not use the waypoint that the host has. */
  readonly isPastWaypoint?: true;
  /** Their pods have a sidecar, past which they send. */
  readonly isPastSidecar?: true;
  /** Conditions on the identity in their certificate. */
  readonly identity: Clauses;
}

/** A part of the requests that a question is about, all with the same outcome. Several parts can have the same requests: those of different sources, and those that a route divides by weight. */
export interface Outcome {
  readonly result: Result;
  /** The requests as their callers send them. */
  readonly requests: Box;
  /** One of them. */
  readonly example: Request;
  readonly source: Source;
  readonly route: RouteOutcome;
  /** The destination of the route that these requests reach; undefined: they reach none. */
  readonly destination: RouteDestination | undefined;
  /** The workloads at which this is the outcome; empty: none are reached, or none are known. */
  readonly workloads: readonly Workload[];
  /** The gateways that the requests pass on their way after that, and the waypoints that gateways send them to, in order. Empty: they reach the destination directly. */
  readonly hops: readonly Hop[];
  /** The TLS of each connection, in order: two with a waypoint or a gateway between. Empty: none is made. */
  readonly transport: readonly TransportOutcome[];
  /** The decision at each place, in order, up to the first one that denies. Empty: no place decides. */
  readonly authorization: readonly AuthorizationOutcome[];
}

/** A gateway within the way, such as an egress gateway, or a waypoint behind a gateway, and where it sends requests. */
export interface Hop {
  /** In messages: `Deployment istio-system/istio-egressgateway`, `waypoint shop/waypoint`. */
  readonly proxy: string;
  /** Undefined: it is a gateway. */
  readonly waypoint?: WaypointBinding;
  /** With the Gateway by which they come in; denied requests have no route. */
  readonly route: RouteOutcome;
  readonly destination: RouteDestination | undefined;
}

/** Why the requests have no destination, or why it is not known: what the last proxy that routes them knows; undefined: they have one. */
export function reasonOfWay({
  route,
  destination,
  hops,
}: Pick<Outcome, "route" | "destination" | "hops">): string | undefined {
  for (const one of [...hops.toReversed(), { route, destination }]) {
    const because = one.destination?.because ?? one.route.because;
    if (because !== undefined) return because;
  }
  return undefined;
}

/** How requests are routed. Outcomes that share a route share this object. */
export interface RouteOutcome {
  readonly result: "arrives" | "nowhere" | "undecided";
  /** The host that the requests are sent to; undefined: they are sent to addresses of pods. */
  readonly host: string | undefined;
  /** The Gateway by which the requests come into the mesh; undefined: they come from inside, or by none. */
  readonly gateway?: ObjectOf<"Gateway"> | ListenerOwner | undefined;
  /** The ServiceEntry that takes the connections to every address of the port, those to the host that was asked for among them; undefined: the host itself takes them. */
  readonly takenBy?: ObjectOf<"ServiceEntry"> | undefined;
  /** Undefined: no VirtualService is used. */
  readonly virtualService: VirtualService | undefined;
  /** The HTTPRoute of the Service that is used instead; its `route` is counted after istiod has sorted the matches. */
  readonly httpRoute: KubernetesRoute | undefined;
  /** The route by its protocol and its position: `http` 0. */
  readonly route:
    | { readonly protocol: "http" | "tcp" | "tls"; readonly index: number; readonly name: string }
    | undefined;
  readonly destinations: readonly RouteDestination[];
  /** Why there is no destination, or why it is not known: a sentence without a full stop. */
  readonly because: string | undefined;
}

export interface RouteDestination {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  /** The share of the requests, 0 to 1. */
  readonly share: number;
  /** What the route changes of the headers on the way there; undefined: nothing. */
  readonly headers?: HeaderChanges;
  /** The DestinationRules that define the subset or apply to the host. */
  readonly rules: readonly DestinationRule[];
  /** The object that defines the host. */
  readonly object: ObjectOf<"Service"> | ObjectOf<"ServiceEntry"> | undefined;
  readonly workloads: readonly Workload[];
  /** Why requests reach nothing there; undefined: they arrive. */
  readonly because: string | undefined;
}

/** One connection. */
export interface TransportOutcome {
  readonly to: "workload" | "waypoint" | "gateway" | "outside";
  /**
   * Only to gateways and outside the mesh: `tls`, without the certificates of the mesh, from the proxy or the application;
   * `passed`: what the application sends, encrypted or not.
   */
  readonly result: "mtls" | "plaintext" | "tls" | "passed" | "refused" | "undecided";
  /** What the client does. */
  readonly tls: ClientTls;
  /** The mode of the server; undefined: it has no proxy at this port. */
  readonly mode: EffectiveMode | undefined;
  /** The DestinationRule that sets the TLS of the client. */
  readonly rule: DestinationRule | undefined;
  readonly waypoint: WaypointBinding | undefined;
  readonly because: string | undefined;
}

/** Where policies are enforced. */
export type EnforcementPoint = "sidecar" | "gateway" | "waypoint" | "ztunnel";

/** The decision at one place. */
export interface AuthorizationOutcome {
  readonly at: EnforcementPoint;
  /** How requests are read there. */
  readonly place: Place;
  readonly result: "allowed" | "denied" | "undecided";
  /** The rule that decides; undefined: no rule matches, or no policy is in force. */
  readonly by: Ruled | undefined;
  /** The policies that decide without a rule: the ALLOW policies of which none matches, the CUSTOM policy whose provider is asked. */
  readonly policies: readonly AuthorizationPolicy[];
  /** The rules that match other requests of the same callers, or the same requests of other callers. */
  readonly close: readonly Ruled[];
  readonly because: string | undefined;
  /** What explains the decision, and is not part of it: a sentence without a full stop. */
  readonly note?: string;
}
