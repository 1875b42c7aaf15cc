import type { ObjectOf } from "../../kube/object.ts";
import { index, type Mesh } from "../../view/view.ts";
import type { LabelSelector } from "../objects/selectors.ts";

// Which labels and annotations of a Namespace decide anything about other objects. Most of what teams write there is for people
// and for other tools.

/** What Istio and Kubernetes read, and Meshward: whatever is in a domain of theirs, and the few labels that have none. */
const isOfReaders = (key: string): boolean => /istio|kubernetes\.io\/|k8s\.io\/|meshward\.io\//.test(key);

const keysOf = (selectors: readonly (LabelSelector | undefined)[]): readonly string[] =>
  selectors.flatMap((selector) =>
    selector === undefined
      ? []
      : [...Object.keys(selector.matchLabels), ...selector.matchExpressions.map(({ key }) => key)],
  );

type Listeners = ObjectOf<"KubernetesGateway" | "ListenerSet">["spec"]["listeners"];
const keysOfListeners = (listeners: Listeners): readonly string[] =>
  keysOf(listeners.map(({ allowedRoutes }) => allowedRoutes?.namespaces?.selector));

/** The objects that select namespaces, by the keys of the labels. */
const selecting = [
  index("KubernetesGateway", ({ spec }) => [
    ...keysOfListeners(spec.listeners),
    ...keysOf([spec.allowedListeners?.namespaces?.selector]),
  ]),
  index("ListenerSet", ({ spec }) => keysOfListeners(spec.listeners)),
  index("MeshwardIntent", ({ spec }) => Object.keys(spec.to.namespaces?.labels ?? {})),
];

/** Whether anything about other objects can depend on an annotation of a Namespace. No selector names annotations. */
export const isAnnotationRead = (key: string): boolean => isOfReaders(key);

/** Whether anything about other objects can depend on a label of a Namespace. */
export const isLabelRead = (key: string, mesh: Mesh): boolean =>
  isOfReaders(key) || selecting.some((index) => mesh.at(index, key).length > 0) || isInSettings(key, mesh);

function isInSettings(key: string, { settings: { injection, discovery } }: Mesh): boolean {
  const ofInjectors = Object.values(injection).flatMap(({ webhooks = [] }) =>
    webhooks.map(({ namespaceSelector }) => namespaceSelector),
  );
  return keysOf([...ofInjectors, ...Object.values(discovery).flat()]).includes(key);
}
