import { isWithoutRedirection, mayPassSidecar, noPorts } from "../membership/interception.ts";
import type { Workload } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type Sidecar, sidecarFor } from "./sidecar-egress.ts";

type Listener = Sidecar["spec"]["ingress"][number];

/**
 * Whether the proxy of a pod listens at a port itself, so that connections reach it without being redirected: the Sidecar of the pod has a
 * listener there with `captureMode: NONE`, or one that leaves it to a pod whose interception mode is NONE (Istio
 * pilot/pkg/networking/core/listener_inbound.go getBindToPort, buildInboundListeners).
 */
export function isBound(port: number, { pod }: Workload, listeners: readonly Listener[]): boolean {
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
  if (all.length === 0) return noPorts;
  mesh.visited(all.length);
  const own = all.filter(({ metadata }) => metadata.namespace === workload.metadata.namespace);
  const ofRoot = all.filter(({ metadata }) => metadata.namespace === mesh.settings.rootNamespace);
  const listeners = sidecarFor(own, ofRoot, workload.pod.labels)?.spec.ingress ?? [];
  const numbers = listeners.flatMap(({ port }) => port?.number ?? []);
  return new Set(numbers.filter((port) => isBound(port, workload, listeners)));
}
