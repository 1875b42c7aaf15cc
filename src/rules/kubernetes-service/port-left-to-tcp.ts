import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { decidingByHttp, lossesWithoutHttp } from "../../mesh/authorization/losses-without-http.ts";
import { noLabels } from "../../mesh/authorization/proxy-scope.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { selectsPods, type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import {
  isProxy,
  portsNamed,
  type Workload,
  workloadPairs,
  workloadsOfNamespace,
} from "../../mesh/membership/workloads.ts";
import { declaredProtocol } from "../../mesh/membership/service-protocol.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { type SelectorGroup, SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { type Decided, serverProtocols } from "../../mesh/requests/server-protocols.ts";
import { sidecarsOfNamespace } from "../../mesh/traffic/sidecar-egress.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  servicesOfNamespace,
  workloadsOfNamespace,
  sidecarsOfNamespace,
  serverProtocols,
  ...decidingByHttp,
] as const;
type View = MeshView<(typeof reads)[number]>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

export const kubernetesServicePortLeftToTcp = defineRule({
  id: "kubernetes-service-port-left-to-tcp",
  subject: "Namespace",
  reads,
  worksWithout: ["AuthorizationPolicy", "RequestAuthentication", "ServiceEntry", "Sidecar"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A port of pods is TCP from now on, because the object that declared it as HTTP is gone and a Service declares it as TCP.",
  why: "Where several Services lead to one port of pods, the oldest one declares its protocol, and an ingress listener of a Sidecar comes before all of them (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs, getFilterChainsByServicePort, pilot/pkg/model/context.go SetServiceTargets). When that one is deleted, or no longer leads to the port, the next one decides. Where it says TCP, TLS or a database protocol, sidecars drop ALLOW rules with attributes of HTTP and leave these out of DENY rules (pilot/pkg/security/authz/model/model.go Generate), ask no provider over HTTP (pilot/pkg/security/authz/builder/builder.go), and check no tokens (pilot/pkg/security/authn/policy_applier.go JwtFilter).",
  fix: "Declare the protocol that the port serves in the Service that decides from now on: a name that begins with `http` or `grpc`, or such an appProtocol.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar"],
    seen: "All connections to the port are closed by a DENY policy, or requests that a provider or the check of tokens refused before get answers, although nobody changed a policy or the Service that is left.",
    wayOut: "Give the port of the Service that is left an appProtocol of `http`. Sidecars use it within seconds.",
    silentWhen:
      "A Service changes the protocol of its own port (kubernetes-service-port-not-http), a Sidecar declares it (sidecar-port-not-http), no Service led to the port before, the policies are in the root namespace, or the whole namespace is deleted.",
    page: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    for (const [, left] of leftToTcp(before, after)) {
      yield;
      yield* problemsOf(left, after);
    }
  },
});

/** A port of pods that another Service declares as TCP from now on. */
interface Left {
  readonly port: number;
  readonly was: string;
  readonly by: Service;
  readonly workloads: Workload[];
}

function* problemsOf({ port, was, by, workloads }: Left, { object, mesh }: Side): Iterable<Problem> {
  const pods = new Labelled(workloads, ({ pod }) => pod.labels);
  const losses = lossesWithoutHttp(object, mesh, ({ spec }) => {
    mesh.visited(1);
    const targets = "targetRef" in spec && spec.targetRef !== undefined ? [spec.targetRef] : spec.targetRefs;
    return targets.length === 0 && pods.selected(spec.selector?.matchLabels ?? noLabels).length > 0;
  });
  const [workload] = workloads;
  if (workload === undefined) return;
  for (const { by: policy, what } of losses.at([String(port)]))
    yield {
      at: [],
      message: `${idOf(by)} decides from now on, and not ${was}, that port ${port} of ${idOf(workload)} is TCP, so ${idOf(policy)} ${what}`,
      key: `${idOf(by)} ${port} ${what}`,
      related: [by, policy, workload],
      evidence: [by, policy, workload],
    };
}

