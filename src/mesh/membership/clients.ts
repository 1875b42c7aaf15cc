import { fact, type MeshView } from "../../view/view.ts";
import { captureOf, type Enrollment, enrollmentOf, isEnrolled } from "./capture.ts";
import type { InjectorSettings } from "./injector-selectors.ts";
import type { Namespace } from "./namespaces.ts";
import { hasInjectedGateway, isProxy, type Workload, workloadsOfNamespace } from "./workloads.ts";

/**
 * The component that sends the requests of a client.
 * - `proxy`: a sidecar, a gateway or a waypoint; they use VirtualServices and DestinationRules.
 * - `ztunnel`: it uses neither.
 * - `nothing`: the client is not in the mesh and has no mesh certificate.
 * - `unknown`: the labels of the namespace are not known.
 */
export type Sender = "proxy" | "ztunnel" | "nothing" | "unknown";

/** The possible clients in a namespace. */
export interface NamespaceClients {
  readonly enrollment: Enrollment;
  /** The senders of existing workloads, or of future workloads of the namespace; never empty. */
  readonly senders: ReadonlySet<Sender>;
  /** Whether some client uses VirtualServices and DestinationRules; undefined: that is not known. */
  readonly hasProxies: boolean | undefined;
  /** Gateways, waypoints, and pods with a sidecar. */
  readonly proxies: readonly Workload[];
  /** Workloads that are not captured, without proxies; they send plaintext. */
  readonly outside: readonly Workload[];
}

export function clientsIn(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): NamespaceClients {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  const sentBy = (sender: Sender) =>
    workloads.filter((workload) => senderOf(workload, namespace, mesh.settings) === sender);
  return {
    enrollment: enrollmentOf(namespace, mesh.settings),
    senders: sendersIn(namespace, workloads, mesh),
    hasProxies: hasProxies(namespace, mesh),
    proxies: sentBy("proxy"),
    outside: sentBy("nothing"),
  };
}

export function senderOf(workload: Workload, namespace: Namespace, settings: InjectorSettings): Sender {
  if (isProxy(workload) || hasInjectedGateway(workload)) return "proxy";
  const senders = { sidecar: "proxy", ambient: "ztunnel", none: "nothing", unknown: "unknown" } as const;
  return senders[captureOf(workload, namespace, settings)];
}

/** The senders that may be proxies; `unknown` ones are treated as proxies. */
export function proxyAmong(senders: ReadonlySet<Sender>): "proxy" | "unknown" | undefined {
  if (senders.has("proxy")) return "proxy";
  return senders.has("unknown") ? "unknown" : undefined;
}

/**
 * The workloads of an enrolled namespace that are not captured, without proxies; in other namespaces, all workloads.
 */
export function leftOutOf(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): readonly Workload[] {
  return isEnrolled(namespace, mesh.settings) === true ? clientsIn(namespace, mesh).outside : [];
}

/** If workloads may be missing, or there are none yet, the senders that the labels of the namespace imply. */
function sendersIn(namespace: Namespace, workloads: readonly Workload[], mesh: MeshView): ReadonlySet<Sender> {
  const senders = new Set(workloads.map((workload) => senderOf(workload, namespace, mesh.settings)));
  if (senders.size > 0 && mesh.knowsAll("Workload")) return senders;
  return new Set([...sendersOf[enrollmentOf(namespace, mesh.settings)], ...senders]);
}

const sendersOf: Readonly<Record<Enrollment, readonly Sender[]>> = {
  sidecar: ["proxy"],
  ambient: ["ztunnel"],
  "ambient-and-sidecar": ["proxy"],
  none: ["nothing"],
  "opted-out": ["nothing"],
  unknown: ["unknown"],
};

/**
 * Whether a namespace has clients that use VirtualServices and DestinationRules: sidecars, gateways and waypoints. ztunnel
 * and workloads outside the mesh do not use them.
 */
export function hasProxies(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): boolean | undefined {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  const senders = new Set(workloads.map((workload) => senderOf(workload, namespace, mesh.settings)));
  if (senders.has("proxy")) return true;
  const enrollment = enrollmentOf(namespace, mesh.settings);
  if (enrollment === "unknown" || senders.has("unknown")) return undefined;
  if (workloads.length > 0 && mesh.knowsAll("Workload")) return false;
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return true;
  return mesh.knowsAll("Workload") ? false : undefined;
}

/** Whether a namespace has clients with proxies, as hasProxies finds it. */
export const clientProxies = fact("clientProxies", "Namespace", [workloadsOfNamespace], hasProxies);

/** Whether a namespace certainly has clients with a sidecar: existing ones, or, if it has no workloads, future ones. */
export const hasSidecars = fact("hasSidecars", "Namespace", [workloadsOfNamespace], (namespace, mesh): boolean => {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  if (workloads.length === 0) return mesh.knowsAll("Workload") && enrollmentOf(namespace, mesh.settings) === "sidecar";
  return workloads.some(
    (one) => !isProxy(one) && !hasInjectedGateway(one) && captureOf(one, namespace, mesh.settings) === "sidecar",
  );
});

/**
 * Whether nothing in a namespace follows the routes and subsets that are for sidecars, nor has them applied by a waypoint: its
 * workloads are gateways, waypoints or outside the mesh. False also if it has none yet, or that is not known.
 */
export const hasNoMeshRoutes = fact(
  "hasNoMeshRoutes",
  "Namespace",
  [workloadsOfNamespace],
  (namespace, mesh): boolean => {
    const workloads = mesh.related(workloadsOfNamespace, namespace);
    const isAside = (one: Workload) => isProxy(one) || senderOf(one, namespace, mesh.settings) === "nothing";
    return workloads.length > 0 && mesh.knowsAll("Workload") && workloads.every(isAside);
  },
);

/**
 * Whether a namespace is ambient and no proxy sends requests from it, as far as that is known, so that its clients follow no
 * VirtualService themselves.
 */
export const hasAmbientAlone = fact(
  "hasAmbientAlone",
  "Namespace",
  [workloadsOfNamespace],
  (namespace, mesh): boolean => {
    const { enrollment, senders } = clientsIn(namespace, mesh);
    return enrollment === "ambient" && proxyAmong(senders) === undefined;
  },
);

/** Whether a namespace has clients in the mesh, or may have some: pods with a proxy, and ambient ones. */
export const hasMeshClients = fact(
  "hasMeshClients",
  "Namespace",
  [workloadsOfNamespace],
  (namespace, mesh): boolean =>
    !mesh.knowsAll("Workload") || [...clientsIn(namespace, mesh).senders].some((sender) => sender !== "nothing"),
);
