import { captureOf, enrollmentOf, staysOut } from "../membership/capture.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { hasInjectedGateway, type Workload } from "../membership/workloads.ts";
import type { Enforcer } from "./rules.ts";

/** The data plane that enforces policies on a workload without labels. */
export const enforcerOfNamespace = (namespace: Namespace, settings: InjectorSettings): Enforcer =>
  enrollmentOf(namespace, settings) === "ambient" ? "ztunnel" : "proxy";

/**
 * The data plane that enforces policies on a workload. If that is unknown, policies are interpreted as a sidecar
 * does.
 */
export const enforcerOf = (workload: Workload, namespace: Namespace, settings: InjectorSettings): Enforcer =>
  captureOf(workload, namespace, settings) === "ambient" ? "ztunnel" : "proxy";

/** Whether the workload is in the mesh and listens on a port. */
export const isReached = (workload: Workload, namespace: Namespace, settings: InjectorSettings): boolean =>
  listens(workload) &&
  (hasInjectedGateway(workload) || !(staysOut(workload) && captureOf(workload, namespace, settings) === "none"));

/** Jobs usually do not listen, so only a Job that declares a port counts. */
export const listens = ({ originKind, pod }: Workload): boolean =>
  (originKind !== "Job" && originKind !== "CronJob") || pod.ports.length > 0;
