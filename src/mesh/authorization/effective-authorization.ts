import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView } from "../../view/view.ts";
import type { Readers } from "../membership/control-plane.ts";
import { gatewaysOfNamespace, type KubernetesGateway } from "../membership/gateways.ts";
import { isInjectedAlike } from "../membership/injector-selectors.ts";
import { hasSameMembership, type Namespace } from "../membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import type { Labelled } from "../objects/labelled.ts";
import { useWaypoint } from "../objects/labels.ts";
import type { ControlPlane } from "../objects/revision.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { AppliedPolicies, type Gateway, gatewayOf, type TargetOfWaypoint, waypointsNamed } from "./applied-policies.ts";
import { type Coverage, hasDefaultDeny, isDeniedByDefault, noCoverage, together } from "./coverage.ts";
import { enforcerOf, enforcerOfNamespace } from "./enforcement.ts";
import { type NamespaceWorkloads, namespaceWorkloads } from "./namespace-workloads.ts";
import { actionOf, attachesToLabels, type AuthorizationPolicy, type GatewayTarget } from "./policies.ts";
import { type NamespacePolicies, type PolicyLevels, policyLevels } from "./policy-levels.ts";
import type { PolicySet } from "./policy-set.ts";
import { listChange } from "./requests/applied.ts";
import { type Enforcer, enforcers } from "./rules.ts";

export type { Gateway } from "./applied-policies.ts";
export { type Coverage, hasDefaultDeny, isDeniedByDefault, openedBy } from "./coverage.ts";

const noLabels: Labels = Object.freeze({});

/** Authorization in one namespace, before or after a change. */
export const authorization = fact(
  "authorization",
  "Namespace",
  [policyLevels, gatewaysOfNamespace, workloadsOfNamespace],
  (namespace, mesh) =>
    new NamespaceAuthorization(namespace, mesh.get(policyLevels, namespace), thereOf(namespace, mesh)),
);

/** The same for a mesh that is not part of a change, such as in an explanation. */
export const authorizationOf = (namespace: Namespace, mesh: MeshView<typeof authorization>): NamespaceAuthorization =>
  mesh.get(authorization, namespace);

/** The objects that policies of a namespace can apply to. */
export interface There {
  readonly settings: MeshSettings;
  readonly gateways: readonly KubernetesGateway[];
  readonly workloads: readonly Workload[];
  readonly knowsWorkloads: boolean;
  readonly knowsGateways: boolean;
}
export const thereOf = (
  namespace: Namespace,
  mesh: MeshView<typeof gatewaysOfNamespace | typeof workloadsOfNamespace>,
): There => ({
  settings: mesh.settings,
  gateways: mesh.related(gatewaysOfNamespace, namespace),
  workloads: mesh.related(workloadsOfNamespace, namespace),
  knowsWorkloads: mesh.knowsAll("Workload"),
  knowsGateways: mesh.knowsAll("KubernetesGateway"),
});

/**
 * The effect of policies in one namespace, on existing objects and on future ones. Results are computed on demand and
 * kept.
 */
export class NamespaceAuthorization {
  readonly own: PolicySet;
  readonly meshWide: PolicySet | undefined;
  readonly gateways: readonly Gateway[];
  /** Whether the namespace has no workloads that the view does not contain. */
  readonly knowsWorkloads: boolean;
  /** Whether policies at a waypoint have an effect in this namespace. */
  readonly mayUseWaypoint: boolean;
  /** The data plane that enforces policies on a workload without labels. */
  readonly enforcer: Enforcer;
  readonly #namespace: Namespace;
  readonly #policies: NamespacePolicies;
  readonly #there: There;
  readonly #workloads: NamespaceWorkloads;
  readonly #ofWorkloads = new Map<Workload, Coverage>();
  #last: { readonly own: Coverage; readonly meshWide: Coverage; readonly both: Coverage } | undefined;
  #applied: AppliedPolicies | undefined;
  #ofWaypoints: Coverage | undefined;
  #controlPlanes: ReadonlySet<ControlPlane> | undefined;
  #isEachGuarded: boolean | undefined;
  #isGuardedOneByOne: boolean | undefined;

