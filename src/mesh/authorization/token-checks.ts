import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";

export type RequestAuthentication = ObjectOf<"RequestAuthentication">;

/** A namespace and its own RequestAuthentications that accept tokens. */
export const acceptingTokensInNamespace = relation(
  "acceptingTokensInNamespace",
  namespaceByName,
  index("RequestAuthentication", (authentication, settings) =>
    isServed(authentication, settings) && authentication.spec.jwtRules.length > 0
      ? [authentication.metadata.namespace]
      : [],
  ),
);
/** A namespace's own RequestAuthentications that accept tokens. */
export const acceptingTokensIn = fact(
  "acceptingTokensIn",
  "Namespace",
  [acceptingTokensInNamespace],
  (namespace, mesh): readonly RequestAuthentication[] => mesh.related(acceptingTokensInNamespace, namespace),
);

/**
 * Whether there may be keys for the tokens of a rule. Without `jwks` and `jwksUri`, istiod asks the issuer over HTTP; if that is no
 * URL, it gives the proxies a key that nobody can sign with, and every token is refused (Istio pilot/pkg/model/jwks_resolver.go
 * resolveJwksURIUsingOpenID, BuildLocalJwks).
 */
export const mayHaveKeys = ({ issuer, jwksUri, jwks }: RequestAuthentication["spec"]["jwtRules"][number]): boolean =>
  Boolean(jwksUri || jwks) || /^https?:\/\/[^/]/i.test(issuer ?? "");
