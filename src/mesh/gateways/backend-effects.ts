import { isOfRequests, type KubernetesRoute } from "./routes.ts";

/** What becomes of requests if a backend cannot be used, in words. */
export interface BackendEffects {
  /** Of a backend that does not exist. */
  readonly lost: string;
  /** Of one that cannot be converted. */
  readonly invalid: string;
}

/**
 * A mirror that does not work is left out of an HTTPRoute, and takes all rules of a GRPCRoute with it (Istio
 * pilot/pkg/config/kube/gateway/conversion.go convertHTTPRoute, convertGRPCRoute). Connections of TCP and TLS are sent to a cluster that does
 * not exist (buildTCPDestination).
 */
export function backendEffects(route: KubernetesRoute, isMirror: boolean): BackendEffects {
  if (!isMirror)
    return { lost: isOfRequests(route) ? "requests to it get 500" : "connections to it are closed", invalid: allRules };
  const effect = route.originKind === "GRPCRoute" ? allRules : notMirrored;
  return { lost: effect, invalid: effect };
}
export const notMirrored = "requests are not mirrored";
const allRules = "all rules of this route are invalid";
