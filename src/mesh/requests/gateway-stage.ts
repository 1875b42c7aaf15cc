import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import { portsOf } from "../membership/target-ports.ts";
import { isOverTls } from "../gateways/servers.ts";
import { servicesOfNamespace, servicesOfWorkload } from "../membership/services.ts";
import { type AskedAtGateway, type Entrance, entranceReads, gatewayOf } from "./entrances.ts";
import type { Front } from "./front.ts";
import type { StreamChoice } from "./gateway-streams.ts";
import type { RouteOutcome } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import type { GatewayRoutes } from "./table-entries.ts";
import { type Offer, virtualHostsOf } from "./virtual-hosts.ts";

/** What `stageAt` and the entrances read. */
export const stageReads = [...entranceReads, servicesOfNamespace] as const;
type View = MeshView<(typeof stageReads)[number]>;

/** The proxy of a gateway by which requests come in. `doubt`: what is not known of them there. */
export interface EntryProxy extends GatewayProxy {
  readonly doubt: readonly Attribute[];
  /** The port of the pod at which they come in; undefined: it has several. */
  readonly port: number | undefined;
}

/** What a gateway does with requests that come to one of its servers. */
export type Stage =
  | {
      readonly kind: "routed";
      readonly proxy: EntryProxy;
      /** How policies there read them. */
      readonly place: "http" | "tcp";
      readonly routes: GatewayRoutes;
    }
  | {
      readonly kind: "ended";
      readonly result: "nowhere" | "undecided";
      readonly gateway: RouteOutcome["gateway"];
      readonly because: string;
    };

/** The routes that a gateway has for requests to a host, at the servers by which they come in. */
export function stageAt(entrance: Entrance, to: AskedAtGateway, front: Front, mesh: View): Stage {
  const { proxy, gateway, offers, reads, closed, doubt } = entrance;
  const [first] = offers;
  if (doubt !== undefined) return { kind: "ended", result: "undecided", gateway, because: doubt };
  if (proxy === undefined || first === undefined)
    return { kind: "ended", result: "nowhere", gateway, because: closed ?? "" };
  const surroundings = { front, proxyNamespace: proxy.namespace.metadata.name, mesh };
  const found =
    reads === "http"
      ? { ...virtualHostsOf(to.host, offers, surroundings), stream: undefined }
      : { ...(entrance.stream ?? untaken), names: [] };
  if (found.doubt !== undefined) return { kind: "ended", result: "undecided", gateway, because: found.doubt };
  const { names, stream } = found;
  const used = gatewayOf(first);
  const scheme = to.scheme === "https" ? "https" : "http";
  return {
    kind: "routed",
    proxy: { ...proxy, doubt: doubtsAt(first), port: portAt(proxy, to.port, mesh) },
    place: reads === "http" ? "http" : "tcp",
    routes: {
      host: to.host,
      port: to.port,
      scheme,
      gateway: used,
      names,
      stream,
      dropped: droppedAt(found, reads, used, to),
    },
  };
}

const untaken: StreamChoice = { stream: undefined, doubt: undefined, dropped: [] };

/** Why no route takes the requests, as far as there is a reason to name. */
function droppedAt(
  { stream, dropped }: Pick<GatewayRoutes, "stream" | "dropped">,
  reads: Entrance["reads"],
  gateway: GatewayRoutes["gateway"],
  { port }: AskedAtGateway,
): readonly string[] {
  if (reads !== "tcp" || stream !== undefined || dropped.length > 0) return dropped;
  return [`${idOf(gateway)} reads port ${port} as TCP, and has no route for its connections`];
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
export function portAt({ workload, namespace }: GatewayProxy, port: number, mesh: View): number | undefined {
  const services = workload === undefined ? [] : servicesOfWorkload(workload, namespace, mesh);
  const found = services
    .filter(({ spec }) => spec.ports.some((one) => one.port === port))
    .map((service) => workload && portsOf(service).workloadPort(port, workload));
  const numbers = new Set(found.length === 0 ? [port] : found);
  return numbers.size === 1 ? [...numbers][0] : undefined;
}
