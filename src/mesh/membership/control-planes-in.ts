import { fact } from "../../view/view.ts";
import type { ControlPlane } from "../objects/revision.ts";
import { type Capture, captureOf, enrollmentOf } from "./capture.ts";
import type { InjectorSettings } from "./injector-selectors.ts";
import { type Readers, readers } from "./control-plane.ts";
import type { Namespace } from "./namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "./workloads.ts";

/** The control planes of the data planes that the labels of a namespace enroll; undefined among them: one is not known. */
export function controlPlanesOfEnrollment(
  namespace: Namespace,
  found: Readers,
  settings: InjectorSettings,
): readonly ControlPlane[] {
  const enrollment = enrollmentOf(namespace, settings);
  if (enrollment === "ambient") return [found.ofZtunnel];
  if (enrollment === "ambient-and-sidecar") return [found.ofZtunnel, found.ofSidecar({})];
  if (enrollment === "sidecar") return [found.ofSidecar({})];
  return enrollment === "unknown" ? [undefined] : [];
}

/** The control planes of pods of a namespace, each as often as pods have it; undefined among them: one is not known. */
export const controlPlanesOfPods = (
  { pods, namespace, found }: PodsOfNamespace,
  settings: InjectorSettings,
): readonly ControlPlane[] => pods.flatMap((pod) => controlPlaneOfPod(captureOf(pod, namespace, settings), pod, found));

interface PodsOfNamespace {
  readonly pods: readonly Workload[];
  readonly namespace: Namespace;
  readonly found: Readers;
}

/** The control planes of the proxies of a namespace; empty: some of them are not known, or there are no proxies. */
export const controlPlanesIn = fact(
  "controlPlanesIn",
  "Namespace",
  [readers, workloadsOfNamespace],
  (namespace, mesh): ReadonlySet<ControlPlane> => {
    const found = mesh.get(readers, namespace);
    const pods = mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
    const all = new Set([
      ...controlPlanesOfEnrollment(namespace, found, mesh.settings),
      ...controlPlanesOfPods({ pods, namespace, found }, mesh.settings),
    ]);
    if (all.size === 0 || all.has(undefined)) return new Set();
    return all.add(found.ofGateway(namespace));
  },
);

function controlPlaneOfPod(capture: Capture, { pod }: Workload, found: Readers): readonly ControlPlane[] {
  if (capture === "sidecar") return [found.ofSidecar(pod.labels)];
  return capture === "ambient" ? [found.ofZtunnel] : [];
}
