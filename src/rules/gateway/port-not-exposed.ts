import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { gatewayServiceReads, podsOfGateway, servicesOfProxies } from "../../mesh/gateways/gateway-services.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { tcpPortsOf, type Workload } from "../../mesh/membership/workloads.ts";
import type { MeshView } from "../../view/view.ts";

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
  why: "The pods of the gateway listen on the targetPort of the Service that has the port of the server, and without such a Service on the port itself (Istio pilot/pkg/model/gateway.go resolvePorts). If no Service has it as port or targetPort, nothing sends connections there: the server is valid, and no client reaches it. The same is true of all servers when the last Service of the pods is deleted, or selects them no more.",
  fix: "Add the port to the Service of the gateway, with its targetPort, or use a port that the Service has.",
  incident: {
    symptoms: ["unreachable"],
    proxies: ["gateway"],
    seen: "Connections to the port are refused or time out before they reach the gateway, whose access log shows nothing.",
    wayOut: "Add the port to the Service of the gateway. Load balancers of clouds may need minutes for it.",
    silentWhen:
      "Not all workloads and Services are known, no Service selects the pods and none did before the change, they use the network of their node or a hostPort, or a Service has a targetPort with a name that no container of the pods has.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/ingress-control/",
  },

  *check(gateway, mesh) {
    const way = yield* wayTo(gateway, mesh);
    if (way !== undefined) yield* unexposed(gateway, way);
  },

  *compare(before, after) {
    const way = yield* wayTo(after.object, after.mesh);
    if (way === undefined) return;
    const old = yield* wayTo(before.object, before.mesh);
    if (way.services.size === 0 && way.proxies.length > 0 && old !== undefined && old.services.size > 0)
      yield {
        at: ["spec", "selector"],
        message: "No Service leads to the gateway pods any more, so no client reaches the servers",
        evidence: [...way.proxies, ...placesOf(way.proxies).map((namespace) => absent("Service", namespace))],
        related: [...old.services].slice(0, 4),
        fix: "Keep a Service that selects the gateway pods until nothing needs the Gateway.",
      };
    const known = new Set(old && unexposed(before.object, old).map(({ key }) => key));
    for (const problem of unexposed(after.object, way))
      yield known.has(problem.key) ? { ...problem, existed: true } : problem;
  },
});

/** The pods of a Gateway, and the Services that lead to them. */
interface Way {
  readonly proxies: readonly Workload[];
  readonly services: ReadonlySet<Service>;
}

/** Undefined if there are other ways, or ways that are not known. */
function* wayTo(
  gateway: Gateway,
  mesh: MeshView<(typeof gatewayServiceReads)[number]>,
): Generator<undefined, Way | undefined> {
  if (!mesh.knowsAll("Workload") || !mesh.knowsAll("Service")) return undefined;
  const proxies = podsOfGateway(gateway, mesh);
  if (proxies.some(({ pod }) => pod.hostNetwork || pod.hasHostPort)) return undefined;
  return { proxies, services: yield* servicesOfProxies(proxies, mesh) };
}

const placesOf = (proxies: readonly Workload[]): readonly string[] => [
  ...new Set(proxies.map(({ metadata }) => metadata.namespace)),
];

/** The servers whose port no Service has; pods without any Service may be reached in other ways. */
function unexposed({ spec }: Gateway, { proxies, services }: Way): readonly Problem[] {
  if (services.size === 0) return [];
  const isExposed = exposure(services, proxies);
  const known = [...services, ...proxies];
  return spec.servers.flatMap(({ port, bind }, i) =>
    port?.number && !bind && !isExposed(port.number)
      ? {
          at: ["spec", "servers", i, "port", "number"],
          message: `No Service of the gateway pods leads to port ${port.number}, so no client reaches this server`,
          key: String(port.number),
          evidence: known,
          related: [...services].slice(0, 4),
          fix: `Add port ${port.number} to ${[...services].slice(0, 4).map(idOf).join(" or ")}, or use a port that it has.`,
        }
      : [],
  );
}

/** Whether Services lead to the listener of a server with a port. A target that no container names may be any port. */
function exposure(services: ReadonlySet<Service>, proxies: readonly Workload[]): (port: number) => boolean {
  const numbers = numbersByName(proxies);
  const ports = new Set<number>();
  for (const target of new Set([...services].flatMap(targetsOf))) {
    const reached = typeof target === "number" ? [target] : numbers.get(target);
    if (reached === undefined) return () => true;
    for (const number of reached) ports.add(number);
  }
  return (port) => ports.has(port);
}

/** The ports at which servers are reached by a Service: its targets, and its own, which stand for these unless a label forbids it. */
function targetsOf({ metadata, spec }: Service): readonly (number | string)[] {
  const isTranslated = metadata.labels["experimental.istio.io/disable-gateway-port-translation"] === undefined;
  return spec.ports
    .filter(({ protocol }) => protocol !== "UDP")
    .flatMap(({ port = 0, targetPort }) => [targetPort || port, ...(isTranslated ? [port] : [])]);
}

function numbersByName(proxies: readonly Workload[]): ReadonlyMap<string, ReadonlySet<number>> {
  const found = new Map<string, Set<number>>();
  for (const proxy of proxies)
    for (const { name, number } of tcpPortsOf(proxy))
      if (name !== undefined) found.set(name, (found.get(name) ?? new Set()).add(number));
  return found;
}
