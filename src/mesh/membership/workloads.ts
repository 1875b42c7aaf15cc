import { keyOf } from "../../kube/identity.ts";
import { kindOf } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { gatewayNameLabel, managedGateway } from "../objects/labels.ts";

export type Workload = ObjectOf<"Workload">;

/** Whether another workload owns this one, which then adds no information to its owner. */
export const isOwned = ({ metadata }: Workload): boolean =>
  metadata.ownerReferences.some(
    ({ controller, apiVersion, kind }) => controller === true && kindOf(apiVersion, kind) === "Workload",
  );

/**
 * Whether a workload is a gateway or waypoint: one that istiod creates for a Gateway (label
 * `gateway.istio.io/managed`), or one that the injector configures as a gateway (annotation
 * `inject.istio.io/templates: gateway`). They are part of the data plane.
 */
export const isProxy = (workload: Workload): boolean =>
  isManaged(workload) ||
  (workload.pod.annotations["inject.istio.io/templates"] ?? "").split(",").some((name) => name.trim() === "gateway");

const isManaged = ({ metadata, pod }: Workload): boolean =>
  metadata.labels[managedGateway] !== undefined || pod.labels[managedGateway] !== undefined;

/** Whether a gateway is represented by its Gateway object. */
export const isOfGateway = (workload: Workload): boolean =>
  isManaged(workload) || workload.pod.labels[gatewayNameLabel] !== undefined;

/** A namespace and its workloads, including proxies. */
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

/** The workloads that exist before and after a change, in the order after it. Most of them are the same object. */
export function* workloadPairs(
  before: readonly Workload[],
  after: readonly Workload[],
): Iterable<readonly [before: Workload, after: Workload]> {
  const old = new Set(before);
  let byKey: Map<string, Workload> | undefined;
  for (const workload of after) {
    if (old.has(workload)) yield [workload, workload];
    else {
      byKey ??= new Map(before.map((one) => [keyOf(one), one]));
      const known = byKey.get(keyOf(workload));
      if (known !== undefined) yield [known, workload];
    }
  }
}
