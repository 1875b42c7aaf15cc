import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { gatewayServiceReads, podsOfGateway, servicesOfProxies } from "../../mesh/gateways/gateway-services.ts";
import type { Service } from "../../mesh/membership/services.ts";

export const gatewayPortNotExposed = defineRule({
  id: "gateway-port-not-exposed",
  subject: "Gateway",
  reads: gatewayServiceReads,
  mode: "warn",
  since: "0.1.0",
  // A load balancer can reach the pods without a Service.
  stage: "trial",
  tags: ["gateway"],
  summary: "No Service of the gateway pods leads to the port of a server.",
  why: "The pods of the gateway listen on the targetPort of the Service that has the port of the server, and without such a Service on the port itself (Istio pilot/pkg/model/gateway.go resolvePorts). If no Service has it as port or targetPort, nothing sends connections there: the server is valid, and no client reaches it.",
  fix: "Add the port to the Service of the gateway, with its targetPort, or use a port that the Service has.",
  incident: {
    symptoms: ["unreachable"],
    proxies: ["gateway"],
    seen: "Connections to the port are refused or time out before they reach the gateway, whose access log shows nothing.",
    wayOut: "Add the port to the Service of the gateway. Load balancers of clouds may need minutes for it.",
    silentWhen:
      "Not all workloads and Services are known, no Service selects the pods, they use the network of their node or a hostPort, or a Service has a targetPort with a name.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/ingress-control/",
  },

  *check(gateway, mesh) {
    if (!mesh.knowsAll("Workload") || !mesh.knowsAll("Service")) return;
    const proxies = podsOfGateway(gateway, mesh);
    if (proxies.some(({ pod }) => pod.hostNetwork || pod.hasHostPort)) return;
    const services = yield* servicesOfProxies(proxies, mesh);
    if (services.size === 0) return;
    const isExposed = exposure(services);
    const known = [...services, ...proxies];
    for (const [i, { port, bind }] of gateway.spec.servers.entries())
      if (port?.number && !bind && !isExposed(port.number))
        yield {
          at: ["spec", "servers", i, "port", "number"],
          message: `No Service of the gateway pods leads to port ${port.number}, so no client reaches this server`,
          key: String(port.number),
          evidence: known,
          related: [...services].slice(0, 4),
          fix: `Add port ${port.number} to ${[...services].slice(0, 4).map(idOf).join(" or ")}, or use a port that it has.`,
        };
  },
});

/** Whether Services lead to the listener of a server with a port. */
function exposure(services: ReadonlySet<Service>): (port: number) => boolean {
  const ports = new Set<number>();
  for (const { metadata, spec } of services) {
    const isTranslated = metadata.labels["experimental.istio.io/disable-gateway-port-translation"] === undefined;
    for (const { port = 0, targetPort, protocol } of spec.ports) {
      if (protocol === "UDP") continue;
      if (typeof targetPort === "string") return () => true;
      ports.add(targetPort ?? port);
      if (isTranslated) ports.add(port);
    }
  }
  return (port) => ports.has(port);
}
