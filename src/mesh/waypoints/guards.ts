import type { Labels } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import {
  actionOf,
  type AuthorizationPolicy,
  isDryRun,
  isEnforced,
  servicesTargeted,
  targetRefsOf,
} from "../authorization/policies.ts";
import { asksForHttp } from "../authorization/rules.ts";
import { captured } from "../membership/captured.ts";
import { isForIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import type { Workload } from "../membership/workloads.ts";
import { kubernetesGatewayByName, namespaceByName, serviceByName } from "../objects/indexes.ts";
import { gatewayApiGroup } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { formatLabels } from "../objects/selectors.ts";
import { behindWaypoints, type Front, Guards } from "./behind-waypoints.ts";
import {
  formatWaypoint,
  namespaceOfBoundService,
  namespaceOfGateway,
  namespacesByWaypoint,
  servicesByWaypoint,
  waypointBinding,
  takesPods,
  type WaypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  type WaypointName,
  waypointNamed,
  waypointOfService,
  waypointOfServiceEntry,
} from "./bindings.ts";
import {
  serviceCanaryReads,
  namespaceOfCanaryService,
  namespacesByCanary,
  servicesByCanary,
  waypointsUsedForService,
} from "./canaries.ts";

/** The gateways in its namespace that a policy targets (Istio pilot/pkg/model/policyattachment.go). */
const gatewaysNamed = (policy: AuthorizationPolicy): readonly WaypointName[] =>
  targetRefsOf(policy).flatMap(({ group, kind, name, namespace }) =>
    group === gatewayApiGroup && kind === "Gateway" && ["", policy.metadata.namespace].includes(namespace ?? "")
      ? [{ name, namespace: policy.metadata.namespace }]
      : [],
  );

const counts = (policy: AuthorizationPolicy, settings: MeshSettings): boolean =>
  isServed(policy, settings) && !isDryRun(policy);

/** A policy and the gateways in its targetRefs. */
const gatewaysOfPolicy = relation(
  "gatewaysOfPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    counts(policy, settings) ? gatewaysNamed(policy).map(formatWaypoint) : [],
  ),
  kubernetesGatewayByName,
);
/** A policy and the Services in its targetRefs. */
const servicesOfPolicy = relation(
  "servicesOfPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    counts(policy, settings) ? servicesTargeted(policy).map((name) => `${policy.metadata.namespace}/${name}`) : [],
  ),
  serviceByName,
);
/** A policy that targets Services, and its namespace, which is also theirs. */
const namespaceOfServicesOfPolicy = relation(
  "namespaceOfServicesOfPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    counts(policy, settings) && servicesTargeted(policy).length > 0 ? [policy.metadata.namespace] : [],
  ),
  namespaceByName,
);
/** A gateway and the namespaces whose labels name it as a waypoint. */
const namespacesOfWaypoint = relation("namespacesOfWaypoint", kubernetesGatewayByName, namespacesByWaypoint);
/** A gateway and the Services whose own labels name it. */
const servicesOfWaypoint = relation("servicesOfWaypoint", kubernetesGatewayByName, servicesByWaypoint);
/** A gateway and the namespaces whose labels name it as a canary. */
const namespacesOfCanary = relation("namespacesOfCanary", kubernetesGatewayByName, namespacesByCanary);
/** A gateway and the Services whose own labels name it as a canary. */
const servicesOfCanary = relation("servicesOfCanary", kubernetesGatewayByName, servicesByCanary);

/** An ALLOW policy at ztunnel that is intended to allow somebody; one without rules is a default deny. */
const isForCallers = (policy: AuthorizationPolicy): boolean =>
  actionOf(policy) === "ALLOW" &&
  targetRefsOf(policy).length === 0 &&
  policy.spec.rules.some((rule) => rule.from.length > 0 && !asksForHttp(rule));

/** Such a policy and its namespace. */
const namespaceOfCallers = relation(
  "namespaceOfCallers",
  index("AuthorizationPolicy", (policy, settings) =>
    isForCallers(policy) && isEnforced(policy, settings) ? [policy.metadata.namespace] : [],
  ),
  namespaceByName,
);

/** What `frontsOfCanary` reads. */
const canariesRead = [
  namespacesOfCanary,
  servicesOfCanary,
  namespaceOfCanaryService,
  waypointBinding,
  waypointOfService,
  ...serviceCanaryReads,
] as const;

