import { Addresses, blockOf, formatAddress } from "../authorization/requests/addresses.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Clause, Request } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Lists, ListsBeyond } from "../authorization/requests/lists.ts";
import { anything, headerPatternOf, patternOf } from "../authorization/requests/patterns.ts";
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
  readonly notHosts?: readonly string[];
  /** One of the values for each claim of a token. A claim in another one is `[realm_access][roles]`, as in a policy. */
  readonly claims?: Readonly<Record<string, readonly string[]>>;
  /** Tokens, as issuer/subject; `*` is any token. Requests without a token have none of them. */
  readonly requestPrincipals?: readonly string[];
  readonly notRequestPrincipals?: readonly string[];
  /** Addresses and CIDR blocks that the server sees as those of its client. */
  readonly ipBlocks?: readonly string[];
  readonly notIpBlocks?: readonly string[];
  /** The same of the original client, as X-Forwarded-For or the PROXY protocol tell. */
  readonly remoteIpBlocks?: readonly string[];
  readonly notRemoteIpBlocks?: readonly string[];
}

type Field = Exclude<keyof WrittenRequests, "headers" | "claims" | "hasOnlyTheseHeaders">;

/** What each field, and its negation, is a condition on. */
const fields: readonly (readonly [
  attribute: Attribute,
  field: Field,
  not: Field,
  valuesOf: (values: readonly string[]) => Values,
])[] = [
  ["method", "methods", "notMethods", methodsOf],
  ["path", "paths", "notPaths", pathsOf],
  ["host", "hosts", "notHosts", hostsOf],
  ["token", "requestPrincipals", "notRequestPrincipals", principalsOf],
  ["source.ip", "ipBlocks", "notIpBlocks", addressesOf],
  ["remote.ip", "remoteIpBlocks", "notRemoteIpBlocks", addressesOf],
];

/** The conditions of these requests, with the meaning that the same values have in a rule of an AuthorizationPolicy. */
export function conditionsOf(written: WrittenRequests): Clauses {
  const clauses: Clause[] = [];
  for (const [attribute, field, notField, valuesOf] of fields) {
    const [values = [], notValues = []] = [written[field], written[notField]];
    if (values.length > 0) clauses.push({ attribute, values: valuesOf(values), not: false });
    if (notValues.length > 0) clauses.push({ attribute, values: valuesOf(notValues), not: true });
  }
  for (const [name, values] of Object.entries(written.headers ?? {})) {
    const attribute = `header ${name.toLowerCase()}` as const;
    const set = new Lists(values.map(headerPatternOf));
    clauses.push({ attribute, values: set, not: false });
    if (written.hasOnlyTheseHeaders === true) clauses.push({ attribute, values: new ListsBeyond(set), not: true });
  }
  return [...clauses, ...claimConditions(written)];
}

/** Whoever has claims has a token. */
function claimConditions({ claims = {}, requestPrincipals = [] }: WrittenRequests): Clauses {
  const found = Object.entries(claims).map(
    ([name, values]): Clause => ({
      attribute: `claim ${/^\[.*\]$/.test(name) ? name.slice(1, -1) : name}`,
      values: new Lists(values.map(patternOf)),
      not: false,
    }),
  );
  const needsToken = found.length > 0 && requestPrincipals.length === 0;
  return needsToken ? [...found, { attribute: "token", values: absent, not: true }] : found;
}

function hostsOf(values: readonly string[]): Values {
  return new Texts(values.map((value) => [partOf(headerPatternOf(value.toLowerCase()))]));
}
/** `*` is any token, also one without an issuer, which it is not in a policy. */
function principalsOf(values: readonly string[]): Values {
  return new Texts(values.map((value) => (value === "*" ? [anything, anything] : tokensOf(value).map(partOf))));
}
function addressesOf(values: readonly string[]): Values {
  return Addresses.of(...values);
}

/** A request in the words of {@link WrittenRequests}: `POST /payments/1 to host pay.example with header x-role: admin`. */
export function formatWrittenRequest(request: Request): string {
  const textsOf = (attribute: Attribute) => {
    const value = request.get(attribute);
    return typeof value === "object" ? value : undefined;
  };
  const host = textsOf("host")?.[0];
  const token = textsOf("token");
  const lists = [...request.keys()].filter((attribute) => /^(header|claim) /.test(attribute));
  const addresses = (["source.ip", "remote.ip"] as const)
    .map((attribute) => request.get(attribute))
    .filter((address) => typeof address === "bigint");
  return [
    `${textsOf("method")?.[0] ?? "GET"} ${textsOf("path")?.[0] ?? "/"}`,
    ...(host === undefined ? [] : [`to host ${host}`]),
    ...lists.map((attribute) => `with ${attribute}: ${textsOf(attribute)?.[0] ?? ""}`),
    ...(token === undefined ? [] : [`with a token ${token.join("/")}`]),
    ...[...new Set(addresses)].map((address) => `from address ${formatAddress(address)}`),
  ].join(" ");
}

/** Why a value of `hosts` is the host of no request; undefined: it can be one. */
export function hostFault(host: string): string | undefined {
  if (/[\s/]/.test(host)) return "a host has no scheme and no path, such as shop.example or *.example";
  return /[^*]\*[^*]|\*\*/.test(host) ? "a * is possible at one end only, and stands for itself elsewhere" : undefined;
}

/** Why a value of `requestPrincipals` is no token's; undefined: it can be one. */
export const principalFault = (principal: string): string | undefined =>
  /^[^/:]*:\/\/[^/*]*$/.test(principal) || !/[/*]/.test(principal)
    ? "a token is written as issuer/subject, such as https://issuer.example/*, or * for any token"
    : undefined;

/** Why a value of `ipBlocks` is no address; undefined: it is one. */
export const addressFault = (address: string): string | undefined =>
  blockOf(address) === undefined ? "give an address such as 10.0.0.1 or a block such as 10.0.0.0/8" : undefined;

/**
 * Why istiod would refuse a path of an AuthorizationPolicy, or would not read it as it looks; undefined: nothing
 * (Istio pkg/config/security/security.go CheckValidPathTemplate).
 */
export function pathFault(path: string): string | undefined {
  if (!/^[/*]/.test(path)) return "a path starts with /";
  if (/[?#]/.test(path)) return "a path has no query and no fragment";
  if (/\s/.test(path)) return "a path has no spaces, for which clients send %20";
  if (/[{}]/.test(path)) return templateFault(path);
  return /[^*]\*[^*]|\*\*/.test(path)
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
