import { Addresses } from "../authorization/requests/addresses.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Clause, Request } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Lists, ListsBeyond } from "../authorization/requests/lists.ts";
import { headerPatternOf, patternOf } from "../authorization/requests/patterns.ts";
import { methodsOf, pathsOf } from "../authorization/requests/proxy-matches.ts";
import { partOf, Texts } from "../authorization/requests/texts.ts";
import { tokensOf } from "../authorization/requests/tokens.ts";
import { absent, type Values } from "../authorization/requests/values.ts";

/** Requests as users write them in intents, on the command line and in tests. An empty list is no condition. */
export interface WrittenRequests {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  /** As in an AuthorizationPolicy: exact, `/x*`, `*x`, `/x/{*}`, `/x/{**}`. */
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
  /** One of the values for each header. */
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  /** Whether the requests have no other values of these headers. Else a header may be repeated, and policies match each value. */
  readonly hasOnlyTheseHeaders?: boolean;
  /** As in `hosts` of an AuthorizationPolicy: the host as it is sent, with a port if the client sends one. */
  readonly hosts?: readonly string[];
  /** One of the values for each claim of a token. */
  readonly claims?: Readonly<Record<string, readonly string[]>>;
  /** As `requestPrincipals`: issuer/subject. */
  readonly tokens?: readonly string[];
  /** Addresses and CIDR blocks that the server sees as those of its client. */
  readonly sourceIps?: readonly string[];
}

/** The conditions of these requests, with the meaning that the same values have in a rule of an AuthorizationPolicy. */
export function conditionsOf(written: WrittenRequests): Clauses {
  const { methods, notMethods, paths, notPaths, headers = {} } = written;
  const clauses: Clause[] = [];
  const add = (attribute: "method" | "path", values: readonly string[] | undefined, not: boolean) => {
    if (values === undefined || values.length === 0) return;
    clauses.push({ attribute, values: attribute === "method" ? methodsOf(values) : pathsOf(values), not });
  };
  add("method", methods, false);
  add("method", notMethods, true);
  add("path", paths, false);
  add("path", notPaths, true);
  for (const [name, values] of Object.entries(headers)) {
    const attribute = `header ${name.toLowerCase()}` as const;
    const set = new Lists(values.map(headerPatternOf));
    clauses.push({ attribute, values: set, not: false });
    if (written.hasOnlyTheseHeaders === true) clauses.push({ attribute, values: new ListsBeyond(set), not: true });
  }
  return [...clauses, ...conditionsOfCaller(written)];
}

/** The host, the token and its claims, and the address. */
function conditionsOfCaller({ hosts = [], claims = {}, tokens = [], sourceIps = [] }: WrittenRequests): Clauses {
  const is = (attribute: Attribute, values: Values, not = false): Clause => ({ attribute, values, not });
  const hasClaims = Object.keys(claims).length > 0;
  return [
    ...(hosts.length === 0 ? [] : [is("host", hostsOf(hosts))]),
    ...Object.entries(claims).map(([name, values]) => is(`claim ${name}`, new Lists(values.map(patternOf)))),
    ...(tokens.length === 0 ? [] : [is("token", new Texts(tokens.map((value) => tokensOf(value).map(partOf))))]),
    // Whoever has claims has a token.
    ...(hasClaims && tokens.length === 0 ? [is("token", absent, true)] : []),
    ...(sourceIps.length === 0 ? [] : [is("source.ip", Addresses.of(...sourceIps))]),
  ];
}

const hostsOf = (values: readonly string[]): Values =>
  new Texts(values.map((value) => [partOf(headerPatternOf(value.toLowerCase()))]));

/** A request in the words of {@link WrittenRequests}: `POST /payments/1 with x-role: admin`. */
export function formatWrittenRequest(request: Request): string {
  const textOf = (attribute: Attribute) => {
    const value = request.get(attribute);
    return typeof value === "object" ? value[0] : undefined;
  };
  const headers = [...request.keys()].filter((attribute) => attribute.startsWith("header "));
  const shown = headers.map((attribute) => `with ${attribute.slice("header ".length)}: ${textOf(attribute) ?? ""}`);
  return [`${textOf("method") ?? "GET"} ${textOf("path") ?? "/"}`, ...shown].join(" ");
}

/**
 * Why istiod would refuse a path of an AuthorizationPolicy, or would not read it as it looks; undefined: nothing
 * (Istio pkg/config/security/security.go CheckValidPathTemplate).
 */
export function pathFault(path: string): string | undefined {
  if (!/^[/*]/.test(path)) return "a path starts with /";
  if (/[?#]/.test(path)) return "a path has no query and no fragment";
  if (/[{}]/.test(path)) return templateFault(path);
  return /[^*]\*[^*]/.test(path)
    ? "a * between other characters stands for itself; write {*} for one segment"
    : undefined;
}

function templateFault(path: string): string | undefined {
  let isRestRead = false;
  for (const segment of path.replaceAll(/^\/|\/$/g, "").split("/")) {
    const isOperator = segment === "{*}" || segment === "{**}";
    if (isOperator && isRestRead) return "{**} has to be the last operator";
    if (segment === "{**}") isRestRead = true;
    if (isOperator) continue;
    if (/[{}]/.test(segment)) return "{*} and {**} have to be whole segments, and other braces are not possible";
    if (segment.includes("*")) return "* cannot be combined with {*} and {**}";
  }
  return undefined;
}
