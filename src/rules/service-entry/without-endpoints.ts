import { absent, absentHere } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import {
  hasEndpoint,
  isOnlyForDns,
  labelsOfWorkloadEntry,
  labelsOfWorkloadGroup,
  workloadGroupByLabel,
} from "../../mesh/membership/workload-entries.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { workloadByLabel } from "../../mesh/membership/workloads.ts";
import { keysOfLabels, keysOfSelector } from "../../mesh/objects/label-keys.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import {
  namespaceOfEntry,
  serviceEntriesBesideServiceEntry,
  servicesBesideServiceEntry,
} from "../../mesh/traffic/definition-choice.ts";
import { isWildcard } from "../../mesh/traffic/hosts.ts";
import { isLookedUpWhole } from "../../mesh/traffic/service-entry-hosts.ts";
import {
  waypointBinding,
  waypointBindingOfServiceEntry,
  waypointOfServiceEntry,
} from "../../mesh/waypoints/bindings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** How many objects of each namespace define a host. */
const definersOfHost = fact(
  "definersOfHost",
  "key",
  [serviceEntriesBesideServiceEntry, servicesBesideServiceEntry],
  (host, mesh): ReadonlyMap<string, number> => {
    const all = [
      ...mesh.under(serviceEntriesBesideServiceEntry, [host]),
      ...mesh.under(servicesBesideServiceEntry, [host]),
    ];
    return new Map(
      [...Map.groupBy(all, ({ metadata }) => metadata.namespace)].map(([name, some]) => [name, some.length]),
    );
  },
);

const labelsOf = ({ spec }: ServiceEntry): Labels => spec.workloadSelector?.labels ?? {};
const oneLabel = index("ServiceEntry", (entry, settings) =>
  isServed(entry, settings) ? keysOfSelector(entry.metadata.namespace, labelsOf(entry)) : [],
);
/** A ServiceEntry with a workloadSelector, and the workloads of its namespace that have one label of it. */
const workloadsNearServiceEntry = relation("workloadsNearServiceEntry", oneLabel, workloadByLabel);
/** A ServiceEntry with a workloadSelector, and the WorkloadEntries of its namespace that have one label of it. */
const workloadEntriesNearServiceEntry = relation(
  "workloadEntriesNearServiceEntry",
  oneLabel,
  index("WorkloadEntry", (entry, settings) =>
    isServed(entry, settings) ? keysOfLabels(entry.metadata.namespace, labelsOfWorkloadEntry(entry)) : [],
  ),
);
/** A ServiceEntry with a workloadSelector, and the WorkloadGroups of its namespace whose machines have one label of it. */
const workloadGroupsNearServiceEntry = relation("workloadGroupsNearServiceEntry", oneLabel, workloadGroupByLabel);
interface Selectable {
  readonly labels: Labels;
  /** What has a host name or a socket as its address. */
  readonly onlyForDns?: ObjectOf<"WorkloadEntry">;
}
/** What has one label of the selectors of some ServiceEntries, by its labels. */
const nearServiceEntries = fact(
  "nearServiceEntries",
  "key",
  [workloadsNearServiceEntry, workloadEntriesNearServiceEntry, workloadGroupsNearServiceEntry],
  (key, mesh): Labelled<Selectable> =>
    new Labelled<Selectable>(
      [
        ...mesh.under(workloadsNearServiceEntry, [key]).map(({ pod }) => pod),
        ...mesh.under(workloadEntriesNearServiceEntry, [key]).map((entry) => {
          const labels = labelsOfWorkloadEntry(entry);
          return isOnlyForDns(entry) ? { labels, onlyForDns: entry } : { labels };
        }),
        ...mesh.under(workloadGroupsNearServiceEntry, [key]).map((group) => ({ labels: labelsOfWorkloadGroup(group) })),
      ],
      ({ labels }) => labels,
    ),
);

