import { defineRule, type Problem } from "../../engine/rule.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { destinationRulesOfSameHost } from "../../mesh/traffic/destination-rule-losses.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import { hostKey } from "../../mesh/traffic/hosts.ts";
import { fact } from "../../view/view.ts";

type TrafficPolicy = NonNullable<DestinationRule["spec"]["trafficPolicy"]>;
type Policy = Pick<TrafficPolicy, "loadBalancer" | "outlierDetection">;

/** Two of the DestinationRules for a host that set outlier detection: one of them is another one than any given. */
const detectingRules = fact(
  "detectingRules",
  "key",
  [destinationRulesOfSameHost],
  (key, mesh): readonly DestinationRule[] =>
    mesh
      .under(destinationRulesOfSameHost, [key])
      .filter((rule) => placesOf(rule).some(({ policy }) => policy.outlierDetection !== undefined))
      .slice(0, 2),
);

export const destinationRuleFailoverWithoutDetection = defineRule({
  id: "destination-rule-failover-without-detection",
  subject: "DestinationRule",
  reads: [destinationRulesOfSameHost, detectingRules],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "A DestinationRule sets failover between localities, and no outlier detection, so it never happens.",
  why: "Istio gives the endpoints of other localities a lower priority only where outlierDetection applies to the same subset and port (Istio pilot/pkg/xds/endpoints/endpoint_builder.go getOutlierDetectionAndLoadBalancerSettings, pilot/pkg/networking/core/loadbalancer/loadbalancer.go ApplyLocalityLoadBalancer). Without it, requests go to the pods of all localities alike, also while all are healthy. Settings for a port replace all settings of the host, and those of a subset only the ones that it has (pilot/pkg/networking/util/util.go MergeSubsetTrafficPolicy).",
  fix: "Add outlierDetection where loadBalancer is set: in the same trafficPolicy, subset or port.",
  incident: {
    symptoms: ["no-effect", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests cross zones or regions all the time, with their latency and their costs, and still reach pods of a locality that is down.",
    wayOut:
      "Add `outlierDetection: {}` beside loadBalancer: pods of the own locality are then preferred within seconds.",
    silentWhen:
      "The settings have distribute or zoneAwareLbSetting, which need no outlier detection, or another DestinationRule for the host sets it.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/failover/",
  },

  *check(rule, mesh) {
    if (!isServed(rule, mesh.settings)) return;
    const places = placesOf(rule).filter(({ policy }) => hasFailover(policy));
    if (places.length === 0) return;
    const host = hostOfRule(rule, mesh.settings);
    // The two are merged, or it depends on the client which one counts.
    if (mesh.get(detectingRules, hostKey(host)).some((other) => other !== rule)) return;
    const isDetecting = detectionsOf(rule);
    for (const place of places)
      if (!isDetecting(place))
        yield {
          at: [...place.at, "loadBalancer", "localityLbSetting"],
          message: `Failover of "${host}" between localities never happens: no outlierDetection applies with it`,
        };
  },
});

/** A policy of a DestinationRule: of the host, of a subset, or of one port of either. */
interface Place {
  readonly at: Problem["at"];
  readonly policy: Policy;
  readonly of: "host" | "host port" | "subset" | "subset port";
}

function placesOf({ spec: { trafficPolicy, subsets } }: DestinationRule): readonly Place[] {
  const found = [...placesIn(trafficPolicy, ["spec", "trafficPolicy"], "host")];
  for (const [i, subset] of subsets.entries())
    found.push(...placesIn(subset.trafficPolicy, ["spec", "subsets", i, "trafficPolicy"], "subset"));
  return found;
}

function* placesIn(policy: TrafficPolicy | undefined, at: Problem["at"], of: "host" | "subset"): Iterable<Place> {
  if (policy === undefined) return;
  yield { at, policy, of };
  for (const [i, one] of policy.portLevelSettings.entries())
    yield { at: [...at, "portLevelSettings", i], policy: one, of: `${of} port` };
}

/** Failover is the default of settings that are not switched off. */
function hasFailover({ loadBalancer }: Policy): boolean {
  const setting = loadBalancer?.localityLbSetting;
  if (setting === undefined || loadBalancer?.zoneAwareLbSetting !== undefined) return false;
  return setting.enabled !== false && setting.distribute.length === 0;
}

/** Whether outlier detection applies in some cluster that has the load balancing of a place. */
function detectionsOf(rule: DestinationRule): (place: Place) => boolean {
  const places = placesOf(rule);
  const isSet = ({ policy }: Place) => policy.outlierDetection !== undefined;
  const ofHost = places.some((one) => one.of.startsWith("host") && isSet(one));
  const ofSubsets = places.some((one) => one.of === "subset" && isSet(one) && one.policy.loadBalancer === undefined);
  return (place) => {
    if (isSet(place)) return true;
    if (place.of === "subset") return ofHost;
    return place.of !== "subset port" && ofSubsets;
  };
}
