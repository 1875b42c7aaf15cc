import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { includesNamespace, visibleTo } from "./export-to.ts";
import { fullHost } from "./hosts.ts";
import { delegateName, delegatesOfRoot, fullGatewayName, nameOf, rootsOfDelegate } from "./virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "./virtual-services.ts";

type HttpMatch = HttpRoute["match"][number];
type StringMatch = HttpMatch["uri"];

/** The routes of a VirtualService with hosts that delegate, by the `namespace/name` of the delegate. */
export const delegatingRoutes = fact(
  "delegatingRoutes",
  "VirtualService",
  [],
  ({ metadata, spec }): ReadonlyMap<string, readonly HttpRoute[]> =>
    Map.groupBy(
      spec.http.filter(({ delegate }) => delegate !== undefined),
      (route) => delegateName(route, metadata.namespace),
    ),
);

/** What `delegatingTo` reads. */
export const delegatingReads = [rootsOfDelegate, delegatingRoutes] as const;
type View = MeshView<(typeof delegatingReads)[number]>;

/** With more routes that delegate to it than this, which of its routes are in effect is not decided. */
export const mostDelegating = 16;

/** A route that delegates, and its VirtualService. */
export interface Delegating {
  readonly root: VirtualService;
  readonly route: HttpRoute;
}

/** The routes that delegate to a delegate, up to one more than are compared. */
export function delegatingTo(delegate: VirtualService, mesh: View): readonly Delegating[] {
  const found: Delegating[] = [];
  for (const root of mesh.related(rootsOfDelegate, delegate)) {
    if (!isVisibleTo(root, delegate, mesh)) continue;
    for (const route of mesh.get(delegatingRoutes, root).get(nameOf(delegate)) ?? []) found.push({ root, route });
    if (found.length > mostDelegating) break;
  }
  return found;
}

/** A root cannot use a delegate that is not exported to its namespace (virtual-service-delegate-not-found). */
const isVisibleTo = (
  { metadata }: VirtualService,
  delegate: VirtualService,
  { settings }: Pick<View, "settings">,
): boolean =>
  includesNamespace(
    visibleTo(delegate.spec.exportTo, delegate.metadata.namespace, settings.defaultVirtualServiceExportTo),
    metadata.namespace,
  );

/** The delegate that a route of a VirtualService with hosts uses; undefined: it names none that exists and that the VirtualService sees. */
export function delegateOfRoute(
  route: HttpRoute,
  root: VirtualService,
  mesh: MeshView<typeof delegatesOfRoot>,
): VirtualService | undefined {
  const name = delegateName(route, root.metadata.namespace);
  const found = mesh.related(delegatesOfRoot, root).find((one) => nameOf(one) === name);
  return found !== undefined && isVisibleTo(root, found, mesh) ? found : undefined;
}

/** A route of a delegate as it is in effect through one route of a VirtualService with hosts. */
export interface DelegatedRoute {
  /** The position in the delegate. */
  readonly index: number;
  /** With the matches of both, and with what only the route of the VirtualService with hosts sets. */
  readonly route: HttpRoute;
}

/**
 * The routes of a delegate through one route of a root, with what each gets from that route. A route of the delegate is left out
 * if one of its matches is within no match of the root's route (Istio pilot/pkg/model/virtualservice.go MergeHTTPRoutes,
 * mergeHTTPMatchRequests).
 */
export function delegatedRoutes(
  root: VirtualService,
  route: HttpRoute,
  delegate: VirtualService,
  settings: MeshSettings,
): readonly DelegatedRoute[] {
  const outer = resolved(route, root, settings);
  return delegate.spec.http.flatMap((inner, index) => {
    const match = mergedMatches(outer.match, resolvedMatches(inner, delegate));
    return match === undefined ? [] : [{ index, route: merged(outer, inner, match) }];
  });
}

/**
 * What the routes of a delegate become through the routes that delegate to it, by their position in the delegate. Of more than 16 such
 * routes, the first are followed.
 */
export const routesThroughRoots = fact(
  "routesThroughRoots",
  "VirtualService",
  delegatingReads,
  (delegate, mesh): ReadonlyMap<number, readonly Delegating[]> => {
    const found = new Map<number, Delegating[]>();
    for (const { root, route } of delegatingTo(delegate, mesh).slice(0, mostDelegating)) {
      mesh.visited(delegate.spec.http.length);
      for (const one of delegatedRoutes(root, route, delegate, mesh.settings)) {
        const there = found.get(one.index) ?? [];
        found.set(one.index, there);
        there.push({ root, route: one.route });
      }
    }
    return found;
  },
);

