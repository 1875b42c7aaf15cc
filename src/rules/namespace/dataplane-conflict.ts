import { defineRule, type Problem } from "../../engine/rule.ts";
import { byLabelsAlone, enrollmentOf, neverInjected } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { dataplaneMode, injectionLabel, revisionLabel } from "../../mesh/objects/labels.ts";

const labels = "object.metadata.labels";
/** In CEL: whether the namespace has a label, and whether it has this value. */
const hasLabel = (label: string): string => `(has(${labels}) && '${label}' in ${labels})`;
const isLabel = (label: string, value: string): string => `(${hasLabel(label)} && ${labels}['${label}'] == '${value}')`;
const isAmbientInCel = `(${isLabel(dataplaneMode, "ambient")} && object.metadata.name != 'kube-system')`;
const isRevised = `(${hasLabel(revisionLabel)} && ${labels}['${revisionLabel}'] != '')`;
const isInjectedInCel = `(!(object.metadata.name in ${JSON.stringify([...neverInjected])}) && (${hasLabel(injectionLabel)} ? ${labels}['${injectionLabel}'] == 'enabled' : ${isRevised}))`;
const isMisspelt = (label: string, ...known: readonly string[]): string =>
  `(${hasLabel(label)} && !(${labels}['${label}'] in ${JSON.stringify(known)}) ? ['${label}=' + ${labels}['${label}']] : [])`;
const isAnnotation = (name: string): string =>
  `(has(object.metadata.annotations) && '${name}' in object.metadata.annotations && !${hasLabel(name)} ? ['annotation ${name}'] : [])`;
const problemsInCel = (): string =>
  `has(object.metadata.deletionTimestamp) || (has(object.status) && has(object.status.phase) && object.status.phase == 'Terminating') ? [] :
(${isAmbientInCel} && ${isInjectedInCel} ? ['sidecars and ambient'] : [])
+ (${isLabel(injectionLabel, "enabled")} && ${isRevised} ? ['revision ' + ${labels}['${revisionLabel}']] : [])
+ ${isMisspelt(dataplaneMode, "ambient", "none")} + ${isMisspelt(injectionLabel, "enabled", "disabled")}
+ ${[dataplaneMode, injectionLabel, revisionLabel].map(isAnnotation).join(" + ")}`;

export const namespaceDataplaneConflict = defineRule({
  id: "namespace-dataplane-conflict",
  subject: "Namespace",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary: "The labels of a namespace request both sidecars and ambient, or have an unknown value.",
  why: 'Istio compares values exactly: `istio.io/dataplane-mode` enrolls only with "ambient" (cni/pkg/util/enablement_selector.go), `istio-injection` injects only with "enabled" (the selectors of manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Any other value silently leaves pods out of the mesh. With both labels, injected pods have a sidecar and the others are ambient, so policies for one of the two do not apply to all pods.',
  fix: "Label the namespace `istio.io/dataplane-mode: ambient`, or `istio-injection: enabled` (or `istio.io/rev`), and only one of the three.",
  incident: {
    symptoms: ["outside-mesh", "no-effect"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With an unknown value, pods are outside the mesh. With both data planes, policies with methods and paths apply to the pods with a sidecar and not to the others.",
    wayOut: "Keep the label of the data plane that the running pods use, and remove the other one.",
    silentWhen: "Only one of the labels is set, or injection is disabled on purpose beside a revision label.",
    page: "https://istio.io/latest/docs/ambient/usage/add-workloads/",
  },

  cel: { problems: problemsInCel() },

  *check(namespace) {
    if (isTerminating(namespace)) return;
    yield* both(namespace);
    yield* misspelt(namespace);
    for (const name of [dataplaneMode, injectionLabel, revisionLabel])
      if (namespace.metadata.annotations[name] !== undefined && namespace.metadata.labels[name] === undefined)
        yield {
          at: ["metadata", "annotations", name],
          message: `${name} is an annotation here and has no effect; Istio reads only the label`,
          fix: `Remove the annotation ${name}, and set it as a label instead if it is intended.`,
        };
  },
});

function* both(namespace: Namespace): Iterable<Problem> {
  const { labels } = namespace.metadata;
  const injectedBy = labels[injectionLabel] === undefined ? revisionLabel : injectionLabel;
  if (enrollmentOf(namespace, byLabelsAlone) === "ambient-and-sidecar")
    yield {
      at: ["metadata", "labels", dataplaneMode],
      message: `${injectedBy} requests sidecars and ${dataplaneMode} requests ambient: injected pods have a sidecar, the others are ambient`,
      fix: `Remove ${injectedBy} to use ambient mode. To use sidecars, restart the workloads, and remove ${dataplaneMode} when every pod has a sidecar.`,
      key: "sidecars and ambient",
    };
  // With injection disabled on purpose, the revision label is not a conflict.
  if (labels[injectionLabel] === "enabled" && labels[revisionLabel])
    yield {
      at: ["metadata", "labels", revisionLabel],
      message: `${revisionLabel} ${JSON.stringify(labels[revisionLabel])} has no effect together with ${injectionLabel}: pods get the sidecar of the default revision`,
      fix: `Remove ${injectionLabel} to use this revision, or ${revisionLabel} to use the default revision.`,
    };
}

const values: readonly (readonly [label: string, joins: string, staysOut: string])[] = [
  [dataplaneMode, "ambient", "none"],
  [injectionLabel, "enabled", "disabled"],
];

function* misspelt({ metadata }: Namespace): Iterable<Problem> {
  for (const [label, joins, staysOut] of values) {
    const value = metadata.labels[label];
    if (value !== undefined && value !== joins && value !== staysOut)
      yield {
        at: ["metadata", "labels", label],
        message: `${label} has the unknown value ${JSON.stringify(value)}, so it adds no pods to the mesh`,
        fix: `Set ${label} to ${JSON.stringify(joins)} to add pods to the mesh, or to ${JSON.stringify(staysOut)} to leave them out.`,
      };
  }
}
