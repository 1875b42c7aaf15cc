import type { ObjectOf } from "../../kube/object.ts";
import type { Pattern } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";

/** What a proxy does with tokens, as the RequestAuthentications together say that are attached to it. */
export interface TokenUse {
  /** False: no token is validated there, so that callers have none, whatever they send. */
  readonly isRead: boolean;
  /**
   * What the next proxy gets of the tokens that this one validated.
   * - `kept`: all of them.
   * - `removed`: none.
   * - `unknown`: some, or which ones is not known.
   */
  readonly passedOn: "kept" | "removed" | "unknown";
  /** Whether tokens are looked for elsewhere than in the usual places, which are the same for every proxy. */
  readonly hasOwnPlaces: boolean;
  /** Whose tokens it validates, sorted; undefined: that is not known, or tokens of others may be somewhere where it does not look. */
  readonly issuers: readonly string[] | undefined;
  /** The headers that the proxy removes from requests, and writes itself from valid tokens; in lower case, sorted. */
  readonly headers: readonly string[];
}

type RequestAuthentication = ObjectOf<"RequestAuthentication">;
type JwtRule = RequestAuthentication["spec"]["jwtRules"][number];

export const noTokens: TokenUse = {
  isRead: false,
  passedOn: "kept",
  hasOwnPlaces: false,
  issuers: undefined,
  headers: [],
};
export const unknownTokens: TokenUse = {
  isRead: true,
  passedOn: "unknown",
  hasOwnPlaces: true,
  issuers: undefined,
  headers: [],
};

/**
 * A proxy removes a token that it has validated, unless `forwardOriginalToken` says otherwise, and writes headers from its claims
 * (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig, Envoy's jwt_authn filter).
 */
export function tokenUseOf(attached: readonly RequestAuthentication[]): TokenUse {
  const rules = attached.flatMap(({ spec }) => spec.jwtRules);
  if (rules.length === 0) return noTokens;
  const hasOwnPlaces = rules.some(isElsewhere);
  const kept = rules.filter(({ forwardOriginalToken }) => forwardOriginalToken === true);
  const isOther = kept.length > 0 || hasOwnPlaces;
  const passedOn = kept.length === rules.length ? "kept" : isOther ? "unknown" : "removed";
  const issuers = hasOwnPlaces ? undefined : issuersOf(rules);
  return { isRead: true, passedOn, hasOwnPlaces, issuers, headers: [...new Set(rules.flatMap(headersOf))].sort() };
}

/** Envoy takes tokens of any issuer for a rule without one. */
function issuersOf(rules: readonly JwtRule[]): readonly string[] | undefined {
  const all = rules.map(({ issuer = "" }) => issuer);
  return all.includes("") ? undefined : [...new Set(all)].sort();
}

/**
 * Of the tokens that a question names, those that the proxy refuses, whatever its policies are, because no RequestAuthentication there
 * has their issuer: "Jwt issuer is not configured" (Envoy source/extensions/filters/http/jwt_authn/authenticator.cc). Undefined: none.
 */
export function refusedTokens(named: Texts | undefined, { issuers }: TokenUse): Texts | undefined {
  if (named === undefined || issuers === undefined) return undefined;
  const isRefused = (issuer: string | undefined): boolean => issuer !== undefined && !issuers.includes(issuer);
  const refused: (readonly (string | Pattern)[])[] = [...named.exact.values()].filter(([issuer]) => isRefused(issuer));
  refused.push(...named.patterns.filter(([issuer]) => isRefused(issuer?.literal)));
  return refused.length === 0 ? undefined : new Texts(refused);
}

const isElsewhere = ({ fromHeaders, fromParams, fromCookies }: JwtRule): boolean =>
  fromHeaders.length + fromParams.length + fromCookies.length > 0;

const headersOf = ({ outputPayloadToHeader, outputClaimToHeaders }: JwtRule): readonly string[] =>
  [outputPayloadToHeader, ...outputClaimToHeaders.map(({ header }) => header)]
    .filter((name): name is string => name !== undefined && name !== "")
    .map((name) => name.toLowerCase());
