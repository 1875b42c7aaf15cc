import type { Service } from "../mesh/membership/services.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import type { Policy } from "../mesh/traffic/effective-policy.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";

/** What decides how requests are balanced beside the DestinationRule. */
export interface Balanced {
  readonly settings: AllMeshSettings;
  /** The trafficDistribution of the Service; undefined: it prefers no localities, or the host is none of a Service. */
  readonly distribution: string | undefined;
}

type LoadBalancer = NonNullable<Policy["loadBalancer"]>;
type Balancing = Pick<Policy, "loadBalancer" | "outlierDetection"> | undefined;

/** How a DestinationRule balances requests, where it says so, and which localities it prefers. */
export const balancingLines = (policy: Balancing, balanced: Balanced): readonly ExplanationLine[] => [
  ...algorithmLines(policy?.loadBalancer),
  ...localityLines(policy, balanced),
];

/** Istio pilot/pkg/networking/core/cluster_traffic_policy.go applyLoadBalancer. */
function algorithmLines(balancer: LoadBalancer | undefined): readonly ExplanationLine[] {
  const hashed = balancer?.consistentHash && hashedBy(balancer.consistentHash);
  const said = hashed ?? (balancer?.simple || undefined);
  if (said === undefined) return [];
  const text = hashed === undefined ? `load balancing ${said}` : `requests with the same ${hashed} go to the same pod`;
  return [{ key: "destinationRule.balancing", text, value: said }];
}

function hashedBy({
  httpHeaderName,
  httpCookie,
  httpQueryParameterName,
  useSourceIp,
}: NonNullable<LoadBalancer["consistentHash"]>): string | undefined {
  if (httpHeaderName) return `header ${httpHeaderName}`;
  if (httpCookie?.name) return `cookie ${httpCookie.name}`;
  if (httpQueryParameterName) return `parameter ${httpQueryParameterName}`;
  return useSourceIp === true ? "source address" : undefined;
}

/**
 * Which localities come first, if something decides about it: the DestinationRule, else the Service, else the mesh config (Istio
 * pilot/pkg/networking/core/loadbalancer/loadbalancer.go GetEffectiveLbSetting, ApplyLocalityLoadBalancer;
 * pilot/pkg/xds/endpoints/endpoint_builder.go).
 */
export function localityLines(policy: Balancing, balanced: Balanced): readonly ExplanationLine[] {
  const text = localitiesInWords(policy, balanced);
  return text === undefined ? [] : [{ key: "destinationRule.localities", text, value: text }];
}

const near = "pods in the locality of the client come first";
const alike = "pods of all localities get requests alike";

function localitiesInWords(policy: Balancing, { settings, distribution }: Balanced): string | undefined {
  const { loadBalancer, outlierDetection } = policy ?? {};
  if (loadBalancer?.zoneAwareLbSetting !== undefined)
    return "requests stay in the zone of the client as far as its pods suffice";
  const isDetecting = outlierDetection !== undefined;
  const own = loadBalancer?.localityLbSetting;
  if (own !== undefined) return settingInWords(own, "", isDetecting);
  if (distribution !== undefined) return `${near}, by trafficDistribution ${distribution}`;
  if (settings.localityBalancing !== undefined)
    return settingInWords(settings.localityBalancing, " by the mesh config", isDetecting);
  return isDetecting ? failover : undefined;
}

const failover = `${near}, and others get requests when those are ejected`;

function settingInWords(
  { enabled, distribute }: NonNullable<LoadBalancer["localityLbSetting"]>,
  by: string,
  isDetecting: boolean,
): string {
  if (enabled === false) return `${alike}: localityLbSetting is switched off${by}`;
  if (distribute.length > 0) return `localities get the shares of localityLbSetting.distribute${by}`;
  return isDetecting ? failover : `${alike}: without outlierDetection, nothing fails over to another locality`;
}

/**
 * What a Service, or else its namespace, says about localities: the field, then an annotation, which ignores case (Istio
 * pilot/pkg/model/service.go GetTrafficDistribution).
 */
export function trafficDistributionOf({ spec, metadata }: Service, mesh: Mesh): string | undefined {
  if (distributions.has(spec.trafficDistribution ?? "")) return spec.trafficDistribution;
  const { annotations } = namespaceIn(mesh, metadata.namespace).metadata;
  const said = (metadata.annotations[annotation] || annotations[annotation] || "").toLowerCase();
  return [...distributions].find((one) => one.toLowerCase() === said);
}

const annotation = "networking.istio.io/traffic-distribution";
const distributions: ReadonlySet<string> = new Set(["PreferClose", "PreferSameZone", "PreferSameNode"]);
