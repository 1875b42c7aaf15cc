import { defineRule } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { type Definition, exportToAnnotation, serviceVisibleTo } from "../../mesh/traffic/definition-choice.ts";
import { everyNamespace, includesNamespace } from "../../mesh/traffic/export-to.ts";
import {
  formatWaypoint,
  isUsable,
  waypointBinding,
  waypointBindingOfDefinition,
  waypointOfService,
  waypointOfServiceEntry,
} from "../../mesh/waypoints/bindings.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

const isExportedEverywhere = (definition: Definition, settings: MeshSettings): boolean =>
  serviceVisibleTo(definition, settings).has(everyNamespace);

/** A Service that some namespaces do not see, and its namespace. */
const namespaceOfHiddenService = relation(
  "namespaceOfHiddenService",
  index("Service", (service, settings) =>
    isExportedEverywhere(service, settings) ? [] : [service.metadata.namespace],
  ),
  namespaceByName,
);
/** A ServiceEntry with endpoints of its own that some namespaces do not see, and its namespace. */
const namespaceOfHiddenServiceEntry = relation(
  "namespaceOfHiddenServiceEntry",
  index("ServiceEntry", (entry, settings) =>
    // Of others, a waypoint looks up the addresses itself.
    entry.spec.resolution !== "STATIC" || isExportedEverywhere(entry, settings) ? [] : [entry.metadata.namespace],
  ),
  namespaceByName,
);

export const waypointServiceNotExported = defineRule({
  id: "waypoint-service-not-exported",
  subject: ["Service", "ServiceEntry"],
  reads: [
    waypointBinding,
    waypointOfService,
    waypointOfServiceEntry,
    namespaceOfHiddenService,
    namespaceOfHiddenServiceEntry,
  ],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary: "A Service or a ServiceEntry is behind a waypoint of a namespace that it is not exported to.",
  why: "Both ztunnel and ingress gateways send requests to the waypoint whatever exportTo says. The waypoint has a listener and a cluster for the Service, but asks istiod for its endpoints as a proxy of its own namespace does, which sees only what is exported there (Istio pilot/pkg/xds/endpoints/endpoint_builder.go NewEndpointBuilder, pilot/pkg/model/sidecar.go DefaultSidecarScopeForGateway). It has none then, so that every request fails.",
  fix: "Add the namespace of the waypoint to exportTo, or use a waypoint of the own namespace.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["waypoint"],
    seen: "All requests of ambient clients to the Service get 503 (`no healthy upstream`), and connections are closed; sidecars, which do not use the waypoint, are answered.",
    wayOut: "Remove the label `istio.io/use-waypoint`, or exportTo.",
    silentWhen:
      "The waypoint does not exist or does not accept the traffic, which waypoint-not-found reports; or it looks up the addresses of the host itself, because the resolution of the ServiceEntry is not STATIC.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(object, mesh) {
    const [namespace] =
      object.kind === "Service"
        ? mesh.related(namespaceOfHiddenService, object)
        : mesh.related(namespaceOfHiddenServiceEntry, object);
    if (namespace === undefined) return;
    const binding = waypointBindingOfDefinition(object, namespace, mesh);
    if (!isUsable(binding)) return;
    const { named, gateway } = binding;
    if (includesNamespace(serviceVisibleTo(object, mesh.settings), named.namespace)) return;
    yield {
      at: exportToOf(object),
      message: `Waypoint ${formatWaypoint(named)} has no endpoints of the ${object.originKind}, which is not exported to namespace "${named.namespace}", so all requests that go through it fail`,
      key: formatWaypoint(named),
      related: gateway === undefined ? [] : [gateway],
      evidence: gateway === undefined ? [] : [gateway],
    };
  },
});

/** Where exportTo is; the object as a whole: the mesh config says it. */
function exportToOf(object: Definition): Path {
  if (object.kind === "ServiceEntry") return object.spec.exportTo.length === 0 ? [] : ["spec", "exportTo"];
  const said = object.metadata.annotations[exportToAnnotation];
  return said === undefined ? [] : ["metadata", "annotations", exportToAnnotation];
}
