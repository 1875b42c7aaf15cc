import { idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { isIstiosWaypoint, type KubernetesGateway, labelsOfGatewayPods } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import type { ControlPlane } from "../objects/revision.ts";
import { enforcerOf, enforcerOfNamespace } from "./enforcement.ts";
import type { GatewayTarget } from "./policies.ts";
import type { NamespacePolicies } from "./policy-levels.ts";
import type { PolicySet } from "./policy-set.ts";
import { placeOf } from "./reach.ts";
import { type Applied, AppliedLevels, type NamedList } from "./requests/applied.ts";
import type { Enforcer } from "./rules.ts";

/** A Service or a ServiceEntry that policies at a waypoint can target. */
export interface TargetOfWaypoint {
  readonly kind: "Service" | "ServiceEntry";
  readonly metadata: { readonly name: string };
}
/** A gateway with the control plane that configures it. */
export interface Gateway extends GatewayTarget {
  readonly id: string;
  readonly controlPlane: ControlPlane;
}

export const gatewayOf = (gateway: KubernetesGateway, controlPlane: ControlPlane, settings: MeshSettings): Gateway => ({
  id: idOf(gateway),
  controlPlane,
  name: gateway.metadata.name,
  namespace: gateway.metadata.namespace,
  isWaypoint: isIstiosWaypoint(gateway, settings),
  labels: labelsOfGatewayPods(gateway, settings),
});

/** A namespace, the policies that count there, and its gateways. */
interface Within {
  readonly namespace: Namespace;
  readonly policies: NamespacePolicies;
  readonly settings: MeshSettings;
  readonly gateways: readonly Gateway[];
  readonly controlPlaneOfWaypoint: ControlPlane;
}

/** Which policies are enforced at each place of a namespace, its own and those of the root namespace. */
export class AppliedPolicies {
  readonly #in: Within;
  /** By the lists of the namespace and those of the mesh. */
  readonly #known = new Map<readonly NamedList[], SmallMap<readonly NamedList[], Applied>>();

  constructor(within: Within) {
    this.#in = within;
  }

  /** The policies that are enforced on a workload. */
  toWorkload(workload: Workload): Applied {
    return this.toLabels(workload.pod.labels, enforcerOf(workload, this.#in.namespace, this.#in.settings));
  }

  /** Those on workloads that have exactly these labels. */
  toLabels(labels: Labels, enforcer = enforcerOfNamespace(this.#in.namespace, this.#in.settings)): Applied {
    const { own, meshWide } = this.#in.policies.readBy(this.#in.policies.controlPlaneOf(labels, enforcer));
    const wide = meshWide === undefined ? noLists : meshWide.listsOfLabels(labels, enforcer);
    return this.#applied(enforcer, own.listsOfLabels(labels, enforcer), wide);
  }

  toGateway(gateway: Gateway): Applied {
    const { own, meshWide } = this.#in.policies.readBy(gateway.controlPlane);
    return this.#applied("proxy", own.listsOfGateway(gateway), meshWide?.listsOfGateway(gateway) ?? noLists);
  }

  /** Those for a Service of this namespace at its waypoint: one with these names, or any if that is not known. */
  toService(name: string, names?: ReadonlySet<string>): Applied {
    const levels = this.#in.policies.readBy(this.#in.controlPlaneOfWaypoint);
    const waypoints = waypointsNamed(this.#in.gateways, names);
    const listsOf = (set: PolicySet) =>
      waypoints.flatMap((one) =>
        set.listsOfGateway(one).map((list) => ({ ...list, name: `${one.name} ${list.name}` })),
      );
    const wide = levels.meshWide === undefined ? noLists : listsOf(levels.meshWide);
    const { place, settings, lists } = this.#applied("proxy", listsOf(levels.own), wide);
    return { place, settings, lists: [...levels.own.listsOfService(name), ...lists] };
  }

  /** Those that target a Service or a ServiceEntry of this namespace, as the control plane of its waypoint reads them, wherever that is. */
  targeting({ kind, metadata }: TargetOfWaypoint, controlPlane: ControlPlane): readonly NamedList[] {
    const { own } = this.#in.policies.readBy(controlPlane);
    return kind === "Service" ? own.listsOfService(metadata.name) : own.listsOfEntry(metadata.name);
  }

  /** Policies by the lists of the namespace and those of the mesh. */
  #applied(enforcer: Enforcer, own: readonly NamedList[], wide: readonly NamedList[]): Applied {
    let known = this.#known.get(own);
    if (known === undefined) this.#known.set(own, (known = new SmallMap()));
    let applied = known.get(wide);
    if (applied === undefined) {
      const read = { place: placeOf(enforcer), settings: this.#in.settings };
      known.set(wide, (applied = new AppliedLevels(read, own, wide)));
    }
    return applied;
  }
}

const noLists: readonly NamedList[] = [];

/** The waypoints of a namespace with these names; all of them, if the names are not known. */
export const waypointsNamed = (
  gateways: readonly Gateway[],
  names: ReadonlySet<string> | undefined,
): readonly Gateway[] => gateways.filter(({ isWaypoint, name }) => isWaypoint && names?.has(name) !== false);
