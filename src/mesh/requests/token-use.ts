import type { ObjectOf } from "../../kube/object.ts";

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
  /** The headers that the proxy removes from requests, and writes itself from valid tokens; in lower case, sorted. */
  readonly headers: readonly string[];
}

type RequestAuthentication = ObjectOf<"RequestAuthentication">;
type JwtRule = RequestAuthentication["spec"]["jwtRules"][number];

export const noTokens: TokenUse = { isRead: false, passedOn: "kept", hasOwnPlaces: false, headers: [] };
export const unknownTokens: TokenUse = { isRead: true, passedOn: "unknown", hasOwnPlaces: true, headers: [] };

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
  return { isRead: true, passedOn, hasOwnPlaces, headers: [...new Set(rules.flatMap(headersOf))].sort() };
}

const isElsewhere = ({ fromHeaders, fromParams, fromCookies }: JwtRule): boolean =>
  fromHeaders.length + fromParams.length + fromCookies.length > 0;

const headersOf = ({ outputPayloadToHeader, outputClaimToHeaders }: JwtRule): readonly string[] =>
  [outputPayloadToHeader, ...outputClaimToHeaders.map(({ header }) => header)]
    .filter((name): name is string => name !== undefined && name !== "")
    .map((name) => name.toLowerCase());
