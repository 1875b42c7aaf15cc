import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Gateway } from "../../mesh/gateways/servers.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import {
  fullGatewayName,
  gatewaysOfVirtualService,
  isDelegate,
  nameOf,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { MeshView } from "../../view/view.ts";

export const virtualServiceHiddenFromGateway = defineRule({
  id: "virtual-service-hidden-from-gateway",
  subject: "VirtualService",
  reads: [gatewaysOfVirtualService, workloadsOfGateway],
  onlyWithFields: ["spec.gateways"],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "A VirtualService is bound to a Gateway and not exported to the namespace of its pods, so it has no effect there.",
  why: "The pods of a gateway use only VirtualServices that are exported to their own namespace, wherever the Gateway and the VirtualService are (Istio pilot/pkg/model/push_context.go VirtualServicesForGateway). Requests for its hosts get 404.",
  fix: "Add the namespace of the gateway's pods to exportTo.",

  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests for the hosts get 404 at the gateway, while clients in the exported namespaces reach them.",
    wayOut: 'Remove `exportTo`, or set it to `["*"]`.',
    silentWhen: "The pods of the gateway are not known, as in files of an application without its gateway.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    const { metadata, spec } = virtualService;
    if (isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    const visible = visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo);
    if (includesNamespace(visible, "*")) return;
    const places = spec.gateways.map((gateway) => fullGatewayName(gateway, metadata.namespace));
    // Most Gateways are for the same pods.
    const known = new Map<string, Pods>();
    for (const gateway of mesh.related(gatewaysOfVirtualService, virtualService)) {
      const alike = JSON.stringify(gateway.spec.selector);
      const pods = known.get(alike) ?? podsOf(gateway, mesh);
      known.set(alike, pods);
      const { namespaces, some } = pods;
      if (namespaces.length === 0 || namespaces.some((namespace) => includesNamespace(visible, namespace))) {
        yield;
        continue;
      }
      yield {
        at: ["spec", "gateways", places.indexOf(nameOf(gateway))],
        message: `The pods of ${idOf(gateway)} are in namespace ${namespaces.slice(0, 3).join(", ")}, to which this VirtualService is not exported: it has no effect there`,
        key: nameOf(gateway),
        related: [gateway, ...some],
        evidence: [gateway, ...some],
      };
    }
  },
});

interface Pods {
  /** The namespaces of all of them, in order. */
  readonly namespaces: readonly string[];
  /** A few of them, to show where they are. */
  readonly some: readonly Workload[];
}

function podsOf(gateway: Gateway, mesh: MeshView<typeof workloadsOfGateway>): Pods {
  const { selector } = gateway.spec;
  const pods = mesh.related(workloadsOfGateway, gateway).filter(({ pod }) => selects(selector, pod.labels));
  return { namespaces: [...new Set(pods.map(({ metadata }) => metadata.namespace))].sort(), some: pods.slice(0, 3) };
}
