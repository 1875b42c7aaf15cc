import type { HttpRoute, VirtualService } from "./virtual-services.ts";
import { fullGatewayName, meshGateway } from "./virtual-service-clients.ts";

type HttpMatch = HttpRoute["match"][number];
type StringMatch = HttpMatch["uri"];

/** A route, and an earlier one that takes all its requests. */
export interface UnreachableRoute {
  readonly i: number;
  readonly route: HttpRoute;
  readonly by: HttpRoute;
}

/**
 * The http routes of a VirtualService that no request reaches: each of their matches is contained in a match of an earlier
 * route (Istio pilot/pkg/networking/core/route/route.go BuildHTTPRoutesForVirtualService; Envoy takes the first route that
 * matches). Of a regular expression, only the text that it begins with is compared with prefixes; what else it contains is not decided. A delegate may not take
 * all requests of the route that refers to it, so such a route hides none.
 */
export function* unreachableRoutes(virtualService: VirtualService): Iterable<UnreachableRoute> {
  const { http } = virtualService.spec;
  if (http.length < 2) return;
  const order = new RouteOrder();
  const matches = http.map((route) => matchesOf(route, virtualService));
  for (const [i, route] of http.entries()) order.add(i, route, matches[i] ?? []);
  for (const [i, route] of http.entries()) {
    const by = order.firstTaking(i, matches[i] ?? []);
    if (by !== undefined) yield { i, route, by };
  }
}

/** The requests of one match: a URI, and other conditions by name. */
export interface RouteMatch {
  readonly uri: StringMatch;
  readonly ignoreCase: boolean;
  readonly conditions: readonly string[];
  /** With what the conditions imply: a header with a value is present. */
  readonly implied: readonly string[];
  /**
   * istiod takes it for a match of every request of a proxy that has the route, so that a gateway tries it last (Istio route.go
   * IsCatchAllRoute). The expression `/.*` matches as much, and is none for istiod.
   */
  readonly isCatchAll: boolean;
  /** The gateways that it is for, `namespace/name`; undefined: all of the VirtualService. */
  readonly gateways: ReadonlySet<string> | undefined;
}

/** The beginning of the condition that names gateways. */
const gatewaysNamed = "gateways";

/** The match at a gateway; undefined: it is not for this one. */
export function matchAt(gateway: string, match: RouteMatch): RouteMatch | undefined {
  if (match.gateways === undefined) return match;
  if (!match.gateways.has(gateway)) return undefined;
  const isOther = (condition: string) => !condition.startsWith(`${gatewaysNamed} `);
  return { ...match, conditions: match.conditions.filter(isOther), implied: match.implied.filter(isOther) };
}

export function matchesOf({ match }: HttpRoute, { metadata, spec }: VirtualService): readonly RouteMatch[] {
  if (match.length === 0) return [routeMatch(undefined, undefined)];
  return match.map((one) => {
    if (one.gateways.length === 0 || namesAll(one.gateways, spec.gateways)) return routeMatch(one, undefined);
    return routeMatch(one, new Set(one.gateways.map((gateway) => fullGatewayName(gateway, metadata.namespace))));
  });
}

/** Whether a match names every gateway of its VirtualService, in the same form. */
function namesAll(named: readonly string[], all: readonly string[]): boolean {
  const gateways = new Set(all.length === 0 ? [meshGateway] : all);
  return named.length >= gateways.size && gateways.isSubsetOf(new Set(named));
}

function routeMatch(match: HttpMatch | undefined, gateways: ReadonlySet<string> | undefined): RouteMatch {
  if (match === undefined)
    return { uri: undefined, ignoreCase: false, conditions: [], implied: [], isCatchAll: true, gateways };
  const conditions: string[] = [];
  const presences: string[] = [];
  for (const [condition, presence] of requestConditions(match)) {
    conditions.push(condition);
    if (presence !== undefined) presences.push(presence);
  }
  const uri = isEveryUri(match.uri) ? undefined : match.uri;
  const isCatchAll = uri === undefined && match.uri?.regex !== "/.*" && conditions.length === 0;
  for (const condition of clientConditions(match, gateways)) conditions.push(condition);
  conditions.sort();
  const implied = presences.length === 0 ? conditions : [...new Set([...conditions, ...presences])].sort();
  return { uri, ignoreCase: match.ignoreUriCase === true, conditions, implied, isCatchAll, gateways };
}

/** Conditions of a request other than its URI, each with a weaker one that it implies. */
function* requestConditions(match: HttpMatch): Iterable<readonly [string, string?]> {
  for (const name of ["method", "authority", "scheme"] as const)
    if (match[name] !== undefined) yield [`:${name} ${textOf(match[name])}`];
  for (const [name, value] of Object.entries(match.headers)) yield withPresence(`header ${name.toLowerCase()}`, value);
  for (const [name, value] of Object.entries(match.queryParams)) yield withPresence(`query ${name}`, value);
  for (const [name, value] of Object.entries(match.withoutHeaders))
    yield [["requests without header", name.toLowerCase(), textOf(value)].join(" ").trimEnd()];
}

