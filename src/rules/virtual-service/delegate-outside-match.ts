import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId } from "../../kube/identity.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { delegatedRoutes, delegatingReads, delegatingTo, mostDelegating } from "../../mesh/traffic/delegate-routes.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import { isDelegate } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";

export const virtualServiceDelegateOutsideMatch = defineRule({
  id: "virtual-service-delegate-outside-match",
  subject: "VirtualService",
  reads: delegatingReads,
  mode: "warn",
  since: "0.1.0",
  // A delegate can be there before the root that uses all its routes.
  stage: "trial",
  tags: ["gateway"],
  summary: "A route of a delegate is in no match of the routes that delegate to it, so it does not exist.",
  why: "Istio merges the matches of a route that delegates with those of the delegate. It leaves out a route of the delegate if one of its matches is in none of the other's, such as the prefix `/order` behind a route for `/cart`, and logs that (Istio pilot/pkg/model/virtualservice.go mergeHTTPRoute, mergeHTTPMatchRequests). A regular expression is in no condition, not even in an equal one, and none is in it. A `sourceNamespace` or an `ignoreUriCase` of the route that delegates counts only where each match of the delegate repeats it (hasConflict).",
  fix: "Write the full path in the delegate, within the prefix of the route that delegates, repeat its `sourceNamespace` and `ignoreUriCase`, or leave the match of the delegate out. Split a route of which only some matches fit.",
  incident: {
    symptoms: ["no-route", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests that the route of the delegate is for get 404, or go to a later route of the VirtualService that delegates.",
    wayOut: "Apply the previous version of the delegate or of the VirtualService that delegates to it.",
    silentWhen:
      "Some route of some VirtualService that delegates to it keeps the route, no VirtualService that is known delegates to it, or more than 16 routes do.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(delegate, mesh) {
    if (!isDelegate(delegate) || !isServed(delegate, mesh.settings) || delegate.spec.http.length === 0) return;
    const delegating = delegatingTo(delegate, mesh);
    const [root] = delegating.map((one) => one.root).sort(byId);
    if (root === undefined || delegating.length > mostDelegating) return;
    const lost = new Map(delegate.spec.http.entries());
    for (const one of delegating) {
      yield;
      mesh.visited(delegate.spec.http.length);
      for (const { index } of delegatedRoutes(one.root, one.route, delegate, mesh.settings)) lost.delete(index);
      if (lost.size === 0) return;
    }
    for (const [i, route] of lost) yield problemOf(i, routeInWords(route), root);
  },
});

function problemOf(i: number, route: string, root: VirtualService): Problem {
  return {
    at: ["spec", "http", i],
    message: `Istio leaves out ${route}: one of its matches is in no match of the routes that delegate to it`,
    key: route,
    related: [root],
    evidence: [root],
  };
}
