import { byId, idOf } from "../kube/identity.ts";
import {
  type BoundVirtualService,
  type GatewayBeside,
  gatewaysBesideServer,
  type LostRoute,
  proxiesOfGateway,
  routesLostAt,
  virtualServicesBoundTo,
} from "../mesh/gateways/bound-routes.ts";
import { routeTablesOf } from "../mesh/gateways/route-tables.ts";
import { gatewayRefusalsOf } from "../mesh/gateways/gateway-validation.ts";
import { type ServerConflict, serverConflictsOf } from "../mesh/gateways/server-conflicts.ts";
import { formatServerHost, type Gateway, isPlainHttp, type Server, serverHosts } from "../mesh/gateways/servers.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { nameOf } from "../mesh/traffic/virtual-service-clients.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { defaultLines, delegatedIn, routeTableLines, streamRouteLinesAt } from "./virtual-services.ts";
import { listed, listedNames } from "./wording.ts";

/** Explains a Gateway of Istio: its proxies, its servers with what they conflict with, and the VirtualServices bound to it. */
export function explainGateway(gateway: Gateway, mesh: Mesh): readonly ExplanationLine[] {
  const refusals = gatewayRefusalsOf(gateway);
  const conflicts = serverConflictsOf(gateway, mesh);
  const bound = virtualServicesBoundTo(gateway, mesh);
  const { selector } = gateway.spec;
  const who = Object.keys(selector).length === 0 ? undefined : formatLabels(selector);
  return [
    who === undefined
      ? { key: "proxies", text: "Proxies: every gateway and sidecar, because it has no selector", value: "all" }
      : proxiesLine(
          proxiesOfGateway(gateway, mesh),
          `with ${who}`,
          `no workload with ${who} is there, so nothing serves it`,
          mesh,
        ),
    ...refusals.map(({ message }) => ({ key: "refused", of: message, text: `istiod rejects it: ${message}` })),
    ...gateway.spec.servers.map((server, i) =>
      serverLine(server, gateway, {
        i,
        conflicts: conflicts.filter((one) => one.server === i),
        beside: gatewaysBesideServer(server, gateway, mesh),
      }),
    ),
    {
      key: "virtualServices",
      text: `VirtualServices bound to it: ${bound.length === 0 ? "none" : bound.length}`,
      value: bound.length,
      lines: bound.map((one) => {
        const lost = one.because === "used" ? routesLostAt(gateway, one.virtualService, mesh) : [];
        const streams = one.because === "used" ? streamRouteLinesAt(nameOf(gateway), one.virtualService, mesh) : [];
        return boundLine(one, [...streams, ...lost.map((route) => lostLine(route, gateway))]);
      }),
    },
    ...tableLines(gateway, { conflicts, bound }, mesh),
  ];
}

interface Served {
  readonly conflicts: readonly ServerConflict[];
  readonly bound: readonly BoundVirtualService[];
}

/** The routes of each host, as requests try them. */
function tableLines(gateway: Gateway, { conflicts, bound }: Served, mesh: Mesh): readonly ExplanationLine[] {
  const leftOut = new Set(conflicts.filter(({ kind }) => kind !== "listener refused").map(({ server }) => server));
  const kept = gateway.spec.servers.filter((_, i) => !leftOut.has(i));
  const used = bound.flatMap(({ because, virtualService }) => (because === "used" ? [virtualService] : []));
  const proxies = proxiesOfGateway(gateway, mesh).map(({ metadata, pod }) => ({
    namespace: metadata.namespace,
    labels: pod.labels,
  }));
  const of = { virtualServices: used, proxies, delegated: delegatedIn(mesh) };
  const tables = routeTablesOf(gateway, kept, of, mesh.settings).map(
    ({ port, host, routes, isRedirected }): ExplanationLine => ({
      key: "routes",
      of: `${host}:${port}`,
      text: `Requests for ${host === "*" ? "every other host" : host} on port ${port} ${isRedirected ? "are redirected to HTTPS, whatever the routes say" : triedInWords(routes.length)}`,
      value: isRedirected ? "redirected" : routes.length,
      lines: isRedirected ? [] : routeTableLines(routes, mesh),
    }),
  );
  return tables.length === 0 ? [] : [...tables, ...defaultLines("routes.defaults", used, mesh.settings)];
}

export function triedInWords(routes: number, what = "route"): string {
  if (routes === 0) return `find no ${what}, and get 404`;
  return routes === 1 ? `try one ${what}` : `try ${routes} ${what}s, in this order`;
}

