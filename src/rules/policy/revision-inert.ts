import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { allKinds, kinds } from "../../kube/kinds.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";

/** Elsewhere the label asks for injection, and there tags count. */
const ofIstio = allKinds.filter((kind) => kinds[kind].served.every(({ group }) => group.endsWith(".istio.io")));

export const policyRevisionInert = defineRule({
  id: "policy-revision-inert",
  subject: ofIstio,
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["revisions"],
  summary: "An object of Istio's names a revision that no control plane serves: nobody reads it.",
  why: "A control plane reads objects without `istio.io/rev` and those that name its own revision, by exactly that name; tags are not resolved (Istio pkg/config/model.go LabelsInRevision). Istio's own webhook does not see the object either.",
  fix: "Take the label off, so that every control plane reads the object, or name the revision itself, not a tag.",

  *check(object, { settings }) {
    // Without a mesh config nobody has said which revisions there are.
    const areRevisionsKnown = settings.seen || settings.revisions.length > 1;
    if (!areRevisionsKnown || isServed(object, settings)) return;
    const revision = object.metadata.labels[revisionLabel] ?? "";
    yield {
      at: ["metadata", "labels", revisionLabel],
      message: `No control plane serves revision ${JSON.stringify(revision)}: the ${object.originKind} does nothing`,
      evidence: [absent("MeshConfig", "istio-system", `istio-${revision}`)],
    };
  },
});
