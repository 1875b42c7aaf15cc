import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { podsBehind } from "../../mesh/authorization/closed-pods.ts";
import { authorization } from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { policiesRead } from "../../mesh/authorization/policy-levels.ts";
import { formatGain, policiesOfGain } from "../../mesh/authorization/gain-wording.ts";
import { Asked, Questions } from "../../mesh/authorization/requests/gains.ts";
import { acceptingTokensInNamespace, type RequestAuthentication } from "../../mesh/authorization/token-checks.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService, podsNearService, selectsPods, type Service } from "../../mesh/membership/services.ts";
import { type MovedTarget, portsOf, targetsMoved } from "../../mesh/membership/target-ports.ts";
import { portsNamed, type Workload } from "../../mesh/membership/workloads.ts";
import { mtls } from "../../mesh/mtls/effective-mtls.ts";
import { isCaptured, type MovedPort, PortLosses, type WorkloadAtSide } from "../../mesh/mtls/port-losses.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { bypassesProxy, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import { fact, type MeshView, reachedBy } from "../../view/view.ts";

/** What protects the pods of a namespace, and some more: DENY and CUSTOM policies, and checks of tokens. */
const protections = fact("protections", "Namespace", [policiesRead, acceptingTokensInNamespace], (namespace, mesh) => [
  ...mesh.related(policiesRead, namespace).filter((policy) => {
    const action = actionOf(policy);
    return (action === "DENY" || action === "CUSTOM") && targetRefsOf(policy).length === 0;
  }),
  ...mesh
    .related(acceptingTokensInNamespace, namespace)
    .filter(({ spec }) => spec.targetRefs.length === 0 && spec.targetRef === undefined),
]);

// Only what changes the pods of a Service can be the reason, and not what protects the pods of before.
const reads = [
  namespaceOfService,
  podsNearService,
  sidecarsOfPassing,
  reachedBy(protections, []),
  reachedBy(authorization, []),
  reachedBy(mtls, []),
] as const;
type View = MeshView<(typeof reads)[number]>;
interface Side {
  readonly object: Service;
  readonly mesh: View;
}

