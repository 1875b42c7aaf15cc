import { index, relation } from "../view/view.ts";

// For whoever asks why a policy does not count: those that are enforced have relations of their own, beside the facts.

/** A namespace with every PeerAuthentication in it and in the root namespace, whether or not a control plane reads it. */
export const everyPeerAuthenticationOfNamespace = relation(
  "everyPeerAuthenticationOfNamespace",
  index("Namespace", ({ metadata }, { rootNamespace }) => [metadata.name, rootNamespace]),
  index("PeerAuthentication", ({ metadata }) => [metadata.namespace]),
);

/** A namespace with every AuthorizationPolicy in it and in the root namespace, dry runs and AUDIT too. */
export const everyAuthorizationPolicyOfNamespace = relation(
  "everyAuthorizationPolicyOfNamespace",
  index("Namespace", ({ metadata }, { rootNamespace }) => [metadata.name, rootNamespace]),
  index("AuthorizationPolicy", ({ metadata }) => [metadata.namespace]),
);
