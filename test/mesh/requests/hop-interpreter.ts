// What becomes of one request that passes several proxies, read from Istio's and Envoy's documentation as plainly as possible: each
// proxy decides, picks a route, changes the request, and sends it on as itself. It is the second opinion for
// src/mesh/requests/journey.ts.

import type { ObjectOf } from "../../../src/kube/object.ts";
import type { AllMeshSettings } from "../../../src/view/settings.ts";
import { isAllowed, type PlainPlace, type PlainRequest } from "../authorization/requests/interpreter.ts";
import { type PlainRoute, routeOf } from "./route-interpreter.ts";

/** A route, and what it changes of the requests that follow it. */
export interface ChangingRoute extends PlainRoute {
  readonly rewrite?: { readonly uri?: string };
  readonly headers?: {
    readonly request: { readonly set?: Readonly<Record<string, string>>; readonly remove?: string[] };
  };
}

/** One proxy on the way, in the order of the way. */
export interface PlainStop {
  /** Undefined: it decides nothing, as the sidecar of a client does. */
  readonly policies: readonly ObjectOf<"AuthorizationPolicy">[] | undefined;
  readonly place: PlainPlace;
  readonly port: number;
  /** What TLS asks for there. */
  readonly sni: string;
  /** What it does with tokens. */
  readonly tokens: "ignored" | "kept" | "removed";
  /** Undefined: it has no routes, and sends requests on as they are. */
  readonly routes: readonly ChangingRoute[] | undefined;
  /** With which identity requests go on: that which they have, that of the proxy, or none. */
  readonly sendsAs: "itself" | { readonly account: string } | undefined;
}

export type PlainResult = "accepted" | "denied" | "nowhere";

export function resultOf(sent: PlainRequest, stops: readonly PlainStop[], settings: AllMeshSettings): PlainResult {
  let request = sent;
  for (const stop of stops) {
    if (settings.mergesSlashes && stop.place === "http")
      request = { ...request, path: request.path.replace(/\/+/g, "/") };
    if (!isLetIn(request, stop, settings)) return "denied";
    const index = stop.routes === undefined ? -1 : routeOf(request, stop.routes);
    if (index === undefined) return "nowhere";
    request = sentOn(changed(request, stop.routes?.[index]), stop);
  }
  return "accepted";
}

function isLetIn(request: PlainRequest, stop: PlainStop, settings: AllMeshSettings): boolean {
  const { policies, place, port, sni, tokens } = stop;
  const seen = { ...request, port, sni, ...(tokens === "ignored" ? withoutToken : {}) };
  return policies === undefined || isAllowed(seen, policies, place, settings);
}

function sentOn(request: PlainRequest, { tokens, sendsAs }: PlainStop): PlainRequest {
  const kept = tokens === "removed" ? { ...request, ...withoutToken } : request;
  return sendsAs === "itself" ? kept : { ...kept, identity: sendsAs?.account };
}

const withoutToken = { token: undefined, claims: {} };

function changed(request: PlainRequest, route: ChangingRoute | undefined): PlainRequest {
  if (route === undefined) return request;
  const { set = {}, remove = [] } = route.headers?.request ?? {};
  const kept = Object.entries(request.headers).filter(([name]) => !remove.includes(name));
  const written = Object.entries(set).map(([name, value]) => [name, [value]] as const);
  return { ...request, path: pathOf(request.path, route), headers: Object.fromEntries([...kept, ...written]) };
}

/** The prefix that the match names is replaced, the whole path if the match is exact, and the leading slash if it names no path. */
function pathOf(path: string, { match, rewrite }: ChangingRoute): string {
  if (rewrite?.uri === undefined) return path;
  const [only] = match;
  if (only?.uri?.exact !== undefined) return rewrite.uri;
  return rewrite.uri + path.slice((only?.uri?.prefix ?? "/").length);
}
