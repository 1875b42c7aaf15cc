import { defineRule } from "../../engine/rule.ts";
import { allKinds } from "../../kube/kinds.ts";

const otherVersion =
  "Correct it; or, if your cluster has a version that knows it, give its definitions with --crds or --mesh cluster.";

const otherField = "Correct the name of the field, or leave it, if your version of Istio knows it.";

export const objectInvalid = defineRule({
  id: "object-invalid",
  subject: allKinds,
  judgesMalformed: true,
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary:
    "The API server would reject the manifest, because the definition of its kind or the validation of istiod does not allow it; or istiod cannot use a mesh config.",
  why: "The object cannot be applied as it is: kubectl and server-side apply report an error (strict field validation for unknown fields), and clients without validation store it without the field. Only check reports this, for the kinds of Istio and of the Gateway API: in admission, the API server has validated the object before it asks Meshward. What the definition allows is validated as istiod's webhook does it (Istio pkg/config/validation/validation.go). Of values in patches of EnvoyFilters, only typed messages, durations and the name are validated, because the many types of Envoy's messages are not known. No webhook validates a mesh config, so admission reports that too: with a value of another type, istiod uses nothing of it, but the last one that it could read, and after a restart its defaults (Istio pkg/config/mesh/meshwatcher/collection.go NewCollection). The definitions are those of the cluster (--mesh cluster, a capture) or of --crds, else those of one version of Istio and the Gateway API that are part of Meshward.",
  fix: "Correct the manifest as the definition of its kind and Istio's reference describe it.",
  incident: {
    symptoms: ["api-refused"],
    proxies: [],
    seen: "`kubectl apply` and GitOps controllers fail with `strict decoding error: unknown field` or `Invalid value`. Of a mesh config, nothing changes in the mesh, and istiod logs `invalid mesh config, using last known state`.",
    wayOut:
      "Apply the previous version of the manifest, or correct the field that the message names. Except for mesh configs, only `check` reports this, so that an exception has to be among its policies.",
    silentWhen:
      "In admission, where the API server has validated the object, except a mesh config. Definitions that are not known.",
    page: "https://istio.io/latest/docs/ops/common-problems/validation/",
  },

  *check({ invalid }) {
    for (const { at, message, dependsOnVersion, isIgnored, fix } of invalid ?? []) {
      const key = `${at.join(".")}: ${message}`;
      if (isIgnored === true) {
        yield { at, message, key, onlyWarns: "istiod ignores the field", fix: otherField };
        continue;
      }
      if (dependsOnVersion === true)
        yield { at, message, key, onlyWarns: "another version of the definition may allow it", fix: otherVersion };
      else yield { at, message, key, ...(fix === undefined ? {} : { fix: `${fix}.` }) };
    }
  },
});
