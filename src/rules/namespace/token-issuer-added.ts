import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type AddedEffect, addedEffects, byLabelsOf } from "../../mesh/authorization/added-effects.ts";
import { namespacesInForce, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { EffectScopes, policyScope, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { type AuthorizationPolicy, isEnforced } from "../../mesh/authorization/policies.ts";
import { acceptingTokensIn, mayHaveKeys, type RequestAuthentication } from "../../mesh/authorization/token-checks.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { attachedElsewhere, proxiesServing, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

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

// A workload that comes or goes adds no such object; one with other labels is read besides.
const proxies = forWording(proxiesServing);

export const namespaceTokenIssuerAdded = defineRule({
  id: "namespace-token-issuer-added",
  subject: "Namespace",
  reads: [acceptingTokensIn, tokensNamed, readers, rootOfNamespace, waypointsServing, workloadsOfNamespace, proxies],
  worksWithout: [
    "AuthorizationPolicy",
    "KubernetesGateway",
    "RequestAuthentication",
    "Service",
    "ServiceEntry",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A RequestAuthentication accepts tokens of another issuer, with other keys or for another audience, that satisfy the policies of a namespace.",
  why: "Whoever has the private keys of an issuer decides which principal and claims a token has (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). An AuthorizationPolicy that requires any request principal, or a claim, is satisfied by the tokens of every issuer that some RequestAuthentication of the workload accepts.",
  fix: "Ask the owner of the namespace whether the issuer may identify callers. Name the issuer in the policies: `requestPrincipals: [https://issuer.example.com/*]`.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests with tokens of the new issuer satisfy policies that require any token.",
    wayOut:
      "Delete the RequestAuthentication or apply its previous version: requests with tokens of the issuer are refused again.",
    silentWhen:
      "Policies name their issuers, no policy of the namespace asked for a token before the change, or the same issuer with the same keys, or any issuer with these keys, was accepted for the audience before, by an object for the same proxies or for all of them. No tokens are accepted of an issuer whose keys cannot be found (request-authentication-keys-over-http).",
    page: "https://istio.io/latest/docs/reference/config/security/request_authentication/",
  },

  *compare(before, after) {
    const tokens = new AcceptedTokens();
    const elsewhere = attachedElsewhere<RequestAuthentication, typeof acceptingTokensIn>(
      [before, after],
      acceptingTokensIn,
      scopeOf,
    );
    const found = addedEffects([before, after], {
      ...{ objectsIn: acceptingTokensIn, proxies, elsewhere, scopeOf, effectsOf: tokens.effectsOf },
    });
    let old: EffectScopes | undefined;
    // What is known of a workload with new labels is exact.
    const wasAccepted = ({ object, effect, workload }: AddedEffect<RequestAuthentication>): boolean => {
      if (workload !== undefined) return false;
      old ??= tokens.scopesOf([...authenticationsOf(before), ...elsewhere[0]]);
      const scope = scopeOf(object);
      const isAtWaypoint = before.mesh.get(proxies, before.object).isAtWaypoint(scope);
      return tokens.including(effect).some((one) => old?.has(one, scope, isAtWaypoint) === true);
    };
    // A policy that first asks for tokens comes with its issuers: namespace-authorization-widened says what it allows.
    if (placesOfPolicies(before).every((one) => before.mesh.get(tokensNamed, one).size === 0)) return;
    let named: NamedPrincipals | undefined;
    for (const accepted of tokens.added(found, wasAccepted)) {
      named ??= new NamedPrincipals(
        new Set(placesOfPolicies(after).flatMap((one) => [...after.mesh.get(tokensNamed, one)])),
      );
      if (named.isOf(accepted.by.issuer)) yield problemOf(accepted, after.object.metadata.name);
    }
  },
});

const scopeOf = ({ metadata, spec }: RequestAuthentication): ProxyScope => policyScope(spec, metadata.namespace);

/** The namespaces whose policies count at proxies of a namespace, and at waypoints that serve it. */
const placesOfPolicies = ({ object, mesh }: Side): readonly Namespace[] => [
  ...namespacesInForce(object, mesh),
  ...new Set([...mesh.get(waypointsServing, object).elsewhere.values()].map(({ home }) => home)),
];
interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof rootOfNamespace | typeof waypointsServing>;
}
/** Those of a namespace, and those of the root namespace. */
const authenticationsOf = ({
  object,
  mesh,
}: {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof acceptingTokensIn | typeof readers | typeof rootOfNamespace>;
}): readonly RequestAuthentication[] =>
  namespacesInForce(object, mesh).flatMap((one) => mesh.get(acceptingTokensIn, one));

/** The issuer of tokens and the keys for them. */
interface Issuer {
  readonly issuer: string;
  readonly keys: string;
  /** What accepts tokens of every issuer with the same keys. */
  readonly ofAnyIssuer: string;
}

interface Accepted {
  readonly object: RequestAuthentication;
  readonly by: Issuer;
  /** The audience if tokens of this issuer with these keys were accepted before, but not for it. */
  readonly audience: string | undefined;
  readonly reach: "sure" | "possible";
  readonly workload: Workload | undefined;
}

const anyAudience = "any audience";

/**
 * The tokens that RequestAuthentications accept. An effect is the number of an issuer with its keys, and the audience: inline
 * keys may be long, and a list of audiences, too.
 */
class AcceptedTokens {
  readonly #numbers = new Map<string, number>();
  readonly #issuers: Issuer[] = [];

  readonly effectsOf = ({ spec }: RequestAuthentication): readonly string[] =>
    spec.jwtRules.filter(mayHaveKeys).flatMap(({ issuer = "", jwksUri = "", jwks, audiences }) => {
      const keys = keysFrom(jwksUri, jwks);
      const number = this.#numberOf({ issuer, keys, ofAnyIssuer: nameOf("", keys, jwks) }, jwks);
      return audiences.length === 0 ? [String(number)] : audiences.map((audience) => `${number} ${audience}`);
    });

  #numberOf(issuer: Issuer, jwks: string): number {
    const key = nameOf(issuer.issuer, issuer.keys, jwks);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      this.#numbers.set(key, (number = this.#issuers.length));
      this.#issuers.push(issuer);
    }
    return number;
  }

  scopesOf(authentications: readonly RequestAuthentication[]): EffectScopes {
    const scopes = new EffectScopes();
    for (const one of authentications) for (const effect of this.effectsOf(one)) scopes.add(effect, scopeOf(one));
    return scopes;
  }

  /** The effects that accept all tokens which this one accepts: for any audience, and of any issuer with the same keys. */
  including(effect: string): readonly string[] {
    const number = numberIn(effect);
    const ofAny = this.#numbers.get(this.#issuers[Number(number)]?.ofAnyIssuer ?? "");
    const all = ofAny === undefined ? [] : [String(ofAny), `${ofAny}${effect.slice(number.length)}`];
    return [number, effect, ...all];
  }

  /** Each issuer with its keys once, and each audience for which it was not accepted before. */
  *added(
    found: Iterable<AddedEffect<RequestAuthentication>>,
    wasAccepted: (added: AddedEffect<RequestAuthentication>) => boolean,
  ): Iterable<Accepted> {
    let last: ReadonlySet<string> | undefined;
    let accepted = new Set<string>();
    let said = new Set<string>();
    for (const one of found) {
      const { object, effect, reach, known, workload } = one;
      if (known !== last) [last, accepted, said] = [known, new Set([...known].map(numberIn)), new Set()];
      const number = numberIn(effect);
      const by = this.#issuers[Number(number)];
      if (by === undefined || said.has(number) || this.including(effect).some((other) => known.has(other))) continue;
      if (wasAccepted(one)) continue;
      if (accepted.has(number)) yield { object, by, reach, workload, audience: audienceIn(effect) };
      else yield { object, by, reach, workload, audience: undefined };
      if (!accepted.has(number)) said.add(number);
    }
  }
}