/** The ports that were not TCP by one object, and are TCP by a Service that was there before and is another one. */
function leftToTcp(before: Side, after: Side): ReadonlyMap<string, Left> {
  const left = new Map<string, Left>();
  const services = after.mesh.related(servicesOfNamespace, after.object);
  const tcp = new TcpTargets(services);
  const pairs = tcp.isEmpty ? [] : changedPairs(before, after);
  if (pairs.length === 0) return left;
  const [old, now] = [before.mesh.get(serverProtocols, before.object), after.mesh.get(serverProtocols, after.object)];
  const known = new Set(before.mesh.related(servicesOfNamespace, before.object).map(idOf));
  for (const [workload, next] of pairs) {
    if (isProxy(next) || captureOf(next, after.object, after.mesh.settings) !== "sidecar") continue;
    for (const port of tcp.of(next)) {
      after.mesh.visited(1);
      const step = handedOver(old.decidedAt(workload, port), now.decidedAt(next, port));
      if (step === undefined || !known.has(idOf(step.by))) continue;
      const key = `${idOf(step.by)} ${port}`;
      const found = left.get(key);
      if (found === undefined) left.set(key, { port, ...step, workloads: [next] });
      else found.workloads.push(next);
    }
  }
  return left;
}

type Pair = readonly [before: Workload, after: Workload];

/** The workloads for which something else may decide: they changed, a Service that led to them did, or the Sidecars of the namespace. */
function changedPairs(before: Side, after: Side): readonly Pair[] {
  const sideOf = ({ object, mesh }: Side) => ({
    services: mesh.related(servicesOfNamespace, object),
    workloads: mesh.related(workloadsOfNamespace, object),
    sidecars: mesh.related(sidecarsOfNamespace, object),
  });
  const [old, now] = [sideOf(before), sideOf(after)];
  if (old.services === now.services && old.workloads === now.workloads && old.sidecars === now.sidecars) return [];
  const pairs = [...workloadPairs(old.workloads, now.workloads)];
  if (old.sidecars !== now.sidecars) return pairs;
  const there = new Set(now.services);
  const gone = new SelectorGroups(
    old.services.filter((one) => selectsPods(one) && !there.has(one)).map((one) => [one.spec.selector, one] as const),
  );
  return pairs.filter(([was, is]) => was !== is || gone.selecting(was.pod.labels).length > 0);
}

type ServicePort = Service["spec"]["ports"][number];
const isTcp = (port: ServicePort): boolean => port.protocol !== "UDP" && declaredProtocol(port) === "TCP";
const hasTcp = (service: Service): boolean => selectsPods(service) && service.spec.ports.some(isTcp);

/** The ports of pods to which those of Services lead that are TCP. Services with the same selector are read once. */
class TcpTargets {
  readonly #groups: SelectorGroups<Service>;
  readonly #known = new Map<SelectorGroup<Service>, ReadonlySet<number | string>>();

  constructor(services: readonly Service[]) {
    this.#groups = new SelectorGroups(services.filter(hasTcp).map((one) => [one.spec.selector, one] as const));
  }

  get isEmpty(): boolean {
    return this.#groups.groups.length === 0;
  }

  of(workload: Workload): ReadonlySet<number> {
    const targets = this.#groups.selecting(workload.pod.labels).flatMap((group) => [...this.#targetsOf(group)]);
    return new Set(targets.flatMap((one) => (typeof one === "number" ? [one] : portsNamed(workload, one))));
  }

  #targetsOf(group: SelectorGroup<Service>): ReadonlySet<number | string> {
    let found = this.#known.get(group);
    if (found === undefined) {
      const ports = [...group.members].flatMap(({ spec }) => spec.ports.filter(isTcp));
      this.#known.set(group, (found = new Set(ports.map(({ port = 0, targetPort }) => targetPort || port))));
    }
    return found;
  }
}

/** What decided that a port was not TCP, and the other Service that decides that it is; undefined: it is not so. */
function handedOver(was: Decided, is: Decided): Pick<Left, "was" | "by"> | undefined {
  if (was.by === undefined || was.protocol === "TCP" || is.protocol !== "TCP" || is.by?.kind !== "Service")
    return undefined;
  return idOf(was.by) === idOf(is.by) ? undefined : { was: idOf(was.by), by: is.by };
}
