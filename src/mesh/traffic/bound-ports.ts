import { captureOf } from "../membership/capture.ts";
import {
  isNeverRedirected,
  isWithoutRedirection,
  mayPassSidecar,
  noPorts,
  passedBy,
} from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type Sidecar, sidecarFor } from "./sidecar-egress.ts";

type Listener = Sidecar["spec"]["ingress"][number];
type Pod = Workload["pod"];

/**
 * Whether the proxy of a pod listens at a port itself, so that connections reach it without being redirected: the Sidecar of the pod has a
 * listener there with `captureMode: NONE`, or one that leaves it to a pod whose interception mode is NONE (Istio
 * pilot/pkg/networking/core/listener_inbound.go getBindToPort, buildInboundListeners).
 */
export function isBound(port: number, { pod }: Pick<Workload, "pod">, listeners: readonly Listener[]): boolean {
  const listener = listeners.find((one) => one.port?.number === port);
  if (listener === undefined || isLoopback(listener.bind ?? "")) return false;
  const { captureMode = "" } = listener;
  if (captureMode === "NONE") return true;
  return (captureMode === "" || captureMode === "DEFAULT") && isWithoutRedirection(pod);
}

/** Nothing from outside of the pod arrives there. */
const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1";

/**
 * A workload with annotations that keep some port from its sidecar, and the Sidecars of its namespace and of the root namespace. Few
 * workloads have such annotations, so that a change of a Sidecar leads to few.
 */
export const sidecarsOfPassing = relation(
  "sidecarsOfPassing",
  index(
    "Workload",
    ({ metadata, pod }, { rootNamespace }) => (mayPassSidecar(pod) ? new Set([metadata.namespace, rootNamespace]) : []),
    ["rootNamespace"],
  ),
  index("Sidecar", (sidecar, settings) => (isServed(sidecar, settings) ? [sidecar.metadata.namespace] : [])),
);

/** The ports that annotations of a workload keep from its sidecar, and at which the sidecar listens itself. */
export function boundPorts(workload: Workload, mesh: MeshView<typeof sidecarsOfPassing>): ReadonlySet<number> {
  const all = mesh.related(sidecarsOfPassing, workload);
  mesh.visited(all.length);
  return boundBy(all, { pod: workload.pod, namespace: workload.metadata.namespace }, mesh.settings);
}

/** Whether connections to a port of a workload do not get to its proxy, so that neither mTLS nor policies count there. */
export function bypassesProxy(
  workload: Workload,
  port: number,
  namespace: Namespace,
  mesh: MeshView<typeof sidecarsOfPassing>,
): boolean {
  const { settings } = mesh;
  if (captureOf(workload, namespace, settings) === "sidecar" && isNeverRedirected(workload.pod, port)) return true;
  return passedBy(workload, { namespace, settings, bound: boundPorts(workload, mesh) }, port) !== undefined;
}

/** The ports at which the sidecar of a pod listens itself, by the Sidecars of its namespace and of the root namespace. */
export function boundBy(
  sidecars: readonly Sidecar[],
  { pod, namespace }: { readonly pod: Pod; readonly namespace: string },
  { rootNamespace }: Pick<MeshSettings, "rootNamespace">,
): ReadonlySet<number> {
  if (sidecars.length === 0) return noPorts;
  const own = sidecars.filter(({ metadata }) => metadata.namespace === namespace);
  const ofRoot = sidecars.filter(({ metadata }) => metadata.namespace === rootNamespace);
  const listeners = sidecarFor(own, ofRoot, pod.labels)?.spec.ingress ?? [];
  const numbers = listeners.flatMap(({ port }) => port?.number ?? []);
  return new Set(numbers.filter((port) => isBound(port, { pod }, listeners)));
}
