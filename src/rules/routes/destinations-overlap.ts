import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Labels } from "../../kube/object.ts";
import {
  type SelectingDestination,
  selectingDestinations,
  selectingReads,
} from "../../mesh/gateways/selecting-destinations.ts";
import { formatLabels, selects } from "../../mesh/objects/selectors.ts";

export const routesDestinationsOverlap = defineRule({
  id: "routes-destinations-overlap",
  subject: ["VirtualService", "KubernetesRoute"],
  reads: selectingReads,
  worksWithout: ["DestinationRule"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["canary"],
  summary:
    "A route divides requests between two destinations, and one of them selects the pods of the other one too, so that it gets less than its share.",
  why: "Weights divide requests between destinations, and each destination divides its own between all pods that its labels select (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination, pilot/pkg/xds/endpoints/endpoint_builder.go). Where the labels of one are among those of the other, as of a Service without the version, or a subset without labels, a part of its share reaches the pods of the other one: a canary with weight 10 gets more than 10 %.",
  fix: "Give the selector of the Service, or the subset, a label that the pods of the other destination do not have, such as their version.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The new version gets more requests than its weight says, and goes on to get some when the weight is low.",
    wayOut: "Set the weight of the new version to 0 and let the labels of the other destination leave its pods out.",
    silentWhen:
      "A destination has no weight, both have the same labels, to which a controller for canaries adds one in the cluster, both have different ports, one is no Service of this cluster, its DestinationRules give the subset different labels, or a route has more than 32 destinations.",
    page: "https://istio.io/latest/docs/concepts/traffic-management/",
  },

  *check(route, mesh) {
    const byRoute = Map.groupBy(
      [...selectingDestinations(route, mesh)].filter(({ isMirror }) => !isMirror),
      (one) => one.route,
    );
    for (const destinations of byRoute.values()) {
      yield;
      if (destinations.length > 1) yield* overlapsOf(destinations.slice(0, mostCompared).map(withLabels));
    }
  },
});

/** Of one route, so many destinations are compared with each other. */
const mostCompared = 32;

interface Selecting extends SelectingDestination {
  readonly selector: Labels;
}
const withLabels = (one: SelectingDestination): Selecting => ({
  ...one,
  selector: { ...one.service.spec.selector, ...one.labels },
});

/** The first of the others whose pods a destination selects too. */
function* overlapsOf(all: readonly Selecting[]): Iterable<Problem> {
  for (const one of all) {
    const other = all.find((two) => isWider(one, two));
    if (other === undefined) continue;
    yield {
      at: one.at,
      message: `A part of the requests for ${one.name} reaches the pods of ${other.name}, because it selects them too, by ${formatLabels(one.selector)}`,
      key: JSON.stringify([one.name, other.name]),
      related: one.service === other.service ? [one.service] : [one.service, other.service],
      evidence: one.service === other.service ? [one.service] : [one.service, other.service],
    };
  }
}

/** With the same labels, they may be those of a controller for canaries, which adds one to each in the cluster. */
const isWider = (one: Selecting, two: Selecting): boolean =>
  one.port === two.port &&
  one.service.metadata.namespace === two.service.metadata.namespace &&
  Object.keys(one.service.spec.selector).length > 0 &&
  Object.keys(two.service.spec.selector).length > 0 &&
  Object.keys(one.selector).length < Object.keys(two.selector).length &&
  selects(one.selector, two.selector);
