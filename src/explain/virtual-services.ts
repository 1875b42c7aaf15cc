import { byId, idOf, keyFor } from "../kube/identity.ts";
import { precedence } from "../mesh/objects/creation-order.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import {
  httpVirtualServiceChoices,
  type PassedOverVirtualService,
  streamVirtualServices,
  virtualServicesOfHost,
} from "../mesh/traffic/virtual-service-choices.ts";
import { delegatedRoutes, delegateOfRoute } from "../mesh/traffic/delegate-routes.ts";
import { shownDuration } from "../mesh/traffic/durations.ts";
import { gatewaysOfHost } from "../mesh/gateways/gateway-routes.ts";
import { type DelegatedPart, type GatewayRoute, routesInOrder } from "../mesh/gateways/merged-routes.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import { fullGatewayName } from "../mesh/traffic/virtual-service-clients.ts";
import { fullHost } from "../mesh/traffic/hosts.ts";
import { type Retries, retriesOf, timeoutMsOf } from "../mesh/traffic/retries.ts";
import { matchInWords, routeInWords, unreachableRoutes } from "../mesh/traffic/route-order.ts";
import { scopeOfNamespace } from "../mesh/traffic/sidecar-scope.ts";
import { tcpRoutesLostWithin } from "../mesh/traffic/tcp-routes.ts";
import { tlsLossesOf, tlsLossesWithin } from "../mesh/traffic/tls-routes.ts";
import { takersThrough } from "../mesh/traffic/unreachable-routes.ts";
import {
  type HttpRoute,
  type Route,
  routesOf,
  shareOf,
  type StreamRoute,
  type VirtualService,
} from "../mesh/traffic/virtual-services.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { actionsOf, redirectInWords } from "./route-actions.ts";
import { listed, listedNames } from "./wording.ts";

/**
 * The VirtualService that sidecars of a namespace use for requests to a host, or else the first for its connections; its
 * routes, others for connections, and those without effect. `isDirect`: without one, requests go to the service itself.
 */
export function virtualServiceLine(client: string, host: string, mesh: Mesh, isDirect: boolean): ExplanationLine {
  const { settings } = mesh;
  const candidates = virtualServicesOfHost(host, mesh);
  const scope = mesh.get(scopeOfNamespace, namespaceIn(mesh, client));
  const isImported = (one: VirtualService) => scope === undefined || scope.importsVirtualService(one, mesh);
  const imported = candidates.filter(isImported);
  const { used: first, passedOver } = httpVirtualServiceChoices(client, host, imported, settings);
  const streams = streamVirtualServices(client, imported, settings);
  const used = first ?? streams[0];
  const others = streams.filter((one) => one !== used);
  const lines = [
    ...others.map((one) => streamsLine(one, mesh)),
    ...passedOver.flatMap((one) => {
      const isForStreams = streams.includes(one.virtualService);
      return isForStreams && one.because === "no-route" ? [] : [passedOverLine(one, client, isForStreams)];
    }),
    ...candidates
      .filter((one) => !isImported(one))
      .toSorted(byId)
      .map((one) => hiddenLine(one, client)),
  ];
  if (used === undefined)
    return {
      key: "virtualService",
      text: `No VirtualService is used${isDirect ? ": requests go to the service directly" : ""}`,
      value: "none",
      lines,
    };
  return {
    key: "virtualService",
    text: `${idOf(used)} is used`,
    value: idOf(used),
    objects: [used],
    lines: [
      ...(first === undefined ? streamRouteLines(used, mesh) : routeLines(used, mesh)),
      ...defaultLines("virtualService.defaults", [used], settings),
      ...lines,
    ],
  };
}

/** Routes of tcp and tls count beside those of the VirtualService for requests, whatever their hosts and age. */
const streamsLine = (virtualService: VirtualService, mesh: Mesh): ExplanationLine =>
  objectLine(
    "virtualService.streams",
    virtualService,
    `${idOf(virtualService)} is used for connections to ports with TCP or TLS, too`,
    { value: idOf(virtualService), lines: streamRouteLines(virtualService, mesh) },
  );

const streamRouteLines = (virtualService: VirtualService, mesh: Mesh): readonly ExplanationLine[] =>
  routeLines(virtualService, mesh).filter(({ of }) => !of?.startsWith("http"));

