import { index, relation } from "../../view/view.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";

/** A namespace with every AuthorizationPolicy in it and in the root namespace, dry runs and AUDIT too. */
export const everyAuthorizationPolicyOfNamespace = relation(
  "everyAuthorizationPolicyOfNamespace",
  namespaceByNameAndRoot,
  index("AuthorizationPolicy", ({ metadata }) => [metadata.namespace]),
);
