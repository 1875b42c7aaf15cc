import type { DestinationRule } from "./destination-rules.ts";

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/** The settings of a traffic policy that clusters are built from. */
export type Policy = Pick<NonNullable<TrafficPolicy>, "tls" | "connectionPool" | "outlierDetection" | "loadBalancer">;

/**
 * The settings of clients for one port of a host, or of one of its subsets (undefined: for the ports without settings of their own), after the DestinationRules for the host were merged.
 * Settings for the port replace all other settings of their trafficPolicy. A subset inherits each block, such as
 * connectionPool, that it does not have; for a port with settings of its own it inherits nothing (Istio
 * pilot/pkg/networking/util/util.go MergeSubsetTrafficPolicy, pilot/pkg/model/destination_rule.go MergeTrafficPolicy).
 */
export function policyAt(host: TrafficPolicy, subset: TrafficPolicy, port: number | undefined): Policy {
  const ofHost = atPort(host, port);
  const ofSubset = atPort(subset, port);
  if (ofSubset.isOfPort) return ofSubset.policy;
  return {
    tls: ofSubset.policy.tls ?? ofHost.policy.tls,
    connectionPool: ofSubset.policy.connectionPool ?? ofHost.policy.connectionPool,
    outlierDetection: ofSubset.policy.outlierDetection ?? ofHost.policy.outlierDetection,
    loadBalancer: ofSubset.policy.loadBalancer ?? ofHost.policy.loadBalancer,
  };
}

const nothing: Policy = {
  tls: undefined,
  connectionPool: undefined,
  outlierDetection: undefined,
  loadBalancer: undefined,
};

function atPort(
  policy: TrafficPolicy,
  port: number | undefined,
): { readonly policy: Policy; readonly isOfPort: boolean } {
  const own = port === undefined ? undefined : policy?.portLevelSettings.find((one) => one.port?.number === port);
  return own === undefined ? { policy: policy ?? nothing, isOfPort: false } : { policy: own, isOfPort: true };
}
