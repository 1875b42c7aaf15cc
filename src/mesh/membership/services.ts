import type { ObjectOf } from "../../kube/object.ts";
import { type MeshView, relation } from "../../view/view.ts";
import { namespaceByName, serviceByNamespace } from "../objects/indexes.ts";
import { selects } from "../objects/selectors.ts";
import type { Namespace } from "./namespaces.ts";
import { type Workload, workloadsOfNamespace } from "./workloads.ts";

export type Service = ObjectOf<"Service">;

/** A namespace and its Services. */
export const servicesOfNamespace = relation("servicesOfNamespace", namespaceByName, serviceByNamespace);

/** A Service and its namespace, whose label may select a waypoint for it. */
export const namespaceOfService = relation("namespaceOfService", serviceByNamespace, namespaceByName);

/** Whether a namespace has a Service of this name, or may have one. The Services are read when the first name is asked for. */
export function hasService(
  namespace: Namespace,
  mesh: MeshView<typeof servicesOfNamespace>,
): (name: string) => boolean {
  if (!mesh.knowsAll("Service")) return () => true;
  let names: ReadonlySet<string> | undefined;
  return (name) => {
    names ??= new Set(mesh.related(servicesOfNamespace, namespace).map(({ metadata }) => metadata.name));
    return names.has(name);
  };
}

/** Whether a Service selects these pods; without a selector, or as ExternalName, it selects none. */
export const selectsWorkload = ({ spec }: Service, { pod }: Workload): boolean =>
  spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0 && selects(spec.selector, pod.labels);

/** The workloads behind a Service, including proxies. */
export const workloadsOfService = (
  service: Service,
  namespace: Namespace,
  mesh: MeshView<typeof workloadsOfNamespace>,
): readonly Workload[] =>
  mesh.related(workloadsOfNamespace, namespace).filter((workload) => selectsWorkload(service, workload));

/** The Services that select a workload. */
export const servicesOfWorkload = (
  workload: Workload,
  namespace: Namespace,
  mesh: MeshView<typeof servicesOfNamespace>,
): readonly Service[] =>
  mesh.related(servicesOfNamespace, namespace).filter((service) => selectsWorkload(service, workload));
