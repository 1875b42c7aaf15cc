import type { ListenerOwner } from "../gateways/listener-gateways.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { ConvertedRoutes } from "../gateways/converted-rules.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import type { Service } from "../membership/services.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import type {
  HttpRoute,
  Protocol,
  StreamRoute,
  VirtualService,
  WeightedDestination,
} from "../traffic/virtual-services.ts";
import type { OtherName } from "./question.ts";
import type { RouteCase } from "./route-conditions.ts";

// What a table of routes is asked for, and what it has.

/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
  /** What the client has for it; undefined: nothing, or a gateway offers the host to the outside. */
  readonly definition: Definition | undefined;
  /** The name by which the client has it: the host, or a wildcard that covers it. */
  readonly name: string;
  /** The host that the client asks for, if a ServiceEntry takes its connections that is for another host; undefined: for this one. */
  readonly asked?: string;
  /** The ExternalName Service by whose name clients send the requests, if they know it. */
  readonly alias?: Service | undefined;
  /** Whether the client does not know the alias, so that its name is any other one. */
  readonly isAliasHidden?: boolean;
  /** The name that requests are sent to, if it is another one of the Service. */
  readonly called?: OtherName | undefined;
}

/** The routes that a gateway has for a host that one of its servers offers. */
export interface GatewayRoutes {
  /** The Gateway by which requests come in. */
  readonly gateway: ObjectOf<"Gateway"> | ListenerOwner;
  readonly host: string;
  /** Of the server. */
  readonly port: number;
  readonly scheme: "http" | "https";
  /** The names of virtual hosts that cover the host, the most specific first. */
  readonly names: readonly VirtualHost[];
  /** The route that takes the connections, if the server does not read them as HTTP. */
  readonly stream?: StreamAtGateway | undefined;
  /** Why routes that name the Gateway are not used. */
  readonly dropped: readonly string[];
}

/** A route of tcp or tls at a gateway. */
export interface StreamAtGateway extends Pick<Entry, "virtualService" | "httpRoute" | "index" | "refused"> {
  readonly protocol: "tcp" | "tls";
  readonly route: StreamRoute;
}

/** What a gateway has under one name. */
export interface VirtualHost {
  /** In the order in which their routes are merged. */
  readonly bound: readonly BoundToServer[];
  /** Whether all requests over HTTP are redirected to HTTPS, also without any route. */
  readonly isRedirected: boolean;
}

/** Routes at one server. */
interface BoundToServer extends BoundRoutes {
  /** Whether the server redirects to HTTPS, so that all requests for the name are redirected if it has a route for them. */
  readonly redirects: boolean;
}

/** A VirtualService, or what istiod makes of routes of the Gateway API. */
export interface BoundRoutes {
  readonly virtualService: VirtualService;
  /** The Gateway that it is bound to, as `namespace/name`. */
  readonly gateway: string;
  readonly converted?: ConvertedRoutes;
}

/** One route with the VirtualService that it is in, or that istiod makes of an HTTPRoute, and its conditions. */
export interface Entry {
  readonly virtualService: VirtualService;
  readonly httpRoute?: KubernetesRoute | undefined;
  readonly protocol: Protocol;
  readonly index: number;
  readonly route: HttpRoute | StreamRoute;
  readonly cases: readonly RouteCase[];
  /** Why requests to some of its destinations reach nothing, whatever their hosts are. */
  readonly refused?: ReadonlyMap<WeightedDestination, string> | undefined;
}
