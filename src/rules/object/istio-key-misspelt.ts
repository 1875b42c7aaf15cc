import { defineRule } from "../../engine/rule.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { wrongKeys } from "../../mesh/objects/istio-keys.ts";
import { dataplaneMode, injectionLabel } from "../../mesh/objects/labels.ts";

export const objectIstioKeyMisspelt = defineRule({
  id: "object-istio-key-misspelt",
  subject: ["Namespace", "Workload", "Service", "ServiceEntry", "KubernetesGateway"],
  reads: [],
  worksWithout: ["Workload", "Service", "ServiceEntry", "KubernetesGateway"],
  onlyOwnChanges: true,
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary: "A label or annotation is nearly one of Istio's, or is one in the wrong place, so Istio does not read it.",
  why: "Istio looks its labels and annotations up by their whole name, and nothing reports one that it does not know (Istio pkg/kube/inject/webhook.go, istio.io/api annotation/annotations.gen.go and label/labels.gen.go). What it would have turned on or off stays as it is.",
  fix: "Write the name that Istio reads.",
  incident: {
    symptoms: ["no-effect", "outside-mesh"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "The object has the setting, and pods or proxies behave as if it had not.",
    wayOut: "Nothing fails because of it. Correct the name; the setting takes effect when the pods start again.",
    silentWhen:
      "The name is not near one that Istio knows, the correct one is there too, or the annotation is on a Deployment and not on its pods, which workload-annotation-invalid reports.",
    page: "https://istio.io/latest/docs/reference/config/annotations/",
  },

  *check(object) {
    if (object.kind === "Workload" && isOwned(object)) return;
    const [at, metadata] =
      object.kind === "Workload" ? [[...object.podAt, "metadata"], object.pod] : [["metadata"], object.metadata];
    for (const wrong of wrongKeys(metadata)) {
      const name = JSON.stringify(wrong.key);
      const isMisplaced = wrong.meant === wrong.key;
      // namespace-dataplane-conflict reports these.
      if (isMisplaced && object.kind === "Namespace" && [dataplaneMode, injectionLabel].includes(wrong.key)) continue;
      yield {
        at: [...at, wrong.in, wrong.key],
        message: isMisplaced
          ? `Istio reads ${name} from ${wrong.in === "labels" ? "annotations" : "labels"} only`
          : `Istio does not know ${name}: did you mean ${JSON.stringify(wrong.meant)}?`,
        key: `${wrong.in} ${wrong.key}`,
      };
    }
  },
});
