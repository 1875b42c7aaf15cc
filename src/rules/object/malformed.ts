import { defineRule } from "../../engine/rule.ts";
import { allKinds } from "../../kube/kinds.ts";
import { scalarAdvice } from "../../kube/yaml-scalars.ts";

export const objectMalformed = defineRule({
  id: "object-malformed",
  subject: allKinds,
  judgesMalformed: true,
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "A field has a type that differs from the schema of Kubernetes or Istio.",
  why: "The effect of the object is not known: the API server rejects it or drops the field, and no other rule checks an object that could be read only in part.",
  fix: "Change the field to the type that the schema of the kind requires.",
  incident: {
    symptoms: ["api-refused"],
    proxies: [],
    seen: "`kubectl apply` fails with a message about the type of the field, or the object is stored without it.",
    wayOut: "Apply the previous version of the manifest, or correct the type.",
    silentWhen: "Fields that no rule reads: object-invalid checks every field of a manifest.",
    page: "https://istio.io/latest/docs/ops/common-problems/validation/",
  },

  *check({ malformed }) {
    for (const { at, expected, found } of malformed ?? []) {
      const advice = adviceFor(expected) ?? scalarAdvice(expected, found);
      const fix = advice === undefined ? {} : { fix: `${advice}.` };
      yield { at, message: `The field must be ${expected}, not ${found}`, key: `${at.join(".")}: ${expected}`, ...fix };
    }
  },
});

/** What is to be done, whatever was found. The text of a field can be YAML itself, such as the mesh config in a ConfigMap (kube/mesh-config.ts parseYaml). */
function adviceFor(expected: string): string | undefined {
  if (expected.endsWith(" as YAML")) return "Correct the YAML inside of the field";
  return expected.startsWith("named after a port") ? "Write the port as a number, such as 8080" : undefined;
}
