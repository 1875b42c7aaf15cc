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
