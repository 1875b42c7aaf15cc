import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { servicesOfNamespace } from "../../mesh/membership/services.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { refusesApiServer, servicesCalled, webhooksOfNamespace } from "../../mesh/mtls/api-server-calls.ts";
import { peerAuthenticationsOfNamespace } from "../../mesh/mtls/effective-mtls.ts";

export const namespaceEnrolledBacksWebhook = defineRule({
  id: "namespace-enrolled-backs-webhook",
  subject: "Namespace",
  reads: [webhooksOfNamespace, servicesOfNamespace, workloadsOfNamespace, peerAuthenticationsOfNamespace],
  worksWithout: ["Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "mtls"],
  summary: "A namespace that is in the mesh and STRICT holds a Service that the API server calls.",
  why: "The API server is outside the mesh and calls admission webhooks, aggregated APIs and conversions in plain TLS: a sidecar or ztunnel with mode STRICT refuses it (Istio pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication, pilot/pkg/serviceregistry/ambient/authorization.go). Then objects cannot be written any more, or are written unjudged, in the whole cluster.",
  fix: "Leave the namespace out of the mesh (`istio.io/dataplane-mode: none`), or let plaintext in at that one port: a PeerAuthentication with a selector and `portLevelMtls` PERMISSIVE.",

  *check(namespace, mesh) {
    if (isTerminating(namespace)) return;
    const isOutside = ["none", "opted-out", "unknown"].includes(enrollmentOf(namespace));
    const services = mesh.related(servicesOfNamespace, namespace);
    for (const webhook of mesh.related(webhooksOfNamespace, namespace))
      for (const called of servicesCalled(webhook)) {
        if (called.namespace !== namespace.metadata.name) continue;
        const service = services.find(({ metadata }) => metadata.name === called.name);
        if (isOutside && service === undefined) continue;
        if (refusesApiServer(called, service, namespace, mesh))
          yield {
            at: isOutside ? [] : ["metadata", "labels"],
            message: `The API server will be refused at Service ${called.namespace}/${called.name}, which ${idOf(webhook)} has it call: the mesh demands mTLS there`,
            evidence: [webhook, ...(service === undefined ? [] : [service])],
          };
      }
  },
});
