import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { namespaceOfService } from "../membership/services.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { commonNamespaces, everyNamespace, includesNamespace, visibleTo } from "./export-to.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { hostKey, hostOfService, isWildcard } from "./hosts.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;
/** What defines a host. */
export type Definition = Service | ServiceEntry;

export const exportToAnnotation = "networking.istio.io/exportTo";

/**
 * The namespaces to which a Service or a ServiceEntry is visible; `*` stands for all. A Service lists them in an annotation,
 * separated by commas (Istio pilot/pkg/serviceregistry/kube/conversion.go ConvertService, pilot/pkg/model/push_context.go
 * initServiceRegistry).
 */
export function serviceVisibleTo(object: Definition, settings: MeshSettings): ReadonlySet<string> {
  let known = visibility.get(object);
  if (known?.settings !== settings)
    visibility.set(object, (known = { settings, namespaces: computeVisibility(object, settings) }));
  return known.namespaces;
}

/**
 * Whether sidecars of a namespace reach what defines a host by a VirtualService that routes there: if it is exported to them, or is in their
 * own namespace, whatever it is exported to (Istio pilot/pkg/model/sidecar.go collectImportedServices). Of a Service with `~`, it is not
 * sure (`isOfNobody`).
 */
export function isRoutedFrom(client: string, definition: Definition, settings: MeshSettings): boolean {
  if (includesNamespace(serviceVisibleTo(definition, settings), client)) return true;
  return definition.metadata.namespace === client && !isOfNobody(definition);
}

/**
 * Whether a Service itself is exported to nobody. istiod pushes no changes of its endpoints then, so that the order of events says which of
 * them it knows (Istio pilot/pkg/serviceregistry/kube/controller/endpointslice.go serviceNeedsPush, controller.go recomputeServiceForPod).
 */
export const isOfNobody = (definition: Definition): boolean =>
  definition.kind === "Service" && exportToOf(definition).includes("~");

const visibility = new WeakMap<
  Definition,
  { readonly settings: MeshSettings; readonly namespaces: ReadonlySet<string> }
>();

const computeVisibility = (object: Definition, settings: MeshSettings): ReadonlySet<string> =>
  visibleTo(exportToOf(object), object.metadata.namespace, settings.defaultServiceExportTo);

function exportToOf(object: Definition): readonly string[] {
  const { annotations } = object.metadata;
  const said =
    object.kind === "Service"
      ? (annotations[exportToAnnotation] ?? "").split(",").map((name) => name.trim())
      : object.spec.exportTo;
  return said.filter((name) => name !== "");
}

/** Whether an object says itself to which namespaces it is visible. For others, the mesh config says it. */
export function hasOwnExportTo(object: AnyObject): boolean {
  if (object.kind === "Service" || object.kind === "ServiceEntry") return exportToOf(object).length > 0;
  return (object.kind === "VirtualService" || object.kind === "DestinationRule") && object.spec.exportTo.length > 0;
}

export const serviceByHost = index("Service", (service, { domain }) => [hostOfService(service, domain)]);
export const entryByHost = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? new Set(entry.spec.hosts.filter((host) => !isWildcard(host))) : [],
);

/** A ServiceEntry and its namespace. */
export const namespaceOfEntry = relation(
  "namespaceOfEntry",
  index("ServiceEntry", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);
/** The namespace of what defines a host; undefined: it is not known. */
export const namespaceOfDefinition = (
  definition: Definition,
  mesh: MeshView<typeof namespaceOfService | typeof namespaceOfEntry>,
): ObjectOf<"Namespace"> | undefined =>
  definition.kind === "Service"
    ? mesh.related(namespaceOfService, definition)[0]
    : mesh.related(namespaceOfEntry, definition)[0];

/** The ServiceEntries that a control plane reads, by the keys of their hosts, wildcards among them. */
export const serviceEntryByHost = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? new Set(entry.spec.hosts.map(hostKey)) : [],
);

