import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { type Service, servicesOfNamespace, servicesOfWorkload } from "../../mesh/membership/services.ts";
import { isOwned, isProxy, namespaceOfWorkload, portsNamed, type Workload } from "../../mesh/membership/workloads.ts";
import {
  isCaptured,
  type MovedPort,
  PortLosses,
  readsPortLosses,
  type WorkloadAtSide,
} from "../../mesh/mtls/port-losses.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [namespaceOfWorkload, servicesOfNamespace, ...readsPortLosses] as const;
type View = MeshView<(typeof reads)[number]>;
interface Side {
  readonly object: Workload;
  readonly mesh: View;
}

export const workloadNamedPortMoved = defineRule({
  id: "workload-named-port-moved",
  subject: "Workload",
  reads,
  worksWithout: ["AuthorizationPolicy", "KubernetesGateway", "PeerAuthentication", "Service", "Sidecar"],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls", "authorization"],
  summary:
    "A Service leads to another port of pods by its name, and policies protect that one less than the port before.",
  why: "A targetPort that is a name is looked up in each pod (Istio pilot/pkg/serviceregistry/kube/controller/util.go FindPort), while portLevelMtls and the ports of AuthorizationPolicies are numbers of the pod (pilot/pkg/security/authn/policy_applier.go, pilot/pkg/security/authz/model/generator.go destPortGenerator). So clients of the Service follow the name to the new number, and what was written for the old one stays behind.",
  fix: "Write the new number into the policies first, beside the old one, and remove the old one when all pods are new.",
  incident: {
    symptoms: ["open-access", "protection-missing"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Requests to the Service get answers that were refused before the pods were replaced. Nobody changed the Service or a policy.",
    wayOut: "`kubectl rollout undo` the workload, or add the new number to the policies.",
    silentWhen:
      "The Service names the number of the port, no Service leads to the port by its name, the modes and policies are the same at both ports, or policies only refuse more at the new one (peer-authentication-port-unknown, authorization-policy-port-unknown). More than eight names at once are not compared.",
    page: "https://kubernetes.io/docs/concepts/services-networking/service/",
  },

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    if (old === now || isProxy(now) || isOwned(now)) return;
    const moved = portsMoved(old, now);
    if (moved.length === 0) return;
    const [was, is] = [placeOf(before), placeOf(after)];
    if (was === undefined || is === undefined || isTerminating(is.namespace) || !isCaptured(is)) return;
    const services = servicesByName(servicesOfWorkload(now, is.namespace, after.mesh));
    const followed = moved.flatMap((port) => {
      const service = services.get(port.name);
      return service === undefined ? [] : [{ ...port, service }];
    });
    for (const port of followed.slice(0, mostCompared)) {
      yield;
      yield* problemsAt(port, was, is);
    }
  },
});

function placeOf({ object, mesh }: Side): WorkloadAtSide | undefined {
  const [namespace] = mesh.related(namespaceOfWorkload, object);
  return namespace && { workload: object, namespace, mesh };
}

function* problemsAt(
  port: Moved & { readonly service: Service },
  before: WorkloadAtSide,
  after: WorkloadAtSide,
): Iterable<Problem> {
  const { name, was, is, service } = port;
  const { workload } = after;
  for (const { message, key, objects } of new PortLosses().of(port, before, after))
    yield {
      at: [...workload.podAt, "spec", "containers"],
      message: `${idOf(service)} leads to port ${is} of ${idOf(workload)} by the name "${name}", and not to port ${was} any more: ${message}`,
      key: `${name} ${key}`,
      related: [service, ...objects],
      evidence: [service, ...objects],
    };
}

/** A name that stands for another port of the pods. */
interface Moved extends MovedPort {
  readonly name: string;
}

function portsMoved(old: Workload, now: Workload): readonly Moved[] {
  const names = new Set(old.pod.ports.flatMap(({ name }) => name ?? []));
  return [...names].flatMap((name) => {
    const [[was], [is]] = [portsNamed(old, name), portsNamed(now, name)];
    return was === undefined || is === undefined || was === is ? [] : [{ name, was, is }];
  });
}

/** Ports that are compared, each with all policies. Few pods have more names that Services lead to and that change at once. */
const mostCompared = 8;

/** The first Service that leads to each name of a port of TCP. */
function servicesByName(services: readonly Service[]): ReadonlyMap<string, Service> {
  const byName = new Map<string, Service>();
  for (const service of services)
    for (const { targetPort, protocol = "TCP" } of service.spec.ports)
      if (typeof targetPort === "string" && protocol === "TCP" && !byName.has(targetPort))
        byName.set(targetPort, service);
  return byName;
}
