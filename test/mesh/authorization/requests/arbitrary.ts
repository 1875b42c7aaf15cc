import fc from "fast-check";
import { type ObjectOf, readObject } from "../../../../src/kube/object.ts";
import { blockOf, formatAddress } from "../../../../src/mesh/authorization/requests/addresses.ts";
import type { Request } from "../../../../src/mesh/authorization/requests/boxes.ts";
import type { Attribute } from "../../../../src/mesh/authorization/requests/attributes.ts";
import type { Value } from "../../../../src/mesh/authorization/requests/values.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../../src/view/settings.ts";
import type { PlainRequest } from "./interpreter.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

// Few values that overlap in many ways, so that random policies and requests meet.

const parts = ["a", "b", "ab", "ba", "sa", "ns", "web", "a-b.c"];
const domains = ["cluster.local", "td", "other.org"];
const some = <T>(values: readonly T[], most = 2) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: most }) },
  );

const principals = [
  "*",
  "cluster.local/ns/a/sa/b",
  "td/ns/a/sa/ab",
  "other.org/ns/a/sa/b",
  "cluster.local/ns/a/*",
  "td/ns/a*",
  "c*",
  "t*",
  "*b",
  "*/sa/b",
  "*a/sa/b",
  "*/ns/a/sa/b",
  "nothing",
];
const namespaces = ["a", "b", "web", "*", "a*", "*a", "*sa", "*b", "a*b", "*/sa", "sa", "*s*", "ns", "a-b.c*", "a-*c"];
const serviceAccounts = ["b", "a/b", "ab/sa", "web/web"];
const trustDomains = ["*", "td", "cluster.local", "other.org", "*.org", "t*"];
const addresses = ["10.0.0.1", "10.1.2.3", "172.16.0.9", "203.0.113.7", "fd00::1", "2001:db8::7"];
const blocks = ["10.0.0.0/8", "10.0.0.1", "10.0.0.1/32", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "fd00::/8"];
const hosts = ["a.example", "b.example", "A.example:80"];
const hostPatterns = ["a.example", "A.EXAMPLE", "*.example", "a*", "*", "*:80"];
const methods = ["GET", "POST", "PURGE"];
const methodPatterns = ["GET", "POST", "G*", "*T", "*", "PURGE", "DELETE"];
const paths = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/b", "/admin/x", "/a-b.c/x"];
const pathPatterns = [
  "/a",
  "/a*",
  "/a/*",
  "*b",
  "*",
  "/{*}",
  "/{**}",
  "/a/{*}",
  "/a/{**}",
  "/{*}/b",
  "/",
  "/*/b",
  "/admin*",
];
const issuers = ["i", "https://i/x"];
const requestPrincipals = ["*", "i/s", "https://i/x/s", "i/*", "*/s", "*s", "https://i/x*", "i*", "i", "*x/s"];
const elements = ["x", "xy", "y", ""];
const elementPatterns = ["x", "x*", "*y", "*", "y"];

export const plainRequests: fc.Arbitrary<PlainRequest> = fc.record({
  identity: fc.option(
    fc
      .tuple(fc.constantFrom(...domains), fc.constantFrom(...parts), fc.constantFrom(...parts))
      .map(([domain, namespace, account]) => `${domain}/ns/${namespace}/sa/${account}`),
    { nil: undefined, freq: 3 },
  ),
  sourceIp: fc.constantFrom(...addresses),
  remoteIp: fc.constantFrom(...addresses),
  destinationIp: fc.constantFrom(...addresses),
  port: fc.constantFrom(80, 8080, 9090),
  host: fc.constantFrom(...hosts),
  method: fc.constantFrom(...methods),
  path: fc.constantFrom(...paths),
  sni: fc.constantFrom("", "a.example", "b.example", "A.example"),
  headers: fc.record({ "x-a": fc.uniqueArray(fc.constantFrom(...elements), { maxLength: 2 }) }),
  token: fc.option(fc.record({ issuer: fc.constantFrom(...issuers), subject: fc.constantFrom("s", "ss", "t") }), {
    nil: undefined,
  }),
  claims: fc.record({ groups: fc.uniqueArray(fc.constantFrom(...elements), { maxLength: 2 }) }),
});

const source = fc
  .record({
    principals: some(principals),
    notPrincipals: some(principals),
    namespaces: some(namespaces),
    notNamespaces: some(namespaces),
    serviceAccounts: some(serviceAccounts),
    notServiceAccounts: some(serviceAccounts),
    trustDomains: some(trustDomains, 1),
    notTrustDomains: some(trustDomains, 1),
    ipBlocks: some(blocks),
    notIpBlocks: some(blocks),
    remoteIpBlocks: some(blocks),
    notRemoteIpBlocks: some(blocks),
    requestPrincipals: some(requestPrincipals),
    notRequestPrincipals: some(requestPrincipals),
  })
  .map((one) => ({ source: sparse(one) }));

