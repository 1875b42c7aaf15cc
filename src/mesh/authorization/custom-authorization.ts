import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import { readers } from "../membership/control-plane.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { NamespaceAuthorization, thereOf } from "./effective-authorization.ts";
import { enforcerOfNamespace } from "./enforcement.ts";
import { NamespacePolicies, type PolicyLevels } from "./policy-levels.ts";
import { idlenessOf } from "./policies.ts";
import { policySetOf } from "./policy-set.ts";

/** A namespace and its own CUSTOM policies, which call a provider. */
export const customPoliciesOfNamespace = relation(
  "customPoliciesOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    idlenessOf(policy, settings) === "asks-provider" ? [policy.metadata.namespace] : [],
  ),
);

/** A namespace's own CUSTOM policies. */
export const customInNamespace = fact(
  "customInNamespace",
  "Namespace",
  [customPoliciesOfNamespace],
  (namespace, mesh) => policySetOf(mesh.related(customPoliciesOfNamespace, namespace), mesh.settings),
);

/** The CUSTOM policies that apply in a namespace, by level. */
export const customLevels = fact(
  "customLevels",
  "Namespace",
  [customInNamespace, rootOfNamespace],
  (namespace, mesh): PolicyLevels => {
    const [root] = mesh.related(rootOfNamespace, namespace);
    const isRoot = root === undefined || root.metadata.name === namespace.metadata.name;
    return {
      own: mesh.get(customInNamespace, namespace),
      meshWide: isRoot ? undefined : mesh.get(customInNamespace, root),
    };
  },
);

/** What `customAuthorization` reads. */
export const readsCustomAuthorization = [customLevels, readers, gatewaysOfNamespace, workloadsOfNamespace] as const;

export const hasCustomPolicies = ({ own, meshWide }: PolicyLevels): boolean =>
  own.policies.length + (meshWide?.policies.length ?? 0) > 0;

/**
 * The CUSTOM policies in one namespace, before or after a change. Their rules say which requests a provider is asked about;
 * its answers are not known.
 */
export function customAuthorization(
  namespace: Namespace,
  mesh: MeshView<(typeof readsCustomAuthorization)[number]>,
): NamespaceAuthorization {
  return new NamespaceAuthorization(namespace, customPolicies(namespace, mesh), thereOf(namespace, mesh));
}

/** The CUSTOM policies of a namespace by the control plane that reads them. */
export function customPolicies(
  namespace: Namespace,
  mesh: MeshView<typeof customLevels | typeof readers>,
): NamespacePolicies {
  const of = {
    readers: mesh.get(readers, namespace),
    enforcer: enforcerOfNamespace(namespace, mesh.settings),
    settings: mesh.settings,
  };
  return new NamespacePolicies(mesh.get(customLevels, namespace), of);
}