/** A Service and the ServiceEntries, of any namespace, that define its host too. */
export const serviceEntriesBesideService = relation("serviceEntriesBesideService", serviceByHost, entryByHost);
/** A ServiceEntry and the Services whose hosts it defines too. */
export const servicesBesideServiceEntry = relation("servicesBesideServiceEntry", entryByHost, serviceByHost);
/** A ServiceEntry and the ServiceEntries, of any namespace, that define one of its hosts; it is one of them. */
export const serviceEntriesBesideServiceEntry = relation(
  "serviceEntriesBesideServiceEntry",
  serviceEntryByHost,
  serviceEntryByHost,
);

/**
 * Of the definitions of one host, those whose endpoints clients in a namespace can reach. One in the namespace of the
 * clients takes precedence, then a Kubernetes Service; of ServiceEntries in other namespaces, each may be the one (Istio
 * pilot/pkg/model/sidecar.go selectServices, appendSidecarServices). A ServiceEntry in the namespace of the Service adds its
 * endpoints (pilot/pkg/model/endpointshards.go).
 */
export function definitionsFor(
  client: string,
  definitions: readonly Definition[],
  settings: MeshSettings,
): readonly Definition[] {
  const visible = definitions.filter((one) => includesNamespace(serviceVisibleTo(one, settings), client));
  const own = visible.filter(({ metadata }) => metadata.namespace === client);
  const candidates = own.length > 0 ? own : visible;
  const service = candidates.find(({ kind }) => kind === "Service");
  return service === undefined
    ? candidates
    : candidates.filter(({ metadata }) => metadata.namespace === service.metadata.namespace);
}

/**
 * Whether some clients see two ServiceEntries for one host, of which they use the older one. Those in the namespace of one of
 * them use that one, and one that is exported to them by name comes before one for all (Istio pilot/pkg/model/push_context.go
 * servicesExportedToNamespace, pilot/pkg/model/sidecar.go selectServices, appendSidecarServices).
 */
export function isChosenByAge(one: ServiceEntry, other: ServiceEntry, settings: MeshSettings): boolean {
  const [first, second] = [serviceVisibleTo(one, settings), serviceVisibleTo(other, settings)];
  const common = commonNamespaces(first, second);
  const homes = [one.metadata.namespace, other.metadata.namespace];
  if (homes[0] === homes[1]) return common.size > 0;
  if (first.has(everyNamespace) !== second.has(everyNamespace)) return false;
  return [...common].some((client) => !homes.includes(client));
}

/**
 * The order in which clients in the namespace of two ServiceEntries see them: those that are exported by name, as with `.`, come before
 * those for all namespaces (Istio pilot/pkg/model/push_context.go servicesExportedToNamespace).
 */
export const firstInNamespace =
  (settings: MeshSettings) =>
  (one: ServiceEntry, other: ServiceEntry): number =>
    Number(isForAll(one, settings)) - Number(isForAll(other, settings)) || oldestFirst(one, other);
export const isForAll = (one: ServiceEntry, settings: MeshSettings): boolean =>
  serviceVisibleTo(one, settings).has(everyNamespace);

/**
 * What keeps istiod from adding the ports of a ServiceEntry to those of an older one with the same host in its namespace: the first field
 * in which they differ; undefined: it adds them (Istio pilot/pkg/model/sidecar.go canMergeServices).
 */
export function differenceBetween(one: ServiceEntry, other: ServiceEntry): string | undefined {
  const [first, second] = [comparedFields(one), comparedFields(other)];
  return Object.keys(first).find((field) => first[field] !== second[field]);
}

const comparedFields = ({ metadata, spec }: ServiceEntry): Readonly<Record<string, string>> => ({
  resolution: spec.resolution || "NONE",
  labels: sorted(metadata.labels),
  workloadSelector: sorted(spec.workloadSelector?.labels ?? {}),
  exportTo: JSON.stringify([...spec.exportTo].sort()),
});
const sorted = (labels: Readonly<Record<string, string>>): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