const nameOf = (issuer: string, keys: string, jwks: string): string => JSON.stringify([issuer, keys, jwks]);
const numberIn = (effect: string): string => effect.split(" ", 1)[0] ?? "";
const audienceIn = (effect: string): string =>
  effect.includes(" ") ? `audience ${JSON.stringify(effect.slice(effect.indexOf(" ") + 1))}` : anyAudience;

/** Keys that stand in the object are used instead of others (Istio pilot/pkg/model/jwks_resolver.go BuildLocalJwks). */
function keysFrom(jwksUri: string, jwks: string): string {
  if (jwks !== "") return "keys in the object";
  return jwksUri === "" ? "the keys that the issuer publishes" : `the keys of ${JSON.stringify(jwksUri)}`;
}

function problemOf({ object, by, reach, audience, workload }: Accepted, namespace: string): Problem {
  const who = by.issuer === "" ? "any issuer" : `issuer ${JSON.stringify(by.issuer)}`;
  const whom = audience === undefined ? "" : ` for ${audience}`;
  const isOverHttp = by.keys.startsWith('the keys of "http://');
  const message = `${byLabelsOf(workload)}${idOf(object)} accepts tokens of ${who}${whom} with ${by.keys}${isOverHttp ? ", read without TLS," : ""} for policies of namespace ${namespace}`;
  return {
    at: [],
    message,
    related: [object],
    ...(audience === undefined ? {} : { fix: audienceFix }),
    ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
  };
}

const audienceFix =
  "List in `audiences` only the names of this application. A token for another audience was issued to be sent to somebody else, who can send it here.";

const any = "*";

type PolicyRule = AuthorizationPolicy["spec"]["rules"][number];

/** The request principals that policies accept by what they say of tokens. */
const tokensIn = ({ spec }: AuthorizationPolicy): readonly string[] =>
  spec.rules.flatMap((rule) => demandsOf(rule).find(namesIssuers) ?? tokensOf(rule));

/** Those in a rule, also those that it excepts: a token of another issuer satisfies these too. */
const tokensOf = ({ from, when }: PolicyRule): readonly string[] => [
  ...from.flatMap(({ source }) => [...source.requestPrincipals, ...source.notRequestPrincipals]),
  ...when.flatMap(({ key, values, notValues }) => {
    if (key === "request.auth.principal") return [...values, ...notValues];
    return key.startsWith("request.auth.") ? [any] : [];
  }),
];

/**
 * What every request must have that matches the rule: lists of request principals, one of each. If a list names issuers, no token of
 * another one matches, whatever the rule says of other claims.
 */
const demandsOf = ({ from, when }: PolicyRule): readonly (readonly string[])[] =>
  [
    from.every(({ source }) => source.requestPrincipals.length > 0)
      ? from.flatMap(({ source }) => source.requestPrincipals)
      : [],
    ...when.map(({ key, values }) => {
      if (key === "request.auth.principal") return values;
      return key === "request.auth.claims[iss]" ? values.map(principalsOfIssuer) : [];
    }),
  ].filter(({ length }) => length > 0);

const namesIssuers = (principals: readonly string[]): boolean => !principals.some((one) => one.startsWith("*"));
const principalsOfIssuer = (value: string): string => (/^\*|\*$/.test(value) ? value : `${value}/*`);

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
