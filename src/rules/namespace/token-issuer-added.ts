import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  type AddedEffect,
  addedEffects,
  namespacesInForce,
  proxiesOfNamespace,
  policyScope,
  type ProxyScope,
} from "../../mesh/authorization/proxy-attachments.ts";
import { type AuthorizationPolicy, isEnforced } from "../../mesh/authorization/policies.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, forWording, index, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;

/** A namespace and its own RequestAuthentications that accept tokens. */
const acceptingTokensInNamespace = relation(
  "acceptingTokensInNamespace",
  namespaceByName,
  index("RequestAuthentication", (authentication, settings) =>
    isServed(authentication, settings) && authentication.spec.jwtRules.length > 0
      ? [authentication.metadata.namespace]
      : [],
  ),
);
/** A namespace's own RequestAuthentications that accept tokens. */
const acceptingTokensIn = fact(
  "acceptingTokensIn",
  "Namespace",
  [acceptingTokensInNamespace],
  (namespace, mesh): readonly RequestAuthentication[] => mesh.related(acceptingTokensInNamespace, namespace),
);

/** A namespace and its own enforced AuthorizationPolicies that decide by tokens. */
const decidingByTokenInNamespace = relation(
  "decidingByTokenInNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    isEnforced(policy, settings) && tokensIn(policy).length > 0 ? [policy.metadata.namespace] : [],
  ),
);

/** The request principals that policies of a namespace itself name; `*` also stands for conditions on claims. */
const tokensNamed = fact(
  "tokensNamed",
  "Namespace",
  [decidingByTokenInNamespace],
  (namespace, mesh): ReadonlySet<string> =>
    new Set(mesh.related(decidingByTokenInNamespace, namespace).flatMap(tokensIn)),
);

// A workload that comes or goes adds no such object.
const proxies = forWording(proxiesOfNamespace);

export const namespaceTokenIssuerAdded = defineRule({
  id: "namespace-token-issuer-added",
  subject: "Namespace",
  reads: [acceptingTokensIn, tokensNamed, rootOfNamespace, proxies],
  worksWithout: ["AuthorizationPolicy", "KubernetesGateway", "RequestAuthentication", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A RequestAuthentication accepts tokens of another issuer, or other keys, that satisfy the policies of a namespace.",
  why: "Whoever has the private keys of an issuer decides which principal and claims a token has (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). An AuthorizationPolicy that requires any request principal, or a claim, is satisfied by the tokens of every issuer that some RequestAuthentication of the workload accepts.",
  fix: "Ask the owner of the namespace whether the issuer may identify callers. Name the issuer in the policies: `requestPrincipals: [https://issuer.example.com/*]`.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests with tokens of the new issuer satisfy policies that require any token.",
    wayOut:
      "Delete the RequestAuthentication or apply its previous version: requests with tokens of the issuer are refused again.",
    silentWhen:
      "Policies name their issuers, no policy of the namespace asks for a token, or the same issuer with the same keys was accepted before.",
    page: "https://istio.io/latest/docs/reference/config/security/request_authentication/",
  },

  *compare(before, after) {
    const found = addedEffects([before, after], {
      objectsIn: acceptingTokensIn,
      proxies,
      scopeOf,
      effectsOf: tokensAccepted,
    });
    let named: NamedPrincipals | undefined;
    for (const accepted of found) {
      named ??= new NamedPrincipals(
        new Set(namespacesInForce(after.object, after.mesh).flatMap((one) => [...after.mesh.get(tokensNamed, one)])),
      );
      if (named.isOf(accepted.effect.split("\n")[0] ?? "")) yield problemOf(accepted, after.object.metadata.name);
    }
  },
});

const scopeOf = ({ spec }: RequestAuthentication): ProxyScope => policyScope(spec);

/**
 * The tokens that a RequestAuthentication accepts: the issuer, a line break, where the keys are from, a line break, and
 * the keys themselves, which only tell one from the other.
 */
const tokensAccepted = ({ spec }: RequestAuthentication): readonly string[] =>
  spec.jwtRules.map(({ issuer = "", jwksUri = "", jwks }) => [issuer, keysFrom(jwksUri, jwks), jwks].join("\n"));

function keysFrom(jwksUri: string, jwks: string): string {
  if (jwksUri !== "") return `the keys of ${JSON.stringify(jwksUri)}`;
  return jwks === "" ? "the keys that the issuer publishes" : "keys in the object";
}

function problemOf({ object, effect, reach }: AddedEffect<RequestAuthentication>, namespace: string) {
  const [issuer = "", keys = ""] = effect.split("\n");
  const who = issuer === "" ? "any issuer" : `issuer ${JSON.stringify(issuer)}`;
  const isOverHttp = keys.startsWith('the keys of "http://');
  return {
    at: [],
    message: `${idOf(object)} accepts tokens of ${who} with ${keys}${isOverHttp ? ", read without TLS," : ""} for policies of namespace ${namespace}`,
    key: `${idOf(object)} ${effect}`,
    related: [object],
    ...(reach === "sure" ? {} : { atMost: "warn" as const }),
  };
}

const any = "*";

/** The request principals in a policy, also those that it excepts: a token of another issuer satisfies these too. */
const tokensIn = ({ spec }: AuthorizationPolicy): readonly string[] =>
  spec.rules.flatMap(({ from, when }) => [
    ...from.flatMap(({ source }) => [...source.requestPrincipals, ...source.notRequestPrincipals]),
    ...when.flatMap(({ key, values, notValues }) => {
      if (key === "request.auth.principal") return [...values, ...notValues];
      return key.startsWith("request.auth.") ? [any] : [];
    }),
  ]);

/** The request principals that policies name, for look-ups by issuer. */
class NamedPrincipals {
  readonly #isAny: boolean;
  readonly #isEmpty: boolean;
  /** Values and patterns without their `*`, sorted. */
  readonly #sorted: readonly string[];
  readonly #patterns: ReadonlySet<string>;

  constructor(named: ReadonlySet<string>) {
    const all = [...named];
    this.#isEmpty = all.length === 0;
    this.#isAny = all.some((principal) => principal.startsWith("*"));
    const patterns = all.filter((principal) => principal.endsWith("*")).map((principal) => principal.slice(0, -1));
    this.#patterns = new Set(patterns);
    this.#sorted = [...all, ...patterns].sort();
  }

  /** Whether some of them may be a principal of the issuer, which is `<issuer>/<subject>`. */
  isOf(issuer: string): boolean {
    if (this.#isEmpty || this.#isAny || issuer === "") return !this.#isEmpty;
    const own = `${issuer}/`;
    for (let end = 1; end <= own.length; end++) if (this.#patterns.has(own.slice(0, end))) return true;
    return this.#firstFrom(own)?.startsWith(own) === true;
  }

  #firstFrom(text: string): string | undefined {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle] ?? "") < text) low = middle + 1;
      else high = middle;
    }
    return this.#sorted[low];
  }
}
