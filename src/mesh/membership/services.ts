import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { namespaceByName, serviceByNamespace } from "../objects/indexes.ts";
import { keysOfSelector } from "../objects/label-keys.ts";
import { Labelled } from "../objects/labelled.ts";
import { selects } from "../objects/selectors.ts";
import type { Namespace } from "./namespaces.ts";
import { isProxy, type Workload, workloadByLabel, workloadsOfNamespace } from "./workloads.ts";

export type Service = ObjectOf<"Service">;

/** Whether the DNS gives the addresses of the pods, so that nothing is sent to the Service itself. */
export const isHeadless = ({ spec }: Service): boolean => spec.clusterIP === "None";

/** Whether it is only another name in DNS, so that nothing is sent to it. */
export const isExternalName = ({ spec }: Service): boolean => spec.type === "ExternalName";

/** Whether its endpoints are the pods with its selector. */
export const selectsPods = ({ spec }: Service): boolean =>
  spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0;

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

/** A Service and the workloads of its namespace that have one label of its selector. */
export const workloadsNearService = relation(
  "workloadsNearService",
  index("Service", ({ metadata, spec: { selector, type } }) =>
    type === "ExternalName" ? [] : keysOfSelector(metadata.namespace, selector),
  ),
  workloadByLabel,
);
/** The workloads with a key of workloadsNearService by their labels, without proxies. */
const workloadsWithLabel = fact(
  "workloadsWithLabel",
  "key",
  [workloadsNearService],
  (key, mesh): Labelled<Workload> =>
    new Labelled(
      mesh.under(workloadsNearService, [key]).filter((workload) => !isProxy(workload)),
      ({ pod }) => pod.labels,
    ),
);
/** The workloads of a Service's namespace that have one label of its selector, by their labels; undefined: it selects none. */
export const podsNearService = fact(
  "podsNearService",
  "Service",
  [workloadsWithLabel],
  (service, mesh): Labelled<Workload> | undefined => {
    const [key] = workloadsNearService.from.keys(service, mesh.settings);
    return key === undefined ? undefined : mesh.get(workloadsWithLabel, key);
  },
);

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
