import { byId, idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import { counted } from "../../text/phrases.ts";
import { captureOf } from "../membership/capture.ts";
import { isTerminating } from "../membership/namespaces.ts";
import { namespaceOfService, podsNearService, selectsPods, type Service } from "../membership/services.ts";
import { portsOf } from "../membership/target-ports.ts";
import type { Workload } from "../membership/workloads.ts";
import { bypassesProxy, sidecarsOfPassing } from "../traffic/bound-ports.ts";
import { fact, type MeshView, reachedBy } from "../../view/view.ts";
import { authorization } from "./effective-authorization.ts";
import { appliedAtPort } from "./policies-at-port.ts";
import { Admissions } from "./requests/admitted.ts";
import type { Applied } from "./requests/applied.ts";

/** The pods behind a Service that are not in the mesh, or where one of its ports bypasses the proxy, so that policies decide nothing there. */
export const unguardedPods = fact(
  "unguardedPods",
  "Service",
  [namespaceOfService, podsNearService, sidecarsOfPassing],
  (service, mesh): ReadonlySet<Workload> => {
    const [namespace] = mesh.related(namespaceOfService, service);
    const pods = podsBehind(service, mesh);
    mesh.visited(pods.length);
    const { ports, workloadPort } = portsOf(service);
    const isGuarded = (workload: Workload): boolean =>
      namespace !== undefined &&
      captureOf(workload, namespace, mesh.settings) !== "none" &&
      !ports.some((port) => {
        const number = workloadPort(port, workload);
        return number !== undefined && bypassesProxy(workload, number, namespace, mesh);
      });
    const unguarded = pods.filter((one) => !isGuarded(one));
    return unguarded.length === 0 ? noPods : new Set(unguarded);
  },
);
const noPods: ReadonlySet<Workload> = new Set();

/** What `closedPods` reads. A change of policies leads nowhere by it: rules about namespaces report what they do to pods that are reached already. */
export const readsClosedPods = [
  namespaceOfService,
  podsNearService,
  reachedBy(authorization, []),
  unguardedPods,
] as const;
type View = MeshView<(typeof readsClosedPods)[number]>;

/** The pods behind a Service that have these labels too, without proxies. */
export function podsBehind(
  service: Service,
  mesh: MeshView<typeof podsNearService>,
  labels: Labels = {},
): readonly Workload[] {
  if (!selectsPods(service)) return [];
  return mesh.get(podsNearService, service)?.among(service.spec.selector).selected(labels) ?? [];
}

/**
 * The pods behind a Service whose policies allow nobody, at each of its ports: every request that it sends them is denied (Istio
 * pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). Pods outside the mesh are not among them, nor those of which a port
 * bypasses the proxy. Ordered by name; empty if not all policies are known. `portOf`: what they allow at this port of each pod alone.
 */
export function closedPods(
  service: Service,
  pods: readonly Workload[],
  mesh: View,
  portOf?: PortOfPod,
): readonly Workload[] {
  const [namespace] = mesh.related(namespaceOfService, service);
  if (pods.length === 0 || namespace === undefined || isTerminating(namespace)) return [];
  if (!mesh.knowsAll("AuthorizationPolicy")) return [];
  mesh.visited(pods.length);
  const { applied } = mesh.get(authorization, namespace);
  const admissions = new Admissions((values) => mesh.visited(Math.ceil(values / 100)));
  // Most pods have the same policies.
  const known = new Map<Applied, Map<number | undefined, boolean>>();
  const isClosed = (policies: Applied, port?: number): boolean => {
    let answers = known.get(policies);
    if (answers === undefined) known.set(policies, (answers = new Map()));
    let answer = answers.get(port);
    if (answer === undefined) {
      const asked = port === undefined ? policies : appliedAtPort(policies, port);
      answers.set(port, (answer = admissions.any(asked) === false));
    }
    return answer;
  };
  const isClosedAtPort = (pod: Workload, of: PortOfPod): boolean => {
    const port = of(pod);
    return port !== undefined && isClosed(applied.toWorkload(pod), port);
  };
  const closed = pods.filter((one) =>
    portOf === undefined ? isClosed(applied.toWorkload(one)) : isClosedAtPort(one, portOf),
  );
  // Most pods allow somebody, so that it does not matter what else is true of them.
  if (closed.length === 0) return closed;
  const unguarded = mesh.get(unguardedPods, service);
  return closed.filter((one) => !unguarded.has(one)).sort(byId);
}

/** The number of a port of a pod; undefined: it is not known. */
type PortOfPod = (pod: Workload) => number | undefined;

/** Names one of them, and how many others there are. */
export const formatClosed = (one: Workload, { length }: readonly Workload[]): string =>
  length === 1 ? idOf(one) : `${idOf(one)} and ${counted(length - 1, "other")}`;
