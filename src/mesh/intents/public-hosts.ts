import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { ingressByHost, ingressHost } from "../gateways/ingresses.ts";
import { isOverTls, isPlainHttp, type Server } from "../gateways/servers.ts";
import { listenersOfGateway } from "../gateways/listener-sets.ts";
import { usualPort } from "../requests/entry.ts";
import { entriesByIngress } from "../requests/ingress-routes.ts";
import {
  type EntryHost,
  type Front,
  gatewayByHost,
  kubernetesGatewayByHost,
  routeByHostname,
  type WebScheme,
} from "../requests/front.ts";
import { coveringHosts, covers, namespaceOfHost } from "../traffic/hosts.ts";
import { everyVirtualServiceByHost } from "../traffic/virtual-service-choices.ts";
import { callerIn, type Entry, type Intent } from "./intents.ts";

/** A host by which requests come in from outside, as an entry of an intent names it. */
export interface PublicHost {
  /** Without a wildcard, in lower case. */
  readonly host: string;
  /** Undefined: the entry names none. */
  readonly port: number | undefined;
}

/**
 * The hosts of an entry by which requests from outside come in through gateways: those that it names without a wildcard, and that
 * are not names of services in the cluster. None if it is not about callers outside, or about gateways. Others may be outside.
 */
export function publicHosts(entry: Entry, intent: Intent, settings: MeshSettings): readonly PublicHost[] {
  const isAboutThem = entry.from.some((text) => ["outside", "ingress", "others"].includes(callerIn(intent, text).kind));
  if (!isAboutThem) return [];
  return entry.hosts.flatMap((written) => {
    const [host = "", port, ...more] = written.toLowerCase().split(":");
    if (more.length > 0 || !isPublic(host, intent, settings)) return [];
    return [{ host, port: port === undefined ? undefined : Number(port) }];
  });
}

function isPublic(host: string, { metadata, spec }: Intent, { domain }: MeshSettings): boolean {
  if (!host.includes(".") || host.includes("*") || host.endsWith(".svc")) return false;
  if (namespaceOfHost(host, domain) !== undefined) return false;
  return host !== `${spec.to.service}.${metadata.namespace}`;
}

/** Also of entries about callers in the mesh, which may send requests for these hosts to the Service of a gateway. */
const hostsOfIntent = index("MeshwardIntent", ({ spec }) => {
  const written = spec.requests.flatMap(({ hosts }) => hosts.map((host) => host.toLowerCase().replace(/:\d+$/, "")));
  return new Set(written.filter((host) => !host.includes("*")).flatMap(coveringHosts));
});

/** An intent and the Gateways that offer one of its public hosts. */
export const gatewaysOfIntentHosts = relation("gatewaysOfIntentHosts", hostsOfIntent, gatewayByHost);
/** The same of the Gateway API. */
export const kubernetesGatewaysOfIntentHosts = relation(
  "kubernetesGatewaysOfIntentHosts",
  hostsOfIntent,
  kubernetesGatewayByHost,
);
/** An intent and the VirtualServices with one of its public hosts. */
export const virtualServicesOfIntentHosts = relation(
  "virtualServicesOfIntentHosts",
  hostsOfIntent,
  everyVirtualServiceByHost,
);
/** An intent and the routes of the Gateway API with one of its public hosts, or with none. */
export const routesOfIntentHosts = relation("routesOfIntentHosts", hostsOfIntent, routeByHostname);

/** An intent and the Ingresses with one of its public hosts, or with none. */
export const ingressesOfIntentHosts = relation("ingressesOfIntentHosts", hostsOfIntent, ingressByHost);

/** What `frontOfIntent` reads. */
export const frontReads = [
  gatewaysOfIntentHosts,
  kubernetesGatewaysOfIntentHosts,
  virtualServicesOfIntentHosts,
  routesOfIntentHosts,
] as const;

/** What can let in requests for the public hosts of an intent. */
export const frontOfIntent = (intent: Intent, mesh: MeshView<(typeof frontReads)[number]>): Front => ({
  gateways: mesh.related(gatewaysOfIntentHosts, intent),
  kubernetesGateways: mesh.related(kubernetesGatewaysOfIntentHosts, intent),
  virtualServices: mesh.related(virtualServicesOfIntentHosts, intent),
  routes: mesh.related(routesOfIntentHosts, intent),
});

/** What `entriesFor` reads. */
export const entryReads = [listenersOfGateway, ingressHost] as const;

/**
 * The ports and schemes by which clients can ask for a host: all that some Gateway or Ingress offers, or what is usual if none does.
 * `isPreferred`: clients use HTTPS where it is offered.
 */
export function entriesFor(
  { host, port }: PublicHost,
  front: Front,
  isPreferred: boolean,
  mesh: MeshView<(typeof entryReads)[number]>,
): readonly EntryHost[] {
  const servers = [
    ...front.gateways.flatMap(({ spec }) => spec.servers),
    ...front.kubernetesGateways
      .flatMap((gateway) => mesh.get(listenersOfGateway, gateway).all)
      .flatMap(({ generated }) => generated.spec.servers),
  ];
  const offered = servers.flatMap((server): readonly EntryHost[] => {
    const scheme = schemeOf(server);
    const number = server.port?.number;
    if (scheme === undefined || number === undefined || (port ?? number) !== number) return [];
    return offersHost(server, host) ? [{ kind: "entry", host, port: number, scheme }] : [];
  });
  const all = [...offered, ...[...entriesByIngress(host, mesh)].filter((one) => (port ?? one.port) === one.port)];
  if (all.length === 0) return [{ kind: "entry", host, port: port ?? usualPort.https, scheme: "https" }];
  const distinct = new Map(all.map((one) => [`${one.scheme} ${one.port}`, one]));
  const inOrder = [...distinct.values()].sort((a, b) => a.port - b.port || Number(a.scheme < b.scheme));
  const secure = inOrder.filter(({ scheme }) => scheme === "https");
  return isPreferred && secure.length > 0 ? secure : inOrder;
}

const offersHost = ({ hosts }: Server, host: string): boolean =>
  hosts.some((one) => covers(one.slice(one.indexOf("/") + 1).toLowerCase(), host));

const schemeOf = (server: Server): WebScheme | undefined =>
  isPlainHttp(server) ? "http" : isOverTls(server) ? "https" : undefined;
