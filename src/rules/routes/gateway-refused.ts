import { defineRule } from "../../engine/rule.ts";
import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import {
  formatSenders,
  readsSenders,
  type Sender,
  servicesSentByRoute,
  servicesSentByVirtualService,
} from "../../mesh/gateways/gateway-senders.ts";
import { type KubernetesRoute, servicesOfRoute } from "../../mesh/gateways/routes.ts";
import { namespaceOfService, type Service } from "../../mesh/membership/services.ts";
import { readsGatewayRefusals, RefusalsByNamespace } from "../../mesh/requests/gateway-refusals.ts";
import { destinationRulesOfVirtualService, SubsetsOfHosts } from "../../mesh/traffic/destination-rules.ts";
import { servicesOfVirtualService } from "../../mesh/traffic/registry.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  ...readsSenders,
  ...readsGatewayRefusals,
  servicesOfRoute,
  servicesOfVirtualService,
  destinationRulesOfVirtualService,
  namespaceOfService,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesGatewayRefused = defineRule({
  id: "routes-gateway-refused",
  subject: ["KubernetesRoute", "VirtualService"],
  reads,
  worksWithout: ["DestinationRule", "Sidecar"],
  mode: "warn",
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "A route lets an ingress gateway send requests to a destination whose policies allow others, but not the gateway.",
  why: "What is behind an ingress gateway sees the gateway as its caller, with the service account of the gateway's pods, and not the client outside the mesh. Where an ALLOW policy applies, a request that no rule allows is denied (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs), so a policy that names the callers within the mesh alone refuses everything that comes through the gateway.",
  fix: "Add the service account of the gateway to the callers that a policy of the destination allows: `principals: [cluster.local/ns/<namespace>/sa/<account>]`.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "waypoint", "ztunnel"],
    seen: "Clients outside the mesh get 403 with `RBAC: access denied` for what the route is for, and callers within the mesh get answers.",
    wayOut: "Apply an ALLOW policy for the service account of the gateway, or the previous version of the route.",
    silentWhen:
      "A rule may allow some request of the gateway, such as one by hosts, tokens or addresses; a pod of the destination is not in the mesh or not known; the destination is no Service of this cluster; the pods of the gateway are not known, for a VirtualService; or nobody at all is allowed, which routes-nobody-allowed is about.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(route, mesh) {
    const refusals = new RefusalsByNamespace(mesh);
    const judged = new Set<string>();
    for (const { at, name, service, labels, senders } of route.kind === "VirtualService"
      ? toHosts(route, mesh)
      : toBackends(route, mesh)) {
      yield;
      if (judged.has(name)) continue;
      judged.add(name);
      const refused = senders.filter((sender) => refusals.of(service)?.of(service, sender, labels) === "refused");
      if (refused.length === 0) continue;
      yield {
        at,
        message: `All requests of ${formatSenders(refused)} to ${name} are denied: the policies there allow others alone`,
        key: name,
        related: [service],
        evidence: [service],
      };
    }
  },
});

interface Destination {
  readonly at: Path;
  /** The host or the Service, with the subset. */
  readonly name: string;
  readonly service: Service;
  /** Those of the subset. */
  readonly labels: Labels;
  readonly senders: readonly Sender[];
}

function* toHosts(virtualService: VirtualService, mesh: View): Iterable<Destination> {
  const subsets = new SubsetsOfHosts(mesh);
  for (const { at, to, service, senders } of servicesSentByVirtualService(virtualService, mesh)) {
    const labels = subsets.labelsOf(to);
    const name = to.subset === "" ? to.host : `subset ${to.subset} of ${to.host}`;
    if (labels !== undefined) yield { at, name, service, labels, senders };
  }
}

function* toBackends(route: KubernetesRoute, mesh: View): Iterable<Destination> {
  for (const { at, to, service, senders } of servicesSentByRoute(route, mesh))
    yield { at, name: `Service ${to}`, service, labels: {}, senders };
}
