import type { Box } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Workload } from "../membership/workloads.ts";
import type {
  AuthorizationOutcome,
  Hop,
  Outcome,
  Result,
  RouteDestination,
  RouteOutcome,
  Source,
  TransportOutcome,
} from "./outcome.ts";
import { ServerView } from "./server-view.ts";

/** Nothing routes the requests. */
export const unrouted: RouteOutcome = {
  result: "arrives",
  host: undefined,
  virtualService: undefined,
  httpRoute: undefined,
  route: undefined,
  destinations: [],
  because: undefined,
};

export const undecided = (box: Box, source: Source, because: string): Outcome => ({
  result: "undecided",
  requests: box,
  example: box.example,
  source,
  route: { ...unrouted, result: "undecided", because },
  destination: undefined,
  workloads: [],
  transport: [],
  authorization: [],
  hops: [],
});

/** What has happened to requests on their way. */
export interface Way {
  /** As their callers send them. */
  readonly box: Box;
  readonly view: ServerView;
  /** How the client, or the waypoint before the server, sends them. */
  readonly sentAs: "http" | "tcp";
  readonly route: RouteOutcome;
  readonly destination: RouteDestination | undefined;
  readonly transport: readonly TransportOutcome[];
  readonly authorization: readonly AuthorizationOutcome[];
  readonly hops: readonly Hop[];
  /** The host that the callers name, and its port; undefined: they ask for addresses of pods. */
  readonly to: { readonly host: string; readonly port: number } | undefined;
  /** The tokens that the question names; undefined: any, and none. */
  readonly tokens: Texts | undefined;
  /** What the application sends: HTTP, TLS, or anything else. */
  readonly payload: "http" | "tls" | "tcp";
}

/** The same condition for all questions, because what was found of a condition is kept with it. */
const conditions = { port: new Map<string, Clauses[number]>(), sni: new Map<string, Clauses[number]>() };
const mostConditions = 1_024;

function is(attribute: keyof typeof conditions, text: string): Clauses[number] {
  const kept = conditions[attribute];
  let found = kept.get(text);
  if (found === undefined) {
    if (kept.size >= mostConditions) kept.clear();
    kept.set(text, (found = { attribute, values: new Texts([[text]]), not: false }));
  }
  return found;
}

export const portIs = (port: number): Clauses[number] => is("port", String(port));

export const noIdentity: Clauses[number] = { attribute: "identity", values: absent, not: false };

/** The name that TLS asks for, in lower case, as Envoy reads it (proxy-matches.ts). */
export const sniIs = (name: string): Clauses[number] => is("sni", name.toLowerCase());

function tokensNamed(box: Box): Texts | undefined {
  for (const { attribute, values, not } of box.clauses)
    if (attribute === "token" && !not && values instanceof Texts) return values;
  return undefined;
}

/** Before anything happened. */
export const departing = (box: Box): Way => ({
  hops: [],
  to: undefined,
  payload: "http",
  tokens: tokensNamed(box),
  box,
  view: new ServerView(),
  sentAs: "http",
  route: unrouted,
  destination: undefined,
  transport: [],
  authorization: [],
});

/** The end of the way. `source`: who sent the requests first; `workloads`: where it ends. */
export const outcomeOf = (
  result: Result,
  { box, route, destination, transport, authorization, hops }: Way,
  source: Source,
  workloads: readonly Workload[] = [],
): Outcome => ({
  result,
  requests: box,
  example: box.example,
  source,
  route,
  destination,
  workloads,
  hops,
  transport,
  authorization,
});
