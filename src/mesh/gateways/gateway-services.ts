import { selectsWorkload, type Service, workloadsNearService } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { workloadsOfGateway } from "../traffic/virtual-service-clients.ts";
import { type MeshView, relation } from "../../view/view.ts";
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
    for (const service of mesh.related(servicesNearWorkload, proxy))
      if (selectsWorkload(service, proxy)) services.add(service);
  }
  return services;
}
