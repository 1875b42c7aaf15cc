import { defineRule, type Problem } from "../../engine/rule.ts";
import { protectedLabel } from "../../kube/meshward-metadata.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { type WrongKey, wrongKeys } from "../../mesh/objects/istio-keys.ts";
import { dataplaneMode, injectionLabel } from "../../mesh/objects/labels.ts";

export const objectIstioKeyMisspelt = defineRule({
  id: "object-istio-key-misspelt",
  subject: ["Namespace", "Workload", "Service", "ServiceEntry", "KubernetesGateway", "AuthorizationPolicy"],
  reads: [],
  worksWithout: ["Workload", "Service", "ServiceEntry", "KubernetesGateway", "AuthorizationPolicy"],
  onlyOwnChanges: true,
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary:
    "A label or annotation is nearly one of Istio's or of Meshward's, or is one in the wrong place, so it is not read.",
  why: "Istio looks its labels and annotations up by their whole name, and nothing reports one that it does not know (Istio pkg/kube/inject/webhook.go, istio.io/api annotation/annotations.gen.go and label/labels.gen.go). What it would have turned on or off stays as it is: an AuthorizationPolicy, for example, is enforced without the annotation `istio.io/dry-run` (pilot/pkg/security/authz/builder/builder.go isDryRun). The profiles of Meshward protect the namespaces that have the label `meshward.io/protected` with the value `true`, and no others.",
  fix: "Write the name that is read.",
  incident: {
    symptoms: ["no-effect", "outside-mesh", "access-denied"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "The object has the setting, and pods or proxies behave as if it had not.",
    wayOut:
      "Correct the name. Annotations and labels of pods take effect when they start again, and those of other objects within seconds.",
    silentWhen:
      "The name is not near one that Istio knows, the correct one is there too, or the annotation is on a Deployment and not on its pods, which workload-annotation-invalid reports.",
    page: "https://istio.io/latest/docs/reference/config/annotations/",
  },

  *check(object) {
    if (object.kind === "Workload" && isOwned(object)) return;
    const [at, metadata] =
      object.kind === "Workload" ? [[...object.podAt, "metadata"], object.pod] : [["metadata"], object.metadata];
    for (const wrong of wrongKeys(metadata)) {
      // namespace-dataplane-conflict reports these.
      if (isMisplaced(wrong) && object.kind === "Namespace" && [dataplaneMode, injectionLabel].includes(wrong.key))
        continue;
      yield { at: [...at, wrong.in, wrong.key], message: wordingFor(wrong), key: `${wrong.in} ${wrong.key}` };
    }
    if (object.kind === "Namespace") yield* ofProtectedLabel(object.metadata.labels[protectedLabel.key]);
  },
});

const isMisplaced = ({ key, meant }: WrongKey): boolean => meant === key;

function wordingFor(wrong: WrongKey): string {
  const [name, meant] = [JSON.stringify(wrong.key), JSON.stringify(wrong.meant)];
  const reader = wrong.meant.startsWith("meshward.io/") ? "Meshward" : "Istio";
  return isMisplaced(wrong)
    ? `${reader} reads ${name} from ${wrong.in === "labels" ? "annotations" : "labels"} only`
    : `${reader} does not know ${name}: did you mean ${meant}?`;
}

/** Policies can have another value, but none that differs from `true` in its case alone. */
function* ofProtectedLabel(value: string | undefined): Iterable<Problem> {
  if (value === undefined || value === "true" || value.toLowerCase() !== "true") return;
  yield {
    at: ["metadata", "labels", protectedLabel.key],
    message: `The profiles of Meshward protect namespaces whose label ${JSON.stringify(protectedLabel.key)} is "true", and not ${JSON.stringify(value)}`,
    key: `value of ${protectedLabel.key}`,
    fix: 'Write "true", in lower case.',
  };
}
