import { captureOf } from "../mesh/ambient.ts";
import { authorizationOf } from "../mesh/authorization.ts";
import { idOf } from "../kube/kinds.ts";
import { acceptsPlaintext, mtlsOf, type Namespace, reachOf } from "../mesh/mtls.ts";
import { waypointBindingOfNamespace } from "../mesh/waypoints.ts";
import { isTerminating } from "../mesh/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../mesh/workloads.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import { namespaceAuthorizationLine, shownCoverage } from "./authorization.ts";
import { enrollmentLine, waypointLine } from "./enrollment.ts";
import { byName, type Inquiry } from "./inquiry.ts";
import { namespaceMtlsLine } from "./mtls.ts";
import { protectionLine } from "./protection.ts";

/** What applies in a namespace: for whatever runs there, and for each of its workloads in a line. */
export function explainNamespace(namespace: Namespace, inquiry: Inquiry): readonly ExplanationLine[] {
  const enrollment = enrollmentLine(namespace, inquiry);
  const isAmbient = enrollment.value === "ambient" || enrollment.value === "ambient-and-sidecar";
  return [
    ...(isTerminating(namespace) ? [{ key: "terminating", text: "It is being deleted, with all that is in it" }] : []),
    enrollment,
    waypointLine(waypointBindingOfNamespace(namespace, inquiry.mesh), isAmbient),
    namespaceMtlsLine(namespace, inquiry),
    namespaceAuthorizationLine(namespace, inquiry),
    workloadsLine(namespace, inquiry.mesh.related(workloadsOfNamespace, namespace), inquiry),
    protectionLine(namespace, namespace, inquiry),
  ].filter((line) => line !== undefined);
}

/** Workloads of one namespace, each with what holds for it. */
export function workloadsLine(
  namespace: Namespace,
  workloads: readonly Workload[],
  { mesh }: Inquiry,
): ExplanationLine | undefined {
  if (!mesh.knows("Workload")) return undefined;
  const mtls = mtlsOf(namespace, mesh);
  const authorization = authorizationOf(namespace, mesh);
  const lines = workloads.toSorted(byName).map((workload) => {
    const captured = captureOf(workload, namespace);
    const capture = isProxy(workload) ? "a proxy of the mesh" : shownCapture[captured];
    const planes = captured === "none" ? [] : reachOf(workload, namespace).planes;
    const modes = planes.map((plane) => mtls.of(workload.pod.labels, plane));
    const weakest = modes.find(({ mode }) => acceptsPlaintext(mode)) ?? modes[0];
    const ports = [...(weakest?.ports ?? [])].filter(([, verdict]) => verdict.mode !== weakest?.mode.mode);
    const atPorts = ports.map(([port, { mode }]) => `, port ${port} ${mode}`).join("");
    const mode = weakest === undefined ? "no mTLS" : `mTLS ${weakest.mode.mode}${atPorts}`;
    const text = `${idOf(workload)}: ${capture}; ${mode}; ${shownCoverage(workload, namespace, authorization)}`;
    return objectLine("workload", workload, text, { value: weakest?.mode.mode ?? "none" });
  });
  return {
    key: "workloads",
    text: `Workloads: ${lines.length === 0 ? "none" : lines.length}`,
    value: lines.length,
    lines,
  };
}

const shownCapture = {
  sidecar: "sidecar",
  ambient: "ambient",
  none: "not in the mesh",
  unknown: "capture not known",
} as const;
