import type { HttpRoute } from "../traffic/virtual-services.ts";

type Headers = HttpRoute["headers"];

/** What a header is after a change. `unknown`: its values depend on the request, or are added to those that it has. */
export type HeaderValue = { readonly is: string } | "absent" | "unknown";

/** What a route changes of the headers of requests to a destination. */
export interface HeaderChanges {
  /** The host that the server sees, if a change of the `Host` header sets it. */
  readonly authority: string | undefined;
  /** By names in lower case. */
  readonly headers: ReadonlyMap<string, HeaderValue>;
}

/**
 * The changes of a route, and those of one of its destinations, together (Istio pilot/pkg/networking/core/route/route.go
 * TranslateHeadersOperations, processDestination). Undefined: there are none. Headers whose names begin with a colon are not changed.
 */
export function headerChanges(ofRoute: Headers, ofDestination: Headers): HeaderChanges | undefined {
  if (ofRoute?.request === undefined && ofDestination?.request === undefined) return undefined;
  const [route, destination] = [changesOf(ofRoute), changesOf(ofDestination)];
  const headers = new Map(route.headers);
  // Envoy's order of the two differs between one destination and several.
  for (const [name, value] of destination.headers) headers.set(name, headers.has(name) ? "unknown" : value);
  return { authority: route.authority ?? destination.authority, headers };
}

const none: HeaderChanges = { authority: undefined, headers: new Map() };

function changesOf(of: Headers): HeaderChanges {
  const request = of?.request;
  if (request === undefined) return none;
  const found = new Map<string, HeaderValue>();
  let authority: string | undefined;
  // Envoy removes before it adds.
  for (const name of request.remove) found.set(name.toLowerCase(), "absent");
  for (const [isSet, values] of [
    [true, request.set],
    [false, request.add],
  ] as const)
    for (const [key, value] of Object.entries(values)) {
      const name = key.toLowerCase();
      if (isAuthority(name)) authority = value;
      found.set(name, isSet && !isFilledIn(value) ? { is: value } : "unknown");
    }
  return { authority, headers: new Map([...found].filter(([name]) => !isInternal(name))) };
}

const isAuthority = (name: string): boolean => name === "host" || name === ":authority";
const isInternal = (name: string): boolean => name === "host" || name.startsWith(":");
/** Envoy fills in parts of the request: `%DOWNSTREAM_REMOTE_ADDRESS%`. */
const isFilledIn = (value: string): boolean => value.includes("%");

/** The hosts that a route may write into requests. */
export function authoritiesOf({ rewrite, headers, route }: HttpRoute): readonly string[] {
  const written = [headers, ...route.map((one) => one.headers)].map((of) => changesOf(of).authority);
  return [rewrite?.authority, ...written].filter((host) => host !== undefined && host !== "") as readonly string[];
}
