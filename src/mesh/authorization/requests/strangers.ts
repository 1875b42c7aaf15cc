import { portsOfProbes } from "../../membership/interception.ts";
import { Addresses, findAddress, isIPv6 } from "./addresses.ts";
import type { Clause, Request } from "./boxes.ts";
import { isMet } from "./difference.ts";
import { Lists } from "./lists.ts";
import type { Clauses, Match, Place } from "./matches.ts";
import { anything } from "./patterns.ts";
import { methodsOf, pathsOf } from "./proxy-matches.ts";
import { unheardOf } from "./ordinary.ts";
import { Texts } from "./texts.ts";
import { absent, type Value } from "./values.ts";

/**
 * What callers may do about whom nothing is known, such as a probe: requests with one of these methods, or for one of these
 * paths, which are patterns as in an AuthorizationPolicy.
 */
export interface Harmless {
  readonly methods: readonly string[];
  readonly paths: readonly string[];
}

/** Probes and scrapers usually have no identity, and preflight requests never have credentials. */
export const usuallyHarmless: Harmless = {
  methods: ["OPTIONS"],
  paths: [
    ...["/health", "/healthz", "/livez", "/live", "/readyz", "/ready", "/metrics"],
    ...["/health/live", "/health/ready"],
    ...["/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness"],
    ...["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"],
  ],
};

/** Not to a port of the sidecar or its agent, where no policy counts. */
export const pastSidecar: Clause = {
  attribute: "port",
  values: new Texts([...portsOfProbes].map((port) => [String(port)])),
  not: true,
};

/** The identity of an unnamed caller; undefined: it has none. */
export type StrangerIdentity = readonly [trustDomain: string, namespace: string, serviceAccount: string] | undefined;

/**
 * The identities of workloads of the mesh that no policy names: those whose names occur in no policy, and in such a namespace
 * those with the service account that Kubernetes gives to pods that name none, so that `*\/sa/default` names nobody.
 */
export function unheardOfIn(trustDomain: string): readonly StrangerIdentity[] {
  let found = unheardOfBy.get(trustDomain);
  if (found === undefined)
    unheardOfBy.set(
      trustDomain,
      (found = [
        [trustDomain, unheardOf, unheardOf],
        [trustDomain, unheardOf, "default"],
      ]),
    );
  return found;
}
const unheardOfBy = new Map<string, readonly StrangerIdentity[]>();

/** The condition that a caller has this identity. The same object for the same identity, so that it is recognized. */
export function hasIdentity(identity: StrangerIdentity): Clause {
  if (identity === undefined) return hasNoIdentity;
  let found = identityClauses.get(identity);
  if (found === undefined)
    identityClauses.set(identity, (found = { attribute: "identity", values: new Texts([identity]), not: false }));
  return found;
}
const identityClauses = new WeakMap<readonly string[], Clause>();
const hasNoIdentity: Clause = { attribute: "identity", values: absent, not: false };

/**
 * Conditions for an *unnamed caller* with a request that is not harmless, whatever its identity is. A caller is unnamed if no positive value
 * of a policy names it: it has no token, no identity or one whose names occur in no policy, and its address is in no block that is so small that it names
 * somebody. Negative values name nobody, because everybody else meets them. Neither do conditions about the request itself
 * (methods, paths, hosts, ports, headers, SNI), because every caller decides about them.
 */
export function unnamed(rules: readonly Match[], place: Place, harmless: Harmless): Clauses {
  const named = clausesOf(rules);
  return [
    { attribute: "token", values: absent, not: false },
    ...claimsIn(named).map((attribute) => ({ attribute, values: anyElement, not: true })),
    ...addressAttributes.flatMap((attribute) => outsideOf(attribute, namingBlocks(named, attribute))),
    ...(place === "http" ? harmlessLeftOut(harmless) : []),
  ];
}

/** Rules of one review have the same lists. */
function harmlessLeftOut({ methods, paths }: Harmless): Clauses {
  if (lastHarmless?.methods !== methods || lastHarmless.paths !== paths) {
    const clauses = [...outsideOf("method", methodsOf(methods)), ...outsideOf("path", pathsOf(paths))];
    lastHarmless = { methods, paths, clauses };
  }
  return lastHarmless.clauses;
}
let lastHarmless: (Harmless & { readonly clauses: Clauses }) | undefined;

/** Whoever has no token has no claims. */
const anyElement = new Lists([anything]);
const claimsIn = (named: Clauses): readonly Clause["attribute"][] => [
  ...new Set(named.map(({ attribute }) => attribute).filter((attribute) => attribute.startsWith("claim "))),
];
/** The conditions of rules about their callers, and others that are no operations. */
const clausesOf = (rules: readonly Match[]): Clauses =>
  rules.flatMap(({ sources, conditions }) => [...sources.flat(), ...conditions]);

