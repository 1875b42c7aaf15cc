import { fact, index, relation, setting } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { injectSidecar, revisionLabel } from "../objects/labels.ts";
import type { ControlPlane } from "../objects/revision.ts";
import { enrollmentOf, refusesInjection } from "./capture.ts";
import { readers } from "./control-plane.ts";
import { gatewaysOfNamespace } from "./gateways.ts";
import { isOwned, type Workload, workloadsOfNamespace } from "./workloads.ts";

/** The key of all Namespaces. */
export const ofTheMesh = "mesh";

/** A Namespace and all Namespaces of the mesh. */
const namespacesOfMesh = relation(
  "namespacesOfMesh",
  index("Namespace", () => [ofTheMesh]),
  index("Namespace", () => [ofTheMesh]),
);

/** Whether the pods say themselves that they want a proxy, as those of gateways do, whatever their namespace says. */
const asksForProxy = ({ pod }: Workload): boolean =>
  !refusesInjection(pod) &&
  (pod.labels[revisionLabel] !== undefined || (pod.labels[injectSidecar] ?? pod.annotations[injectSidecar]) === "true");

/** A Namespace and the workloads in it whose pods say themselves that they want a proxy. */
const workloadsAskingForProxy = relation(
  "workloadsAskingForProxy",
  namespaceByName,
  index("Workload", (workload) => (asksForProxy(workload) && !isOwned(workload) ? [workload.metadata.namespace] : [])),
);

/** The control planes of the sidecars and gateways of a namespace, which may send requests; undefined among them: one is not known. */
const controlPlanesOfClients = fact(
  "controlPlanesOfClients",
  "Namespace",
  [gatewaysOfNamespace, readers, workloadsAskingForProxy, workloadsOfNamespace],
  (namespace, mesh): ReadonlySet<ControlPlane> => {
    const found = mesh.get(readers, namespace);
    const asking = mesh.related(workloadsAskingForProxy, namespace);
    const gateways = mesh.related(gatewaysOfNamespace, namespace);
    const enrollment = enrollmentOf(namespace, mesh.settings);
    mesh.visited(asking.length + gateways.length);
    const all = new Set([
      ...asking.map(({ pod }) => found.ofSidecar(pod.labels)),
      ...gateways.map((gateway) => found.ofGateway(gateway)),
    ]);
    if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") all.add(found.ofSidecar({}));
    const mayBeInjected = enrollment === "unknown" && mesh.related(workloadsOfNamespace, namespace).some(isWilling);
    return mayBeInjected ? all.add(undefined) : all;
  },
);
const isWilling = ({ pod }: Workload): boolean => !refusesInjection(pod);

/**
 * The control planes that configure proxies which may send requests, by the labels of namespaces, pods and Gateways; undefined among them: one
 * is not known. ztunnel sends everything as HBONE, whatever a mesh config says. The key is `ofTheMesh`.
 */
export const controlPlanesWithClients = fact(
  "controlPlanesWithClients",
  "key",
  [controlPlanesOfClients, namespacesOfMesh, setting("injectors")],
  (key, mesh): ReadonlySet<ControlPlane> => {
    // A tag that is not known may lead any label to any revision.
    if (mesh.settings.injectors.length === 0) return new Set([undefined]);
    const namespaces = mesh.under(namespacesOfMesh, [key]);
    mesh.visited(namespaces.length);
    return new Set(namespaces.flatMap((namespace) => [...mesh.get(controlPlanesOfClients, namespace)]));
  },
);
