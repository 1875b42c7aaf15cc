import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/kinds.ts";
import { workloadsSelectedByPeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { isServedBy, knownPorts, servicesBesidePeerAuthentication } from "../../mesh/workload-ports.ts";

export const portUnknown = defineRule({
  id: "peer-authentication-port-unknown",
  subject: "PeerAuthentication",
  reads: [workloadsSelectedByPeerAuthentication, servicesBesidePeerAuthentication],
  worksWithout: ["Service"],
  mode: "warn",
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
        restsOn: workloads,
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
