import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { type PeerAuthentication, workloadsSelectedByPeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, relation } from "../../view/view.ts";

type Service = ObjectOf<"Service">;

/** A policy that tells ports apart, and the Services of its namespace. */
const servicesBesidePeerAuthentication = relation(
  "servicesBesidePeerAuthentication",
  index("PeerAuthentication", (policy: PeerAuthentication, settings) =>
    isWide(policy) || Object.keys(policy.spec.portLevelMtls).length === 0 || !isServed(policy, settings)
      ? []
      : [policy.metadata.namespace],
  ),
  index("Service", ({ metadata }) => [metadata.namespace]),
);

/** Whether a Service sends requests to these pods. */
const isServedBy = ({ pod }: Workload, { spec }: Service): boolean =>
  spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0 && selects(spec.selector, pod.labels);

/**
 * The ports at which a workload is known to listen: those that its containers declare, which they need not, and those
 * that Services send to. Empty: nobody says.
 */
function knownPorts(workload: Workload, services: readonly Service[]): ReadonlySet<number> {
  const declared = workload.pod.ports;
  const targeted = services
    .filter((service) => isServedBy(workload, service))
    .flatMap(({ spec }) => spec.ports)
    .flatMap(({ port, targetPort }) =>
      typeof targetPort === "string"
        ? declared.filter(({ name }) => name === targetPort).map(({ number }) => number)
        : [targetPort || port],
    );
  return new Set([...declared.map(({ number }) => number), ...targeted].filter((port) => port !== undefined));
}

export const peerAuthenticationPortUnknown = defineRule({
  id: "peer-authentication-port-unknown",
  subject: "PeerAuthentication",
  reads: [workloadsSelectedByPeerAuthentication, servicesBesidePeerAuthentication],
  worksWithout: ["Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A port in portLevelMtls at which none of the selected workloads is known to listen.",
  why: "Ports here are those of the pods, not those of the Service in front of them (Istio pilot/pkg/security/authn/policy_applier.go GetMutualTLSModeForPort): the mode that was meant for one port holds for none.",
  fix: "Name the port that the container listens at (the Service's targetPort), or declare it among the container's ports.",

  *check(policy, mesh) {
    if (isWide(policy) || !isServed(policy, mesh.settings)) return;
    if (policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const labels = policy.spec.selector?.matchLabels ?? {};
    const workloads = mesh
      .related(workloadsSelectedByPeerAuthentication, policy)
      .filter(({ pod }) => selects(labels, pod.labels));
    const services = mesh.related(servicesBesidePeerAuthentication, policy);
    const known = workloads.map((workload) => knownPorts(workload, services));
    // A container need not declare its ports: where nobody says anything of one workload, it may be the one.
    if (workloads.length === 0 || known.some((ports) => ports.size === 0)) return;
    for (const [port] of portModes(policy)) {
      if (known.some((ports) => ports.has(port))) continue;
      const fronting = services.filter((service) => workloads.some((workload) => isServedBy(workload, service)));
      yield {
        at: ["spec", "portLevelMtls", String(port)],
        message: `No workload that this policy selects is known to listen at port ${port}${hintOf(port, fronting)}`,
        key: `port ${port}`,
        related: fronting,
        evidence: workloads,
      };
    }
  },
});

function hintOf(port: number, services: readonly ObjectOf<"Service">[]): string {
  for (const { metadata, spec } of services) {
    const target = spec.ports.find((one) => one.port === port)?.targetPort;
    if (target !== undefined && target !== port)
      return `: it is a port of Service ${metadata.name}, whose targetPort is ${target}`;
  }
  return "";
}
