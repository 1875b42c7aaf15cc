import { boundPorts } from "../mesh/traffic/bound-ports.ts";
import { byId, idOf } from "../kube/identity.ts";
import { authorizationOf } from "../mesh/authorization/effective-authorization.ts";
import { isTerminating, type Namespace } from "../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { mtlsOf } from "../mesh/mtls/effective-mtls.ts";
import { mtlsOfWorkload, type WorkloadMtls } from "../mesh/mtls/workload-mtls.ts";
import { waypointBindingOfNamespace } from "../mesh/waypoints/bindings.ts";
import { controlPlaneLines } from "./control-plane.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { namespaceAuthorizationLine, shownCoverage } from "./authorization.ts";
import { enrollmentLine } from "./enrollment.ts";
import { namespaceMtlsLine } from "./mtls.ts";
import { namespaceTelemetryLines } from "./telemetry.ts";
import { waypointLine } from "./waypoint.ts";

/** Explains a namespace: its general settings, and one line for each of its workloads. */
export function explainNamespace(namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const enrollment = enrollmentLine(namespace, mesh);
  const isAmbient = enrollment.value === "ambient" || enrollment.value === "ambient-and-sidecar";
  return [
    ...(isTerminating(namespace) ? [{ key: "terminating", text: "It is being deleted with all its contents" }] : []),
    enrollment,
    ...controlPlaneLines(namespace, mesh),
    waypointLine(waypointBindingOfNamespace(namespace, mesh), isAmbient),
    namespaceMtlsLine(namespace, mesh),
    namespaceAuthorizationLine(namespace, mesh),
    ...namespaceTelemetryLines(namespace, enrollment.value !== "ambient", mesh),
    workloadsLine(namespace, mesh.related(workloadsOfNamespace, namespace), mesh),
  ].filter((line) => line !== undefined);
}

/** The workloads of one namespace, each with its effective settings. */
export function workloadsLine(
  namespace: Namespace,
  workloads: readonly Workload[],
  mesh: Mesh,
): ExplanationLine | undefined {
  if (!mesh.knows("Workload")) return undefined;
  const mtls = mtlsOf(namespace, mesh);
  const authorization = authorizationOf(namespace, mesh);
  const lines = workloads.toSorted(byId).map((workload) => {
    const coverage = shownCoverage(workload, namespace, authorization);
    const { text, value } = shownMtls(
      mtlsOfWorkload(workload, namespace, mtls, { settings: mesh.settings, bound: boundPorts(workload, mesh) }),
    );
    return objectLine("workload", workload, `${idOf(workload)}: ${text}; ${coverage}`, { value });
  });
  return {
    key: "workloads",
    text: `Workloads: ${lines.length === 0 ? "none" : lines.length}`,
    value: lines.length,
    lines,
  };
}

/** The data plane of a workload, and the weakest mode of its ports. */
function shownMtls({ isProxy, capture, mode, ports }: WorkloadMtls): { readonly text: string; readonly value: string } {
  if (isProxy) return { text: "a proxy of the mesh", value: "gateway" };
  if (mode === undefined) return { text: `${shownCapture[capture]}; no mTLS`, value: "none" };
  const differing = ports.filter((port) => port.mode !== undefined && port.mode.mode !== mode.mode);
  const past = ports.filter(({ passedBy }) => passedBy !== undefined);
  const parts = [
    `mTLS ${mode.mode}`,
    ...differing.map((port) => `port ${port.port} ${port.mode?.mode}`),
    ...past.map(({ port }) => `port ${port} bypasses the mesh`),
  ];
  return { text: `${shownCapture[capture]}; ${parts.join(", ")}`, value: mode.mode };
}

const shownCapture = {
  sidecar: "sidecar",
  ambient: "ambient",
  none: "not in the mesh",
  unknown: "not known whether captured",
} as const;
