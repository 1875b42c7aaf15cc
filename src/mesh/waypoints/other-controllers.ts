import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { gatewayOfListenerSet } from "../gateways/listener-sets.ts";
import {
  gatewaysOfRoute,
  type KubernetesRoute,
  listenerSetsOfRoute,
  parentOf,
  servicesOfRoute,
} from "../gateways/routes.ts";
import {
  hasClassOfIstio,
  isIstiosWaypointOrGateway,
  isOfAnotherController,
  type KubernetesGateway,
} from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import { useWaypoint } from "../objects/labels.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import {
  formatWaypoint,
  waypointNamed,
  waypointOfNamespace,
  waypointOfService,
  waypointOfServiceEntry,
} from "./bindings.ts";

/** What `doubtOfRoutesTo` reads. */
export const otherControllerReads = [waypointOfNamespace, waypointOfService, waypointOfServiceEntry] as const;
type View = MeshView<(typeof otherControllerReads)[number]>;

/**
 * Why it is not known whether istiod reads routes of the Gateway API that name a Service or a ServiceEntry as their parent; undefined: it
 * does. It leaves them to the controller of the waypoint that the labels name, if the GatewayClass of that is another one's, for all
 * clients, those with a sidecar too (Istio pilot/pkg/config/kube/gateway/conversion.go waypointManagedByAnotherController).
 * Of a class whose GatewayClass is not known, unless it is one that istiod creates, it is not known whose it is.
 */
export const doubtOfRoutesTo = (
  parent: Definition,
  namespace: Namespace | undefined,
  mesh: View,
): string | undefined =>
  parent.kind === "Service" ? doubtOfService(parent, namespace, mesh) : doubtOfEntry(parent, namespace, mesh);

const doubtOfService = (
  service: Service,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace | typeof waypointOfService>,
): string | undefined => doubtOf(service, mesh.related(waypointOfService, service), namespace, mesh);

const doubtOfEntry = (
  entry: ObjectOf<"ServiceEntry">,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace | typeof waypointOfServiceEntry>,
): string | undefined => doubtOf(entry, mesh.related(waypointOfServiceEntry, entry), namespace, mesh);

/**
 * `own`: the gateways that the labels of the object itself name. Such a label counts even if it is empty, and otherwise that of the
 * namespace. Headless Services are no exception.
 */
function doubtOf(
  parent: Definition,
  own: readonly KubernetesGateway[],
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace>,
): string | undefined {
  const isOwn = parent.metadata.labels[useWaypoint] !== undefined;
  const { labels } = isOwn ? parent.metadata : (namespace?.metadata ?? { labels: {} });
  const named = waypointNamed(labels, parent.metadata.namespace);
  if (named === undefined || named === "none" || named.name === "") return undefined;
  const [gateway] = isOwn || namespace === undefined ? own : mesh.related(waypointOfNamespace, namespace);
  const unclear = unclearOf(gateway, mesh);
  return unclear === undefined
    ? undefined
    : `waypoint ${formatWaypoint(named)} of ${idOf(parent)} ${unclear}, and istiod leaves routes of the Gateway API to the controller of the waypoint`;
}

function unclearOf(gateway: KubernetesGateway | undefined, mesh: MeshView): string | undefined {
  if (gateway === undefined) return mesh.knows("KubernetesGateway") ? undefined : "is not known";
  return isIstiosWaypointOrGateway(gateway, mesh.settings) ? undefined : `has ${unknownClass(gateway, mesh.settings)}`;
}

/** What is not known of a gateway whose class is none of Istio's. */
export const unknownClass = (gateway: KubernetesGateway, settings: MeshSettings): string =>
  `class ${JSON.stringify(gateway.spec.gatewayClassName)}, ${isOfAnotherController(gateway, settings) ? "which is another controller's" : "of which it is not known whether it is Istio's"}`;

/** What `isForOtherControllers` reads. */
const parentsRead = [
  gatewaysOfRoute,
  listenerSetsOfRoute,
  gatewayOfListenerSet,
  servicesOfRoute,
  namespaceOfService,
  waypointOfService,
  waypointOfNamespace,
] as const;

/**
 * Whether each parent of a route is a Gateway that exists and whose class is none of Istio's, a ListenerSet of one, or a Service whose
 * waypoint is such a Gateway, so that another controller may decide what becomes of its requests.
 */
export const isForOtherControllers = fact(
  "isForOtherControllers",
  "KubernetesRoute",
  parentsRead,
  (route, mesh): boolean => {
    const parents = route.spec.parentRefs.map((ref) => parentOf(ref, route));
    return parents.length > 0 && parents.every((parent) => isOther(parent, route, mesh));
  },
);

function isOther(
  { kind, namespace, name }: ReturnType<typeof parentOf>,
  route: KubernetesRoute,
  mesh: MeshView<(typeof parentsRead)[number]>,
): boolean {
  const isOfOthers = (gateway: KubernetesGateway) => !hasClassOfIstio(gateway, mesh.settings);
  const isNamed = ({ metadata }: AnyObject) => metadata.namespace === namespace && metadata.name === name;
  if (kind === "Gateway") return mesh.related(gatewaysOfRoute, route).filter(isNamed).some(isOfOthers);
  if (kind === "ListenerSet") {
    const sets = mesh.related(listenerSetsOfRoute, route).filter(isNamed);
    return sets.some((set) => mesh.related(gatewayOfListenerSet, set).some(isOfOthers));
  }
  const service = kind === "Service" ? mesh.related(servicesOfRoute, route).find(isNamed) : undefined;
  if (service === undefined) return false;
  return doubtOfService(service, mesh.related(namespaceOfService, service)[0], mesh) !== undefined;
}
