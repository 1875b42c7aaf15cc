import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  formatSenders,
  type Sender,
  type ServiceBehindGateways,
  servicesBehindGateways,
} from "../../mesh/gateways/gateway-senders.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { GatewayRefusals, readsGatewayRefusals } from "../../mesh/requests/gateway-refusals.ts";
import { reachedBy } from "../../view/view.ts";

export const namespaceGatewayRefused = defineRule({
  id: "namespace-gateway-refused",
  subject: "Namespace",
  // A route that is new is reported by routes-gateway-refused.
  reads: [...readsGatewayRefusals, reachedBy(servicesBehindGateways, [])],
  worksWithout: ["Sidecar", "VirtualService", "Gateway", "KubernetesGateway", "KubernetesRoute", "ListenerSet"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "The policies of a Service refuse an ingress gateway from now on, though routes lead from the gateway to it.",
  why: "What is behind an ingress gateway sees the gateway as its caller, with the service account of the gateway's pods, and not the client outside the mesh. Once an ALLOW policy applies, every request that no rule allows is denied (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs), so the first policy that names callers within the mesh refuses everything that comes through the gateway. So does a waypoint to which gateways begin to send requests, by the label `istio.io/ingress-use-waypoint`, if its policies do not allow them (pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint).",
  fix: "Add the service account of the gateway to the callers that a policy allows: `principals: [cluster.local/ns/<namespace>/sa/<account>]`. If nobody outside the mesh is to reach the Service any more, remove the routes first.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "waypoint", "ztunnel"],
    seen: "Clients outside the mesh get 403 with `RBAC: access denied` from the moment of the change, and callers within the mesh get answers.",
    wayOut:
      "Apply an ALLOW policy for the service account of the gateway, or the previous version of the policy or label.",
    silentWhen:
      "A rule may allow some request of the gateway, such as one by hosts, tokens or addresses; the gateway was refused before; nobody at all is allowed, which namespace-nobody-allowed is about; a pod of the Service is not in the mesh or not known; the pods of the gateway are not known, for a VirtualService; or the requests come by an Ingress.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    const routed = after.mesh.get(servicesBehindGateways, after.object);
    if (routed.length === 0) return;
    const former = new Map(
      before.mesh.get(servicesBehindGateways, before.object).map((one) => [one.service.metadata.name, one]),
    );
    const isRefused = refusing(new GatewayRefusals(before), new GatewayRefusals(after));
    const found = new Map<string, { readonly sender: Sender; readonly services: Service[] }>();
    for (const { service, senders } of routed) {
      yield;
      const old = former.get(service.metadata.name);
      if (old === undefined) continue;
      for (const sender of sendersOnBoth(senders, old).filter((one) => isRefused(one, old.service, service))) {
        const known = found.get(accountOf(sender));
        if (known === undefined) found.set(accountOf(sender), { sender, services: [service] });
        else known.services.push(service);
      }
    }
    for (const [key, { sender, services }] of found)
      yield {
        at: [],
        message: `All requests of ${formatSenders([sender])} to ${namesOf(services)} are denied from now on: the policies there allow others alone`,
        key,
        related: services.slice(0, 1),
      };
  },
});

const refusing =
  (before: GatewayRefusals, after: GatewayRefusals) =>
  (sender: Sender, was: Service, is: Service): boolean =>
    after.of(is, sender) === "refused" && before.of(was, sender) === "admitted";

const accountOf = ({ identity }: Sender): string => identity.join("/");

function sendersOnBoth(senders: readonly Sender[], old: ServiceBehindGateways): readonly Sender[] {
  const known = new Set(old.senders.map(accountOf));
  return senders.filter((one) => known.has(accountOf(one)));
}

function namesOf([first, ...others]: readonly Service[]): string {
  const more = others.length === 0 ? "" : ` and ${others.length} ${others.length === 1 ? "other" : "others"}`;
  return `${first === undefined ? "" : idOf(first)}${more}`;
}