/** The parts of namespaces for which a gateway is a canary that gets connections. */
function frontsOfCanary(gateway: KubernetesGateway, mesh: MeshView<(typeof canariesRead)[number]>): readonly Front[] {
  const { name, namespace } = gateway.metadata;
  const isIt = ({ waypoint }: Front): boolean => waypoint.name === name && waypoint.namespace === namespace;
  const ofNamespaces = mesh
    .related(namespacesOfCanary, gateway)
    .flatMap((one) => frontsOf(undefined, one, mesh.get(waypointBinding, one), mesh));
  const ofServices = mesh
    .related(servicesOfCanary, gateway)
    .flatMap((service) =>
      mesh.related(namespaceOfCanaryService, service).flatMap((one) => frontsOfService(service, one, mesh)),
    );
  return [...ofNamespaces, ...ofServices].filter(isIt);
}

/** One for each waypoint that gets connections to a Service, or with `service` undefined to those without a label of their own. */
export function frontsOf(
  service: Service | undefined,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: MeshView<(typeof serviceCanaryReads)[number]>,
): readonly Front[] {
  const selector = service?.spec.selector ?? {};
  const shown = service === undefined ? {} : { shown: shownService(service) };
  return waypointsUsedForService(service, namespace, primary, mesh).map((one) => ({
    ...{ waypoint: one.named, gateway: one.gateway, namespace, selector, ...shown },
    isOfShare: one.share !== undefined && one.share < 1 && one.named !== primary?.named,
  }));
}

/** The workloads behind a waypoint: those of objects that name it, and for one that nothing names yet those of its own namespace. */
const guardsOfWaypoint = fact(
  "guardsOfWaypoint",
  "KubernetesGateway",
  [
    namespaceOfGateway,
    namespacesOfWaypoint,
    servicesOfWaypoint,
    namespaceOfBoundService,
    ...canariesRead,
    behindWaypoints,
  ],
  (gateway, mesh) => {
    if (isForIngress(gateway, mesh.settings)) return { named: noGuards, withOwn: noGuards };
    const waypoint = { name: gateway.metadata.name, namespace: gateway.metadata.namespace };
    const front = (namespace: Namespace): Front => ({ waypoint, gateway, namespace, selector: {} });
    const named = mesh.related(namespacesOfWaypoint, gateway).map(front);
    const services = mesh.related(servicesOfWaypoint, gateway).flatMap((service) =>
      mesh.related(namespaceOfBoundService, service).map((namespace) => ({
        ...front(namespace),
        selector: service.spec.selector,
        shown: shownService(service),
      })),
    );
    const fronts = [...named, ...services, ...frontsOfCanary(gateway, mesh)];
    const guards = guardsAt(fronts, mesh);
    if (fronts.length > 0) return { named: guards, withOwn: guards };
    // If it names no other waypoint, because its label may be set last.
    const own = mesh
      .related(namespaceOfGateway, gateway)
      .filter(({ metadata }) => waypointNamed(metadata.labels, metadata.name) === undefined);
    return { named: guards, withOwn: guardsAt(own.map(front), mesh) };
  },
);

/** The workloads behind the waypoints that a policy targets. */
export const guardsOfPolicy = fact(
  "guardsOfPolicy",
  "AuthorizationPolicy",
  [
    gatewaysOfPolicy,
    servicesOfPolicy,
    namespaceOfServicesOfPolicy,
    waypointBinding,
    waypointOfService,
    ...serviceCanaryReads,
    guardsOfWaypoint,
    behindWaypoints,
  ],
  (policy, mesh): Guards => {
    const ofGateways = mesh.related(gatewaysOfPolicy, policy).map((gateway) => {
      const { named, withOwn } = mesh.get(guardsOfWaypoint, gateway);
      return isEnforced(policy, mesh.settings) ? withOwn : named;
    });
    const fronts = mesh
      .related(namespaceOfServicesOfPolicy, policy)
      .flatMap((namespace) =>
        mesh.related(servicesOfPolicy, policy).flatMap((service) => frontsOfService(service, namespace, mesh)),
      );
    return union(fronts.length === 0 ? ofGateways : [...ofGateways, guardsAt(fronts, mesh)]);
  },
);

/** The pods of a namespace by the waypoints of the Services and ServiceEntries that lead to them. */
export interface PodsByWay {
  /** None of them uses the waypoint of the namespace. */
  readonly past: ReadonlySet<Workload>;
  /** All of them do. */
  readonly through: ReadonlySet<Workload>;
}

