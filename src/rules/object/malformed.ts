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

  *check({ malformed }) {
    for (const { at, expected, found } of malformed ?? []) {
      const advice = scalarAdvice(expected, found);
      const fix = advice === undefined ? {} : { fix: `${advice}.` };
      yield { at, message: `The field must be ${expected}, not ${found}`, key: `${at.join(".")}: ${expected}`, ...fix };
    }
  },
});
