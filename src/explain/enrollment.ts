import { byId, idOf } from "../kube/identity.ts";
import { captureEvidence, enrollmentEvidence } from "../mesh/membership/capture-evidence.ts";
import { captureOf, type Enrollment, enrollmentOf } from "../mesh/membership/capture.ts";
import { leftOutOf } from "../mesh/membership/clients.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload } from "../mesh/membership/workloads.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

const shownEnrollment: Readonly<Record<Enrollment, string>> = {
  ambient: "ambient: ztunnel captures the traffic of its pods",
  sidecar: "sidecars are injected into its pods",
  "ambient-and-sidecar": "both: injected pods have a sidecar, the others are ambient",
  "opted-out": "not in the mesh: its labels have values that do not enroll it",
  none: "not in the mesh: no label enrolls it",
  unknown: "not known, because the labels of the namespace are not known",
};

/** The enrollment of a namespace, and the number of its captured workloads. */
export function enrollmentLine(namespace: Namespace, mesh: Mesh): ExplanationLine {
  const enrollment = enrollmentOf(namespace, mesh.settings);
  const evidence = enrollmentEvidence(namespace, enrollment);
  const labels = evidence.length === 1 ? "label" : "labels";
  const byWebhook = enrollment === "sidecar" ? " (a webhook of an injector selects them without any label)" : "";
  const because = evidence.length === 0 ? byWebhook : ` (${labels} ${evidence.join(", ")})`;
  return {
    key: "enrollment",
    text: `Enrollment: ${shownEnrollment[enrollment]}${because}`,
    value: enrollment,
    lines: leftOutOf(namespace, mesh)
      .toSorted(byId)
      .map((workload) =>
        objectLine(
          "enrollment.leftOut",
          workload,
          `${idOf(workload)} is not captured: ${captureEvidence(workload, { namespace, settings: mesh.settings }, "none")}`,
        ),
      ),
  };
}

/** The data plane that captures a workload's traffic, and why. */
export function captureLine(workload: Workload, namespace: Namespace, mesh: Mesh): ExplanationLine {
  const capture = captureOf(workload, namespace, mesh.settings);
  const shown = {
    sidecar: "Captured by a sidecar",
    ambient: "Captured by ztunnel (ambient)",
    none: "Not captured, so it is not in the mesh",
    unknown: "It is not known whether it is captured",
  };
  const proxy = isProxy(workload) ? "; it is a proxy of the data plane" : "";
  return {
    key: "capture",
    text: `${shown[capture]}: ${captureEvidence(workload, { namespace, settings: mesh.settings }, capture)}${proxy}`,
    value: capture,
  };
}
