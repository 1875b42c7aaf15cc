import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { isRoutedFrom, serviceVisibleTo } from "../traffic/definition-choice.ts";
import { commonNamespaces, everyNamespace, includesNamespace, visibleTo } from "../traffic/export-to.ts";
import type { RegisteredHost } from "../traffic/registry.ts";
import {
  clientsMatching,
  clientsOf,
  gatewayPodsOf,
  type gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  type workloadsOfGateway,
} from "../traffic/virtual-service-clients.ts";
import type { Traffic, VirtualService } from "../traffic/virtual-services.ts";
import { isAmongSidecars, type namespaceOfRoutes } from "./arrival-ports.ts";

type View = MeshView<typeof gatewaysOfVirtualService | typeof workloadsOfGateway | typeof namespaceOfRoutes>;
type Defined = Pick<RegisteredHost, "definitions">;

/** Proxies that use a route and have no cluster for its destination. */
export interface Hidden {
  readonly from: "everyone" | "gateway" | "sidecars";
  /** That of the gateway pods, or of the VirtualService. */
  readonly namespace: string;
}

/**
 * Who does not see the destination of a route, although something defines it: it is not exported to the namespace of the proxy (Istio
 * pilot/pkg/model/push_context.go initServiceRegistry, servicesExportedToNamespace). Of sidecars, those in the namespace of the
 * VirtualService are asked for: it is meant for them. Undefined: all of these see it, or a delegate is not known to be used.
 */
export function hiddenFrom(
  virtualService: VirtualService,
  traffic: Traffic,
  defined: Defined,
  mesh: View,
): Hidden | undefined {
  const { namespace } = virtualService.metadata;
  if (isDelegate(virtualService) || isSeenByAll(defined, mesh.settings)) return undefined;
  if (isHiddenFromAll(virtualService, defined, mesh.settings)) return { from: "everyone", namespace };
  const without = gatewayWithout(virtualService, traffic, defined, mesh);
  if (without !== undefined) return { from: "gateway", namespace: without };
  if (isReachedFrom(namespace, defined, mesh.settings) || !isUsedInOwnNamespace(virtualService, traffic, mesh))
    return undefined;
  return { from: "sidecars", namespace };
}

const isSeenByAll = ({ definitions }: Defined, settings: MeshSettings): boolean =>
  definitions.some((one) => serviceVisibleTo(one, settings).has(everyNamespace));

/** Whether something that defines a host is exported to a namespace. */
const isSeenFrom = (namespace: string, { definitions }: Defined, settings: MeshSettings): boolean =>
  definitions.some((one) => includesNamespace(serviceVisibleTo(one, settings), namespace));

/** Whether a route of sidecars in a namespace reaches something that defines a host. */
export const isReachedFrom = (namespace: string, { definitions }: Defined, settings: MeshSettings): boolean =>
  definitions.some((one) => isRoutedFrom(namespace, one, settings));

/** Which pods serve a gateway is not always known. */
function isHiddenFromAll(
  { metadata, spec }: VirtualService,
  { definitions }: Defined,
  settings: MeshSettings,
): boolean {
  if (spec.gateways.some((gateway) => gateway !== meshGateway)) return false;
  const clients = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
  return (
    clients.size > 0 &&
    definitions.every(
      (one) =>
        commonNamespaces(clients, serviceVisibleTo(one, settings)).size === 0 &&
        !(includesNamespace(clients, one.metadata.namespace) && isRoutedFrom(one.metadata.namespace, one, settings)),
    )
  );
}

/** A namespace with pods of a gateway that use a route, and to which nothing that defines a host is exported. */
function gatewayWithout(
  virtualService: VirtualService,
  { route }: Traffic,
  defined: Defined,
  mesh: View,
): string | undefined {
  const { metadata, spec } = virtualService;
  if (route.match.some(({ gateways }) => gateways.length > 0)) return undefined;
  const clients = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
  const there = [...gatewayPodsOf(virtualService, mesh).values()].flatMap((pods) =>
    pods.map(({ workload }) => workload.metadata.namespace),
  );
  return [...new Set(there)]
    .sort()
    .find((namespace) => includesNamespace(clients, namespace) && !isSeenFrom(namespace, defined, mesh.settings));
}

/** Whether sidecars in the namespace of a VirtualService use a route. */
function isUsedInOwnNamespace(virtualService: VirtualService, { route, protocol }: Traffic, mesh: View): boolean {
  const { namespace } = virtualService.metadata;
  if (!isAmongSidecars(virtualService, mesh)) return false;
  const clients = clientsMatching(clientsOf(virtualService, mesh.settings), route.match, protocol, namespace);
  return includesNamespace(clients.get(meshGateway) ?? new Set(), namespace);
}
