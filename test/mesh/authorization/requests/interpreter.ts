// What becomes of one request, read from Istio's API and its source as plainly as possible: no sets, no symbols. It is the
// second opinion for the symbolic sets of requests in src/mesh/authorization/requests.

import type { ObjectOf } from "../../../../src/kube/object.ts";
import type { AllMeshSettings } from "../../../../src/view/settings.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;
type Rule = AuthorizationPolicy["spec"]["rules"][number];
type Source = Rule["from"][number]["source"];
type Operation = Rule["to"][number]["operation"];
type Condition = Rule["when"][number];

export interface PlainRequest {
  /** `<trust domain>/ns/<namespace>/sa/<service account>`; undefined: plaintext. */
  readonly identity: string | undefined;
  readonly sourceIp: string;
  readonly remoteIp: string;
  readonly destinationIp: string;
  readonly port: number;
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly sni: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly token: { readonly issuer: string; readonly subject: string } | undefined;
  readonly claims: Readonly<Record<string, readonly string[]>>;
}

export type PlainPlace = "http" | "tcp" | "ztunnel";

/** DENY first, then ALLOW, if there is any. */
export function isAllowed(
  request: PlainRequest,
  policies: readonly AuthorizationPolicy[],
  place: PlainPlace,
  settings: AllMeshSettings,
): boolean {
  const matching = (action: string) =>
    policies.filter(
      ({ spec, metadata }) =>
        (spec.action ?? "ALLOW") === action &&
        spec.rules.some((rule) =>
          isRuleMatched(rule, request, { place, action, namespace: metadata.namespace, settings }),
        ),
    );
  if (matching("DENY").length > 0) return false;
  const allows = policies.filter(({ spec }) => (spec.action ?? "ALLOW") === "ALLOW");
  return allows.length === 0 || matching("ALLOW").length > 0;
}

export interface Context {
  readonly place: PlainPlace;
  readonly action: string;
  readonly namespace: string;
  readonly settings: AllMeshSettings;
}

export function isRuleMatched(rule: Rule, request: PlainRequest, context: Context): boolean {
  const { place, action } = context;
  const http = [
    ...rule.from.flatMap(({ source }) => (isHttpSource(source, place) ? [source] : [])),
    ...rule.to.flatMap(({ operation }) => (isHttpOperation(operation) ? [operation] : [])),
    ...rule.when.filter(({ key, values, notValues }) =>
      place === "ztunnel" ? !ofZtunnel.includes(key) : isHttpKey(key) && values.length + notValues.length > 0,
    ),
  ];
  if (place !== "http" && action === "ALLOW" && http.length > 0) return false;
  if (place === "ztunnel") return isMatchedAtZtunnel(rule, request, context);
  return (
    (rule.from.length === 0 || rule.from.some(({ source }) => isSource(source, request, context))) &&
    (rule.to.length === 0 || rule.to.some(({ operation }) => isOperation(operation, request, context))) &&
    rule.when.every((condition) => isCondition(condition, request, context))
  );
}

const isHttpSource = (source: Source, place: PlainPlace): boolean =>
  [source.requestPrincipals, source.notRequestPrincipals].some(({ length }) => length > 0) ||
  (place === "ztunnel" && [source.remoteIpBlocks, source.notRemoteIpBlocks].some(({ length }) => length > 0));
const isHttpOperation = ({ hosts, notHosts, methods, notMethods, paths, notPaths }: Operation): boolean =>
  [hosts, notHosts, methods, notMethods, paths, notPaths].some(({ length }) => length > 0);
const ofZtunnel = ["source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"];
const isHttpKey = (key: string): boolean => key.startsWith("request.");

/** A part of a rule in which ztunnel supports nothing matches nothing. */
function isMatchedAtZtunnel(rule: Rule, request: PlainRequest, context: Context): boolean {
  const sources = rule.from.map(({ source }) => ({
    ...source,
    remoteIpBlocks: [],
    notRemoteIpBlocks: [],
    requestPrincipals: [],
    notRequestPrincipals: [],
    trustDomains: [],
    notTrustDomains: [],
  }));
  const operations = rule.to.map(({ operation: { ports, notPorts } }) => ({ ...noOperation, ports, notPorts }));
  const isSaid = (one: object) => Object.values(one).some((list: readonly string[]) => list.length > 0);
  return (
    (rule.from.length === 0 || sources.some((source) => isSaid(source) && isSource(source, request, context))) &&
    (rule.to.length === 0 ||
      operations.some((operation) => isSaid(operation) && isOperation(operation, request, context))) &&
    rule.when.every(
      (condition) =>
        ofZtunnel.includes(condition.key) &&
        condition.values.length + condition.notValues.length > 0 &&
        isCondition(condition, request, context),
    )
  );
}
const noOperation: Operation = {
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  ports: [],
  notPorts: [],
};