/**
 * The pods that are reached through Services and ServiceEntries. These do not use the waypoint of the namespace if their own label names
 * another one, or none (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget).
 */
export const podsByWay = fact(
  "podsByWay",
  "Namespace",
  [
    servicesOfNamespace,
    selectingEntriesOfNamespace,
    waypointBinding,
    waypointOfService,
    waypointOfServiceEntry,
    captured,
  ],
  (namespace, mesh): PodsByWay => {
    const { ambient } = mesh.get(captured, namespace);
    const services = mesh.related(servicesOfNamespace, namespace).filter(({ spec }) => !isEmpty(spec.selector));
    const ways = [
      ...services.map((one) => [one.spec.selector, waypointBindingOfService(one, namespace, mesh)] as const),
      ...mesh
        .related(selectingEntriesOfNamespace, namespace)
        .map(
          (one) =>
            [one.spec.workloadSelector?.labels ?? {}, waypointBindingOfServiceEntry(one, namespace, mesh)] as const,
        ),
    ];
    const [past, through] = [new Set<Workload>(), new Set<Workload>()];
    for (const [selector, binding] of ways) {
      const pods = ambient.selected(selector);
      mesh.visited(1 + pods.length);
      for (const pod of pods) (binding?.by === "namespace" ? through : past).add(pod);
    }
    return { past: past.difference(through), through: through.difference(past) };
  },
);
const isEmpty = (labels: Labels): boolean => Object.keys(labels).length === 0;

/** Whether requests to some of the pods that a selector selects go through the waypoint of the namespace, as far as is known. */
function mayComeThrough(
  gateway: KubernetesGateway | undefined,
  selector: Labels,
  namespace: Namespace,
  mesh: MeshView<typeof podsByWay | typeof captured>,
): boolean {
  if (gateway === undefined || takesPods(gateway, mesh.settings) || !mesh.knowsAll("Service")) return true;
  const { past } = mesh.get(podsByWay, namespace);
  const pods = mesh.get(captured, namespace).ambient.selected(selector);
  return pods.length === 0 || past.size === 0 || pods.some((pod) => !past.has(pod));
}

/** The workloads behind a waypoint that a policy without targetRefs selects. */
export const guardsOfCallers = fact(
  "guardsOfCallers",
  "AuthorizationPolicy",
  [namespaceOfCallers, waypointBinding, ...serviceCanaryReads, behindWaypoints, podsByWay, captured],
  (policy, mesh): Guards => {
    const fronts = mesh.related(namespaceOfCallers, policy).flatMap((namespace): readonly Front[] => {
      const selector = policy.spec.selector?.matchLabels ?? {};
      const labels = formatLabels(selector);
      const shown = labels === "" ? {} : { shown: labels.replaceAll(", ", ",") };
      return frontsOf(undefined, namespace, mesh.get(waypointBinding, namespace), mesh)
        .filter(({ gateway }) => mayComeThrough(gateway, selector, namespace, mesh))
        .map((front) => ({ ...front, selector, ...shown }));
    });
    return fronts.length === 0 ? noGuards : guardsAt(fronts, mesh);
  },
);

const noGuards = new Guards([]);
function union(all: readonly Guards[]): Guards {
  const [first = noGuards] = all;
  return all.length < 2 ? first : new Guards([...new Map(all.flatMap(({ fronts }) => fronts))]);
}

function guardsAt(fronts: readonly Front[], mesh: MeshView<typeof behindWaypoints>): Guards {
  const distinct = new Map(fronts.map((front) => [keyOf(front), front]));
  return new Guards(
    [...distinct]
      .filter(([, { namespace }]) => !isTerminating(namespace))
      .map(([key, front]) => [key, mesh.get(behindWaypoints, front.namespace).at(front, key)] as const),
  );
}

const keyOf = ({ waypoint, namespace, selector }: Front): string =>
  JSON.stringify([formatWaypoint(waypoint), namespace.metadata.name, formatLabels(selector)]);

const shownService = (service: Service): string => `the workloads of ${idOf(service)}`;

const frontsOfService = (
  service: Service,
  namespace: Namespace,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfService | (typeof serviceCanaryReads)[number]>,
): readonly Front[] => frontsOf(service, namespace, waypointBindingOfService(service, namespace, mesh), mesh);
