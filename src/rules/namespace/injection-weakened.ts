import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import { type ObjectOf, readObject } from "../../kube/object.ts";
import { captureOf, enrollmentOf } from "../../mesh/membership/capture.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { refusalBy, refusalOfAll, refusalText } from "../../mesh/membership/injection-policy.ts";
import { asAnnotations } from "../../mesh/membership/injector-values.ts";
import { interceptionOf, type PortLost, portsLost, withBound } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByNameAndRoot } from "../../mesh/objects/indexes.ts";
import { injectionLabel, injectSidecar, revisionLabel, sidecarStatus } from "../../mesh/objects/labels.ts";
import { boundBy } from "../../mesh/traffic/bound-ports.ts";
import { type Sidecar, sidecarByNamespace } from "../../mesh/traffic/sidecar-egress.ts";
import { injectionPolicyOf, injectorValuesOf } from "../../view/control-planes.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

type InjectorConfig = ObjectOf<"InjectorConfig">;
type Pod = Workload["pod"];

const ofEveryRevision = "injector";

/** A Namespace and the InjectorConfigs of all revisions. */
const injectorConfigsOfNamespace = relation(
  "injectorConfigsOfNamespace",
  index("Namespace", () => [ofEveryRevision]),
  index("InjectorConfig", () => [ofEveryRevision]),
);

/** A Namespace, and the Sidecars of it and of the root namespace, for the ports at which a proxy listens itself. */
const sidecarsForNamespace = relation("sidecarsForNamespace", namespaceByNameAndRoot, sidecarByNamespace);
/** The Sidecars that can count for pods of a namespace. */
const sidecarsIn = fact("sidecarsIn", "Namespace", [sidecarsForNamespace], (namespace, mesh) =>
  mesh.related(sidecarsForNamespace, namespace),
);

// Only the configuration adds problems, not a workload or a Sidecar that comes or goes.
const capturedNow = forWording(captured);
const sidecarsNow = forWording(sidecarsIn);
const reads = [injectorConfigsOfNamespace, capturedNow, sidecarsNow] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceInjectionWeakened = defineRule({
  id: "namespace-injection-weakened",
  subject: "Namespace",
  reads,
  worksWithout: ["InjectorConfig", "Sidecar", "Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "revisions"],
  summary:
    "The configuration of the sidecar injector leaves pods of a namespace, or some of their ports, outside the mesh.",
  why: "The injector decides with its ConfigMap which pods get a sidecar (Istio pkg/kube/inject/inject.go injectRequired) and which ports the sidecar captures (manifests/charts/istio-control/istio-discovery/files/injection-template.yaml): all but those that are excluded and the status port of the agent (pkg/kube/inject/template.go excludeInboundPort). A pod without a sidecar accepts all traffic, without mTLS or any policy. Running pods keep their sidecar until they are created again.",
  fix: "Revert the ConfigMap of the injector, or write a MeshwardException with an end date.",
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar"],
    seen: "Pods that are created after the change have no sidecar, or one that does not capture some ports. Pods that run keep theirs until they are restarted.",
    wayOut:
      "Apply the previous ConfigMap of the injector, then `kubectl rollout restart` the workloads whose pods were created meanwhile.",
    silentWhen:
      "The change concerns another revision, pods that say themselves what they want, or templates, which Meshward does not read.",
    page: "https://istio.io/latest/docs/ops/common-problems/injection/",
  },

  *compare(before, after) {
    const now = after.mesh.related(injectorConfigsOfNamespace, after.object);
    const old = before.mesh.related(injectorConfigsOfNamespace, before.object);
    if (old === now || isTerminating(after.object)) return;
    const { settings } = after.mesh;
    const known = new Map(old.map((config) => [keyOf(config), config]));
    for (const config of now) {
      const was = known.get(keyOf(config));
      // The injector keeps the configuration that it has instead of one that it cannot read, which object-malformed reports.
      if (was === undefined || was === config || config.malformed !== undefined) continue;
      const pods = injectedPods(after, config, { configs: now, settings: before.mesh.settings });
      const sidecars = after.mesh.get(sidecarsNow, after.object);
      for (const problem of lossesOf(was, config, { pods: pods.all, namespace: after.object, sidecars, settings }))
        yield {
          ...problem,
          related: [config],
          ...(pods.areCertain ? {} : { onlyWarns: "it is not known which pods this injector serves" }),
        };
    }
  },
});

const revisionOf = ({ metadata }: InjectorConfig): string =>
  /^istio-sidecar-injector-(.+)$/.exec(metadata.name)?.[1] ?? "default";

/** The revision that injects a pod, as its namespace or its own label says it: a revision or a tag. */
function revisionFor({ labels }: Pod, namespace: Namespace): string {
  const { [injectionLabel]: enabled, [revisionLabel]: revision } = namespace.metadata.labels;
  if (enabled !== undefined) return "default";
  return (revision ?? labels[revisionLabel]) || "default";
}

/** A pod that a namespace may have later. */
const anyPod: Pod = readObject("Workload", { kind: "Deployment" }).pod;

/**
 * The pods of a namespace that this configuration injected before the change (`settings`). A tag may stand for any revision, so
 * that nothing is certain about the pods of a revision without a ConfigMap.
 */