const operation = fc
  .record({
    hosts: some(hostPatterns),
    notHosts: some(hostPatterns),
    methods: some(methodPatterns),
    notMethods: some(methodPatterns),
    paths: some(pathPatterns),
    notPaths: some(pathPatterns),
    ports: some(["80", "8080"]),
    notPorts: some(["80", "8080"]),
  })
  .map((one) => ({ operation: sparse(one) }));

const conditions: readonly (readonly [string, readonly string[]])[] = [
  ["source.principal", principals],
  ["source.namespace", namespaces],
  ["source.serviceAccount", serviceAccounts],
  ["source.trustDomain", trustDomains],
  ["source.ip", blocks],
  ["remote.ip", blocks],
  ["destination.ip", blocks],
  ["destination.port", ["80", "9090"]],
  ["connection.sni", ["a.example", "*.example", "*", "A.example", "*.Example"]],
  ["request.auth.principal", requestPrincipals],
  ["request.headers[X-A]", elementPatterns],
  ["request.headers[:method]", methodPatterns],
  ["request.auth.claims[groups]", elementPatterns],
];
const condition = fc
  .constantFrom(...conditions)
  .chain(([key, values]) => fc.record({ key: fc.constant(key), values: some(values), notValues: some(values) }));

/** Without the fields that say nothing, because most are. */
const sparse = (one: Readonly<Record<string, readonly string[]>>) =>
  Object.fromEntries(Object.entries(one).filter(([, values]) => values.length > 0));

export const rawRules = fc.record({
  from: fc.array(source, { maxLength: 2 }),
  to: fc.array(operation, { maxLength: 2 }),
  when: fc.array(condition, { maxLength: 2 }),
});

export const policies: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({
    action: fc.constantFrom("ALLOW", "DENY"),
    rules: fc.array(rawRules, { maxLength: 3 }),
    name: fc.constantFrom("p", "q", "r"),
  })
  .map(({ name, ...spec }) => readObject("AuthorizationPolicy", { metadata: { namespace: "a", name }, spec }));

export const settings: fc.Arbitrary<AllMeshSettings> = fc.constantFrom(
  defaultMeshSettings,
  { ...defaultMeshSettings, trustDomain: "td" },
  { ...defaultMeshSettings, trustDomain: "td", trustDomainAliases: ["other.org"] },
);

export function requestOf(plain: PlainRequest): Request {
  const address = (text: string): Value => blockOf(text)?.first;
  const [domain = "", , namespace = "", , account = ""] = plain.identity?.split("/") ?? [];
  const values: readonly (readonly [Attribute, Value])[] = [
    ["identity", plain.identity === undefined ? undefined : [domain, namespace, account]],
    ["token", plain.token === undefined ? undefined : [plain.token.issuer, plain.token.subject]],
    ["source.ip", address(plain.sourceIp)],
    ["remote.ip", address(plain.remoteIp)],
    ["destination.ip", address(plain.destinationIp)],
    ["port", [String(plain.port)]],
    ["host", [plain.host.toLowerCase()]],
    ["method", [plain.method]],
    ["path", [plain.path]],
    ["sni", [plain.sni.toLowerCase()]],
    ...Object.entries(plain.headers).map(([name, list]) => [`header ${name}`, list] as const),
    ...Object.entries(plain.claims).map(([name, list]) => [`claim ${name}`, list] as const),
  ];
  return new Map(values);
}

/** A whole request, with the values of an example where it has any. */
export function plainOf(example: Request, rest: PlainRequest): PlainRequest {
  const texts = (attribute: Attribute): readonly string[] | undefined => {
    const value = example.get(attribute);
    return typeof value === "object" ? value : undefined;
  };
  const text = (attribute: Attribute, otherwise: string): string => texts(attribute)?.[0] ?? otherwise;
  const address = (attribute: Attribute, otherwise: string): string => {
    const value = example.get(attribute);
    return typeof value === "bigint" ? formatAddress(value) : otherwise;
  };
  const lists = (kind: string, otherwise: Readonly<Record<string, readonly string[]>>) => ({
    ...otherwise,
    ...Object.fromEntries(
      [...example].flatMap(([attribute, value]) =>
        attribute.startsWith(`${kind} `) && typeof value === "object"
          ? [[attribute.slice(kind.length + 1), value]]
          : [],
      ),
    ),
  });
  const [domain, namespace, account] = texts("identity") ?? [];
  const [issuer = "", subject = ""] = texts("token") ?? [];
  return {
    identity: !example.has("identity")
      ? rest.identity
      : domain === undefined
        ? undefined
        : `${domain}/ns/${namespace}/sa/${account}`,
    token: !example.has("token") ? rest.token : texts("token") === undefined ? undefined : { issuer, subject },
    sourceIp: address("source.ip", rest.sourceIp),
    remoteIp: address("remote.ip", rest.remoteIp),
    destinationIp: address("destination.ip", rest.destinationIp),
    port: Number(text("port", String(rest.port))),
    host: text("host", rest.host),
    method: text("method", rest.method),
    path: text("path", rest.path),
    sni: text("sni", rest.sni),
    headers: lists("header", rest.headers),
    claims: lists("claim", rest.claims),
  };
}
