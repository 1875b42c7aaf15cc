import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { labelsOfMachines } from "../../mesh/membership/workload-entries.ts";
import { mayGetRole, type Workload, workloadByLabel, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { keysOfSelector } from "../../mesh/objects/label-keys.ts";
import { gatewayApiGroup, givenLabels } from "../../mesh/objects/labels.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels, selects } from "../../mesh/objects/selectors.ts";
import { workloadsOfGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, forWording, index, type Index, type MeshView, relation, setting } from "../../view/view.ts";

const kinds = [
  "AuthorizationPolicy",
  "PeerAuthentication",
  "RequestAuthentication",
  "Telemetry",
  "WasmPlugin",
  "TrafficExtension",
  "EnvoyFilter",
  "Sidecar",
  "ProxyConfig",
  "DestinationRule",
] as const satisfies readonly Kind[];
type Scoped = ObjectOf<(typeof kinds)[number]>;

/** The labels that an object selects; undefined: all workloads, or those of a target. */
function selectorOf(object: Scoped): Labels | undefined {
  const labels = labelsOf(object);
  return labels === undefined || Object.keys(labels).length === 0 ? undefined : labels;
}

function labelsOf(object: Scoped): Labels | undefined {
  if (object.kind === "EnvoyFilter" || object.kind === "Sidecar") return object.spec.workloadSelector?.labels;
  return (object.kind === "DestinationRule" ? object.spec.workloadSelector : object.spec.selector)?.matchLabels;
}

const selectorField = ({ kind }: Scoped): string =>
  kind === "EnvoyFilter" || kind === "Sidecar" || kind === "DestinationRule" ? "workloadSelector" : "selector";

/**
 * The kinds that select workloads of their own namespace also in the root namespace (Istio pilot/pkg/model/telemetry.go
 * applicableTelemetries, pilot/pkg/model/push_context.go doGetSidecarScope, pilot/pkg/model/proxy_config.go mergedWorkloadConfig,
 * pilot/pkg/model/sidecar.go DestinationRule).
 */
const onlyOwn: ReadonlySet<Kind> = new Set(["Telemetry", "Sidecar", "ProxyConfig", "DestinationRule"]);

/**
 * The labels that an object selects in its own namespace alone; undefined: in the root namespace, it selects workloads of every
 * namespace, and the pods of a Gateway of the Gateway API are not in the view.
 */
function ownSelectorOf(object: Scoped, settings: MeshSettings): Labels | undefined {
  const labels = selectorOf(object);
  if (labels === undefined || !isServed(object, settings)) return undefined;
  const isForGateways = Object.keys(labels).some((key) => key.startsWith(`${gatewayApiGroup}/`));
  const isForAll = object.metadata.namespace === settings.rootNamespace && !onlyOwn.has(object.kind);
  return isForAll || isForGateways ? undefined : labels;
}

/** Objects with a selector, by their namespace. */
const bySelectedNamespace = <K extends (typeof kinds)[number]>(kind: K): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Scoped;
    return ownSelectorOf(object, settings) === undefined ? [] : [object.metadata.namespace];
  });
/** The same objects, by one label of their selectors. */
const bySelectedLabel = <K extends (typeof kinds)[number]>(kind: K): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Scoped;
    return keysOfSelector(object.metadata.namespace, ownSelectorOf(object, settings) ?? {});
  });

