import { idOf } from "../kube/identity.ts";
import { authorizationOf } from "../mesh/authorization/effective-authorization.ts";
import { captureOf } from "../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { acceptsPlaintext, mtlsOf, type NamespaceMtls, planesOf } from "../mesh/mtls/effective-mtls.ts";
import { waypointBindingOfNamespace } from "../mesh/waypoints/bindings.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import { namespaceAuthorizationLine, shownCoverage } from "./authorization.ts";
import { enrollmentLine, waypointLine } from "./enrollment.ts";
import { byName, type Inquiry } from "./inquiry.ts";
import { namespaceMtlsLine, passedBy } from "./mtls.ts";
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
    const coverage = shownCoverage(workload, namespace, authorization);
    const { text, value } = isProxy(workload)
      ? { text: "a proxy of the mesh", value: "gateway" }
      : guarded(workload, namespace, mtls);
    return objectLine("workload", workload, `${idOf(workload)}: ${text}; ${coverage}`, { value });
  });
  return {
    key: "workloads",
    text: `Workloads: ${lines.length === 0 ? "none" : lines.length}`,
    value: lines.length,
    lines,
  };
}

/** How a workload is captured, and the weakest mode that its ports have. */
function guarded(
  workload: Workload,
  namespace: Namespace,
  mtls: NamespaceMtls,
): { readonly text: string; readonly value: string } {
  const capture = captureOf(workload, namespace);
  if (capture === "none") return { text: `${shownCapture.none}; no mTLS`, value: "none" };
  const modes = planesOf(workload, namespace).planes.map((plane) => mtls.of(workload.pod.labels, plane));
  const weakest = modes.find(({ mode }) => acceptsPlaintext(mode)) ?? modes[0];
  if (weakest === undefined) return { text: `${shownCapture[capture]}; no mTLS`, value: "none" };
  const { mode } = weakest.mode;
  const others = [...weakest.ports].filter(([, verdict]) => verdict.mode !== mode);
  const past = workload.pod.ports.filter(({ number }) => passedBy(workload, namespace, number) !== undefined);
  const parts = [
    `mTLS ${mode}`,
    ...others.map(([port, verdict]) => `port ${port} ${verdict.mode}`),
    ...past.map(({ number }) => `port ${number} past the mesh`),
  ];
  return { text: `${shownCapture[capture]}; ${parts.join(", ")}`, value: mode };
}

const shownCapture = {
  sidecar: "sidecar",
  ambient: "ambient",
  none: "not in the mesh",
  unknown: "capture not known",
} as const;
