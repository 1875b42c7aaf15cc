import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type AuthorizationPolicy, targetRefsOf } from "../authorization/policies.ts";
import { isIstiosWaypoint, type KubernetesGateway, labelsOfGatewayPods } from "../membership/gateways.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
import { gatewayApiGroup, gatewayNameLabel } from "../objects/labels.ts";
import { Labelled } from "../objects/labelled.ts";
import { isServed } from "../objects/revision.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import { matchLabelsOf } from "../objects/selectors.ts";
import { SelectorsTogether } from "../objects/selectors-together.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;
type Policy = AuthorizationPolicy | RequestAuthentication;

const gatewaysNamed = (policy: Policy, settings: MeshSettings): readonly string[] =>
  isServed(policy, settings)
    ? targetRefsOf(policy).flatMap((ref) => (isOfGateway(ref) ? [`${policy.metadata.namespace}/${ref.name}`] : []))
    : [];
const isOfGateway = ({ group, kind }: { readonly group: string; readonly kind: string }): boolean =>
  kind === "Gateway" && group === gatewayApiGroup;

/** An AuthorizationPolicy and the Gateways of its namespace among its targets. */
const gatewaysOfAuthorization = relation(
  "gatewaysOfAuthorization",
  index("AuthorizationPolicy", gatewaysNamed),
  kubernetesGatewayByName,
);
/** A RequestAuthentication and the Gateways of its namespace among its targets. */
const gatewaysOfAuthentication = relation(
  "gatewaysOfAuthentication",
  index("RequestAuthentication", gatewaysNamed),
  kubernetesGatewayByName,
);

/** What `placed` reads. */
export const readsPlaced = [gatewaysOfAuthorization, gatewaysOfAuthentication] as const;

/** A policy and the Gateways among its targets, as far as they are known. */
export interface Placed<T extends Policy = Policy> {
  readonly policy: T;
  readonly gateways: readonly KubernetesGateway[];
  readonly settings: MeshSettings;
}

export const placed = <T extends Policy>(policy: T, mesh: MeshView<(typeof readsPlaced)[number]>): Placed<T> => ({
  policy,
  settings: mesh.settings,
  gateways:
    policy.kind === "AuthorizationPolicy"
      ? mesh.related(gatewaysOfAuthorization, policy)
      : mesh.related(gatewaysOfAuthentication, policy),
});

/**
 * Policies, indexed to find out whether a proxy can use one of them together with another policy (Istio
 * pilot/pkg/model/policyattachment.go ShouldAttachPolicy). Selectors select workloads and the pods of ingress gateways, and never
 * waypoints. Targets of different kinds can be one proxy, such as a Service and its waypoint.
 */
export class PoliciesTogether {
  readonly #selectors: SelectorsTogether;
  readonly #groups: SelectorGroups<Policy>;
  readonly #targets = new Map<string, Set<string>>();
  readonly #pods: Labelled<Labels>;

  constructor(all: readonly Placed[]) {
    const selecting = all.flatMap(({ policy }) =>
      targetRefsOf(policy).length === 0 ? [[matchLabelsOf(policy), policy] as const] : [],
    );
    this.#selectors = new SelectorsTogether(selecting.map(([labels]) => labels));
    this.#groups = new SelectorGroups(selecting);
    for (const { policy } of all)
      for (const { kind, name } of targetRefsOf(policy))
        this.#targets.set(kind, (this.#targets.get(kind) ?? new Set<string>()).add(name));
    this.#pods = new Labelled(all.flatMap(podsOfTargets), (labels) => labels);
  }

  /** Whether some proxy can use one of them and this policy. */
  meet(one: Placed): boolean {
    const targets = targetRefsOf(one.policy);
    if (targets.length > 0)
      return (
        targets.some((target) => this.#isTargeted(target)) ||
        podsOfTargets(one).some((labels) => this.#groups.selecting(labels).length > 0)
      );
    const labels = matchLabelsOf(one.policy);
    return this.#selectors.meet(labels) || this.#pods.selected(labels).length > 0;
  }

  #isTargeted({ kind, name }: { readonly kind: string; readonly name: string }): boolean {
    const names = this.#targets.get(kind);
    return names?.has(name) === true || this.#targets.size > (names === undefined ? 0 : 1);
  }
}

/** The labels of the pods of ingress gateways among the targets of a policy. One that is not known may be an ingress gateway. */
function podsOfTargets({ policy, gateways, settings }: Placed): readonly Labels[] {
  const byName = new Map(gateways.map((gateway) => [gateway.metadata.name, gateway]));
  return targetRefsOf(policy).flatMap((ref) => {
    if (!isOfGateway(ref)) return [];
    const gateway = byName.get(ref.name);
    if (gateway === undefined) return [{ [gatewayNameLabel]: ref.name }];
    return isIstiosWaypoint(gateway, settings) ? [] : [labelsOfGatewayPods(gateway, settings)];
  });
}