/** An AuthorizationPolicy with a selector, and its namespace. */
const namespaceOfSelectingAuthorizationPolicy = relation(
  "namespaceOfSelectingAuthorizationPolicy",
  bySelectedNamespace("AuthorizationPolicy"),
  namespaceByName,
);
/** A PeerAuthentication with a selector, and its namespace. */
const namespaceOfSelectingPeerAuthentication = relation(
  "namespaceOfSelectingPeerAuthentication",
  bySelectedNamespace("PeerAuthentication"),
  namespaceByName,
);
/** A RequestAuthentication with a selector, and its namespace. */
const namespaceOfSelectingRequestAuthentication = relation(
  "namespaceOfSelectingRequestAuthentication",
  bySelectedNamespace("RequestAuthentication"),
  namespaceByName,
);
/** A Telemetry with a selector, and its namespace. */
const namespaceOfSelectingTelemetry = relation(
  "namespaceOfSelectingTelemetry",
  bySelectedNamespace("Telemetry"),
  namespaceByName,
);
/** A WasmPlugin with a selector, and its namespace. */
const namespaceOfSelectingWasmPlugin = relation(
  "namespaceOfSelectingWasmPlugin",
  bySelectedNamespace("WasmPlugin"),
  namespaceByName,
);
/** A TrafficExtension with a selector, and its namespace. */
const namespaceOfSelectingTrafficExtension = relation(
  "namespaceOfSelectingTrafficExtension",
  bySelectedNamespace("TrafficExtension"),
  namespaceByName,
);
/** An EnvoyFilter with a workloadSelector, and its namespace. */
const namespaceOfSelectingEnvoyFilter = relation(
  "namespaceOfSelectingEnvoyFilter",
  bySelectedNamespace("EnvoyFilter"),
  namespaceByName,
);
/** A Sidecar with a workloadSelector, and its namespace. */
const namespaceOfSelectingSidecar = relation(
  "namespaceOfSelectingSidecar",
  bySelectedNamespace("Sidecar"),
  namespaceByName,
);
/** A ProxyConfig with a selector, and its namespace. */
const namespaceOfSelectingProxyConfig = relation(
  "namespaceOfSelectingProxyConfig",
  bySelectedNamespace("ProxyConfig"),
  namespaceByName,
);
/** A DestinationRule with a workloadSelector, and its namespace. */
const namespaceOfSelectingDestinationRule = relation(
  "namespaceOfSelectingDestinationRule",
  bySelectedNamespace("DestinationRule"),
  namespaceByName,
);
/** An AuthorizationPolicy with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingAuthorizationPolicy = relation(
  "workloadsNearSelectingAuthorizationPolicy",
  bySelectedLabel("AuthorizationPolicy"),
  workloadByLabel,
);
/** A PeerAuthentication with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingPeerAuthentication = relation(
  "workloadsNearSelectingPeerAuthentication",
  bySelectedLabel("PeerAuthentication"),
  workloadByLabel,
);
/** A RequestAuthentication with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingRequestAuthentication = relation(
  "workloadsNearSelectingRequestAuthentication",
  bySelectedLabel("RequestAuthentication"),
  workloadByLabel,
);
/** A Telemetry with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingTelemetry = relation(
  "workloadsNearSelectingTelemetry",
  bySelectedLabel("Telemetry"),
  workloadByLabel,
);
/** A WasmPlugin with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingWasmPlugin = relation(
  "workloadsNearSelectingWasmPlugin",
  bySelectedLabel("WasmPlugin"),
  workloadByLabel,
);
/** A TrafficExtension with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingTrafficExtension = relation(
  "workloadsNearSelectingTrafficExtension",
  bySelectedLabel("TrafficExtension"),
  workloadByLabel,
);
/** An EnvoyFilter with a workloadSelector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingEnvoyFilter = relation(
  "workloadsNearSelectingEnvoyFilter",
  bySelectedLabel("EnvoyFilter"),
  workloadByLabel,
);
/** A Sidecar with a workloadSelector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingSidecar = relation(
  "workloadsNearSelectingSidecar",
  bySelectedLabel("Sidecar"),
  workloadByLabel,
);
/** A ProxyConfig with a selector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingProxyConfig = relation(
  "workloadsNearSelectingProxyConfig",
  bySelectedLabel("ProxyConfig"),
  workloadByLabel,
);
/** A DestinationRule with a workloadSelector, and the workloads of its namespace that have one label of it. */
const workloadsNearSelectingDestinationRule = relation(
  "workloadsNearSelectingDestinationRule",
  bySelectedLabel("DestinationRule"),
  workloadByLabel,
);
/** A namespace and its WorkloadEntries. */
const workloadEntriesOfNamespace = relation(
  "workloadEntriesOfNamespace",
  namespaceByName,
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);
/** A namespace and its WorkloadGroups. */
const workloadGroupsOfNamespace = relation(
  "workloadGroupsOfNamespace",
  namespaceByName,
  index("WorkloadGroup", (group, settings) => (isServed(group, settings) ? [group.metadata.namespace] : [])),
);