/** One of the values, if there are any, and none of the others. */
const holds = (values: readonly string[], notValues: readonly string[], is: (value: string) => boolean): boolean =>
  (values.length === 0 || values.some(is)) && !notValues.some(is);

function isSource(source: Source, request: PlainRequest, context: Context): boolean {
  const { identity, token } = request;
  const isTcp = context.place === "tcp";
  return (
    holds(source.principals, source.notPrincipals, (value) => isPrincipal(value, identity, context)) &&
    holds(source.namespaces, source.notNamespaces, (value) => isNamespace(value, identity, context)) &&
    holds(source.serviceAccounts, source.notServiceAccounts, (value) => isAccount(value, identity, context)) &&
    holds(source.trustDomains, source.notTrustDomains, (value) => isTrustDomain(value, identity, context)) &&
    holds(source.ipBlocks, source.notIpBlocks, (value) => isInBlock(request.sourceIp, value)) &&
    holds(source.remoteIpBlocks, source.notRemoteIpBlocks, (value) => isInBlock(request.remoteIp, value)) &&
    (isTcp || holds(source.requestPrincipals, source.notRequestPrincipals, (value) => isToken(value, token)))
  );
}

function isOperation(operation: Operation, request: PlainRequest, { place }: Context): boolean {
  const { hosts, notHosts, methods, notMethods, paths, notPaths, ports, notPorts } = operation;
  const host = request.host.toLowerCase();
  return (
    holds(ports, notPorts, (value) => Number(value) === request.port) &&
    (place === "tcp" ||
      (holds(hosts, notHosts, (value) => isHeader(value.toLowerCase(), host)) &&
        holds(methods, notMethods, (value) => isHeader(value, request.method)) &&
        holds(paths, notPaths, (value) => isPath(value, request.path))))
  );
}

function isCondition({ key, values, notValues }: Condition, request: PlainRequest, context: Context): boolean {
  if (context.place === "tcp" && isHttpKey(key)) return true;
  return holds(values, notValues, (value) => isAttribute(key, value, request, context));
}

type Attribute = (value: string, request: PlainRequest, context: Context) => boolean;
const attributes: Readonly<Record<string, Attribute>> = {
  "source.principal": (value, { identity }, context) => isPrincipal(value, identity, context),
  "source.namespace": (value, { identity }, context) => isNamespace(value, identity, context),
  "source.serviceAccount": (value, { identity }, context) => isAccount(value, identity, context),
  "source.trustDomain": (value, { identity }, context) => isTrustDomain(value, identity, context),
  "source.ip": (value, { sourceIp }) => isInBlock(sourceIp, value),
  "remote.ip": (value, { remoteIp }) => isInBlock(remoteIp, value),
  "destination.ip": (value, { destinationIp }) => isInBlock(destinationIp, value),
  "destination.port": (value, { port }) => Number(value) === port,
  "connection.sni": (value, { sni }) => isLike(value, sni.toLowerCase()),
  "request.auth.principal": (value, { token }) => isToken(value, token),
  "request.auth.audiences": (value, { claims }) => (claims["aud"] ?? []).some((one) => isLike(value, one)),
  "request.headers[:method]": (value, { method }) => isHeader(value, method),
};

function isAttribute(key: string, value: string, request: PlainRequest, context: Context): boolean {
  const known = attributes[key];
  if (known !== undefined) return known(value, request, context);
  const [, of, name = ""] = /^request\.(headers|auth\.claims)\[(.*)\]$/.exec(key) ?? [];
  if (of === "headers") return (request.headers[name.toLowerCase()] ?? []).some((one) => isHeader(value, one));
  if (of === "auth.claims") return (request.claims[name] ?? []).some((one) => isLike(value, one));
  throw new Error(`the interpreter does not know the condition ${key}`);
}

