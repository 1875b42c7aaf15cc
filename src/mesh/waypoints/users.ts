import type { Kind } from "../../kube/kinds.ts";
import { fact, relation } from "../../view/view.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
import { workloadEntriesByWaypoint, workloadsByWaypoint } from "./bindings.ts";
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
/** A gateway and the workloads whose pods' own labels name it, also as the Gateway that runs in them. */
const workloadsOfWaypoint = relation("workloadsOfWaypoint", kubernetesGatewayByName, workloadsByWaypoint);
/** A gateway and the WorkloadEntries whose own labels name it, also as the Gateway that runs at their address. */
const workloadEntriesOfWaypoint = relation(
  "workloadEntriesOfWaypoint",
  kubernetesGatewayByName,
  workloadEntriesByWaypoint,
);

const users = [
  namespacesOfWaypoint,
  servicesOfWaypoint,
  serviceEntriesOfWaypoint,
  workloadsOfWaypoint,
  workloadEntriesOfWaypoint,
] as const;
const kinds: readonly Kind[] = ["Namespace", "Service", "ServiceEntry", "Workload", "WorkloadEntry"];

/**
 * Whether no label names the gateway, so that it is the waypoint of nothing (Istio
 * pilot/pkg/serviceregistry/ambient/waypoints.go GetUseWaypoint). False if an object may not be known that does.
 */
export const isUnusedWaypoint = fact("isUnusedWaypoint", "KubernetesGateway", users, ({ metadata }, mesh): boolean => {
  const key = `${metadata.namespace}/${metadata.name}`;
  return kinds.every((kind) => mesh.knowsAll(kind)) && !users.some((relation) => mesh.hasUnder(relation, key));
});