/** The pods that have one label of a selector, by the key of this label. */
const podsWithLabel = fact(
  "podsWithLabel",
  "key",
  [workloadsNearSelectingAuthorizationPolicy],
  (key, mesh): Labelled<Workload> =>
    new Labelled(mesh.under(workloadsNearSelectingAuthorizationPolicy, [key]), ({ pod }) => pod.labels),
);
/** The labels of everything in a namespace that may run outside of Kubernetes, also of machines that may register later. */
const labelsOfEntries = fact(
  "labelsOfEntries",
  "Namespace",
  [workloadEntriesOfNamespace, workloadGroupsOfNamespace],
  (namespace, mesh): Labelled<Labels> =>
    new Labelled(
      [
        ...mesh.related(workloadEntriesOfNamespace, namespace),
        ...mesh.related(workloadGroupsOfNamespace, namespace),
      ].map(labelsOfMachines),
      (labels) => labels,
    ),
);
/** Whether a namespace is known to have workloads. */
const hasWorkloads = fact("hasWorkloads", "Namespace", [workloadsOfNamespace], ({ metadata }, mesh): boolean =>
  mesh.hasUnder(workloadsOfNamespace, metadata.name),
);

const reads = [
  namespaceOfSelectingAuthorizationPolicy,
  namespaceOfSelectingPeerAuthentication,
  namespaceOfSelectingRequestAuthentication,
  namespaceOfSelectingTelemetry,
  namespaceOfSelectingWasmPlugin,
  namespaceOfSelectingTrafficExtension,
  namespaceOfSelectingEnvoyFilter,
  namespaceOfSelectingSidecar,
  namespaceOfSelectingProxyConfig,
  namespaceOfSelectingDestinationRule,
  workloadsNearSelectingAuthorizationPolicy,
  workloadsNearSelectingPeerAuthentication,
  workloadsNearSelectingRequestAuthentication,
  workloadsNearSelectingTelemetry,
  workloadsNearSelectingWasmPlugin,
  workloadsNearSelectingTrafficExtension,
  workloadsNearSelectingEnvoyFilter,
  workloadsNearSelectingSidecar,
  workloadsNearSelectingProxyConfig,
  workloadsNearSelectingDestinationRule,
  podsWithLabel,
  labelsOfEntries,
  forWording(hasWorkloads),
  workloadsOfGateway,
  setting("hasOtherClusters"),
] as const;
type View = MeshView<(typeof reads)[number]>;

export const selectorMatchesNothing = defineRule({
  id: "selector-matches-nothing",
  subject: [...kinds, "Gateway"],
  reads,
  worksWithout: ["WorkloadEntry", "WorkloadGroup", ...kinds, "Gateway"],
  mode: "warn",
  since: "0.1.0",
  // Policies are often applied before the workloads that they are for.
  stage: "trial",
  summary: "No known workload has the labels that an object selects, so it has no effect.",
  why: "A proxy gets the object only if it has every label of the selector (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy, pilot/pkg/model/push_context.go mergeGateways, doGetSidecarScope, pilot/pkg/model/proxy_config.go mergedWorkloadConfig, pilot/pkg/model/sidecar.go DestinationRule). A label that is misspelt leaves a policy without effect, and nothing reports it.",
  fix: "Correct the labels of the selector: they are those of the pod template, not of the Deployment or the Service.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "The object is stored, and no proxy gets it.",
    wayOut:
      "Correct the labels. Before you do so for a policy that denies, look with `meshward explain --change` what it will deny.",
    silentWhen:
      "Not all workloads are known, the selector has a label that a controller, an operator or the injector gives to pods, or the role that Patroni gives to pods of a StatefulSet, the object is in the root namespace and selects in the whole mesh, or it is a Gateway and the files contain no gateway pods. Of ServiceEntries, service-entry-without-endpoints reports it.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(object, mesh) {
    if (!mesh.knowsAll("Workload") || object.metadata.deletionTimestamp !== undefined) return;
    if (object.kind === "Gateway") yield* ofGateway(object, mesh);
    else yield* ofScoped(object, mesh);
  },
});