  constructor(namespace: Namespace, policies: NamespacePolicies, there: There) {
    this.own = policies.own;
    this.meshWide = policies.meshWide;
    this.#policies = policies;
    this.#namespace = namespace;
    this.#there = there;
    this.#workloads = namespaceWorkloads(namespace, there.workloads, there.settings);
    this.knowsWorkloads = there.knowsWorkloads;
    this.gateways = there.gateways.map((gateway) =>
      gatewayOf(gateway, policies.readers.ofGateway(gateway), there.settings),
    );
    this.enforcer = enforcerOfNamespace(namespace, there.settings);
    this.mayUseWaypoint =
      namespace.implied === true ||
      namesWaypoint(namespace) ||
      !there.knowsGateways ||
      this.gateways.some(({ isWaypoint }) => isWaypoint);
  }

  /** The same, with these policies of the namespace treated as if they allowed nobody. */
  passingOver(policies: ReadonlySet<AuthorizationPolicy>): NamespaceAuthorization {
    if (policies.size === 0) return this;
    return new NamespaceAuthorization(this.#namespace, this.#policies.passingOver(policies), this.#there);
  }

  get namespace(): string {
    return this.#namespace.metadata.name;
  }

  get settings(): MeshSettings {
    return this.#there.settings;
  }

  /** Whether the membership of the namespace, its policies and the settings are the same, so that only changed objects have other policies. */
  isSame(other: NamespaceAuthorization): boolean {
    return this.#isSamePlace(other) && this.#policies.isSame(other.#policies);
  }

  /** Whether all workloads are the same objects. */
  hasSameWorkloads(other: NamespaceAuthorization): boolean {
    return other.#there.workloads === this.#there.workloads;
  }

  /** Whether all gateways are the same objects. */
  hasSameGateways(other: NamespaceAuthorization): boolean {
    return other.#there.gateways === this.#there.gateways;
  }

  /**
   * Whether the membership of the namespace and the settings are the same, whatever the policies are, and it does not matter which control
   * plane reads them.
   */
  isSameNamespace(other: NamespaceAuthorization): boolean {
    return this.#isSamePlace(other) && this.#policies.isOfAll && other.#policies.isOfAll;
  }

  #isSamePlace(other: NamespaceAuthorization): boolean {
    return (
      other.settings === this.settings &&
      hasSameMembership(other.#namespace, this.#namespace) &&
      isInjectedAlike(
        { namespace: other.#namespace, settings: other.settings },
        { namespace: this.#namespace, settings: this.settings },
      )
    );
  }

  /**
   * The workloads and proxies to which other policies may apply than before, each with what it was, if the namespace and its
   * policies are the same: those with other labels or another data plane.
   */
  changedSince(before: NamespaceAuthorization): Generator<readonly [before: Workload, after: Workload], undefined> {
    return this.#workloads.changedSince(before.#workloads);
  }

  /** The workloads and proxies that are there before and after a change, each with what it was. */
  pairsWith(before: NamespaceAuthorization): Iterable<readonly [before: Workload, after: Workload]> {
    return this.#workloads.pairsWith(before.#workloads);
  }

  /** The policies that only one of two sides has; undefined: the namespace may differ too. */
  policiesChangedSince(before: NamespaceAuthorization): readonly AuthorizationPolicy[] | undefined {
    if (!this.isSameNamespace(before)) return undefined;
    const levels = [
      [before.own, this.own],
      [before.meshWide, this.meshWide],
    ] as const;
    return levels.flatMap(([was, is]) => {
      const { gone, come } = listChange(was?.policies ?? noPolicies, is?.policies ?? noPolicies);
      return [...gone, ...come];
    });
  }

  /** Oldest first. */
  get policies(): readonly AuthorizationPolicy[] {
    return [...this.own.policies, ...(this.meshWide?.policies ?? [])].sort(oldestFirst);
  }

  /**
   * The workloads that policies protect: no proxies, no workloads that opt out of the mesh, no Jobs that do not
   * listen.
   */
  get workloads(): readonly Workload[] {
    return this.workloadsByLabel.all;
  }

  get workloadsByLabel(): Labelled<Workload> {
    return this.#workloads.protectedByLabel;
  }

  /** The same and the proxies, because policies with a selector also apply to gateways. */
  get workloadsAndProxies(): readonly Workload[] {
    return this.#workloads.reached;
  }

  /** Whether every workload has an effective default deny, regardless of its labels. */
  get deniesEverything(): boolean {
    if (!this.#policies.isOfAll) return false;
    const mayOpen = this.own.kinds.opens || this.meshWide?.kinds.opens === true;
    return enforcers.every((enforcer) => {
      const coverage = this.#wide(enforcer);
      return coverage.sealedBy !== undefined || (isDeniedByDefault(coverage) && !mayOpen);
    });
  }

  /** Whether no workload has a default deny, regardless of its labels. */
  get deniesNothing(): boolean {
    if (!this.#policies.isOfAll) return false;
    return !this.own.kinds.denies && this.meshWide?.kinds.denies !== true;
  }

  ofWorkload(workload: Workload): Coverage {
    let found = this.#ofWorkloads.get(workload);
    if (found === undefined) {
      found = this.#ofLabels(workload.pod.labels, enforcerOf(workload, this.#namespace, this.settings));
      this.#ofWorkloads.set(workload, found);
    }
    return found;
  }

  /** The coverage of a workload that no policy selects. */
  get ofUnselected(): Coverage {
    return this.#wide(this.enforcer);
  }

  /** The coverage of a workload that has exactly these labels. */
  ofLabels(labels: Labels): Coverage {
    return this.#ofLabels(labels, this.enforcer);
  }

  /** A gateway that the view does not contain is assumed to have the control plane of its namespace. */
  ofGateway(gateway: GatewayTarget | Gateway): Coverage {
    const { own, meshWide } = this.#policies.readBy(
      "controlPlane" in gateway ? gateway.controlPlane : this.readers.ofGateway(this.#namespace),
    );
    return together(own.ofGateway(gateway), meshWide?.ofGateway(gateway) ?? noCoverage);
  }

  /** The coverage of a Service of this namespace at its waypoint: one with these names, or any if that is not known. */
  ofService(name: string, names?: ReadonlySet<string>): Coverage {
    const target = { kind: "Service", metadata: { name } } as const;
    if (names === undefined) return this.ofTarget(target);
    return waypointsNamed(this.gateways, names).reduce(
      (sum, waypoint) => together(sum, this.ofGateway(waypoint)),
      this.ofTargetAlone(target, this.controlPlaneOfWaypoint),
    );
  }

  /** The coverage of a Service or a ServiceEntry of this namespace at its waypoint. */
  ofTarget(target: TargetOfWaypoint): Coverage {
    this.#ofWaypoints ??= this.gateways
      .filter(({ isWaypoint }) => isWaypoint)
      .reduce((sum, waypoint) => together(sum, this.ofGateway(waypoint)), noCoverage);
    return together(this.ofTargetAlone(target, this.controlPlaneOfWaypoint), this.#ofWaypoints);
  }

  /** The same by the policies that target it, as the control plane of its waypoint reads them, wherever that is. */
  ofTargetAlone({ kind, metadata: { name } }: TargetOfWaypoint, controlPlane: ControlPlane): Coverage {
    const { own } = this.#policies.readBy(controlPlane);
    return kind === "Service" ? own.ofService(name) : own.ofEntry(name);
  }

  /** Whether the workload runs a gateway and nothing else. ztunnel captures pods with a gateway's annotation like others. */
  runsGateway(workload: Workload): boolean {
    return this.#workloads.runsGateway(workload);
  }

  /**
   * Whether there are workloads with these labels, and all of them run gateways: injected ones, or a proxy and nothing else,
   * as installed by istioctl.
   */
  hasOnlyGateways(labels: Labels): boolean {
    return this.#workloads.hasOnlyGateways(labels);
  }

  /** The policies that each place enforces. */
  get applied(): AppliedPolicies {
    return (this.#applied ??= new AppliedPolicies({
      namespace: this.#namespace,
      policies: this.#policies,
      settings: this.#there.settings,
      gateways: this.gateways,
      controlPlaneOfWaypoint: this.controlPlaneOfWaypoint,
    }));
  }

  /** Whether every existing workload has a default deny. */
  get isEachGuarded(): boolean {
    return (this.#isEachGuarded ??= this.workloads.every((workload) => hasDefaultDeny(this.ofWorkload(workload))));
  }

  /**
   * Whether every existing workload gets a default deny from policies that select it, with at least two selectors. Then
   * the namespace is protected workload by workload. A single policy does not show such an intention.
   */
  get isGuardedOneByOne(): boolean {
    return (this.#isGuardedOneByOne ??= this.#areAllGuarded());
  }

  #areAllGuarded(): boolean {
    if (!this.knowsWorkloads || this.workloads.length === 0) return false;
    const selectors = new Set<string>();
    for (const policy of this.own.policies) {
      const { selector } = policy.spec;
      if (actionOf(policy) !== "ALLOW" || selector === undefined) continue;
      if (attachesToLabels(policy, selector.matchLabels ?? noLabels, this.enforcer))
        selectors.add(selector.matchLabels === undefined ? "empty" : selectorText(selector.matchLabels));
      if (selectors.size > 1) return this.isEachGuarded;
    }
    return false;
  }

  get readers(): Readers {
    return this.#policies.readers;
  }

  /** The control plane that configures what enforces policies on pods with these labels. */
  controlPlaneOf(labels: Labels = noLabels, enforcer: Enforcer = this.enforcer): ControlPlane {
    return this.#policies.controlPlaneOf(labels, enforcer);
  }

  /** Whether the control plane of some workload or gateway, or of future workloads of the namespace, reads a policy. */
  isRead(policy: AuthorizationPolicy): boolean {
    if (this.#policies.isOfAll) return true;
    this.#controlPlanes ??= new Set([
      this.controlPlaneOf(),
      ...this.gateways.map(({ controlPlane }) => controlPlane),
      ...this.workloadsAndProxies.map((one) =>
        this.controlPlaneOf(one.pod.labels, enforcerOf(one, this.#namespace, this.settings)),
      ),
    ]);
    return [...this.#controlPlanes].some((one) => this.readers.reads(policy, one));
  }

  /** Whether a policy has no effect because discoverySelectors leave out its namespace. */
  isUndiscovered(policy: AuthorizationPolicy): boolean {
    return !this.isRead(policy) && !this.readers.discoversPlaceOf(policy, this.controlPlaneOf());
  }

  /** Whether discoverySelectors leave out the namespace, so that no policy in it has an effect. */
  get isLeftOut(): boolean {
    return !this.readers.discovers(this.controlPlaneOf());
  }

  /** Whether the other side of a change has the same policies, unchanged, for the same proxies. */
  hasSamePolicies(other: NamespaceAuthorization): boolean {
    return this.#policies.isSame(other.#policies);
  }

  /** The control plane of the waypoints of this namespace; one elsewhere is assumed to have the control plane of the namespace. */
  get controlPlaneOfWaypoint(): ControlPlane {
    return this.gateways.find(({ isWaypoint }) => isWaypoint)?.controlPlane ?? this.readers.ofGateway(this.#namespace);
  }

  #readFor(labels: Labels, enforcer: Enforcer): PolicyLevels {
    return this.#policies.readBy(this.controlPlaneOf(labels, enforcer));
  }

  #wide(enforcer: Enforcer): Coverage {
    const { own, meshWide } = this.#readFor(noLabels, enforcer);
    return together(own.wide(enforcer), meshWide?.wide(enforcer) ?? noCoverage);
  }

  #ofLabels(labels: Labels, enforcer: Enforcer): Coverage {
    const { own, meshWide } = this.#readFor(labels, enforcer);
    return this.#bothLevels(own.ofLabels(labels, enforcer), meshWide?.ofLabels(labels, enforcer) ?? noCoverage);
  }

  /** Most workloads of a namespace have the same policies as the one before. */
  #bothLevels(own: Coverage, meshWide: Coverage): Coverage {
    const last = this.#last;
    if (last?.own === own && last.meshWide === meshWide) return last.both;
    const both = together(own, meshWide);
    this.#last = { own, meshWide, both };
    return both;
  }
}

const noPolicies: readonly AuthorizationPolicy[] = [];

function namesWaypoint({ metadata }: Namespace): boolean {
  const waypoint = metadata.labels[useWaypoint];
  return waypoint !== undefined && waypoint !== "" && waypoint !== "none";
}
