import type { MeshView } from "../../view/view.ts";
import { captureOf, type Enrollment, enrollmentOf, isEnrolled } from "./capture.ts";
import type { Namespace } from "./namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "./workloads.ts";

/**
 * What sends the requests of a client.
 * - `proxy`: a sidecar, or a gateway or waypoint itself; they follow VirtualServices and DestinationRules.
 * - `ztunnel`: it reads neither.
 * - `nothing`: the client is not in the mesh, and knows no certificates of it.
 * - `unknown`: nobody has shown the labels of the namespace.
 */
export type Sender = "proxy" | "ztunnel" | "nothing" | "unknown";

/** What may call others from a namespace. */
export interface NamespaceClients {
  readonly enrollment: Enrollment;
  /** Those that there are, or that the namespace would make; never empty. */
  readonly senders: ReadonlySet<Sender>;
  /** Whether some client follows VirtualServices and DestinationRules; undefined: nobody knows. */
  readonly hasProxies: boolean | undefined;
  /** Gateways, waypoints, and pods with a sidecar. */
  readonly proxies: readonly Workload[];
  /** What nothing captures, proxies not included: it sends plaintext. */
  readonly outside: readonly Workload[];
}

export function clientsIn(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): NamespaceClients {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  const sentBy = (sender: Sender) => workloads.filter((workload) => senderOf(workload, namespace) === sender);
  return {
    enrollment: enrollmentOf(namespace),
    senders: sendersIn(namespace, workloads, mesh),
    hasProxies: hasProxies(namespace, mesh),
    proxies: sentBy("proxy"),
    outside: sentBy("nothing"),
  };
}

export function senderOf(workload: Workload, namespace: Namespace): Sender {
  if (isProxy(workload)) return "proxy";
  const senders = { sidecar: "proxy", ambient: "ztunnel", none: "nothing", unknown: "unknown" } as const;
  return senders[captureOf(workload, namespace)];
}

/** As what clients that may be proxies are judged, if there are any: nobody has shown what `unknown` ones are. */
export function proxyAmong(senders: ReadonlySet<Sender>): "proxy" | "unknown" | undefined {
  if (senders.has("proxy")) return "proxy";
  return senders.has("unknown") ? "unknown" : undefined;
}

/** What nothing captures of an enrolled namespace, proxies not included; of others it is everything. */
export function leftOutOf(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): readonly Workload[] {
  return isEnrolled(namespace) === true ? clientsIn(namespace, mesh).outside : [];
}

/** Where workloads may be missing, or there are none yet, those that the labels of the namespace would make. */
function sendersIn(namespace: Namespace, workloads: readonly Workload[], mesh: MeshView): ReadonlySet<Sender> {
  const senders = new Set(workloads.map((workload) => senderOf(workload, namespace)));
  if (senders.size > 0 && mesh.knowsAll("Workload")) return senders;
  return new Set([...sendersOf[enrollmentOf(namespace)], ...senders]);
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
 * Whether a namespace has clients that VirtualServices and DestinationRules say anything to: sidecars, gateways and
 * waypoints. ztunnel reads none, and neither does what is not in the mesh.
 */
export function hasProxies(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): boolean | undefined {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  const senders = new Set(workloads.map((workload) => senderOf(workload, namespace)));
  if (senders.has("proxy")) return true;
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "unknown" || senders.has("unknown")) return undefined;
  if (workloads.length > 0 && mesh.knowsAll("Workload")) return false;
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return true;
  return mesh.knowsAll("Workload") ? false : undefined;
}