function* ofScoped(object: Scoped, mesh: View): Iterable<Problem> {
  const labels = selectorOf(object);
  if (labels === undefined || Object.keys(labels).some((name) => givenLabels.has(name))) return;
  for (const namespace of namespacesOf(object, mesh)) {
    if (isTerminating(namespace) || isSelecting(labels, namespace, mesh)) continue;
    const { name } = namespace.metadata;
    const key = `No workload in "${name}" has ${formatLabels(labels)}, so the ${object.kind} has no effect`;
    yield {
      at: ["spec", selectorField(object)],
      message: key + here(mesh),
      key,
      evidence: [absent("Workload", name)],
      ...(name === mesh.settings.rootNamespace
        ? { fix: `Move the ${object.kind} to the namespace of the workloads: here, it selects no others.` }
        : {}),
      ...(isPopulated(namespace, mesh) ? {} : { guess: `the workloads of namespace ${name}` }),
    };
  }
}

function isSelecting(labels: Labels, namespace: ObjectOf<"Namespace">, mesh: View): boolean {
  const [key = ""] = keysOfSelector(namespace.metadata.name, labels);
  const pods = mesh.get(podsWithLabel, key);
  if (pods.selected(labels).length > 0 || mayGetRole(labels, (some) => pods.selected(some), mesh)) return true;
  return mesh.get(labelsOfEntries, namespace).selected(labels).length > 0;
}

const isPopulated = (namespace: ObjectOf<"Namespace">, mesh: View): boolean =>
  mesh.get(hasWorkloads, namespace) || mesh.get(labelsOfEntries, namespace).all.length > 0;

function namespacesOf(object: Scoped, mesh: View): readonly ObjectOf<"Namespace">[] {
  switch (object.kind) {
    case "AuthorizationPolicy":
      return mesh.related(namespaceOfSelectingAuthorizationPolicy, object);
    case "PeerAuthentication":
      return mesh.related(namespaceOfSelectingPeerAuthentication, object);
    case "RequestAuthentication":
      return mesh.related(namespaceOfSelectingRequestAuthentication, object);
    case "Telemetry":
      return mesh.related(namespaceOfSelectingTelemetry, object);
    case "WasmPlugin":
      return mesh.related(namespaceOfSelectingWasmPlugin, object);
    case "TrafficExtension":
      return mesh.related(namespaceOfSelectingTrafficExtension, object);
    case "EnvoyFilter":
      return mesh.related(namespaceOfSelectingEnvoyFilter, object);
    case "ProxyConfig":
      return mesh.related(namespaceOfSelectingProxyConfig, object);
    case "DestinationRule":
      return mesh.related(namespaceOfSelectingDestinationRule, object);
    default:
      return mesh.related(namespaceOfSelectingSidecar, object);
  }
}

/** In each cluster of a mesh, the objects there select pods; a control plane of several clusters has those of one for all. */
const here = ({ settings }: View): string => (settings.hasOtherClusters ? " in this cluster" : "");

/** A Gateway selects pods of every namespace. */
function* ofGateway(gateway: ObjectOf<"Gateway">, mesh: View): Iterable<Problem> {
  const { selector } = gateway.spec;
  if (Object.keys(selector).length === 0 || !isServed(gateway, mesh.settings)) return;
  if (Object.keys(selector).some((key) => key.startsWith(`${gatewayApiGroup}/`))) return;
  if (mesh.related(workloadsOfGateway, gateway).some(({ pod }) => selects(selector, pod.labels))) return;
  const key = `No workload has ${formatLabels(selector)}, so nothing serves the Gateway`;
  yield {
    at: ["spec", "selector"],
    message: key + here(mesh),
    key,
    evidence: [absent("Workload", "")],
    // Files of an application rarely contain the gateway that it uses.
    guess: "the gateways of the cluster",
  };
}
