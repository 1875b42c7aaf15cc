import type { AnyObject } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import {
  gatewaysOfNamespace,
  isDeployedByHand,
  type KubernetesGateway,
  isIstiosWaypoint,
  labelsOfGatewayPods,
} from "../membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { selects } from "../objects/selectors.ts";
import { attachesToGateway, type AuthorizationPolicy, type GatewayTarget, type TargetRef } from "./policies.ts";
import { covers, isForType, noLabels, type ProxyScope, proxyTypeOf } from "./proxy-scope.ts";

// EnvoyFilters, WasmPlugins, Telemetries and others are attached to proxies as policies are: to sidecars and gateways by
// their labels, to gateways and waypoints by targetRefs (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).

/** In messages: the proxies of a namespace that an object is for, or the waypoints of the object's own namespace that serve it. */
export const proxiesFor = (
  { metadata }: Pick<AnyObject, "metadata">,
  namespace: string,
  { rootNamespace }: MeshSettings,
): string =>
  [namespace, rootNamespace].includes(metadata.namespace)
    ? `proxies of namespace ${namespace}`
    : `waypoints of namespace ${metadata.namespace} that serve namespace ${namespace}`;

/** The namespaces whose objects apply to the proxies of a namespace: itself, then the root namespace. */
export function namespacesInForce(namespace: Namespace, mesh: MeshView<typeof rootOfNamespace>): readonly Namespace[] {
  const others = mesh
    .related(rootOfNamespace, namespace)
    .filter(({ metadata }) => metadata.name !== namespace.metadata.name);
  return [namespace, ...others];
}

/** Whether an object applies to proxies of a namespace for certain or possibly; undefined: it does not. */
export type ProxyReach = "sure" | "possible" | undefined;

/** Why an object that possibly applies only warns, as the rest of a sentence that begins with "because". */
export const possibleReach = "it is not known whether some proxy has it";

type Reaches = Map<readonly Workload[], ProxyReach>;

/** The waypoints that serve a namespace, as far as they are not among its own gateways. */
export interface ServedBy {
  /** Those of other namespaces. */
  readonly gateways: readonly GatewayTarget[];
  /** Whether a Service or a ServiceEntry of the namespace has a waypoint, so that what targets it applies there. */
  reachOf(target: "Service" | "ServiceEntry", name: string): ProxyReach;
}

/** The sidecars, gateways and waypoints of a namespace. Objects with the same selector share a result. */
export class Proxies {
  readonly #namespace: Namespace;
  readonly #workloads: Labelled<Workload>;
  readonly #gateways: readonly KubernetesGateway[];
  readonly #mesh: MeshView;
  readonly #servedBy: ServedBy | undefined;
  /** By how it is selected, by what is selected, and by what was. */
  readonly #reach = new Map<string, Map<readonly Workload[], Reaches>>();

  constructor(
    namespace: Namespace,
    mesh: MeshView<typeof gatewaysOfNamespace | typeof workloadsOfNamespace>,
    servedBy?: ServedBy,
  ) {
    this.#namespace = namespace;
    this.#workloads = new Labelled(mesh.related(workloadsOfNamespace, namespace), ({ pod }) => pod.labels);
    this.#gateways = mesh.related(gatewaysOfNamespace, namespace);
    this.#mesh = mesh;
    this.#servedBy = servedBy;
  }

  /**
   * Whether an object of this scope applies to some proxy, of those to which it did not apply with its old scope if that is
   * given. ztunnel is none.
   */
  reachOf(object: AnyObject, scope: ProxyScope, old?: ProxyScope): ProxyReach {
    if (scope.types?.length === 0 || (old !== undefined && covers(old, scope))) return undefined;
    return scope.targetRefs.length === 0 ? this.#reachOfLabels(scope, old) : this.#reachOfTargets(object, scope, old);
  }

