import { captureOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import {
  type Coverage,
  enforcerOf,
  type Gateway,
  isDeniedByDefault,
  type NamespaceAuthorization,
} from "./effective-authorization.ts";
import type { Enforcer } from "./rules.ts";

/**
 * What becomes of a request that no policy names.
 * - `sealed`: not even an ALLOW can let it in.
 * - `denied-by-default`: it is refused.
 * - `open`: it is let in.
 */
export type DefaultAnswer = "sealed" | "denied-by-default" | "open";

export function defaultAnswer(coverage: Coverage): DefaultAnswer {
  if (coverage.sealedBy !== undefined) return "sealed";
  return isDeniedByDefault(coverage) ? "denied-by-default" : "open";
}

/** What policies do to one workload. */
export interface WorkloadAuthorization {
  readonly enforcer: Enforcer;
  /** Its pods are those of this gateway. */
  readonly gateway: Gateway | undefined;
  /** False: nothing captures its pods, so that nothing enforces policies there. */
  readonly isEnforced: boolean;
  readonly coverage: Coverage;
  readonly answer: DefaultAnswer;
}

/** `authorization`: of the workload's namespace. */
export function authorizationOfWorkload(
  workload: Workload,
  namespace: Namespace,
  authorization: NamespaceAuthorization,
): WorkloadAuthorization {
  const gateway = authorization.gateways.find(({ name }) => name === workload.pod.labels[gatewayNameLabel]);
  const coverage = gateway === undefined ? authorization.ofWorkload(workload) : authorization.ofGateway(gateway);
  const isEnforced = gateway !== undefined || isProxy(workload) || captureOf(workload, namespace) !== "none";
  return {
    enforcer: gateway === undefined ? enforcerOf(workload, namespace) : "proxy",
    gateway,
    isEnforced,
    coverage,
    answer: isEnforced ? defaultAnswer(coverage) : "open",
  };
}
