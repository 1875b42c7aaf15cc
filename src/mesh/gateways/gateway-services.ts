import { selectsWorkload, type Service, workloadsNearService } from "../membership/services.ts";
import { hasInjectedGateway, isOwned, isProxy, type Workload } from "../membership/workloads.ts";
import { keysOfLabels } from "../objects/label-keys.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { keysOfSelector, labelKeys, workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Gateway } from "./servers.ts";

/** A workload and the Services of its namespace that select one of its labels. */
const servicesNearWorkload = relation("servicesNearWorkload", workloadsNearService.to, workloadsNearService.from);

/** What `podsOfGateway` and `servicesOfProxies` read. */
export const gatewayServiceReads = [workloadsOfGateway, servicesNearWorkload] as const;
type View = MeshView<(typeof gatewayServiceReads)[number]>;

/** The workloads that a Gateway of Istio's kind selects. One without a selector is for proxies that nothing here names. */
export function podsOfGateway(gateway: Gateway, mesh: View): readonly Workload[] {
  const { selector } = gateway.spec;
  if (!isServed(gateway, mesh.settings) || Object.keys(selector).length === 0) return [];
  return mesh.related(workloadsOfGateway, gateway).filter(({ pod }) => selects(selector, pod.labels));
}

/** The Services of proxies; a generator, because a Gateway can select very many workloads. */
export function* servicesOfProxies(
  proxies: readonly Workload[],
  mesh: View,
): Generator<undefined, ReadonlySet<Service>> {
  const services = new Set<Service>();
  for (const proxy of proxies) {
    yield;
    for (const service of servicesOfProxy(proxy, mesh)) services.add(service);
  }
  return services;
}

const servicesOfProxy = (proxy: Workload, mesh: View): readonly Service[] =>
  mesh.related(servicesNearWorkload, proxy).filter((service) => selectsWorkload(service, proxy));

type Selector = Readonly<Record<string, string>>;

/**
 * Whether Services lead to the pods of a selector, given as JSON, from inside the cluster only. A fact of the selector, which many
 * Gateways can have.
 */
const isReachedInside = fact("isReachedInside", "key", gatewayServiceReads, (text, mesh): boolean => {
  const selector = JSON.parse(text) as Selector;
  const proxies = mesh
    .under(workloadsOfGateway, keysOfSelector(selector))
    .filter(({ pod }) => selects(selector, pod.labels));
  if (proxies.some(({ pod }) => pod.hostNetwork || pod.hasHostPort)) return false;
  return areInternal(new Set(proxies.flatMap((proxy) => servicesOfProxy(proxy, mesh))));
});

/** Whether a Gateway of Istio's kind is reached from inside the cluster only; false if it has no selector. */
export const isGatewayInternal = fact(
  "isGatewayInternal",
  "Gateway",
  [isReachedInside],
  ({ spec: { selector } }, mesh): boolean => {
    if (!mesh.knowsAll("Workload") || !mesh.knowsAll("Service") || Object.keys(selector).length === 0) return false;
    return mesh.get(
      isReachedInside,
      JSON.stringify(Object.fromEntries(Object.entries(selector).toSorted(([a], [b]) => (a < b ? -1 : 1)))),
    );
  },
);

/** Whether there are Services, and none has an address outside of the cluster. */
export function areInternal(services: Iterable<Service>): boolean {
  const types = [...services].map(({ spec: { type } }) => type || "ClusterIP");
  return types.length > 0 && types.every((type) => type === "ClusterIP");
}

const pairs = (labels: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(labels).map(([key, value]) => `${key}=${value}`);

/** A Service and the Gateways of any namespace whose selectors have one of the labels of its own. */
const gatewaysNearService = relation(
  "gatewaysNearService",
  index("Service", ({ spec }) => pairs(spec.selector)),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? pairs(gateway.spec.selector) : [])),
);

const isOfProxies = (workload: Workload): boolean => isProxy(workload) || hasInjectedGateway(workload);

/** A Service and the proxies of gateways in its namespace that have one label of its selector. */
const proxiesNearService = relation(
  "proxiesNearService",
  workloadsNearService.from,
  index("Workload", (workload) =>
    isOfProxies(workload) && !isOwned(workload) ? keysOfLabels(workload.metadata.namespace, workload.pod.labels) : [],
  ),
);
/** A proxy of a gateway, and the Gateways of any namespace whose selectors have one of its labels. */
const gatewaysNearProxy = relation(
  "gatewaysNearProxy",
  index("Workload", (workload) => (isOfProxies(workload) && !isOwned(workload) ? labelKeys(workload.pod.labels) : [])),
  index("Gateway", (gateway, settings) => (isServed(gateway, settings) ? keysOfSelector(gateway.spec.selector) : [])),
);

/** A Service whose pods are proxies of gateways, so that servers of Gateways decide how its ports are read. */
export interface GatewayService {
  /** Those of Istio's kind. */
  readonly gateways: readonly Gateway[];
}

/**
 * What Gateways make of the ports of a Service; undefined: its pods are no gateways, as far as selectors and pods show. A Service and a Gateway
 * can select the same pods by different labels, and the pods need not be known if the selectors show that they are the same.
 */
export const gatewayService = fact(
  "gatewayService",
  "Service",
  [gatewaysNearService, gatewaysNearProxy, proxiesNearService],
  (service, mesh): GatewayService | undefined => {
    const { selector } = service.spec;
    const proxies = mesh.related(proxiesNearService, service).filter((proxy) => selectsWorkload(service, proxy));
    const gateways = new Set([
      ...mesh.related(gatewaysNearService, service).filter(({ spec }) => selectSame(selector, spec.selector)),
      ...proxies.flatMap((proxy) =>
        mesh.related(gatewaysNearProxy, proxy).filter(({ spec }) => selects(spec.selector, proxy.pod.labels)),
      ),
    ]);
    return gateways.size > 0 || gatewayNameLabel in selector ? { gateways: [...gateways] } : undefined;
  },
);

/** Whether every pod that one selector selects is selected by the other. An empty one selects none here. */
const selectSame = (a: Service["spec"]["selector"], b: Service["spec"]["selector"]): boolean =>
  Object.keys(a).length > 0 && Object.keys(b).length > 0 && (selects(a, b) || selects(b, a));
