import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Enrollment, enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { servicesOfNamespace } from "../../mesh/membership/services.ts";
import { callsOfNamespace, refusals, refusesApiServer } from "../../mesh/mtls/api-server-calls.ts";

const exemptPort =
  "accept plaintext at this port only: use a PeerAuthentication with a selector and `portLevelMtls` PERMISSIVE.";
/** For pods that join the mesh through their own labels, in a namespace that does not. */
const podsFix = `Remove the labels through which the pods of the Service join the mesh, or ${exemptPort}`;

/** For a namespace whose labels enroll the pods. Sidecars stay until the pods are created again. */
const leaving: Readonly<Partial<Record<Enrollment, string>>> = {
  sidecar: "(`istio-injection: disabled`) and restart its workloads",
  "ambient-and-sidecar": "(`istio.io/dataplane-mode: none` and `istio-injection: disabled`) and restart its workloads",
};
const namespacesFix = (enrollment: Enrollment): string =>
  `Leave the namespace out of the mesh ${leaving[enrollment] ?? "(`istio.io/dataplane-mode: none`)"}, or ${exemptPort}`;

export const namespaceEnrolledBacksWebhook = defineRule({
  id: "namespace-enrolled-backs-webhook",
  subject: "Namespace",
  reads: [callsOfNamespace, refusals, servicesOfNamespace],
  worksWithout: ["Service", "Sidecar", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "mtls"],
  summary: "A namespace in the mesh with mode STRICT contains a Service that the API server calls.",
  why: "The API server is outside the mesh and calls admission webhooks, aggregated APIs and conversions in plain TLS: a sidecar or ztunnel with mode STRICT refuses it (Istio pilot/pkg/security/authn/policy_applier.go ComposePeerAuthentication, pilot/pkg/serviceregistry/ambient/authorization.go). Then objects in the whole cluster can no longer be written, or are written without a review.",
  fix: `Leave the namespace out of the mesh (\`istio.io/dataplane-mode: none\`, or \`istio-injection: disabled\` and a restart of workloads with sidecars), or ${exemptPort}`,
  incident: {
    symptoms: ["webhook-fails"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Objects that the webhook is for cannot be created or changed anywhere in the cluster; with failurePolicy Ignore, they are stored without a review.",
    wayOut:
      "Apply the PeerAuthentication of the fix for the port of the webhook; if the API server refuses that as well, delete the webhook configuration for the time being.",
    silentWhen:
      "The workloads accept plaintext at the port, the API server calls a URL, or the Service and its pods are not known.",
    page: "https://istio.io/latest/docs/ops/common-problems/security-issues/",
  },

  *check(namespace, mesh) {
    if (isTerminating(namespace)) return;
    const calls = mesh.get(callsOfNamespace, namespace);
    if (calls.length === 0) return;
    const enrollment = enrollmentOf(namespace, mesh.settings);
    const isOutside = ["none", "opted-out", "unknown"].includes(enrollment);
    const place = isOutside ? { at: [], fix: podsFix } : { at: ["metadata", "labels"], fix: namespacesFix(enrollment) };
    const services = new Map(mesh.related(servicesOfNamespace, namespace).map((one) => [one.metadata.name, one]));
    for (const { webhook, called } of calls) {
      const service = services.get(called.name);
      if (isOutside && service === undefined) continue;
      if (refusesApiServer(called, service, namespace, mesh))
        yield {
          ...place,
          message: `Service ${called.namespace}/${called.name}, which the API server calls because of ${idOf(webhook)}, refuses these calls: it requires mTLS`,
          evidence: [webhook, ...(service === undefined ? [] : [service])],
        };
    }
  },
});
