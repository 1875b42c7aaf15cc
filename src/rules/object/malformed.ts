import { defineRule } from "../../engine/rule.ts";
import { allKinds } from "../../kube/kinds.ts";

export const objectMalformed = defineRule({
  id: "object-malformed",
  subject: allKinds,
  judgesMalformed: true,
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "A field has another type than Kubernetes and Istio define.",
  why: "Nobody can say what the object would do: the API server refuses it or drops the field, and no other rule judges what was read only in part.",
  fix: "Give the field the type that the kind's schema asks for.",

  *check({ malformed }) {
    for (const { at, expected, found } of malformed ?? [])
      yield { at, message: `Expected ${expected}, found ${found}`, key: `${at.join(".")}: ${expected}` };
  },
});
