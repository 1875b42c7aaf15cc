import { index } from "../../view/view.ts";

// The indexes that several relations share. Each index is a map over the whole mesh, so a second one with the same kind
// and keys would double the cost.

export const namespaceByName = index("Namespace", ({ metadata }) => [metadata.name]);
/** A namespace under its own name and that of the root namespace, whose policies count in it too. */
export const namespaceByNameAndRoot = index(
  "Namespace",
  ({ metadata }, { rootNamespace }) => [metadata.name, rootNamespace],
  ["rootNamespace"],
);
export const serviceByNamespace = index("Service", ({ metadata }) => [metadata.namespace]);
export const serviceByName = index("Service", ({ metadata }) => [`${metadata.namespace}/${metadata.name}`]);
export const kubernetesGatewayByName = index("KubernetesGateway", ({ metadata }) => [
  `${metadata.namespace}/${metadata.name}`,
]);
