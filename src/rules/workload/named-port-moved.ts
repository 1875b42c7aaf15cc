import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { authorization } from "../../mesh/authorization/effective-authorization.ts";
import { formatGain, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import { appliedAtPort } from "../../mesh/authorization/policies-at-port.ts";
import { Asked, Questions } from "../../mesh/authorization/requests/gains.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { type Service, servicesOfNamespace, servicesOfWorkload } from "../../mesh/membership/services.ts";
import { isOwned, isProxy, namespaceOfWorkload, portsNamed, type Workload } from "../../mesh/membership/workloads.ts";
import { acceptsPlaintext, atPort, mtls, planesOf } from "../../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode } from "../../mesh/mtls/peer-authentications.ts";
import { bypassesProxy, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [namespaceOfWorkload, servicesOfNamespace, sidecarsOfPassing, mtls, authorization] as const;
type View = MeshView<(typeof reads)[number]>;

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
    const [namespace] = after.mesh.related(namespaceOfWorkload, now);
    if (moved.length === 0 || namespace === undefined || isTerminating(namespace)) return;
    if (!isCaptured(now, namespace, after.mesh)) return;
    const services = servicesByName(servicesOfWorkload(now, namespace, after.mesh));
    const followed = moved.flatMap((port) => {
      const service = services.get(port.name);
      return service === undefined ? [] : [{ ...port, service }];
    });
    for (const port of followed.slice(0, mostCompared)) {
      yield;
      yield* problemsAt(port, now, { namespace, mesh: after.mesh });
    }
  },
});

function isCaptured(workload: Workload, namespace: Namespace, { settings }: View): boolean {
  const capture = captureOf(workload, namespace, settings);
  return capture === "sidecar" || capture === "ambient";
}

function* problemsAt(port: Moved & { readonly service: Service }, workload: Workload, place: Place): Iterable<Problem> {
  const { name, was, is, service } = port;
  for (const { message, key, objects } of lossesAt(port, workload, place))
    yield {
      at: [...workload.podAt, "spec", "containers"],
      message: `${idOf(service)} leads to port ${is} of ${idOf(workload)} by the name "${name}", and not to port ${was} any more: ${message}`,
      key: `${name} ${key}`,
      related: [service, ...objects],
      evidence: [service, ...objects],
    };
}

/** A name that stands for another port of the pods. */
interface Moved {
  readonly name: string;
  readonly was: number;
  readonly is: number;
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

interface Place {
  readonly namespace: Namespace;
  readonly mesh: View;
}

interface Loss {
  /** The rest of a sentence after a colon. */
  readonly message: string;
  readonly key: string;
  readonly objects: NonNullable<Problem["related"]>;
}

function* lossesAt(port: Moved, workload: Workload, place: Place): Iterable<Loss> {
  if (isPast(port.is, workload, place)) {
    if (!isPast(port.was, workload, place))
      yield { message: "no proxy enforces mTLS and policies there", key: "past", objects: [] };
    return;
  }
  if (isPast(port.was, workload, place)) return;
  yield* weakerMode(port, workload, place);
  yield* moreRequests(port, workload, place);
}

const isPast = (port: number, workload: Workload, { namespace, mesh }: Place): boolean =>
  bypassesProxy(workload, port, namespace, mesh);

function* weakerMode({ was, is }: Moved, workload: Workload, { namespace, mesh }: Place): Iterable<Loss> {
  const [plane] = planesOf(workload, namespace, mesh.settings).planes;
  if (plane === undefined) return;
  const modes = mesh.get(mtls, namespace).of(workload.pod.labels, plane);
  const [old, now] = [atPort(modes, was), atPort(modes, is)];
  if (acceptsPlaintext(old) || !acceptsPlaintext(now)) return;
  yield {
    message: `its mTLS mode is ${shown(now)}, and was ${shown(old)}`,
    key: "mode",
    objects: [old.by, now.by].filter((policy) => policy !== undefined),
  };
}

const shown = ({ mode, by }: EffectiveMode): string => (by === undefined ? mode : `${mode} by ${idOf(by)}`);

/** What the policies allow or do not deny at the new port, and did not allow or denied at the old one. */
function* moreRequests({ was, is }: Moved, workload: Workload, { namespace, mesh }: Place): Iterable<Loss> {
  if (!mesh.knowsAll("AuthorizationPolicy")) return;
  const applied = mesh.get(authorization, namespace).applied.toWorkload(workload);
  const asked = new Asked(appliedAtPort(applied, was), appliedAtPort(applied, is), workload);
  const questions = new Questions((values) => mesh.visited(Math.ceil(values / 100)));
  const gain = questions.widened(asked).gain ?? questions.denyLost(asked).gain;
  if (gain === undefined) return;
  const named = new Set(policiesOfGain(gain).map(idOf));
  const policies = applied.lists.flatMap((list) => list.policies.filter((policy) => named.has(idOf(policy))));
  yield { message: formatGain(gain), key: "gain", objects: policies };
}
