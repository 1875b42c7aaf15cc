import type { Labels } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { policyLevelsAtZtunnel } from "../authorization/policy-levels.ts";
import {
  actionOf,
  type AuthorizationPolicy,
  isDryRun,
  isEnforced,
  servicesTargeted,
  targetRefsOf,
} from "../authorization/policies.ts";
import { asksForHttp } from "../authorization/rules.ts";
import { type Answer, type Attached, type Caller, ZtunnelAnswers } from "../authorization/ztunnel-callers.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { captured } from "../membership/captured.ts";
import { isForIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import type { Workload } from "../membership/workloads.ts";
import { kubernetesGatewayByName, namespaceByName, serviceByName } from "../objects/indexes.ts";
import type { Labelled } from "../objects/labelled.ts";
import { gatewayApiGroup } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { formatLabels } from "../objects/selectors.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isUsable,
  namespaceOfBoundService,
  namespaceOfGateway,
  namespacesByWaypoint,
  servicesByWaypoint,
  waypointBinding,
  takesPods,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  type WaypointName,
  waypointNamed,
  waypointOfService,
  waypointOfServiceEntry,
} from "./bindings.ts";

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
  readonly answer: Answer;
}

/** The guards of several parts of namespaces, each part once, by key. */
class Guards {
  readonly fronts: readonly (readonly [key: string, guards: readonly Guard[]])[];
  readonly #answering = new Map<Answer, readonly Guard[]>();

  constructor(fronts: Guards["fronts"]) {
    this.fronts = fronts;
  }

  answering(answer: Answer): readonly Guard[] {
    let found = this.#answering.get(answer);
    if (found === undefined) {
      found = this.fronts.flatMap(([, guards]) => guards.filter((guard) => guard.answer === answer));
      this.#answering.set(answer, found);
    }
    return found;
  }
}

/** How ztunnel at the pods of one namespace treats waypoints. */
class BehindWaypoints {
  readonly #namespace: Namespace;
  readonly #pods: Labelled<Workload>;
  readonly #answers: ZtunnelAnswers;
  readonly #isGuessing: boolean;
  readonly #guards = new Map<string, readonly Guard[]>();
  readonly #attached = new Map<readonly Workload[], AttachedPolicies>();

  /** `isGuessing`: the namespace is ambient, and there may be pods that the view does not contain. */
  constructor(namespace: Namespace, pods: Labelled<Workload>, answers: ZtunnelAnswers, isGuessing: boolean) {
    this.#namespace = namespace;
    this.#pods = pods;
    this.#answers = answers;
    this.#isGuessing = isGuessing;
  }

  /** The workloads behind one waypoint. */
  at(front: Front, key: string): readonly Guard[] {
    const shownKey = `${key} ${front.shown ?? ""}`;
    let found = this.#guards.get(shownKey);
    if (found === undefined) this.#guards.set(shownKey, (found = this.#look(front)));
    return found;
  }