const addressAttributes = ["source.ip", "remote.ip"] as const;
type AddressAttribute = (typeof addressAttributes)[number];
const callerAttributes: ReadonlySet<string> = new Set(["identity", "token", ...addressAttributes]);
const isOfCaller = ({ attribute }: Clause): boolean =>
  callerAttributes.has(attribute) || attribute.startsWith("claim ");

const outsideOf = (attribute: Clause["attribute"], values: Clause["values"] | undefined): Clauses =>
  values === undefined || values.size === 0 ? [] : [{ attribute, values, not: true }];

/** A block of more addresses names nobody: a quarter of a percent of all addresses of its family. */
const atMostNaming = { ipv4: 1n << 24n, ipv6: 1n << 112n };
/** Blocks that together have more addresses than this name nobody, however small each of them is. */
const atMostTogether = { ipv4: 1n << 26n, ipv6: 1n << 122n };

/** The blocks in positive values that name their callers. */
function namingBlocks(named: Clauses, attribute: AddressAttribute): Addresses | undefined {
  const blocks = blocksIn(named, attribute, false);
  if (blocks.length === 0) return undefined;
  const all = new Addresses(blocks.flatMap(({ ranges }) => ranges));
  const naming = all.ranges.filter(({ first, last }) => last - first < limitsOf(first, atMostNaming));
  const sums = { ipv4: 0n, ipv6: 0n };
  for (const { first, last } of naming) sums[isIPv6(first) ? "ipv6" : "ipv4"] += last - first + 1n;
  const few = naming.filter(({ first }) => limitsOf(first, sums) <= limitsOf(first, atMostTogether));
  return few.length === 0 ? undefined : new Addresses(few);
}
const limitsOf = (address: bigint, { ipv4, ipv6 }: typeof atMostNaming): bigint => (isIPv6(address) ? ipv6 : ipv4);

const blocksIn = (named: Clauses, attribute: AddressAttribute, not: boolean): readonly Addresses[] =>
  named.flatMap((clause) =>
    clause.attribute === attribute && clause.not === not && clause.values instanceof Addresses ? clause.values : [],
  );

/** A caller without a token and with any identity. */
export interface Stranger {
  readonly source: Value;
  readonly original: Value;
}

/**
 * Unnamed callers, one for each family of addresses: an address that these rules neither name nor leave out. Where no rule asks
 * for addresses, one of them stands for all.
 */
export function strangersTo(rules: readonly Match[]): readonly Stranger[] {
  const named = clausesOf(rules).filter(isOfAddress);
  const [direct = [], remote = []] = addressAttributes.map((attribute) => unnamedAddresses(named, attribute));
  const all = families.flatMap((_, i): readonly Stranger[] => {
    const [source, original] = [direct[i], remote[i]];
    return source === undefined || original === undefined ? [] : [{ source, original }];
  });
  return named.length === 0 ? all.slice(0, 1) : all;
}

const isOfAddress = ({ attribute }: Clause): boolean => attribute === "source.ip" || attribute === "remote.ip";

/** One for each family, if there is one. */
function unnamedAddresses(named: Clauses, attribute: AddressAttribute): readonly Value[] {
  const naming = namingBlocks(named, attribute);
  const blocks = [...(naming === undefined ? [] : [naming]), ...blocksIn(named, attribute, true)];
  return blocks.length === 0 ? anyAddresses : unnamedIn(blocks);
}
const unnamedIn = (named: readonly Addresses[]): readonly Value[] =>
  families.map((family) => findAddress([family], named)?.value);
const families: readonly Addresses[] = ["0.0.0.0/0", "::/0"].map((block) => Addresses.of(block));
const anyAddresses = unnamedIn([]);

/** The caller with this identity. */
export const requestOf = ({ source, original }: Stranger, identity: StrangerIdentity): Request =>
  new Map([
    ["identity", identity],
    ["token", undefined],
    ["source.ip", source],
    ["remote.ip", original],
  ] as const);

/** What is left of a rule for one caller: conditions about the request itself; undefined: it does not match the caller. */
export function forCaller({ sources, operations, conditions }: Match, caller: Request): Match | undefined {
  const isMetBy = (clauses: Clauses): boolean => isMet(clauses.filter(isOfCaller), caller);
  if (!isMetBy(conditions)) return undefined;
  const met = sources.filter(isMetBy);
  if (met.length === 0) return undefined;
  const rest = (clauses: Clauses): Clauses => clauses.filter((clause) => !isOfCaller(clause));
  return { sources: met.map(rest), operations, conditions: rest(conditions) };
}
