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
import { absent } from "./values.ts";

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

const portsOfSidecar = new Texts([...portsOfProbes].map((port) => [String(port)]));

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

/**
 * Conditions for an *unnamed caller* with a request that is not harmless. A caller is unnamed if no positive value of a
 * policy names it: it has no token, no identity or one whose names occur in no policy, and its address is in no block that is so small that it names
 * somebody. Negative values name nobody, because everybody else meets them. Neither do conditions about the request itself
 * (methods, paths, hosts, ports, headers, SNI), because every caller decides about them.
 */
export function unnamed(
  rules: readonly Match[],
  place: Place,
  { harmless, identity }: { readonly harmless: Harmless; readonly identity: StrangerIdentity },
): Clauses {
  return [
    { attribute: "identity", values: identity === undefined ? absent : new Texts([identity]), not: false },
    { attribute: "token", values: absent, not: false },
    ...claimsIn(rules).map((attribute) => ({ attribute, values: anyElement, not: true })),
    ...addressAttributes.flatMap((attribute) => outsideOf(attribute, namingBlocks(rules, attribute))),
    ...(place !== "ztunnel" && rules.some(namesPorts) ? outsideOf("port", portsOfSidecar) : []),
    ...(place === "http"
      ? [...outsideOf("method", methodsOf(harmless.methods)), ...outsideOf("path", pathsOf(harmless.paths))]
      : []),
  ];
}

const namesPorts = ({ operations, conditions }: Match): boolean =>
  [...operations.flat(), ...conditions].some(({ attribute, not }) => attribute === "port" && !not);

/** Whoever has no token has no claims. */
const anyElement = new Lists([anything]);
const claimsIn = (rules: readonly Match[]): readonly Clause["attribute"][] => [
  ...new Set(clausesOf(rules).flatMap(({ attribute }) => (attribute.startsWith("claim ") ? attribute : []))),
];
const clausesOf = (rules: readonly Match[]): Clauses =>
  rules.flatMap(({ sources, conditions }) => [...sources.flat(), ...conditions]);

const addressAttributes = ["source.ip", "remote.ip"] as const;
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
function namingBlocks(rules: readonly Match[], attribute: "source.ip" | "remote.ip"): Addresses | undefined {
  const all = new Addresses(blocksIn(rules, attribute, false).flatMap(({ ranges }) => ranges));
  const naming = all.ranges.filter(({ first, last }) => last - first < limitsOf(first, atMostNaming));
  const sums = { ipv4: 0n, ipv6: 0n };
  for (const { first, last } of naming) sums[isIPv6(first) ? "ipv6" : "ipv4"] += last - first + 1n;
  const few = naming.filter(({ first }) => limitsOf(first, sums) <= limitsOf(first, atMostTogether));
  return few.length === 0 ? undefined : new Addresses(few);
}
const limitsOf = (address: bigint, { ipv4, ipv6 }: typeof atMostNaming): bigint => (isIPv6(address) ? ipv6 : ipv4);

function blocksIn(rules: readonly Match[], attribute: string, not: boolean): readonly Addresses[] {
  return clausesOf(rules)
    .filter((clause) => clause.attribute === attribute && clause.not === not)
    .flatMap(({ values }) => (values instanceof Addresses ? values : []));
}

/** Unnamed callers, one for each family of addresses: an address that these rules neither name nor leave out. */
export function strangersTo(rules: readonly Match[], identity: StrangerIdentity): readonly Request[] {
  const [direct, remote] = addressAttributes.map((attribute) => {
    const naming = namingBlocks(rules, attribute);
    const named = [...(naming === undefined ? [] : [naming]), ...blocksIn(rules, attribute, true)];
    return families.map((family) => findAddress([family], named)?.value);
  });
  return families.flatMap((_, i) => {
    const [source, original] = [direct?.[i], remote?.[i]];
    if (source === undefined || original === undefined) return [];
    return [
      new Map([
        ["identity", identity],
        ["token", undefined],
        ["source.ip", source],
        ["remote.ip", original],
      ] as const),
    ];
  });
}
const families: readonly Addresses[] = ["0.0.0.0/0", "::/0"].map((block) => Addresses.of(block));

/** What is left of a rule for one caller: conditions about the request itself; undefined: it does not match the caller. */
export function forCaller({ sources, operations, conditions }: Match, caller: Request): Match | undefined {
  if (!isMet(conditions.filter(isOfCaller), caller)) return undefined;
  const met = sources.filter((clauses) => isMet(clauses.filter(isOfCaller), caller));
  if (met.length === 0) return undefined;
  const rest = (clauses: Clauses): Clauses => clauses.filter((clause) => !isOfCaller(clause));
  return { sources: met.map(rest), operations, conditions: rest(conditions) };
}
