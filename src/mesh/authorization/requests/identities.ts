import type { MeshSettings } from "../../../view/settings.ts";
import { anything, endingWith, globOf, Pattern, patternOf, startingWith, withinSegment } from "./patterns.ts";
import { type Part, partOf } from "./texts.ts";

/** Patterns for trust domain, namespace and service account of an identity `<trust domain>/ns/<...>/sa/<...>`. */
export type IdentityPattern = readonly [trustDomain: Part, namespace: Part, serviceAccount: Part];

const anyIdentity: IdentityPattern = [anything, anything, anything];

/** The identities whose whole text a pattern of a policy matches: exact, `x*`, `*x` or `*`. */
export function identitiesOfPrincipal(value: string): readonly IdentityPattern[] {
  if (value === "*") return [anyIdentity];
  if (value.startsWith("*")) return withSuffix(value.slice(1).split("/"));
  return value.endsWith("*") ? withPrefix(value.slice(0, -1).split("/")) : withParts(value.split("/"));
}

function withPrefix(parts: readonly string[]): readonly IdentityPattern[] {
  const last = parts.length - 1;
  return withParts(
    Array.from({ length: 5 }, (_, i) =>
      i < last ? (parts[i] ?? "") : i === last ? startingWith(parts[i] ?? "") : anything,
    ),
    parts.length,
  );
}

function withSuffix(parts: readonly string[]): readonly IdentityPattern[] {
  const first = 5 - parts.length;
  return withParts(
    Array.from({ length: 5 }, (_, i) =>
      i > first ? (parts[i - first] ?? "") : i === first ? endingWith(parts[0] ?? "") : anything,
    ),
    parts.length,
  );
}

/** One pattern for each of the five texts between slashes; `ns` and `sa` have to match theirs. */
function withParts(parts: readonly Part[], count = parts.length): readonly IdentityPattern[] {
  const [trustDomain, ns, namespace, sa, serviceAccount] = parts;
  if (count > 5 || !isMet(ns, "ns") || !isMet(sa, "sa")) return [];
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) return [];
  return [[trustDomain, namespace, serviceAccount]];
}

const isMet = (part: Part | undefined, text: string): boolean =>
  typeof part === "object" ? part.matches(text) : part === text;

/**
 * A proxy compares principals with all trust domains of the mesh: a value of five parts whose trust domain is one of them,
 * or `cluster.local`, stands for all of them (Istio pilot/pkg/security/trustdomain/bundle.go ReplaceTrustDomainAliases).
 */
export function withTrustDomains(value: string, settings: MeshSettings): readonly string[] {
  if (settings.trustDomainAliases.length === 0 && value.startsWith(`${settings.trustDomain}/`)) return [value];
  const [domain = "", ...rest] = value.split("/");
  if (rest.length !== 4 || domain === "*") return [value];
  const own = trustDomainsOf(settings);
  const isOwn = domain === "cluster.local" || own.some((one) => isSame(one, domain));
  if (!isOwn) return [value];
  return own.map((one) => (isSuffix(domain, one) ? value : [one, ...rest].join("/")));
}

/** stringMatch and suffixMatch of the same package: exact, `x*`, `*x` or `*`. */
const isSame = (one: string, pattern: string): boolean =>
  one === pattern ||
  pattern === "*" ||
  isSuffix(pattern, one) ||
  (pattern.endsWith("*") && one.startsWith(pattern.slice(0, -1)));
const isSuffix = (pattern: string, one: string): boolean => pattern.startsWith("*") && one.endsWith(pattern.slice(1));

export const trustDomainsOf = ({ trustDomain, trustDomainAliases }: MeshSettings): readonly string[] => [
  trustDomain,
  ...trustDomainAliases,
];

/**
 * A proxy compares `namespaces` with the whole identity, as the expression `.*\/ns/V/.*`, in which each star also stands for
 * slashes (generator.go srcNamespaceGenerator). So V is compared with the namespace, with `<namespace>/sa`, and in a
 * namespace called `ns` also with `sa`.
 */
export function identitiesOfNamespaceAtProxy(value: string): readonly IdentityPattern[] {
  if (!value.includes("*") && value !== "sa" && !value.includes("/")) return [[anything, value, anything]];
  const glob = globOf(value);
  const all = [glob, ...withoutEnd(glob.tokens, "/sa").map((tokens) => new Pattern(tokens))];
  const unique = new Map(all.map((pattern) => [JSON.stringify(pattern.tokens), partOf(pattern)]));
  const namespaces: readonly Part[] = [...unique.values(), ...(glob.matches("sa") ? ["ns"] : [])];
  return namespaces.flatMap((namespace) => possible([anything, namespace, anything]));
}

/** No text of an identity contains a slash. */
const possible = (identity: IdentityPattern): readonly IdentityPattern[] =>
  identity.some((part) => (typeof part === "string" ? part.includes("/") : part.literals.some(hasSlash)))
    ? []
    : [identity];
const hasSlash = (text: string): boolean => text.includes("/");

/** The patterns of the texts that, with this end, match a pattern of literal text and stars. */
function withoutEnd(tokens: Pattern["tokens"], end: string): readonly Pattern["tokens"][] {
  if (end === "") return [tokens];
  const [last, before] = [tokens.at(-1), tokens.slice(0, -1)];
  if (last === undefined) return [];
  if (typeof last !== "string")
    return [tokens, ...Array.from({ length: end.length }, (_, i) => withoutEnd(before, end.slice(0, i + 1))).flat()];
  if (last.endsWith(end)) return [[...before, last.slice(0, -end.length)]];
  return end.endsWith(last) ? withoutEnd(before, end.slice(0, -last.length)) : [];
}

/** ztunnel compares the namespace alone: exact, `x*`, `*x` or `*`. */
export const identitiesOfNamespaceAtZtunnel = (value: string): readonly IdentityPattern[] =>
  possible([anything, partOf(patternOf(value)), anything]);

/** `<namespace>/<service account>`, or the name alone in the namespace of the policy (generator.go serviceAccountRegex). */
export function identitiesOfServiceAccount(value: string, policyNamespace: string): readonly IdentityPattern[] {
  const slash = value.indexOf("/");
  const namespace = slash < 0 ? policyNamespace : value.slice(0, slash);
  return possible([anything, namespace, value.slice(slash + 1)]);
}

/**
 * A trust domain of the mesh stands for all of them; the first star of another value is any text without a slash
 * (generator.go srcTrustDomainGenerator, bundle.go ExpandTrustDomainAliases).
 */
export function identitiesOfTrustDomain(value: string, settings: MeshSettings): readonly IdentityPattern[] {
  if (value === "*") return [anyIdentity];
  const own = trustDomainsOf(settings);
  if (own.includes(value)) return own.map((domain) => [domain, anything, anything]);
  const star = value.indexOf("*");
  if (star < 0) return [[value, anything, anything]];
  const domain = new Pattern([value.slice(0, star), withinSegment, value.slice(star + 1)]);
  return [[domain, anything, anything]];
}