export function proxiesLine(proxies: readonly Workload[], which: string, ifNone: string, mesh: Mesh): ExplanationLine {
  if (!mesh.knows("Workload"))
    return { key: "proxies", text: `Proxies: workloads ${which}; none are known`, value: "unknown" };
  const sorted = proxies.toSorted(byId);
  return {
    key: "proxies",
    text: sorted.length === 0 ? `Proxies: none: ${ifNone}` : `Proxies: ${listed(sorted)}, ${which}`,
    value: sorted.map(idOf),
    objects: sorted,
  };
}

interface OfServer {
  readonly i: number;
  readonly conflicts: readonly ServerConflict[];
  /** Other Gateways with the same list of routes. */
  readonly beside: readonly GatewayBeside[];
}

function serverLine(server: Server, gateway: Gateway, { i, conflicts, beside }: OfServer): ExplanationLine {
  const { port, bind } = server;
  const hosts = serverHosts(server, gateway.metadata.namespace).map(formatServerHost);
  const where = `port ${port?.number ?? "?"} ${port?.protocol ?? "?"}${bind ? ` at ${bind}` : ""}`;
  const isLeftOut = conflicts.some(({ kind }) => kind !== "listener refused");
  return {
    key: "server",
    of: String(i),
    text: `Server ${i}, ${where}: ${listedNames(hosts)}; ${tlsOf(server)}`,
    value: hosts,
    ...(isLeftOut ? { counts: false } : {}),
    lines: [...conflicts.map((one) => conflictLine(one, gateway)), ...beside.map(besideLine)],
  };
}

function tlsOf(server: Server): string {
  const { tls } = server;
  // Only the redirect counts at a server for plain HTTP.
  if (isPlainHttp(server)) return tls?.httpsRedirect ? "redirects to HTTPS" : "no TLS";
  if (tls === undefined) return "no TLS";
  const mode = tls.mode || "PASSTHROUGH";
  const certificate = tls.credentialName
    ? `certificate ${tls.credentialName}`
    : tls.serverCertificate
      ? `certificate in ${tls.serverCertificate}`
      : undefined;
  return `TLS ${mode}${certificate === undefined ? "" : `, ${certificate}`}`;
}

function conflictLine(conflict: ServerConflict, gateway: Gateway): ExplanationLine {
  const { kind, what, other, server, isWithItself } = conflict;
  const ownPart = isWithItself ? "another name of this server" : "an earlier server of this Gateway";
  const by = other === gateway ? ownPart : idOf(other);
  const own = gateway.spec.servers[server];
  const isPlain = own !== undefined && isPlainHttp(own);
  const texts: Readonly<Record<typeof kind, string>> = {
    "host taken": `istiod leaves it out: ${by} ${isPlain ? `has ${what} with settings of TLS on this port too` : `serves ${what} over TLS on this port`}`,
    "port taken": `istiod leaves it out: ${by} uses the port in a way that excludes ${what}`,
    "listener refused": `Envoy refuses the listener of the port with all its servers: ${by} is for the same connections (${what})`,
  };
  return { key: "server.conflict", of: `${kind} ${what}`, text: texts[kind], value: kind, objects: [other] };
}

/** All servers for plain HTTP on one port of the same proxies have one list of routes for each host. */
const besideLine = ({ gateway: other, isFirst }: GatewayBeside): ExplanationLine => ({
  key: "server.beside",
  of: idOf(other),
  text: `has one list of routes with ${idOf(other)}, whose routes for the same hosts come ${isFirst ? "first" : "behind"}`,
  value: idOf(other),
  objects: [other],
});

function lostLine({ i, host, by, byGateway }: LostRoute, gateway: Gateway): ExplanationLine {
  const at = byGateway === gateway ? "" : ` at ${idOf(byGateway)}`;
  return {
    key: "virtualService.lost",
    of: `http[${i}] ${host}`,
    text: `http[${i}]: no request for "${host}" reaches it, because ${idOf(by)}${at} takes them`,
    value: idOf(by),
    counts: false,
    objects: [by],
  };
}

function boundLine(
  { virtualService, because, offered }: BoundVirtualService,
  lost: readonly ExplanationLine[],
): ExplanationLine {
  const reasons: Readonly<Record<typeof because, string>> = {
    used: `is used for ${listedNames(offered)}`,
    "not-exported": "has no effect: it is not exported to the namespace of the proxies",
    "no-host": `has no effect: no server offers ${listedNames(virtualService.spec.hosts)} to ${virtualService.metadata.namespace}`,
    "no-routes": "has no effect: it has no routes of a protocol that the servers for its hosts use",
  };
  return objectLine("virtualService", virtualService, `${idOf(virtualService)} ${reasons[because]}`, {
    value: because,
    counts: because === "used",
    lines: lost,
  });
}