/** The routes of tcp and tls that are for connections at a gateway, `namespace/name`. */
export const streamRouteLinesAt = (
  gateway: string,
  virtualService: VirtualService,
  mesh: Mesh,
): readonly ExplanationLine[] =>
  [...routesOf(virtualService)]
    .filter(({ protocol, route }) => protocol !== "http" && isForGateway(gateway, route, virtualService))
    .map((written) => routeLine(written, { virtualService, mesh, by: undefined }));

/** Matches without gateways are for all of the VirtualService. */
const isForGateway = (gateway: string, { match }: Route["route"], { metadata }: VirtualService): boolean =>
  match.length === 0 ||
  match.some(
    ({ gateways }) =>
      gateways.length === 0 || gateways.some((one) => fullGatewayName(one, metadata.namespace) === gateway),
  );

/** The routes of a VirtualService, of which those that no request reaches do not count. */
function routeLines(virtualService: VirtualService, mesh: Mesh): readonly ExplanationLine[] {
  const taken = takenRoutes(virtualService, mesh);
  return [...routesOf(virtualService)].map((written) =>
    routeLine(written, { virtualService, mesh, by: taken.get(`${written.protocol} ${written.at[2]}`) }),
  );
}

/** What takes all requests or connections of routes, in words, by protocol and position. */
function takenRoutes(virtualService: VirtualService, mesh: Mesh): ReadonlyMap<string, string> {
  const taken = new Map<string, string>();
  for (const { i, by } of unreachableRoutes(virtualService)) taken.set(`http ${i}`, routeInWords(by));
  for (const { i, kind } of tcpRoutesLostWithin(virtualService))
    if (kind === "taken") taken.set(`tcp ${i}`, "an earlier tcp route");
  const losses = [...tlsLossesWithin(virtualService), ...tlsLossesOf(virtualService, mesh)];
  const lost = losses.flatMap((loss) => (loss?.kind === "taken" ? [loss] : []));
  for (const [i, some] of Map.groupBy(lost, (one) => one.i)) {
    const [first] = some;
    const isWhole = new Set(some.map(({ j }) => j)).size === virtualService.spec.tls[i]?.match.length;
    if (isWhole && first !== undefined) taken.set(`tls ${i}`, `tls[${first.by.i}] of ${idOf(first.by.virtualService)}`);
  }
  return taken;
}

/** What counts for routes that set neither a timeout nor retries; nothing if each sets both. */
export function defaultLines(
  key: string,
  all: readonly VirtualService[],
  settings: AllMeshSettings,
): readonly ExplanationLine[] {
  const routes = all.flatMap(({ spec }) => spec.http);
  if (!routes.some(({ route, timeout, retries }) => route.length > 0 && !(timeout && retries))) return [];
  return [defaultRetriesLine(key, "route", settings)];
}

/** The default of a route, or of a rule. */
export function defaultRetriesLine(key: string, what: string, settings: AllMeshSettings): ExplanationLine {
  const retries = retriesOf({ retries: undefined }, settings);
  const reason = settings.defaultRetries === undefined ? "" : " by the mesh config";
  const unless = settings.seen ? "" : " unless the mesh config has others";
  return {
    key,
    text: `Where a ${what} sets none, there is no timeout, and ${retriesInWords(retries)}${reason}${unless}`,
  };
}

/** The routes that gateways merge for a host, in the order in which they are tried; none without such VirtualServices. */
export const gatewayRouteLines = (host: string, mesh: Mesh): readonly ExplanationLine[] =>
  [...gatewaysOfHost(host, mesh)].map(([gateway, bound]) => ({
    key: "gateway",
    of: gateway,
    text: `At gateway ${gateway}: ${listed(bound)}${bound.length > 1 ? ", merged, the oldest first, and routes without a match last" : ""}`,
    value: bound.map(idOf),
    objects: bound,
    lines: routeTableLines(routesInOrder(gateway, bound, { delegated: delegatedIn(mesh) }), mesh),
  }));

/** The routes of a gateway for one host, each with its VirtualService if they are of several. */
export function routeTableLines(routes: readonly GatewayRoute[], mesh: Mesh): readonly ExplanationLine[] {
  const isMerged = new Set(routes.map(({ virtualService }) => virtualService)).size > 1;
  return routes.map((one) => gatewayRouteLine(one, isMerged, mesh));
}

