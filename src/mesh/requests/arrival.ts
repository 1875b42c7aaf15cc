import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { WaypointBinding } from "../waypoints/bindings.ts";
import type { RouteDestination } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";

/** A destination with what is behind it. */
export interface Arrival {
  readonly destination: RouteDestination;
  /** Whether nothing is known of what is behind it, so that nothing can be said about requests to it. */
  readonly isUnknown: boolean;
  /** Undefined: requests reach nothing. */
  readonly backend: Backend | undefined;
  /** The TLS that a DestinationRule sets for this client. */
  readonly tls: ClientTlsChoice;
}

/** What is behind a port of a host. */
export interface Backend {
  /** What defines the host; undefined: the requests are for addresses of pods, or of something outside the mesh. */
  readonly object: Definition | undefined;
  readonly namespace: Namespace | undefined;
  readonly protocol: "http" | "tcp";
  /** With the number of their port. */
  readonly pods: readonly { readonly workload: Workload; readonly port: number }[];
  /** Set if there are endpoints outside the mesh, beside the pods. `encryption`: what the application itself does, if the port says it. */
  readonly outside?: { readonly encryption: "none" | "tls" | undefined };
  /** The proxies of gateways, which send requests on, with the number of their port. */
  readonly gateways?: readonly { readonly proxy: GatewayProxy; readonly port: number }[];
  /** Set if the client is a gateway that sends the requests to the waypoints of the host, each a share, and not to any of these. */
  readonly waypoints?: readonly WaypointBinding[];
}

/** What a route names. */
export interface Named {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly share: number;
  /** What defines the host. */
  readonly objects: readonly Definition[];
  /** The name by which a ServiceEntry defines the host, if the client has chosen it: the host, or a wildcard. */
  readonly name?: string;
  /** Why the client has nothing for the host; undefined: it may have something. */
  readonly missing?: string;
  /** Whether a route names the destination, so that a sidecar has it for this. */
  readonly isRouted?: boolean;
  /** The VirtualService of the route. */
  readonly by?: VirtualService | undefined;
}

/** The destination that a route names, of which nothing else is known yet. */
export const destinationOf = (
  { host, port, subset, share }: Named,
  object: Definition | undefined,
): RouteDestination => ({ host, port, subset, share, rules: [], object, workloads: [], because: undefined });

const noTls: ClientTlsChoice = { tls: "auto" };

/** Requests reach nothing there. */
export const nowhere = (of: RouteDestination, because: string): Arrival => ({
  destination: { ...of, because },
  isUnknown: false,
  backend: undefined,
  tls: noTls,
});

export const unknown = (of: RouteDestination, because: string): Arrival => ({
  ...nowhere(of, because),
  isUnknown: true,
});

/** An endpoint outside the mesh whose port does not say what the application does. */
export const unsaid = { encryption: undefined } as const;

/** Requests reach an address outside the mesh as far as is known. */
export const outsideMesh = (of: RouteDestination): Arrival => ({
  destination: of,
  isUnknown: false,
  backend: { object: undefined, namespace: undefined, protocol: "tcp", pods: [], outside: unsaid },
  tls: noTls,
});

/** Nothing is sent to a destination, whatever defines its host. */
export const noArrival = (named: Named, because: string): Arrival => nowhere(destinationOf(named, undefined), because);
