import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { captureOf, enrollmentOf, isEnrolled, staysOut } from "../../mesh/membership/capture.ts";
import { captureEvidence, enrollmentEvidence } from "../../mesh/membership/capture-evidence.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { refusalText } from "../../mesh/membership/injection-policy.ts";
import { injectorRefusal } from "../../mesh/membership/injector-selectors.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, enrollmentLabels } from "../../mesh/objects/labels.ts";

export const namespaceNotInMesh = defineRule({
  id: "namespace-not-in-mesh",
  subject: "Namespace",
  reads: [workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "No label enrolls a namespace in the mesh, or some of its workloads opt out.",
  why: "Traffic of pods that neither a sidecar nor ztunnel captures reaches the container directly (Istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml, cni/pkg/util/enablement_selector.go Matches): PeerAuthentications and AuthorizationPolicies of the namespace have no effect. A namespace in which only gateways run needs no label. workload-outside-mesh reports workloads that opt out when they are written; this rule reports them when the Namespace is.",
  fix: `Label the namespace \`${dataplaneMode}: ambient\` or \`istio-injection: enabled\`, or do not protect it.`,
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "Callers without a certificate get answers, and the policies of the namespace do not apply.",
    wayOut:
      "No request fails because of it. Before you enroll the namespace, look with `--strict` which callers would fail; ambient needs no restart.",
    silentWhen: "The namespace is the root namespace, is being deleted, or contains only gateways.",
    page: "https://istio.io/latest/docs/ambient/usage/add-workloads/",
  },

  *check(namespace, mesh) {
    // The workloads of the root namespace are the control plane.
    const isRoot = namespace.metadata.name === mesh.settings.rootNamespace;
    if (isRoot || namespace.implied || isTerminating(namespace)) return;
    const workloads = mesh.related(workloadsOfNamespace, namespace);
    const left = isEnrolled(namespace, mesh.settings) === false ? leftOut(namespace, workloads, mesh) : undefined;
    if (left !== undefined) yield ofNamespace(namespace, left, mesh.settings);
    else
      for (const workload of workloads)
        if (captureOf(workload, namespace, mesh.settings) === "none" && !isProxy(workload))
          yield ofWorkload(workload, namespace, mesh.settings);
  },
});

/**
 * Which workloads the labels of a namespace leave out; undefined: every workload enrolls or opts out by itself, or only
 * gateways run there, which need no label.
 */
function leftOut(
  namespace: Namespace,
  all: readonly Workload[],
  mesh: MeshView,
): "every workload" | "some" | undefined {
  const workloads = all.filter((workload) => !isProxy(workload));
  if (workloads.length === 0) return mesh.knowsAll("Workload") && all.length > 0 ? undefined : "some";
  const outside = workloads.filter((workload) => captureOf(workload, namespace, mesh.settings) === "none");
  if (outside.length === workloads.length) return "every workload";
  return outside.some((workload) => !staysOut(workload)) ? "some" : undefined;
}

/** An empty namespace may be one for gateways; and if some pods enroll themselves, workload-outside-mesh reports the others. */
function ofNamespace(namespace: Namespace, left: "every workload" | "some", settings: MeshSettings): Problem {
  const { labels } = namespace.metadata;
  const said = enrollmentEvidence(namespace, enrollmentOf(namespace, settings)).join(", ");
  const refusal = injectorRefusal({}, namespace, settings);
  const byLabels = said === "" ? "no label enrolls it" : `${said} enrolls nothing`;
  const because = refusal === undefined ? byLabels : `${refusalText(refusal)} in the configuration of the injector`;
  const label = enrollmentLabels.find((one) => labels[one] !== undefined);
  return {
    at: label === undefined ? [] : ["metadata", "labels", label],
    topic: "outside the mesh",
    message: `The namespace is not in the mesh: ${because}; its workloads accept all traffic, without mTLS or any policy`,
    key: "not in the mesh",
    acceptedWith: [{ rule: "namespace-leaves-mesh", object: namespace }],
    ...(left === "some" ? { onlyWarns: "the namespace may be for gateways, and pods may enroll themselves" } : {}),
  };
}

function ofWorkload(workload: Workload, namespace: Namespace, settings: MeshSettings): Problem {
  return {
    at: [],
    topic: "outside the mesh",
    message: `${idOf(workload)} is outside the mesh: ${captureEvidence(workload, { namespace, settings }, "none")}; its pods accept all traffic, without mTLS or any policy`,
    key: `${idOf(workload)} is outside the mesh`,
    evidence: [workload],
    acceptedWith: ["workload-outside-mesh", "workload-leaves-mesh"].map((rule) => ({ rule, object: workload })),
    fix: "Keep its pods in the mesh, or write a MeshwardException for workload-outside-mesh with an end date.",
  };
}
