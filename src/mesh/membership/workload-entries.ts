import { type ObjectOf, readObject, type Labels } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isAddress } from "../objects/ip-address.ts";
import { keysOfLabels } from "../objects/label-keys.ts";
import { isServed } from "../objects/revision.ts";
import type { MachineKind } from "./capture.ts";
import type { Workload } from "./workloads.ts";

type WorkloadEntry = ObjectOf<"WorkloadEntry">;

/**
 * The labels by which a WorkloadEntry is selected: those of its spec and those of the object, which take precedence (Istio
 * pilot/pkg/serviceregistry/serviceentry/conversion.go ConvertWorkloadEntry).
 */
export const labelsOfWorkloadEntry = ({ metadata, spec }: WorkloadEntry): Labels => ({
  ...spec.labels,
  ...metadata.labels,
});

/**
 * Whether the address of a WorkloadEntry is a host name or a socket, so that only ServiceEntries with DNS have it as an endpoint: no
 * Service of Kubernetes has, and no other ServiceEntry (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go
 * convertWorkloadEntryToWorkloadInstance and selectedWorkloads, pilot/pkg/serviceregistry/serviceentry/controller.go
 * pushWorkloadUpdates). Without an address, the gateway of its network is the endpoint.
 */
export const isOnlyForDns = ({ spec: { address = "" } }: WorkloadEntry): boolean =>
  address !== "" && !isAddress(address);

const withEndpoint = new WeakMap<readonly object[], boolean>();

/**
 * Whether one of what a selector selects is an endpoint, also where DNS finds none. `isNone`: those that are only for DNS. Many selectors
 * select the same list, for which the answer is kept.
 */
export function hasEndpoint<T extends object>(all: readonly T[], isNone: (one: T) => boolean, mesh: MeshView): boolean {
  let found = withEndpoint.get(all);
  if (found === undefined) {
    const first = all.findIndex((one) => !isNone(one));
    mesh.visited(first < 0 ? all.length : first + 1);
    withEndpoint.set(all, (found = first >= 0));
  }
  return found;
}

type WorkloadGroup = ObjectOf<"WorkloadGroup">;

/**
 * The labels of the WorkloadEntry that istiod makes for each machine that registers with a WorkloadGroup. The machine can add others
 * (Istio pilot/pkg/autoregistration/controller.go workloadEntryFromGroup).
 */
export const labelsOfWorkloadGroup = ({ spec }: WorkloadGroup): Labels => ({
  ...spec.template.labels,
  ...spec.metadata.labels,
});

/** The labels of machines outside of Kubernetes: those of one that is registered, or of those that may register. */
export const labelsOfMachines = (of: WorkloadEntry | WorkloadGroup): Labels =>
  of.kind === "WorkloadEntry" ? labelsOfWorkloadEntry(of) : labelsOfWorkloadGroup(of);

/** WorkloadGroups by the labels of their machines. */
export const workloadGroupByLabel = index("WorkloadGroup", (group, settings) =>
  isServed(group, settings) ? keysOfLabels(group.metadata.namespace, labelsOfWorkloadGroup(group)) : [],
);

/** A namespace and its WorkloadEntries, which ServiceEntries in it select. */
export const workloadEntriesOfNamespace = relation(
  "workloadEntriesOfNamespace",
  namespaceByName,
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);

/** A machine outside the cluster: an endpoint of a ServiceEntry, or a WorkloadEntry. */
export interface Machine {
  readonly kind: MachineKind;
  readonly address: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly serviceAccount: string | undefined;
  /** Its own ports, by the names of the ports of services. */
  readonly ports: Readonly<Record<string, number>>;
}

const tlsModeLabel = "security.istio.io/tlsMode";

/**
 * Whether clients take a machine to have a proxy: its label says so, or it has a service account (Istio
 * pilot/pkg/serviceregistry/serviceentry/conversion.go getTLSModeFromWorkloadEntry).
 */
export function hasProxy({ labels, serviceAccount }: Pick<Machine, "labels" | "serviceAccount">): boolean {
  const mode = labels[tlsModeLabel];
  return mode === undefined ? (serviceAccount ?? "") !== "" : mode === "istio";
}

const known = new WeakMap<object, Workload>();
const machines = new WeakMap<Workload, Machine>();

/** The machine that `workloadOfMachine` read a workload from; undefined: the workload is one of the cluster. */
export const machineOfWorkload = (workload: Workload): Machine | undefined => machines.get(workload);

/**
 * A machine as the workload that policies apply to: one with a sidecar, or one outside the mesh. `of`: the object that it is read
 * from, for which there is one workload.
 */
export function workloadOfMachine(of: object, machine: Machine): Workload {
  let found = known.get(of);
  if (found === undefined) {
    known.set(of, (found = read(machine)));
    machines.set(found, machine);
  }
  return found;
}

function read({ kind: originKind, namespace, name, labels, serviceAccount, ...machine }: Machine): Workload {
  const proxy = hasProxy({ labels, serviceAccount }) ? [{ name: "istio-proxy" }] : [];
  const raw = {
    kind: "Pod",
    metadata: { namespace, name, labels },
    spec: { serviceAccountName: serviceAccount || undefined, containers: [{ name: machine.address }, ...proxy] },
  };
  return { ...readObject("Workload", raw), originKind };
}

/**
 * A namespace and the ServiceEntries in it that select its workloads, also those that are declared to be outside the mesh: the
 * location decides about the TLS of clients with a sidecar, and about no waypoint.
 */
export const selectingEntriesOfNamespace = relation(
  "selectingEntriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) =>
    isServed(entry, settings) && Object.keys(entry.spec.workloadSelector?.labels ?? {}).length > 0
      ? [entry.metadata.namespace]
      : [],
  ),
);
