import type { Labels } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import type { MeshView } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { destinationRulesOfVirtualService, SubsetsOfHosts } from "../traffic/destination-rules.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import { servicesOfVirtualService } from "../traffic/registry.ts";
import { trafficOf, type VirtualService } from "../traffic/virtual-services.ts";
import { backendOf, backendsOf, type KubernetesRoute, servicesOfRoute } from "./routes.ts";

/** What `selectingDestinations` reads. */
export const selectingReads = [servicesOfRoute, servicesOfVirtualService, destinationRulesOfVirtualService] as const;
type View = MeshView<(typeof selectingReads)[number]>;

/** A destination with traffic that is a Service of the mesh, or one subset of it. */
export interface SelectingDestination {
  readonly at: Path;
  /** The position of its route among those of the object: `http.2`. */
  readonly route: string;
  /** Whether it gets copies of the requests, beside the destinations of the route. */
  readonly isMirror: boolean;
  /** The host or the Service, with the subset. */
  readonly name: string;
  readonly service: Service;
  /** Those of the subset. */
  readonly labels: Labels;
  readonly port: number | undefined;
}

export const selectingDestinations = (
  route: VirtualService | KubernetesRoute,
  mesh: View,
): Iterable<SelectingDestination> => (route.kind === "VirtualService" ? toHosts(route, mesh) : toBackends(route, mesh));

function* toHosts(virtualService: VirtualService, mesh: View): Iterable<SelectingDestination> {
  const { domain } = mesh.settings;
  const services = new Map(
    mesh.related(servicesOfVirtualService, virtualService).map((one) => [hostOfService(one, domain), one]),
  );
  const subsets = new SubsetsOfHosts(mesh);
  for (const { at, destination } of trafficOf(virtualService)) {
    const host = fullHost(destination.host, virtualService.metadata.namespace, domain);
    const service = services.get(host);
    if (service === undefined) continue;
    const { subset } = destination;
    const place = { at, route: `${at[1]}.${at[2]}`, isMirror: at[3] !== "route", port: destination.port?.number };
    if (!subset) {
      yield { ...place, name: host, service, labels: {} };
      continue;
    }
    const only = subsets.onlyOne(host, subset);
    if (only !== undefined) yield { ...place, name: `subset ${subset} of ${host}`, service, labels: only.labels };
  }
}

function* toBackends(route: KubernetesRoute, mesh: View): Iterable<SelectingDestination> {
  const services = new Map(
    mesh.related(servicesOfRoute, route).map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]),
  );
  for (const { at, ref, isMirror } of backendsOf(route)) {
    const { kind, namespace, name } = backendOf(ref, route);
    const service = kind === "Service" ? services.get(`${namespace}/${name}`) : undefined;
    const place = { at, route: `rules.${at[2]}`, isMirror, port: ref.port };
    if (service !== undefined) yield { ...place, name: `Service ${namespace}/${name}`, service, labels: {} };
  }
}
