import { fact, index, relation } from "../../view/view.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import { namespacesNamingWaypoint, serviceEntriesNamingWaypoint, servicesNamingWaypoint } from "./canaries.ts";
import { waypointsServing } from "./waypoint-attachments.ts";

/** A gateway and the Namespaces whose labels name it as a waypoint or as a canary. */
const namespacesUsingWaypoint = relation("namespacesUsingWaypoint", kubernetesGatewayByName, namespacesNamingWaypoint);
/** A gateway and the Services whose own labels name it as a waypoint or as a canary. */
const servicesUsingWaypoint = relation("servicesUsingWaypoint", kubernetesGatewayByName, servicesNamingWaypoint);
/** A gateway and the ServiceEntries whose own labels name it as a waypoint or as a canary. */
const serviceEntriesUsingWaypoint = relation(
  "serviceEntriesUsingWaypoint",
  kubernetesGatewayByName,
  serviceEntriesNamingWaypoint,
);
/** A Service that names a waypoint or a canary itself, and its namespace. */
const namespaceOfUsingService = relation(
  "namespaceOfUsingService",
  index("Service", (service, settings) =>
    [...servicesNamingWaypoint.keys(service, settings)].length === 0 ? [] : [service.metadata.namespace],
  ),
  namespaceByName,
);
/** A ServiceEntry that names a waypoint or a canary itself, and its namespace. */
const namespaceOfUsingServiceEntry = relation(
  "namespaceOfUsingServiceEntry",
  index("ServiceEntry", (entry, settings) =>
    [...serviceEntriesNamingWaypoint.keys(entry, settings)].length === 0 ? [] : [entry.metadata.namespace],
  ),
  namespaceByName,
);

/**
 * The other namespaces whose policies can count for requests together with those of a namespace, because a waypoint of one serves the
 * other: there count those that target the waypoint, in its namespace, and those that target the Service, in that of the Service
 * (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). Those of the root namespace for the class of waypoints are not meant.
 */
export const namespacesTogether = fact(
  "namespacesTogether",
  "Namespace",
  [
    waypointsServing,
    gatewaysOfNamespace,
    namespacesUsingWaypoint,
    servicesUsingWaypoint,
    serviceEntriesUsingWaypoint,
    namespaceOfUsingService,
    namespaceOfUsingServiceEntry,
  ],
  (namespace, mesh): readonly Namespace[] => {
    const found = new Map<string, Namespace>();
    const enter = (all: readonly Namespace[]): void => {
      for (const one of all) found.set(one.metadata.name, one);
    };
    enter([...mesh.get(waypointsServing, namespace).elsewhere.values()].map(({ home }) => home));
    for (const gateway of mesh.related(gatewaysOfNamespace, namespace)) {
      enter(mesh.related(namespacesUsingWaypoint, gateway));
      for (const one of mesh.related(servicesUsingWaypoint, gateway)) enter(mesh.related(namespaceOfUsingService, one));
      for (const one of mesh.related(serviceEntriesUsingWaypoint, gateway))
        enter(mesh.related(namespaceOfUsingServiceEntry, one));
    }
    found.delete(namespace.metadata.name);
    return found.size === 0 ? none : [...found.values()];
  },
);
const none: readonly Namespace[] = Object.freeze([]);
