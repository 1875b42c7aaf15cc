import type { Kind } from "../../kube/kinds.ts";
import { fact, index, relation } from "../../view/view.ts";
import { labelsOfWorkloadEntry } from "../membership/workload-entries.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
import { mayAttach } from "./admitted-namespaces.ts";
import { keysNamed, takesPods, takesServices } from "./bindings.ts";
import { namespacesNamingWaypoint, serviceEntriesNamingWaypoint, servicesNamingWaypoint } from "./canaries.ts";

/** A gateway and the Namespaces whose labels name it as a waypoint or as a canary. */
const namespacesOfWaypoint = relation("namespacesOfWaypoint", kubernetesGatewayByName, namespacesNamingWaypoint);
/** A gateway and the Services whose own labels name it as a waypoint or as a canary. */
const servicesOfWaypoint = relation("servicesOfWaypoint", kubernetesGatewayByName, servicesNamingWaypoint);
/** A gateway and the ServiceEntries whose own labels name it as a waypoint or as a canary. */
const serviceEntriesOfWaypoint = relation(
  "serviceEntriesOfWaypoint",
  kubernetesGatewayByName,
  serviceEntriesNamingWaypoint,
);
/** A gateway and the workloads whose pods' own labels name it as their waypoint. The pods that it runs in do not use it. */
const workloadsOfWaypoint = relation(
  "workloadsOfWaypoint",
  kubernetesGatewayByName,
  index("Workload", ({ metadata, pod }) => keysNamed(pod.labels, metadata.namespace)),
);
/** A gateway and the WorkloadEntries whose own labels name it as their waypoint. */
const workloadEntriesOfWaypoint = relation(
  "workloadEntriesOfWaypoint",
  kubernetesGatewayByName,
  index("WorkloadEntry", (entry) => keysNamed(labelsOfWorkloadEntry(entry), entry.metadata.namespace)),
);

const users = [
  namespacesOfWaypoint,
  servicesOfWaypoint,
  serviceEntriesOfWaypoint,
  workloadsOfWaypoint,
  workloadEntriesOfWaypoint,
] as const;
const ofServices = [namespacesOfWaypoint, servicesOfWaypoint, serviceEntriesOfWaypoint] as const;
const ofPods = [namespacesOfWaypoint, workloadsOfWaypoint, workloadEntriesOfWaypoint] as const;
const kinds: readonly Kind[] = ["Namespace", "Service", "ServiceEntry", "Workload", "WorkloadEntry"];

/**
 * Whether no label of a namespace that its listener accepts names the gateway for traffic that it processes, so that it is the waypoint of
 * nothing (Istio pilot/pkg/serviceregistry/ambient/waypoints.go GetUseWaypoint, fetchWaypointForService, AllowsAttachmentFromNamespace).
 * False if an object may not be known that does, or if it depends on labels of its namespace.
 */
export const isUnusedWaypoint = fact("isUnusedWaypoint", "KubernetesGateway", users, (gateway, mesh): boolean => {
  const isUsedBy = (relation: (typeof users)[number]) =>
    mesh.related(relation, gateway).some((user) => {
      mesh.visited(1);
      const isNamespace = user.kind === "Namespace";
      const { name, namespace } = user.metadata;
      return mayAttach(gateway, {
        name: isNamespace ? name : namespace,
        of: isNamespace ? user : undefined,
        settings: mesh.settings,
      });
    });
  return (
    kinds.every((kind) => mesh.knowsAll(kind)) &&
    !(takesServices(gateway, mesh.settings) && ofServices.some(isUsedBy)) &&
    !(takesPods(gateway, mesh.settings) && ofPods.some(isUsedBy))
  );
});
