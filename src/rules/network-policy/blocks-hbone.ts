import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type Captured, captured } from "../../mesh/membership/captured.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isWaypointProxy, tcpPortsOf, type Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { selectsByExpression } from "../../mesh/objects/selectors.ts";
import { fact, index, relation } from "../../view/view.ts";

type NetworkPolicy = ObjectOf<"NetworkPolicy">;
type Port = NetworkPolicy["spec"]["ingress"][number]["ports"][number];

/** HBONE arrives there (Istio cni/pkg/config/config.go ZtunnelInboundPort). */
const hbone = 15008;

/** Whether a policy limits what its pods receive; without types it does (Kubernetes pkg/apis/networking/v1/defaults.go). */
const limitsIngress = ({ spec: { policyTypes } }: NetworkPolicy): boolean =>
  policyTypes.length === 0 || policyTypes.includes("Ingress");

const isTcp = ({ protocol = "TCP" }: Port): boolean => protocol === "TCP";

const isHbone = ({ port, endPort }: Port): boolean =>
  port === undefined || (typeof port === "number" && port <= hbone && hbone <= (endPort ?? port));

const admitsHbone = ({ spec: { ingress } }: NetworkPolicy): boolean =>
  ingress.some(({ ports }) => ports.length === 0 || ports.some((port) => isTcp(port) && isHbone(port)));

/** A name is that of a port of TCP of the containers, which may be the one for HBONE: in each pod, the name stands for its own number. */
const namedPortsOf = ({ spec: { ingress } }: NetworkPolicy): readonly string[] =>
  ingress.flatMap(({ ports }) =>
    ports.flatMap((one) => (isTcp(one) && typeof one.port === "string" ? [one.port] : [])),
  );
const callsHbone = (workload: Workload, names: ReadonlySet<string>): boolean =>
  tcpPortsOf(workload).some(({ number, name }) => number === hbone && name !== undefined && names.has(name));

const ingressPolicyByNamespace = index("NetworkPolicy", (policy) =>
  limitsIngress(policy) ? [policy.metadata.namespace] : [],
);
/** A NetworkPolicy for ingress, and its namespace. */
const namespaceOfIngressPolicy = relation("namespaceOfIngressPolicy", ingressPolicyByNamespace, namespaceByName);
/** A namespace and its NetworkPolicies for ingress. */
const ingressPoliciesOfNamespace = relation("ingressPoliciesOfNamespace", namespaceByName, ingressPolicyByNamespace);

/** The NetworkPolicies that admit TCP, but no HBONE, and a selected ambient workload that no other policy admits it to. */
const hboneBlocked = fact(
  "hboneBlocked",
  "Namespace",
  [ingressPoliciesOfNamespace, captured],
  (namespace, mesh): ReadonlyMap<string, Workload> => {
    const policies = mesh.related(ingressPoliciesOfNamespace, namespace);
    if (policies.length === 0 || isTerminating(namespace)) return new Map();
    const selected = selecting(mesh.get(captured, namespace));
    const admitted = new Set(policies.filter(admitsHbone).map(selected));
    const open = new Set([...[...admitted].flat(), ...admittedByName(policies, selected)]);
    const first = new Map<readonly Workload[], Workload | undefined>();
    const blocked = new Map<string, Workload>();
    for (const policy of policies.filter((one) => !admitsHbone(one) && admitsTcp(one))) {
      const workloads = selected(policy);
      if (!first.has(workloads))
        first.set(
          workloads,
          workloads.find((one) => !open.has(one)),
        );
      const workload = first.get(workloads);
      if (workload !== undefined) blocked.set(policy.metadata.name, workload);
    }
    return blocked;
  },
);
const admitsTcp = ({ spec: { ingress } }: NetworkPolicy): boolean => ingress.some(({ ports }) => ports.some(isTcp));

/** The workloads to which policies admit HBONE by the name of its port. Policies with the same workloads are looked at together. */
function admittedByName(
  policies: readonly NetworkPolicy[],
  selected: (policy: NetworkPolicy) => readonly Workload[],
): readonly Workload[] {
  const namesBy = new Map<readonly Workload[], Set<string>>();
  for (const policy of policies) {
    const names = namedPortsOf(policy);
    if (names.length === 0) continue;
    const workloads = selected(policy);
    const known = namesBy.get(workloads) ?? new Set();
    for (const name of names) known.add(name);
    namesBy.set(workloads, known);
  }
  return [...namesBy].flatMap(([workloads, names]) => workloads.filter((one) => callsHbone(one, names)));
}

/** The workloads with HBONE that a policy selects, those that ztunnel captures and waypoints: one list for equal selectors. */
function selecting({ ambient, proxies }: Captured): (policy: NetworkPolicy) => readonly Workload[] {
  const waypoints = proxies.all.filter(isWaypointProxy);
  const bySelector = new Map<string, readonly Workload[]>();
  return ({ spec: { podSelector } }) => {
    const some = ambient.selected(podSelector.matchLabels);
    if (podSelector.matchExpressions.length === 0 && waypoints.length === 0) return some;
    const text = JSON.stringify(podSelector);
    let found = bySelector.get(text);
    if (found === undefined) {
      found = [...some, ...waypoints].filter(({ pod }) => selectsByExpression(podSelector, pod.labels));
      bySelector.set(text, found);
    }
    return found;
  };
}

export const networkPolicyBlocksHbone = defineRule({
  id: "network-policy-blocks-hbone",
  subject: "NetworkPolicy",
  reads: [namespaceOfIngressPolicy, hboneBlocked],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary:
    "A NetworkPolicy admits ports of ambient workloads or waypoints, but not port 15008, at which connections of the mesh arrive.",
  why: "Between workloads of the mesh, every connection to an ambient workload goes to port 15008 of its pod as HBONE, whatever port it is for, and so do those to a waypoint (Istio cni/pkg/config/config.go ZtunnelInboundPort, pilot/pkg/serviceregistry/ambient/waypoints.go getGatewayAddress). NetworkPolicies apply to what arrives at the pod, before ztunnel. So they drop these connections, and those of clients outside the mesh, which use the port itself, pass.",
  fix: "Admit TCP port 15008 too, from the same peers, and leave it to AuthorizationPolicies who may call which port.",
  incident: {
    symptoms: ["unreachable", "reset"],
    proxies: ["ztunnel", "waypoint"],
    seen: "Calls to the workload from within the mesh fail when their time to connect is over; the log of the client's ztunnel has the error of a connection to port 15008.",
    wayOut:
      "Delete the NetworkPolicy, or add port 15008 to it. If the namespace has just joined the mesh, take its label away again.",
    silentWhen:
      "A policy admits nothing at all, other policies admit port 15008 to the workload, or only ports of UDP and SCTP are admitted. Who may connect (`from`) is not compared, and neither are policies for egress, which have to admit port 15008 as well, and those of other kinds, such as those of Cilium and Calico.",
    page: "https://istio.io/latest/docs/ambient/usage/networkpolicy/",
  },

  *check(policy, mesh) {
    for (const namespace of mesh.related(namespaceOfIngressPolicy, policy)) {
      const workload = mesh.get(hboneBlocked, namespace).get(policy.metadata.name);
      if (workload === undefined) continue;
      yield {
        at: ["spec", "ingress"],
        message: `Calls from the mesh to ${isWaypointProxy(workload) ? "a waypoint" : "ambient workloads"} are dropped: they arrive at port 15008, which no NetworkPolicy admits`,
        related: [workload],
        evidence: [workload],
      };
    }
  },
});