  /** If they are not known, imaginary pods with exactly the selected labels represent them. */
  #look({ waypoint, gateway, selector, shown }: Front): readonly Guard[] {
    const namespace = this.#namespace;
    const caller = identityOfWaypoint(waypoint, gateway);
    const guard = { waypoint, caller, namespace };
    const behind = shown ?? `the workloads of ${namespace.metadata.name}`;
    const there = this.#pods.selected(selector);
    if (there.length === 0) {
      return this.#isGuessing
        ? [{ ...guard, behind, answer: this.#answers.to(caller, this.#answers.attachedTo(selector)) }]
        : [];
    }
    const { attached, distinct } = this.#policiesOf(there);
    const answers = distinct.map((policies) => this.#answers.to(caller, policies));
    const [answer] = new Set(answers);
    if (answer !== undefined && answers.every((other) => other === answer)) return [{ ...guard, behind, answer }];
    const known = new Map(distinct.map((policies, i) => [policies, answers[i] as Answer]));
    return there.map((workload, i) => ({
      ...guard,
      behind: idOf(workload),
      answer: known.get(attached[i] as Attached) as Answer,
    }));
  }

  /** The policies for each of the pods, which do not depend on the caller. */
  #policiesOf(pods: readonly Workload[]): AttachedPolicies {
    let found = this.#attached.get(pods);
    if (found === undefined) {
      const attached = pods.map(({ pod }) => this.#answers.attachedTo(pod.labels));
      this.#attached.set(pods, (found = { attached, distinct: [...new Set(attached)] }));
    }
    return found;
  }
}

/** The policies that ztunnel enforces on each of several pods, and the distinct ones among them. */
interface AttachedPolicies {
  readonly attached: readonly Attached[];
  readonly distinct: readonly Attached[];
}

/** How ztunnel at the pods of a namespace treats waypoints. */
const behindWaypoints = fact("behindWaypoints", "Namespace", [policyLevelsAtZtunnel, captured], (namespace, mesh) => {
  const policies = mesh.get(policyLevelsAtZtunnel, namespace);
  const { own, meshWide } = policies.readBy(policies.readers.ofZtunnel);
  const answers = new ZtunnelAnswers(meshWide === undefined ? [own] : [own, meshWide], mesh.settings);
  const isGuessing = !mesh.knowsAll("Workload") && enrollmentOf(namespace, mesh.settings) === "ambient";
  return new BehindWaypoints(namespace, mesh.get(captured, namespace).ambient, answers, isGuessing);
});

/** The workloads behind a waypoint: those of objects that name it, and for one that nothing names yet those of its own namespace. */
const guardsOfWaypoint = fact(
  "guardsOfWaypoint",
  "KubernetesGateway",
  [namespaceOfGateway, namespacesOfWaypoint, servicesOfWaypoint, namespaceOfBoundService, behindWaypoints],
  (gateway, mesh) => {
    if (isForIngress(gateway)) return { named: noGuards, withOwn: noGuards };
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
    const fronts = [...named, ...services];
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
        mesh.related(servicesOfPolicy, policy).flatMap((service) => frontOfService(service, namespace, mesh)),
      );
    return union(fronts.length === 0 ? ofGateways : [...ofGateways, guardsAt(fronts, mesh)]);
  },
);

/**
 * The pods that are reached through Services and ServiceEntries, none of which uses the waypoint of the namespace: their own label names another
 * one, or none (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget).
 */
const podsPastWaypoint = fact(
  "podsPastWaypoint",
  "Namespace",
  [
    servicesOfNamespace,
    selectingEntriesOfNamespace,
    waypointBinding,
    waypointOfService,
    waypointOfServiceEntry,
    captured,
  ],
  (namespace, mesh): ReadonlySet<Workload> => {
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
    return past.difference(through);
  },
);
const isEmpty = (labels: Labels): boolean => Object.keys(labels).length === 0;

/** Whether requests to some of the pods that a selector selects go through the waypoint of the namespace, as far as is known. */
function mayComeThrough(
  gateway: KubernetesGateway | undefined,
  selector: Labels,
  namespace: Namespace,
  mesh: MeshView<typeof podsPastWaypoint | typeof captured>,
): boolean {
  if (gateway === undefined || takesPods(gateway) || !mesh.knowsAll("Service")) return true;
  const past = mesh.get(podsPastWaypoint, namespace);
  const pods = mesh.get(captured, namespace).ambient.selected(selector);
  return pods.length === 0 || past.size === 0 || pods.some((pod) => !past.has(pod));
}

/** The workloads behind a waypoint that a policy without targetRefs selects. */
export const guardsOfCallers = fact(
  "guardsOfCallers",
  "AuthorizationPolicy",
  [namespaceOfCallers, waypointBinding, behindWaypoints, podsPastWaypoint, captured],
  (policy, mesh): Guards => {
    const fronts = mesh.related(namespaceOfCallers, policy).flatMap((namespace): readonly Front[] => {
      const binding = mesh.get(waypointBinding, namespace);
      if (!isUsable(binding)) return [];
      const selector = policy.spec.selector?.matchLabels ?? {};
      if (!mayComeThrough(binding.gateway, selector, namespace, mesh)) return [];
      const front = { waypoint: binding.named, gateway: binding.gateway, namespace, selector };
      const labels = formatLabels(selector);
      return [labels === "" ? front : { ...front, shown: labels.replaceAll(", ", ",") }];
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

function frontOfService(
  service: Service,
  namespace: Namespace,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfService>,
): readonly Front[] {
  const binding = waypointBindingOfService(service, namespace, mesh);
  if (!isUsable(binding)) return [];
  const front = { waypoint: binding.named, gateway: binding.gateway, namespace };
  return [{ ...front, selector: service.spec.selector, shown: shownService(service) }];
}
