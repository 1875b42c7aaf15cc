import { kubernetesGatewayByName } from "../objects/indexes.ts";
import { idOf } from "../../kube/identity.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import {
  authorizationPoliciesOfNamespace,
  namespaceOfAuthorizationPolicy,
} from "../authorization/effective-authorization.ts";
import { type AuthorizationPolicy, isDryRun, servicesTargeted, targetRefsOf } from "../authorization/policies.ts";
import { answerTo, type Caller } from "../authorization/ztunnel-callers.ts";
import { captureOf, enrollmentOf } from "../membership/capture.ts";
import { isForIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isUsable,
  namespacesByWaypoint,
  servicesByWaypoint,
  waypointBindingOfNamespace,
  waypointBindingOfService,
  type WaypointName,
  waypointNamed,
  waypointOfNamespace,
  waypointOfService,
} from "./bindings.ts";
import { serviceByName } from "../objects/indexes.ts";
import { gatewayApiGroup } from "../objects/labels.ts";

type Labels = Readonly<Record<string, string>>;

/** The gateways in its namespace that a policy targets (Istio pilot/pkg/model/policyattachment.go). */
const gatewaysNamed = (policy: AuthorizationPolicy): readonly WaypointName[] =>
  targetRefsOf(policy).flatMap(({ group, kind, name, namespace }) =>
    group === gatewayApiGroup && kind === "Gateway" && ["", policy.metadata.namespace].includes(namespace ?? "")
      ? [{ name, namespace: policy.metadata.namespace }]
      : [],
  );

const policiesByGateway = index("AuthorizationPolicy", (policy) => gatewaysNamed(policy).map(formatWaypoint));

/** A policy and the gateways in its targetRefs. */
export const gatewaysOfPolicy = relation("gatewaysOfPolicy", policiesByGateway, kubernetesGatewayByName);
/** A policy and the namespaces whose waypoint it targets. */
export const namespacesBehindPolicy = relation("namespacesBehindPolicy", policiesByGateway, namespacesByWaypoint);
/** A policy and the Services whose own waypoint it targets. */
export const servicesBehindPolicy = relation("servicesBehindPolicy", policiesByGateway, servicesByWaypoint);
/** A policy and the Services in its targetRefs. */
export const servicesOfPolicy = relation(
  "servicesOfPolicy",
  index("AuthorizationPolicy", (policy) =>
    servicesTargeted(policy).map((name) => `${policy.metadata.namespace}/${name}`),
  ),
  serviceByName,
);

export const readsWaypointGuards = [
  gatewaysOfPolicy,
  namespacesBehindPolicy,
  servicesBehindPolicy,
  servicesOfPolicy,
  namespaceOfAuthorizationPolicy,
  namespaceOfService,
  authorizationPoliciesOfNamespace,
  workloadsOfNamespace,
  waypointOfNamespace,
  waypointOfService,
] as const;
type View = MeshView<(typeof readsWaypointGuards)[number]>;

/** A part of a namespace whose traffic goes through a waypoint. */
interface Front {
  readonly waypoint: WaypointName;
  readonly gateway: KubernetesGateway | undefined;
  readonly namespace: Namespace;
  /** The labels of the pods behind the waypoint. */
  readonly selector: Labels;
  /** Their name in messages; undefined: the whole namespace. */
  readonly shown?: string;
}

/** How ztunnel at the pods behind a waypoint treats requests from the waypoint, and requests that bypass it. */
export interface Guard {
  readonly waypoint: WaypointName;
  readonly caller: Caller;
  readonly namespace: Namespace;
  /** For messages: all workloads behind the waypoint if they have the same result, or one workload. */
  readonly behind: string;
  readonly answer: "refused" | "let in" | "open";
}

/** The workloads behind the waypoints that a policy targets. */
export function guardsOf(policy: AuthorizationPolicy, mesh: View): readonly Guard[] {
  if (!isServed(policy, mesh.settings) || isDryRun(policy)) return [];
  return guardsAt([...frontsOfGateways(policy, mesh), ...frontsOfServices(policy, mesh)], mesh);
}

