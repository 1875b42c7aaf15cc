import { defineRule } from "../../engine/rule.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { portsOfProbes } from "../../mesh/membership/interception.ts";
import { type KnownPorts, listening, portsOfSelected, unknownPort } from "../../mesh/traffic/listening.ts";
import { workloadByLabel } from "../../mesh/membership/workloads.ts";
import type { PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { keysOfSelector } from "../../mesh/objects/label-keys.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { matchLabelsOf } from "../../mesh/objects/selectors.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, reachedBy, relation } from "../../view/view.ts";

function isOfPorts(policy: PeerAuthentication, settings: MeshSettings): boolean {
  const hasPorts = !isWide(policy) && Object.keys(policy.spec.portLevelMtls).length > 0;
  return hasPorts && isServed(policy, settings) && policy.metadata.namespace !== settings.rootNamespace;
}

/** A policy with a selector and modes of single ports, and its namespace. */
const namespaceOfPolicyOfPorts = relation(
  "namespaceOfPolicyOfPorts",
  index("PeerAuthentication", (policy, settings) => (isOfPorts(policy, settings) ? [policy.metadata.namespace] : [])),
  namespaceByName,
);
/** Such a policy, and the workloads of its namespace that have one label of its selector. */
const workloadsNearPolicyOfPorts = relation(
  "workloadsNearPolicyOfPorts",
  index("PeerAuthentication", (policy, settings) =>
    isOfPorts(policy, settings) ? keysOfSelector(policy.metadata.namespace, matchLabelsOf(policy)) : [],
  ),
  workloadByLabel,
);

export const peerAuthenticationPortUnknown = defineRule({
  id: "peer-authentication-port-unknown",
  subject: "PeerAuthentication",
  reads: [namespaceOfPolicyOfPorts, reachedBy(captured, [workloadsNearPolicyOfPorts]), listening],
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
    const known = portsOfSelected(matchLabelsOf(policy), namespace, mesh);
    if (known === undefined) return;
    // Pods without a sidecar can listen on its ports.
    const isOnlyAmbient = mesh.get(captured, namespace).isOnlyAmbient(matchLabelsOf(policy));
    for (const port of portModes(policy).keys())
      if (!known.ports.has(port)) {
        const wording = isOnlyAmbient ? unknownPort(port, known) : wordingFor(port, known);
        yield { at: ["spec", "portLevelMtls", String(port)], key: `port ${port}`, ...wording };
      }
  },
});

function wordingFor(port: number, known: KnownPorts): ReturnType<typeof unknownPort> & { readonly fix?: string } {
  const unknown = unknownPort(port, known);
  if (!portsOfProbes.has(port)) return unknown;
  return {
    ...unknown,
    message: `Only the sidecar itself answers on port ${port}, for metrics or probes, and connections to it are never redirected, so the mode has no effect`,
    fix: `Remove port ${port} from portLevelMtls: the sidecar answers there in plaintext, whatever the mode.`,
  };
}
