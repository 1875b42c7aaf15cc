import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { type PeerAuthentication, workloadsSelectedByPeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, relation } from "../../view/view.ts";

type Service = ObjectOf<"Service">;

/** A policy with port-level modes, and the Services of its namespace. */
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
 * The ports on which a workload is known to listen: those that its containers declare, which is optional, and the target
 * ports of Services. Empty: none are known.
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
  summary: "None of the selected workloads is known to listen on a port in portLevelMtls.",
  why: "The ports in portLevelMtls are those of the pods, not those of the Service (Istio pilot/pkg/security/authn/policy_applier.go GetMutualTLSModeForPort), so the mode applies to no port.",
  fix: "Use the port on which the container listens (the Service's targetPort), or declare it in the container's ports.",

  *check(policy, mesh) {
    if (isWide(policy) || !isServed(policy, mesh.settings)) return;
    if (policy.metadata.namespace === mesh.settings.rootNamespace) return;
    const labels = policy.spec.selector?.matchLabels ?? {};
    const workloads = mesh
      .related(workloadsSelectedByPeerAuthentication, policy)
      .filter(({ pod }) => selects(labels, pod.labels));
    const services = mesh.related(servicesBesidePeerAuthentication, policy);
    const known = workloads.map((workload) => knownPorts(workload, services));
    // Containers need not declare ports, so a workload without any known port may listen on this one.
    if (workloads.length === 0 || known.some((ports) => ports.size === 0)) return;
    for (const [port] of portModes(policy)) {
      if (known.some((ports) => ports.has(port))) continue;
      const fronting = services.filter((service) => workloads.some((workload) => isServedBy(workload, service)));
      yield {
        at: ["spec", "portLevelMtls", String(port)],
        message: `No workload that this policy selects is known to listen on port ${port}${hintOf(port, fronting)}`,
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