function injectedPods(
  { object: namespace, mesh }: { readonly object: Namespace; readonly mesh: View },
  config: InjectorConfig,
  { configs, settings }: { readonly configs: readonly InjectorConfig[]; readonly settings: MeshSettings },
): { readonly all: readonly Pod[]; readonly areCertain: boolean } {
  const { workloads } = mesh.get(capturedNow, namespace);
  mesh.visited(workloads.all.length);
  const enrollment = enrollmentOf(namespace, settings);
  const isBySidecar = enrollment === "sidecar" || enrollment === "ambient-and-sidecar";
  const injected = workloads.all
    .filter(
      (one) => one.pod.annotations[sidecarStatus] === undefined && captureOf(one, namespace, settings) === "sidecar",
    )
    .map(({ pod }) => pod);
  const pods = injected.length === 0 && isBySidecar ? [anyPod] : injected;
  const own = pods.filter((pod) => revisionFor(pod, namespace) === revisionOf(config));
  if (own.length > 0) return { all: own, areCertain: true };
  const revisions = new Set(configs.map(revisionOf));
  return { all: pods.filter((pod) => !revisions.has(revisionFor(pod, namespace))), areCertain: false };
}

interface Affected {
  readonly pods: readonly Pod[];
  readonly namespace: Namespace;
  readonly sidecars: readonly Sidecar[];
  readonly settings: MeshSettings;
}

function* lossesOf(was: InjectorConfig, is: InjectorConfig, affected: Affected): Iterable<Problem> {
  const { pods, namespace } = affected;
  if (pods.length === 0) return;
  const where = `namespace ${namespace.metadata.name}`;
  const reasons = new Set(
    pods.flatMap((pod) => {
      const reason = reasonAgainst(is, pod);
      return reason !== undefined && reasonAgainst(was, pod) === undefined ? [reason] : [];
    }),
  );
  for (const reason of reasons)
    yield {
      at: [],
      topic: "outside the mesh",
      message: `New pods of ${where} get no sidecar: ${reason} in ${idOf(is)}`,
      key: reason,
    };
  const injected = pods.filter((pod) => reasonAgainst(is, pod) === undefined);
  const { shown } = portDefaults(is);
  for (const port of portsLostBy(was, is, { ...affected, pods: injected }))
    yield {
      at: [],
      message: `Traffic to ${portText(port)} of new pods in ${where} bypasses the sidecar: ${shown} in ${idOf(is)}`,
      key: `port ${port}`,
    };
  yield* otherTemplates(was, is, where);
}

const portText = (port: PortLost["port"]): string => {
  if (typeof port === "number") return `port ${port}`;
  return port === "all" ? "all ports" : "other ports";
};

/** The ports that leave the mesh. */
function portsLostBy(
  was: InjectorConfig,
  is: InjectorConfig,
  { pods, namespace, sidecars, settings }: Affected,
): ReadonlySet<PortLost["port"]> {
  const [before, after] = [portDefaults(was), portDefaults(is)];
  if (before.shown === after.shown) return new Set();
  return new Set(
    pods
      .flatMap((pod) => {
        const bound = boundBy(sidecars, { pod, namespace: namespace.metadata.name }, settings);
        return portsLost(pod, captureWith(pod, before.values), withBound(captureWith(pod, after.values), bound));
      })
      .map(({ port }) => port),
  );
}

/** Why a configuration does not inject a pod that its namespace or its labels enroll; undefined: it injects it. */
function reasonAgainst(config: InjectorConfig, { labels, annotations }: Pod): string | undefined {
  const isRequested = (labels[injectSidecar] ?? annotations[injectSidecar]) === "true";
  const policy = injectionPolicyOf(config);
  const refusal = isRequested ? refusalOfAll(policy) : refusalBy(policy, labels);
  return refusal && refusalText(refusal);
}

interface PortDefaults {
  readonly values: Readonly<Record<string, string>>;
  readonly shown: string;
}
/** The ports that a sidecar captures if the pod has no annotation of its own. */
function portDefaults(config: InjectorConfig): PortDefaults {
  const values = injectorValuesOf(config);
  const { includeInboundPorts: included, excludeInboundPorts: excluded, statusPort: status } = values;
  return {
    values: asAnnotations(values),
    shown: `global.proxy.includeInboundPorts is ${JSON.stringify(included)} and excludeInboundPorts ${JSON.stringify(excluded)}${status === "" ? "" : `, with statusPort ${status}`}`,
  };
}
const captureWith = (pod: Pod, defaults: PortDefaults["values"]) =>
  interceptionOf({ ...pod, annotations: { ...defaults, ...pod.annotations } }, "sidecar");

const unreadTemplates = "Meshward does not read the injection templates";

/** Settings that may lead around the sidecar, which depends on templates that Meshward does not read. */
function* otherTemplates(
  { config: was }: InjectorConfig,
  { config: is }: InjectorConfig,
  where: string,
): Iterable<Problem> {
  if (usesSidecar(was.defaultTemplates) && !usesSidecar(is.defaultTemplates))
    yield {
      at: [],
      message: `New pods of ${where} are injected without the template "sidecar": defaultTemplates are ${JSON.stringify(is.defaultTemplates)}`,
      key: "defaultTemplates",
      onlyWarns: unreadTemplates,
    };
  for (const [annotation, value] of Object.entries(is.injectedAnnotations))
    if (
      /^(traffic\.sidecar|sidecar|ambient|proxy)\.istio\.io\//.test(annotation) &&
      was.injectedAnnotations[annotation] !== value
    )
      yield {
        at: [],
        message: `New pods of ${where} get the annotation ${annotation} ${JSON.stringify(value)} from injectedAnnotations, which can change what their sidecar captures`,
        key: `injectedAnnotations ${annotation}`,
        onlyWarns: unreadTemplates,
      };
}
const usesSidecar = (templates: readonly string[]): boolean => templates.length === 0 || templates.includes("sidecar");