function withPresence(name: string, value: StringMatch): readonly [string, string?] {
  if (value?.exact === "") return [`${name} exact ""`, name];
  const text = textOf(value);
  return text === "" || value?.regex === "*" ? [name] : [`${name} ${text}`, name];
}

/** Istio ignores the source where gateways are named (route.go sourceMatchHTTP). */
function* clientConditions(match: HttpMatch, gateways: ReadonlySet<string> | undefined): Iterable<string> {
  const { sourceLabels, sourceNamespace, port } = match;
  if (match.gateways.length === 0) {
    for (const [label, value] of Object.entries(sourceLabels)) yield `label ${label}=${value}`;
    if (sourceNamespace) yield `namespace ${sourceNamespace}`;
  }
  // Of two lists of gateways, only equal ones are known to contain each other.
  if (gateways !== undefined) yield `${gatewaysNamed} ${[...gateways].sort().join(" ")}`;
  if (port) yield `port ${port}`;
}

function textOf(match: StringMatch): string {
  if (match?.exact !== undefined) return `exact ${JSON.stringify(match.exact)}`;
  for (const how of ["prefix", "regex"] as const) if (match?.[how]) return `${how} ${JSON.stringify(match[how])}`;
  return "";
}

const isEveryUri = (uri: StringMatch): boolean =>
  textOf(uri) === "" || uri?.prefix === "/" || [".*", "/.*"].includes(uri?.regex ?? "");

/** Whether the http routes for the mesh leave requests out: each match has a condition that some request is sure not to meet. */
export function leavesOutRequests(virtualService: VirtualService): boolean {
  let isThere = false;
  for (const route of virtualService.spec.http)
    for (const match of matchesOf(route, virtualService)) {
      const here = matchAt(meshGateway, match);
      if (here === undefined) continue;
      if (!isNoDefault(here)) return false;
      isThere = true;
    }
  return isThere;
}

/**
 * A request with another path, another method and without the headers and query parameters meets no match that has one of these
 * conditions, however many there are. It is not decided what a regular expression for a path or a method leaves out.
 */
const isNoDefault = ({ uri, conditions }: RouteMatch): boolean =>
  (uri !== undefined && uri.regex === undefined) ||
  conditions.some((one) => /^(?:header [^:]|query |:method (?!regex))/.test(one));

/** With more conditions than this, only those of one condition and of all of them are looked up. */
const mostCombined = 16;

/** Routes in the order in which Envoy tries them. All are added before the first look-up. */
export class RouteOrder {
  readonly #byConditions = new Map<string, MatchesByUri>();
  readonly #routes = new Map<number, HttpRoute>();

  add(place: number, route: HttpRoute, matches: readonly RouteMatch[]): void {
    if (route.delegate !== undefined) return;
    this.#routes.set(place, route);
    for (const match of matches) {
      const key = match.conditions.join("\n");
      let there = this.#byConditions.get(key);
      if (there === undefined) this.#byConditions.set(key, (there = new MatchesByUri()));
      there.add(match, place);
    }
  }

  /** The first route before this place that takes requests of the first match, if all matches are taken. */
  firstTaking(place: number, matches: readonly RouteMatch[]): HttpRoute | undefined {
    let first: HttpRoute | undefined;
    for (const match of matches) {
      const taken = this.#firstPlace(match);
      if (taken >= place) return undefined;
      first ??= this.#routes.get(taken);
    }
    return first;
  }

  #firstPlace(match: RouteMatch): number {
    let first = Number.POSITIVE_INFINITY;
    for (const key of combinations(match))
      first = Math.min(first, this.#byConditions.get(key)?.first(match) ?? Number.POSITIVE_INFINITY);
    return first;
  }
}

/** The conditions of matches that may contain this one: none, one, two, or all of its own. */
function* combinations({ conditions, implied }: RouteMatch): Iterable<string> {
  yield "";
  for (const [i, one] of implied.entries()) {
    yield one;
    if (implied.length <= mostCombined) for (const other of implied.slice(i + 1)) yield `${one}\n${other}`;
  }
  if (conditions.length > 2) yield conditions.join("\n");
}

/** The first places of matches with the same conditions, by their URI. */
class MatchesByUri {
  #all = Number.POSITIVE_INFINITY;
  #asWritten: Uris | undefined;
  #ignoringCase: Uris | undefined;

