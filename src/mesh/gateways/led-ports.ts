import { selectsWorkload, type Service } from "../membership/services.ts";
import { portsNamed, type Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { keysOfSelector, workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { fact, index, relation } from "../../view/view.ts";

// A server listens at the target of its port, if a Service of the proxies has this port, and else at the port itself (Istio
// pilot/pkg/model/gateway.go resolvePorts). So servers with different ports can meet: at 8443, those of 443 and of 8443.

/** Istio pilot/pkg/model/gateway.go DisableGatewayPortTranslationLabel. */
const translationDisabled = "experimental.istio.io/disable-gateway-port-translation";

type LedPort = readonly [port: number, target: number | string];

/** The ports of a Service that may have another number at its pods, with that number or the name that it has in their containers. */
function portsElsewhere({ metadata, spec }: Service): readonly LedPort[] {
  if (metadata.labels[translationDisabled] !== undefined) return [];
  return spec.ports.flatMap(({ port, targetPort }) =>
    port !== undefined && targetPort && targetPort !== port ? [[port, targetPort] as const] : [],
  );
}

/** In place of the number of a port that only pods know by its name. */
const byName = "by name";

const gatewaysByPort = index("Gateway", (gateway, settings) => {
  if (!isServed(gateway, settings)) return [];
  const ports = new Set(gateway.spec.servers.flatMap(({ port }) => port?.number ?? []));
  return keysOfSelector(gateway.spec.selector).flatMap((label) => [byName, ...ports].map((port) => `${label} ${port}`));
});
/** Selectors with more labels than this do not exist. */
const mostLabels = 8;
const servicesByPort = index("Service", (service) => {
  const ports = new Set(
    portsElsewhere(service)
      .flat()
      .map((one) => (typeof one === "string" ? byName : one)),
  );
  const labels = Object.entries(service.spec.selector).slice(0, mostLabels);
  return labels.flatMap(([key, value]) => [...ports].map((port) => `${key}=${value} ${port}`));
});

/** A Gateway, and the Services that may select its proxies and lead one of its ports to another one, or another one to it. */
export const servicesLeadingPorts = relation("servicesLeadingPorts", gatewaysByPort, servicesByPort);
/** A Service that leads ports to others, and the Gateways with servers at these ports whose proxies it may select. */
export const gatewaysAtLedPorts = relation("gatewaysAtLedPorts", servicesByPort, gatewaysByPort);

/** Another port whose servers listen where those of a port do, because of a Service. */
export interface MeetingPort {
  readonly port: number;
  readonly service: Service;
}

/** By each port that Services of a Gateway's proxies lead elsewhere, or lead others to: the ports that meet it there. */
export const meetingPorts = fact(
  "meetingPorts",
  "Gateway",
  [servicesLeadingPorts, workloadsOfGateway],
  (gateway, mesh): ReadonlyMap<number, readonly MeetingPort[]> => {
    const { selector } = gateway.spec;
    const found = new Map<number, readonly MeetingPort[]>();
    const services = mesh
      .related(servicesLeadingPorts, gateway)
      .filter(({ spec }) => selects(selector, spec.selector) || selects(spec.selector, selector))
      .sort(oldestFirst);
    if (services.length === 0) return found;
    const proxies = mesh
      .related(workloadsOfGateway, gateway)
      .filter(({ pod }) => selects(selector, pod.labels))
      .sort(oldestFirst);
    mesh.visited(proxies.length * services.length);
    for (const ports of byTarget(services, proxies).values()) {
      const first = ports.slice(0, mostPorts);
      for (const { port } of ports) found.set(port, without(port, first));
    }
    return found;
  },
);

/** The same with numbers alone. Of a Service in front of none of the proxies, there are none; if no proxies are known, it may be. */
function* numbersElsewhere(
  service: Service,
  proxies: readonly Workload[],
): Iterable<readonly [port: number, target: number]> {
  const { namespace } = service.metadata;
  const own = proxies.filter((one) => one.metadata.namespace === namespace && selectsWorkload(service, one));
  if (proxies.length > 0 && own.length === 0) return;
  for (const [port, target] of portsElsewhere(service)) {
    const number = typeof target === "number" ? target : own.map((one) => portsNamed(one, target)[0]).find(Boolean);
    if (number !== undefined && number !== port) yield [port, number];
  }
}

/** The ports whose servers listen at one port of the pods, by this port, which is among them unless it is led elsewhere itself. */
function byTarget(
  services: readonly Service[],
  proxies: readonly Workload[],
): ReadonlyMap<number, readonly MeetingPort[]> {
  const led = new Map<number, { readonly target: number; readonly service: Service }>();
  for (const service of services)
    for (const [port, target] of numbersElsewhere(service, proxies))
      if (!led.has(port)) led.set(port, { target, service });
  const meeting = new Map<number, MeetingPort[]>();
  for (const [port, { target, service }] of led) {
    const known = meeting.get(target) ?? (led.has(target) ? [] : [{ port: target, service }]);
    known.push({ port, service });
    meeting.set(target, known);
  }
  return meeting;
}

const without = (port: number, ports: readonly MeetingPort[]): readonly MeetingPort[] =>
  ports.filter((one) => one.port !== port);

/** Services that lead more ports than this to one do not exist. */
const mostPorts = 8;
