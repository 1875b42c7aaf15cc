import { fact, index, relation } from "../../view/view.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import { readers } from "../membership/control-plane.ts";
import { rootOfNamespace } from "../membership/namespaces.ts";
import { workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { enforcerOfNamespace, NamespaceAuthorization, NamespacePolicies, thereOf } from "./effective-authorization.ts";
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

/**
 * The CUSTOM policies in one namespace, before or after a change. Their rules say which requests a provider is asked about;
 * its answers are not known.
 */
export const customAuthorization = fact(
  "customAuthorization",
  "Namespace",
  [customInNamespace, rootOfNamespace, readers, gatewaysOfNamespace, workloadsOfNamespace],
  (namespace, mesh) => {
    const [root] = mesh.related(rootOfNamespace, namespace);
    const isRoot = root === undefined || root.metadata.name === namespace.metadata.name;
    const meshWide = isRoot ? undefined : mesh.get(customInNamespace, root);
    const own = mesh.get(customInNamespace, namespace);
    const of = {
      readers: mesh.get(readers, namespace),
      enforcer: enforcerOfNamespace(namespace),
      settings: mesh.settings,
    };
    return new NamespaceAuthorization(
      namespace,
      new NamespacePolicies({ own, meshWide }, of),
      thereOf(namespace, mesh),
    );
  },
);
