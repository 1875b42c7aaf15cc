import { defineRule } from "../../engine/rule.ts";
import type { Labels } from "../../kube/object.ts";
import { closedPods, formatClosed, podsBehind, readsClosedPods } from "../../mesh/authorization/closed-pods.ts";
import { selectingDestinations, selectingReads } from "../../mesh/gateways/selecting-destinations.ts";
import type { Service } from "../../mesh/membership/services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [...readsClosedPods, ...selectingReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesNobodyAllowed = defineRule({
  id: "routes-nobody-allowed",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  worksWithout: ["DestinationRule", "Sidecar"],
  onlyWith: "AuthorizationPolicy",
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "canary"],
  summary: "A route sends requests to a destination whose pods allow nobody.",
  why: "A route decides where requests go, and the policies of the pods there decide whether they are answered. Where a namespace has a default deny, the pods of a new version or of another Service need an ALLOW policy that selects them: until there is one, the share of the requests that the route sends them gets 403, and ztunnel closes its connections (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). Retries of the route do not help, because a 403 is an answer.",
  fix: "Apply an ALLOW policy for the pods of the destination first, and then give it traffic.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "ztunnel"],
    seen: "The share of requests that the route sends to the destination fails with 403, from the moment that it gets any.",
    wayOut: "Set the weight of the destination to 0, or apply the previous version of the route.",
    silentWhen:
      "One of the pods of the destination allows somebody, whether or not it is a caller of this route; the destination has no known pods, or some outside the mesh; DestinationRules give the subset different labels; or the destination is no Service of this cluster.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(route, mesh) {
    const found = new Map<string, ReturnType<typeof closedPods>>();
    for (const { at, name, service, labels } of selectingDestinations(route, mesh)) {
      let closed = found.get(name);
      if (closed === undefined) found.set(name, (closed = closedAt(service, labels, mesh)));
      const [first] = closed;
      if (first === undefined) continue;
      yield {
        at,
        message: `The policies of ${formatClosed(first, closed)} allow nobody, so all requests that this route sends to ${name} are denied`,
        key: name,
        related: [first],
        evidence: [first],
      };
    }
  },
});

/** The pods of a destination, if all of them are closed. */
function closedAt(service: Service, labels: Labels, mesh: View): ReturnType<typeof closedPods> {
  const pods = podsBehind(service, mesh, labels);
  const closed = closedPods(service, pods, mesh);
  return closed.length === pods.length ? closed : [];
}
