import { idOf } from "../kube/identity.ts";
import { captureEvidence, enrollmentEvidence } from "../mesh/membership/capture-evidence.ts";
import { captureOf, type Enrollment, enrollmentOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { formatWaypoint, type WaypointBinding, type WaypointTrouble } from "../mesh/waypoints/bindings.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import { byName, type Inquiry } from "./inquiry.ts";

const shownEnrollment: Readonly<Record<Enrollment, string>> = {
  ambient: "ambient: ztunnel takes the traffic of its pods",
  sidecar: "sidecars are injected into its pods",
  "ambient-and-sidecar": "both: pods that are injected have a sidecar, the others are ambient",
  "opted-out": "in no mesh: its labels enroll nothing",
  none: "in no mesh: no label enrolls it",
  unknown: "not known: nobody has shown the labels of the namespace",
};

/** How a namespace is enrolled, and how many of its workloads are captured. */
export function enrollmentLine(namespace: Namespace, { mesh }: Inquiry): ExplanationLine {
  const enrollment = enrollmentOf(namespace);
  const evidence = enrollmentEvidence(namespace, enrollment);
  const because =
    evidence.length === 0 ? "" : ` (${evidence.length === 1 ? "label" : "labels"} ${evidence.join(", ")})`;
  return {
    key: "enrollment",
    text: `Enrollment: ${shownEnrollment[enrollment]}${because}`,
    value: enrollment,
    lines: leftOut(namespace, mesh.related(workloadsOfNamespace, namespace)),
  };
}

/** Workloads that the mesh does not capture, of a namespace that is enrolled. */
function leftOut(namespace: Namespace, workloads: readonly Workload[]): readonly ExplanationLine[] {
  if (["none", "opted-out", "unknown"].includes(enrollmentOf(namespace))) return [];
  return workloads
    .toSorted(byName)
    .filter((workload) => !isProxy(workload) && captureOf(workload, namespace) === "none")
    .map((workload) =>
      objectLine(
        "enrollment.leftOut",
        workload,
        `${idOf(workload)} is left out: ${captureEvidence(workload, namespace, "none")}`,
      ),
    );
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

const troubles: Readonly<Record<WaypointTrouble, string>> = {
  missing: "there is no such Gateway",
  "no waypoint": "that Gateway is none",
  going: "it is being deleted",
  "not ready": "it never had a ready pod",
  "not allowed": "its listener takes nothing from this namespace",
  "other traffic": "it is for other traffic",
};

/** Which waypoint serves something; undefined where ambient plays no part and nothing names one. */
export function waypointLine(binding: WaypointBinding | undefined, isAmbient: boolean): ExplanationLine | undefined {
  if (binding === undefined)
    return isAmbient
      ? { key: "waypoint", text: "Waypoint: none, so that nothing here looks at HTTP", value: "none" }
      : undefined;
  const name = formatWaypoint(binding.named);
  const by = binding.by === "own" ? "its own label" : "the namespace's label";
  const objects = binding.gateway === undefined ? [] : [binding.gateway];
  if (binding.trouble !== undefined)
    return {
      key: "waypoint",
      text: `Waypoint: ${name} (${by}) is not usable, and traffic goes past it: ${troubles[binding.trouble]}`,
      value: binding.trouble,
      objects,
    };
  const unseen = binding.gateway === undefined ? "; no Gateways are known, so that it is taken for usable" : "";
  return { key: "waypoint", text: `Waypoint: ${name} (${by})${unseen}`, value: name, objects };
}