export const kubernetesServiceMoved = defineRule({
  id: "kubernetes-service-moved",
  subject: "Service",
  reads,
  worksWithout: ["AuthorizationPolicy", "KubernetesGateway", "RequestAuthentication", "Sidecar", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls", "authorization"],
  summary:
    "A Service leads to another host, to endpoints that anybody may write, or to pods or a port of them that are less protected than those before, such as those of a canary that comes behind it.",
  why: "Clients address the Service, and policies protect the pods behind it. An ExternalName is another name for a host: clients reach what answers there, which can be another Service (Istio pilot/pkg/serviceregistry/kube/conversion.go ConvertService, pilot/pkg/model/push_context.go resolveServiceAliases). Without a selector, EndpointSlices decide where the requests go. Pods with other labels have other policies, and a port that the proxy does not capture, such as any port of UDP, has none (tools/istio-iptables/pkg/capture/run.go handleInboundPortsInclude). portLevelMtls and the `ports` of AuthorizationPolicies are numbers of the pod, so that another `targetPort` leaves them behind (pilot/pkg/security/authn/policy_applier.go, pilot/pkg/security/authz/model/generator.go destPortGenerator).",
  fix: "Give the new pods the labels that the policies select, and enroll them in the mesh, before the Service selects them. Write a new targetPort into portLevelMtls and the ports of policies first. Create another Service for an external host.",
  incident: {
    symptoms: ["other-destination", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Requests to the Service reach other pods or another host, and the policies of the workloads do not decide about them.",
    wayOut: "Apply the previous version of the Service: its endpoints are the old pods again within seconds.",
    silentWhen:
      "The Service is new, or selected nothing before; or every new pod has the policies that all old pods had, and admits nobody else. Pods with more than eight combinations of policies are not compared, and neither are more than eight ports that move at once. A port that is new moves no requests: only whether it bypasses the proxy is asked. Mesh-wide policies are the same for all pods. EndpointSlices are not read.",
    page: "https://kubernetes.io/docs/concepts/services-networking/service/",
  },

  *compare(before, after) {
    const [namespace] = after.mesh.related(namespaceOfService, after.object);
    if (namespace === undefined || isTerminating(namespace)) return;
    if (!selectsPods(before.object)) return;
    const { type, externalName = "" } = after.object.spec;
    if (type === "ExternalName")
      yield {
        at: ["spec", "externalName"],
        message: `Requests to this Service go elsewhere: it is another name for host ${JSON.stringify(externalName)} now`,
        key: "external name",
      };
    else if (!selectsPods(after.object))
      yield {
        at: ["spec", "selector"],
        message: "The Service selects no pods any more: whoever writes its EndpointSlices decides where requests go",
      };
    else {
      yield* newPods(before, after, namespace);
      yield* newPorts(before.object, after, namespace);
      yield* movedPorts(before, after);
    }
  },
});

const podsOf = ({ object, mesh }: Side): readonly Workload[] => podsBehind(object, mesh);

function* newPods(before: Side, after: Side, namespace: Namespace): Iterable<Problem> {
  const [old, now] = [podsOf(before), podsOf(after)];
  if (old === now || old.length === 0) return;
  // Other rules compare what the same change does to a workload itself, such as other labels.
  const known = new Set(old.map(idOf));
  const added = now.filter((workload) => !known.has(idOf(workload)));
  if (added.length === 0) return;
  after.mesh.visited(old.length + now.length);
  const at = ["spec", "selector"];
  const outside = added.find((workload) => captureOf(workload, namespace, after.mesh.settings) === "none");
  const wereAllInside = old.every((workload) => captureOf(workload, namespace, after.mesh.settings) !== "none");
  if (outside !== undefined && wereAllInside)
    yield {
      at,
      message: `Requests to the Service reach ${idOf(outside)}, which is outside the mesh: it has no mTLS and no policies`,
      key: "outside the mesh",
      related: [outside],
      evidence: [outside],
    };
  for (const { policy, workload } of lost(after.mesh, namespace, labelled(old), labelled(added)))
    yield {
      at,
      message: `Requests to the Service reach ${idOf(workload)}, to which ${idOf(policy)} does not apply as it did to all pods before`,
      key: `without ${idOf(policy)}`,
      related: [policy, workload],
      evidence: [policy, workload],
    };
  yield* moreCallers(after.mesh, namespace, old, added);
}

/** Combinations of policies that are compared in pairs. Few Services have pods with more than two. */
const mostCompared = 8;

/** Callers whom the policies of none of the old pods admit, and those of a new pod do. */
function* moreCallers(
  mesh: View,
  namespace: Namespace,
  old: readonly Workload[],
  added: readonly Workload[],
): Iterable<Problem> {
  if (!mesh.knowsAll("AuthorizationPolicy")) return;
  const found = mesh.get(authorization, namespace);
  const policiesOf = (workloads: readonly Workload[]) =>
    new Map(
      workloads
        .filter((workload) => captureOf(workload, namespace, mesh.settings) !== "none")
        .map((workload) => [found.applied.toWorkload(workload), workload] as const)
        .map(([applied, workload]) => [applied.lists, { applied, workload }]),
    );
  const [before, after] = [policiesOf(old), policiesOf(added)];
  if (before.size === 0 || before.size > mostCompared) return;
  for (const [lists, { applied: is, workload }] of [...after].slice(0, mostCompared)) {
    if (before.has(lists)) continue;
    const gains = [...before.values()].map(
      ({ applied: was }) =>
        new Questions((values) => mesh.visited(Math.ceil(values / 100))).widened(new Asked(was, is)).gain,
    );
    const [gain] = gains;
    if (gain === undefined || !gains.every((one) => one !== undefined)) continue;
    yield {
      at: ["spec", "selector"],
      message: `Requests to the Service reach ${idOf(workload)}, which admits callers whom the pods before refused: ${formatGain(gain)}`,
      key: "more callers",
      related: [workload, ...policiesOfGain(gain)],
      evidence: [workload],
    };
    return;
  }
}

const labelled = (workloads: readonly Workload[]) => new Labelled(workloads, ({ pod }) => pod.labels);

/** What protects all old pods, and not all new ones: a DENY or CUSTOM policy, or a check of tokens; with one pod as an example. */
function* lost(
  mesh: View,
  namespace: Namespace,
  old: Labelled<Workload>,
  added: Labelled<Workload>,
): Iterable<{ readonly policy: AuthorizationPolicy | RequestAuthentication; readonly workload: Workload }> {
  for (const policy of mesh.get(protections, namespace)) {
    const labels = policy.spec.selector?.matchLabels ?? {};
    mesh.visited(1);
    if (old.selected(labels).length < old.all.length || added.selected(labels).length === added.all.length) continue;
    const workload = added.all.find(({ pod }) => !selects(labels, pod.labels));
    if (workload !== undefined) yield { policy, workload };
  }
}

/** Few changes move more ports. */
const mostMoved = 8;

/** What requests lose whose port of the Service leads to another port of the pods; with one pod as an example of each loss. */
function* movedPorts(before: Side, after: Side): Iterable<Problem | undefined> {
  const moved = targetsMoved(before.object, after.object).slice(0, mostMoved);
  if (moved.length === 0) return;
  const pods = podsOnBothSides(before, after);
  for (const target of moved) {
    const losses = new PortLosses();
    const found = new Set<string>(["past"]); // newPorts reports that for any port.
    for (const pair of pods) {
      yield;
      const problems = [...problemsOf(target, pair, losses)].filter(({ key }) => !found.has(key));
      for (const problem of problems) {
        found.add(problem.key);
        yield { ...problem, key: `${target.port} ${problem.key}` };
      }
    }
  }
}

interface Pair {
  readonly before: WorkloadAtSide;
  readonly after: WorkloadAtSide;
  portsOf(port: number): { readonly [K in keyof MovedPort]: number | undefined };
}

function* problemsOf(
  { index, port }: MovedTarget,
  { before, after, portsOf: portsAt }: Pair,
  losses: PortLosses,
): Iterable<Problem & { readonly key: string }> {
  const { was, is } = portsAt(port);
  if (was === undefined || is === undefined || was === is) return;
  const { workload } = after;
  for (const { message, key, objects } of losses.of({ was, is }, before, after))
    yield {
      at: ["spec", "ports", index, "targetPort"],
      message: `Port ${port} of the Service leads to port ${is} of ${idOf(workload)}, and not to port ${was} any more: ${message}`,
      key,
      related: [workload, ...objects],
      evidence: [workload, ...objects],
    };
}

/** The pods that are behind a Service before and after a change, where a proxy certainly decides. */
function podsOnBothSides(before: Side, after: Side): readonly Pair[] {
  const [was] = before.mesh.related(namespaceOfService, before.object);
  const [is] = after.mesh.related(namespaceOfService, after.object);
  if (was === undefined || is === undefined) return [];
  const [old, now] = [podsOf(before), podsOf(after)];
  after.mesh.visited(old.length + now.length);
  const former = new Map(old.map((workload) => [idOf(workload), workload]));
  const [portsWere, portsAre] = [portsOf(before.object), portsOf(after.object)];
  return now.flatMap((workload): readonly Pair[] => {
    const one = former.get(idOf(workload));
    const place = { workload, namespace: is, mesh: after.mesh };
    if (one === undefined || !isCaptured(place)) return [];
    return [
      {
        before: { workload: one, namespace: was, mesh: before.mesh },
        after: place,
        portsOf: (port) => ({ was: portsWere.workloadPort(port, one), is: portsAre.workloadPort(port, workload) }),
      },
    ];
  });
}

function* newPorts(before: Service, after: Side, namespace: Namespace): Iterable<Problem> {
  const known = new Set(before.spec.ports.map(targetOf));
  const pods = podsOf(after);
  for (const [i, port] of after.object.spec.ports.entries()) {
    if (known.has(targetOf(port))) continue;
    after.mesh.visited(pods.length);
    const passing = pods.find((workload) => passes(workload, namespace, port, after.mesh));
    if (passing !== undefined)
      yield {
        at: ["spec", "ports", i, "targetPort"],
        message: `Port ${port.port ?? 0} of the Service leads to ${protocolOf(port) === "TCP" ? "" : `${protocolOf(port)} `}port ${port.targetPort ?? port.port ?? 0} of ${idOf(passing)}, where no proxy enforces mTLS and policies`,
        related: [passing],
        evidence: [passing],
      };
  }
}

type ServicePort = Service["spec"]["ports"][number];

/**
 * Sidecars and ztunnel get nothing but TCP, except what pods ask of DNS (Istio tools/istio-iptables/pkg/capture/run.go Run,
 * handleInboundPortsInclude; cni/pkg/iptables/iptables.go AppendInpodRules).
 */
function passes(workload: Workload, namespace: Namespace, port: ServicePort, mesh: View): boolean {
  if (protocolOf(port) !== "TCP") {
    const capture = captureOf(workload, namespace, mesh.settings);
    return capture === "sidecar" || capture === "ambient";
  }
  return numbersOf(port, workload).some((target) => bypassesProxy(workload, target, namespace, mesh));
}

/** The ports of a pod behind that of a Service; a name is that of a port that its containers declare. */
const numbersOf = ({ port = 0, targetPort = port }: ServicePort, workload: Workload): readonly number[] =>
  typeof targetPort === "number" ? [targetPort] : portsNamed(workload, targetPort);

const protocolOf = ({ protocol }: ServicePort): string => protocol ?? "TCP";

const targetOf = (port: ServicePort): string => `${protocolOf(port)} ${port.targetPort ?? port.port ?? 0}`;
