import { defineRule } from "../../engine/rule.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { listening } from "../../mesh/membership/listening.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { index, relation } from "../../view/view.ts";

/** A policy with a selector and modes of single ports, and its namespace. */
const namespaceOfPolicyOfPorts = relation(
  "namespaceOfPolicyOfPorts",
  index("PeerAuthentication", (policy, settings) => {
    const isOfPorts = !isWide(policy) && Object.keys(policy.spec.portLevelMtls).length > 0;
    const isRead = isServed(policy, settings) && policy.metadata.namespace !== settings.rootNamespace;
    return isOfPorts && isRead ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);

export const peerAuthenticationPortUnknown = defineRule({
  id: "peer-authentication-port-unknown",
  subject: "PeerAuthentication",
  reads: [namespaceOfPolicyOfPorts, captured, listening],
  worksWithout: ["Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "None of the selected workloads is known to listen on a port in portLevelMtls.",
  why: "The ports in portLevelMtls are those of the pods, not those of the Service (Istio pilot/pkg/security/authn/policy_applier.go GetMutualTLSModeForPort), so the mode applies to no port.",
  fix: "Use the port on which the container listens (the Service's targetPort), or declare it in the container's ports.",
  incident: {
    symptoms: ["reset", "plaintext"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A caller that the port was opened for is reset, or a port that should require mTLS accepts plaintext.",
    wayOut: "Correct the port: it is the targetPort of the Service.",
    silentWhen:
      "No workload that is selected is known, or one of them declares no ports, so that it may listen anywhere.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfPolicyOfPorts, policy);
    if (namespace === undefined) return;
    const workloads = mesh.get(captured, namespace).workloads.selected(policy.spec.selector?.matchLabels ?? {});
    const { ports, isOpen, services, hints } = mesh.get(listening, namespace).of(workloads);
    // Containers are not required to declare their ports.
    if (workloads.length === 0 || isOpen) return;
    for (const port of portModes(policy).keys()) {
      if (ports.has(port)) continue;
      yield {
        at: ["spec", "portLevelMtls", String(port)],
        message: `No workload that this policy selects is known to listen on port ${port}${hints.get(port) ?? ""}`,
        key: `port ${port}`,
        related: services,
        evidence: workloads,
      };
    }
  },
});
