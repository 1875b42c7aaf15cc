import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { captureOf, unknownCapture } from "../../mesh/membership/capture.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isProxy, namespaceOfWorkload } from "../../mesh/membership/workloads.ts";
import { gatewayNameLabel } from "../../mesh/objects/labels.ts";

export const workloadCalledGateway = defineRule({
  id: "workload-called-gateway",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  onlyOwnChanges: true,
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary: "The pods of a workload get the label of a Gateway that does not run in them.",
  why: "The control plane recognizes the pods of a Gateway by the label `gateway.networking.k8s.io/gateway-name` alone, and sends them the policies that target this Gateway (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). A sidecar with this label enforces the ALLOW policies of the Gateway, which often admit everyone, in addition to its own.",
  fix: "Remove the label from the pod template. istiod sets it on the pods that it creates for a Gateway.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar"],
    seen: "Requests to the workload that got 403 get answers, allowed by a policy that targets the Gateway.",
    wayOut: "`kubectl rollout undo` the workload.",
    silentWhen: "The pods have had the label from the beginning, they are those of a gateway, or they are ambient.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const { pod, podAt } = after.object;
    const name = pod.labels[gatewayNameLabel];
    if (name === undefined || name === before.object.pod.labels[gatewayNameLabel] || isProxy(after.object)) return;
    const [namespace] = after.mesh.related(namespaceOfWorkload, after.object);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const capture = captureOf(after.object, namespace, after.mesh.settings);
    // ztunnel enforces no policy that targets a Gateway.
    if (capture !== "sidecar" && capture !== "unknown") return;
    yield {
      at: [...podAt, "metadata", "labels", gatewayNameLabel],
      message: `Policies for Gateway ${name} also apply to the sidecars of ${idOf(after.object)}, because its pods have the label of this Gateway`,
      key: "called a gateway",
      ...(capture === "unknown" ? { onlyWarns: unknownCapture } : {}),
    };
  },
});