const resolvedMatches = ({ match }: HttpRoute, { metadata }: VirtualService): readonly HttpMatch[] =>
  match.map((one) => ({ ...one, gateways: one.gateways.map((name) => fullGatewayName(name, metadata.namespace)) }));

/** Names of the root are in its own namespace, whoever uses them. */
function resolved(route: HttpRoute, root: VirtualService, { domain }: MeshSettings): HttpRoute {
  const { namespace } = root.metadata;
  const named = <D extends { readonly host: string }>(to: D): D => ({
    ...to,
    host: fullHost(to.host, namespace, domain),
  });
  return {
    ...route,
    match: [...resolvedMatches(route, root)],
    mirror: route.mirror && named(route.mirror),
    mirrors: route.mirrors.map((one) => ({ ...one, destination: named(one.destination) })),
  };
}

/** What a delegate gets where it sets nothing. */
const inherited = [
  "rewrite",
  "directResponse",
  "timeout",
  "retries",
  "fault",
  "mirror",
  "mirrorPercent",
  "mirrorPercentage",
  "headers",
] as const;

function merged(outer: HttpRoute, inner: HttpRoute, match: readonly HttpMatch[]): HttpRoute {
  const unset = inherited.filter((field) => inner[field] === undefined);
  const fromRoot = Object.fromEntries(unset.map((field) => [field, outer[field]]));
  const mirrors = inner.mirrors.length > 0 ? inner.mirrors : outer.mirrors;
  return { ...inner, ...fromRoot, mirrors, match: [...match] };
}

/** Undefined: a match of the delegate is within no match of the root. */
function mergedMatches(outer: readonly HttpMatch[], inner: readonly HttpMatch[]): readonly HttpMatch[] | undefined {
  if (outer.length === 0) return inner;
  if (inner.length === 0) return outer;
  const found: HttpMatch[] = [];
  for (const match of inner) {
    const within = outer.filter((one) => !isInConflict(one, match));
    if (within.length === 0) return undefined;
    for (const one of within) found.push(mergedMatch(one, match));
  }
  return found;
}

const mergedMatch = (outer: HttpMatch, inner: HttpMatch): HttpMatch => ({
  ...inner,
  uri: inner.uri ?? outer.uri,
  scheme: inner.scheme ?? outer.scheme,
  method: inner.method ?? outer.method,
  authority: inner.authority ?? outer.authority,
  headers: { ...outer.headers, ...inner.headers },
  withoutHeaders: { ...outer.withoutHeaders, ...inner.withoutHeaders },
  queryParams: { ...outer.queryParams, ...inner.queryParams },
  port: inner.port || outer.port,
  sourceLabels: { ...outer.sourceLabels, ...inner.sourceLabels },
  sourceNamespace: inner.sourceNamespace || outer.sourceNamespace,
  gateways: inner.gateways.length > 0 ? inner.gateways : outer.gateways,
});

const isInConflict = (outer: HttpMatch, inner: HttpMatch): boolean =>
  texts.some((field) => isTextOutside(outer[field], inner[field])) ||
  textsByName.some((field) =>
    Object.entries(inner[field]).some(([name, value]) => isTextOutside(outer[field][name], value)),
  ) ||
  Boolean(outer.ignoreUriCase) !== Boolean(inner.ignoreUriCase) ||
  isOtherSource(outer, inner);

const texts = ["uri", "scheme", "method", "authority"] as const;
const textsByName = ["headers", "withoutHeaders", "queryParams"] as const;

function isOtherSource(outer: HttpMatch, inner: HttpMatch): boolean {
  if (outer.port && inner.port && outer.port !== inner.port) return true;
  if (outer.sourceNamespace && inner.sourceNamespace !== outer.sourceNamespace) return true;
  const isOtherLabel = ([name, value]: [string, string | undefined]) =>
    outer.sourceLabels[name] !== undefined && outer.sourceLabels[name] !== value;
  return Object.entries(inner.sourceLabels).some(isOtherLabel) || areOtherGateways(outer.gateways, inner.gateways);
}

function areOtherGateways(outer: readonly string[], inner: readonly string[]): boolean {
  if (outer.length === 0 || inner.length === 0) return false;
  return outer.length < inner.length || inner.some((name) => !outer.includes(name));
}

/** A prefix holds what starts with it; all other texts hold only themselves, and regular expressions nothing (stringMatchConflict). */
function isTextOutside(outer: StringMatch, inner: StringMatch): boolean {
  if (outer === undefined || inner === undefined) return false;
  if (outer.regex || inner.regex) return true;
  if (outer.exact) return Boolean(inner.prefix) || inner.exact !== outer.exact;
  const text = inner.prefix || inner.exact;
  return !outer.prefix || !text || !text.startsWith(outer.prefix);
}
