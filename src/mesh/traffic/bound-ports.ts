import { isWithoutRedirection } from "../membership/interception.ts";
import type { Workload } from "../membership/workloads.ts";
import type { Sidecar } from "./sidecar-egress.ts";

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