  /** Whether some target is, or may be, at a waypoint. Labels select none (policyattachment.go ShouldAttachPolicy). */
  isAtWaypoint({ targetRefs, namespace }: ProxyScope): boolean {
    const isHere = namespace === this.#namespace.metadata.name;
    return targetRefs.some(({ kind, name }) => {
      const gateway =
        isHere && kind === "Gateway" ? this.#gateways.find(({ metadata }) => metadata.name === name) : undefined;
      return gateway === undefined || isIstiosWaypoint(gateway, this.#mesh.settings);
    });
  }

  #reachOfLabels(scope: ProxyScope, old: ProxyScope | undefined): ProxyReach {
    const was = old === undefined || old.targetRefs.length > 0 ? undefined : old;
    const selected = this.#workloads.selected(scope.labels);
    const known = was === undefined ? none : this.#workloads.selected(was.labels);
    const how = `${scope.isOfPods === true} ${scope.types?.join() ?? ""}`;
    const reach = this.#reach.get(how) ?? new Map<readonly Workload[], Reaches>();
    this.#reach.set(how, reach);
    const bySelected: Reaches = reach.get(selected) ?? new Map();
    if (!bySelected.has(known)) bySelected.set(known, this.#look(selected, new Set(known), scope));
    reach.set(selected, bySelected);
    return this.#selectsGateway(scope, was) ? "sure" : bySelected.get(known);
  }

  /** Whether the labels that istiod gives the pods of a Gateway are selected, also if these pods are not known. */
  #selectsGateway(scope: ProxyScope, old: ProxyScope | undefined): boolean {
    return this.#gateways.some((gateway) => {
      const isWaypoint = isIstiosWaypoint(gateway, this.#mesh.settings);
      if (isDeployedByHand(gateway) || (isWaypoint && scope.isOfPods !== true)) return false;
      const labels = labelsOfGatewayPods(gateway, this.#mesh.settings);
      const isNew = selects(scope.labels, labels) && (old === undefined || !selects(old.labels, labels));
      return isNew && isForType(scope, isWaypoint ? "waypoint" : "gateway");
    });
  }

  #look(workloads: readonly Workload[], known: ReadonlySet<Workload>, scope: ProxyScope): ProxyReach {
    let mayBe = !this.#mesh.knowsAll("Workload");
    for (const workload of workloads) {
      const type = proxyTypeOf(workload);
      if (known.has(workload) || !isForType(scope, type)) continue;
      if (type === "waypoint" && scope.isOfPods !== true) continue;
      const capture = type === "sidecar" ? captureOf(workload, this.#namespace, this.#mesh.settings) : "sidecar";
      if (capture === "sidecar") return "sure";
      mayBe ||= capture === "unknown";
    }
    return mayBe ? "possible" : undefined;
  }

  #reachOfTargets(object: AnyObject, scope: ProxyScope, old: ProxyScope | undefined): ProxyReach {
    const { targetRefs } = scope;
    // These functions accept policies, and need only where the object is and what it selects or targets.
    const asPolicy = ({ labels, ...refs }: ProxyScope) =>
      ({
        metadata: object.metadata,
        spec: { ...refs, selector: { matchLabels: labels } },
      }) as unknown as AuthorizationPolicy;
    const namespace = this.#namespace.metadata.name;
    const [now, before] = [asPolicy({ labels: noLabels, targetRefs }), old && asPolicy(old)];
    const own = this.#gateways.map((gateway) => ({
      ...{ name: gateway.metadata.name, namespace, isWaypoint: isIstiosWaypoint(gateway, this.#mesh.settings) },
    }));
    const isAttached = [...own, ...(this.#servedBy?.gateways ?? [])].some((gateway) => {
      const attaches = (policy: AuthorizationPolicy) => attachesToGateway(policy, gateway, this.#mesh.settings);
      if (!isForType(scope, gateway.isWaypoint ? "waypoint" : "gateway")) return false;
      return attaches(now) && (before === undefined || !attaches(before));
    });
    if (isAttached) return "sure";
    const atServices = this.#reachAtServices(object, targetRefs, old?.targetRefs ?? []);
    return atServices ?? (this.#mesh.knowsAll("KubernetesGateway") ? undefined : "possible");
  }

  /**
   * What targets a Service or a ServiceEntry applies at its waypoint, except EnvoyFilters, which istiod looks for without any Service
   * (push_context.go getMatchedEnvoyFilters).
   */
  #reachAtServices(
    { kind, metadata }: AnyObject,
    targetRefs: readonly TargetRef[],
    old: readonly TargetRef[],
  ): ProxyReach {
    if (kind === "EnvoyFilter" || metadata.namespace !== this.#namespace.metadata.name) return undefined;
    const known = new Set(old.map((ref) => JSON.stringify(ref)));
    const reaches = targetRefs.map((ref): ProxyReach => {
      if (known.has(JSON.stringify(ref)) || !targetsServices(ref)) return undefined;
      return this.#servedBy?.reachOf(ref.kind, ref.name);
    });
    return reaches.includes("sure") ? "sure" : reaches.find((reach) => reach !== undefined);
  }
}

const groupsOfServices = { Service: ["", "core"], ServiceEntry: ["networking.istio.io"] } as const;

const targetsServices = (ref: TargetRef): ref is TargetRef & { readonly kind: "Service" | "ServiceEntry" } =>
  (ref.kind === "Service" || ref.kind === "ServiceEntry") &&
  (groupsOfServices[ref.kind] as readonly string[]).includes(ref.group);

const none: readonly Workload[] = [];

/** The proxies of a namespace that objects can select or target. */
export const proxiesOfNamespace = fact(
  "proxiesOfNamespace",
  "Namespace",
  [gatewaysOfNamespace, workloadsOfNamespace],
  (namespace, mesh) => new Proxies(namespace, mesh),
);
