import { kindOf } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { gatewayNameLabel, managedGateway } from "../objects/labels.ts";

export type Workload = ObjectOf<"Workload">;

/** Whether another workload makes and keeps this one: it says nothing that its owner does not say. */
export const isOwned = ({ metadata }: Workload): boolean =>
  metadata.ownerReferences.some(
    ({ controller, apiVersion, kind }) => controller === true && kindOf(apiVersion, kind) === "Workload",
  );

/**
 * Gateways and waypoints: what istiod makes for a Gateway (label `gateway.istio.io/managed`), and what the injector
 * turns into one (annotation `inject.istio.io/templates: gateway`). They are data plane themselves.
 */
export const isProxy = (workload: Workload): boolean =>
  isManaged(workload) ||
  (workload.pod.annotations["inject.istio.io/templates"] ?? "").split(",").some((name) => name.trim() === "gateway");

const isManaged = ({ metadata, pod }: Workload): boolean =>
  metadata.labels[managedGateway] !== undefined || pod.labels[managedGateway] !== undefined;

/** A gateway that is known by its Gateway object. */
export const isOfGateway = (workload: Workload): boolean =>
  isManaged(workload) || workload.pod.labels[gatewayNameLabel] !== undefined;

/** A namespace and what runs in it, proxies too. */
export const workloadsOfNamespace = relation(
  "workloadsOfNamespace",
  namespaceByName,
  index("Workload", (workload) => (isOwned(workload) ? [] : [workload.metadata.namespace])),
);

/** A workload and its namespace. */
export const namespaceOfWorkload = relation(
  "namespaceOfWorkload",
  index("Workload", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);