/** `*` is any text but the empty one. */
function isLike(value: string, text: string): boolean {
  if (value === "*") return text !== "";
  if (value.startsWith("*")) return text.endsWith(value.slice(1));
  return value.endsWith("*") ? text.startsWith(value.slice(0, -1)) : text === value;
}
/** A header is only asked to be there. */
const isHeader = (value: string, text: string): boolean => value === "*" || isLike(value, text);

function isPath(value: string, path: string): boolean {
  if (!value.includes("{*}") && !value.includes("{**}")) return isLike(value, path);
  const escaped = value
    .replaceAll("{**}", "\0")
    .replaceAll("{*}", "\u0001")
    .replaceAll(/[.?+^$|()[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("\0", ".*").replaceAll("\u0001", "[^/]+")}$`, "s").test(path);
}

function isPrincipal(value: string, identity: string | undefined, { place, settings }: Context): boolean {
  if (identity === undefined) return false;
  const [domain = "", ...rest] = value.split("/");
  const own = [settings.trustDomain, ...settings.trustDomainAliases];
  const isReplaced = place !== "ztunnel" && rest.length === 4 && (own.includes(domain) || domain === "cluster.local");
  const meant = isReplaced ? own.map((one) => [one, ...rest].join("/")) : [value];
  return meant.some((one) => isLike(one, identity));
}

const quoted = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

function isNamespace(value: string, identity: string | undefined, { place }: Context): boolean {
  if (identity === undefined) return false;
  if (place === "ztunnel") return isLike(value, identity.split("/")[2] ?? "");
  const expression = value.split("*").map(quoted).join(".*");
  return new RegExp(`^.*/ns/${expression}/.*$`, "s").test(`spiffe://${identity}`);
}

function isAccount(value: string, identity: string | undefined, { namespace }: Context): boolean {
  const [first = "", ...rest] = value.split("/");
  const [where, name] = rest.length === 0 ? [namespace, value] : [first, rest.join("/")];
  return (
    identity !== undefined &&
    new RegExp(`^spiffe://.+/ns/${quoted(where)}/(.+/|)sa/${quoted(name)}(/.+)?$`).test(`spiffe://${identity}`)
  );
}

function isTrustDomain(value: string, identity: string | undefined, { settings }: Context): boolean {
  if (identity === undefined) return false;
  const domain = identity.split("/")[0] ?? "";
  const own = [settings.trustDomain, ...settings.trustDomainAliases];
  if (own.includes(value)) return own.includes(domain);
  if (!value.includes("*")) return domain === value;
  const [before = "", ...after] = value.split("*");
  return new RegExp(`^${quoted(before)}[^/]*${quoted(after.join("*"))}$`).test(domain) || value === "*";
}

function isToken(value: string, token: PlainRequest["token"]): boolean {
  if (token === undefined) return false;
  const { issuer, subject } = token;
  if (value === "*") return issuer !== "" && subject !== "";
  const slash = value.lastIndexOf("/");
  if (slash < 0) return isTokenWithoutSlash(value, token);
  const [of, who] = [value.slice(0, slash), value.slice(slash + 1)];
  // Only one of the two may be a pattern; the end of the whole value is looked at second.
  return value.startsWith("*") ? isLike(of, issuer) && who === subject : of === issuer && isLike(who, subject);
}
function isTokenWithoutSlash(
  value: string,
  { issuer, subject }: { readonly issuer: string; readonly subject: string },
): boolean {
  if (value.startsWith("*")) return issuer !== "" && subject.endsWith(value.slice(1));
  if (value.endsWith("*")) return issuer.startsWith(value.slice(0, -1)) && subject !== "";
  return issuer === value && subject === "";
}

function isInBlock(address: string, block: string): boolean {
  const [base = "", bits] = block.split("/");
  if (base.includes(":") !== address.includes(":")) return false;
  const [a, b] = [bitsOf(address), bitsOf(base)];
  const length = bits === undefined ? a.length : Number(bits);
  return a.slice(0, length) === b.slice(0, length);
}

/** The address as a text of zeros and ones. */
function bitsOf(address: string): string {
  if (!address.includes(":"))
    return address
      .split(".")
      .map((part) => Number(part).toString(2).padStart(8, "0"))
      .join("");
  const [left = "", right] = address.split("::");
  const groups = (half: string) => (half === "" ? [] : half.split(":"));
  const [start, end] = [groups(left), groups(right ?? "")];
  const middle = right === undefined ? [] : Array.from({ length: 8 - start.length - end.length }, () => "0");
  return [...start, ...middle, ...end]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0"))
    .join("");
}
