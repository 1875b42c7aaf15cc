import { defineRule, type Problem } from "../../engine/rule.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { dataplaneMode, injectionLabel, revisionLabel } from "../../mesh/objects/labels.ts";

export const namespaceDataplaneConflict = defineRule({
  id: "namespace-dataplane-conflict",
  subject: "Namespace",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary: "Labels of a namespace ask for sidecars and ambient at once, or for something that does not exist.",
  why: 'Istio compares values as they are written: `istio.io/dataplane-mode` enrolls with "ambient" alone (cni/pkg/util/enablement_selector.go), `istio-injection` injects with "enabled" alone (the selectors of manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Anything else leaves pods out of the mesh without a word. With both, pods that are injected have a sidecar and the others are ambient, so that policies for one of the two do not hold for all.',
  fix: "Label the namespace `istio.io/dataplane-mode: ambient`, or `istio-injection: enabled` (or `istio.io/rev`), and nothing else of the three.",

  *check(namespace) {
    if (isTerminating(namespace)) return;
    yield* both(namespace);
    yield* misspelt(namespace);
    for (const name of [dataplaneMode, injectionLabel, revisionLabel])
      if (namespace.metadata.annotations[name] !== undefined && namespace.metadata.labels[name] === undefined)
        yield {
          at: ["metadata", "annotations", name],
          message: `${name} is an annotation here and does nothing: only the label counts`,
        };
  },
});

function* both(namespace: Namespace): Iterable<Problem> {
  const { labels } = namespace.metadata;
  const injectedBy = labels[injectionLabel] === undefined ? revisionLabel : injectionLabel;
  if (enrollmentOf(namespace) === "ambient-and-sidecar")
    yield {
      at: ["metadata", "labels", dataplaneMode],
      message: `${injectedBy} asks for sidecars and ${dataplaneMode} for ambient: pods that are injected have a sidecar, the others are ambient`,
      key: "sidecars and ambient",
    };
  // Deliberately off is no wish for a revision.
  if (labels[injectionLabel] === "enabled" && labels[revisionLabel])
    yield {
      at: ["metadata", "labels", revisionLabel],
      message: `${revisionLabel} ${JSON.stringify(labels[revisionLabel])} does nothing beside ${injectionLabel}: pods get the sidecar of the default revision`,
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
        message: `${label} ${JSON.stringify(value)} means nothing: ${JSON.stringify(joins)} takes pods into the mesh, ${JSON.stringify(staysOut)} leaves them out`,
      };
  }
}