function gatewayRouteLine(
  { virtualService, i, part, of: delegated, by }: GatewayRoute,
  isMerged: boolean,
  mesh: Mesh,
): ExplanationLine {
  const place = delegated ?? { i, delegate: undefined };
  const written: Route = {
    at: ["spec", "http", place.i, "route"],
    protocol: "http",
    route: part,
    destinations: part.route,
  };
  const taken = by && `${routeInWords(by.part)} of ${idOf(by.of?.delegate ?? by.virtualService)}`;
  const line = routeLine(written, { virtualService: place.delegate ?? virtualService, mesh, by: taken });
  const through = place.delegate === undefined ? "" : `http[${i}], ${idOf(place.delegate)} `;
  return {
    ...line,
    key: "gateway.route",
    of: `${idOf(virtualService)} ${through}${line.of ?? ""}`,
    text: `${isMerged ? `${idOf(virtualService)} ` : ""}${through}${line.text}`,
    objects: [virtualService, ...(place.delegate === undefined ? [] : [place.delegate])],
  };
}

/** Looks up the routes that delegates have in effect. */
export const delegatedIn =
  (mesh: Mesh) =>
  (route: HttpRoute, root: VirtualService): readonly DelegatedPart[] => {
    const delegate = delegateOfRoute(route, root, mesh);
    if (delegate === undefined) return [];
    return delegatedRoutes(root, route, delegate, mesh.settings).map(({ index, route: own }) => ({
      delegate,
      i: index,
      route: own,
    }));
  };

interface Place {
  readonly virtualService: VirtualService;
  readonly mesh: Mesh;
  /** What takes all requests of the route, in words. */
  readonly by: string | undefined;
}

function routeLine(written: Route, { virtualService, mesh, by }: Place): ExplanationLine {
  const { protocol, route, destinations, at } = written;
  const name = "name" in route && route.name ? ` ${route.name}` : "";
  const targets = destinations.map((weighted) => {
    const { host, subset } = weighted.destination;
    const missing = isMissing(host, virtualService, mesh) ? " (no such host: 503)" : "";
    return `${Math.round(shareOf(weighted, written) * 1000) / 10}% to ${host}${subset ? ` subset ${subset}` : ""}${missing}`;
  });
  const index = String(at[2]);
  const delegate = "delegate" in route ? delegation(route, virtualService, mesh) : undefined;
  return {
    key: "virtualService.route",
    of: `${protocol}[${index}]`,
    text: `${protocol}[${index}]${name}${matchesInWords(route)}: ${targets.join(", ") || otherAction(route)}${"mirrors" in route ? actionsOf(route) : ""}${attemptsOf(route, mesh.settings)}${by === undefined ? "" : `; no request reaches it, because ${by} takes them`}`,
    ...(by === undefined ? {} : { counts: false }),
    ...delegate,
  };
}

/** So many matches of a route are shown. */
const fewMatches = 3;

function matchesInWords({ match }: Route["route"]): string {
  if (match.length === 0) return "";
  const shown = match.slice(0, fewMatches).map((one) => ("uri" in one ? matchInWords(one) : streamMatchInWords(one)));
  const more = match.length > fewMatches ? ` or ${match.length - fewMatches} more` : "";
  return ` for ${shown.map((one) => one ?? "every request").join(" or ")}${more}`;
}

function streamMatchInWords(match: StreamRoute["match"][number]): string | undefined {
  const { port } = match;
  const names = "sniHosts" in match ? match.sniHosts : [];
  const shown = [
    ...(names.length === 0 ? [] : [`server name ${listedNames(names)}`]),
    ...(port ? [`port ${port}`] : []),
    ...Object.entries(match.sourceLabels).map(([label, value]) => `label ${label}=${value}`),
  ];
  return shown.length === 0 ? undefined : shown.slice(0, 3).join(", ");
}

/** The routes of a delegate with what they get from the route that delegates to it. */
function delegatedRouteLines(
  root: VirtualService,
  route: HttpRoute,
  delegate: VirtualService,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const inEffect = new Map(
    delegatedRoutes(root, route, delegate, mesh.settings).map((one) => [one.index, one.route] as const),
  );
  const takers = takersThrough({ root, route }, delegate, mesh);
  return delegate.spec.http.map((own, i) => {
    const merged = inEffect.get(i);
    const shown = merged === undefined ? own : { ...merged, match: own.match };
    const written: Route = {
      at: ["spec", "http", i, "route"],
      protocol: "http",
      route: shown,
      destinations: own.route,
    };
    const taker = delegate.spec.http[takers.get(i) ?? -1];
    const line = routeLine(written, { virtualService: delegate, mesh, by: taker && routeInWords(taker) });
    const because = "it has no effect, because one of its matches is in no match of the route above";
    return merged === undefined ? { ...line, text: `${line.text}; ${because}`, counts: false } : line;
  });
}

