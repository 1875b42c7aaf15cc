import { captureOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import {
  type Coverage,
  type Gateway,
  isDeniedByDefault,
  type NamespaceAuthorization,
} from "./effective-authorization.ts";
import { enforcerOf } from "./enforcement.ts";
import type { Enforcer } from "./rules.ts";

/**
 * The result for a request that no policy matches.
 * - `sealed`: it is denied, and no ALLOW policy can change that.
 * - `denied-by-default`: it is denied.
 * - `open`: it is allowed.
 */
export type DefaultAnswer = "sealed" | "denied-by-default" | "open";

export function defaultAnswer(coverage: Coverage): DefaultAnswer {
  if (coverage.sealedBy !== undefined) return "sealed";
  return isDeniedByDefault(coverage) ? "denied-by-default" : "open";
}

/** The effect of the policies on one workload. */
export interface WorkloadAuthorization {
  readonly enforcer: Enforcer;
  /** The gateway that its pods belong to. */
  readonly gateway: Gateway | undefined;
  /** False: its pods are not captured, so no policy is enforced there. */
  readonly isEnforced: boolean;
  readonly coverage: Coverage;
  readonly answer: DefaultAnswer;
}

/** `authorization` is that of the workload's namespace. */
export function authorizationOfWorkload(
  workload: Workload,
  namespace: Namespace,
  authorization: NamespaceAuthorization,
): WorkloadAuthorization {
  const gateway = authorization.gateways.find(({ name }) => name === workload.pod.labels[gatewayNameLabel]);
  const coverage = gateway === undefined ? authorization.ofWorkload(workload) : authorization.ofGateway(gateway);
  const isEnforced =
    gateway !== undefined || isProxy(workload) || captureOf(workload, namespace, authorization.settings) !== "none";
  return {
    enforcer: gateway === undefined ? enforcerOf(workload, namespace, authorization.settings) : "proxy",
    gateway,
    isEnforced,
    coverage,
    answer: isEnforced ? defaultAnswer(coverage) : "open",
  };
}
