import { byId, idOf } from "../kube/identity.ts";
import { captureEvidence, enrollmentEvidence } from "../mesh/membership/capture-evidence.ts";
import { captureOf, type Enrollment, enrollmentOf } from "../mesh/membership/capture.ts";
import { leftOutOf } from "../mesh/membership/clients.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload } from "../mesh/membership/workloads.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

const shownEnrollment: Readonly<Record<Enrollment, string>> = {
  ambient: "ambient: ztunnel takes the traffic of its pods",
  sidecar: "sidecars are injected into its pods",
  "ambient-and-sidecar": "both: pods that are injected have a sidecar, the others are ambient",
  "opted-out": "in no mesh: its labels enroll nothing",
  none: "in no mesh: no label enrolls it",
  unknown: "not known: nobody has shown the labels of the namespace",
};

/** How a namespace is enrolled, and how many of its workloads are captured. */
export function enrollmentLine(namespace: Namespace, mesh: Mesh): ExplanationLine {
  const enrollment = enrollmentOf(namespace);
  const evidence = enrollmentEvidence(namespace, enrollment);
  const because =
    evidence.length === 0 ? "" : ` (${evidence.length === 1 ? "label" : "labels"} ${evidence.join(", ")})`;
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
          `${idOf(workload)} is left out: ${captureEvidence(workload, namespace, "none")}`,
        ),
      ),
  };
}

/** What takes a workload's traffic, and why. */
export function captureLine(workload: Workload, namespace: Namespace): ExplanationLine {
  const capture = captureOf(workload, namespace);
  const shown = {
    sidecar: "Captured by a sidecar",
    ambient: "Captured by ztunnel (ambient)",
    none: "Not captured, so that it is not in the mesh",
    unknown: "Capture not known",
  };
  const proxy = isProxy(workload) ? "; it is a proxy of the mesh itself" : "";
  return {
    key: "capture",
    text: `${shown[capture]}: ${captureEvidence(workload, namespace, capture)}${proxy}`,
    value: capture,
  };
}
