import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { mayHaveKeys } from "../../mesh/authorization/token-checks.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const requestAuthenticationKeysOverHttp = defineRule({
  id: "request-authentication-keys-over-http",
  subject: "RequestAuthentication",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "The keys that verify tokens are fetched over plain HTTP from a host outside the cluster, or cannot be fetched at all.",
  why: "The control plane fetches `jwksUri` itself and gives the keys to the proxies; without it, it asks the issuer at `/.well-known/openid-configuration` for the place of the keys (Istio pilot/pkg/model/jwks_resolver.go GetPublicKey, resolveJwksURIUsingOpenID, getRemoteContentWithRetry). Whoever is on the way of a request over plain HTTP can answer with keys of their own, and then sign tokens that every policy accepts. An issuer that is no URL, such as `issuer@example.com`, cannot be asked: the proxies get a key that nobody has signed with, and refuse all tokens of the issuer (BuildLocalJwks).",
  fix: "Use `https` in `jwksUri`, or put the keys into `jwks`.",
  incident: {
    symptoms: ["open-access", "access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Tokens that the issuer did not sign are accepted. Without any keys, all tokens of the issuer get 401.",
    wayOut:
      "Put the keys of the issuer into `jwks`, and remove `jwksUri`. If the change took `jwksUri` or `jwks` away, apply the previous version.",
    silentWhen:
      "The place of the keys that an issuer names over HTTPS is not known. The host is in the cluster: a name without a dot, or one that ends with `.svc`, `.local`, `.internal` or the domain of the cluster, or a private address.",
    page: "https://istio.io/latest/docs/reference/config/security/jwt/",
  },

  *check(authentication, { settings }) {
    if (!isServed(authentication, settings)) return;
    for (const [i, rule] of authentication.spec.jwtRules.entries()) {
      if (rule.issuer && !mayHaveKeys(rule)) yield withoutKeys(i, rule.issuer);
      yield* overHttp(i, rule, settings.domain);
    }
  },
});

type JwtRule = ObjectOf<"RequestAuthentication">["spec"]["jwtRules"][number];

function* overHttp(i: number, { issuer, jwksUri, jwks }: JwtRule, domain: string): Iterable<Problem> {
  const url = jwksUri || issuer;
  // Keys that stand in the object are used instead.
  if (!url || jwks || !isFromOutside(url, domain)) return;
  const shown = JSON.stringify(url);
  yield {
    at: ["spec", "jwtRules", i, jwksUri ? "jwksUri" : "issuer"],
    message: jwksUri
      ? `The keys come from ${shown} over plain HTTP, so whoever is on the way can replace them`
      : `The issuer ${shown} is asked over plain HTTP where its keys are, so whoever is on the way can replace them`,
  };
}

const withoutKeys = (i: number, issuer: string): Problem => ({
  at: ["spec", "jwtRules", i, "issuer"],
  message: `Every token of issuer ${JSON.stringify(issuer)} is refused: it is no URL where its keys could be found, and neither jwksUri nor jwks is set`,
  fix: "Set `jwksUri` to the place of the keys of the issuer, or put them into `jwks`.",
});

/** Whether a URL of plain HTTP has a host that is certainly not in the cluster. Values that are no URLs are refused by istiod. */
function isFromOutside(text: string, domain: string): boolean {
  const url = URL.parse(text);
  if (url?.protocol !== "http:") return false;
  const host = url.hostname.replace(/\.$/, "").toLowerCase();
  return (
    host.includes(".") &&
    !isPrivate.test(host) &&
    !inside.some((end) => host.endsWith(end)) &&
    !host.endsWith(`.${domain}`)
  );
}

const inside = [".svc", ".local", ".internal", ".localhost"];
/** Loopback, link-local and the private networks of RFC 1918 and RFC 6598. */
const isPrivate =
  /^(?:127\.|10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)[\d.]+$/;
