import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { type Readers, readers } from "../membership/control-plane.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { type ControlPlane, isServed } from "../objects/revision.ts";
import { enforcerOfNamespace } from "./enforcement.ts";
import { type AuthorizationPolicy, isDryRun, isEnforced, targetRefsOf } from "./policies.ts";
import { PolicySet, policySetOf } from "./policy-set.ts";
import type { Enforcer } from "./rules.ts";

const noLabels: Labels = Object.freeze({});

/** A namespace and its own enforced policies. */
export const enforcedPoliciesOfNamespace = relation(
  "enforcedPoliciesOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) => (isEnforced(policy, settings) ? [policy.metadata.namespace] : [])),
);

/** A Namespace and its AuthorizationPolicies that a control plane reads, CUSTOM and AUDIT too, without dry runs. */
export const policiesRead = relation(
  "policiesRead",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings) && !isDryRun(policy) ? [policy.metadata.namespace] : [],
  ),
);

/** A namespace's own enforced policies, without the mesh-wide ones. */
export const policiesInNamespace = fact(
  "policiesInNamespace",
  "Namespace",
  [enforcedPoliciesOfNamespace],
  (namespace, mesh) => policySetOf(mesh.related(enforcedPoliciesOfNamespace, namespace), mesh.settings),
);

/** A namespace and its own enforced policies without targetRefs. */
const untargetedPoliciesOfNamespace = relation(
  "untargetedPoliciesOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    isEnforced(policy, settings) && targetRefsOf(policy).length === 0 ? [policy.metadata.namespace] : [],
  ),
);

/** The policies of a namespace itself that ztunnel may enforce: those without targetRefs. */
const untargetedInNamespace = fact(
  "untargetedInNamespace",
  "Namespace",
  [untargetedPoliciesOfNamespace],
  (namespace, mesh) => policySetOf(mesh.related(untargetedPoliciesOfNamespace, namespace), mesh.settings),
);

/**
 * The enforced policies that apply in a namespace: its own and the mesh-wide ones (Istio
 * pilot/pkg/model/authorization.go ListAuthorizationPolicies).
 */
export interface PolicyLevels {
  readonly own: PolicySet;
  /** Undefined for the root namespace itself, and if no root namespace exists. */
  readonly meshWide: PolicySet | undefined;
}

/** The policies of a namespace by the control plane that reads them. */
export class NamespacePolicies implements PolicyLevels {
  /** Those that the control plane of the namespace's own enforcer reads. */
  readonly own: PolicySet;
  readonly meshWide: PolicySet | undefined;
  /** Those that any control plane reads. */
  readonly served: PolicyLevels;
  readonly readers: Readers;
  /** Whether it does not matter which control plane configures a proxy. */
  readonly isOfAll: boolean;
  readonly #enforcer: Enforcer;
  readonly #settings: MeshSettings;
  readonly #passedOver: ReadonlySet<AuthorizationPolicy>;
  readonly #read = new Map<ControlPlane, PolicyLevels>();

  constructor(
    served: PolicyLevels,
    of: { readonly readers: Readers; readonly enforcer: Enforcer; readonly settings: MeshSettings },
    passedOver: ReadonlySet<AuthorizationPolicy> = new Set(),
  ) {
    this.served = served;
    this.readers = of.readers;
    this.#enforcer = of.enforcer;
    this.#settings = of.settings;
    this.#passedOver = passedOver;
    this.isOfAll = of.readers.areReadByAll(served.own.policies, served.meshWide?.policies ?? []);
    const { own, meshWide } = this.readBy(this.controlPlaneOf(noLabels, of.enforcer));
    this.own = own;
    this.meshWide = meshWide;
  }

  /** The control plane that configures what enforces policies on pods with these labels. */
  controlPlaneOf(labels: Labels, enforcer: Enforcer): ControlPlane {
    return enforcer === "ztunnel" ? this.readers.ofZtunnel : this.readers.ofSidecar(labels);
  }

  readBy(controlPlane: ControlPlane): PolicyLevels {
    if (this.isOfAll) return this.served;
    let found = this.#read.get(controlPlane);
    if (found === undefined) {
      const { own, meshWide } = this.served;
      found = {
        own: this.#setOf(this.readers.own(own.policies, controlPlane)),
        meshWide: meshWide && policySetOf(this.readers.meshWide(meshWide.policies, controlPlane), this.#settings),
      };
      this.#read.set(controlPlane, found);
    }
    return found;
  }

  /** The same, with these policies of the namespace treated as if they allowed nobody. */
  passingOver(policies: ReadonlySet<AuthorizationPolicy>): NamespacePolicies {
    const own = new PolicySet(this.served.own.policies, this.#settings, policies);
    const of = { readers: this.readers, enforcer: this.#enforcer, settings: this.#settings };
    return new NamespacePolicies({ own, meshWide: this.served.meshWide }, of, policies);
  }

  /** Whether the other side of a change has the same policies, unchanged, for the same proxies. */
  isSame(other: NamespacePolicies): boolean {
    const [was, is] = [this.served, other.served];
    return (
      is.own.isSame(was.own) &&
      (was.meshWide === undefined || is.meshWide === undefined
        ? was.meshWide === is.meshWide
        : is.meshWide.isSame(was.meshWide)) &&
      ((this.isOfAll && other.isOfAll) || this.readers.isSame(other.readers))
    );
  }

  #setOf(own: readonly AuthorizationPolicy[]): PolicySet {
    return this.#passedOver.size === 0
      ? policySetOf(own, this.#settings)
      : new PolicySet(own, this.#settings, this.#passedOver);
  }
}

const readsLevels = [rootOfNamespace, readers] as const;

function levelsOf(
  namespace: Namespace,
  mesh: MeshView<(typeof readsLevels)[number]>,
  setIn: (namespace: Namespace) => PolicySet,
): NamespacePolicies {
  const [root] = mesh.related(rootOfNamespace, namespace);
  const isRoot = root === undefined || root.metadata.name === namespace.metadata.name;
  const own = setIn(namespace);
  const meshWide = isRoot ? undefined : setIn(root);
  const of = {
    readers: mesh.get(readers, namespace),
    enforcer: enforcerOfNamespace(namespace, mesh.settings),
    settings: mesh.settings,
  };
  return new NamespacePolicies({ own, meshWide }, of);
}

/** The enforced policies that apply in a namespace, by level and by control plane. */
export const policyLevels = fact(
  "policyLevels",
  "Namespace",
  [policiesInNamespace, ...readsLevels],
  (namespace, mesh): NamespacePolicies => levelsOf(namespace, mesh, (one) => mesh.get(policiesInNamespace, one)),
);

/** The same without policies with targetRefs, which ztunnel ignores, so that a change of one does not reach what others do there. */
export const policyLevelsAtZtunnel = fact(
  "policyLevelsAtZtunnel",
  "Namespace",
  [untargetedInNamespace, ...readsLevels],
  (namespace, mesh): NamespacePolicies => levelsOf(namespace, mesh, (one) => mesh.get(untargetedInNamespace, one)),
);