/** The workloads behind a waypoint that a policy without targetRefs selects. */
export function guardsSelected(policy: AuthorizationPolicy, mesh: View): readonly Guard[] {
  const fronts = mesh.related(namespaceOfAuthorizationPolicy, policy).flatMap((namespace): readonly Front[] => {
    const binding = waypointBindingOfNamespace(namespace, mesh);
    if (!isUsable(binding)) return [];
    const selector = policy.spec.selector?.matchLabels ?? {};
    const front = { waypoint: binding.named, gateway: binding.gateway, namespace, selector };
    const labels = formatLabels(selector);
    return [labels === "" ? front : { ...front, shown: labels.replaceAll(", ", ",") }];
  });
  return guardsAt(fronts, mesh);
}

function guardsAt(fronts: readonly Front[], mesh: View): readonly Guard[] {
  const distinct = new Map(fronts.map((front) => [keyOf(front), front]));
  return [...distinct.values()]
    .filter(({ namespace }) => !isTerminating(namespace))
    .flatMap((one) => guardsIn(one, mesh));
}

const keyOf = ({ waypoint, namespace, selector }: Front): string =>
  JSON.stringify([formatWaypoint(waypoint), namespace.metadata.name, formatLabels(selector)]);

/** Includes the policy's own namespace if it names no other waypoint, because its label may be set last. */
function* frontsOfGateways(policy: AuthorizationPolicy, mesh: View): Iterable<Front> {
  const own = mesh
    .related(namespaceOfAuthorizationPolicy, policy)
    .filter(({ metadata }) => waypointNamed(metadata.labels, metadata.name) === undefined);
  const others = mesh.related(namespacesBehindPolicy, policy);
  const services = mesh.related(servicesBehindPolicy, policy);
  for (const gateway of mesh.related(gatewaysOfPolicy, policy)) {
    if (isForIngress(gateway)) continue;
    const waypoint = { name: gateway.metadata.name, namespace: gateway.metadata.namespace };
    const isNamed = ({ metadata }: Namespace | Service, where: string) =>
      isSame(waypointNamed(metadata.labels, where), waypoint);
    for (const namespace of [...own, ...others.filter((one) => isNamed(one, one.metadata.name))])
      yield { waypoint, gateway, namespace, selector: {} };
    for (const service of services.filter((one) => isNamed(one, one.metadata.namespace)))
      for (const namespace of mesh.related(namespaceOfService, service))
        yield { waypoint, gateway, namespace, selector: service.spec.selector, shown: shownService(service) };
  }
}

const isSame = (named: ReturnType<typeof waypointNamed>, waypoint: WaypointName): boolean =>
  typeof named === "object" && formatWaypoint(named) === formatWaypoint(waypoint);

const shownService = (service: Service): string => `the workloads of ${idOf(service)}`;

function* frontsOfServices(policy: AuthorizationPolicy, mesh: View): Iterable<Front> {
  for (const service of mesh.related(servicesOfPolicy, policy)) {
    const [namespace] = mesh.related(namespaceOfService, service);
    const binding = waypointBindingOfService(service, namespace, mesh);
    if (namespace === undefined || !isUsable(binding)) continue;
    yield {
      waypoint: binding.named,
      gateway: binding.gateway,
      namespace,
      selector: service.spec.selector,
      shown: shownService(service),
    };
  }
}

/**
 * The workloads behind one waypoint. If they are not known, imaginary pods with exactly the selected labels represent
 * them.
 */
function guardsIn(front: Front, mesh: View): readonly Guard[] {
  const { waypoint, gateway, namespace, selector } = front;
  const caller = identityOfWaypoint(waypoint, gateway);
  const policies = mesh.related(authorizationPoliciesOfNamespace, namespace);
  const answer = (labels: Labels) => answerTo(caller, labels, policies, mesh.settings);
  const guard = { waypoint, caller, namespace };
  const behind = front.shown ?? `the workloads of ${namespace.metadata.name}`;
  const there = mesh.related(workloadsOfNamespace, namespace).filter((workload) => isBehind(workload, front));
  const isGuessed = there.length === 0 && !mesh.knowsAll("Workload");
  if (isGuessed && enrollmentOf(namespace) === "ambient") return [{ ...guard, behind, answer: answer(selector) }];
  const guards = there.map((workload) => ({ ...guard, behind: idOf(workload), answer: answer(workload.pod.labels) }));
  const [first] = guards;
  const isAlike = first !== undefined && guards.every((other) => other.answer === first.answer);
  return isAlike ? [{ ...first, behind }] : guards;
}

const isBehind = (workload: Workload, { namespace, selector }: Front): boolean =>
  !isProxy(workload) && captureOf(workload, namespace) === "ambient" && selects(selector, workload.pod.labels);