  add({ uri, ignoreCase }: RouteMatch, place: number): void {
    if (uri === undefined) this.#all = Math.min(this.#all, place);
    else if (ignoreCase && !uri.regex) (this.#ignoringCase ??= new Uris()).add(inLowerCase(uri), place);
    else (this.#asWritten ??= new Uris()).add(uri, place);
  }

  first({ uri, ignoreCase }: RouteMatch): number {
    if (uri === undefined) return this.#all;
    const ignoring = this.#ignoringCase?.first(inLowerCase(uri)) ?? Number.POSITIVE_INFINITY;
    if (ignoreCase && !uri.regex) return Math.min(this.#all, ignoring);
    return Math.min(this.#all, ignoring, this.#asWritten?.first(uri) ?? Number.POSITIVE_INFINITY);
  }
}

type Uri = NonNullable<StringMatch>;
const inLowerCase = ({ exact, prefix, regex }: Uri): Uri => ({
  exact: exact?.toLowerCase(),
  prefix: prefix?.toLowerCase(),
  regex,
});

class Uris {
  /** Exact URIs and regular expressions, as text. */
  readonly #same = new Map<string, number>();
  readonly #prefixes = new Map<string, number>();
  #forest: PrefixForest | undefined;

  add(uri: Uri, place: number): void {
    if (uri.exact !== undefined || uri.regex) setFirst(this.#same, textOf(uri), place);
    else setFirst(this.#prefixes, uri.prefix ?? "", place);
  }

  first(uri: Uri): number {
    const same = this.#same.get(textOf(uri)) ?? Number.POSITIVE_INFINITY;
    if (this.#prefixes.size === 0) return same;
    this.#forest ??= new PrefixForest(this.#prefixes);
    return Math.min(same, this.#forest.first(uri.exact || uri.prefix || literalHead(uri.regex ?? "")));
  }
}

const alternatives = /\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]/gsu;

/** Whether an expression is for one of several texts as a whole, such as `/a|/b`. */
function isAlternative(regex: string): boolean {
  let depth = 0;
  for (const [part] of regex.matchAll(alternatives)) {
    if (part === "|" && depth === 0) return true;
    if (part === "(") depth++;
    else if (part === ")") depth--;
  }
  return false;
}

const literals = /^\^?((?:\\[^\p{L}\p{N}]|[^\\^$.|?*+()[\]{}])*)(.?)/su;

/**
 * The text that all paths begin with which an expression matches, as a whole path (Envoy's RE2 FullMatch); empty: it is not known.
 * A character that may occur no time is none of it.
 */
function literalHead(regex: string): string {
  const [, written = "", next = ""] = literals.exec(regex) ?? [];
  if (written === "" || regex.includes("\\Q") || isAlternative(regex)) return "";
  const sure = ["?", "*", "{"].includes(next) ? written.replace(/\\?.$/su, "") : written;
  return sure.replace(/\\(.)/gsu, "$1");
}

function setFirst(places: Map<string, number>, key: string, place: number): void {
  places.set(key, Math.min(place, places.get(key) ?? place));
}

/** Sorted prefixes, each with the longest other one that it starts with. */
class PrefixForest {
  readonly #sorted: readonly string[];
  readonly #parents: number[] = [];
  /** The first place of a prefix and of all that it starts with. */
  readonly #firsts: number[] = [];

  constructor(places: ReadonlyMap<string, number>) {
    this.#sorted = [...places.keys()].sort();
    let parent = -1;
    for (const [i, prefix] of this.#sorted.entries()) {
      while (parent >= 0 && !prefix.startsWith(this.#sorted[parent] ?? "")) parent = this.#parents[parent] ?? -1;
      const inherited = parent < 0 ? Number.POSITIVE_INFINITY : (this.#firsts[parent] ?? Number.POSITIVE_INFINITY);
      this.#parents.push(parent);
      this.#firsts.push(Math.min(places.get(prefix) ?? Number.POSITIVE_INFINITY, inherited));
      parent = i;
    }
  }

  /** The first place of a prefix of this text. */
  first(text: string): number {
    let i = this.#lastUpTo(text);
    if (i < 0) return Number.POSITIVE_INFINITY;
    const shared = sharedLength(this.#sorted[i] ?? "", text);
    while (i >= 0 && (this.#sorted[i]?.length ?? 0) > shared) i = this.#parents[i] ?? -1;
    return this.#firsts[i] ?? Number.POSITIVE_INFINITY;
  }

  /** The position of the last prefix that is not sorted behind this text; -1: there is none. */
  #lastUpTo(text: string): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sorted[middle] ?? "") <= text) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}

/** A route in words, by its name or by what it matches. */
export function routeInWords({ name, match }: HttpRoute): string {
  if (name) return `route ${JSON.stringify(name)}`;
  const [first] = match;
  if (first === undefined) return "the route without match";
  const shown = matchInWords(first);
  return shown === undefined ? "the route that matches every URI" : `the route for ${shown}`;
}

/** The first conditions of a match; undefined: it has none. */
export function matchInWords(match: HttpMatch): string | undefined {
  const { conditions, uri } = routeMatch(match, undefined);
  if (uri === undefined && conditions.length === 0) return undefined;
  return [...(uri === undefined ? [] : [`URI ${textOf(uri)}`]), ...conditions].slice(0, 3).join(", ");
}