/** The delegate of a route and its routes, if it is one. */
function delegation(
  route: HttpRoute,
  virtualService: VirtualService,
  mesh: Mesh,
): Pick<ExplanationLine, "objects" | "lines"> | undefined {
  const delegate = delegateOf(route, virtualService, mesh);
  if (delegate === undefined) return undefined;
  return { objects: [delegate], lines: delegatedRouteLines(virtualService, route, delegate, mesh) };
}

/** The delegate of a route, if it is one. Delegates of delegates are ignored (mergeVirtualServices). */
function delegateOf(route: HttpRoute, { metadata, spec }: VirtualService, mesh: Mesh): VirtualService | undefined {
  if (route.delegate === undefined || spec.hosts.length === 0) return undefined;
  const { name, namespace } = route.delegate;
  const key = keyFor("VirtualService", {
    originKind: "VirtualService",
    namespace: namespace || metadata.namespace,
    name,
  });
  const found = mesh.find("VirtualService", key);
  return found?.kind === "VirtualService" && found.spec.hosts.length === 0 ? found : undefined;
}

/** Whether nothing defines a destination, if everything is known that could. */
export function isMissing(said: string, { metadata }: Pick<VirtualService, "metadata">, mesh: Mesh): boolean {
  if (mesh.knowledge("Service") !== "complete" || !mesh.knowsAll("ServiceEntry")) return false;
  const host = fullHost(said, metadata.namespace, mesh.settings.domain);
  const { service, entries } = hostIn(mesh, host);
  return service === undefined && entries.length === 0;
}

/** The timeout and the retries, where the route sets them; else there is no timeout, and Istio's default retries. */
export function attemptsOf(route: Route["route"], settings: AllMeshSettings): string {
  if (!("mirrors" in route)) return "";
  const timeoutMs = timeoutMsOf(route);
  const retries = retriesOf(route, settings);
  const timeout = timeoutMs === undefined ? "" : `; timeout ${shownDuration(timeoutMs)}`;
  return retries.isSet ? `${timeout}; ${retriesInWords(retries)}` : timeout;
}

function retriesInWords({ attempts, retryOn, perTryTimeoutMs }: Retries): string {
  if (attempts === 0) return "no retries";
  const each = perTryTimeoutMs ? `, each up to ${shownDuration(perTryTimeoutMs)}` : "";
  return `${attempts} ${attempts === 1 ? "retry" : "retries"} on ${retryOn.join(", ")}${each}`;
}

function otherAction(route: Route["route"]): string {
  if (!("redirect" in route)) return "nowhere";
  if (route.redirect !== undefined) return redirectInWords(route.redirect);
  if (route.directResponse !== undefined) return `direct response ${route.directResponse.status ?? "(no status)"}`;
  if (route.delegate === undefined) return "nowhere";
  const { namespace, name } = route.delegate;
  return `delegated to VirtualService ${namespace ? `${namespace}/` : ""}${name}`;
}

const hiddenLine = (virtualService: VirtualService, client: string): ExplanationLine =>
  objectLine(
    "virtualService.passedOver",
    virtualService,
    `${idOf(virtualService)} has no effect: the Sidecars that are for workloads in ${client} do not import it`,
    { value: "not-imported", counts: false },
  );

function passedOverLine(
  { virtualService, because, by }: PassedOverVirtualService,
  client: string,
  isForStreams: boolean,
): ExplanationLine {
  const other = by === undefined ? "another one" : idOf(by);
  const reasons: Readonly<Record<typeof because, string>> = {
    "not-read": "no control plane has the revision in its label istio.io/rev, or it is being deleted",
    "gateways-only": `it is bound to ${virtualService.spec.gateways.join(", ")} and not to the mesh`,
    "not-exported": `it is not exported to ${client}`,
    "no-route": `none of its routes is for clients in ${client}`,
    "less-specific": `${other} is for a more specific host`,
    nearer: `${other} is exported to ${client} by name, or private to it, and comes first`,
    younger: `${other} ${by === undefined ? "is older" : precedence(by, virtualService)} and is used; the two are not merged`,
    blocked: `${other} is for the same wildcard and comes first, although none of its routes is for clients in ${client}`,
  };
  return objectLine(
    "virtualService.passedOver",
    virtualService,
    `${idOf(virtualService)} has no effect${isForStreams ? " on HTTP requests" : ""}: ${reasons[because]}`,
    {
      value: because,
      counts: false,
    },
  );
}