const reads = [
  serviceEntriesBesideServiceEntry,
  servicesBesideServiceEntry,
  definersOfHost,
  nearServiceEntries,
  namespaceOfEntry,
  waypointBinding,
  waypointOfServiceEntry,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const serviceEntryWithoutEndpoints = defineRule({
  id: "service-entry-without-endpoints",
  subject: "ServiceEntry",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "Workload", "WorkloadEntry", "WorkloadGroup"],
  mode: "warn",
  since: "0.1.0",
  // Machines outside of Kubernetes may register later.
  stage: "trial",
  summary: "A ServiceEntry has no endpoint, and its resolution finds none either.",
  why: "With resolution STATIC, or with a workloadSelector, clients use only the endpoints that the ServiceEntry lists or selects (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go convertServiceEntryToInstances). A WorkloadEntry whose address is a host name is one with resolution DNS only (convertWorkloadEntryToWorkloadInstance). For a wildcard with resolution DYNAMIC_DNS, ztunnel has the wildcard itself as the endpoint, and needs a waypoint that looks up each name (pilot/pkg/serviceregistry/ambient/workloads.go, pilot/pkg/serviceregistry/ambient/services.go). Without any endpoint, a sidecar answers 503 (`no healthy upstream`) or closes the connection, while without the ServiceEntry the traffic would have passed by its address. istiod accepts it.",
  fix: "List the endpoints, correct the labels of workloadSelector, or use resolution DNS or NONE.",
  incident: {
    symptoms: ["no-endpoints"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Every request to the host fails since the ServiceEntry was applied, although the server can be reached from outside of the mesh.",
    wayOut: "Delete the ServiceEntry, or set its resolution to DNS: clients reach the host again within seconds.",
    silentWhen:
      "Another object of the same namespace defines the host too and may add endpoints, not all workloads and WorkloadEntries are known, or a new ServiceEntry selects labels of which no workload has any, because the workload may follow.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(entry, mesh) {
    const found = problemOf(entry, mesh);
    // The workloads of a new one may follow.
    const isStored = entry.metadata.resourceVersion !== undefined;
    if (found !== undefined && (isStored || found.isLikely)) yield found.problem;
  },

  *compare(before, after) {
    const found = problemOf(after.object, after.mesh);
    if (found === undefined) return;
    const isSame = problemOf(before.object, before.mesh)?.problem.message === found.problem.message;
    yield { ...found.problem, ...(isSame ? { existed: true } : {}) };
  },
});

interface Found {
  readonly problem: Problem;
  /** Not so if nothing is there that has any part of the labels. */
  readonly isLikely: boolean;
}

function problemOf(entry: ServiceEntry, mesh: View): Found | undefined {
  const { resolution, endpoints, hosts, workloadSelector } = entry.spec;
  if (!isServed(entry, mesh.settings) || endpoints.length > 0) return undefined;
  const { namespace } = entry.metadata;
  const isAlone = (host: string) => isWildcard(host) || mesh.get(definersOfHost, host).get(namespace) === 1;
  if (!hosts.every(isAlone)) return undefined;
  if (workloadSelector !== undefined) return unselecting(entry, mesh);
  if (resolution === "DYNAMIC_DNS") return withoutWaypoint(entry, mesh);
  if (resolution !== "STATIC") return undefined;
  const message =
    "Every request to these hosts fails: with resolution STATIC, endpoints are not looked up, and none are listed";
  return { problem: { at: ["spec", "resolution"], message }, isLikely: true };
}

/**
 * ztunnel resolves no names of a wildcard, only the waypoint does (Istio pilot/pkg/serviceregistry/ambient/services.go
 * serviceEntriesInfo). The clients are those of an ambient namespace itself; a waypoint that does not work has a rule of its own.
 */
function withoutWaypoint(entry: ServiceEntry, mesh: View): Found | undefined {
  const [namespace] = mesh.related(namespaceOfEntry, entry);
  if (namespace === undefined || enrollmentOf(namespace, mesh.settings) !== "ambient") return undefined;
  const host = entry.spec.hosts.find((one) => isLookedUpWhole(one, entry));
  if (host === undefined || waypointBindingOfServiceEntry(entry, namespace, mesh) !== undefined) return undefined;
  const problem = {
    at: ["spec", "resolution"],
    message: `Requests of ambient clients to ${JSON.stringify(host)} fail: without a waypoint, ztunnel asks DNS for the wildcard itself`,
    fix: "Set the label istio.io/use-waypoint of the ServiceEntry or of its namespace to a waypoint, which looks up each name.",
    evidence: [namespace],
  };
  return { problem, isLikely: true };
}

function unselecting(entry: ServiceEntry, mesh: View): Found | undefined {
  if (!mesh.knowsAll("Workload") || !mesh.knowsAll("WorkloadEntry") || entry.spec.resolution === "NONE")
    return undefined;
  const [key] = oneLabel.keys(entry, mesh.settings);
  if (key === undefined) return undefined;
  const labels = labelsOf(entry);
  const near = mesh.get(nearServiceEntries, key);
  const selected = near.selected(labels);
  const isByDns = entry.spec.resolution?.startsWith("DNS") === true;
  if (selected.length > 0 && (isByDns || hasEndpoint(selected, isNoEndpoint, mesh))) return undefined;
  return { problem: unselected(entry, selected), isLikely: near.all.length > 0 };
}

/** `selected`: what has the labels and is no endpoint. */
function unselected(entry: ServiceEntry, selected: readonly Selectable[]): Problem {
  const unusable = selected.flatMap(({ onlyForDns }) => onlyForDns ?? []);
  const { namespace } = entry.metadata;
  const labels = formatLabels(labelsOf(entry));
  const who =
    unusable.length === 0
      ? `nothing in "${namespace}" has ${labels}`
      : `only WorkloadEntries whose address is no IP address have ${labels} in "${namespace}"`;
  return {
    at: ["spec", "workloadSelector"],
    message: `Every request to these hosts fails: ${who}`,
    evidence: [absentHere("Workload", namespace), absent("WorkloadEntry", namespace), ...unusable],
    ...(unusable.length === 0 ? {} : { related: unusable.slice(0, 4), fix: fixOfAddresses }),
  };
}

const isNoEndpoint = ({ onlyForDns }: Selectable): boolean => onlyForDns !== undefined;

const fixOfAddresses = "Write the IP addresses of the machines into the WorkloadEntries, or use resolution DNS.";
